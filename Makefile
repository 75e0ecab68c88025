# Every target works in a fresh clone with Python 3.11 or newer; a second run takes seconds.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PO := rnnviz/locale/zh/LC_MESSAGES/rnnviz.po
KEYWORDS := -k InputError -k FailureReport:3 -k Signal:2 -k Preset:2 -k NamedCorpus:2 -k PageInfo:2 -k Status:2 -k translate

.PHONY: run test install check messages example gallery clean

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
	$(BIN)/python -m pytest
	$(BIN)/python -m pytest -n 0 -m "browser or slow"

check: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Collects every message of the code into the translation file; new ones wait there, empty.
messages: $(VENV)/.installed
	mkdir -p build
	$(BIN)/pybabel -q extract $(KEYWORDS) --omit-header --no-wrap -o build/messages.pot --add-location=never rnnviz pages
	$(BIN)/pybabel -q update --omit-header --no-wrap --ignore-obsolete --no-fuzzy-matching -l zh -i build/messages.pot -o $(PO)

# The runs that ship in data/, without the optimiser's memory: the quick preset, and two networks of
# four units whose numbers fit on a screen.
TINY := --corpus counting --max-chars 6000 --cell rnn --hidden-size 4 --initialisation uniform --num-steps 60 \
  --batch-size 16 --epochs 150 --optimizer adam --predict-every 50 --predict-length 40 \
  --probe "ab aaabbb aabb aaaaaaabbbbbbb aaaaabbbbb "

define ship
rm -rf build/$(1) data/$(1)
OMP_NUM_THREADS=1 $(BIN)/python -m rnnviz train $(2) --device cpu --out build/$(1)
mkdir -p data/$(1)/checkpoints data/$(1)/recordings
cp build/$(1)/*.json build/$(1)/reports.jsonl data/$(1)
cp build/$(1)/recordings/latest.npz data/$(1)/recordings
cp "build/$(1)/checkpoints/$$(ls build/$(1)/checkpoints | sort -n | tail -1)" data/$(1)/checkpoints/latest.safetensors
endef

example: $(VENV)/.installed
	$(call ship,example,--preset quick)
	$(call ship,tiny-tanh,$(TINY) --activation tanh --learning-rate 0.02 --clip 1)
	$(call ship,tiny-relu,$(TINY) --activation relu --learning-rate 0.005 --clip 0.3 --seed 6)
	$(BIN)/python -m rnnviz.gradients data/gradients

# Photographs every page in both languages, light and dark.
gallery: $(VENV)/.installed-dev
	$(BIN)/python -m tests.browser_setup
	$(BIN)/python -m tests.gallery

clean:
	rm -rf $(VENV) build static/*.js .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
