# gguf_assets: `make help` lists what can be done. Every target sets up .venv by itself.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# Loopback traffic must not go through a proxy, and no tool phones home.
export NO_PROXY := 127.0.0.1,localhost,$(NO_PROXY)
export HF_HUB_DISABLE_TELEMETRY := 1

.DEFAULT_GOAL := help
.PHONY: help setup demo dev test check bench docs lock clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## create .venv from requirements.lock, the package itself editable

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Error: $(PYTHON) is older than Python 3.11. Try: make $(MAKECMDGOALS) PYTHON=python3.11" >&2; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing the locked requirements into $(VENV) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: setup ## five generated days through the real pipeline, then what to look at
	@$(BIN)/gguf-assets demo

dev: setup ## the Dagster UI on the same data as the command line
	@$(BIN)/gguf-assets dev

test: setup ## the whole test suite
	@$(BIN)/python -m pytest -n auto --dist loadgroup

check: setup ## ruff, mypy, import-linter
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: setup ## a full day of 200,000 repositories against huggingface_hub + pandas, and a quiet day after it
	@$(BIN)/python -m benchmarks.full_day --second-day

docs: setup ## write the generated pages of docs/ anew from the declarations
	@$(BIN)/python -m gguf_assets.catalogue.schema > docs/data.md
	@$(BIN)/python -m gguf_assets.quality.handbook > docs/validation.md
	@$(BIN)/python -m gguf_assets.quality.health_document > docs/health.md
	@$(BIN)/gguf-assets config schema --format markdown > docs/configuration.md

lock: ## resolve requirements.lock anew (needs uv on the PATH)
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes \
		--no-header --no-annotate --no-emit-index-url --upgrade -o requirements.lock

clean: ## remove .venv and caches, never data/
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
