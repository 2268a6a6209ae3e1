# What people and CI run. Every target does its own set-up: Python 3.11 or newer and a network are enough.
# `make` lists them; CLUSTER=node|kind|current chooses the cluster of `demo` and of tests, ARGS goes to pytest.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
BIN := .venv/bin
SOURCES := PYTHONPATH=cli:operator:server:hack:tests

.PHONY: help init check check-workflows test-fast test-cluster test golden generate sample lock images demo down

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

init: ## Make .venv, with everything that tests and tools need
	@hack/bootstrap > /dev/null

check: init ## Look the code over: ruff, mypy, import rules, generated files
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(SOURCES) $(BIN)/mypy
	$(SOURCES) $(BIN)/mypy -p localcluster -p demo
	$(SOURCES) $(BIN)/lint-imports
	$(BIN)/pytest -q tests/contract/test_generated_files.py

check-workflows: ## Look over the workflows of GitHub Actions: actionlint, zizmor
	hack/check-workflows

test-fast: check ## check, and all tests that need no cluster
	$(BIN)/pytest -m "not cluster" -n logical --maxprocesses 4 --dist loadfile $(ARGS)

test-cluster: init ## The tests on a real cluster of its own
	hack/test-on-cluster $(ARGS)

test: test-fast test-cluster ## All of it

golden: init ## Rewrite what the golden cases of the manifests expect; read the difference before you commit it
	$(BIN)/pytest -q tests/operator/manifests/test_cases.py --golden

generate: init ## Write what is generated: the CRD, reference pages, the chart's README
	$(SOURCES) $(BIN)/python hack/generate.py

sample: init ## Train the models that `mep demo` writes, and put them into its package
	$(SOURCES) $(BIN)/python hack/sample.py

lock: ## Write locks/ from pyproject.toml (UPGRADE=--upgrade for newer versions)
	hack/lock $(UPGRADE)

images: ## Build the images that have changed
	hack/cluster images --build-only

demo: init ## Show it all on a cluster: two real models, an update under load, the way back
	$(SOURCES) $(BIN)/python -m demo

down: ## Remove the demo's cluster
	hack/cluster down --name demo
