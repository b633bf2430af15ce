# The targets a person needs. Each installs what it lacks into .venv; nothing outside this folder is touched,
# except Debian packages that `make test` and `make demo` need, and only where that is allowed.
SHELL := /bin/bash
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input

.PHONY: demo test check format bench fuzz clean install install-dev

install: $(VENV)/.installed
install-dev: $(VENV)/.installed-dev

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: apt-get install python3 python3-venv"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || deploy/apt-install python3-venv
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing Knutpunkt into $(VENV) ..."
	$(PIP) install --progress-bar on -c constraints.txt -e .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing Knutpunkt and what its tests need into $(VENV) ..."
	$(PIP) install --progress-bar on -c constraints.txt -e '.[dev,mongo-standin]'
	$(PIP) install --quiet --no-deps -c constraints.txt pysmartdatamodels
	@touch $@ $(VENV)/.installed

demo: install
	@deploy/apt-install mosquitto mosquitto || true
	@$(BIN)/knutpunkt demo

test: install-dev
	@deploy/apt-install mosquitto mosquitto
	@deploy/apt-install coap-client-notls libcoap3-bin
	$(BIN)/python -m pytest -n auto --maxschedchunk 1

check: install-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: install-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: install-dev
	@deploy/apt-install mosquitto mosquitto
	$(BIN)/python -m bench

MINUTES ?= 60
fuzz: install-dev
	nice -n 19 $(BIN)/python -m tests.fuzz --minutes $(MINUTES)

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
