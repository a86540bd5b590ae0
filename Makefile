# Everything a newcomer needs: `make up` speaks, `make test` checks.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check install --no-compile
INSTALLED := $(VENV)/.installed
DEV_INSTALLED := $(VENV)/.installed-dev

.PHONY: install up test check bench clean lock

install: $(INSTALLED)

$(INSTALLED): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Antiphon needs Python 3.11 or newer; name one with: make PYTHON=/path/to/python3.12"; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(PIP) --require-hashes --requirement requirements.lock
	$(PIP) --no-build-isolation --no-deps --editable .
	@touch $@

$(DEV_INSTALLED): $(INSTALLED) requirements-dev.lock
	$(PIP) --require-hashes --requirement requirements-dev.lock
	@touch $@

up: install
	$(BIN)/antiphon up $(ARGS)

test: $(DEV_INSTALLED)
	$(BIN)/python -m pytest --numprocesses 3 $(ARGS)

check: $(DEV_INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(DEV_INSTALLED)
	$(BIN)/python -m bench $(ARGS)

# Pins every version with its hashes. No registry address is written, so the lock works with any mirror.
lock:
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		--upgrade --extra all --group build pyproject.toml --output-file requirements.lock
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		--upgrade --group dev --constraint requirements.lock --output-file requirements-dev.lock

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
