# Everything runs in .venv, which `setup` makes. Python >= 3.11 is all that must be there.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
# Address of an index with CPU builds of torch; empty: whatever pip is configured to offer.
TORCH_INDEX ?=
STAMP  := $(VENV)/.installed

.PHONY: setup demo test test-all test-verl lint format bench clean help

help:
	@echo "make demo      train the bundled small model by GRPO, watch it in a browser, and write a report"
	@echo "make test      lint, types, layers and every fast test"
	@echo "make test-all  the slow tests too"
	@echo "make test-verl the tests that need verl or Ray, in an environment of their own"
	@echo "make bench     every figure of docs/numbers.md, measured on this machine"
	@echo "make setup     prepare .venv only"

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "$(PYTHON) is older than 3.11; name a newer one: make setup PYTHON=python3.12"; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) (a few minutes the first time)"
	@$(BIN)/python -m pip install -q -U pip 2>&1 | grep -v '^WARNING: Location' || true
	@$(BIN)/python -m pip install -q $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) -c constraints.txt torch
	@$(BIN)/python -m pip install -q -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(STAMP)
	@$(BIN)/dissensus train --dashboard

lint: $(STAMP)
	@$(BIN)/ruff format --check src tests benchmarks
	@$(BIN)/ruff check src tests benchmarks
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(STAMP)
	@$(BIN)/ruff format src tests benchmarks
	@$(BIN)/ruff check --fix src tests benchmarks

# Two processes: the tests wait a good deal on disks and child processes. A file stays in one of them,
# because runs that its tests share are made once per file. One thread each: more would only wait.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile

test: lint
	@$(PYTEST)

test-all: lint
	@$(PYTEST) -m "slow or not slow"

# verl and TRL want different versions of transformers. Every version is pinned, so nothing is resolved, and torch
# comes first: then a CPU build stays, and no package asks for CUDA. Warnings of verl and ray are theirs.
VERL     ?= .venv-verl
VERL_BIN := $(VERL)/bin

test-verl: $(VERL)/.installed
	@OMP_NUM_THREADS=1 $(VERL_BIN)/python -m pytest -q -W default tests/verl tests/scale/test_ray.py

$(VERL)/.installed: pyproject.toml constraints-verl.txt
	@test -x $(VERL_BIN)/python || $(PYTHON) -m venv $(VERL)
	@echo "installing verl into $(VERL) (a few minutes the first time)"
	@$(VERL_BIN)/python -m pip install -q -U pip 2>&1 | grep -v '^WARNING: Location' || true
	@$(VERL_BIN)/python -m pip install -q $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) -c constraints-verl.txt torch
	@$(VERL_BIN)/python -m pip install -q --no-deps -r constraints-verl.txt
	@$(VERL_BIN)/python -m pip install -q --no-deps -e .
	@touch $@

bench: $(STAMP)
	@$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) $(VERL) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
