"""Dagster: one module per Dagster concept, assembled by `build.build_defs`; no rule of the catalogue."""
