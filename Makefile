# Two commands do everything on a fresh machine with Python 3.11, make and pip: `make demo` and `make test`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --quiet --disable-pip-version-check
# The modules that Cython compiles, as pyproject.toml names them.
COMPILED := $(shell sed -n 's/^sources = \["\(.*\)"\]$$/\1/p' pyproject.toml)
# Where the extensions stand beside their sources; not by way of build/lib, whose content goes into wheels.
COMPILE = $(BIN)/python -W ignore -c "import setuptools; setuptools.setup()" --quiet build_ext --inplace \
  --build-lib build/$(@F) --build-temp build/$(@F)
# Nothing is noted as compiled before everything is: a compiler may come later.
STAMP = ls $(COMPILED:.py=.abi3.so) >/dev/null 2>&1 || exit 0; touch

.PHONY: demo test check docs golden samples compiled asan fuzz bench bench-short wheel clean

demo: $(VENV)/.installed
	@$(BIN)/vzflow demo

# One process a processor, or JOBS; a file's tests share what they set up, and stay in one. One test: make test K=name;
# other examples than the usual ones: make test SEED=random
test: JOBS ?= $(if $(K),0,logical)
test: compiled
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(if $(K),-k "$(K)") $(if $(SEED),--hypothesis-seed=$(SEED))

check: compiled
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python docs/make_docs.py --check

docs: $(VENV)/.installed-dev
	$(BIN)/python docs/make_docs.py

# Writes the reports that tests/reports/test_golden.py compares, and what docs/bookinfo.md prints: read the diff before
# committing it.
golden: compiled
	VZFLOW_WRITE_GOLDEN=1 $(BIN)/python -m pytest tests/reports/test_golden.py tests/test_bookinfo.py

# Makes sample_captures/ anew from real programs: needs root, iproute2 and tcpdump.
samples: $(VENV)/.installed-dev
	$(BIN)/python sample_captures/make_samples.py

# Compiles what was edited since; without a compiler its source is read instead, as in any installation. A second make,
# because installing compiles too.
compiled: $(VENV)/.installed-dev
	@$(MAKE) --silent $(VENV)/.compiled

# The tests of readers on extensions that stop at the first byte read or written out of place. The next make compiles
# them as usual.
asan: $(VENV)/.installed-dev
	rm -f $(VENV)/.compiled
	CFLAGS="-fsanitize=address -fno-omit-frame-pointer" $(COMPILE)
	LD_PRELOAD=$$(gcc -print-file-name=libasan.so) ASAN_OPTIONS=detect_leaks=0 PYTHONMALLOC=malloc \
	  $(BIN)/python -m pytest tests/readers --capture=sys $(if $(K),-k "$(K)")

# Damaged captures, N of them: each is one that make test reads too, as far as it goes. SEED repeats a run; a file that
# failed is in build/fuzz/. One job a processor, or JOBS.
fuzz: N ?= 100000
fuzz: compiled
	PYTHONPATH=tests JOBS=$(JOBS) $(BIN)/python -m readers.fuzz $(N) $(SEED)

# vzflow beside its peers, 10 million packets and a million lines of logs, and 50 million flows of a million pods: see
# docs/benchmarks.md. Options: make bench BENCH="--only ^logs --write" BENCH_IDENTITY="--flows 1000000 10000000"
bench: $(VENV)/.installed
	PYTHONPATH=tests $(BIN)/python -m bench.bench $(BENCH)
	PYTHONPATH=tests $(BIN)/python -m bench.identity_bench $(BENCH_IDENTITY)

# The same with a tenth of them, in a few minutes.
bench-short: $(VENV)/.installed
	PYTHONPATH=tests $(BIN)/python -m bench.bench --short $(BENCH)
	PYTHONPATH=tests $(BIN)/python -m bench.identity_bench --short $(BENCH_IDENTITY)

# Builds the wheel, installs it alone and runs the demo from it. What is in build/ would go into it too.
wheel:
	rm -rf build dist
	$(PYTHON) -m pip wheel --quiet --no-deps --wheel-dir dist .
	$(PYTHON) -m venv dist/wheel-venv
	for module in $(COMPILED:.py=); do $(PYTHON) -m zipfile -l dist/vzflow-*.whl | grep -q "^$$module[.].*abi3" \
	  || { echo "not compiled: $$module" >&2; rm dist/vzflow-*.whl; exit 1; }; done
	dist/wheel-venv/bin/pip install --quiet dist/vzflow-*.whl
	cd dist && wheel-venv/bin/vzflow demo

clean:
	rm -rf $(VENV) build dist vzflow.egg-info $(COMPILED:.py=.*.so) $(COMPILED:.py=.c)

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml build_steps.py $(COMPILED)
	$(PIP) install -e .
	touch $@

$(VENV)/.installed-dev: $(VENV)/bin/python pyproject.toml build_steps.py
	$(PIP) install -e '.[test,dev]'
	touch $@ $(VENV)/.installed
	$(STAMP) $(VENV)/.compiled

$(VENV)/.compiled: $(COMPILED)
	$(COMPILE)
	touch $(VENV)/.installed
	$(STAMP) $@
