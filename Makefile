# Every target sets up .venv by itself. PYTHON=... chooses the interpreter, ARGS=... reaches the program that a target runs.
PYTHON ?= $(shell for python in python3.11 python3; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check -qq

.DEFAULT_GOAL := help
.PHONY: help demo test coverage prove check bench simulate soak mutate clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(INSTALLED) ## the whole story on a sandbox: sign in, adopt, rotate, revoke, verify
	@$(BIN)/rotator sandbox demo $(ARGS)

test: $(INSTALLED) ## the tests, and a sample of each proof, in three processes
	@echo "Running the tests"
	@$(BIN)/python -m pytest -q -n 3 --dist loadfile -m "not prove or sample" $(ARGS)

coverage: $(INSTALLED) ## how much of the product the tests reach, in lines and branches; with ARGS=tests/unit, by only these tests
	@echo "Running the tests, and noting what they reach"
	@$(BIN)/coverage erase
	@$(BIN)/coverage run -m pytest -q -n 3 --dist loadfile -m "not prove or sample" $(ARGS)
	@$(BIN)/coverage combine -q
	@$(BIN)/coverage report

prove: $(INSTALLED) ## every kill, SIGSTOP and random history of the proofs: run it when you change the engine
	@echo "Running the proofs"
	@$(BIN)/python -m pytest -q -n 2 --dist loadfile -m prove $(ARGS)

check: $(INSTALLED) ## formatting, lint, types
	@echo "Checking formatting, lint and types"
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy --strict --no-error-summary

bench: $(INSTALLED) ## timings, side by side with the bare minimum
	@$(BIN)/python tests/bench/run.py $(ARGS)

simulate: $(INSTALLED) ## RUNS=2000 random histories, and each crash of a rotation, create and update that matters
	@$(BIN)/python -m tests.simulation --everywhere --runs $(or $(RUNS),2000) $(ARGS)

soak: $(INSTALLED) ## DAYS=1000 virtual days of a daemon in a world that fails, one after the other; ARGS="--seed 7"
	@$(BIN)/python -m tests.soak --days $(or $(DAYS),1000) $(ARGS)

mutate: $(INSTALLED) ## change the engine a little, many times: do the tests notice? MODULE=rotator/engine/x.py: only that
	@$(BIN)/python -m tests.mutation $(MODULE) $(ARGS)

clean: ## remove .venv, builds and caches
	@echo "Removing $(VENV), builds and caches"
	@rm -rf $(VENV) dist build mutants .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage .coverage.*
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(INSTALLED): requirements-dev.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: none found. Try make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' || { echo "$(PYTHON) cannot make virtual environments: install python3-venv" >&2; exit 1; }
	@echo "Setting up $(VENV) with $(PYTHON) (once; a minute or two)"
	@$(PIP) --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)  # an interrupted one lacks pip
	@$(PIP) install --require-hashes -r requirements-dev.txt
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@
