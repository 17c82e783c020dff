# Two commands matter: `make demo` and `make test`. Both set up their own environment first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# Containers often set this; every notebook and worker would then compile torch and its kin anew.
unexport PYTHONDONTWRITEBYTECODE

# uv reads none of pip's settings: an index, and folders of packages, that are set for pip are passed
# on to it, unless it has its own.
pip_has = $(BIN)/python -m pip config list | sed -n 's/\\n/ /g; s/^global\.$(1)=.\(.*\).$$/\1/p'
define UV_AS_PIP
index=$${UV_DEFAULT_INDEX:-$${UV_INDEX_URL:-$${PIP_INDEX_URL:-$$($(call pip_has,index-url))}}}; \
links=$${UV_FIND_LINKS:-$$(echo $${PIP_FIND_LINKS:-$$($(call pip_has,find-links))} | tr ' ' ,)}; \
env $${index:+UV_DEFAULT_INDEX="$$index"} $${links:+UV_FIND_LINKS="$$links"} $(BIN)/uv
endef

.DEFAULT_GOAL := help
.PHONY: help setup demo test faults audit check format lab lock clean

help: ## show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

setup: $(READY) ## make .venv from requirements.lock

$(READY): requirements.lock pyproject.toml
	@echo "Setting up $(VENV): about 6 GB; a few minutes the first time, under one from a warm package cache."
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed; name it with: make PYTHON=/path/to/python3 ..."; exit 1; }
	@$(PYTHON) -m venv $(VENV) \
		|| { echo "Could not make $(VENV): is the venv module installed (Debian: python3-venv)?"; exit 1; }
	@echo "Installing the locked packages ..."
	@awk '/^[^ ]/ {of_uv = /^uv==/} of_uv' requirements.lock > $(VENV)/uv.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(VENV)/uv.txt
	@$(UV_AS_PIP) pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@
	@echo "Ready: $$($(BIN)/python --version), $$($(BIN)/uv pip list --python $(BIN)/python 2>/dev/null | tail -n +3 | wc -l) packages."

demo: $(READY) ## synthetic corpus, all six notebooks, a checked submission
	@$(BIN)/meiju demo-corpus data/demo --size demo --seed 0
	@$(BIN)/meiju run --profile demo

test: $(READY) ## the tests, offline
	@$(BIN)/python -m pytest

faults: $(READY) ## kills, damage, hostile input, a poor machine: the whole campaign
	@rm -f $(VENV)/faults.jsonl
	@MEIJU_FAULTS=full MEIJU_FAULTS_RECORD=$(CURDIR)/$(VENV)/faults.jsonl \
		$(BIN)/python -m pytest tests/faults tests/test_execution.py tests/embeddings/test_models.py
	@$(BIN)/python -m tests.faults.report $(VENV)/faults.jsonl docs/faults.md

audit: $(READY) ## known weaknesses of the locked packages, where a source of them is reachable
	@$(BIN)/python benchmarks/audit.py

check: $(READY) ## lint, format, types, layers, clean notebooks
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/nbstripout --verify notebooks/*.ipynb
	@echo "All checks passed."

format: $(READY) ## mend what the linter and formatter can
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .
	@$(BIN)/nbstripout notebooks/*.ipynb

lab: $(READY) ## open the notebooks in JupyterLab
	@$(BIN)/jupyter lab --notebook-dir=. notebooks/01_preprocessing.ipynb

lock: $(READY) ## resolve requirements.lock again from pyproject.toml
	@$(UV_AS_PIP) pip compile pyproject.toml --extra dev --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-header --quiet -o requirements.lock

clean: ## remove the environment, the demo corpus and the demo's run; other runs stay
	@rm -rf $(VENV) data/demo data/demo-truth runs/demo
