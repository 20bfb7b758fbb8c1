# `make demo` and `make test` set up everything they need on a fresh machine (Python >= 3.11).
# A name on the PATH may be a shim for a version that is not there: take the first that runs.
PYTHON ?= $(shell for name in python3 python3.13 python3.12 python3.11; do \
	$$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$name && break; done)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO ?= demo
# Hundreds of processes are started, and each would compile this package anew without its bytecode.
unexport PYTHONDONTWRITEBYTECODE
# Test files are shared out to a few processes, long ones first (tests/conftest.py).
SIDE_BY_SIDE := -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

.PHONY: demo test test-deployed test-fast lint format install clean

demo: install ## Train a federation of synthetic hospitals and write demo/run/report.html
	$(BIN)/echofm demo $(DEMO)

test: install ## The test suite, but for federations of real Flower processes
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m "not deployed"

test-deployed: install ## Federations of real Flower processes: TLS, node keys, kills, dead sites; a Ray cluster
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m deployed

test-fast: install ## The suite without the long tests
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m "not slow and not deployed"

lint: install ## ruff, format check, mypy strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: install ## Mend what ruff can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

install: $(STAMP)

$(STAMP): pyproject.toml
	@test -n "$(PYTHON)" || \
		{ echo "EchoFM Federated needs Python 3.11 or newer; set PYTHON=/path/to/python"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[dev]"
	@touch $(STAMP)

clean: ## Remove the environment and caches (never run folders)
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache *.egg-info
	find . -name __pycache__ -prune -exec rm -rf {} +
