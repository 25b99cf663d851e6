# Everything a person or CI does with Tablecast. `make` lists it. Needs python3 (3.11 or newer);
# what else is missing comes through apt-get where it can, or is named (tools/need).

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet
COMPILE := $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 \
	--generate-hashes --no-annotate --custom-compile-command 'make lock'
# Which tests, and how: make test T=tests/live ARGS="-x -k late". Of the bench, which subjects.
T ?=
ARGS ?= -q
# Test files run side by side; more than this and browsers and Redis only wait for each other.
WORKERS ?= 3
# How long `make soak` takes.
SECONDS ?= 600

# One stamp for each thing that takes time to set up; it is set up again when what it comes from changes.
MADE_VENV := $(VENV)/.made
MADE_RUN := $(VENV)/.run
MADE_TEST := $(VENV)/.test
MADE_TSC := tools/node_modules/.made

SERVERS := redis-server=redis-server nginx=nginx openssl=openssl
# The shell is the same browser without windows: several times as fast where nobody looks.
BROWSER := "chromium-headless-shell=chromium-headless-shell|chromium=chromium" /usr/share/fonts/truetype/dejavu/DejaVuSans.ttf=fonts-dejavu-core

export PYTHON
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help run parquet test faults soak check format types-js servers bench compose lock clean

help: ## list what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(MADE_RUN) ## serve on http://localhost:8080, everything in memory, no Redis
	@exec $(BIN)/python -m server

parquet: $(MADE_RUN) ## let `make run` read Parquet files too (another 170 MB)
	@$(PIP) --require-hashes -r requirements/image.txt

test: $(MADE_TEST) servers check ## set everything up, check, and run all tests but the slow ones (T=path ARGS="-x" narrow it)
	@echo "tablecast: tests"
	@$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile -m "not slow" $(ARGS) $(T) || \
	{ echo "tablecast: what failed beside others, once more and alone (it counts as failed if it fails again)"; \
	$(BIN)/python -m pytest -m "not slow" $(ARGS) --last-failed --last-failed-no-failures none $(T); }

faults: $(MADE_TEST) servers ## every fault on real parts, and all other tests that take long (T=path ARGS="-x")
	@echo "tablecast: faults"
	@$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile -m "slow or faults" $(ARGS) $(T)

soak: $(MADE_TEST) servers ## people without rest on two nodes for ten minutes: nothing grows, nothing stays (SECONDS=600)
	@echo "tablecast: soak, $(SECONDS) s"
	@$(BIN)/python -m tests.bounds.soak $(SECONDS)

check: $(MADE_TEST) $(MADE_TSC) ## linter, formatter, and the type checkers of server and web/js
	@echo "tablecast: ruff, mypy, tsc"
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet . || { echo "tablecast: not formatted as above; 'make format' does it" >&2; exit 1; }
	@$(BIN)/mypy --no-error-summary
	@tools/npm run --silent check

format: $(MADE_TEST) ## let ruff format the Python and repair what it safely can
	@$(BIN)/ruff check --quiet --fix . ; $(BIN)/ruff format --quiet .

servers:
	@tools/need $(SERVERS) $(BROWSER)

bench: $(MADE_TEST) ## measure, against naive peers in the same run (T=big: a 1 GB file, in a browser too)
	@tools/need $(SERVERS) $(BROWSER)
	@$(BIN)/python -m bench $(T)

compose: ## build the containers and serve on http://localhost:8080 through Nginx (needs Docker)
	docker compose up --build

lock: $(MADE_VENV) ## pin all dependencies anew (requirements/*.txt, tools/package-lock.json)
	@echo "tablecast: resolving dependencies"
	@$(PIP) uv
	@$(COMPILE) pyproject.toml -o requirements/run.txt
	@$(COMPILE) pyproject.toml -c requirements/run.txt --group test --group check --group build -o requirements/test.txt
	@$(COMPILE) -c requirements/test.txt --group build -o requirements/build.txt
	@$(COMPILE) --group node -o requirements/node.txt
	@$(COMPILE) pyproject.toml -c requirements/test.txt --extra parquet --extra otel -o requirements/image.txt
	@tools/npm install --silent --package-lock-only --omit-lockfile-registry-resolved=true

clean: ## remove all that was set up or built here
	rm -rf $(VENV) .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist tools/node_modules
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(MADE_VENV):
	@tools/need module:venv=python3-venv module:ensurepip=python3-venv
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "tablecast: needs Python 3.11 or newer")'
	@echo "tablecast: making $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(MADE_RUN): $(MADE_VENV) requirements/run.txt requirements/build.txt pyproject.toml
	@echo "tablecast: installing what it runs on"
	@$(PIP) --require-hashes -r requirements/run.txt
	@$(PIP) --require-hashes -r requirements/build.txt
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

$(MADE_TEST): $(MADE_RUN) requirements/test.txt
	@echo "tablecast: installing what tests and checks need"
	@$(PIP) --require-hashes -r requirements/test.txt
	@touch $@

$(MADE_TSC): tools/package.json tools/package-lock.json | $(MADE_VENV)
	@echo "tablecast: installing the type checker of web/js"
	@tools/npm ci --loglevel=error --no-audit --no-fund --no-update-notifier > /dev/null
	@touch $@
