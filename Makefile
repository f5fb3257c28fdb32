# Needs Python 3.11 or 3.12, git and make; everything else goes into .venv and the user's cache.
# pip takes its indexes from the environment (PIP_INDEX_URL, PIP_EXTRA_INDEX_URL,
# PIP_FIND_LINKS …). AGENTRT_TORCH_INDEX names an index with CPU builds of torch.

VENV := .venv
BIN := $(VENV)/bin
# Conflicts: SGLang is installed without the CUDA packages that its metadata demands.
PIP_INSTALL := $(BIN)/python -m pip install -qq --disable-pip-version-check --no-warn-conflicts
DEVICE ?= auto
COPIES ?= 6

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help run test check bench-live engine model benchmarks clean

help: ## Show this help
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 16

run: $(VENV)/installed engine model ## Run six agents at once on an engine of their own
	$(BIN)/agentrt run examples/repo_detective.py -n $(COPIES)

test: $(VENV)/installed-dev engine model benchmarks check ## All checks and tests
	$(BIN)/pytest

check: $(VENV)/installed-dev ## Lint, format, types and import rules
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/mypy tests examples hatch_build.py
	MYPYPATH=docs/benchmarks $(BIN)/mypy docs/benchmarks/*.py
	$(BIN)/lint-imports

bench-live: $(VENV)/installed-dev engine model ## Stock SGLang against guard, live (two hours, machine idle)
	$(BIN)/python docs/benchmarks/live_cpu.py --json docs/benchmarks/live_cpu.json

# They look for themselves whether anything is to be done, in less than a second.
engine: $(VENV)/installed
	$(BIN)/agentrt engine install --device $(DEVICE)

model: engine
	$(BIN)/agentrt models fetch

benchmarks: engine
	$(BIN)/agentrt bench install bfcl
	$(BIN)/agentrt bench install swebench

clean: ## Remove the environment and what tools left; the model cache stays
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find agentrt engine tools examples tests -name __pycache__ -type d -prune -exec rm -rf {} +

# Stamps live in the environment that they describe. The one with test tools includes the other.
$(VENV)/installed: $(VENV)/pyvenv.cfg pyproject.toml
	$(PIP_INSTALL) --editable .
	@touch $@

$(VENV)/installed-dev: $(VENV)/pyvenv.cfg pyproject.toml
	$(PIP_INSTALL) --editable '.[dev]'
	@touch $(VENV)/installed $@

# The first Python on the PATH that fits; `make PYTHON=…` names one.
SUPPORTED := import ensurepip, sys, venv; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))
PYTHON ?= $(firstword $(foreach python,python3.11 python3.12 python3 python,\
	$(shell $(python) -c '$(SUPPORTED)' 2>/dev/null && echo $(python))))

$(VENV)/pyvenv.cfg:
	@$(or $(PYTHON),false) -c '$(SUPPORTED)' 2>/dev/null || { \
	  echo 'error: agentrt needs Python 3.11 or 3.12 with its venv module;' \
	    '$(if $(PYTHON),$(PYTHON) is not that,none is on the PATH)' >&2; \
	  echo 'hint: install one, or name it: make PYTHON=/path/to/python3.11' >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
