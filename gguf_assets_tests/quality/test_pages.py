from __future__ import annotations

import re
import subprocess
import sys
import unicodedata
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gguf_assets.quality.charts import draw
from gguf_assets.quality.completeness import REQUIRED_FIELDS
from gguf_assets.quality.dashboard import FailedSync, dashboard_page
from gguf_assets.quality.day_page import day_page
from gguf_assets.quality.html import Html, element
from gguf_assets.quality.index_page import index_page
from gguf_assets.quality.markdown import TEXT_LENGTH
from gguf_assets.quality.page_style import STYLE

from .pages import HEALTH, Page, days, facts, first_day, highlights

pytestmark = pytest.mark.usefixtures("drawing")

FAILED = [FailedSync("2025-08-16", datetime(2025, 8, 16, 2, 30, tzinfo=UTC), "api", "the Hub answered <500>")]


def address(day):
    return f"date={day.day}/index.html"


@pytest.fixture(scope="module")
def pages():
    """One page of each kind, with charts."""
    return {
        "day": str(day_page(facts(), highlights(), days(5), navigation=[("../index.html", "All days")])),
        "first day": first_day(),
        "index": str(index_page(days(5), address, dashboard="dashboard.html")),
        "dashboard": str(dashboard_page(days(5), FAILED, address, index="index.html")),
    }


KINDS = pytest.mark.parametrize("kind", ["day", "first day", "index", "dashboard"])


@KINDS
def test_a_page_is_a_whole_document_whose_elements_nest(pages, kind):
    page = Page(pages[kind])
    assert page.declared == "DOCTYPE html"
    assert page.named("html") == [{"lang": "en"}]
    assert {"charset": "utf-8"} in page.named("meta")
    viewport = [meta for meta in page.named("meta") if meta.get("name") == "viewport"]
    assert viewport == [{"name": "viewport", "content": "width=device-width, initial-scale=1"}]
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for tag, attributes in page.elements:
        if "aria-labelledby" in attributes:
            assert set((attributes["aria-labelledby"] or "").split()) <= set(ids), tag


@KINDS
def test_a_page_fetches_nothing_runs_nothing_and_leads_nowhere_else(pages, kind):
    page = Page(pages[kind])
    assert not {"script", "link", "img", "iframe", "object", "base", "form"} & {
        tag for tag, _ in page.elements
    }
    for tag, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on") or name in ("src", "srcset")], tag
        href = attributes.get("href")
        assert href is None or re.fullmatch(r"#content|(\.\./)?(date=[-\d]+/)?(index|dashboard)\.html", href)
    assert "url(" not in pages[kind]
    assert "@import" not in pages[kind]
    assert "http" not in re.sub(r"http-equiv", "", pages[kind])
    [policy] = [meta["content"] for meta in page.named("meta") if "http-equiv" in meta]
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'")


@KINDS
def test_headings_are_in_order_and_tables_say_what_they_are(pages, kind):
    page = Page(pages[kind])
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(below <= above + 1 for above, below in pairwise(levels))
    assert len(page.named("table")) == len(page.named("caption")) == len(page.tables)
    assert all(head.get("scope") in ("row", "col") for head in page.named("th"))
    for rows in page.tables.values():
        assert len({len(row) for row in rows}) == 1, rows[0]


def test_the_page_of_a_day_shows_its_figures(pages):
    page = Page(pages["day"])
    changed = f"Models that changed since {facts().baseline}"
    assert [page.row(changed, kind) for kind in ("added", "updated", "removed", "renamed")] == [
        ["12"], ["1"], ["1"], ["1"],
    ]  # fmt: skip
    assert "and 2 more" in page.texts, "twelve were added, ten are named"
    assert "owner/Model-GGUF-before → owner/Model-GGUF" in page.text
    assert page.row("Rising downloads", "owner/Model-GGUF") == ["+1,500", "20,000"]
    assert page.row("Falling downloads", "owner/Model-GGUF") == ["-7", "–"]
    assert "Quantizations: NVFP4, Q0, Q1, Q2, Q3, Q4, Q5, Q6, Q7, Q8 and 2 more." in page.text
    parts = "Completeness and what it is made of"
    assert page.row(parts, "completeness")[0] == page.row(parts, "coverage")[0] == "0.9600"
    assert page.row(parts, "put back")[0] == "1"
    assert page.row(parts, "file details known")[0] == "0.5000"
    fields = page.tables["Share of the listed models that have each required field"]
    assert [row[0] for row in fields[1:]] == [f"filled {name.replace('_', ' ')}" for name in REQUIRED_FIELDS]
    assert page.row("Seconds of each stage", "listing") == ["40.0"]
    assert "152 requests, 150 of them for details." in page.texts


def test_the_page_of_a_day_shows_health_and_who_lacks_what(pages):
    page = Page(pages["day"])
    assert "Mean 7.25, median 8.50 of 10, over 90 models. State: yellow." in page.text
    assert page.row("Models by grade", "B") == ["45", "50.0%", ""]
    assert [row[1] for row in page.tables["Models by score"][1:]] == [f"{n}" for n in HEALTH["scores"]]
    checks = "The checks behind the score, 0 to 10 each"
    assert page.row(checks, "licensed")[:4] == ["5.50", "4", "80", "50.0%"]
    assert page.row(checks, "verifiable")[:4] == ["–", "2", "0", "–"]
    [worst] = [rows for caption, rows in page.tables.items() if caption.startswith("The lowest scores")]
    assert worst[1][1:3] == ["1.50", "F"]
    assert "licensed: none. State the licence in the model card" in worst[1][3]
    assert "described: one of them. Add pipeline_tag and library_name to the model card." in worst[1][3]


def test_the_page_of_a_day_shows_what_was_found_fixed_and_skipped(pages):
    page = Page(pages["day"])
    rows = page.tables["Findings by rule, gravest first"][1:]
    assert [row[:5] for row in rows] == [
        ["empty_file", "3", "warning", "files", ""],
        ["no_gguf_file", "1,001", "info", "contents", ""],
        ["upper_case", "2", "info", "reading", "put right"],
        ["of_old", "4", "info", "reading", ""],
    ]
    assert "An upload that failed leaves an empty file behind." in rows[0][5]
    assert page.tables["Rules that were not applied"][1:] == [
        ["label_size_mismatch", "switched off by validation.disabled_rules"],
        ["stalled_day", "switched off, or without what it needs"],
        ["file_order", "time was up"],
    ]


def test_the_page_of_a_day_draws_the_days_and_shows_the_figures_behind(pages):
    page = Page(pages["day"])
    assert [figure["id"] for figure in page.named("figure")] == [
        "chart-models", "chart-completeness", "chart-health", "chart-requests", "chart-seconds",
    ]  # fmt: skip
    [rows] = [rows for caption, rows in page.tables.items() if caption.startswith("Published days from")]
    assert [row[0] for row in rows[1:]] == [day.day.isoformat() for day in reversed(days(5))]
    head = rows[0]
    assert rows[1][head.index("models")] == "1,040"
    assert rows[1][head.index("seconds")] == "49.2"
    assert rows[-1][head.index("added")] == "–", "the first day has nothing to compare with"


def test_what_is_not_known_of_older_days_is_a_gap_and_no_zero():
    lacking = {
        "health_mean": None,
        "health_median": None,
        "requests": None,
        "coverage": None,
        "seconds": None,
    }
    older, newer = days(3, **lacking), days(5)[3:]
    page = Page(day_page(facts(health={}, grades={}), highlights(), [*older[:3], *newer]))
    [words] = [text for text in page.texts if text.startswith("mean: ")]
    assert "mean: 7.03 on 2025-08-16, 7.04 on 2025-08-17" in words
    [rows] = [rows for caption, rows in page.tables.items() if caption.startswith("Published days from")]
    assert [row[rows[0].index("requests")] for row in rows[1:]] == ["154", "153", "–", "–", "–"]
    assert "Mean health" not in page.text


def test_durations_that_are_not_to_be_shown_are_neither_drawn_nor_listed():
    page = Page(day_page(facts(durations={}), highlights(), days(4, seconds=None)))
    assert "chart-seconds" not in [figure["id"] for figure in page.named("figure")]
    assert "seconds" not in page.text.lower()


def test_a_first_day_draws_nothing_and_does_not_load_what_draws():
    code = (
        "import sys\n"
        "from gguf_assets_tests.quality.pages import first_day\n"
        "assert '<figure' not in first_day()\n"
        "assert not {'altair', 'vl_convert'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_first_day_and_one_that_failed_its_checks_say_so():
    page = Page(day_page(facts(baseline=None), highlights(), days(1)))
    assert "This is the first day: there is nothing to compare it with." in page.texts
    failed = facts(failed=("completeness 0.5 is too low",), blocking=["schema"], published=False)
    text = Page(day_page(failed, highlights(), days(1))).text
    assert "Published although its checks failed: completeness 0.5 is too low." in text
    assert "Blocking findings: schema" in text
    assert "Not published. This is the candidate of the day." in text


def test_the_index_lists_all_days_and_links_those_that_have_a_page():
    listed = [*days(3, page=False)[:1], *days(3)[1:]]
    page = Page(index_page(listed, address))
    rows = page.tables["Published days, newest first"]
    assert [row[0] for row in rows[1:]] == ["2025-08-17", "2025-08-16", "2025-08-15"]
    links = [a["href"] for a in page.named("a") if a["href"] != "#content"]
    assert links == ["date=2025-08-17/index.html", "date=2025-08-16/index.html"]
    assert "1 without a page: gguf-assets report --date DAY --open makes it." in page.text
    assert "No day is published yet." in Page(index_page([], address)).texts


def test_the_dashboard_has_all_trends_and_the_syncs_that_failed(pages):
    page = Page(pages["dashboard"])
    assert [figure["id"].removeprefix("chart-") for figure in page.named("figure")] == (
        "models changes completeness health requests seconds findings failed".split()
    )
    assert page.tables["1 in all"][1] == [
        "2025-08-16 02:30 UTC",
        "2025-08-16",
        "api",
        "the Hub answered <500>",
    ]
    quiet = Page(dashboard_page(days(2, failed_syncs=0), [], address, index="index.html"))
    assert "chart-failed" not in [figure["id"] for figure in quiet.named("figure")]
    many = Page(dashboard_page(days(1), FAILED * 30, address, index="index.html"))
    assert len(many.tables["The last 20 of 30"]) == 21


HOSTILE = [
    "<script>alert(1)</script>",
    "</td></tr></table><h1>mine</h1>",
    '" onmouseover="alert(1)',
    "'><img src=http://x.example/a.png>",
    "<!-- ",
    "&lt;b&gt;",
    "]]></style>",
    "ab\u202ecd\u2066ef\x00\x1b[31m",
    "مودل/نموذج",
    "x" * 5_000,
]


@pytest.mark.parametrize("name", HOSTILE)
def test_markup_and_direction_of_strangers_stay_text(name):
    plain, hostile = Page(first_day()), Page(first_day(name))
    assert hostile.elements == plain.elements
    shown = " ".join("".join(" " if c in "\x00\x1b\u202e\u2066" else c for c in name).split())
    assert (shown if len(shown) <= TEXT_LENGTH else shown[: TEXT_LENGTH - 1] + "…") in hostile.texts
    assert not set("\u202e\u2066\x00\x1b") & set(first_day(name))


@settings(max_examples=40)
@given(st.text(alphabet=st.one_of(st.characters(exclude_categories=["Cs"]), st.sampled_from("<>&\"'/=`-!"))))
def test_no_name_changes_the_elements_of_a_page(name):
    assert Page(first_day(name)).elements == Page(first_day()).elements


@given(st.text(alphabet=st.one_of(st.characters(), st.sampled_from("<>&\"'/=`-! "))))
def test_texts_and_values_of_attributes_come_back_as_they_were(value):
    shown = "".join(" " if unicodedata.category(c).startswith("C") else c for c in value)
    page = Page(element("p", value, title=value))
    assert page.elements == [("p", {"title": shown})]
    assert page.text == shown


def test_markup_of_ours_is_not_escaped_twice():
    assert element("p", Html("<b>x</b>"), " & ", 3) == "<p><b>x</b> &amp; 3</p>"


@KINDS
def test_the_same_facts_give_the_same_bytes(pages, kind):
    again = {
        "day": lambda: day_page(facts(), highlights(), days(5), navigation=[("../index.html", "All days")]),
        "first day": first_day,
        "index": lambda: index_page(days(5), address, dashboard="dashboard.html"),
        "dashboard": lambda: dashboard_page(days(5), FAILED, address, index="index.html"),
    }
    draw.cache_clear()
    assert str(again[kind]()) == pages[kind]


def luminance(colour):
    """Relative luminance as WCAG 2.2 defines it."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("number", range(3), ids=["light", "dark", "paper"])
def test_text_and_lines_stand_out_from_their_ground(number):
    declared = re.findall(r"--ground: #[^}]+", STYLE)[number]
    scheme = dict(re.findall(r"--([a-z0-9-]+): (#[0-9a-f]{6});", declared))
    for ground in (scheme["ground"], scheme["panel"]):
        for name in ("ink", "faint", "link", "good", "middling", "bad"):
            assert contrast(scheme[name], ground) >= 4.5, name
        for name in (name for name in scheme if name.startswith("series-")):
            assert contrast(scheme[name], ground) >= 3, name
