# `make help` lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
MODEL := .cache/quickstart/quickstart-tiny.gguf
# What the roles use of other collections, for services in containers.
COLLECTIONS := community.docker

# Wheels only, each with its locked checksum; -qq because pip repeats itself for each index that lacks a package.
PIP_INSTALL := $(BIN)/pip install -qq --disable-pip-version-check --require-hashes --only-binary :all: -r

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##### set-up: quick when nothing changed, since each step leaves a stamp that is older than nothing it was made from #####

.PHONY: setup setup-range setup-dev
setup: $(VENV)/runtime.stamp $(VENV)/collections.stamp $(MODEL) ## what the playbooks need: Ansible in .venv, and the quickstart's tiny model

setup-dev: setup $(VENV)/dev.stamp ## what the tests need on top

setup-range: setup ## what the disposable test hosts need, from Debian's packages
	@tools/need debootstrap=debootstrap systemd-nspawn=systemd-container iptables=iptables nft=nftables ip=iproute2 \
	  /usr/share/keyrings/debian-archive-keyring.gpg=debian-archive-keyring

$(VENV)/runtime.stamp: requirements/runtime.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("$(PYTHON) is too old: Python 3.11 or newer, please (make PYTHON=…)")'
	@tools/need ssh=openssh-client git=git $$($(PYTHON) -c 'import ensurepip' 2>/dev/null || echo python3-venv=python3-venv)
	@echo "Setting up $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP_INSTALL) requirements/runtime.txt
# The clone is the collection: a link where Ansible, pytest and mypy look for ansible_collections.
	@mkdir -p $(VENV)/collections/ansible_collections/baremetal
	@ln -sfn ../../../.. $(VENV)/collections/ansible_collections/baremetal/llm
	@echo ../../../collections >"$$(echo $(VENV)/lib/python3.*/site-packages)/baremetal-llm.pth"
	@touch $@

# The one wheel is checked and not installed: all that it depends on is there, and so little of it is wanted.
$(VENV)/collections.stamp: requirements/collections.txt tools/unpack_collections.py $(VENV)/runtime.stamp
	@awk '/^[^ #]/ {wanted = /^ansible==/} wanted' requirements/collections.txt >$(VENV)/collections.txt
	@rm -rf $(VENV)/wheels
	@$(BIN)/pip download -qq --disable-pip-version-check --require-hashes --only-binary :all: --no-deps --dest $(VENV)/wheels -r $(VENV)/collections.txt
	@$(BIN)/python tools/unpack_collections.py $(VENV)/wheels/ansible-*.whl $(VENV)/collections $(COLLECTIONS)
	@rm -rf $(VENV)/wheels $(VENV)/collections.txt
	@touch $@

$(VENV)/dev.stamp: requirements/dev.txt $(VENV)/runtime.stamp
	@echo "Adding the test tools to $(VENV)"
	@$(PIP_INSTALL) requirements/dev.txt
	@touch $@

$(MODEL): tools/tiny_gguf.py $(VENV)/runtime.stamp
	@$(BIN)/python tools/tiny_gguf.py $@
	@touch $@

.PHONY: lock
lock: $(VENV)/dev.stamp ## lock requirements/*.in again (LOCK=--upgrade for newer versions), against the package index alone
	@for name in requirements/runtime requirements/collections requirements/dev tests/hub/clients/0.36.2 tests/hub/clients/1.33.0 \
	  tests/vllm/requirements; do \
	  (cd $$(dirname $$name) && name=$$(basename $$name) && \
	  env -u PIP_FIND_LINKS -u PIP_EXTRA_INDEX_URL PIP_CONFIG_FILE=/dev/null CUSTOM_COMPILE_COMMAND="make lock" \
	  $(CURDIR)/$(BIN)/pip-compile $(LOCK) --quiet --generate-hashes --allow-unsafe --strip-extras \
	    --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --output-file $$name.txt $$name.in); done

##### tests #####

.PHONY: test lint sanity unit fuzz docs
lint sanity unit fuzz docs: export PATH := $(CURDIR)/$(BIN):$(PATH)

test: lint sanity unit ## everything that has to pass

lint: setup-dev ## formats, types, Ansible's and YAML's good manners, the changelog, and whether the pages in docs/ are up to date
	ruff check
	ruff format --check
	mypy
	yamllint --strict .
	ansible-lint -q
	antsibull-changelog lint
	python tools/render_docs.py --check

sanity: setup-dev ## ansible-test sanity
	tools/sanity

unit: setup-dev ## pytest tests/unit
	@tools/need modinfo=kmod
	python -m pytest --numprocesses 2 tests/unit

fuzz: setup-dev ## 100,000 damaged GGUF headers are read or refused, in bounded time and memory; not part of `test`
	python tests/fuzz/gguf_headers.py

docs: setup-dev ## write the pages of modules, plugins and roles anew from their sources
	python tools/render_docs.py

##### the main job, and the tests on real hosts #####

RANGE := tests/range/range
MOLECULE := MOLECULE_GLOB='extensions/molecule/*/molecule.yml' molecule --base-config extensions/molecule/config.yml

.PHONY: demo demo-down molecule integration test-cuda test-gpu bench
molecule integration test-cuda test-gpu bench: export PATH := $(CURDIR)/$(BIN):$(PATH)

test: molecule integration

demo: setup setup-range ## the main job: a disposable host, llama.cpp built on it, served, asked a question
	@tools/need curl=curl
	@tools/demo

demo-down: ## remove the demo's host
	@tools/demo down

molecule: setup-dev setup-range ## the life of the quickstart host, on Debian 12 and 13, which leaves the snapshot that `integration` boots from; then that of a vLLM box
	$(MOLECULE) destroy --scenario-name quickstart
	$(MOLECULE) test --scenario-name quickstart --no-command-borders
	$(MOLECULE) test --scenario-name vllm --no-command-borders

integration: setup-dev setup-range ## pytest tests/integration: faults, bad input, secrets, on hosts booted from that snapshot; two files at a time
	@tools/need g++=g++ cmake=cmake ninja=ninja-build ccache=ccache git=git pip3=python3-pip chromium=chromium
# The range's own tests compare the network of this machine before and after: nothing else may run beside them.
	python -m pytest tests/integration/test_range.py
	python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder --ignore tests/integration/test_range.py tests/integration

test-cuda: setup-dev setup-range ## all of llama.cpp compiled for the GPU of each host class: 20 to 25 minutes each on 2 cores, so not in `test`
	@tools/need gcc=gcc
	python -m pytest tests/cuda

test-gpu: setup-dev ## on a machine with a GPU, after site.yml: what llama.cpp holds there beside the plan, and the proof that a service uses it
	python -m pytest tests/gpu

bench: setup-dev setup-range ## the figures of benchmarks/: site.yml on the demo's host, a model and its header, two compiles of llama.cpp, a GPU host, a driver upgrade, a plan, the load check itself
	@tools/need g++=g++ cmake=cmake ninja=ninja-build ccache=ccache pip3=python3-pip strace=strace
	benchmarks/site.py
	python benchmarks/hf_model.py
	python benchmarks/llama_build.py
	python benchmarks/gpu_host.py
	python benchmarks/vllm_host.py
	python benchmarks/driver_upgrade.py
	python benchmarks/gguf_info.py
	python benchmarks/plan.py
	python benchmarks/load_check.py

##### clean-up #####

.PHONY: clean
clean: ## remove what these targets made; the next set-up starts from nothing
	rm -rf .venv .cache .ansible .hypothesis .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +
