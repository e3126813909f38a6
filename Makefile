# Two commands on a fresh machine: `make bench` runs the main job, `make test` the checks.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
RUNS   := $(VENV)/.runs
READY  := $(VENV)/.ready
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable

MODEL   ?=
TASKS   ?=
TRACK   ?= $(if $(MODEL)$(TASKS),,imagenet)
SCALE   ?= $(if $(filter reproduce%,$(MAKECMDGOALS)),smoke,embedded)
OUT     ?= out/bench
DEVICE  ?= auto
WORKERS ?= auto
WEIGHTS ?=
DATA    ?=
PAPER   ?= munakata

.PHONY: bench test test-slow lint perf perf-compare perf-keep docs notebooks setup clean help
.DEFAULT_GOAL := help

help:
	@echo "make bench [MODEL=resnet50] [TRACK=cifar10] [SCALE=embedded|medium|full] [TASKS='a b'] [OUT=dir] [DEVICE=cpu] [WEIGHTS=file] [DATA=dir]"
	@echo "                 one model on the track of its label space: every family that has a meaning there"
	@echo "make test        lint, types, import contracts and tests        make test-slow   the longer checks"
	@echo "make reproduce PAPER=munakata [SCALE=smoke|cpu|full] [DATA=dir] [OUT=dir]   a paper: figures beside ours, claims"
	@echo "make bench-gpu   this machine's device: equal to the CPU's records? images per second, memory; one page"
	@echo "make docs        the documentation, into build/site          make notebooks   its notebooks, executed anew"
	@echo "make perf        speed, as ratios measured in one run           make setup       only the set-up"
	@echo "make perf-compare   the last make perf beside the last release's file, as ratios"

setup: $(READY)

# Everything pinned by constraints.txt; done again only when what is installed would change. What running needs comes first;
# linters, tests, browser, Ray, what exports need and what makes the documentation come with the first target that checks.
$(RUNS): pyproject.toml constraints.txt
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'Assay needs Python 3.11 or newer; choose one with make PYTHON=python3.11')"
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) .
	touch $(RUNS)

$(READY): $(RUNS)
	$(INSTALL) '.[dev,docs,export,ray]'
	touch $(READY)

bench: $(RUNS)
	$(BIN)/assay run $(addprefix --model ,$(MODEL)) $(addprefix --track ,$(TRACK)) --scale $(SCALE) \
	  $(addprefix --task ,$(TASKS)) $(addprefix --weights ,$(WEIGHTS)) $(addprefix --data-root ,$(DATA)) --device $(DEVICE) --workers $(WORKERS) --out $(OUT)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint
	$(BIN)/pytest -n 2 -m "not slow"

test-slow: $(READY)
	$(BIN)/pytest -m slow

perf: $(READY)
	mkdir -p out/perf
	$(BIN)/pytest tests/performance --benchmark-columns=median,iqr,rounds --benchmark-json=out/perf/last.json -s

# The change against the last release's file in the repository, as ratios; a release keeps its file by `make perf-keep RELEASE=0.2.0`.
RELEASE ?= $(basename $(notdir $(lastword $(sort $(wildcard tests/performance/releases/*.json)))))
perf-compare: $(READY) out/perf/last.json
	$(BIN)/python scripts/compare_speed.py tests/performance/releases/$(RELEASE).json out/perf/last.json

perf-keep: $(READY) out/perf/last.json
	$(BIN)/python scripts/compare_speed.py --keep out/perf/last.json tests/performance/releases/$(RELEASE).json

out/perf/last.json:
	@echo "no measurement yet: run make perf first" >&2; exit 1

# The documentation as a folder of pages that need no network: build/site/index.html.
docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet
	@echo "build/site/index.html"

notebooks: $(READY)
	$(BIN)/python scripts/execute_notebooks.py docs/notebooks/*.ipynb

# Does the device give the CPU's records, and how fast is it? Without a GPU a small form, in seconds.
.PHONY: bench-gpu
bench-gpu: $(RUNS)
	$(BIN)/assay bench-device --device $(DEVICE) --out out/device

clean:
	rm -rf $(VENV) out build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache

.PHONY: schema leaderboard
leaderboard: $(RUNS)
	$(BIN)/assay leaderboard --out leaderboard/site

schema: $(READY)
	$(BIN)/python -c "import json; from assay.results.document import result_schema; print(json.dumps(result_schema(), indent=1))" > suite/assay/results/result.schema.json
	$(BIN)/python -c "from assay.board.submissions.documents import write_schemas; write_schemas('suite/assay/board/schemas')"

.PHONY: reproduce reproduce-smoke
reproduce: $(RUNS)
	$(BIN)/assay reproduce $(PAPER) --scale $(SCALE) $(addprefix --data-root ,$(DATA)) --workers $(WORKERS) \
	  $(if $(filter command line,$(origin OUT)),--out $(OUT))

# All five papers on embedded data, two minutes each at the most.
reproduce-smoke: $(RUNS)
	for paper in dong hamdi karkehabadi mangla munakata; do \
	  $(BIN)/assay reproduce $$paper --scale smoke --workers $(WORKERS) --quiet || exit 1; done
