"""What the command line makes of runs that end in an odd way."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from unittest import mock

from gguf_assets.orchestration.assets import publish
from gguf_assets_tests.calling import Catalogue
from gguf_assets_tests.hubs import hub_of, repository

FIRST, SECOND = date(2025, 8, 10), date(2025, 8, 11)


def test_an_unexpected_error_is_named_with_its_run_and_without_a_traceback(tmp_path: Path) -> None:
    with hub_of([repository("owner/model")]) as hub:
        catalogue = Catalogue(tmp_path, hub)
        with mock.patch.object(publish, "publish", side_effect=ZeroDivisionError("seven by nought")):
            ended = catalogue.sync()
        assert ended.code == 1
        assert "An unexpected error ended the run: ZeroDivisionError: seven by nought" in ended.stderr
        assert f"event log of run {catalogue.last.run_id}" in ended.stderr
        assert "Traceback" not in ended.stderr
        assert catalogue.last.state == "failed"
        assert catalogue.published() == {}
        assert catalogue.sync().code == 0


def test_a_past_day_that_was_captured_and_never_published_is_derived_and_leaves_no_sync(
    tmp_path: Path,
) -> None:
    models = [repository("owner/model")]
    with hub_of({FIRST: models, SECOND: models}, day=FIRST, tick=0) as hub:
        catalogue = Catalogue(tmp_path, hub)
        with mock.patch.object(publish, "publish", side_effect=ZeroDivisionError("killed")):
            assert catalogue.sync().code == 1
        hub.set_day(SECOND)
        assert catalogue.sync().code == 0
        assert catalogue.store.published.days() == [SECOND]
        syncs, last = catalogue.store.history.syncs(), catalogue.last_sync_file

        ended = catalogue.sync("--date", str(FIRST), "--json")
        assert (ended.code, ended.json["published"], ended.json["requests"]) == (0, True, 0), ended
        assert hub.requests == []
        assert catalogue.store.published.days() == [FIRST, SECOND]
        assert (catalogue.store.history.syncs(), catalogue.last_sync_file) == (syncs, last)
