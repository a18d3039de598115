# Two commands do everything on a fresh machine with Python 3.11, make and pip: `make demo` and `make test`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test check docs golden samples bench bench-short wheel clean

demo: $(VENV)/.installed
	@$(BIN)/vzflow demo

# One test: make test K=name
test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest $(if $(K),-k "$(K)")

check: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python docs/make_docs.py --check

docs: $(VENV)/.installed-dev
	$(BIN)/python docs/make_docs.py

# Writes the reports that tests/report/test_golden.py compares: read the diff before committing it.
golden: $(VENV)/.installed-dev
	VZFLOW_WRITE_GOLDEN=1 $(BIN)/python -m pytest tests/report/test_golden.py

# Makes sample_captures/ anew from real programs: needs root, iproute2 and tcpdump.
samples: $(VENV)/.installed-dev
	$(BIN)/python sample_captures/make_samples.py

# vzflow beside its peers, 10 million packets: see docs/benchmarks.md. Options: make bench BENCH="--only full --write"
bench: $(VENV)/.installed
	PYTHONPATH=tests $(BIN)/python -m bench.bench $(BENCH)

# The same with a million, in a few minutes.
bench-short: $(VENV)/.installed
	PYTHONPATH=tests $(BIN)/python -m bench.bench --short $(BENCH)

# Builds the wheel, installs it alone and runs the demo from it.
wheel:
	rm -rf build dist/wheel-venv
	$(PYTHON) -m pip wheel --quiet --no-deps --wheel-dir dist .
	$(PYTHON) -m venv dist/wheel-venv
	dist/wheel-venv/bin/pip install --quiet dist/vzflow-*.whl
	cd dist && wheel-venv/bin/vzflow demo

clean:
	rm -rf $(VENV) build dist vzflow.egg-info

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check -e .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[test,dev]'
	touch $@
