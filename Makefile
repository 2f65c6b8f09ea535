# Kexue, the executable book. `make help` lists what can be done; `make book` needs Python >= 3.11
# with venv and nothing else.

PYTHON ?= python3
PORT   ?= 8000
VENV   := .venv
BIN    := $(VENV)/bin
HTML   := _build/html
# One stamp for each content of the files that say what to install: nothing changed, nothing done.
STAMP  := $(VENV)/.installed-$(shell cat requirements.txt constraints.txt pyproject.toml | cksum | cut -d' ' -f1)
PYTEST := $(BIN)/python -m pytest
# Without a syntax of web addresses that takes jsonschema seconds to import, and checks nothing here;
# without looking for garbage, of which a build makes little: a quarter of its time.
BUILDER = import gc, sys; gc.disable(); sys.modules["rfc3987_syntax"] = None; import jupyter_book.cli.main as m; m.main()
SPHINX := $(BIN)/python -c '$(BUILDER)' build . -W -n --keep-going
# In the order in which they start: what takes longest goes first.
STAGES := lint browser nbval unit chapters mutate
URL    ?=

export PYTHONHASHSEED := 0
# One thread a process: two threads that wait for each other on a busy machine are many times slower.
export OMP_NUM_THREADS ?= 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help book serve pdf zip test $(STAGES) mutate-core notebooks slides set-repository colab \
        clean-room gpu-room colab-freeze colab-widgets artifact bench audit clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Kexue needs Python 3.11 or newer: make $(MAKECMDGOALS) PYTHON=/path/to/python3"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -r requirements.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	rm -f $(VENV)/.installed-*
	touch $@

book: $(STAMP) ## build the book into _build/html
	@$(SPHINX) --quiet > /dev/null
	@echo "The book is in $(HTML). Open $(HTML)/index.html, or run: make serve"

serve: book ## serve the book on localhost and open it (PORT=8000)
	@$(BIN)/python tools/serve.py $(HTML) $(PORT)

pdf: $(STAMP) book ## print the book and each chapter into _build/pdf (a Chromium, minutes; ONLY=ddpm-bayes: one)
	@$(BIN)/python tools/pdf.py $(ONLY)
	@$(SPHINX) --quiet > /dev/null # pages link what there is

zip: colab ## the site in one file that opens without a network: _build/kexue-<version>.zip
	@$(BIN)/python tools/archive.py

test: $(STAMP) ## everything that must hold: lint, tests, notebooks, book, browser
	@FRESH=yes $(BIN)/python tools/stages.py $(STAGES)

lint: $(STAMP) ## ruff, notebooks too
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

unit: $(STAMP) ## unit tests and doctests, without the browser and the chapters
	$(PYTEST) --ignore=tests/browser --ignore=tests/chapters --durations=8

chapters: $(STAMP) ## what the chapters print and their stored results say, computed another way
	$(PYTEST) tests/chapters --durations=8

mutate: $(STAMP) ## falsify the checked equations and premises: every mutant must be noticed (SAMPLE=0: all)
	$(BIN)/python tools/mutate.py --sample $(or $(SAMPLE),20)

mutate-core: $(STAMP) ## mutate the arithmetic of schedule, density and diffusion with mutmut (long)
	$(BIN)/python tools/mutate_core.py

nbval: $(STAMP) ## run every notebook and compare with its stored outputs
	$(PYTEST) --nbval --nbval-current-env --nbval-cell-timeout=300 book

check-book: $(STAMP) ## build from nothing, every warning an error, into _build/check
	rm -rf _build/check
	@$(SPHINX) --quiet --all --path-output _build/check > /dev/null

browser: $(STAMP) $(if $(FRESH),check-book,book) ## open every page in a headless Chromium, network cut
	$(if $(FRESH),KEXUE_SITE=$(CURDIR)/_build/check/_build/html )$(PYTEST) -rs tests/browser

notebooks: $(STAMP) ## run the notebooks whose code changed, store outputs (ALL=1: every one; MEASURE=1: times too)
	$(BIN)/python tools/notebooks.py $(if $(ALL),--all) $(if $(MEASURE),--measure)

slides: $(STAMP) book ## a slide deck for every chapter, into _build/html/slides
	@$(BIN)/python tools/slides.py

set-repository: $(STAMP) ## name the repository everywhere: make set-repository URL=https://github.com/you/kexue
	$(BIN)/python tools/set_repository.py "$(URL)"

colab: $(STAMP) book ## write the plain notebooks that Colab opens into _build/colab
	@$(BIN)/python tools/colab.py

clean-room: colab ## run what Colab opens under Colab's packages, from an empty folder (downloads 1 to 5 GB)
	$(BIN)/python tools/clean_room.py $(ONLY) $(if $(STORE),--store)

gpu-room: colab ## run what Colab opens on the GPU that is here, full preset (T4=1: within a T4's limits)
	$(BIN)/python tools/gpu_room.py $(ONLY) $(if $(T4),--t4) $(if $(STORE),--store)

colab-freeze: $(STAMP) ## fetch the list of packages that Colab has now
	$(BIN)/python tools/colab_freeze.py

colab-widgets: $(STAMP) ## run an explorer under the widget versions that Colab has (downloads them)
	$(BIN)/python tools/test_colab_widgets.py

artifact: $(STAMP) ## make a chapter's stored results again: make artifact CHAPTER=ddpm-bayes (a GPU, minutes)
	@$(BIN)/python tools/artifact.py "$(CHAPTER)" $(ARGS)

bench: $(STAMP) ## time the hot paths against their peers (which it installs), one table; ONLY=fourier_fit: one
	$(BIN)/python -m pip install --quiet --no-build-isolation -c constraints.txt --editable '.[bench]'
	$(BIN)/python -m pip install --quiet --no-deps -r benchmarks/requirements.txt
	@for script in benchmarks/$(or $(ONLY),[!_]*).py; do \
	  echo "== $$script"; $(BIN)/python $$script || failed=1; done; \
	$(if $(ONLY),,$(BIN)/python benchmarks/_table.py;) exit $${failed:-0}

audit: $(STAMP) ## look for known holes in the pinned packages (installs pip-audit; asks pypi.org)
	$(BIN)/python -m pip install --quiet pip-audit==2.10.1
	$(BIN)/pip-audit --strict --no-deps --disable-pip -r requirements.txt -r constraints.txt

clean: ## remove what was built; .venv stays
	rm -rf _build build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
