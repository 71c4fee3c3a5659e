# `make demo`, `make demo-cloud` and `make test` make .venv and install what they need; all share it. Nothing needs root.
#   PYTHON=python3.12   the Python that .venv is made with (3.11 or newer)
#   CORPUS=DIR          `make demo` on your own folder of recordings, and, where folders do not tell who speaks,
#   SPEAKERS=PATTERN    where the speaker stands in a path, as '{speaker}/{utterance}'
#   JOBS=3              how many tests run side by side: one more than the 2 cores for which it is set, since many tests wait

PYTHON ?= python3
JOBS   ?= 3
VENV   := .venv
PY     := $(VENV)/bin/python

# Named after what it installed and where: a changed dependency, or a moved checkout, installs again, and nothing else does.
STAMP  := $(VENV)/installed-$(shell { pwd; cat pyproject.toml constraints.txt; } | cksum | cut -d ' ' -f 1)

# .venv-eco has the libraries that tests/ecosystem runs us in, and sees .venv.
ECO       := .venv-eco
ECO_PY    := $(ECO)/bin/python
ECO_STAMP := $(ECO)/installed-$(shell { pwd; cat pyproject.toml constraints.txt constraints-eco.txt; } | cksum | cut -d ' ' -f 1)

# Compiled modules are kept even where the environment forbids it: a thousand processes of the tests import the same ones.
export PYTHONDONTWRITEBYTECODE :=

# The scripts behind the figures of docs/figures.md; the other files there are their helpers.
BENCHMARKS := decrypt corpus loading ingest kms s3ec streaming packs shards lifecycle

.DEFAULT_GOAL := help
.PHONY: help install demo demo-cloud test test-full test-peers eco lint format docs-check bench build clean distclean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(STAMP)  ## make .venv and install everything (the other targets do this by themselves)

$(STAMP): | $(PY)
	@echo "Installing into $(VENV). On Linux x86-64 a first installation downloads about 3.0 GB of wheels (2.7 GB of it"
	@echo "torch and its CUDA libraries, 0.13 GB the servers of the tests), and takes 5.9 GB on disk, plus about 3 GB in"
	@echo "pip's cache and, while it runs, 3 GB in the temporary directory (TMPDIR). What is there already is not"
	@echo "downloaded again."
	$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt setuptools
	$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-build-isolation -e '.[dev,plot]'
	@rm -f $(VENV)/installed-*
	@touch $@

$(PY):
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "securedata needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Name another: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)

# No dependencies, and .venv is not seen before the end: nothing here can change it, or bring another torch.
$(ECO_STAMP): $(STAMP)
	@echo "Installing the packages of tests/ecosystem into $(ECO): about 300 MB of wheels, 1.1 GB on disk."
	$(PY) -m venv --without-pip --clear $(ECO)
	$(PY) -m pip --python $(ECO_PY) install --quiet --disable-pip-version-check --no-deps --no-compile -r constraints-eco.txt
	@$(ECO_PY) -c 'import sys, sysconfig; open(sysconfig.get_path("purelib") + "/venv.pth", "w").write("import site; site.addsitedir(%r)\n" % sys.argv[1])' \
	    "$$($(PY) -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"
	$(ECO_PY) -m tests.kit.ffmpeg $(ECO)/ffmpeg
	@touch $@

demo: $(STAMP)  ## encrypt real voices, verify, train on them, and show what was measured
	$(PY) -m demo.run $(if $(CORPUS),--corpus "$(CORPUS)")

demo-cloud: $(STAMP)  ## the same on an object store (SeaweedFS) and a KMS (OpenBao), under a role's sessions
	$(PY) -m demo.run --cloud $(if $(CORPUS),--corpus "$(CORPUS)")

# With tests.kit.beside, tests/ecosystem runs beside the others, in one more process; its results are in the same summary.
test: lint $(ECO_STAMP)  ## lint, then the tests: under 20 minutes on 2 cores
	$(PY) -m pytest -p tests.kit.beside -n $(JOBS) --dist loadgroup --durations=20

test-full: lint $(ECO_STAMP)  ## lint, then every test, the exhaustive and random-kill matrices too: about four hours on 2 cores
	SECUREDATA_FULL=1 $(PY) -m pytest -p tests.kit.beside -n $(JOBS) --dist loadgroup --durations=20

eco: $(ECO_STAMP)  ## the tests in which other libraries use us, in an environment of their own
	$(PY) -m tests.kit.beside

test-peers: $(STAMP)  ## libraries that exclude each other, on sealed corpora, in the venvs of the benchmarks: not in `make test`
	$(PY) -m tests.peers

lint: $(STAMP)  ## ruff, mypy (strict), import-linter
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(VENV)/bin/lint-imports --no-logo

format: $(STAMP)  ## let ruff sort the imports and lay out the code
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

docs-check: $(STAMP)  ## run the code blocks of README and docs
	$(PY) -m pytest tests/project/test_docs.py tests/project/test_dependencies.py

bench: $(STAMP) $(ECO_STAMP)  ## every benchmark behind docs/figures.md; wants an idle machine
	@set -e; for script in $(BENCHMARKS); do echo "== $$script"; $(PY) -m benchmarks.$$script; done

build: $(STAMP)  ## wheel and sdist into dist/
	$(PY) -m build --no-isolation

clean:  ## remove what was built and cached, but not .venv
	rm -rf build dist demo/out .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	rm -rf *.egg-info
	find . -path ./$(VENV) -prune -o -path ./$(ECO) -prune -o -name __pycache__ -type d -exec rm -rf {} +

distclean: clean  ## remove .venv and .venv-eco too
	rm -rf $(VENV) $(ECO) .venv-peers .venv-peers-loading .venv-peers-s3ec .venv-peers-shards .venv-peers-hf
