# Needs nothing but python3 (3.11 or newer) to start: `make` makes its own .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEV_STAMP := $(VENV)/.installed-dev
PYTEST_ARGS ?= -n 6 --dist loadgroup --no-loadscope-reorder
UV := $(shell command -v uv 2>/dev/null)

.DEFAULT_GOAL := help
.PHONY: help install install-dev hooks demo serve test test-fast coverage format check lint bench lock schema docs pictures wheel clean

help: ## Show what there is to do.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP) ## Make .venv with the promptmill command in it.

install-dev: $(DEV_STAMP) ## The same, with all that tests, linter and benchmarks need.

$(STAMP): LOCK := requirements.lock
$(STAMP): requirements.lock pyproject.toml
$(DEV_STAMP): LOCK := requirements-dev.lock
$(DEV_STAMP): requirements-dev.lock pyproject.toml

$(STAMP) $(DEV_STAMP):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "$$($(PYTHON) --version) is too old; Promptmill needs Python 3.11 or newer. Install one and run: make install PYTHON=python3.12"; exit 1; }
ifeq ($(UV),)
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@# pip before 23.3 doesn't hold a pin where somebody asks for an extra of the same package (sqlalchemy[asyncio])
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r deployments/pip.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(LOCK)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
else
	@test -x $(BIN)/python || uv venv --quiet --seed --python $(PYTHON) $(VENV)
	uv pip install --quiet --python $(BIN)/python --require-hashes -r $(LOCK)
	uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
endif
	@touch $@ $(if $(filter $(DEV_STAMP),$@),$(STAMP))

demo: install ## Run a real job with a real model on this machine.
	$(BIN)/python -m examples.demo

serve: install ## Start a Prefect server with everything deployed and a worker; Ctrl-C ends it.
	$(BIN)/python deployments/serve.py

test: install-dev ## Run all tests.
	$(BIN)/python -m pytest $(PYTEST_ARGS)

test-fast: install-dev ## Run the tests that need no Prefect server, no database and no browser, with a tenth of the examples.
	PROMPTMILL_TEST_FAST=1 $(BIN)/python -m pytest $(PYTEST_ARGS) -m "not served"

coverage: install-dev ## Run all tests and show which lines and branches no test reaches, subprocesses included.
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest $(PYTEST_ARGS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

hooks: install-dev ## Check format, lint and architecture before each commit, and types before each push.
	$(BIN)/pre-commit install

format: install-dev ## Format the code and fix what the linter can fix.
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: install-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/pyright -p pyright-tests.json

check: lint test ## Format, lint, types and tests.

bench: install-dev ## Measure what benchmarks/README.md lists (about 70 minutes), and say which promises hold.
	$(BIN)/python -m benchmarks

UPGRADE ?= --upgrade
COMPILE := uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--no-annotate --custom-compile-command "make lock" --quiet
EXTRAS := --extra image --extra tokens --extra dask --extra demo --extra delta --extra duckdb --extra excel --extra iceberg --extra sql

lock: ## Compile requirements-dev.lock and its parts, for `make install` and the image, with the newest versions; UPGRADE= keeps the pins.
	$(COMPILE) $(EXTRAS) --extra dev $(UPGRADE) -o requirements-dev.lock
	$(COMPILE) $(EXTRAS) --constraint requirements-dev.lock -o requirements.lock
	$(COMPILE) --extra image --constraint requirements-dev.lock -o deployments/requirements.lock

schema: install-dev ## Write docs/job.schema.json, which editors check job files by.
	$(BIN)/python -m promptmill schema > docs/job.schema.json

docs: install-dev ## Build the documentation's site into site/; a link that leads nowhere fails.
	$(BIN)/python -m docs.tools.site

pictures: install-dev ## Make docs/pictures/ again from a real run; needs chromium.
	$(BIN)/python -m docs.tools.pictures

wheel: install-dev ## Build the wheel into dist/.
	$(BIN)/python -m hatchling build -t wheel -d dist

clean: ## Remove .venv, caches and the demo's output.
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis .coverage .coverage.* dist site demo-output test-output .demo
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
