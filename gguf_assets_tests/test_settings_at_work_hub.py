"""Settings at work: how the Hub is asked, what a run says about it, and what it measures.

Each test sets a key as a user does and looks at what changes; the values are written down here.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import dagster as dg
import pytest

from gguf_assets.cli.terminal import open_terminal
from gguf_assets.demo.faults import Fault, FaultKind
from gguf_assets.errors import ErrorCategory, PermanentError
from gguf_assets.hub.client import HubClient
from gguf_assets.orchestration import capturing, progress, resources
from gguf_assets.orchestration.assets.capture import reporter
from gguf_assets.orchestration.instance import open_instance
from gguf_assets.orchestration.logs import RunLog
from gguf_assets.orchestration.resources import open_hub, request_limits
from gguf_assets.orchestration.traffic import failed_tries
from gguf_assets.settings.limits import effective_limits
from gguf_assets.settings.load import LoadedSettings, load_settings
from gguf_assets.settings.verbosity import PACKAGE, Terminal
from gguf_assets_tests.calling import Catalogue, call, launch
from gguf_assets_tests.hub.scripted import FakeTime, Reply, ScriptedHub
from gguf_assets_tests.hubs import DAY, hub_of, repository
from gguf_assets_tests.running import environment

TOKEN = "hf_" + "Qq7" * 11
GOOD = Reply.json([{"id": "a/b"}])
BROKEN = Reply(status=500)


def loaded(
    home: Path, endpoint: str = "", environ: dict[str, str] | None = None, **keys: Any
) -> LoadedSettings:
    """The settings of the testing environment; in the name of a key `__` stands for a dot."""
    variables = {"SYNC_ENVIRONMENT": "testing", "GGUF_ASSETS_DATA_DIR": str(home), **(environ or {})}
    if endpoint:
        variables["HF_ENDPOINT"] = endpoint
    return load_settings(
        variables, overrides={name.replace("__", "."): value for name, value in keys.items()}
    )


def asked(hub: ScriptedHub, fake: FakeTime, settings: LoadedSettings, *, luck: float = 1.0, times: int = 1):
    """A client as the settings want it, after asking for the same path so many times."""
    hooks = {**fake.hooks, "random": lambda: luck}
    with HubClient(hub.url, token=None, limits=request_limits(settings), **hooks) as client:
        for _ in range(times):
            client.get("/api/models")
    return client


# How the Hub is asked


@pytest.mark.parametrize(
    ("keys", "slept"),
    [
        ({}, [1.0, 2.0, 4.0]),
        ({"rate_limiting__backoff_base": 3.0}, [1.0, 3.0, 9.0]),
        ({"error_handling__enable_exponential_backoff": False}, [2.0, 2.0, 2.0]),
        (
            {"error_handling__enable_exponential_backoff": False, "rate_limiting__backoff_base": 5.0},
            [5.0, 5.0, 5.0],
        ),
    ],
)
def test_exponential_backoff_and_its_base_make_the_pauses(tmp_path, keys, slept):
    fake = FakeTime()
    with ScriptedHub([BROKEN, BROKEN, BROKEN, GOOD]) as hub:
        asked(hub, fake, loaded(tmp_path, hub.url, rate_limiting__backoff_jitter=False, **keys))
    assert fake.slept == slept


@pytest.mark.parametrize(
    ("jitter", "growing", "slept"),
    [(True, True, [0.5, 1.0]), (True, False, [1.0, 1.0]), (False, True, [1.0, 2.0])],
)
def test_jitter_shortens_growing_and_constant_pauses(tmp_path, jitter, growing, slept):
    fake = FakeTime()
    keys = {"rate_limiting__backoff_jitter": jitter, "error_handling__enable_exponential_backoff": growing}
    with ScriptedHub([BROKEN, BROKEN, GOOD]) as hub:
        asked(hub, fake, loaded(tmp_path, hub.url, **keys), luck=0.0)
    assert fake.slept == slept


def test_constant_pauses_still_give_way_to_what_the_hub_asks_for(tmp_path):
    fake = FakeTime()
    busy = Reply(status=429, headers=(("Retry-After", "30"),))
    with ScriptedHub([busy, BROKEN, GOOD]) as hub:
        settings = loaded(
            tmp_path,
            hub.url,
            error_handling__enable_exponential_backoff=False,
            rate_limiting__backoff_jitter=False,
        )
        asked(hub, fake, settings)
    assert fake.slept == [30.0, 2.0]


@pytest.mark.parametrize("retries", [0, 2])
def test_max_retries_bounds_the_tries(tmp_path, retries):
    fake = FakeTime()
    with ScriptedHub([BROKEN]) as hub:
        with pytest.raises(Exception, match="answered 500"):
            asked(hub, fake, loaded(tmp_path, hub.url, rate_limiting__max_retries=retries))
        assert len(hub.requests) == 1 + retries


@pytest.mark.parametrize(
    ("variables", "seconds"),
    [
        ({"REQUESTS_PER_SECOND": "0.5"}, 4.0),
        ({"REQUESTS_PER_HOUR": "2"}, 3600.0),
        ({"REQUESTS_PER_SECOND": "0.5", "REQUESTS_PER_HOUR": "2"}, 3600.0),
        ({}, 0.0),
    ],
)
def test_requests_per_second_and_per_hour_hold_requests_back(tmp_path, variables, seconds):
    """Three requests: the second waits for the rate per second, the third for the hour."""
    fake = FakeTime()
    with ScriptedHub([GOOD]) as hub:
        asked(hub, fake, loaded(tmp_path, hub.url, variables), times=3)
    assert sum(fake.slept) == pytest.approx(seconds, abs=0.01)


def test_without_rate_limit_protection_configured_rates_do_not_bind_and_announced_ones_do(tmp_path):
    rates = {"REQUESTS_PER_SECOND": "0.5", "REQUESTS_PER_HOUR": "2"}
    fake = FakeTime()
    with ScriptedHub([GOOD]) as hub:
        settings = loaded(tmp_path, hub.url, rates, security__enable_rate_limit_protection=False)
        asked(hub, fake, settings, times=5)
    assert fake.slept == []
    spent = Reply.json([1], headers=(("RateLimit", '"api";r=0;t=40'),))
    told = Reply(status=429, headers=(("Retry-After", "7"),))
    with ScriptedHub([spent, told, GOOD]) as hub:
        asked(hub, fake, settings, times=2)
    assert fake.slept == [41.0, 7.0]


def test_without_rate_limit_protection_the_ceiling_of_anonymous_callers_does_not_bind(tmp_path):
    environ = {"SYNC_ENVIRONMENT": "production"}
    on, off = (
        effective_limits(loaded(tmp_path, environ=environ, security__enable_rate_limit_protection=on))
        for on in (True, False)
    )
    assert (on.requests_per_second, on.requests_per_hour, on.max_concurrent_requests) == (0.8, 800, 20)
    assert (off.requests_per_second, off.requests_per_hour, off.max_concurrent_requests) == (None, None, 50)


def test_the_client_of_a_run_gets_endpoint_token_timeout_and_time_limit_from_the_settings(tmp_path):
    variables = {
        "HF_TOKEN": TOKEN,
        "TIMEOUT_SECONDS": "7",
        "WORKFLOW_TIMEOUT_HOURS": "2",
        "GGUF_SYNC__SECURITY__ALLOWED_DOMAINS": "example.org",
    }
    with ScriptedHub([GOOD]) as hub:
        settings = loaded(tmp_path, environ={**variables, "API_BASE_URL": hub.url})
        with open_hub(settings) as client:
            client.get("/api/models")
        assert hub.paths == ["/api/whoami-v2", "/api/models"]
        assert [request.headers["authorization"] for request in hub.requests] == [f"Bearer {TOKEN}"] * 2
    with mock.patch.object(resources, "HubClient") as made:
        open_hub(settings)
    assert made.call_args.kwargs["time_limit_seconds"] == 2 * 3600
    assert made.call_args.kwargs["limits"].timeout_seconds == 7.0
    assert made.call_args.kwargs["allowed_domains"] == ("example.org",)


def test_a_time_limit_from_the_settings_ends_a_sync_that_goes_on_for_longer(tmp_path):
    now = [0.0]
    with ScriptedHub([GOOD]) as hub:
        settings = loaded(tmp_path, hub.url, workflow_timeout_hours=2)
        patient = functools.partial(HubClient, monotonic=lambda: now[0])
        with mock.patch.object(resources, "HubClient", patient), open_hub(settings) as client:
            now[0] = 2 * 3600.0
            client.get("/api/models")
            now[0] += 1
            with pytest.raises(PermanentError, match="Stopped after 2 h"):
                client.get("/api/models")


# Failed tries, counted by category


def test_failed_tries_are_counted_by_what_they_failed_with(tmp_path):
    script = [
        Reply(status=429),
        Reply(status=500),
        Reply(b"<html>busy</html>", content_type="text/html"),
        Reply(status=408),
        Reply(reset=True),
        GOOD,
        Reply.json({"error": "Invalid credentials in Authorization header"}, status=401),
    ]
    fake = FakeTime()
    with ScriptedHub(script) as hub:
        settings = loaded(tmp_path, hub.url)
        with HubClient(hub.url, token=TOKEN, limits=request_limits(settings), **fake.hooks) as client:
            assert set(client.failed_tries.values()) == {0}
            client.get("/api/models")
            with pytest.raises(PermanentError):
                client.get("/api/models")
    assert client.failed_tries == {
        ErrorCategory.NETWORK: 1,
        ErrorCategory.TIMEOUT: 1,
        ErrorCategory.RATE_LIMIT: 1,
        ErrorCategory.API: 2,
        ErrorCategory.AUTHENTICATION: 1,
        ErrorCategory.PERMISSION: 0,
    }
    by_category = {
        "tries_failed": 6,
        "tries_failed_network": 1,
        "tries_failed_timeout": 1,
        "tries_failed_rate_limit": 1,
        "tries_failed_api": 2,
        "tries_failed_authentication": 1,
        "tries_failed_permission": 0,
    }
    assert failed_tries(client.failed_tries, settings) == by_category
    off = loaded(tmp_path, error_handling__enable_categorized_errors=False)
    assert failed_tries(client.failed_tries, off) == {"tries_failed": 6}


def test_an_answer_that_was_expected_is_no_failed_try(tmp_path):
    with ScriptedHub([Reply(status=404)]) as hub:
        limits = request_limits(loaded(tmp_path, hub.url))
        with HubClient(hub.url, token=None, limits=limits, **FakeTime().hooks) as client:
            client.get("/api/models/gone", allow_status=frozenset({404}))
    assert sum(client.failed_tries.values()) == 0


# Whole syncs with everything on, and with everything off


class Synced:
    """A sync whose requests for the Hub's clock and for the listing failed once, and what its run recorded.

    `said_again` is what is logged when the listing is materialised once more.
    """

    def __init__(self, home: Path, **environ: str) -> None:
        quick = functools.partial(HubClient, sleep=lambda _: None)
        faults = [Fault(FaultKind.STATUS, path, status=500) for path in ("models?limit=1", "filter=gguf")]
        with hub_of([repository("owner/one"), repository("owner/two")], tick=0) as hub:
            catalogue = Catalogue(home, hub, **environ)
            hub.faults[:] = faults
            with mock.patch.object(resources, "HubClient", quick):
                ended = catalogue.call("sync")
        assert ended.code == 0, ended
        self.figures = catalogue.last.figures
        self.report = catalogue.call("report").stdout
        records = records_of_last_run(catalogue)
        self.said = [record.user_message for record in records if record.dagster_event is None]
        assert launch(catalogue, DAY, "hub_listing").success
        again = records_of_last_run(catalogue)
        self.said_again = [record.user_message for record in again if record.dagster_event is None]
        made = [
            (event.asset_key.to_user_string(), event.step_materialization_data.materialization.metadata)
            for event in (record.dagster_event for record in records)
            if event is not None and event.is_step_materialization and event.asset_key is not None
        ]
        self.metadata: dict[str, Any] = {
            name: {key: entry.value for key, entry in metadata.items()} for name, metadata in made
        }


def records_of_last_run(catalogue: Catalogue) -> Sequence[dg.EventLogEntry]:
    with (
        mock.patch.dict("os.environ", catalogue.environ, clear=True),
        open_instance(catalogue.store.layout.dagster_home) as instance,
    ):
        return instance.all_logs(instance.get_runs(limit=1)[0].run_id)


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Synced:
    return Synced(tmp_path_factory.mktemp("full"))


@pytest.fixture(scope="module")
def sparse(tmp_path_factory: pytest.TempPathFactory) -> Synced:
    off = (
        "MONITORING__ENABLE_DETAILED_LOGGING",
        "MONITORING__ENABLE_PERFORMANCE_METRICS",
        "ERROR_HANDLING__ENABLE_CATEGORIZED_ERRORS",
    )
    return Synced(tmp_path_factory.mktemp("sparse"), **{f"GGUF_SYNC__{key}": "false" for key in off})


CATEGORIES = ("network", "timeout", "rate_limit", "api", "authentication", "permission")


def test_categorized_errors_stand_in_metadata_report_and_figures(full: Synced, sparse: Synced):
    # The Hub's clock was asked for before the run began.
    for name, failed in (("hub_listing", 1), ("hub_details", 0), ("sync_report", 2)):
        found = {key: n for key, n in full.metadata[name].items() if key.startswith("tries_failed")}
        by_category = {f"tries_failed_{category}": 0 for category in CATEGORIES}
        assert found == {"tries_failed": failed, **by_category, "tries_failed_api": failed}
        total = {key: n for key, n in sparse.metadata[name].items() if key.startswith("tries_failed")}
        assert total == {"tries_failed": failed}
    assert full.figures["tries_failed_api"] == full.figures["tries_failed"] == 2
    assert [key for key in sparse.figures if key.startswith("tries_failed")] == ["tries_failed"]
    assert "Tries that failed: 2 (api 2)." in full.report
    assert "Tries that failed: 2.\n" in sparse.report


MEASURED = (
    "hub_listing",
    "hub_details",
    "catalogue_models",
    "catalogue_delta",
    "validation_report",
    "health_scores",
    "published_catalogue",
    "sync_report",
)


def test_performance_metrics_measure_durations_memory_and_processor(full: Synced, sparse: Synced):
    for name in MEASURED:
        assert full.metadata[name]["duration_seconds"] > 0
        assert "duration_seconds" not in sparse.metadata[name]
    for measured in (full.metadata["sync_report"], full.figures):
        assert 50 < measured["peak_rss_mb"] < 20_000
        assert measured["cpu_seconds"] > 0
    for unmeasured in (sparse.metadata["sync_report"], sparse.figures):
        assert not {"peak_rss_mb", "cpu_seconds"} & unmeasured.keys()
        assert (unmeasured["models"], unmeasured["requests"]) == (2, full.figures["requests"])
    assert sparse.figures["duration_seconds"] > 0  # what the command line and the estimates tell


def test_detailed_logging_adds_the_stages_to_the_decisions(full: Synced, sparse: Synced):
    stages = (
        "Listing: 2 models on 1 pages, ",
        "Details: 2 models asked for, ",
        "Published: 2 models, 2 files",
    )
    decisions = (
        "Determining sync mode…",
        "Performing full sync: no day has been published yet",
        "Full sync: processing all 2 models",
        "The Hub at ",  # the warning about the failed try
        "SYNC MODE REPORT",
    )
    for begin in decisions:
        assert any(text.startswith(begin) for text in sparse.said), begin
    assert not any(text.startswith(stages) for text in sparse.said)
    for begin in (*decisions, *stages):
        assert any(text.startswith(begin) for text in full.said), begin
    reused = f"Nothing is fetched: {DAY} has a complete capture, run 01"
    assert (reused in full.said_again, reused in sparse.said_again) == (True, False)


@pytest.mark.parametrize("detailed", [True, False])
def test_without_detailed_logging_a_sync_that_goes_on_tells_its_reason_alone(tmp_path, detailed):
    said: list[str] = []
    log = RunLog(mock.Mock(info=said.append), loaded(tmp_path, monitoring__enable_detailed_logging=detailed))
    sync = mock.Mock(log=log.say, stage=log.stage)
    plan = mock.Mock(reason_text="Performing full sync: asked for")
    left = mock.Mock(listing_complete=True, plan=plan, run=1, pages_stored=3)
    capturing._go_on(sync, left, mock.Mock(limit_given=False))
    going_on = "; going on with capture run 01, which an earlier run left after 3 pages" if detailed else ""
    assert said == ["Determining sync mode…", f"Performing full sync: asked for{going_on}"]


# Progress


@pytest.mark.parametrize(
    ("tracking", "interval", "logged"),
    [(True, 10, ["pages: 4 of 9", "pages: 8 of 9"]), (True, 900, []), (False, 10, [])],
)
def test_progress_is_tracked_in_bars_and_at_the_interval_in_the_log(tmp_path, tracking, interval, logged):
    """A step reports every three seconds, from second 3 to second 27."""
    settings = loaded(
        tmp_path,
        monitoring__enable_progress_tracking=tracking,
        monitoring__progress_report_interval_seconds=interval,
    )
    now, said, bars = [0.0], [], mock.Mock()
    log = logging.Logger("run")
    log.addHandler(handler := logging.Handler())
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    with mock.patch.object(progress, "time", SimpleNamespace(monotonic=lambda: now[0])):
        report = reporter(SimpleNamespace(log=log), settings, bars)  # type: ignore[arg-type]
        for done in range(1, 10):
            now[0] += 3.0
            report.step("pages", done, 9)
    assert [line.partition(";")[0] for line in said] == logged
    assert bars.step.call_count == (9 if tracking else 0)


# Levels


@pytest.fixture(autouse=True)
def loggers() -> Iterator[None]:
    """Leave the loggers of the package as they were."""
    logger = logging.getLogger(PACKAGE)
    level, handlers = logger.level, list(logger.handlers)
    yield
    logger.setLevel(level)
    logger.handlers[:] = handlers


LEVELS = {
    "at_debug": ("DEBUG", False, ["request", "decision", "retry", "error"]),
    "at_info": ("INFO", False, ["decision", "retry", "error"]),
    "at_warning": ("WARNING", False, ["retry", "error"]),
    "at_critical": ("CRITICAL", False, []),
    "in_debug_mode": ("ERROR", True, ["request", "decision", "retry", "error"]),
}


@pytest.fixture(scope="module")
def said_by_step() -> dict[str, list[str]]:
    """What reaches the event log of an instance that is made for INFO, by step; each has its own settings."""

    def step_of(name: str, settings: LoadedSettings) -> dg.OpDefinition:
        @dg.op(name=name)
        def step(context) -> None:  # Dagster cannot read an annotation that is text
            log = RunLog(context.log, settings)
            logging.getLogger("gguf_assets.hub.client").debug("request")
            log.say("decision")
            logging.getLogger("gguf_assets.hub.client").warning("retry")
            context.log.error("error")

        return step

    @dg.job
    def run() -> None:
        for name, (level, debug_mode, _) in LEVELS.items():
            step_of(name, loaded(Path(), log_level=level, debug_mode=debug_mode))()

    logs = {"managed_python_loggers": ["gguf_assets"], "python_log_level": "INFO"}
    with dg.instance_for_test(overrides={"python_logs": logs}) as instance:
        quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
        run_id = run.execute_in_process(instance=instance, run_config=quiet).run_id
        records = [record for record in instance.all_logs(run_id) if record.dagster_event is None]
    return {name: [record.user_message for record in records if record.step_key == name] for name in LEVELS}


@pytest.mark.parametrize("step", LEVELS)
def test_log_level_and_debug_mode_choose_what_a_run_logs(said_by_step, step):
    assert said_by_step[step] == LEVELS[step][2]


def test_requests_are_shown_at_debug_without_secrets(caplog):
    fake = FakeTime()
    with ScriptedHub([BROKEN, GOOD]) as hub, caplog.at_level(logging.DEBUG, PACKAGE):
        settings = load_settings({"SYNC_ENVIRONMENT": "testing", "HF_ENDPOINT": hub.url})
        with HubClient(hub.url, token=TOKEN, limits=request_limits(settings), **fake.hooks) as client:
            client.get(f"/api/models?limit=1&token={TOKEN}")
    lines = [record.getMessage() for record in caplog.records if record.levelno == logging.DEBUG]
    begin = "GET /api/models?limit=1&token=***: "
    assert [line.startswith(begin) for line in lines] == [True, True]
    assert lines[0].startswith(f"{begin}answered 500, ") and lines[0].endswith(" s, try 1 of 6")
    assert lines[1].startswith(f"{begin}200, ") and lines[1].endswith(" s, try 2 of 6")
    assert TOKEN not in caplog.text


REQUEST, WARNING, ERROR = "GET /api/models", "a retry", "an error"


@pytest.mark.parametrize(
    ("options", "variables", "shown"),
    [
        ((), {}, [WARNING, ERROR]),
        ((), {"SYNC_ENVIRONMENT": "development"}, [WARNING, ERROR]),  # DEBUG and debug mode by its profile
        ((), {"LOG_LEVEL": "INFO"}, [WARNING, ERROR]),
        ((), {"LOG_LEVEL": "ERROR"}, [ERROR]),
        ((), {"LOG_LEVEL": "DEBUG"}, [REQUEST, WARNING, ERROR]),
        ((), {"DEBUG_MODE": "true"}, [REQUEST, WARNING, ERROR]),
        (("--debug",), {}, [REQUEST, WARNING, ERROR]),
        (("--debug",), {"LOG_LEVEL": "ERROR"}, [REQUEST, WARNING, ERROR]),
        (("--debug",), {"LOG_LEVEL": "loud"}, [REQUEST, WARNING, ERROR]),
        ((), {"LOG_LEVEL": "loud"}, [WARNING, ERROR]),
    ],
)
def test_the_terminal_shows_requests_only_where_they_were_asked_for(
    tmp_path, capsys, options, variables, shown
):
    open_terminal()
    environ = environment(tmp_path, "http://127.0.0.1:9", **variables)
    call(*options, "report", environ=environ)
    logger = logging.getLogger("gguf_assets.hub.client")
    capsys.readouterr()
    logger.debug(REQUEST)
    logger.warning(WARNING)
    logger.error(ERROR)
    assert capsys.readouterr().err.splitlines() == shown


def test_a_profile_file_counts_as_asked_for(tmp_path, capsys):
    open_terminal()
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "sync-config.yaml").write_text("environment: development\nlog_level: DEBUG\n")
    settings = load_settings({"GGUF_ASSETS_CONFIG_DIR": str(tmp_path / "config")})
    RunLog(logging.Logger("run"), settings)
    logging.getLogger("gguf_assets.hub.client").debug(REQUEST)
    assert capsys.readouterr().err.splitlines() == [REQUEST]


def test_a_run_with_debug_on_the_command_line_shows_its_requests_too(tmp_path, capsys):
    open_terminal()
    call("--debug", "report", environ=environment(tmp_path, "http://127.0.0.1:9"))
    RunLog(logging.Logger("run"), loaded(tmp_path, log_level="WARNING"))  # as every step does
    capsys.readouterr()
    logging.getLogger("gguf_assets.hub.client").debug(REQUEST)
    assert capsys.readouterr().err.splitlines() == [REQUEST]


def test_the_terminal_hides_secrets(capsys):
    open_terminal()
    logging.getLogger("gguf_assets.hub").warning("sent %s", TOKEN)
    assert capsys.readouterr().err == "sent ***\n"
    assert sum(isinstance(handler, Terminal) for handler in logging.getLogger(PACKAGE).handlers) == 1


@pytest.mark.parametrize(
    ("variables", "traceback"),
    [
        ({}, False),
        ({"DEBUG_MODE": "true"}, True),
        ({"DEBUG_MODE": "false"}, False),
        ({"SYNC_ENVIRONMENT": "development"}, False),  # on by its profile
    ],
)
def test_debug_mode_shows_the_traceback_of_an_error(tmp_path, variables, traceback):
    environ = environment(tmp_path, "http://127.0.0.1:9", **variables)
    out_of_reach = call("sync", environ={**environ, "MAX_RETRIES": "0", "HF_TOKEN": TOKEN})
    assert out_of_reach.code == 1
    assert out_of_reach.stderr.startswith("Traceback" if traceback else "Error: ")
    assert "Error: " in out_of_reach.stderr
    assert TOKEN not in out_of_reach.stderr
    # What was asked for wrongly needs no look into the code.
    refused = call("sync", "--date", f"soon-{TOKEN}", environ=environ)
    assert refused.code == 2
    assert refused.stderr.startswith("Error: --date 'soon-***' is no date")


def test_debug_mode_does_not_hide_what_is_wrong_with_the_settings(tmp_path):
    environ = environment(tmp_path, "http://127.0.0.1:9", DEBUG_MODE="true", SYNC_MODE="fulll")
    ended = call("sync", environ=environ)
    assert ended.code == 2
    assert ended.stderr.startswith("Error: ")
    assert "Mode must be one of auto, incremental, full" in ended.stderr
