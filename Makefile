# Commands for users and developers. They need make and Python 3.11 or later only.
# Package indexes come from the machine's configuration; this repository names none.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Added to pytest's, uv's and compose's command lines: make test ARGS="-k adam", make lock ARGS=--upgrade.
ARGS ?=
# Half of a test's time is waiting for its own processes, so use more test processes than cores.
PARALLEL := --numprocesses 4 --dist worksteal

# A user's shell may set this. Each of the many processes here would then compile all of its imports at each start:
# three seconds instead of one.
export PYTHONDONTWRITEBYTECODE =

UV_COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-header --no-emit-index-url

.PHONY: help install demo test check audit guards format bench up down browser-test chromium rabbitmq-test rabbitmq libraries-test chaos compose-test compose-faults lock wheel clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(VENV)/.installed ## the locked environment in .venv (the other targets call this)
	@:

$(VENV)/.bootstrapped: requirements/build.lock
	@$(PYTHON) requirements/supported.py
	@echo "Installing into $(VENV): about a minute the first time."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/build.lock
	@touch $@

# uv takes seconds and pip a minute, but uv does not read pip's configuration: where only pip is configured, fall back
# to pip.
$(VENV)/.installed: $(VENV)/.bootstrapped requirements/dev.lock pyproject.toml
	@$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes \
	    requirements/dev.lock requirements/build.lock \
	 || { echo "uv failed; trying pip."; \
	      $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes \
	        -r requirements/dev.lock; }
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-index --no-deps --no-build-isolation --editable .
	@touch $@

demo: install ## four optimizers compared on real data: a table, a picture, every step kept
	@$(BIN)/talweg demo

test: install ## the test suite, in random order (make test ARGS="-p no:randomly -n 0": in order, in one process)
	@$(BIN)/pytest $(PARALLEL) $(ARGS)

check: install ## format, lint, types, import contracts, migrations, the list of guards
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/pytest -q tests/services/store/test_migrate.py tests/security

# Rules of bandit that ruff's S rules check in `check`, with a reason at each exception. Bandit does not read ruff's
# exceptions and would report each again.
BANDIT_IN_RUFF := B101,B102,B108,B310,B404,B603,B606,B608

audit: install ## known vulnerabilities in the locked packages (PyPI's database) and in our own code
	@$(BIN)/ruff check --quiet --select S --ignore S101,S311
	@$(BIN)/uv tool run --quiet bandit --quiet --recursive services core migrations --skip $(BANDIT_IN_RUFF)
	@$(BIN)/uv tool run --quiet pip-audit --strict --disable-pip --require-hashes -r requirements/lab.lock

format: install ## reformat the code and fix lint errors
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: install ## the tables that the README quotes
	@for table in $(filter-out benchmarks/reliability.py benchmarks/local_stack.py benchmarks/guards.py,$(wildcard benchmarks/[a-z]*.py)); do echo "$$table"; $(BIN)/python "$$table" $(ARGS) || exit 1; done

up: .env ## the whole laboratory in containers: PostgreSQL, Redis, MLflow, API, worker
	@$(NEW_SECRETS)
	@docker compose up --detach --build --wait $(ARGS)
	@. ./.env && echo "API http://127.0.0.1:$${TALWEG_PORT:-8000}   MLflow http://127.0.0.1:$${TALWEG_MLFLOW_PORT:-5055}   token: TALWEG_TOKEN in .env"

down: ## stop the containers (make down ARGS=--volumes deletes their data too)
	@docker compose down $(ARGS)

# A random secret for each name that is empty in .env.example and missing in .env: in an existing .env, the secrets that a
# later version added.
NEW_SECRETS = umask 077; grep -o '^[A-Z_]*=$$' .env.example | while IFS= read -r name; do \
	grep -q "^$$name" .env || { printf '%s%s\n' "$$name" "$$(od -An -vtx1 -N24 /dev/urandom | tr -d ' \n')" >> .env; \
	                            echo "Added $${name%=} to .env."; }; done

# A half-written file of secrets must not stay behind.
.DELETE_ON_ERROR:

# Every empty value of .env.example becomes a random secret; only the owner can read the file.
.env:
	@umask 077; while IFS= read -r line; do case "$$line" in \
	    [A-Z]*=) printf '%s%s\n' "$$line" "$$(od -An -vtx1 -N24 /dev/urandom | tr -d ' \n')";; \
	    *) printf '%s\n' "$$line";; esac; done < .env.example > $@
	@echo "Wrote .env with new secrets."

browser-test: install chromium ## the pages, in a headless Chromium
	@$(BIN)/pytest -m browser tests/browser --screenshot only-on-failure --output test-results/failures $(ARGS)

chromium:
	@command -v chromium > /dev/null \
	 || { [ "$$(id -u)" = 0 ] && apt-get -qq update > /dev/null \
	      && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends chromium \
	           fonts-dejavu-core > /dev/null; } \
	 || echo "chromium is missing and could not be installed: the browser tests will fail."

rabbitmq-test: install rabbitmq ## RabbitMQ as the broker, with a real server
	@$(BIN)/pytest -m rabbitmq tests/rabbitmq $(ARGS)

# The versions of requirements/libraries.txt in an environment of their own, in front of the development environment.
LIBRARIES := .venv-libraries

$(LIBRARIES)/.installed: requirements/libraries.txt $(VENV)/.installed
	@echo "Installing PyTorch, JAX and their optimizers into $(LIBRARIES)."
	@$(PYTHON) -m venv $(LIBRARIES)
	@$(LIBRARIES)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements/libraries.txt
	@$(BIN)/python -c "import sysconfig; print('import site; site.addsitedir(' + repr(sysconfig.get_path('purelib')) + ')')" \
	    > "$$($(LIBRARIES)/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")/development.pth"
	@touch $@

libraries-test: install $(LIBRARIES)/.installed ## rules of PyTorch, pytorch_optimizer and optax, bit for bit (installs them: 1.5 GB)
	@$(LIBRARIES)/bin/python -m pytest $(PARALLEL) tests/libraries $(ARGS)

rabbitmq:
	@test -x /usr/lib/rabbitmq/bin/rabbitmq-server || command -v rabbitmq-server > /dev/null \
	 || { [ "$$(id -u)" = 0 ] && apt-get -qq update > /dev/null \
	      && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends rabbitmq-server \
	           > /dev/null; } \
	 || echo "rabbitmq-server is missing and could not be installed: its tests will fail."

guards: install ## remove each security guard in a copy, and check that its test fails
	@$(BIN)/python benchmarks/guards.py $(ARGS)

chaos: install ## random faults for half an hour: 200 on each database, then 20 kills of the whole local stack
	@$(BIN)/python benchmarks/reliability.py $(ARGS)
	@$(BIN)/python benchmarks/local_stack.py $(ARGS)

compose-test: install ## the laboratory in containers, tested from outside (needs docker compose)
	@$(BIN)/pytest -m compose tests/compose $(ARGS)

compose-faults: install ## kill and disconnect every container in turn while studies train: a quarter of an hour
	@$(BIN)/pytest -m compose_faults tests/compose $(ARGS)

lock: $(VENV)/.bootstrapped ## resolve requirements/*.lock from pyproject.toml (ARGS=--upgrade takes newer versions)
	@$(UV_COMPILE) pyproject.toml --extra dev --output-file requirements/dev.lock $(ARGS)
	@$(UV_COMPILE) pyproject.toml --extra lab --constraints requirements/dev.lock \
	    --output-file requirements/lab.lock $(ARGS)
	@printf 'hatchling\nuv\n' | $(UV_COMPILE) - --constraints requirements/dev.lock \
	    --output-file requirements/build.lock $(ARGS)

wheel: install ## dist/talweg-*.whl
	@$(BIN)/python -m hatchling build --target wheel

clean: ## remove what the targets above made, except .talweg and .env (your runs and secrets)
	@rm -rf $(VENV) $(LIBRARIES) dist build test-results .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	@find core services migrations tests benchmarks examples -name __pycache__ -type d -prune -exec rm -rf {} +
