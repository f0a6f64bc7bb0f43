"""What the command line makes of a run that ends in an error nobody thought of."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

from gguf_assets.orchestration.assets import publish
from gguf_assets_tests.calling import Catalogue
from gguf_assets_tests.hubs import hub_of, repository


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
