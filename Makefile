# make demo   draw futures of moving digits with a shipped model, in seconds
# make test   lint and the tests (about 6 minutes on two cores)
# make test-slow   the rest of the tests: kills, fuzzing, several processes, benchmarks, the page in a browser (half an hour)
# make docs   the site, into site/
# make bench  what is timed (half an hour on two cores)

PYTHON ?= python3
BIN := .venv/bin
# Two processes of one thread each: two threads that share two cores with anything else wait for each other.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist loadfile
TORCH := torch==$(shell sed -n 's/^torch==//p' constraints.txt)

.PHONY: demo test test-slow test-all chromium docs bench lint format clean

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
	$(PYTEST) -m "not slow"

test-slow: .venv/docs .venv/pusht chromium
	$(PYTEST) -m slow --durations=25

test-all: test test-slow

chromium:
	@which chromium || which chromium-browser || which google-chrome || \
	  { test "$$(id -u)" = 0 && apt-get update -qq && apt-get install -y -qq chromium; } || \
	  { echo "The page is tested in Chromium, which is not here: install it (Debian: apt-get install chromium)."; exit 1; }

.venv/docs: .venv/ready
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[docs]'
	@touch $@

# without its dependencies: it asks for an OpenCV with windows, which does not load where there are none
.venv/pusht: .venv/ready
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps gym-pusht
	$(BIN)/python -m pip install --quiet --constraint constraints.txt opencv-python-headless pymunk pygame shapely
	@touch $@

docs: .venv/docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench: .venv/ready
	$(BIN)/python -m benchmarks

lint: .venv/ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: .venv/ready
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf .venv demo site build dist
