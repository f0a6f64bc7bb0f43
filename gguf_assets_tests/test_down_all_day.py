"""A-26: the Hub is down all day. People know, readers read on, the next day heals."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
import time_machine

from gguf_assets.demo.server import LoopbackHub
from gguf_assets.orchestration.alert_sensors import build_alert_sensors
from gguf_assets.orchestration.freshness import FRESH, FRESHNESS_SENSOR
from gguf_assets.settings.load import load_settings
from gguf_assets_tests.alerts.receivers import answering, receiving
from gguf_assets_tests.calling import Catalogue
from gguf_assets_tests.hubs import hub_of, repository
from gguf_assets_tests.running import Ended

FIRST = date(2025, 8, 10)
HALF_PAST_TWO = datetime(2025, 8, 10, 2, 30, tzinfo=UTC)
DAYS = [FIRST + timedelta(days=number) for number in range(5)]
MODELS = [repository(f"owner/model-{number}") for number in range(3)]
CLOSED = "http://127.0.0.1:9"
DAY = timedelta(days=1)


class Story:
    """What was seen on the way."""

    def __init__(self) -> None:
        self.syncs: dict[str, Ended] = {}
        self.status: dict[str, Any] = {}
        self.files: dict[str, Any] = {}
        self.published: dict[str, dict[str, str]] = {}
        self.told: dict[str, list[str]] = {}
        self.checks: dict[str, list[tuple[bool, str]]] = {}


@contextmanager
def clock(hub: LoopbackHub, moment: datetime) -> Iterator[None]:
    hub.set_day(moment.date(), moment.time())
    with time_machine.travel(moment, tick=True):
        yield


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """A day that works, one on which the Hub is down, and the day after."""
    home, seen = tmp_path_factory.mktemp("down"), Story()
    with (
        hub_of(dict.fromkeys(DAYS, MODELS), day=FIRST, tick=0) as hub,
        receiving(answering(200)) as hook,
    ):
        catalogue = Catalogue(
            home,
            hub,
            GGUF_SYNC__MONITORING__ENABLE_ALERTS="true",
            GGUF_SYNC__ERROR_HANDLING__ENABLE_NOTIFICATIONS="true",
            GGUF_SYNC__MONITORING__ALERT_CHANNELS="webhook",
            GGUF_SYNC__NOTIFICATIONS__NOTIFICATION_CHANNELS="webhook",
            GGUF_SYNC__NOTIFICATIONS__WEBHOOK_URLS="env:HOOK",
            HOOK=f"{hook.url}/services/x",
            MAX_RETRIES="1",
            GGUF_SYNC__RATE_LIMITING__BACKOFF_BASE="1.0",
        )
        cursor: str | None = None

        def note(name: str, moment: datetime) -> None:
            nonlocal cursor
            seen.checks[name], cursor = ticked(catalogue, cursor, moment)
            seen.published[name] = catalogue.published()
            seen.files[name] = json.loads((catalogue.data / "freshness.json").read_bytes())
            seen.status[name] = catalogue.call("status", "--json").json
            first_lines = [request.document["text"].splitlines()[0] for request in hook.requests]
            # A small Hub of a test has no independent count, which the check of completeness says.
            seen.told[name] = [line for line in first_lines if "Check completeness" not in line]
            hook.requests.clear()

        with clock(hub, HALF_PAST_TWO):
            seen.syncs["good"] = catalogue.sync()
            note("good", HALF_PAST_TWO)
        alive = catalogue.environ["HF_ENDPOINT"]
        catalogue.environ["HF_ENDPOINT"] = CLOSED
        with clock(hub, HALF_PAST_TWO + DAY):
            seen.syncs["down"] = catalogue.sync()
            note("down", HALF_PAST_TWO + DAY)
        with clock(hub, HALF_PAST_TWO + DAY + timedelta(hours=3)):
            seen.syncs["still down"] = catalogue.sync()
            note("still down", HALF_PAST_TWO + DAY + timedelta(hours=3))
        with clock(hub, HALF_PAST_TWO + 2 * DAY + timedelta(hours=4)):
            note("two days", HALF_PAST_TWO + 2 * DAY + timedelta(hours=4))
            catalogue.environ["HF_ENDPOINT"] = alive
            seen.syncs["healed"] = catalogue.sync("--json")
            note("healed", HALF_PAST_TWO + 2 * DAY + timedelta(hours=4))
        yield seen


def ticked(
    catalogue: Catalogue, cursor: str | None, moment: datetime
) -> tuple[list[tuple[bool, str]], str | None]:
    """Turn the freshness sensor's loop; return the checks it shows, and its cursor."""
    loaded = load_settings(catalogue.environ)
    (sensor,) = [
        one for one in build_alert_sensors(catalogue.environ, loaded) if one.name == FRESHNESS_SENSOR
    ]
    with dg.build_sensor_context(cursor=cursor) as context:
        tick = sensor.evaluate_tick(context)
    shown = []
    for event in tick.asset_events:
        assert isinstance(event, dg.AssetCheckEvaluation)
        assert (event.asset_key, event.check_name) == (dg.AssetKey("published_catalogue"), FRESH)
        shown.append((event.passed, event.severity.value))
    return shown, tick.cursor


def test_the_sync_fails_after_its_retries_with_its_category(story):
    down = story.syncs["down"]
    assert down.code == 1
    assert "tried twice" in down.stderr or "2 tries" in down.stderr or "tried 2 times" in down.stderr, (
        down.stderr
    )
    last = story.status["down"]["syncs"][-1]
    assert (last["state"], last["category"]) == ("failed", "network")


def test_readers_read_on_as_if_nothing_had_happened(story):
    assert story.syncs["good"].code == 0
    good = story.published["good"]
    assert good
    assert story.published["down"] == story.published["still down"] == story.published["two days"] == good


def test_the_file_and_the_status_say_stale_since_when_and_why(story):
    assert story.files["good"]["state"] == "fresh"
    assert story.files["down"]["state"] == "fresh", "a day has not passed"
    assert "network" in story.files["down"]["reason"]
    still = story.files["still down"]
    assert (still["state"], still["stale_since"]) == ("stale", "2025-08-11T04:30:00+00:00")
    assert still["latest_day"] == "2025-08-10"
    assert story.status["still down"]["freshness"]["state"] == "stale"
    assert story.status["two days"]["freshness"]["state"] == "failed"
    assert story.files["two days"]["failed_after"] == "2025-08-12T04:30:00+00:00", (
        "a reader can tell by itself"
    )


def test_the_check_turns_yellow_then_red_then_green_without_any_run(story):
    assert story.checks == {
        "good": [(True, "WARN")],
        "down": [(True, "WARN")],
        "still down": [(False, "WARN")],
        "two days": [(False, "ERROR")],
        "healed": [(True, "WARN")],
    }


def test_people_are_told_once_and_when_it_is_over(story):
    told = story.told
    assert told["good"] == []
    (failed,) = told["down"]
    assert "failed (network)" in failed
    again, stale = told["still down"]
    assert "failed (network)" in again, "hours later it still fails"
    assert "The published catalogue is stale" in stale
    (critical,) = told["two days"]
    assert "stale for too long" in critical
    assert len(told["healed"]) == 2
    assert all("over: " in text for text in told["healed"])


def test_the_next_day_is_full_and_clean_again(story):
    healed = story.syncs["healed"]
    assert healed.code == 0, healed.stderr
    assert (healed.json["mode"], healed.json["reason"]) == ("full", "last_failed")
    assert healed.json["date"] == "2025-08-12"
    assert story.files["healed"]["state"] == "fresh"
    assert story.files["healed"]["reason"] is None
    assert story.status["healed"]["freshness"]["state"] == "fresh"
