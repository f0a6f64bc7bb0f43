"""The whole graph as Dagster sees it, written down: whoever changes it changes this file, too."""

from __future__ import annotations

import ast
import inspect
import json
import subprocess
import sys
import textwrap
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from gguf_assets.orchestration.build import build_defs
from gguf_assets_tests.running import environment

START = date(2025, 8, 10)
TABLES = ["catalogue_files", "catalogue_models"]
CATALOGUE = ["catalogue_delta", *TABLES]
DERIVED = sorted([*CATALOGUE, "validation_report", "health_scores", "published_catalogue", "sync_report"])
EVERYTHING = sorted(["configuration", "hub_listing", "hub_details", *DERIVED])

ASSETS: dict[str, tuple[str, list[str], set[str]]] = {
    # name: group, what it depends on, kinds
    "configuration": ("configuration", [], {"yaml"}),
    "huggingface_hub": ("capture", [], {"huggingface"}),
    "hub_listing": ("capture", ["configuration", "huggingface_hub"], {"huggingface"}),
    "hub_details": ("capture", ["hub_listing"], {"huggingface"}),
    "catalogue_models": ("catalogue", ["hub_details", "hub_listing"], {"parquet"}),
    "catalogue_files": ("catalogue", ["hub_details", "hub_listing"], {"parquet"}),
    "catalogue_delta": ("catalogue", TABLES, {"parquet"}),
    "validation_report": ("quality", CATALOGUE, {"parquet"}),
    "health_scores": ("quality", CATALOGUE, {"parquet"}),
    "published_catalogue": (
        "published",
        [*CATALOGUE, "health_scores", "validation_report"],
        {"parquet"},
    ),
    "sync_report": ("published", ["published_catalogue"], {"markdown"}),
}
CHECKS = {
    # name: asset, whether it stops what comes after it
    "configuration_valid": ("configuration", True),
    "catalogue_fresh": ("published_catalogue", False),
    "completeness": ("validation_report", True),
    "file_detail_coverage": ("validation_report", False),
    "discovery_routes": ("validation_report", False),
    "structure": ("validation_report", True),
    "paths": ("validation_report", True),
    "dates": ("validation_report", False),
    "counters": ("validation_report", False),
    "files": ("validation_report", True),
    "labels": ("validation_report", False),
    "contents": ("validation_report", False),
    "day": ("validation_report", False),
    "reading": ("validation_report", False),
}
JOBS: dict[str, list[str]] = {
    # name: assets
    "daily_sync": EVERYTHING,
    "full_sync": EVERYTHING,
    "rederive": DERIVED,
    "details_backlog": [],
    "sync_plan": [],
    "config_backup": [],
    "maintenance": [],
}
RESOURCES = {"settings", "hub", "store", "progress"}
WRITES = {"gguf/writes": "catalogue"}
SIX_HOURS = {"dagster/max_runtime": "21600"}
AUTOMATION = {
    # name: the job it requests, cron or seconds between two looks
    "daily_sync_schedule": ("daily_sync", "30 2 * * *"),
    "weekly_full_schedule": ("full_sync", "0 4 * * 0"),
    "config_backup_daily": ("config_backup", "0 2 * * *"),
    "maintenance_daily": ("maintenance", "15 5 * * *"),
    "full_sync_threshold_sensor": ("full_sync", 300),
    "failed_sync_repair_sensor": ("daily_sync", 60),
    "config_changed_sensor": (None, 60),
    "sync_succeeded_sensor": (None, 60),
    "sync_failed_sensor": (None, 60),
    "sync_canceled_sensor": (None, 60),
    "catalogue_freshness_sensor": (None, 300),
}
LONGEST_BODY = 25


def defs(home: Path, **environ: str) -> dg.Definitions:
    """The definitions over an empty data folder."""
    return build_defs(environ={**environment(home, "http://127.0.0.1:9"), **environ})


@pytest.fixture(scope="module")
def definitions(tmp_path_factory: pytest.TempPathFactory) -> dg.Definitions:
    return defs(tmp_path_factory.mktemp("graph"), GGUF_ASSETS_START_DATE=START.isoformat())


def test_dagster_can_load_the_definitions(definitions):
    dg.Definitions.validate_loadable(definitions)


def test_assets_groups_and_dependencies(definitions):
    graph = definitions.resolve_asset_graph()
    found = {
        key.to_user_string(): (
            graph.get(key).group_name,
            sorted(parent.to_user_string() for parent in graph.get(key).parent_keys),
            set(graph.get(key).kinds or ()),
        )
        for key in graph.get_all_asset_keys()
    }
    assert found == ASSETS
    outside = {key.to_user_string() for key in graph.get_all_asset_keys() - graph.materializable_asset_keys}
    assert outside == {"huggingface_hub"}


def test_every_asset_has_the_days_as_partitions_and_maps_them_one_to_one(definitions):
    graph = definitions.resolve_asset_graph()
    configuration = dg.AssetKey("configuration")
    assert graph.get(configuration).partitions_def is None, "the configuration is of no day"
    for key in graph.materializable_asset_keys - {configuration}:
        node = graph.get(key)
        days = node.partitions_def
        assert isinstance(days, dg.DailyPartitionsDefinition)
        assert days.start.date() == START
        assert days.end_offset == 1, "today exists"
        assert not node.partition_mappings, "the day before is looked up in the store"
        assert node.backfill_policy is None, "a backfill is one run a day"


def test_every_asset_says_what_it_is(definitions):
    graph = definitions.resolve_asset_graph()
    for key in graph.get_all_asset_keys():
        description = graph.get(key).description
        assert description and description.strip().endswith("."), key
    for name in (
        "catalogue_models",
        "catalogue_files",
        "catalogue_delta",
        "validation_report",
        "health_scores",
    ):
        assert "dagster/column_schema" in graph.get(dg.AssetKey(name)).metadata, name


def test_checks_and_which_of_them_block(definitions):
    graph = definitions.resolve_asset_graph()
    found = {
        key.name: (key.asset_key.to_user_string(), graph.get(key).blocking) for key in graph.asset_check_keys
    }
    assert found == CHECKS


def test_jobs_and_what_they_run(definitions):
    repository = definitions.get_repository_def()
    jobs = {job.name: job for job in repository.get_all_jobs() if not job.name.startswith("__")}
    found = {
        name: sorted(key.to_user_string() for key in job.asset_layer.selected_asset_keys)
        for name, job in jobs.items()
    }
    assert found == JOBS
    tags = dict.fromkeys(jobs, WRITES | SIX_HOURS)
    tags |= {"details_backlog": WRITES, "sync_plan": {}, "config_backup": {}, "maintenance": WRITES}
    for job in jobs.values():
        assert job.tags == tags[job.name], "runs that write wait for one another, and no sync runs for ever"
        assert job.executor_def is dg.in_process_executor


def test_the_jobs_start_as_their_names_say(definitions):
    assert launched(definitions, "daily_sync", "hub_listing") == {}
    assert launched(definitions, "full_sync", "hub_listing") == {"mode": "full"}
    assert launched(definitions, "rederive", "catalogue_tables") == {"as_published": True}


def launched(definitions: dg.Definitions, job: str, op: str) -> dict[str, Any]:
    """What is given to a step of a job unless something else is asked for."""
    config = definitions.resolve_job_def(job).get_run_config_for_partition_key(START.isoformat())
    return config.get("ops", {}).get(op, {}).get("config", {})


def test_resources_schedules_and_sensors(definitions):
    repository = definitions.get_repository_def()
    assert set(repository.get_top_level_resources()) == RESOURCES
    found = {s.name: (s.job_name, s.cron_schedule) for s in repository.schedule_defs}
    found |= {
        s.name: (s.job_name if s.targets else None, s.minimum_interval_seconds)
        for s in repository.sensor_defs
    }
    assert found == AUTOMATION
    assert {schedule.execution_timezone for schedule in repository.schedule_defs} == {"UTC"}
    for automation in (*repository.schedule_defs, *repository.sensor_defs):
        assert automation.description, automation.name


def test_asset_bodies_read_as_a_sentence(definitions):
    for assets in definitions.assets or ():
        if isinstance(assets, dg.AssetsDefinition):
            function = assets.op.compute_fn.decorated_fn
            (tree,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
            assert isinstance(tree, ast.FunctionDef)
            assert ast.get_docstring(tree), f"{assets.op.name} has no docstring"
            body = tree.body[1:]
            lines = (body[-1].end_lineno or 0) - body[0].lineno + 1
            assert lines <= LONGEST_BODY, f"{assets.op.name} has {lines} lines"


@pytest.mark.parametrize("name", ["in_process", "multiprocess"])
def test_the_executor_is_chosen_by_a_variable(tmp_path, name):
    repository = defs(tmp_path, GGUF_ASSETS_EXECUTOR=name).get_repository_def()
    assert repository.get_job("daily_sync").executor_def.name == name


def test_an_empty_store_begins_with_the_day_that_is_synced(tmp_path):
    environ = environment(tmp_path, "http://127.0.0.1:9")
    graph = build_defs(environ=environ, syncing=START).resolve_asset_graph()
    days = graph.get(dg.AssetKey("hub_listing")).partitions_def
    assert isinstance(days, dg.DailyPartitionsDefinition)
    assert days.start.date() == START


LOADING = """
import json, sys
import gguf_assets.definitions
import dagster
assert isinstance(gguf_assets.definitions.defs, dagster.Definitions)
print(json.dumps(sorted(name for name in sys.modules if "." not in name)))
"""


def test_a_fresh_interpreter_loads_the_definitions_and_nothing_heavy(tmp_path):
    environ = environment(tmp_path, "http://127.0.0.1:9")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LOADING],
        env=environ,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    loaded = set(json.loads(done.stdout))
    assert "dagster" in loaded
    heavy = {"pandas", "pandera", "huggingface_hub", "httpx2", "duckdb", "uvicorn", "starlette"}
    assert not heavy & loaded
    assert list(tmp_path.iterdir()) == [], "loading definitions writes nothing"
