# `make demo` and `make test` are the whole set-up: both create .venv and install into it.
PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin
DEMO_OUT ?= out/demo
METHOD ?= iplap
# Files of tests at a time; what a file's tests share is made once.
TEST_JOBS ?= 2
STAMP := $(VENV)/.installed

.PHONY: demo test test-slow lint bench lock clean install

install: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "talkface: $(PYTHON) not found; install Python 3.11 or newer, or name one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

demo: $(STAMP)
	$(BIN)/talkface doctor --quiet --extra=demo
	$(BIN)/talkface demo --method=$(METHOD) --out=$(DEMO_OUT)

test: $(STAMP)
	$(BIN)/talkface doctor --quiet --extra=demo --extra=speech --extra=dev
	$(BIN)/python -m pytest -n $(TEST_JOBS) --dist loadfile

test-slow: $(STAMP)
	$(BIN)/python -m pytest -m slow

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/pyright

bench: $(STAMP)
	$(BIN)/python -m pytest -m bench tests/bench -s $(TORCH_ROOT:%=--torch-root=%)

# Needs uv; the lock holds no registry address.
lock:
	uv pip compile pyproject.toml --extra all --extra dev --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --output-file requirements.lock

clean:
	rm -rf $(VENV) out build dist *.egg-info .pytest_cache .ruff_cache .import_linter_cache
