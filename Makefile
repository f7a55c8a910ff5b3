# The project's words; they install what they need into .venv, once.
PYTHON ?= python3.11
PIP_ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest

.PHONY: help demo test test-all test-faults check docs dist bench clean

help:
	@echo "make demo        watch the packaged model be fine-tuned on jokes, and write"
	@echo "make test        the tests (two cores: about eight minutes)"
	@echo "make check       lint, format, types, layers"
	@echo "make docs        the documentation as a site, in site/"
	@echo "make dist        wheel and sdist, in dist/"
	@echo "make test-all    and the slow tests: full-size models, big counts"
	@echo "make test-faults and the long kill and corruption harnesses"
	@echo "make bench       the benchmarks, one after the other"

$(VENV)/pyvenv.cfg:
	$(PYTHON) -m venv $(VENV)

# The base alone: what a user of the package has.
$(VENV)/.base: $(VENV)/pyvenv.cfg pyproject.toml constraints.txt
	$(BIN)/pip install -q --disable-pip-version-check $(PIP_ARGS) -c constraints.txt -e .
	@touch $@

# And the tools of its developers.
$(VENV)/.dev: $(VENV)/.base
	$(BIN)/pip install -q --disable-pip-version-check $(PIP_ARGS) -c constraints.txt -e ".[dev]"
	@touch $@

demo: $(VENV)/.base
	$(BIN)/gpt1 demo

test: $(VENV)/.dev
	$(PYTEST) -n 2 -m "not slow and not faults and not gpu"

test-all: $(VENV)/.dev
	$(PYTEST) -n 2 -m "not faults and not gpu"

test-faults: $(VENV)/.dev
	$(PYTEST) -n 2 -m "faults"

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/.dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

dist: $(VENV)/.dev
	$(BIN)/python -m build --no-isolation --outdir dist

bench: $(VENV)/.dev
	for script in benchmarks/*.py; do $(BIN)/python $$script || exit 1; done

clean:
	rm -rf $(VENV) dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
