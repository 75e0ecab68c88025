# Every target works in a fresh clone with Python 3.11 or newer; a second run takes seconds.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PO := rnnviz/locale/zh/LC_MESSAGES/rnnviz.po
KEYWORDS := -k InputError -k FailureReport:3 -k Signal:2 -k Preset:2 -k NamedCorpus:2 -k PageInfo:2 -k Status:2 -k translate

.PHONY: run test install check messages example clean

run: install
	$(BIN)/streamlit run app.py

install: $(VENV)/.installed

$(VENV)/.installed: requirements.txt pyproject.toml
	@# Debian keeps venv in a package of its own
	$(PYTHON) -m venv $(VENV) || { apt-get update -qq && apt-get install -y -qq python3-venv && $(PYTHON) -m venv $(VENV); }
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -e .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed requirements-dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@

# The browser: one that is there, Debian's package where we are root, Playwright's own elsewhere.
test: $(VENV)/.installed-dev
	$(BIN)/python -m tests.browser_setup
	$(BIN)/python -m pytest -m ""

check: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Collects every message of the code into the translation file; new ones wait there, empty.
messages: $(VENV)/.installed
	$(BIN)/pybabel -q extract $(KEYWORDS) --omit-header --no-wrap -o build/messages.pot --add-location=never rnnviz pages
	$(BIN)/pybabel -q update --omit-header --no-wrap --ignore-obsolete --no-fuzzy-matching -l zh -i build/messages.pot -o $(PO)

# The run that ships in data/example: the quick preset, without the optimiser's memory.
example: $(VENV)/.installed
	rm -rf build/example data/example
	OMP_NUM_THREADS=1 $(BIN)/python -m rnnviz train --preset quick --device cpu --out build/example
	mkdir -p data/example/checkpoints data/example/recordings
	cp build/example/*.json build/example/reports.jsonl data/example
	cp build/example/recordings/latest.npz data/example/recordings
	cp "build/example/checkpoints/$$(ls build/example/checkpoints | sort -n | tail -1)" data/example/checkpoints/latest.safetensors

clean:
	rm -rf $(VENV) build static/*.js .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
