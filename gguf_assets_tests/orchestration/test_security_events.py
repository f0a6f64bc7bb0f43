"""Security events in the audit trail: which errors are some, once each, without secrets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gguf_assets.demo.faults import Fault, FaultKind
from gguf_assets.errors import ErrorCategory, ForeignAddressError, PermanentError, Refused, TransientError
from gguf_assets.orchestration.security_events import note_security_event, security_events
from gguf_assets.settings.load import load_settings
from gguf_assets_tests.calling import Catalogue
from gguf_assets_tests.hubs import hub_of, repository

HUB = "http://127.0.0.1:9"
REFUSED_TOKEN = PermanentError("it does not accept the token", category=ErrorCategory.AUTHENTICATION)
DENIED = PermanentError("not permitted", category=ErrorCategory.PERMISSION)
FOREIGN = ForeignAddressError("it pointed to https://elsewhere.invalid", remedy="Set HF_ENDPOINT.")


def trail(home: Path) -> list[dict[str, Any]]:
    file = home / "data" / "logs" / "audit.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def settings(home: Path, **environ: str):
    known = {"SYNC_ENVIRONMENT": "testing", "HF_ENDPOINT": HUB, "GGUF_ASSETS_DATA_DIR": str(home / "data")}
    return load_settings({**known, **environ})


@pytest.mark.parametrize(
    ("error", "event"),
    [
        (REFUSED_TOKEN, "authentication_failed"),
        (DENIED, "permission_denied"),
        (FOREIGN, "foreign_address"),
        (PermanentError("no such page", category=ErrorCategory.API), None),
        (TransientError("timed out", category=ErrorCategory.TIMEOUT), None),
        (Refused("Hugging Face token is required", category=ErrorCategory.AUTHENTICATION), None),
    ],
    ids=str,
)
def test_which_errors_are_events(tmp_path, error, event):
    with pytest.raises(type(error)), security_events(settings(tmp_path), "gguf-assets sync"):
        raise error
    noted = trail(tmp_path)
    assert [entry["event"] for entry in noted] == ([] if event is None else [event])
    for entry in noted:
        assert entry["command"] == "gguf-assets sync"
        assert entry["message"] == error.message
        assert entry["endpoint"] == HUB


def test_what_a_run_noted_its_command_does_not_note_again(tmp_path):
    loaded = settings(tmp_path)
    with pytest.raises(PermanentError), security_events(loaded, "gguf-assets sync"):
        with security_events(loaded, "run 1 of daily_sync"):
            note_security_event(REFUSED_TOKEN)
        raise PermanentError(REFUSED_TOKEN.message, category=ErrorCategory.AUTHENTICATION)
    assert [entry["command"] for entry in trail(tmp_path)] == ["run 1 of daily_sync"]


def test_outside_of_a_run_and_with_the_trail_off_nothing_is_noted(tmp_path):
    note_security_event(REFUSED_TOKEN)
    off = settings(tmp_path, GGUF_SYNC__SECURITY__ENABLE_AUDIT_LOGGING="false")
    with security_events(off, "gguf-assets sync"):
        note_security_event(REFUSED_TOKEN)
    assert trail(tmp_path) == []


def test_a_trail_that_cannot_be_written_hides_no_error(tmp_path, caplog):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "logs").write_text("in the way")
    with pytest.raises(PermanentError, match="does not accept"), security_events(settings(tmp_path), "x"):
        raise REFUSED_TOKEN
    assert "authentication_failed" in caplog.text


@pytest.mark.parametrize(
    ("fault", "event"),
    [
        (Fault(FaultKind.STATUS, status=403, count=None), "permission_denied"),
        (Fault(FaultKind.FOREIGN_LINK, "sort=createdAt"), "foreign_address"),
        (Fault(FaultKind.STATUS, "sort=createdAt", status=403, count=None), "permission_denied"),
    ],
    ids=["before the run", "foreign link", "in the run"],
)
def test_a_sync_notes_them_once(tmp_path, fault, event):
    with hub_of([repository(f"owner/model-{number}") for number in range(5)], page_size=3) as hub:
        catalogue = Catalogue(tmp_path, hub)
        assert catalogue.sync(fault=fault).code == 1
        ended = catalogue.sync()
    assert ended.code == 0, ended
    noted = [entry for entry in trail(tmp_path) if entry["event"] in (event, "authentication_failed")]
    assert [entry["event"] for entry in noted] == [event]
    assert noted[0]["endpoint"] == hub.url
