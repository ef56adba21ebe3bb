# Two commands: `make run` serves the app with demo data, `make test` proves it.
PYTHON ?= python3
PORT ?= 5000
BIN := .venv/bin
SHELL := /bin/bash
.DEFAULT_GOAL := help

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

run: .venv/.run-ready ## Set up, migrate, fill an empty database with demo data, serve on PORT (default 5000)
	@PORT=$(PORT) exec $(BIN)/soconnective serve --demo-if-empty

test: .venv/.test-ready ## Set up and run every test on SQLite and on PostgreSQL, the browser's included
	@.ci/system-packages
	@$(BIN)/coverage erase
	$(BIN)/python -m pytest -q --database=sqlite --cov --cov-report=
	$(BIN)/python -m pytest -q --database=postgresql --cov --cov-append

lint: .venv/.test-ready ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

check-migrations: .venv/.test-ready ## Check that the newest schema equals the models, on a fresh SQLite database
	@rm -rf .venv/check && mkdir -p .venv/check
	SOCONNECTIVE_INSTANCE=$$PWD/.venv/check $(BIN)/flask --app app.py db upgrade
	SOCONNECTIVE_INSTANCE=$$PWD/.venv/check $(BIN)/flask --app app.py db check

format: .venv/.test-ready ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: .venv/.python-ready ## Renew the lock files from pyproject.toml
	$(BIN)/pip install -q uv
	$(BIN)/uv pip compile -q --upgrade --universal --generate-hashes --no-emit-index-url --no-header --extra build pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-header --extra build --extra test pyproject.toml -c requirements.lock -o requirements-test.lock

clean: ## Remove the virtual environment and caches; instance/ (your data) stays
	rm -rf .venv .mypy_cache .ruff_cache .coverage htmlcov

.venv/.python-ready:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "SoConnective needs Python 3.11 or newer: apt-get install python3"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "Python's venv module is missing: apt-get install python3-venv"; exit 1; }
	@$(PYTHON) -m venv .venv
	@touch $@

.venv/.run-ready: requirements.lock pyproject.toml | .venv/.python-ready
	@echo "Installing what SoConnective needs (once) ..."
	@$(BIN)/pip install -q --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

.venv/.test-ready: requirements-test.lock .venv/.run-ready
	@$(BIN)/pip install -q --disable-pip-version-check --require-hashes -r requirements-test.lock
	@touch $@

.PHONY: help run test lint check-migrations format lock clean
