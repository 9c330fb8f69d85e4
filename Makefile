# make run and make test work in a fresh clone: both go through setup. Every target is one line of the same Python commands.
# Variables:  TIER=small            run the path on another tier
#             CONSTRAINTS=          set up with the newest versions that pyproject.toml allows, not with the lock
#             PYTHON3=python3.12    make the environment with another Python
#             CHAPTERS="4.01 4.03"  make test: what these chapters need, and nothing else

TIER ?= tiny
PYTHON3 ?= python3
CONSTRAINTS ?= --constraint constraints.txt
PYTHON := .venv/bin/python
# The installer's warnings are kept in a log, and shown where it fails.
INSTALL = @if ! $(PYTHON) -m pip install --quiet --disable-pip-version-check $(CONSTRAINTS) $(1) \
	>> .venv/setup.log 2>&1; then tail -n 30 .venv/setup.log; exit 1; fi
INSTALLED := .venv/installed

.DEFAULT_GOAL := help
.PHONY: help setup lab run test lint notebooks book measure data base-model real benchmarks

help:
	@echo "make setup | lab | run | test | lint | notebooks | book | measure | data | base-model | real | benchmarks (README.md says what each does)"

setup: $(INSTALLED)

# Torch comes first, alone and exact: it is the one package of which each machine needs its own build.
$(INSTALLED): constraints.txt pyproject.toml
	@$(PYTHON3) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "error: Python 3.11 or newer is needed: make setup PYTHON3=python3.11")'
	@echo "Setting up .venv; this takes some minutes the first time. What the installer says is in .venv/setup.log."
	@$(PYTHON3) -m venv .venv
	@echo "1 of 2: torch"
	$(call INSTALL,torch==2.13.0)
	@echo "2 of 2: all other packages"
	$(call INSTALL,hatchling)
	$(call INSTALL,--no-build-isolation --editable ".[all]")
	@touch $@

# JupyterLab with all chapters, opened at the first.
lab: setup
	$(PYTHON) -m jupyter lab --ServerApp.root_dir=notebooks notebooks/0_foundations/0_01_start_here.ipynb

run: setup
	$(PYTHON) -m ftlib run path --tier $(TIER)

# Two tests at a time, in their order: those that execute a chapter come last.
test: lint
	CHAPTERS="$(CHAPTERS)" $(PYTHON) -m pytest -n 2 --maxschedchunk 1 \
		$(if $(CHAPTERS),tests/test_chapters.py tests/test_exercises.py)

lint: setup
	$(PYTHON) -m ruff check .

notebooks: setup
	$(PYTHON) -m notebooks.refresh

# The chapters as a site, from their outputs as they lie; no chapter is executed. A warning is an error.
BOOK := build/book/html

book: setup
	$(PYTHON) -m sphinx --quiet --fresh-env --write-all --fail-on-warning --keep-going -c book -b html -d build/book/doctrees . $(BOOK)
	@echo "The book is $(BOOK)/index.html; it opens from the file, without a server."

# Computes again, and keeps in data/measured, the experiments that take longer than a chapter may.
measure: setup
	FTLIB_MEASURE=1 $(PYTHON) -m ftlib run all --force

data: setup
	$(PYTHON) -m data.recipes.build

# On 2 cores glibc spent 29 % of the time giving memory back after each step and asking for it again: let it keep what it has.
KEEP_MEMORY := MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=17179869184 MALLOC_TOP_PAD_=268435456 GLIBC_TUNABLES=glibc.malloc.hugetlb=1

# The smaller model of the family: half as wide, fewer tokens.
SISTER := --folder build/sister-model --hidden-size 128 --intermediate-size 256 --tokens 24000000 --late-stages 0

base-model: setup
	$(KEEP_MEMORY) $(PYTHON) -m data.recipes.pretrain
	$(KEEP_MEMORY) $(PYTHON) -m data.recipes.pretrain $(SISTER)
	$(PYTHON) -m data.recipes.ship
	$(PYTHON) -m data.recipes.abilities
	$(PYTHON) -m data.recipes.calibrate
	$(PYTHON) -m data.recipes.card

# The path on SmolLM2-135M-Instruct, which comes from the package index; stopped, it goes on.
real: setup
	$(PYTHON) benchmarks/real_model.py

benchmarks: setup
	$(PYTHON) benchmarks/train_overhead.py
	$(PYTHON) benchmarks/busy.py
