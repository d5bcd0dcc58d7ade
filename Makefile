# Every target makes or updates .venv first. To use an environment of your own: make book PY=/path/to/python
PYTHON ?= python3
EXPERIMENT ?= triplet
SECTION ?= full
SNAKEMAKE ?=
PYTEST ?=
PORT ?= 8000
ifneq ($(origin PY), undefined)
ENV :=
else
PY := .venv/bin/python
ENV := env
endif
REIDLIB := $(PY) -m reidlib.workflow.cli
ifdef RUNS
export REIDLIB_RUNS := $(abspath $(RUNS))
endif
export OMP_NUM_THREADS ?= 1
.DEFAULT_GOAL := help
.PHONY: help env demo book sweep runs record serve test bench lint clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' Makefile

env: ## install or update .venv (every target does so by itself)
	@exec $(PYTHON) tools/bootstrap.py

demo: $(ENV) ## one small run and its page, in under two minutes
	@exec $(REIDLIB) book --section demo $(EXPERIMENT)

book: $(ENV) ## run what is pending and build the book; RUNS=DIR adds runs of your own
	@exec $(REIDLIB) book --snakemake "$(SNAKEMAKE)"

sweep: $(ENV) ## every run of a table: EXPERIMENT=triplet, SNAKEMAKE="--executor slurm --jobs 40" on a cluster
	@exec $(REIDLIB) sweep $(EXPERIMENT) --section $(SECTION) --snakemake "$(SNAKEMAKE)"

runs: $(ENV) ## list runs that are done, pending and stale
	@exec $(REIDLIB) runs

record: $(ENV) ## keep the records of a sweep in book/recorded: EXPERIMENT=triplet
	@exec $(REIDLIB) record $(EXPERIMENT) --section $(SECTION)

serve: $(ENV) ## show the book at http://localhost:8000 (PORT=8000)
	@exec $(PY) -m http.server $(PORT) --bind 127.0.0.1 --directory _build/html

test: $(ENV) ## all tests; PYTEST="-k triplet" for some
	@exec $(PY) -m pytest $(PYTEST)

bench: $(ENV) ## time reidlib and other toolkits side by side, about 15 min; records go to build/bench
	@echo "about 15 min on two quiet cores; each case is printed and recorded when it is done"
	@for file in tests/benchmarks/bench_*.py; do printf '\n%s\n' "$$file"; $(PY) "$$file" || exit 1; done

lint: $(ENV) ## check style
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .

clean: ## remove what builds wrote: runs, pages, caches (not .venv)
	@rm -rf build _build .snakemake .pytest_cache .ruff_cache
