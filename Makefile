# Each target sets up what it needs, on a machine with only Python 3.11+, pip, git and make; what is
# up to date is left alone. ARGS goes to the command: make demo ARGS="--kills 50", make test ARGS="-k lease".

VENV := .venv
PYTHON := $(VENV)/bin/python
PIP := $(PYTHON) -m pip install -qq --disable-pip-version-check
PINNED := $(PIP) --constraint constraints.txt
WHEEL = $$(ls build/wheel/*.whl)
SOURCES := $(shell find src -not -name __pycache__ -not -name '*.pyc')
INTEGRATIONS := build/integrations
IN_INTEGRATIONS := $(INTEGRATIONS)/bin/python -m pip install -qq --disable-pip-version-check --no-compile
# So many pytest processes at once.
JOBS := 2
ARGS :=

.PHONY: help demo test proof check quick integrations fix sync bench long build install constraints clean
.DELETE_ON_ERROR:
.NOTPARALLEL:

help:  ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1	/p' Makefile | expand -t 14

demo: $(VENV)/.runtime $(VENV)/.installed  ## mine a git repository, killed again and again; prove that nothing is lost or doubled
	@$(VENV)/bin/belaypin demo $(ARGS)

test: check $(VENV)/.installed  ## all checks, then the everyday tests against the installed wheel
	$(PYTHON) -m pytest $(if $(filter-out 1,$(JOBS)),-n $(JOBS)) $(ARGS)

proof: $(VENV)/.dev $(VENV)/.installed  ## kills at every line, every order of statements and of events, spoilt code that must be caught
	$(PYTHON) -m pytest -m "proof and not long" $(if $(filter-out 1,$(JOBS)),-n $(JOBS)) $(ARGS)

check: $(VENV)/.dev  ## lint, format, types, import layers, the sync side is fresh
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) tools/generate_sync.py --check
	$(PYTHON) -m mypy src tests tools examples $(wildcard benchmarks)
	cd src && ../$(VENV)/bin/lint-imports --config ../pyproject.toml --no-cache

quick: $(VENV)/.dev $(VENV)/.installed  ## tests only, up to the first failure
	$(PYTHON) -m pytest -x $(ARGS)

integrations: $(INTEGRATIONS)/.installed  ## the tests against the real engines and frameworks, some hundred packages
	$(INTEGRATIONS)/bin/python -m pytest tests/integrations -o norecursedirs='.* build dist' -o faulthandler_timeout=600 \
		$(if $(filter-out 1,$(JOBS)),-n $(JOBS) --dist loadfile) $(ARGS)

fix: $(VENV)/.dev sync  ## what the linter and the formatter can do by themselves
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .

sync: $(VENV)/.dev  ## write the sync side from the async side
	$(PYTHON) tools/generate_sync.py

bench: $(VENV)/.dev $(VENV)/.installed  ## the benchmarks, on SQLite and on a PostgreSQL with fsync on
	$(PYTHON) -m tests.services -- $(PYTHON) -m benchmarks $(ARGS)

long: $(VENV)/.dev $(VENV)/.installed  ## the kill campaign and all else that takes too long for every day
	BELAYPIN_HYPOTHESIS=long $(PYTHON) -m pytest -m long -o faulthandler_timeout=0 $(ARGS)

build: $(VENV)/.builder  ## the wheel and the source distribution, into dist/
	rm -rf dist
	$(PYTHON) -m hatchling build -d dist

install: $(VENV)/.dev $(VENV)/.installed  ## the development environment, with the package as it is now

constraints: build/wheel/.built  ## pin the newest versions of all that development needs
	rm -rf build/constraints
	sh tools/make_venv.sh build/constraints
	build/constraints/bin/python -m pip install -qq --disable-pip-version-check "$(WHEEL)[dev]"
	echo "# Written by make constraints: what CI and make test install." > constraints.txt
	build/constraints/bin/python -m pip freeze --exclude belaypin | grep -E '^[A-Za-z0-9._-]+==' >> constraints.txt
	rm -rf build/constraints
	sh tools/make_venv.sh build/constraints
	build/constraints/bin/python -m pip install -qq --disable-pip-version-check "$(WHEEL)[dev,integrations]"
	echo "# Written by make constraints: what make integrations installs." > constraints-integrations.txt
	build/constraints/bin/python -m pip freeze --exclude belaypin | grep -E '^[A-Za-z0-9._-]+==' >> constraints-integrations.txt

clean:  ## forget everything that was made
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(VENV)/.made: tools/make_venv.sh
	sh tools/make_venv.sh $(VENV)
	touch $@

$(VENV)/.builder: $(VENV)/.made constraints.txt
	$(PINNED) hatchling
	touch $@

build/wheel/.built: $(VENV)/.builder pyproject.toml README.md LICENSE $(SOURCES)
	rm -rf build/wheel
	$(PYTHON) -m pip wheel -qq --disable-pip-version-check --no-deps --no-build-isolation -w build/wheel .
	touch $@

# What the package and the demo need, and what development needs, the package itself aside.
$(VENV)/.runtime $(VENV)/.dev: $(VENV)/.builder pyproject.toml | build/wheel/.built
	$(PINNED) "$(WHEEL)[$(if $(filter %.dev,$@),dev,postgres)]"
	touch $@

# The list has all there is to install, for the Python that it was made with: it takes pip minutes to find that
# out from the packages, and to compile modules that no test imports.
$(INTEGRATIONS)/.dev: tools/make_venv.sh pyproject.toml constraints-integrations.txt | build/wheel/.built
	sh tools/make_venv.sh $(INTEGRATIONS)
	$(IN_INTEGRATIONS) --no-deps -r constraints-integrations.txt && $(INTEGRATIONS)/bin/python -m pip check \
		|| $(IN_INTEGRATIONS) --constraint constraints-integrations.txt "$(WHEEL)[dev,integrations]"
	touch $@

$(INTEGRATIONS)/.installed: $(INTEGRATIONS)/.dev build/wheel/.built
	$(IN_INTEGRATIONS) --no-deps --force-reinstall $(WHEEL)
	touch $@

# Never editable: what is tested is what is shipped.
$(VENV)/.installed: build/wheel/.built
	$(PIP) --no-deps --force-reinstall $(WHEEL)
	touch $@
