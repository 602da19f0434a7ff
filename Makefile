# Every target works in a fresh clone that has python3 (3.11 or newer, with venv) and make.
PYTHON ?= python3
CC ?= cc
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: help demo test check bench fuzz docs clean python cc
.DEFAULT_GOAL := help

help: ## this list
	@sed -n 's/^\([a-z]*\):[^#]*## /\1\t/p' Makefile | expand -t 8

demo: $(INSTALLED) ## start, detach, SIGKILL the daemon, come back: on a real dev server
	$(BIN)/python examples/demo.py

test: $(INSTALLED) ## every test: unit, component, system, in this order
	$(BIN)/python -m pytest

check: $(INSTALLED) ## lint, format, types, imports, generated docs
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python docs/generate.py --check

bench: cc $(INSTALLED) ## floor, ours, ratio and machine for each workload
	$(BIN)/python -m bench

fuzz: $(INSTALLED) ## the soak tests: kills at random instants, by the thousand
	$(BIN)/python -m pytest -m soak --timeout 3600

docs: $(INSTALLED) ## write the generated parts of docs/ again
	$(BIN)/python docs/generate.py

clean: ## remove the environment, the caches and what a build left
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .import_linter_cache build dist client/dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The build backend comes first and from the constraints, so that the builds need no environment of
# their own, whose versions nothing would pin. The stamp is last: an install cut off starts again.
$(INSTALLED): pyproject.toml client/pyproject.toml constraints.txt | python
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt hatchling
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
	    --no-build-isolation -e ./client -e '.[dev]'
	@touch $@

python:
	@command -v $(PYTHON) >/dev/null || { \
	    echo "$(PYTHON) is missing: sudo apt-get install python3 python3-venv" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "$(PYTHON) is $$($(PYTHON) -V), and 3.11 or newer is needed:" \
	         "sudo apt-get install python3.11 python3.11-venv && make PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	    echo "$(PYTHON) has no venv: sudo apt-get install python3-venv" >&2; exit 1; }

cc:
	@command -v $(CC) >/dev/null || { \
	    echo "no C compiler ($(CC)), which the floors are built with:" \
	         "sudo apt-get install gcc libc6-dev" >&2; exit 1; }
