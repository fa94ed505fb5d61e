# `make` lists the targets. What they do is written in scripts/setup.py; steps that are done are not repeated.

PYTHON ?= python3
VENV = .venv/bin
SETUP = $(PYTHON) scripts/setup.py
# Hundreds of processes are started here; each would compile everything anew.
unexport PYTHONDONTWRITEBYTECODE
CODE = src tests scripts examples $(wildcard benchmarks)

.PHONY: help setup run test test-llm-server test-diarization chaos check check-types check-rest fmt web demo lock docs clean

help: ## List the targets
	@sed -n 's/^\([a-z-]*\): ## /\1	/p' Makefile

setup: ## Install everything for development: .venv, web app
	@$(SETUP) dev web

run: ## Install what running needs and serve on http://127.0.0.1:8000 (HTTP_HOST, HTTP_PORT, DATA_DIR)
	@$(SETUP) runtime web
	@exec $(VENV)/meeting-assistant serve

demo: ## Stream the sample meeting and show captions and minutes
	@$(SETUP) runtime web
	@exec $(VENV)/meeting-assistant demo

test: ## Install what tests need, check, and run all tests
	@$(SETUP) dev web tools
	@$(MAKE) check
	$(VENV)/pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

LLM_SERVER ?= .cache/llm-server
test-llm-server: ## Build llama.cpp's server (a quarter of an hour) and test against it with a tiny random model
	@$(SETUP) dev
	$(VENV)/python scripts/make_llm_server.py $(LLM_SERVER)
	TEST_LLM_SERVER=$(LLM_SERVER) $(VENV)/pytest tests/real_llm

test-diarization: ## Install pyannote and NeMo (several GB each) and test against them with tiny random models
	@for extra in pyannote nemo; do \
	  $(PYTHON) -m venv .cache/$$extra && \
	  .cache/$$extra/bin/pip install --quiet -e ".[$$extra]" pytest pytest-asyncio pytest-timeout && \
	  .cache/$$extra/bin/python -m pytest --noconftest tests/real_diarization || exit 1; \
	done

chaos: ## Inject faults for hours: CHAOS_CYCLES=200 of each kind, figures to chaos-report.jsonl
	@$(SETUP) dev tools
	CHAOS_CYCLES=$${CHAOS_CYCLES:-200} CHAOS_REPORT=$${CHAOS_REPORT:-chaos-report.jsonl} $(VENV)/pytest tests/fault tests/distributed --timeout 0

check: ## Style, types, layers, generated pages, the web app's own checks
	@$(SETUP) dev web
	@$(MAKE) --no-print-directory -j2 check-types check-rest

check-types:
	$(VENV)/mypy

check-rest:
	$(VENV)/ruff check $(CODE)
	$(VENV)/ruff format --check $(CODE)
	$(VENV)/lint-imports
	$(VENV)/python scripts/write_docs.py --check
	$(VENV)/python scripts/write_types.py --check
	@$(SETUP) npm run check
	@$(SETUP) npm test

fmt: ## Format the code and mend what can be mended
	@$(SETUP) dev
	$(VENV)/ruff check --fix $(CODE)
	$(VENV)/ruff format $(CODE)

web: ## Build the web app when its sources changed
	@$(SETUP) web

docs: ## Write the documentation and the web app's types that are generated from the code
	@$(SETUP) dev
	$(VENV)/python scripts/write_docs.py
	$(VENV)/python scripts/write_types.py

lock: ## Resolve requirements*.txt anew (OPTIONS=--upgrade for newest versions)
	@$(SETUP) lock $(OPTIONS)

clean: ## Remove what these targets made; meetings and .env stay
	@$(SETUP) clean
