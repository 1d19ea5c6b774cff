# make setup | lab | test | box | test-vm | bench | picture | notebooks | lock      (PYTHON=python3.13 picks the interpreter)
.PHONY: help setup lab test box test-vm bench picture notebooks lock clean
.DEFAULT_GOAL := help

# Without PYTHON, an existing .venv keeps its interpreter.
START := $(or $(PYTHON),$(wildcard .venv/bin/python),python3)
PORT ?= 8888
BIN := .venv/bin

help:
	@echo "make lab        open the course in JupyterLab (PORT=8888)"
	@echo "make test       format, lint, types, unit tests, and every notebook verified by nbval"
	@echo "make setup      only create .venv from the locked versions (PYTHON=python3.13 picks one)"
	@echo "make box        the class VM's box for libvirt and VirtualBox, into build/ (needs root)"
	@echo "make test-vm    start that VM, run the notebooks in it, check what it promises (needs root;"
	@echo "                FULL=1: also what only a release must show again)"
	@echo "make bench      start-up times beside unshare, bubblewrap, crun and runc; from a key to the screen"
	@echo "make notebooks  run the notebooks and save what they print (NN=03 for one)"
	@echo "make picture    take the README's picture again, from the page of notebook 03 (needs Chromium)"
	@echo "make lock       renew requirements.lock from pyproject.toml (needs uv)"
	@echo "make clean      remove .venv, the working folders and what was passed"

setup:
	@command -v $(START) >/dev/null || { echo "make: there is no $(START) here. Install Python 3.11 or newer (Debian, Ubuntu: apt install python3 python3-venv), or name one: make $(MAKECMDGOALS) PYTHON=/path/to/python3" >&2; exit 1; }
	@$(START) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "make: $(START) is $$($(START) -V 2>&1), the course needs Python 3.11 or newer. Name a newer one: make $(MAKECMDGOALS) PYTHON=python3.13" >&2; exit 1; }
	@$(START) labkit/bootstrap.py

lab: setup
	@exec $(BIN)/labkit lab --port $(PORT)

test: setup
	@$(START) labkit/bootstrap.py --browser
	@$(BIN)/labkit test

# The box is made again when something that it holds is newer.
IN_BOX := $(shell find $$(cat vm/files) -path notebooks/work -prune -o -type f -not -path '*/.*' -not -name '*.pyc' -print)
build/mydocker-libvirt.box: $(IN_BOX)
	@vm/box.sh

box: build/mydocker-libvirt.box

test-vm: box
	@python3 -m tests.vm

bench: setup
	@$(START) labkit/bootstrap.py --browser
	@$(BIN)/python tests/bench.py
	@$(BIN)/python -m tests.bench_page

picture: setup
	@$(START) labkit/bootstrap.py --browser
	@$(BIN)/python -m tests.picture

notebooks: setup
	@$(BIN)/labkit save $(NN)

COMPILE := uv pip compile --upgrade --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-annotate --quiet
lock:
	@command -v uv >/dev/null || { echo "make lock: uv is not installed. Install it (pip install uv), then try again." >&2; exit 1; }
	$(COMPILE) --all-extras -o requirements.lock pyproject.toml
	$(COMPILE) --constraint requirements.lock -o tests/browser.lock tests/browser.in

clean:
	rm -rf .venv build notebooks/work .mypy_cache .pytest_cache .ruff_cache
