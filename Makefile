# Everything a newcomer types. `make lap` and `make test` install what they need into .venv first;
# the stamp file makes every later call instant until the lock file or pyproject.toml change.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
ARGS ?=
# Processes that share the tests, file by file; pytest by itself runs them in one.
JOBS ?= 2
# Where pip looks for torch, for another build than the one it picks by itself (CUDA, CPU only).
TORCH_INDEX ?=
TORCH := torch==2.13.0
# What `pip download -r requirements.lock` weighs on Linux x86_64 with Python 3.11.
DOWNLOAD_MB := 450
CODE := edge fleet models sim conf tests

.DEFAULT_GOAL := help
.PHONY: help setup test lint lap proof-lap lock clean

help: ## this table
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

setup: $(READY) ## create .venv and install everything (lap and test do it by themselves)

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' || { \
		echo "ringroad needs Python 3.11 to 3.14, and $(PYTHON) is `$(PYTHON) -V 2>&1`." >&2; \
		echo "Install one and name it: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "ringroad needs Python's venv module: install the system package python3-venv" >&2; \
		echo "(Debian, Ubuntu: apt-get install python3-venv) and try again." >&2; exit 1; }
	@echo "ringroad: installing into $(VENV): about $(DOWNLOAD_MB) MB of packages to download, then $(TORCH):"
	@echo "ringroad: 190 MB as a CPU build; several GB where pip picks a CUDA build (TORCH_INDEX chooses another index)"
	@echo "ringroad: [1/4] virtual environment"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "ringroad: [2/4] packages of requirements.lock, hashes checked"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@echo "ringroad: [3/4] $(TORCH)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $(TORCH) $(TORCH_INDEX:%=--index-url %)
	@echo "ringroad: [4/4] ringroad itself"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

lap: $(READY) ## one turn of the loop; ARGS="--quick --seed 3", TORCH_INDEX=URL
	@$(BIN)/ringroad lap $(ARGS)

# One thread of arithmetic per process: more threads than cores would wait for each other.
test: lint ## lint, types, import rules and the whole test suite; JOBS=1 in one process
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

proof-lap: $(READY) ## slow: the default lap ends as its gate says, two laps in a row, two runs are equal
	@$(BIN)/python -m pytest --capture=no tests/proof_lap.py $(ARGS)

lint: $(READY) ## ruff, mypy, import-linter
	@$(BIN)/ruff check --quiet $(CODE)
	@$(BIN)/ruff format --quiet --check $(CODE)
	@$(BIN)/mypy --no-error-summary & types=$$!; $(BIN)/lint-imports --no-logo; rules=$$?; \
		wait $$types && exit $$rules

# Torch stands outside (its builds differ by platform, so it is pinned by version only), but all that it
# imports is inside: the torch step then finds everything and adds nothing but torch and its CUDA files.
lock: $(READY) ## resolve requirements.lock anew, then correct DOWNLOAD_MB above
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==0.13.8
	@$(BIN)/uv pip compile pyproject.toml --extra edge --extra fleet --extra sim --extra dev \
		--universal --python-version 3.11 --upgrade --quiet --no-emit-package torch --generate-hashes \
		--no-emit-index-url --no-emit-find-links --no-annotate \
		--custom-compile-command "make lock" --output-file requirements.lock

clean: ## remove .venv and every cache; runs/ stays
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find $(CODE) -name __pycache__ -type d -prune -exec rm -rf {} +
