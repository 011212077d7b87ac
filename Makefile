# The two commands of a newcomer are `make quickstart` and `make test`; a developer's inner loop is `make check`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: setup quickstart check test coverage guards docs notebooks bench soak lock clean

setup: $(READY)

# One stamp file: a second call installs nothing until the lock or pyproject.toml changes.
$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' \
	  || { echo "mien needs Python 3.11 or 3.12; $(PYTHON) is $$($(PYTHON) -V 2>&1). Name another: make PYTHON=python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --python $(BIN)/python --compile-bytecode --no-deps -r requirements.lock
	$(BIN)/uv pip install --python $(BIN)/python --no-deps -e .
	@touch $(READY)

# facenet-pytorch pins years-old versions of torch, numpy and pillow but runs with today's: overrides.txt lifts the pins.
lock: $(READY)
	$(BIN)/uv pip compile pyproject.toml --group dev --override overrides.txt --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-annotate --no-header -o requirements.lock

# Sample corpora -> feature store -> training -> report, on an embedded Ray. Asked again, it does what is missing.
# make quickstart SYSTEM=attention_focal, va_transformer, affect_ensemble, affect_fusion or video_full: another system.
QUICKSTART := quickstart
SYSTEM := sync_aug
quickstart: $(READY)
	@$(BIN)/python experiments/quickstart.py $(QUICKSTART) $(SYSTEM)

guards: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	PYTHONPATH=platform $(BIN)/lint-imports

# The inner loop, under a minute on two cores: guards, doctests, and every test that needs no Ray, no framework and less
# than half a second.
PLAIN := not torch and not tensorflow and not bench and not soak
check: guards
	$(BIN)/python -m pytest -q -n 2 -m "$(PLAIN) and not ray and not slow" tests/unit tests/contract $(DOCTESTS)

# All tests. torch and TensorFlow must not meet in one process: a pytest run for each, and one for the rest. The long
# files first. Three files at a time take as long on two cores, which are full.
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder
TESTS := $(addprefix tests/,cluster fault integration contract unit)
test: $(READY)
	$(PYTEST) -m "$(PLAIN)" $(TESTS) $(DOCTESTS)
	$(PYTEST) -m torch $(TESTS)
	$(PYTEST) -m tensorflow $(TESTS)

# Which lines of the rooms without a framework the tests reach; ends with an error below what pyproject.toml asks for.
# Not a part of `test`: tracing nearly doubles what unit tests take.
coverage: $(READY)
	$(PYTEST) -m "$(PLAIN)" --cov --cov-report=term $(TESTS) $(DOCTESTS)

# Docstrings with examples; the modules left out import a framework as they are imported (tests/conftest.py looks).
DOCTESTS := --doctest-modules platform/mien $(addprefix --ignore=platform/mien/families/,affect_ensemble.py \
  av_transformer.py lstm_attention.py lstm_attention_layers.py mlp.py resnet3d.py resnet3d_lstm.py sensor_networks.py \
  frameworks)

# The site, from docs/ and the docstrings: build/docs/site/index.html. A link that leads nowhere, and a page that nobody
# links to, end it.
docs: $(READY)
	PYTHONPATH=platform $(BIN)/python -m sphinx -q -W --keep-going -c docs/site docs build/docs
	@echo "build/docs/site/index.html"

# Executes the notebooks of docs/tutorials in an empty folder and writes what they show into them, to be committed.
notebooks: $(READY)
	$(BIN)/python tests/notebooks.py

# What takes minutes to measure and can fail: it prints its figures for docs/benchmarks.md. Ratios: mien bench --help.
bench: $(READY)
	$(BIN)/python -m pytest -m bench tests

# Attacks for half an hour: 10,000 broken files, 200 kills, 40 flipped bits in each kind of file.
soak: $(READY)
	$(BIN)/python -m pytest -m soak tests/fault tests/unit tests/cluster

clean:
	rm -rf $(VENV) $(QUICKSTART)
