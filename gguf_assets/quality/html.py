"""HTML out of values that strangers chose: every text is escaped, markup is a type of its own.

What belongs here: elements, tables and the frame of a page, whose style stands in `page_style`. What does
not: what a page says (`day_page`, `index_page`, `dashboard`), and drawing (`charts`).
"""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Collection, Iterable, Sequence

from gguf_assets.quality.markdown import readable
from gguf_assets.quality.page_style import STYLE

_VOID = frozenset({"meta", "br", "hr"})
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
"""No page may fetch, run or send anything, whatever stands in it."""

_ROLES = {
    "table": "table",
    "rows": "rowgroup",
    "row": "row",
    "column": "columnheader",
    "name": "rowheader",
    "cell": "cell",
}


class Html(str):
    """Markup that stands in a page as it is; any other text is escaped."""

    __slots__ = ()


def element(name: str, /, *children: object, **attributes: object) -> Html:
    """Return an element.

    Args:
        name: its tag.
        children: `Html` as it is, any other value as escaped text; None is left out.
        attributes: `class_` is `class`, `aria_label` is `aria-label`; None is left out, True has no value.
    """
    given = {key.rstrip("_").replace("_", "-"): value for key, value in attributes.items()}
    opened = "".join(_attribute(key, value) for key, value in given.items() if value is not None)
    if name in _VOID:
        return Html(f"<{name}{opened}>")
    return Html(f"<{name}{opened}>{joined(children)}</{name}>")


def joined(children: Iterable[object], between: str = "") -> Html:
    """Return markup and texts as one piece of markup."""
    return Html(between.join(text(child) for child in children if child is not None))


def text(value: object) -> Html:
    """Return a value as markup that reads as itself; control and direction characters become spaces."""
    if isinstance(value, Html):
        return value
    words = "".join(" " if unicodedata.category(c)[0] == "C" else c for c in str(value))
    return Html(html.escape(words))


def strange(value: object) -> Html:
    """Return a value that a stranger chose: bounded, and apart from the direction of its neighbours."""
    return element("bdi", readable(value))


def code(value: object) -> Html:
    """Return a name of ours, such as that of a rule."""
    return element("code", value)


def table(
    caption: str,
    head: Sequence[object],
    rows: Iterable[Sequence[object]],
    *,
    numbers: Collection[int] = (),
    cards: bool = False,
) -> Html:
    """Return a table whose first column names the rows; one that is too wide scrolls in itself.

    Args:
        caption: what it shows.
        head: names of the columns.
        rows: their cells; whole numbers get thousands separators.
        numbers: positions of the columns that hold figures.
        cards: on a narrow screen each row becomes a card, for tables of many words.
    """
    style = ["n" if place in numbers else None for place in range(len(head))]
    # A table that is laid out as cards is one for a screen reader only if it says so.
    roles = _ROLES if cards else {}
    heads = [
        element("th", cell, scope="col", class_=style[place], role=roles.get("column"))
        for place, cell in enumerate(head)
    ]
    lines = []
    for row in rows:
        cells = [element("th", _figure(row[0]), scope="row", class_=style[0], role=roles.get("name"))]
        for place in range(1, len(head)):
            label = head[place] if cards else None
            cells.append(
                element(
                    "td", _figure(row[place]), class_=style[place], role=roles.get("cell"), data_label=label
                )
            )
        lines.append(element("tr", *cells, role=roles.get("row")))
    whole = element(
        "table",
        element("caption", caption),
        element("thead", element("tr", *heads, role=roles.get("row")), role=roles.get("rows")),
        element("tbody", joined(lines, "\n"), role=roles.get("rows")),
        class_="cards" if cards else None,
        role=roles.get("table"),
    )
    # Whoever has no pointer scrolls with the keyboard, which takes something to focus on.
    return element("div", whole, class_="scroll", role="region", aria_label=caption, tabindex="0")


def bar(share: float) -> Html | str:
    """Return a bar as long as a share, 0 to 1, of its cell; the figure must stand beside it."""
    if share <= 0:
        return ""
    length = max(0.0, min(1.0, share)) * 100
    return element("span", class_="bar", style=f"width:{length:.1f}%", aria_hidden="true")


def section(title: str, *parts: object, name: str) -> Html:
    """Return a part of a page under a heading of the second level, which `name` leads to."""
    heading = element("h2", title, id=name)
    return element("section", joined((heading, *parts), "\n"), aria_labelledby=name)


def links(entries: Iterable[tuple[str, str]], label: str) -> Html:
    """Return a list of links (address, words) as navigation; addresses are relative."""
    return element(
        "nav",
        element("ul", *(element("li", element("a", words, href=href)) for href, words in entries)),
        aria_label=label,
    )


def page(title: str, lead: object, body: Iterable[object], *, navigation: object) -> Html:
    """Return a whole document that needs nothing else: no script, and nothing is fetched.

    Args:
        title: its one heading of the first level, and its title.
        lead: what stands below it.
        body: its sections; None is left out.
        navigation: links to other pages.
    """
    head = (
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("title", title),
        element("style", Html(STYLE)),
    )
    content = (
        element("a", "Skip to the content", href="#content", class_="skip"),
        element("header", navigation),
        element("main", joined((element("h1", title), lead, *body), "\n"), id="content", tabindex="-1"),
    )
    document = element(
        "html", element("head", joined(head, "\n")), element("body", joined(content, "\n")), lang="en"
    )
    return Html(f"<!DOCTYPE html>\n{document}\n")


def _attribute(name: str, value: object) -> str:
    return f" {name}" if value is True else f' {name}="{text(str(value))}"'


def _figure(value: object) -> object:
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else value
