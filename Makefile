# `make` alone lists the targets. Needs python 3.11 or newer (with venv and pip), nothing else.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
# Tests in parallel; TESTS and PYTEST_ARGS narrow them: make test TESTS=tests/unit PYTEST_ARGS='-k journal'
WORKERS ?= 2
TESTS ?= tests
PYTEST_ARGS ?=

.PHONY: help demo test crash test-postgres test-supabase types conformance check format schema bench bench-quick bench-read soak clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.venv/.created:
	@test -n "$(PYTHON)" || { echo "No python of version 3.11 or newer found: install one, or say make PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q --disable-pip-version-check --upgrade 'pip>=25.1'
	@touch $@

.venv/.demo: .venv/.created pyproject.toml
	@echo "Installing chopsky-trace and what the example needs into .venv ..."
	@$(BIN)/pip install -q --disable-pip-version-check -e '.[langchain,embedded]' --group examples
	@touch $@

.venv/.dev: .venv/.created pyproject.toml
	@echo "Installing chopsky-trace with everything its tests need into .venv ..."
	@$(BIN)/pip install -q --disable-pip-version-check -e '.[all]' --group dev
	@touch $@ .venv/.demo

demo: .venv/.demo ## a LangGraph agent traced into an embedded PostgreSQL, and what landed there
	@$(BIN)/python examples/langgraph_agent.py

# They wait more than they compute: three keep two cores busy.
test: WORKERS = 3
test: .venv/.dev ## all tests but the suites below, on a PostgreSQL 18 that they start themselves
	$(BIN)/python -m pytest $(TESTS) --ignore tests/supabase_cli --ignore tests/conformance --ignore tests/crash -n $(WORKERS) --dist worksteal $(PYTEST_ARGS)

crash: .venv/.dev ## kills processes, cuts connections, fills disks, restarts servers: what was accepted is stored, once
	$(BIN)/python -m pytest tests/crash -n $(WORKERS) --dist worksteal $(PYTEST_ARGS)

test-supabase: .venv/.dev ## the real Supabase CLI: push, advisors, types; it comes from npm
	$(BIN)/python -m pytest tests/supabase_cli -n $(WORKERS) --dist worksteal $(PYTEST_ARGS)

test-postgres: .venv/.dev ## the database tests on PostgreSQL 15 and 17
	$(BIN)/python tests/postgres_versions.py 15 17 -- -n $(WORKERS) --dist worksteal $(PYTEST_ARGS)

conformance: .venv/.dev ## exchanges with providers, and recorded spans, against what the tables say of them, as tables
	$(BIN)/python -m pytest tests/conformance -q -n 0 $(PYTEST_ARGS)

check: .venv/.dev ## format, lint, types, architecture, spelling
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/basedpyright
	$(BIN)/lint-imports
	$(BIN)/codespell

format: .venv/.dev ## let ruff format the code and mend what it can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

schema: .venv/.dev ## write sql/schema.sql again from the migrations
	$(BIN)/python tests/write_schema.py

types: .venv/.dev ## write sql/types again from the migrations, by the Supabase CLI
	PYTHONPATH=tests $(BIN)/python tests/supabase_cli/write_types.py

bench: .venv/.dev ## caller's time per callback, rows per second, and what is lost, beside the alternatives
	$(BIN)/python -m benchmarks

bench-quick: .venv/.dev ## the same with few rounds, and the questions of bench-read at a small size: to see that they run, not to quote
	$(BIN)/python -m benchmarks --quick --rounds 1
	$(BIN)/python -m benchmarks.reading --messages 20000 --times 5
	$(BIN)/python -m benchmarks.memory --runs 200

bench-read: .venv/.dev ## what people ask of the tables, at 5 million messages (15 GB of disk, 20 minutes); writers in the same sessions
	$(BIN)/python -m benchmarks.reading
	$(BIN)/python -m benchmarks.sharing

soak: .venv/.dev ## 100,000 runs through one tracer: what the process holds in memory (ten minutes)
	$(BIN)/python -m benchmarks.memory

clean: ## remove what the other targets made (not the embedded database)
	rm -rf .venv .cache build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
