# Everything the project's people run. `make` alone lists it. Settings: PYTHON=python3.12, PORT=5001, ARGS="-k name".
PYTHON ?= python3
BIN := .venv/bin
export PYTHON

.DEFAULT_GOAL := help
.PHONY: help run test prove mutants test-quick lint format lock check-migrations clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' $(MAKEFILE_LIST) | while IFS='|' read -r name what; do printf '  make %-17s %s\n' "$$name" "$$what"; done

run: .venv/.runtime ## the app on http://127.0.0.1:5000 (PORT=...), with demo data if it holds none; Ctrl-C ends it
	@exec $(BIN)/soconnective serve --demo-if-empty

test: .venv/.test ## all tests on SQLite and on PostgreSQL; COVERAGE=1 for the coverage gate too, as in CI
	@.ci/system-packages
	@.ci/test $(ARGS)

prove: .venv/.prove ## the long form of every proof on both databases and the mutation score, with a report in prove-report.md
	@.ci/system-packages
	@.ci/prove $(ARGS)

mutants: .venv/.prove ## the mutation score of the engine, the events and the tenancy guard
	@.ci/mutants

test-quick: .venv/.test ## tests on SQLite, without the browser and without coverage
	@$(BIN)/pytest -n 2 -m "not browser" $(ARGS)

lint: .venv/.test ## rules, format and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: .venv/.test ## bring the code into the one format
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

check-migrations: .venv/.test ## the models equal the migrations, on SQLite and on PostgreSQL
	@$(BIN)/python -m tests.databases check sqlite postgresql

lock: ## take the newest versions that pyproject.toml allows into the locks
	@.ci/venv
	@.ci/lock

clean: ## remove what the tools made (.venv too); instance/ with your data stays
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage* htmlcov build dist *.egg-info
	find soconnective tests migrations -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# The two stamps: made again when a lock or pyproject.toml has changed.
.venv/.runtime: requirements.lock pyproject.toml
	@.ci/venv requirements.lock
	@touch $@

.venv/.test: requirements-test.lock pyproject.toml
	@.ci/venv requirements-test.lock
	@touch .venv/.runtime $@

.venv/.prove: requirements-prove.lock pyproject.toml
	@.ci/venv requirements-prove.lock
	@touch .venv/.runtime .venv/.test $@
