# Every target runs in $(VENV), which is made once, from constraints.txt.
PYTHON ?= python3
VENV ?= .venv
OUT ?= demo-leaf
# For tests: cells to run that are normally skipped ("slow cuda"), processes at once, seconds for each
FLAGS ?=
WORKERS ?= 2
LIMIT ?= 300

BIN := $(VENV)/bin
READY := $(VENV)/.ready
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt
OFFLINE := HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false

.DEFAULT_GOAL := help
.PHONY: help env demo test test-all docs readme prepare clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-9s %s\n", $$1, $$2}' Makefile

# torch goes first and alone: of the builds of one version pip then takes the CPU one where the index offers it
$(READY): settings.ini setup.py constraints.txt
	@echo "installing into $(VENV): once, some 2 to 10 minutes, most of them for torch"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) torch
	@$(PIP) -e '.[demo,api,eval,adapt,onnx,scale,docs,dev]'
	@touch $@

env: $(READY) ## make the environment

demo: $(READY) ## distil a leaf from the offline teacher and measure it
	@$(BIN)/leaf demo --out $(OUT)

test: $(READY) ## test the notebooks and tests/; `make test FLAGS="slow cuda" WORKERS=1` on a GPU
	@$(OFFLINE) $(BIN)/python tools/nbtest.py --flags "$(FLAGS)" --n_workers $(WORKERS) --limit $(LIMIT)

test-all: ## the same, and all that is slow: published numbers, every recipe, Ray, JavaScript
	@LEAF_SLOW=1 $(MAKE) -s test FLAGS="slow $(FLAGS)" LIMIT=3600

docs: $(READY) ## build the site in _docs, and check its links, pictures and sizes
	@$(OFFLINE) $(BIN)/python tools/docs.py

readme: $(READY) ## write README.md from nbs/index.ipynb
	@$(BIN)/python tools/readme.py

prepare: $(READY) ## what to run before a commit: export, clean, README
	@$(BIN)/nbdev_export
	@$(BIN)/nbdev_clean
	@$(BIN)/python tools/readme.py

clean: ## remove what was made, except $(VENV)
	@rm -rf build dist *.egg-info _proc _docs $(OUT)
