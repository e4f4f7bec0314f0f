# Everything that is needed is Python 3.11+ and make: each target makes its own virtual environment in .venv.
#
#   make demo    server up, a real mp4 streamed through the client, detections printed, server down
#   make test    format, lint, types, import contracts and all tests
#
# make demo VIDEO=my.mp4 takes another video, PORT=8123 another port.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WORK := work
PORT ?= 8765
VIDEO ?= $(WORK)/sample.mp4
SOURCES := training export server client tests

.PHONY: demo test format lint types contracts tests clean
.DELETE_ON_ERROR:

$(VENV)/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "selsa needs Python 3.11 or newer; $(PYTHON) is older. Name another: make PYTHON=python3.12"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

# The main job ---------------------------------------------------------------------------------------------

$(WORK)/demo.bundle/manifest.json: | $(VENV)/.installed
	mkdir -p $(WORK)
	$(BIN)/selsa init r18-dc5 --seed 1 --overwrite -o $(WORK)/demo.checkpoint
	$(BIN)/selsa export $(WORK)/demo.checkpoint --overwrite -o $(WORK)/demo.bundle

$(WORK)/sample.mp4: | $(VENV)/.installed
	mkdir -p $(WORK)
	$(BIN)/python -m selsa_server.sample_video $@

demo: $(WORK)/demo.bundle/manifest.json $(VIDEO)
	PATH="$(abspath $(BIN)):$$PATH" sh docs/demo.sh $(WORK)/demo.bundle $(VIDEO) $(PORT)

# The checks, the same here and in CI ----------------------------------------------------------------------

test: format lint types contracts tests

format: $(VENV)/.installed
	$(BIN)/ruff format --check $(SOURCES)

lint: $(VENV)/.installed
	$(BIN)/ruff check $(SOURCES)

types: $(VENV)/.installed
	$(BIN)/mypy

contracts: $(VENV)/.installed
	$(BIN)/lint-imports

tests: $(VENV)/.installed
	$(BIN)/pytest

clean:
	rm -rf $(VENV) $(WORK)
