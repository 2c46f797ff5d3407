# make demo [VIDEO=clip.mp4] [PROFILE=permissive]   the whole way of a clip: upload, analysis, its events, searches
# make test | drills | lint | types | contracts    what CI runs
# make bench [ARGS=--quick]                        speed, as ratios measured in one run: docs/performance.md
# All set-up happens by itself: a virtual environment in .venv, pinned dependencies, weights checked by sha256.

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV ?= .venv
PROFILE ?= cpu
BIN := $(VENV)/bin
export SENTINEL_PROFILE := $(PROFILE)

# What each profile installs: `permissive` runs without torch and without anything AGPL.
EXTRAS_permissive := [local]
EXTRAS_cpu := [cpu,local]
EXTRAS_gpu := [gpu,local]
INSTALLED := $(VENV)/.installed-$(PROFILE)

# Three on two cores: many tests wait for what they started. tests/conftest.py says which files begin.
WORKERS := -n 3 --dist loadfile --no-loadscope-reorder

.PHONY: demo test drills lint types contracts check quality bench bench-decode bench-whole bench-sizes bench-tracking bench-growth bench-launcher bench-upgrade bench-backfill bench-models bench-gpu models clean

demo: $(INSTALLED)
	@$(BIN)/sentinel demo $(if $(VIDEO),"$(VIDEO)")

test: $(VENV)/.installed-dev
	@$(BIN)/sentinel models pull
	$(BIN)/python -m pytest $(WORKERS) -m 'not drill' $(ARGS)

drills: $(VENV)/.installed-dev
	@$(BIN)/sentinel models pull
	$(BIN)/python -m pytest $(WORKERS) -m drill $(ARGS)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev
	$(BIN)/mypy

contracts: $(VENV)/.installed-dev
	$(BIN)/lint-imports

check: lint types contracts test drills

quality: $(INSTALLED)
	@test -n "$(FOOTAGE)" || { echo "make quality FOOTAGE=folder/of/clips: see docs/quality.md" >&2; exit 1; }
	@$(BIN)/sentinel models pull >&2
	@$(BIN)/python -m tests.bench.quality "$(FOOTAGE)"

bench: bench-decode bench-whole bench-sizes bench-tracking bench-growth bench-launcher

bench-decode: $(VENV)/.installed-dev
	@$(BIN)/python -m tests.bench.decode $(ARGS)

bench-launcher: $(VENV)/.installed-dev
	@$(BIN)/python -m tests.bench.launcher $(ARGS)

bench-whole: $(VENV)/.installed-dev
	@$(BIN)/sentinel models pull >&2
	@$(BIN)/python -m tests.bench.whole $(ARGS)

bench-sizes: $(VENV)/.installed-dev
	@$(BIN)/sentinel models pull >&2
	@$(BIN)/python -m tests.bench.sizes $(ARGS)

bench-tracking: $(VENV)/.installed-dev
	@$(BIN)/python -m tests.bench.tracking $(ARGS)

bench-growth: $(VENV)/.installed-dev
	@$(BIN)/python -m tests.bench.growth $(ARGS)

bench-upgrade: $(VENV)/.installed-dev
	@test -n "$(FOOTAGE)" || { echo "make bench-upgrade FOOTAGE=folder/of/clips: see docs/performance.md" >&2; exit 1; }
	@$(BIN)/sentinel models pull >&2
	@$(BIN)/python -m tests.bench.upgrade "$(FOOTAGE)" $(ARGS)

bench-backfill: $(VENV)/.installed-dev
	@$(BIN)/sentinel models pull >&2
	@$(BIN)/python -m tests.bench.backfill $(ARGS)

bench-models: $(VENV)/.installed-dev
	@$(BIN)/python -m tests.bench.models $(ARGS)

bench-gpu: $(VENV)/.installed-dev
	@$(BIN)/python -m tests.bench.gpu $(ARGS)

models: $(INSTALLED)
	@$(BIN)/sentinel models pull

clean:
	rm -rf .sentinel $(VENV)

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Sentinel needs Python 3.11 or newer on the PATH; install it, or: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	@echo "Creating $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.installed-permissive $(VENV)/.installed-cpu $(VENV)/.installed-gpu: $(VENV)/.installed-%: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing the pinned dependencies of profile $* (once; torch makes it several minutes in profile cpu)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".$(EXTRAS_$*)"
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed-cpu
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[cpu,gpu,local,dev]"
	@touch $@
