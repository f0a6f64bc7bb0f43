"""Every setting does something: which test shows what it changes."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import gguf_assets_tests
from gguf_assets.quality.health_checks import HEALTH_CHECKS
from gguf_assets.settings.keys import dotted, keys_of
from gguf_assets.settings.model import SyncConfiguration

TESTS = Path(gguf_assets_tests.__file__).parent
DATA, HUB = "test_settings_at_work_data.py", "test_settings_at_work_hub.py"
MODES, ROUTES = "orchestration/test_modes.py", "orchestration/test_routes_and_windows.py"
SCHEDULES, SENSORS = "orchestration/test_schedules.py", "orchestration/test_sensors.py"
LIMITS, CHECKS = "settings/test_limits.py", "orchestration/test_checks.py"
ALERTING, FRESHNESS = "orchestration/test_alerting.py", "orchestration/test_freshness.py"
MEMORY = "orchestration/test_memory.py"
KEPT = "orchestration/test_maintenance.py::test_the_job_removes_thins_and_writes_one_line_to_the_audit_trail"

SHOWN_BY = {
    "environment": f"{SCHEDULES}::test_what_is_on_by_default",
    "log_level": f"{HUB}::test_log_level_and_debug_mode_choose_what_a_run_logs",
    "debug_mode": f"{HUB}::test_debug_mode_shows_the_traceback_of_an_error",
    "dry_run": "test_dry_run.py::test_the_setting_makes_every_sync_a_dry_run_and_says_why",
    "huggingface_token": f"{LIMITS}::test_the_token_comes_from_its_variables_in_order",
    "api_base_url": (
        f"{HUB}::test_the_client_of_a_run_gets_endpoint_token_timeout_and_time_limit_from_the_settings"
    ),
    "workflow_timeout_hours": (
        f"{HUB}::test_a_time_limit_from_the_settings_ends_a_sync_that_goes_on_for_longer"
    ),
    "rate_limiting.requests_per_second": f"{HUB}::test_requests_per_second_and_per_hour_hold_requests_back",
    "rate_limiting.requests_per_hour": f"{HUB}::test_requests_per_second_and_per_hour_hold_requests_back",
    "rate_limiting.backoff_base": f"{HUB}::test_exponential_backoff_and_its_base_make_the_pauses",
    "rate_limiting.backoff_jitter": f"{HUB}::test_jitter_shortens_growing_and_constant_pauses",
    "rate_limiting.max_retries": f"{HUB}::test_max_retries_bounds_the_tries",
    "rate_limiting.timeout_seconds": "hub/test_client.py::test_a_silent_hub_times_out",
    "sync_behavior.mode": f"{MODES}::test_launchpad_and_environment_choose",
    "sync_behavior.incremental_window_hours": (
        f"{ROUTES}::test_a_wider_window_needs_more_pages_and_goes_on_after_a_kill"
    ),
    "sync_behavior.full_sync_threshold_hours": f"{MODES}::test_the_threshold_is_that_of_the_variable",
    "sync_behavior.significant_change_threshold": (
        f"{DATA}::test_what_the_settings_say_of_the_mode_reaches_the_decision"
    ),
    "sync_behavior.force_full_sync": f"{MODES}::test_launchpad_and_environment_choose",
    "sync_behavior.enable_multi_strategy_discovery": (
        f"{ROUTES}::test_routes_switched_off_are_not_asked_and_the_check_says_so"
    ),
    "sync_behavior.enable_deduplication": (
        f"{DATA}::test_without_deduplication_the_first_route_that_saw_a_model_counts_alone"
    ),
    "sync_behavior.census": (
        f"{ROUTES}::test_only_the_pages_down_to_the_edge_are_fetched_and_nobody_is_asked_after"
    ),
    "sync_behavior.late_capture_hours": f"{DATA}::test_a_capture_may_be_finished_for_so_many_hours",
    "sync_behavior.detail_requests_per_run": (
        f"{DATA}::test_a_run_asks_for_as_many_details_as_the_settings_allow"
    ),
    "sync_behavior.schedule_time": f"{SCHEDULES}::test_the_times_are_those_of_the_settings",
    "sync_behavior.weekly_full_cron": f"{SCHEDULES}::test_the_times_are_those_of_the_settings",
    "sync_behavior.last_sync_file": f"{DATA}::test_data_reports_and_last_sync_lie_where_the_settings_say",
    "validation.enable_schema_validation": f"{DATA}::test_without_schema_validation_the_rule_reads_skipped",
    "validation.enable_file_verification": f"{DATA}::test_what_development_does_not_verify_reads_skipped",
    "validation.enable_completeness_checking": (
        f"{CHECKS}::test_a_check_that_is_switched_off_reads_skipped_and_lets_the_day_pass"
    ),
    "validation.min_completeness_score": (
        f"{CHECKS}::test_a_listing_cut_to_85_percent_is_enough_for_development_only"
    ),
    "validation.enable_quality_scoring": (f"{DATA}::test_without_quality_scoring_there_are_no_health_scores"),
    "validation.validation_timeout_seconds": (
        f"{DATA}::test_a_validation_that_runs_out_of_time_publishes_nothing"
    ),
    "validation.removal_confirm_limit": (
        "orchestration/test_absences.py::test_two_a_run_are_proven_and_the_rest_follows_on_later_days"
    ),
    "validation.disabled_rules": f"{DATA}::test_a_disabled_rule_reads_skipped_and_stands_in_the_manifest",
    "validation.min_file_detail_coverage": (
        f"{DATA}::test_what_only_colours_a_check_is_no_part_of_what_a_day_is_made_from"
    ),
    "validation.file_verification_requests": (
        "orchestration/test_verification.py::"
        "test_the_turn_goes_round_over_the_days_and_survives_coming_and_going"
    ),
    "validation.header_sample": (
        "orchestration/test_verification.py::test_headers_are_read_in_turn_and_agree_with_the_names"
    ),
    "validation.enable_automatic_fixes": (
        "test_bad_rows.py::test_fixable_rows_are_fixed_unfixable_ones_set_aside_and_all_of_it_adds_up"
    ),
    "error_handling.enable_error_recovery": f"{SENSORS}::test_recovery_can_be_switched_off",
    "error_handling.enable_exponential_backoff": (
        f"{HUB}::test_exponential_backoff_and_its_base_make_the_pauses"
    ),
    "error_handling.enable_categorized_errors": (
        f"{HUB}::test_categorized_errors_stand_in_metadata_report_and_figures"
    ),
    "error_handling.max_recovery_attempts": f"{SENSORS}::test_no_tries_may_be_wanted",
    "error_handling.recovery_delay_seconds": f"{SENSORS}::test_the_delay_is_that_of_the_settings",
    "error_handling.preserve_data_on_failure": (
        f"{DATA}::test_where_failing_days_are_published_too_the_day_says_that_it_failed"
    ),
    "monitoring.enable_detailed_logging": f"{HUB}::test_detailed_logging_adds_the_stages_to_the_decisions",
    "monitoring.enable_progress_tracking": (
        f"{HUB}::test_progress_is_tracked_in_bars_and_at_the_interval_in_the_log"
    ),
    "monitoring.progress_report_interval_seconds": (
        f"{HUB}::test_progress_is_tracked_in_bars_and_at_the_interval_in_the_log"
    ),
    "monitoring.enable_dashboard": "test_report_pages.py::test_the_dashboard_is_written_where_it_is_wanted",
    "monitoring.enable_performance_metrics": (
        f"{HUB}::test_performance_metrics_measure_durations_memory_and_processor"
    ),
    "performance.enable_data_compression": (
        f"{DATA}::test_uncompressed_parquet_has_other_bytes_and_the_same_rows"
    ),
    "performance.enable_parallel_processing": (
        f"{DATA}::test_without_parallel_processing_no_thread_is_started_and_the_bytes_are_the_same"
    ),
    "storage.data_directory": f"{DATA}::test_data_reports_and_last_sync_lie_where_the_settings_say",
    "storage.reports_directory": f"{DATA}::test_data_reports_and_last_sync_lie_where_the_settings_say",
    "storage.backup_retention_days": (
        "cli/test_config_refusals.py::test_old_backups_are_removed_by_the_retention_in_force"
    ),
    "storage.enable_compression": (
        f"{DATA}::test_uncompressed_captures_are_plain_json_and_give_the_same_day"
    ),
    "security.enable_token_validation": (
        f"{LIMITS}::test_staging_and_production_demand_a_token_and_say_how_to_do_without"
    ),
    "security.enable_rate_limit_protection": (
        f"{HUB}::test_without_rate_limit_protection_configured_rates_do_not_bind_and_announced_ones_do"
    ),
    "security.enable_audit_logging": (
        "settings/test_deployment.py::test_switching_the_trail_off_is_recorded_and_then_nothing_is"
    ),
    "security.mask_sensitive_data": (
        "settings/test_effective.py::"
        "test_where_masking_is_off_webhook_addresses_are_shown_and_the_token_is_not"
    ),
    "security.allowed_domains": (
        f"{HUB}::test_the_client_of_a_run_gets_endpoint_token_timeout_and_time_limit_from_the_settings"
    ),
    "enable_github_actions_integration": (
        "test_github_actions.py::test_elsewhere_and_switched_off_nothing_of_it_is_there"
    ),
    "rate_limiting.max_concurrent_requests": (
        "hub/test_asking.py::test_no_more_than_the_maximum_are_under_way_and_that_many_are"
    ),
    "rate_limiting.max_requests_per_run": (
        "hub/test_asking.py::test_details_stop_at_the_budget_of_the_run_and_lose_nothing"
    ),
    "performance.enable_adaptive_parameters": (
        "hub/test_adaptive.py::test_switched_off_the_configured_maxima_are_used_constantly"
    ),
    "error_handling.enable_notifications": (
        f"{ALERTING}::test_a_failure_is_not_told_where_its_kind_or_class_is_off"
    ),
    "notifications.enable_failure_notifications": (
        f"{ALERTING}::test_a_failure_is_not_told_where_its_kind_or_class_is_off"
    ),
    "monitoring.enable_alerts": f"{ALERTING}::test_a_check_that_warns_is_a_warning_of_its_own",
    "monitoring.alert_channels": f"{ALERTING}::test_a_check_that_warns_is_a_warning_of_its_own",
    "notifications.enable_warning_notifications": (
        f"{ALERTING}::test_a_check_that_warns_is_a_warning_of_its_own"
    ),
    "notifications.enable_success_notifications": f"{ALERTING}::test_success_is_told_where_its_switch_is_on",
    "notifications.enable_critical_notifications": (
        f"{ALERTING}::test_critical_goes_to_the_channels_of_both_kinds"
    ),
    "notifications.notification_channels": f"{ALERTING}::test_an_issue_is_opened_and_closed_on_recovery",
    "notifications.webhook_urls": f"{ALERTING}::test_a_failure_is_told_once_in_its_cooldown_and_taken_back",
    "notifications.cooldown_seconds": (
        f"{ALERTING}::test_a_failure_is_told_once_in_its_cooldown_and_taken_back"
    ),
    "notifications.email_recipients": (
        f"{ALERTING}::test_addresses_come_from_settings_and_environment_and_are_hidden_from_then_on"
    ),
    "notifications.failure_threshold": f"{ALERTING}::test_the_threshold_counts_failed_syncs_in_a_row",
    "security.enable_request_signing": f"{ALERTING}::test_a_signed_webhook_needs_a_secret",
    "monitoring.freshness_warning_hours": f"{FRESHNESS}::test_dagsters_policy_has_the_hours_of_the_settings",
    "monitoring.freshness_failure_hours": f"{FRESHNESS}::test_dagsters_policy_has_the_hours_of_the_settings",
    "performance.memory_limit_mb": (
        f"{MEMORY}::test_above_the_limit_a_sync_stops_and_the_next_one_goes_on_to_the_same_bytes"
    ),
    "performance.chunk_size": f"{MEMORY}::test_memory_is_looked_at_after_every_chunk_of_models",
    "performance.enable_streaming_processing": f"{MEMORY}::test_without_streaming_tables_are_read_whole",
    "performance.enable_caching": (
        "orchestration/test_answer_cache.py::test_without_caching_everything_is_asked_for_anew"
    ),
    "performance.cache_ttl_hours": "orchestration/test_answer_cache.py::test_more_hours_hold_across_days",
    "storage.backup_directory": (
        "test_backup_commands.py::test_backups_lie_where_the_setting_says_and_old_ones_go"
    ),
    "storage.enable_backups": "test_backup_commands.py::test_without_backups_a_sync_makes_none",
    "storage.capture_retention_days": KEPT,
    "storage.candidate_retention_days": KEPT,
    "storage.files_full_days": KEPT,
    "storage.logs_directory": "orchestration/test_log_file.py::test_a_sync_writes_where_the_setting_says",
    **{
        f"quality_scoring.weight_{check}": (
            "orchestration/test_scoring.py::test_every_weight_of_the_settings_changes_scores_as_computed_here"
        )
        for check in HEALTH_CHECKS
    },
    "custom_settings": "settings/test_effective.py::test_the_free_map_has_a_line_for_each_of_its_keys",
}


def test_every_key_has_a_test_of_what_it_changes() -> None:
    assert SHOWN_BY.keys() == {dotted(path) for path in keys_of(SyncConfiguration)}


def test_the_tests_named_here_exist() -> None:
    gone = {place for place in SHOWN_BY.values() if place.partition("::")[2] not in _tests_in(place)}
    assert gone == set()


@cache
def _names(module: Path) -> frozenset[str]:
    tree = ast.parse(module.read_text())
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def _tests_in(place: str) -> frozenset[str]:
    return _names(TESTS / place.partition("::")[0])
