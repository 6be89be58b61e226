# Sixfold's chores. Everything happens in .venv, which is made from $(PYTHON) and the versions in constraints.txt.
#   make PYTHON=python3.12 test

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input --quiet
PINS := pyproject.toml constraints.txt
# Three processes of tests for two cores: tests that wait for processes of their own leave one idle.
WORKERS = $(shell $(PYTHON) -c 'import os; print(min((3 * os.cpu_count() + 1) // 2, 12))')

.PHONY: help demo test lint types unit test-slow test-faults test-slurm test-airflow test-beam docs fix clean
.NOTPARALLEL:

help:
	@echo "make demo       train on the built-in sample and write a report"
	@echo "make test       everything CI checks: lint, types, unit"
	@echo "make test-slow  the tests too slow for every change"
	@echo "make test-faults  kill runs at more than a hundred places and compare what comes back (about half an hour)"
	@echo "make test-slurm   the tests of jobs that need Slurm; tests/slurm/one_node.sh starts one"
	@echo "make test-airflow the DAGs that submit writes, in an environment with Airflow (.venv-airflow)"
	@echo "make test-beam    predictions by Apache Beam, in an environment with it (.venv-beam)"
	@echo "make docs       write docs/cli.md anew"
	@echo "make fix        sort imports and apply the linter's safe fixes"
	@echo "make clean      remove the environment (also needed to change PYTHON), caches and build outputs"

demo: .venv/demo.stamp
	$(BIN)/sixfold run image-classification

test: lint types unit

lint: .venv/test.stamp
	$(BIN)/ruff check .
	$(BIN)/lint-imports --no-logo
	$(BIN)/hadolint Dockerfile

types: .venv/test.stamp
	$(BIN)/mypy --strict pipelines tasks

unit: .venv/test.stamp
	$(BIN)/pytest -q --numprocesses=$(WORKERS) --dist=loadscope --no-loadscope-reorder --durations=10

test-slow: .venv/test.stamp
	$(BIN)/pytest -q -m slow

test-faults: .venv/test.stamp
	$(BIN)/python tests/faults.py

test-slurm: .venv/test.stamp
	$(BIN)/pytest -q -m slurm -rs -o faulthandler_timeout=1800

test-airflow: .venv-airflow/stamp
	AIRFLOW_HOME=$(CURDIR)/.venv-airflow/home AIRFLOW__CORE__LOAD_EXAMPLES=False \
		.venv-airflow/bin/python -W error::DeprecationWarning tests/airflow_dags.py tests/golden/jobs

test-beam: .venv-beam/stamp
	.venv-beam/bin/pytest -q -rs -o faulthandler_timeout=1800 tests/test_beam.py

docs: .venv/test.stamp
	$(BIN)/python -m pipelines.cli.docs

fix: .venv/test.stamp
	$(BIN)/ruff check --fix .

clean:
	rm -rf .venv .venv-airflow .venv-beam build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache

.venv/venv.stamp:
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info < (3, 14) else "$(PYTHON) is Python %d.%d; Sixfold needs 3.11 to 3.13: name one, as in make PYTHON=python3.12" % sys.version_info[:2])'
	$(PYTHON) -m venv .venv
	@touch $@

.venv-airflow/stamp:
	$(PYTHON) -m venv .venv-airflow
	.venv-airflow/bin/python -m pip --disable-pip-version-check --no-input --quiet install apache-airflow==3.3.2
	@touch $@

# The tested set but for what Beam takes older versions of.
.venv-beam/stamp: $(PINS)
	$(PYTHON) -m venv .venv-beam
	grep -v -E '^(pillow|protobuf|pyarrow|python-dateutil)==' constraints.txt > .venv-beam/constraints.txt
	.venv-beam/bin/python -m pip --disable-pip-version-check --no-input --quiet install \
		-c .venv-beam/constraints.txt -e '.[beam]' pytest apache-beam==2.77.0
	@touch $@

.venv/demo.stamp: .venv/venv.stamp $(PINS)
	@echo "installing the pinned set into .venv (some minutes, about 3 GB)"
	$(PIP) install -c constraints.txt -e .
	@touch $@

.venv/test.stamp: .venv/venv.stamp $(PINS)
	@echo "installing the pinned set and the tools into .venv (some minutes, about 3 GB)"
	$(PIP) install -c constraints.txt -e '.[dev,jax,hub,onnx]'
	@touch $@ .venv/demo.stamp
