# Every target works from Python 3.11 to 3.13, make and git alone: dev/bootstrap prepares .venv first.

PYTHON_IN_VENV := .venv/bin/python
# The platform is more than twenty processes of the same sources: without their bytecode kept each compiles them anew.
unexport PYTHONDONTWRITEBYTECODE
service ?= all
upgrade ?=

.DEFAULT_GOAL := help
.PHONY: help setup up down logs demo test lint lint-types lint-rest format bench migrate lock

help: ## show this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 18

setup:
	@dev/bootstrap

up: setup ## run the platform on this machine until Ctrl-C or `make down`
	@exec $(PYTHON_IN_VENV) -m dev.up

down: setup ## stop what `make up` started
	@exec $(PYTHON_IN_VENV) -m dev.down

logs: setup ## follow the logs of the running platform
	@exec $(PYTHON_IN_VENV) -m dev.logs

demo: setup ## play a customer's story against the running platform
	@exec $(PYTHON_IN_VENV) -m dev.demo

test: lint ## lint, then every test (starts its own servers); what fails is tried once more, alone
	@$(PYTHON_IN_VENV) -m pytest -n 3 --dist loadfile --no-loadscope-reorder; code=$$?; \
	if [ $$code -ne 1 ]; then exit $$code; fi; \
	echo 'Once more, alone: what passes now depends on time and is to be mended, what fails again is broken.'; \
	exec $(PYTHON_IN_VENV) -m pytest --last-failed --last-failed-no-failures none --exitfirst -rpf

lint: setup ## ruff, mypy --strict, import rules; images, compose files and workflows; the tests import
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target lint-types lint-rest

lint-types:
	@$(PYTHON_IN_VENV) -m mypy

# Collecting is for `make test` too: the workers that run them find the tests' bytecode instead of making it each.
lint-rest:
	@$(PYTHON_IN_VENV) -m ruff check .
	@$(PYTHON_IN_VENV) -m ruff format --check .
	@.venv/bin/lint-imports --no-logo
	@.venv/bin/hadolint */Dockerfile deploy/*/Dockerfile
	@.venv/bin/actionlint -shellcheck= # where there is a shellcheck its version would decide
	@.venv/bin/check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml
	@.venv/bin/check-jsonschema --quiet --builtin-schema vendor.compose-spec docker-compose.yaml docker-compose.prod.yml deploy/compose.*.yaml
	@if docker compose version >/dev/null 2>&1; then deploy/check-compose; fi
	@found=$$($(PYTHON_IN_VENV) -m pytest --collect-only -qqq 2>&1) || { echo "$$found"; exit 1; }

format: setup ## format the code and apply the safe fixes
	@$(PYTHON_IN_VENV) -m ruff check --fix .
	@$(PYTHON_IN_VENV) -m ruff format .

bench: setup ## measure the hot paths against bare ones, as ratios
	@exec $(PYTHON_IN_VENV) -m tests.bench

migrate: setup ## bring the databases to the newest schema (service=billing for one)
	@exec $(PYTHON_IN_VENV) -m dev.migrate $(service)

lock: setup ## resolve the requirements again (upgrade=1: to the newest versions)
	@dev/lock $(if $(upgrade),--upgrade)
