# Everything starts here: `make up` runs the product, `make test` proves it. Each target sets up what it needs.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
READY := $(VENV)/.ready
# Tests wait more than they compute: three keep two cores busy.
WORKERS ?= 3
# An environment that forbids bytecode would have each of many processes compile every file that it loads anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help up setup test debian timescale check lint browser bench figures screenshots soak audit docs manual reference lock clean

help: ## Show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-11s %s\n", $$1, $$2}'

up: $(READY) ## Run everything here; Ctrl-C stops all of it
	@exec $(VENV)/bin/tcp up

setup: $(READY) ## Make the virtual environment from requirements.lock

$(READY): requirements.lock pyproject.toml .ci/setup
	@PYTHON="$(PYTHON)" VENV="$(VENV)" .ci/setup
	@touch $@

test: $(READY) browser ## The whole suite: unit, contract, replay, graph, browser and end to end
	@$(VENV)/bin/pytest -n $(WORKERS) --dist loadscope --no-loadscope-reorder

debian: $(READY) browser ## The suite on Debian's own PostgreSQL and Redis
	@VENV="$(VENV)" WORKERS="$(WORKERS)" .ci/servers debian

timescale: $(READY) browser ## The suite on Debian 13's PostgreSQL with TimescaleDB; needs root, 400 MB and time
	@VENV="$(VENV)" WORKERS="$(WORKERS)" .ci/servers timescale

check: lint ## Format, lint, types, imports and unit tests
	@$(VENV)/bin/pytest -q -n $(WORKERS) tests/unit

lint: $(READY) ## Format, lint, types and imports
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports

browser: ## Install Chromium for the browser tests where apt and root allow
	@.ci/browser

bench: $(READY) .peers/.ready ## Measure the engines beside their peers, into docs/benchmarks.md
	@BENCH_FIGURES=tests/bench/figures.jsonl \
		$(VENV)/bin/pytest -q -p no:randomly -o python_files="bench_*.py" tests/bench; \
		result=$$?; $(VENV)/bin/python -m tests.bench.page; exit $$result

figures: $(READY) ## Write the tables of docs/benchmarks.md from tests/bench/figures.jsonl
	@$(VENV)/bin/python -m tests.bench.page

.peers/.ready: tests/bench/peers/requirements.txt
	@$(PYTHON) -m venv .peers
	@$(VENV)/bin/uv pip install -q --python .peers/bin/python -r $<
	@touch $@

screenshots: $(READY) browser ## Photograph every page in both themes, at two widths, into FOLDER (screenshots)
	@mkdir -p $${FOLDER:-screenshots} && SCREENSHOTS=$${FOLDER:-screenshots} \
		$(VENV)/bin/pytest -q -p no:randomly tests/e2e/test_every_page.py

soak: $(READY) ## A week of crashes, chaos, memory, stack, bots, kills, backfill, MINUTES (30) each; WHAT=week for one
	@$(VENV)/bin/python -m tests.e2e.soak --what $${WHAT:-all} --minutes $${MINUTES:-30} \
		--rate $${RATE:-5000} --hours $${HOURS:-72} --months $${MONTHS:-24} $${SPEED:+--speed $$SPEED}

audit: $(READY) ## Ask a vulnerability service, over the internet, about every pinned version
	@$(VENV)/bin/uv tool run pip-audit --require-hashes --disable-pip -r requirements.lock

docs: $(READY) ## Serve lineage and model documentation
	@exec $(VENV)/bin/tcp docs

manual: $(READY) ## Build the manual into site/, from docs/ and from the code
	@NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --quiet --strict

reference: $(READY) ## Write deploy/tcp.env anew from the settings
	@$(VENV)/bin/python -m cli.reference

lock: ## Pin every dependency anew in requirements.lock
	@$(VENV)/bin/uv pip compile pyproject.toml --extra dev --python-version 3.11 --generate-hashes \
		--no-header --no-annotate --no-strip-extras --no-emit-index-url --no-emit-find-links --upgrade -o requirements.lock -q

clean: ## Remove caches and the virtual environment; the data in var/ and data_lake/ stays
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build *.egg-info
