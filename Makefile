# Everything is set up in .venv by itself; `make` alone tells what there is.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
SOURCES := service simulator tests bench

.DEFAULT_GOAL := help
.PHONY: help install run test chaos lint types format check bench lock clean
help: ## Show this help
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(READY) ## Set up .venv from the locked dependencies
$(READY): requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@
run: $(READY) ## Run the service and a playground, with a simulator of Spotify unless credentials are set
	@$(BIN)/python -m simulator.demo
test: $(READY) ## Run the tests, with branch coverage of service/
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report
chaos: $(READY) ## Test under faults and load; CHAOS=--short does less of each
	$(BIN)/pytest -o python_files='chaos_*.py' tests/chaos $(CHAOS)

lint: $(READY) ## Check style and formatting
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	.ci/lint
types: $(READY) ## Check types
	$(BIN)/mypy $(SOURCES)
format: $(READY) ## Format, and mend what can be mended
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)
check: lint types ## Check everything that needs no run

bench: $(READY) ## Measure CPU per request beside its peers (needs nginx, wrk and Node.js)
	$(BIN)/python -m bench $(BENCH)

COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-header $(LOCK)
lock: $(READY) ## Lock the dependencies anew
	$(BIN)/python -m pip install --quiet uv
	$(COMPILE) pyproject.toml -o requirements.txt
	$(COMPILE) pyproject.toml -o requirements-dev.txt --group dev -c requirements.txt
clean: ## Remove what make made
	rm -rf $(VENV) .chaos .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache

include tests/real.mk
