# The two commands of a newcomer are `make quickstart` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: setup quickstart test guards bench lock clean

setup: $(READY)

# One stamp file: a second call installs nothing until the lock or pyproject.toml changes.
$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' \
	  || { echo "mien needs Python 3.11 or 3.12; $(PYTHON) is $$($(PYTHON) -V 2>&1). Name another: make PYTHON=python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --python $(BIN)/python --no-deps -r requirements.lock
	$(BIN)/uv pip install --python $(BIN)/python --no-deps -e .
	@touch $(READY)

# facenet-pytorch pins years-old versions of torch, numpy and pillow but runs with today's: overrides.txt lifts the pins.
lock: $(READY)
	$(BIN)/uv pip compile pyproject.toml --group dev --override overrides.txt --universal --python-version 3.11 \
	  --no-emit-index-url --no-annotate --no-header -o requirements.lock

# Sample corpora -> feature store -> sync-aug training -> report, on an embedded Ray. Asked again, it does what is missing.
QUICKSTART := quickstart
quickstart: $(READY)
	@$(BIN)/python experiments/quickstart.py $(QUICKSTART)

# torch and TensorFlow must not meet in one process: a pytest run for each, and one for the rest. Two files at a time,
# because a test with a real Ray mostly waits for its processes to start.
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile
test: $(READY)
	$(PYTEST) -m "not torch and not tensorflow and not bench"
	$(PYTEST) -m torch
	$(PYTEST) -m tensorflow

# What takes minutes to measure and can fail: it prints its figures for docs/benchmarks.md. Ratios: mien bench --help.
bench: $(READY)
	$(BIN)/python -m pytest -m bench

guards: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	PYTHONPATH=platform $(BIN)/lint-imports
	$(BIN)/python -m pytest -q --doctest-modules platform/mien $(DOCTEST_LEFT_OUT)

# Modules that import a framework or a heavy codec as they are imported; their docstrings hold no examples.
DOCTEST_LEFT_OUT := --ignore=platform/mien/families/lstm_attention.py --ignore=platform/mien/families/frameworks/tensorflow.py

clean:
	rm -rf $(VENV) $(QUICKSTART)
