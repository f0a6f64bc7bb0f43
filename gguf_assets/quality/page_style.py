"""How the pages look: one style sheet, light and dark, for screens of any width and for paper.

Colours are variables, which the charts name as well, so that one drawing serves both schemes; each has at
least 4.5:1 against its ground where it is text, and 3:1 where it is a line. Not here: markup.
"""

SERIES = 4
"""Colours for the series of a chart: `--series-1` and so on."""

_LIGHT = """\
--ground: #ffffff; --panel: #f4f6f8; --ink: #1b2127; --faint: #515c66; --line: #d3d9df; --link: #0b57b0;
--series-1: #1b62b8; --series-2: #a84a00; --series-3: #1a7544; --series-4: #7c3aa8;
--good: #1a7544; --middling: #8a5a00; --bad: #b3261e;"""

_DARK = """\
--ground: #14181c; --panel: #1d2329; --ink: #e6eaee; --faint: #a8b3bd; --line: #39434c; --link: #8cbcff;
--series-1: #7db2ff; --series-2: #ffad66; --series-3: #6fd39b; --series-4: #d0a8ff;
--good: #6fd39b; --middling: #f0c060; --bad: #ff9d94;"""

STYLE = (
    f"""
:root {{ color-scheme: light dark; {_LIGHT} }}
@media (prefers-color-scheme: dark) {{ :root {{ {_DARK} }} }}
@media print {{ :root {{ color-scheme: light; {_LIGHT} }} }}
"""
    + """
*, ::before, ::after { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
header, main { max-width: 70rem; margin: 0 auto; padding: 1rem; }
header { padding-bottom: 0; }
main { padding-bottom: 4rem; outline: none; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0.5rem 0; overflow-wrap: anywhere; }
h2 { font-size: 1.3rem; margin: 2.5rem 0 0.75rem; padding-bottom: 0.25rem;
  border-bottom: 1px solid var(--line); }
h3 { font-size: 1.05rem; margin: 1.5rem 0 0.5rem; }
p, ul, dl { margin: 0.75rem 0; max-width: 46rem; overflow-wrap: anywhere; }
a { color: var(--link); }
a:focus-visible, summary:focus-visible, .scroll:focus-visible { outline: 3px solid var(--link);
  outline-offset: 2px; }
code { font: 0.92em ui-monospace, "SFMono-Regular", Menlo, Consolas, monospace; overflow-wrap: anywhere; }
.skip { position: absolute; left: -100rem; }
.skip:focus { left: 1rem; top: 0.5rem; padding: 0.5rem; background: var(--ground); z-index: 1; }
nav ul { display: flex; flex-wrap: wrap; gap: 0.25rem 1.25rem; list-style: none; margin: 0; padding: 0;
  max-width: none; }
nav a { display: inline-block; padding: 0.25rem 0; }
.faint { color: var(--faint); }
.good { color: var(--good); } .middling { color: var(--middling); } .bad { color: var(--bad); }
.state { font-weight: 600; }
.notice { border-left: 4px solid var(--bad); padding: 0.5rem 1rem; background: var(--panel); }
.figures { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 0.75rem;
  margin: 1.25rem 0; max-width: none; }
@media (min-width: 44rem) { .figures { grid-template-columns: repeat(4, minmax(0, 1fr)); } }
.figures div { background: var(--panel); border: 1px solid var(--line); border-radius: 8px;
  padding: 0.6rem 0.8rem; }
.figures dt { color: var(--faint); font-size: 0.9rem; }
.figures dd { margin: 0; font-size: 1.35rem; font-weight: 600; font-variant-numeric: tabular-nums; }
.figures dd small { display: block; font-size: 0.85rem; font-weight: 400; color: var(--faint); }
.scroll { overflow-x: auto; margin: 0.75rem 0 1.25rem; max-width: 100%; }
table { border-collapse: collapse; min-width: min(100%, 24rem); font-size: 1rem; }
caption { text-align: left; color: var(--faint); padding: 0 0 0.4rem; }
th, td { text-align: left; vertical-align: top; padding: 0.4rem 0.9rem 0.4rem 0;
  border-bottom: 1px solid var(--line); }
thead th { position: relative; border-bottom: 2px solid var(--line); white-space: nowrap; }
tbody th { font-weight: 500; }
tbody th code, time { white-space: nowrap; }
th bdi, td bdi { overflow-wrap: anywhere; min-width: 9rem; display: inline-block; }
.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.unseen { position: absolute; clip-path: inset(50%); width: 1px; height: 1px; overflow: hidden;
  white-space: nowrap; }
td ul { margin: 0; padding-left: 1.1rem; }
.wide { min-width: 16rem; }
.bar { display: block; height: 0.8rem; margin-top: 0.4rem; min-width: 1px; background: var(--series-1);
  border-radius: 2px; }
td:has(> .bar) { width: 12rem; min-width: 6rem; }
.beside { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr));
  gap: 0 2rem; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), 1fr));
  gap: 1rem; }
figure { display: flex; flex-direction: column; margin: 0; padding: 0.8rem;
  border: 1px solid var(--line); border-radius: 8px;
  break-inside: avoid; min-width: 0; }
figure h3 { margin: 0; }
figure svg.chart { display: block; margin: auto 0 0; width: 100%; max-width: 30rem; height: auto;
  color: var(--ink); }
figcaption p { margin: 0.25rem 0 0.5rem; font-size: 0.95rem; color: var(--faint); }
.legend { display: flex; flex-wrap: wrap; gap: 0.1rem 1rem; list-style: none; margin: 0 0 0.5rem;
  padding: 0; font-size: 0.95rem; }
.legend svg { width: 1.75rem; height: 0.6rem; margin-right: 0.4rem; }
summary { cursor: pointer; padding: 0.4rem 0; color: var(--link); }
@media screen and (max-width: 40rem) {
  .cards, .cards caption, .cards tbody, .cards tr, .cards th, .cards td { display: block; }
  .cards thead { position: absolute; clip-path: inset(50%); width: 1px; height: 1px; overflow: hidden; }
  .cards tr { border-bottom: 1px solid var(--line); padding: 0.6rem 0; }
  .cards tbody th, .cards tbody td { border: 0; padding: 0.1rem 0; text-align: left; white-space: normal; }
  .cards tbody th { font-weight: 600; }
  .cards td:not(:empty)::before { content: attr(data-label) ": "; color: var(--faint); }
}
@media print {
  header, .skip, details:not([open]) { display: none; }
  body { font-size: 10.5pt; } main { max-width: none; padding: 0; }
  .scroll { overflow: visible; } h2, h3 { break-after: avoid; } tr { break-inside: avoid; }
}
"""
)
