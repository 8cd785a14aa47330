# make demo and make test are all that a fresh machine needs: Python 3.11 or newer with pip and venv.

# The interpreter that makes .venv: the first one that is new enough. make PYTHON=/path/to/python3 overrides it.
NEW_ENOUGH := import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c "$(NEW_ENOUGH)" 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
OUT ?= demo

.PHONY: help setup demo test lint bench docs

help:
	@echo "make setup   create .venv with sarcover and what its tests need"
	@echo "make demo    the whole job on a simulated landscape; results in $(OUT)/"
	@echo "make test    style, types and tests"
	@echo "make lint    style and types alone"
	@echo "make bench   memory, speed and accuracy figures (accuracy on real scenes: see SARCOVER_DATA);"
	@echo "             not the longer ones: benchmarks/*.py say what they measure"
	@echo "make docs    the documentation as a web site in site/"

setup: .venv/.done

.venv/.done: pyproject.toml
	@$(PYTHON) -c "$(NEW_ENOUGH)" 2>/dev/null || { \
		echo "sarcover needs Python 3.11 or newer with venv and pip; none found" \
			"(Debian: apt-get install python3-venv; or make PYTHON=/path/to/python3)" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.[dev,bench]'
	@touch $@

demo: setup
	$(BIN)/sarcover demo --out $(OUT) --overwrite

lint: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

# One thread a process: two workers that both use all cores hinder each other.
test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

bench: setup
	$(BIN)/python benchmarks/mapping_memory.py
	$(BIN)/python benchmarks/real_lband.py

.venv/.docs: .venv/.done
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	@touch $@

docs: .venv/.docs
	$(BIN)/mkdocs build --strict
