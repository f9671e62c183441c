# One command each; `make` alone says which.
PYTHON ?= python3
BIN := .venv/bin
DEMO := demo-$(shell date +%Y%m%d-%H%M%S)

COVERAGE_FLOOR := 96  # per cent of the lines: what is reached today (97.0), never lowered

.PHONY: help demo test coverage test-optimized test-ray check docs bench
.DEFAULT_GOAL := help

help:  ## say what there is
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 16

demo: .venv/imgreg  ## train on the bundled sample, predict a photo it has not seen, say where the report is
	@echo "Training on datasets/leaves: drawn pictures of two kinds of leaves, bundled starter weights."
	@echo "Leaves lie at any angle, so augmentation turns them all the way round."
	$(BIN)/imgreg train datasets/leaves --weights starter --set augmentation.rotation_range=180 --views 8 --name $(DEMO)
	@echo
	@echo "Pictures it has not seen (the truth is in the file's name):"
	$(BIN)/imgreg predict datasets/leaves-new --run models/$(DEMO)
	@echo
	@echo "The report:  $(CURDIR)/models/$(DEMO)/report.html"
	@echo "With and without regularization:  $(BIN)/imgreg compare datasets/leaves --weights starter"

test: .venv/test  ## run the tests
	$(BIN)/pytest -n auto --maxprocesses 4 --dist loadscope --no-loadscope-reorder --ignore=tests/ray \
		$(if $(COVERAGE),--cov --cov-report=term --cov-fail-under=$(strip $(COVERAGE_FLOOR)))

coverage:  ## run the tests, show which lines they miss, and fail below the floor
	$(MAKE) test COVERAGE=1

test-optimized: .venv/test  ## run the quick tests with Python's -O, under which assert does nothing in src/
	$(BIN)/python -O -m pytest -q tests/recipes tests/runs tests/data/test_split.py tests/test_optimized.py

test-ray: .venv/ray  ## run the tests of --ray on two nodes, which this starts on this machine
	$(BIN)/pytest -q tests/ray

check: .venv/dev  ## lint, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: .venv/docs  ## build the documentation site into site/, strictly
	$(BIN)/python tools/reference.py docs/reference
	$(BIN)/zensical build --clean --strict

bench: .venv/dev  ## measure what the README claims
	$(BIN)/python benchmarks/extract.py
	$(BIN)/python benchmarks/head.py
	$(BIN)/python benchmarks/predict.py
	$(BIN)/python benchmarks/compare.py datasets/leaves 128
	$(BIN)/python benchmarks/scale.py 100 1000
	$(BIN)/python benchmarks/weights.py
	$(BIN)/python benchmarks/serve.py

.venv/imgreg: pyproject.toml constraints.txt
	@echo "Setting up .venv: TensorFlow and its company, about 1 GB to fetch; a few minutes."
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt -e .
	@touch $@

.venv/test: .venv/imgreg
	$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt -e '.[test]'
	@touch $@

.venv/dev: .venv/test
	$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

.venv/ray: .venv/test
	$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt -e '.[ray]'
	@touch $@

.venv/docs: .venv/imgreg
	$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt -e '.[docs]'
	@touch $@
