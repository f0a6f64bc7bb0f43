"""The one module Dagster loads."""

from gguf_assets.orchestration.build import build_defs

defs = build_defs()
