# What people do with this checkout. Start with `make demo` or `make test`: both work on a fresh
# Debian or Ubuntu with Python 3.11 or newer, fetch what they need into .venv and .cache, and
# change nothing outside of this folder.

VENV ?= .venv
BIN := $(VENV)/bin
PROMETHEUS := .cache/prometheus
PYTHON_CODE := exporter dashboards docker tests docs/examples

# A Prometheus that was unpacked here comes after the user's own.
WITH_PROMETHEUS := PATH="$$PATH:$(CURDIR)/$(PROMETHEUS)/usr/bin"

.DEFAULT_GOAL := help
.PHONY: help demo test faults soak fuzz attack promises wrong lint format bench boards pictures \
	wheel prometheus victoria alertmanager clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/installed prometheus ## Watch the whole loop on simulated GPUs, 90 s (ARGS="--keep" leaves it running)
	@$(WITH_PROMETHEUS) $(BIN)/joulestat demo $(ARGS)

# Without Prometheus, VictoriaMetrics, Alertmanager or the frameworks of training code the tests
# that need them are skipped, and pytest lists them. FRAMEWORKS=no leaves the frameworks out: they
# are large.
test: lint $(VENV)/frameworks ## Run every check: style, types, floors, tests
	@.ci/prometheus.sh $(PROMETHEUS) || true
	@.ci/prometheus.sh $(PROMETHEUS) victoria-metrics || true
	@.ci/prometheus.sh $(PROMETHEUS) prometheus-alertmanager || true
	$(WITH_PROMETHEUS) $(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder $(ARGS)

lint: $(VENV)/installed ## Check style, types and who imports whom
	$(BIN)/ruff check $(PYTHON_CODE)
	$(BIN)/ruff format --check $(PYTHON_CODE)
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/installed ## Put the code in shape
	$(BIN)/ruff check --fix $(PYTHON_CODE)
	$(BIN)/ruff format $(PYTHON_CODE)

faults: $(VENV)/installed ## Let the drivers' stand-ins misbehave in every way of docs/faults.md (2 minutes)
	$(BIN)/python -m pytest -m faults $(ARGS)

# Each writes what it measured; `make promises` makes docs/promises.md of it.
PROMISES := .cache/promises
TWO_AT_ONCE := -q -n 2 --dist loadfile

soak: $(VENV)/installed prometheus ## Kill, race, corrupt and load everything for long (20 minutes)
	FAULT_PLANS=100000 HISTORIES=500 LEASES=10000 KILLS=2000 MUTATIONS=5000 SOAK_MINUTES=10 $(WITH_PROMETHEUS) \
	$(BIN)/python -m pytest $(TWO_AT_ONCE) --promises $(PROMISES)/soak.json $(SOAKED) $(ARGS)
SOAKED := $(addprefix tests/,integration/test_soak.py properties/test_fault_plans.py \
	properties/test_kills.py properties/test_lease_ends.py properties/test_lease_histories.py \
	properties/test_lease_histories_killed.py properties/test_state_mutations.py properties/test_state_starts.py)

fuzz: $(VENV)/installed prometheus ## Push, name and ask a million hostile things (40 minutes)
	PUSHES=1000000 LABELS=1000000 SCHEMATHESIS_EXAMPLES=10000 $(WITH_PROMETHEUS) \
	$(BIN)/python -m pytest $(TWO_AT_ONCE) --promises $(PROMISES)/fuzz.json $(FUZZED) $(ARGS)
FUZZED := $(addprefix tests/properties/,test_push_fuzz.py test_query_values.py test_described_apis.py)

attack: $(VENV)/installed ## Attack a running exporter, and prometheus_client's server beside it (4 minutes)
	@$(BIN)/python tests/benchmarks/attack.py --promises $(PROMISES)/attack.json $(ARGS)

promises: soak fuzz attack ## Measure every promise, and write docs/promises.md
	$(WITH_PROMETHEUS) $(BIN)/python -m pytest $(TWO_AT_ONCE) -m promise --promises $(PROMISES)/short.json
	PYTHONPATH=tests $(BIN)/python -m promises.page $(addprefix $(PROMISES)/,short.json soak.json fuzz.json attack.json)

wrong: $(VENV)/installed ## Ask for advice on 500 broken histories: never one that the truth does not support (3 minutes)
	WRONG_ANSWERS=500 $(BIN)/python -m pytest -q tests/properties/test_wrong_answers.py $(ARGS)

bench: $(VENV)/installed ## Measure what the parts cost: one table
	@$(BIN)/python tests/benchmarks/run.py $(ARGS)

boards: $(VENV)/installed ## Write the boards' JSON anew from their builder
	PYTHONPATH=dashboards $(BIN)/python -m boards

pictures: $(VENV)/installed prometheus ## Draw the boards into docs/img (needs node, npm and chromium)
	@.ci/pictures.sh .cache/pictures
	@$(WITH_PROMETHEUS) PYTHONPATH=tests $(BIN)/python -m pictures.draw_boards $(ARGS)

wheel: $(VENV)/installed ## Build the wheel into dist/
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .
	@ls dist/*.whl

prometheus: ## Have a Prometheus to run: the one on PATH, else unpack one into .cache
	@.ci/prometheus.sh $(PROMETHEUS)

victoria: ## Have a VictoriaMetrics to run tests on: the one on PATH, else unpack one into .cache
	@.ci/prometheus.sh $(PROMETHEUS) victoria-metrics

alertmanager: ## Have an Alertmanager to run tests on: the one on PATH, else unpack one into .cache
	@.ci/prometheus.sh $(PROMETHEUS) prometheus-alertmanager

clean: ## Remove everything that the other targets made
	rm -rf $(VENV) .cache build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .benchmarks

# The stamp is older than pyproject.toml whenever the dependencies may have changed.
$(VENV)/installed: pyproject.toml .ci/venv.sh
	@.ci/venv.sh $(VENV)
	@touch $@

$(VENV)/frameworks: $(VENV)/installed .ci/frameworks.sh
	@.ci/frameworks.sh $(VENV)
	@touch $@
