"""The pages of the reports: written by every sync, listed, opened by the command line, sound in a browser."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import date, timedelta
from itertools import product
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import urljoin

import axe_core_python
import pytest

from gguf_assets.demo.generate import GeneratedHub
from gguf_assets.demo.server import LoopbackHub
from gguf_assets.quality.dashboard import FailedSync, dashboard_page
from gguf_assets.quality.day_page import day_page
from gguf_assets_tests.calling import Catalogue, launch
from gguf_assets_tests.quality.pages import Page, days, facts, highlights

pytestmark = pytest.mark.usefixtures("drawing")

LAST = date(2025, 8, 12)
FIRST, SECOND = LAST - timedelta(2), LAST - timedelta(1)
DASHBOARD = "GGUF_SYNC__MONITORING__ENABLE_DASHBOARD"
METRICS = "GGUF_SYNC__MONITORING__ENABLE_PERFORMANCE_METRICS"
CHROMIUM = Path("/usr/bin/chromium")


@pytest.fixture(scope="module")
def hub() -> Iterator[LoopbackHub]:
    source = GeneratedHub(seed=7, repositories=40, days=3, last_day=LAST)
    with LoopbackHub(source, day=FIRST, tick=0) as hub:
        yield hub


@pytest.fixture(scope="module")
def two_days(tmp_path_factory: pytest.TempPathFactory, hub: LoopbackHub) -> Catalogue:
    """A catalogue of two days, with the dashboard from the second one on."""
    catalogue = Catalogue(tmp_path_factory.mktemp("pages"), hub)
    assert catalogue.sync().code == 0
    assert not catalogue.store.layout.dashboard_page.exists()
    hub.set_day(SECOND)
    assert catalogue.sync(**{DASHBOARD: "true"}).code == 0
    return catalogue


@pytest.fixture
def catalogue(two_days: Catalogue, tmp_path: Path) -> Catalogue:
    """A copy of it."""
    return two_days.copy(tmp_path)


def read(path: Path) -> Page:
    return Page(path.read_text(encoding="utf-8"))


def metadata_of(catalogue: Catalogue, day: date) -> dict[str, Any]:
    """The metadata of `sync_report` when it is launched alone."""
    result = launch(catalogue, day, "sync_report")
    assert result.success
    [event] = result.get_asset_materialization_events()
    found = event.step_materialization_data.materialization.metadata
    return {name: entry.value for name, entry in found.items()}


def test_every_sync_writes_the_page_of_its_day_and_the_list_of_all_days(two_days: Catalogue) -> None:
    layout = two_days.store.layout
    first, second, index = (
        read(layout.day_page(FIRST)),
        read(layout.day_page(SECOND)),
        read(layout.index_page),
    )
    assert f"GGUF catalogue, {FIRST}" in first.texts
    assert not first.named("figure"), "a first day has nothing over time"
    assert {"chart-models", "chart-requests"} <= {figure["id"] for figure in second.named("figure")}
    models = f"{len(two_days.models(SECOND)):,}"
    assert index.row("Published days, newest first", str(SECOND))[0] == models
    for place, page in [(layout.day_page(SECOND), second), (layout.index_page, index)]:
        links = [a["href"] or "" for a in page.named("a") if a["href"] != "#content"]
        assert links
        for link in links:
            assert Path(urljoin(str(place), link)).is_file(), link


def test_the_page_shows_the_day_as_it_is_stored(two_days: Catalogue) -> None:
    page = read(two_days.store.layout.day_page(SECOND))
    changed = two_days.rows("changes", SECOND)
    for kind in ("added", "updated", "removed"):
        happened = [row["model_id"] for row in changed if row["change"] == kind]
        assert page.row(f"Models that changed since {FIRST}", kind) == [str(len(happened))]
        if kind != "updated":
            assert set(happened[:10]) <= set(page.texts)
    scores = {row["model_id"]: row["score"] for row in two_days.rows("health", SECOND)}
    [worst] = [rows for caption, rows in page.tables.items() if caption.startswith("The lowest scores")]
    assert [row[1] for row in worst[1:]] == [f"{score:.2f}" for score in sorted(scores.values())[:10]]
    assert all(f"{scores[row[0]]:.2f}" == row[1] for row in worst[1:])
    requests = [f"{sync.figures['requests']:,}" for sync in two_days.store.history.syncs()]
    [rows] = [rows for caption, rows in page.tables.items() if caption.startswith("Published days from")]
    assert [row[rows[0].index("requests")] for row in rows[1:]] == requests[::-1]


def test_the_dashboard_is_written_where_it_is_wanted(two_days: Catalogue) -> None:
    layout = two_days.store.layout
    page = read(layout.dashboard_page)
    assert "chart-models" in [figure["id"] for figure in page.named("figure")]
    assert [row[0] for row in page.tables["Published days, newest first"][1:]] == [str(SECOND), str(FIRST)]
    assert "dashboard.html" in [a["href"] for a in read(layout.index_page).named("a")]


def test_metadata_names_the_pages_and_their_bytes(catalogue: Catalogue) -> None:
    layout = catalogue.store.layout
    told = metadata_of(catalogue, SECOND)
    assert told["page"] == str(layout.day_page(SECOND))
    assert told["index_page"] == str(layout.index_page)
    assert "dashboard_page" not in told
    written = layout.day_page(SECOND).stat().st_size + layout.index_page.stat().st_size
    assert (told["pages"], told["page_bytes"]) == (2, written)


def test_pages_that_cannot_be_drawn_fail_no_published_day_and_are_told(catalogue: Catalogue) -> None:
    layout = catalogue.store.layout
    with mock.patch("gguf_assets.quality.charts.draw", side_effect=ValueError("no font")):
        told = metadata_of(catalogue, SECOND)
        catalogue.hub.set_day(LAST)
        synced = catalogue.sync("--json")
    assert told["pages_problem"] == "ValueError: no font"
    assert (told["pages"], told["page_bytes"]) == (0, 0)
    assert not layout.day_page(SECOND).exists(), "a page of the day as it was before would mislead"
    assert synced.json["published"]
    assert catalogue.last.state == "finished"
    assert not layout.day_page(LAST).exists()
    assert catalogue.call("report", "--date", str(LAST), "--json").json["page"] is None
    assert catalogue.call("report", "--html").stdout == layout.day_page(LAST).read_text(encoding="utf-8")
    listed = read(layout.index_page)
    assert f"date={LAST}/index.html" in [a["href"] for a in listed.named("a")]
    assert f"date={SECOND}/index.html" not in [a["href"] for a in listed.named("a")]


def test_a_day_that_is_derived_again_gets_its_page_again(catalogue: Catalogue) -> None:
    page = catalogue.store.layout.day_page(FIRST)
    page.write_text("old")
    assert catalogue.call("rederive", "--from", str(FIRST), "--to", str(FIRST)).code == 0
    assert f"GGUF catalogue, {FIRST}" in read(page).texts


def test_without_performance_metrics_no_duration_is_shown_over_time(catalogue: Catalogue) -> None:
    layout = catalogue.store.layout
    assert "seconds" in read(layout.index_page).tables["Published days, newest first"][0]
    layout.day_page(SECOND).unlink()
    assert (
        catalogue.call("report", "--html", GGUF_SYNC__MONITORING__ENABLE_PERFORMANCE_METRICS="false").code
        == 0
    )
    assert "chart-seconds" not in layout.day_page(SECOND).read_text(encoding="utf-8")
    assert "seconds" not in read(layout.index_page).tables["Published days, newest first"][0]


def test_open_opens_the_page_and_makes_the_one_of_an_older_day(catalogue: Catalogue) -> None:
    page = catalogue.store.layout.day_page(FIRST)
    page.unlink()
    with mock.patch("webbrowser.open", return_value=True) as browser:
        ended = catalogue.call("report", "--date", str(FIRST), "--open")
    assert (ended.code, ended.stdout) == (0, f"Opened {page}\n")
    browser.assert_called_once_with(page.as_uri())
    assert f"GGUF catalogue, {FIRST}" in read(page).texts


def test_without_a_browser_open_says_where_the_page_lies(catalogue: Catalogue) -> None:
    page = catalogue.store.layout.day_page(SECOND)
    with mock.patch("webbrowser.open", return_value=False):
        plain = catalogue.call("report", "--open")
        as_json = catalogue.call("report", "--open", "--json")
    assert plain.stdout.splitlines()[0] == f"No browser was found here. The page: {page}"
    assert "Open that file in any browser" in plain.stdout
    assert json.loads(as_json.stdout) == {
        "date": str(SECOND),
        "report": catalogue.store.layout.report_file(SECOND).read_text(),
        "page": str(page),
    }
    assert str(page) in as_json.stderr


def test_the_report_as_text_is_as_it_was(catalogue: Catalogue) -> None:
    stored = catalogue.store.layout.report_file(SECOND).read_text()
    assert catalogue.call("report").stdout.strip() == stored.strip()


def hostile_pages(folder: Path) -> dict[str, Path]:
    """Pages of names and errors that want to be more than text, over more days than have points."""
    name = "<script>x</script>" + "owner/" + "Very-Long-Name-" * 40
    failed = [FailedSync(None, None, "network", "no answer from http://127.0.0.1:9/" + "x" * 200)]
    made = {
        "hostile day": day_page(facts(), highlights(name, name), days(9)),
        "hostile dashboard": dashboard_page(
            days(9), failed, lambda day: f"date={day.day}/index.html", index="index.html"
        ),
    }
    paths = {kind: folder / f"{kind}.html" for kind in made}
    for kind, path in paths.items():
        path.write_text(made[kind], encoding="utf-8")
    return paths


@pytest.mark.browser
@pytest.mark.slow
def test_pages_are_sound_in_a_browser(two_days: Catalogue, tmp_path: Path) -> None:
    """On a desk and on a phone, light and dark: nothing asked for or said, no barrier, no side scrolling."""
    if not CHROMIUM.exists():
        pytest.skip(f"{CHROMIUM} is not there: no browser to look at the pages with")
    from playwright.sync_api import sync_playwright

    layout = two_days.store.layout
    pages = {"day": layout.day_page(SECOND), "list": layout.index_page, **hostile_pages(tmp_path)}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        for width, scheme in product((1280, 390), ("light", "dark")):
            context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
            for kind, path in pages.items():
                # The slow part: for the further pages one of the four ways will do.
                barriers = kind == "day" or (width, scheme) == (390, "dark")
                where = f"{kind}, {width} px, {scheme}"
                look_at(context.new_page(), path, width, scheme, where, barriers=barriers)
            context.close()
        browser.close()


def look_at(page: Any, path: Path, width: int, scheme: str, where: str, *, barriers: bool) -> None:
    """Assert that a page is sound, with all that folds open."""
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(path.as_uri())
    page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    assert asked == [path.as_uri()], where
    assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{where}: it scrolls sideways"
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", ground)[:3])) > 384) is (scheme == "light"), where
    assert page.evaluate("parseFloat(getComputedStyle(document.body).fontSize)") == 16, where
    if barriers:
        find_barriers(page, where)
    assert said == [], where
    page.close()


def find_barriers(page: Any, where: str) -> None:
    """Assert that axe-core finds no serious or critical barrier."""
    page.evaluate((Path(axe_core_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8"))
    found = page.evaluate("axe.run({resultTypes: ['violations']})")
    assert found["passes"], where
    grave = [one for one in found["violations"] if one["impact"] in ("serious", "critical")]
    assert [(one["id"], one["nodes"][0]["html"][:200]) for one in grave] == [], where
