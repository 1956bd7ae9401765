# make run   a server with demo data on 127.0.0.1:8080
# make test  everything that CI runs
# make bench measures speed and growth into docs/performance.md (needs ../shared; under an hour)

# The system's own Python comes first where it is new enough: distributions build it with profile-guided optimization, and
# one that was compiled without takes half as long again for everything here.
SYSTEM := /usr/bin/python3
PYTHON ?= $(shell $(SYSTEM) -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo $(SYSTEM) || echo python3)
VENV := .venv
DATA ?= var
BIN := $(VENV)/bin
# A process for each processor, each with a MongoDB of its own; the tests of a file stay together and in order.
PARALLEL ?= --numprocesses=auto --dist=loadfile --no-loadscope-reorder

.PHONY: help run test bench lint clean

help:
	@sed -n 's/^# make/make/p' Makefile

run: $(VENV)/.runs
	@exec $(BIN)/fhir-facade demo --data $(DATA)

test: $(VENV)/.tests
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest $(PARALLEL)

bench: $(VENV)/.tests
	$(BIN)/python -m tests.bench

lint: $(VENV)/.tests
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/mypy

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo 'Python 3.11 or later is needed: call make with PYTHON=/path/to/python3.11' >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.runs: $(VENV)/bin/python requirements.txt pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

$(VENV)/.tests: $(VENV)/.runs requirements-test.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-test.txt
	@touch $@

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
