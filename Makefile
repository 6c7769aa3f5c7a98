# make demo   draw futures of moving digits with a shipped model, in seconds
# make test   lint and the tests (under 10 minutes on two cores)
# make docs   the site, into site/
# make bench  what is timed (half an hour on two cores)

PYTHON ?= python3
BIN := .venv/bin
TORCH := torch==$(shell sed -n 's/^torch==//p' constraints.txt)

.PHONY: demo test test-all docs bench lint format clean

.venv/ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("stochvid needs Python 3.11 or newer; set PYTHON=...") if sys.version_info < (3, 11) else None'
	@echo "Installing PyTorch and the tools into .venv, about 2 GB: some minutes, once."
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet "$(TORCH)"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: .venv/ready
	$(BIN)/stochvid demo

test: lint
	$(BIN)/python -m pytest -m "not slow"

test-all: lint .venv/docs
	$(BIN)/python -m pytest

.venv/docs: .venv/ready
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[docs]'
	@touch $@

docs: .venv/docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench: .venv/ready
	$(BIN)/python -m benchmarks

lint: .venv/ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

format: .venv/ready
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf .venv demo site build dist
