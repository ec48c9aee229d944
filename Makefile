# hookmill: `make demo` and `make test` do all their own set-up.
.DEFAULT_GOAL := help
SHELL := /bin/sh
PYTHON ?= python3
SEED ?= 1
MINUTES ?= 5
BIN := .venv/bin
READY := .venv/.ready

help: ## what there is
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

$(READY): requirements.lock pyproject.toml deploy/setup.sh
	@PYTHON="$(PYTHON)" sh deploy/setup.sh
	@touch $(READY)

setup: $(READY) ## .venv with hookmill in it, and the broker's jars
	@$(BIN)/python -m hookmill.local.jars

demo: setup ## the whole chain on a real local Kafka, checked
	@$(BIN)/hookmill demo

up: setup ## every process of hookmill.toml, kept running
	@$(BIN)/hookmill up

test: setup ## every test, those on the real broker included
	@$(BIN)/pytest -n auto --dist worksteal tests/unit
	@$(BIN)/pytest -n 2 --dist loadfile tests/contract tests/integration
	@$(BIN)/pytest -n 2 --dist loadfile tests/system

chaos: setup ## break everything and check every promise: SEED=1 MINUTES=5 FAULTS=kill,freeze
	@$(BIN)/hookmill chaos --seed $(SEED) --minutes $(MINUTES) $(if $(FAULTS),--faults $(FAULTS))

check: $(READY) ## format, lint, types, import rules, schemas
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/hookmill schemas export --check

format: $(READY) ## write the format that `check` asks for
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

dashboards: $(READY) ## write deploy/grafana/dashboards from their descriptions
	@$(BIN)/python deploy/grafana/build.py

lock: ## write requirements.lock anew from pyproject.toml (needs uv)
	uv pip compile --universal --python-version 3.11 --group dev --generate-hashes \
	  --no-emit-index-url --no-header --output-file requirements.lock pyproject.toml

clean: ## what the targets made
	rm -rf .venv .hookmill .pytest_cache .mypy_cache .ruff_cache .hypothesis

.PHONY: help setup demo up test chaos check format dashboards lock clean
