# Two commands: `make demo` and `make test`. Python 3.11+ and make are all that is needed.
PYTHON ?= python3
VENV   := .venv
CONFORMANCE := .venvs/conformance
BIN    := $(VENV)/bin
PIP    := $(BIN)/pip --disable-pip-version-check install -q
CHECKED := gateway providers billing local_backend tests docs/demo.py

.DEFAULT_GOAL := help
.PHONY: help install install-gateway demo demo-providers serve test slow check format gate sdk conformance cluster security browser chaos chaos-short bench bench-gpu lock clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 18

install: $(VENV)/.installed ## everything, from the hashed locks, into .venv

$(VENV)/.installed: requirements/dev.txt requirements/build.txt requirements/torch.txt
	@echo "onereel: installing into $(VENV): about 0.4 GB to download with a CPU build of torch (TORCH_INDEX chooses one), several GB with a CUDA build"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX),) -r requirements/torch.txt
	@$(PIP) --no-deps --require-hashes -r requirements/build.txt
	@$(PIP) --no-deps --require-hashes --no-build-isolation -r requirements/dev.txt
	@$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

install-gateway: ## the gateway alone, without torch (about 100 MB)
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) --no-deps --require-hashes -r requirements/gateway.txt
	@$(PIP) --no-deps --require-hashes -r requirements/build.txt
	@$(PIP) --no-deps --no-build-isolation -e .

demo: install ## one video, from the stock OpenAI SDK to an MP4 on disk
	@$(BIN)/python docs/demo.py

demo-providers: install ## one video through every provider's adapter, against fakes of their APIs
	@$(BIN)/python -m tests.fakes.demo

serve: install ## a lasting server; the first start prints an admin key once
	@$(BIN)/onereel serve

test: install ## the default suite
	@$(BIN)/python -m pytest -q -n 4 --dist worksteal tests

slow: install ## the long members of the default suite's families
	@$(BIN)/python -m pytest -q -n 4 --dist worksteal -m slow tests

check: install ## format, lint, types, import contracts, architecture, bandit, pip-audit
	@$(BIN)/ruff format --check $(CHECKED)
	@$(BIN)/ruff check $(CHECKED)
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/python -m pytest -q tests/test_architecture.py
	@$(BIN)/bandit -q -c pyproject.toml -r gateway providers billing local_backend
	@$(BIN)/python -m tests.security.audit

format: install ## rewrite in the project's format
	@$(BIN)/ruff format $(CHECKED)
	@$(BIN)/ruff check --fix $(CHECKED)

gate: install ## the demo model judged on 100 scenes it was not trained on
	@$(BIN)/python -m tests.local_backend.demo.gate

sdk: install ## every method of six OpenAI SDK versions, each run to completed
	@$(BIN)/python -m tests.sdk.run

conformance: $(CONFORMANCE)/.installed ## our signatures and fakes beside the vendors' own code
	@$(CONFORMANCE)/bin/python -m pytest -q -rs --disable-warnings tests/conformance

$(CONFORMANCE)/.installed: requirements/conformance.txt
	@echo "onereel: installing the vendors' code into $(CONFORMANCE)"
	@$(PYTHON) -m venv --clear $(CONFORMANCE)
	@$(CONFORMANCE)/bin/pip --disable-pip-version-check install -q --no-deps --require-hashes -r requirements/conformance.txt
	@touch $@

cluster: install ## several processes on one PostgreSQL: roles, Redis, an update under load
	@$(BIN)/python -m pytest -q tests/cluster

security: install ## keys, URLs, bodies, slow clients, bombs, logs and the API's description against attacks
	@$(BIN)/python -m pytest -q -n 4 --dist loadfile --no-loadscope-reorder tests/security

browser: install ## the dashboard in a real Chromium, which has to be installed; pictures in out/browser
	@$(BIN)/python -m pytest -q -rs tests/browser

chaos-short: install ## kill -9 and friends on both databases, short form
	@$(BIN)/python -m tests.chaos.run --short

chaos: install ## the full crash suite
	@$(BIN)/python -m tests.chaos.run

bench: install ## ratios against a named peer and a floor
	@$(BIN)/python -m tests.bench.run

bench-gpu: install ## video models and the worker on a CUDA GPU, with random weights
	@$(BIN)/python -m tests.bench.gpu

lock: ## rebuild the locks (needs uv)
	@sh requirements/lock.sh

clean: ## remove what the commands above made
	@rm -rf $(VENV) .venvs node_modules out .bench .mypy_cache .ruff_cache .hypothesis
