# Everything here works on a fresh Linux or macOS machine with Python >= 3.11, make and a package registry.
#
#   make demo     train on 25,000 real reviews, deploy, open the web app
#   make test     format, lint, layers, types, then all tests
#   make lint     the same without the tests
#   make bench    side by side with other ways to serve a model
#   make lock     write requirements/*.txt anew (versions and hashes, no index addresses)
#   make clean    remove what the targets above made in this folder

SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
# One more than cores: tests wait as much as they work.
WORKERS ?= $(shell echo $$(($$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2) + 1)))

# The first Python that is new enough. `make PYTHON=/path/to/python demo` chooses another.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11 python3.14 python; do \
	if "$$python" -c 'import sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' 2>/dev/null; \
	then command -v "$$python"; break; fi; done)

# uv of the machine when there is one, else one that pip installs next to the environment, version and hash pinned.
UV := $(shell if uv --version >/dev/null 2>&1; then command -v uv; else echo $(VENV)/.uv/bin/uv; fi)

DEMO_STAMP := $(VENV)/.stamp-demo
DEV_STAMP := $(VENV)/.stamp-dev

.DEFAULT_GOAL := help
.PHONY: help demo test lint bench lock clean env dev

help:
	@sed -n '3,8s/^# *//p' Makefile

demo: $(DEMO_STAMP)
	@$(BIN)/stagedoor demo $(DEMO_FLAGS)

env: $(DEMO_STAMP)

dev: $(DEV_STAMP)

test: lint
	@$(BIN)/python tests/chromium.py $(if $(CI),--required)
	$(BIN)/python -m pytest -n $(WORKERS) $(TEST_FLAGS)

lint: $(DEV_STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/pyright --pythonpath $(BIN)/python

bench: $(DEV_STAMP)
	$(BIN)/python -m bench $(BENCH_FLAGS)

# Environments ---------------------------------------------------------------------------------------------------

$(BIN)/python:
	@if [ -z "$(PYTHON)" ]; then \
	  echo "stagedoor needs Python 3.11 or newer (to 3.14), and found none on PATH." >&2; \
	  echo "Install one (Debian, Ubuntu: apt-get install python3 python3-venv; macOS: brew install python@3.13)," >&2; \
	  echo "or name one: make PYTHON=/path/to/python3.13 demo" >&2; exit 1; fi
	@echo "making $(VENV) with $(PYTHON)"
	@if uv --version >/dev/null 2>&1; then uv venv --quiet --allow-existing --python "$(PYTHON)" $(VENV); \
	else "$(PYTHON)" -m venv $(VENV); fi || { rm -rf $(VENV); \
	  echo "$(PYTHON) cannot make an environment (Debian, Ubuntu: apt-get install python3-venv)." >&2; exit 1; }

$(VENV)/.uv/bin/uv: requirements/uv.txt | $(BIN)/python
	@echo "installing uv"
	@"$(PYTHON)" -m venv $(VENV)/.uv
	@$(VENV)/.uv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@touch $@

# Versions and hashes come from the committed files; the package itself is installed from this folder, editable.
$(DEMO_STAMP): requirements/demo.txt pyproject.toml | $(UV) $(BIN)/python
	@echo "installing the pinned packages"
	@if [ ! -e $(DEV_STAMP) ]; then \
	  "$(UV)" pip install --quiet --compile-bytecode --python $(BIN)/python --no-deps --require-hashes -r requirements/demo.txt && \
	  "$(UV)" pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .; fi
	@touch $@

$(DEV_STAMP): requirements/dev.txt pyproject.toml | $(UV) $(BIN)/python
	@echo "installing the pinned packages for development"
	@"$(UV)" pip install --quiet --compile-bytecode --python $(BIN)/python --no-deps --require-hashes -r requirements/dev.txt
	@"$(UV)" pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@ $(DEMO_STAMP)

COMPILE = "$(UV)" pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest --generate-hashes \
	--no-emit-index-url --no-annotate --no-header $(LOCK_FLAGS)
# pyproject.toml leaves pandas out, which the demo's reviews ask for and do not need; the other clients do need it.
OURS = $(COMPILE) --no-emit-package pandas pyproject.toml --extra demo --group build

# What stagedoor is compared with: versions alone, since nothing of it is ever part of stagedoor.
PEER = "$(UV)" pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest --no-emit-index-url \
	--no-annotate --no-header --no-config $(LOCK_FLAGS)

lock: | $(UV)
	$(OURS) --output-file requirements/demo.txt
	$(OURS) --extra parquet --extra algorithms --extra tuning --group dev --output-file requirements/dev.txt
	printf 'sagemaker==1.72.0\nprotobuf==3.20.3\nsagemaker-experiments==0.1.45\nsetuptools<81\n' | $(COMPILE) --no-config - --output-file requirements/sagemaker-v1.txt
	echo 'sagemaker>=3,<4' | $(COMPILE) --no-config - --output-file requirements/sagemaker-v3.txt
	echo 'sagemaker>=2.257,<3' | $(COMPILE) --no-config - --output-file requirements/sagemaker-v2.txt
	printf 'scikit-learn\npandas\nsetuptools\n' | $(COMPILE) --no-config - --output-file requirements/sklearn.txt
	@# What runs beside PyTorch. PyTorch itself is not here: registries offer its large build for GPUs under the same version.
	echo 'torch; sys_platform == "never"' > $(VENV)/no-torch.txt
	printf '%s\n' accelerate filelock fsspec jinja2 networkx numpy pandas setuptools sympy transformers typing-extensions | \
		$(COMPILE) --no-config --override $(VENV)/no-torch.txt --no-emit-package torch - --output-file requirements/pytorch.txt
	echo uv | $(COMPILE) --no-config - --output-file requirements/uv.txt
	for peer in bench/peers/*/requirements.in; do \
	  $(PEER) --output-file "$${peer%.in}.txt" "$$peer" || exit 1; done
	@if grep -nE '(://|^-)' requirements/*.txt bench/peers/*/requirements.txt; then echo "an address got into a requirements file" >&2; exit 1; fi

clean:
	rm -rf $(VENV) build dist .demo bench/.peers bench/out .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find src tests examples -name __pycache__ -type d -prune -exec rm -rf {} +
