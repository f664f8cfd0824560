# `make` lists the targets. Each installs what it needs into .venv, from pinned requirements with hashes.

PYTHON ?= python3
# Tests at once, by file; each starts a Kafka and a Redis of its own.
JOBS ?= 2
VENV ?= .venv
ARGS ?=

BIN := $(VENV)/bin
PY := $(BIN)/python
# In the order given: long files first, or one process would wait for the other at the end.
PYTEST := $(PY) -m pytest --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder
# Stamps of what is installed; dev holds all that run holds.
DEV := $(VENV)/installed-dev
RUN := $(if $(wildcard $(DEV)),$(DEV),$(VENV)/installed-run)
PIP_INSTALL := $(PY) -m pip install --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help demo test unit integration console services browser lint format bench faults soak sdk-test api-fuzz hostile simulate mlflow-test torch-test spark-test docs constraints dist compose-check clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo 'Options go in ARGS: make demo ARGS="--seconds 30", make unit ARGS="-k threshold".'

# -- for users -----------------------------------------------------------------------------------------------------

demo: $(RUN) ## Watch events being tagged live; needs nothing but Python
	@$(BIN)/streamtag demo $(ARGS)

# -- for developers ------------------------------------------------------------------------------------------------

test: lint services browser ## Lint, unit tests, then the tests on a real Kafka and Redis
	$(PYTEST) --doctest-modules tests/console tests/integration tests/contract tests/unit streamtag $(ARGS)

unit: $(DEV) ## Unit tests and the examples in docstrings; nothing needs to run
	$(PYTEST) --doctest-modules streamtag tests/unit $(ARGS)

integration: services ## Integration tests on a real Kafka and Redis
	$(PYTEST) tests/integration $(ARGS)

console: services browser ## Test the console in Chromium; pictures of every page go to reports/console/
	$(PY) -m pytest tests/console $(ARGS)

services: $(DEV) ## Say where the tests take Kafka and Redis from, or what to install
	@$(PY) tests/find_services.py kafka redis

browser: $(DEV) ## The same of the browser that the console is tested in
	@$(PY) tests/find_services.py chromium

lint: $(DEV) ## ruff (rules and format) and mypy --strict
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: $(DEV) ## Let ruff format, and mend what it can
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

bench: services ## Compare the worker with its floors and with other frameworks; ARGS=all measures everything
	$(PY) -m tests.bench $(ARGS)

faults: services ## Hurt a real pipeline at random moments and check every outcome; writes reports/
	$(PY) -m tests.faults $(ARGS)

soak: services ## An hour of load with a fault a minute: does anything grow? ARGS="--minutes 5" ends it sooner
	$(PY) -m tests.soak $(ARGS)

SDK := $(VENV)/sdk
sdk-test: services ## Clients of others on the API: openai for Node (needs node, npm) and tritonclient; both from their registries
	@$(PYTHON) -m venv $(SDK) && $(SDK)/bin/python -m pip install --quiet --disable-pip-version-check 'tritonclient[http]>=2.50,<3'
	STREAMTAG_TRITON_PYTHON=$(SDK)/bin/python $(PY) -m pytest tests/sdk $(ARGS)

api-fuzz: services ## Ask every route of the API whatever OpenAPI allows, a hundred times over; takes minutes
	STREAMTAG_FUZZ_EXAMPLES=100 STREAMTAG_FUZZ_SECONDS=3000 $(PY) -m pytest -s tests/integration/test_api_fuzz.py $(ARGS)

hostile: $(DEV) ## Send hostile records through the path that decides; ARGS="--minutes 5" ends it sooner
	$(PY) -m tests.hostile $(ARGS)

simulate: $(DEV) ## Simulate thousands of experiments: how often verdicts are wrong, and how soon they come
	$(PY) -m tests.simulations $(ARGS)

MLFLOW := $(VENV)/mlflow
mlflow-test: $(MLFLOW)/installed ## Tests on a real MLflow server, in an environment of its own
	$(MLFLOW)/bin/python -m pytest --confcutdir tests/mlflow_server tests/mlflow_server $(ARGS)

TORCH := $(VENV)/torch
torch-test: $(TORCH)/installed ## Fine-tune an encoder, import a transformer from PyTorch; its environment takes 6 GB
	$(TORCH)/bin/python -m pytest --confcutdir tests/torch_export tests/torch_export $(ARGS)

spark-test: $(DEV) ## Test the batch scorer in a local Spark; installs pyspark into .venv, needs Java 17
	$(PIP_INSTALL) 'pyspark>=4,<5'
	$(PY) -m pytest tests/spark $(ARGS)

docs: $(DEV) ## Generate reference pages (configuration, metrics, API) from the code, and model cards from the bundles
	$(PY) -m streamtag.telemetry.docs
	$(PY) -m streamtag.api.reference
	$(BIN)/streamtag model card moderation > docs/models/moderation.md
	$(BIN)/streamtag model card moderation-two-stage > docs/models/moderation-two-stage.md
	$(BIN)/streamtag model card security > docs/models/security.md

COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
  --no-annotate --custom-compile-command "make constraints"
SOURCES := pyproject.toml requirements/build.in

constraints: $(DEV) ## Pin requirements/*.txt anew, from pyproject.toml
	$(PIP_INSTALL) uv
	$(COMPILE) --upgrade --extra dev -o requirements/dev.txt $(SOURCES)
	$(COMPILE) --constraints requirements/dev.txt --extra demo -o requirements/run.txt $(SOURCES)
	$(COMPILE) --constraints requirements/dev.txt --extra api --extra oidc --extra batch --extra stats --extra signing --extra tokenizers -o requirements/image.txt $(SOURCES)
	$(COMPILE) --upgrade -o requirements/bench-quix.txt requirements/bench-quix.in
	$(COMPILE) --constraints requirements/dev.txt -o requirements/mlflow.txt $(SOURCES) requirements/mlflow.in
	$(COMPILE) --constraints requirements/dev.txt --extra import --extra encoder -o requirements/torch.txt $(SOURCES) requirements/torch.in

dist: $(DEV) ## Build the wheel into dist/
	$(PY) -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .

compose-check: ## Validate docker-compose.yml (needs no Docker daemon)
	@if docker compose version >/dev/null 2>&1; then docker compose config --quiet; else docker-compose config --quiet; fi
	@echo "docker-compose.yml is valid."

clean: ## Remove what make has made: .venv, caches, reports, builds
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist reports
	find streamtag tests -type d -name __pycache__ -prune -exec rm -rf {} +

# -- installing ----------------------------------------------------------------------------------------------------

$(PY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "streamtag needs Python 3.11 or newer; '$(PYTHON)' is not. Name one: make PYTHON=python3.12 …" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || { \
	  echo "'$(PYTHON)' lacks the modules ensurepip and venv (Debian: apt-get install python3-venv)." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)

$(VENV)/%/installed: requirements/%.txt pyproject.toml
	@echo "Installing requirements/$*.txt into $(VENV)/$* …"
	@$(PYTHON) -m venv --clear $(VENV)/$*
	@$(VENV)/$*/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@$(VENV)/$*/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/installed-%: requirements/%.txt pyproject.toml | $(PY)
	@echo "Installing requirements/$*.txt into $(VENV) (a minute or less the first time) …"
	@$(PIP_INSTALL) --require-hashes -r $<
	@$(PIP_INSTALL) --no-deps --no-build-isolation -e .
	@touch $@
