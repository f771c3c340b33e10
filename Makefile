# Everything a newcomer needs. `make help` lists it.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
SEED ?= 1
DRIFT ?=
RESULTS ?= .reliability.jsonl
PARTS ?=
ROUNDS ?=
QUICK ?=
LARGE ?=
WRITE ?=
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help install demo test reliability soak check format bench bench-detectors bench-certificates profile clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP) ## create .venv with exact versions

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[cpu,distill,dev]'
	touch $@

demo: install ## the whole story on real data (SEED=7 DRIFT=sci.space,sci.med,... for another one)
	$(BIN)/python -m examples.helpdesk.demo --seed $(SEED) $(if $(DRIFT),--drift $(DRIFT))

test: install ## every test, three files at a time: most of them wait
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

reliability: install ## faults, load and bad input, 45 minutes; writes docs/reliability.md (STILLGATE_SEED=... repeats)
	rm -f $(RESULTS)
	STILLGATE_SCALE=reliability STILLGATE_KILLS=10 STILLGATE_RESULTS=$(RESULTS) \
	  $(BIN)/python -m pytest tests/reliability tests/end_to_end/test_kill.py tests/distill/training/test_resume.py -p tests.reliability.reporting; \
	  status=$$?; $(BIN)/python -m tests.reliability.table $(RESULTS) > docs/reliability.md; exit $$status

soak: install ## the same rows in their full sizes, some hours
	rm -f $(RESULTS)
	STILLGATE_SCALE=soak STILLGATE_KILLS=50 STILLGATE_RESULTS=$(RESULTS) \
	  $(BIN)/python -m pytest tests/reliability tests/end_to_end/test_kill.py tests/distill/training/test_resume.py -p tests.reliability.reporting; \
	  status=$$?; $(BIN)/python -m tests.reliability.table $(RESULTS) > .soak.md; cat .soak.md; exit $$status

check: install ## ruff, mypy --strict, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: install ## let ruff format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: install ## peers, latency, failures, memory, students, statistics; 50 minutes (PARTS="peers latency" ROUNDS=3 QUICK=1 WRITE=docs/performance.md)
	$(BIN)/python -m benchmarks $(PARTS) $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(QUICK),--quick) $(if $(WRITE),--write $(WRITE))

bench-detectors: install ## the drift detector beside an oracle, river, MAPIE and fixed windows; 30 minutes (PARTS="nulls delays behaviour equal" QUICK=1 LARGE=1); writes docs/detectors.md
	$(BIN)/python -m benchmarks.detectors $(PARTS) $(if $(QUICK),--quick) $(if $(LARGE),--large) --write docs/detectors.md

bench-certificates: install ## do certificates keep their promise; 3 minutes, writes docs/certificates.md
	$(BIN)/python -m benchmarks certificates --write docs/certificates.md

profile: install ## where the gateway's microseconds go
	$(BIN)/python -m benchmarks profile

clean: ## remove what the demo and the tests leave behind (not .venv)
	rm -rf .demo $(RESULTS) .soak.md .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
