# Every target works in a fresh clone with Python 3.11 or newer; a second run takes seconds.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PO := rnnviz/locale/zh/LC_MESSAGES/rnnviz.po
KEYWORDS := -k InputError -k HostError -k _fail:2 -k Signal:2 -k Preset:2 -k NamedCorpus:2 -k PageInfo:2 -k Status:2 -k translate

.PHONY: run class test install check messages example chapters reproduction gallery latency loading lock clean

# For this machine alone.
run: install
	$(BIN)/streamlit run app.py

# For everybody in the room: on all network interfaces, with the limits of a hosted server, on all of its cores.
RNNVIZ_WORKERS ?= $$($(BIN)/python -c "from rnnviz.engine.cluster import default_workers; print(default_workers())")
class: install
	RNNVIZ_HOSTED=1 RNNVIZ_WORKERS=$(RNNVIZ_WORKERS) $(BIN)/streamlit run app.py --server.address 0.0.0.0

install: $(VENV)/.installed

# Install everything that is locked, then torch: its builds for other processors and graphics cards come
# from other indexes, so its version is pinned and its hash is not.
$(VENV)/.installed: requirements.lock requirements.txt pyproject.toml
	@# Debian has venv in a separate package
	$(PYTHON) -m venv $(VENV) || { apt-get update -qq && apt-get install -y -qq python3-venv && $(PYTHON) -m venv $(VENV); }
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed requirements-dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@

# The browser is an installed one, or Debian's package if we are root, or Playwright's own. Files are handed out in their
# order, in which the slow ones do not come last, so that no process waits for another at the end.
test: $(VENV)/.installed-dev
	$(BIN)/python -m tests.browser.setup
	$(BIN)/python -m pytest -m "not endurance" --no-loadscope-reorder

check: $(VENV)/.installed-dev node_modules/.package-lock.json
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	npx biome lint
	npx tsc

# The linters of the browser's scripts. npm is an installed one, or Debian's package if we are root.
node_modules/.package-lock.json: package.json package-lock.json
	@command -v npm > /dev/null || { [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get install -y -qq nodejs npm; } || \
	  { echo "make check lints JavaScript with npm: install Node.js 20 or newer" >&2; exit 1; }
	npm ci --silent --no-audit --no-fund
	touch $@

# Collect every message of the code in the translation file; new ones are left empty.
messages: $(VENV)/.installed
	mkdir -p build
	$(BIN)/pybabel -q extract $(KEYWORDS) --omit-header --no-wrap -o build/messages.pot --add-location=never rnnviz pages
	$(BIN)/pybabel -q update --ignore-pot-creation-date --no-wrap --ignore-obsolete --no-fuzzy-matching -l zh -i build/messages.pot -o $(PO)

# Every package that requirements.txt brings in, on every system, with the hashes of its files.
lock: $(VENV)/.installed-dev
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-package torch \
	  --custom-compile-command "make lock" --output-file requirements.lock requirements.txt

# The runs that ship in data/, without the optimiser's memory: the quick preset in each language, and two networks of
# four units whose numbers fit on a screen.
TINY := --corpus counting --max-chars 6000 --cell rnn --hidden-size 4 --initialisation uniform --num-steps 60 \
  --batch-size 16 --epochs 150 --optimizer adam --predict-every 50 --predict-length 40 \
  --probe "ab aaabbb aabb aaaaaaabbbbbbb aaaaabbbbb "

# The models that the pages of the GRU and the LSTM open on: 64 units, each language's own text, and earlier checkpoints
# to look back at. There are few Chinese ones, because with 867 characters each is ten times as large.
CHAPTER := --hidden-size 64 --initialisation uniform --keep-line-breaks --num-steps 64 \
  --batch-size 32 --optimizer adam --learning-rate 0.01 --clip 1 --predict-every 20 --predict-length 60
TALES := --corpus tales-en --max-chars 32000 --epochs 50 --probe "$$(cat data/probe-en.txt)"
LYRICS := --corpus lyrics-zh --max-chars 6000 --epochs 120 --probe "$$(cat data/probe-zh.txt)"
BRACKETS := --corpus brackets --max-chars 18000 --epochs 24
# Three layers, and a study of them. The recording is of a short text, because it has three times as many signals.
DEEP := --cell lstm --forget-bias 1 --num-layers 3 --hidden-size 24 --initialisation uniform --keep-line-breaks \
  --batch-size 16 --optimizer adam --learning-rate 0.01 --clip 1 --predict-every 0
DEEP_TALES := --corpus tales-en --max-chars 20000 --num-steps 64 --epochs 40 --probe "$$(head -c 90 data/probe-en.txt)"
DEEP_LYRICS := --corpus lyrics-zh --max-chars 4000 --num-steps 32 --epochs 150 --probe "$$(cat data/probe-zh.txt)"

# Bidirectional, and small, because all that they show is how they cheat.
BOTH := --cell gru --bidirectional --initialisation uniform --batch-size 32 --optimizer adam --learning-rate 0.02 \
  --clip 1 --predict-every 20 --predict-length 30
BOTH_TALES := --hidden-size 32 --corpus tales-en --max-chars 10000 --num-steps 64 --epochs 60 --prefix "The " \
  --prefix "She said" --probe "The boats went out late that morning."
BOTH_LYRICS := --hidden-size 16 --corpus lyrics-zh --max-chars 2000 --num-steps 40 --epochs 100 --seed 3 --prefix 分开 \
  --prefix 不分开 --probe "末班渡轮慢慢开 慢到看得见浪的白 我买了一张票给晚风"

define ship
rm -rf build/$(1)
OMP_NUM_THREADS=1 $(BIN)/python -m rnnviz train $(2) --device cpu --out build/$(1)
$(BIN)/python -m rnnviz.runs.shipping build/$(1) data/$(1) $(or $(3),0) $(4)
endef

example: $(VENV)/.installed
	$(call ship,example-en,--preset quick --corpus tales-en,0,best)
	$(call ship,example-zh,--preset quick --corpus lyrics-zh,0,best)
	$(call ship,tiny-tanh,$(TINY) --activation tanh --learning-rate 0.02 --clip 1)
	$(call ship,tiny-relu,$(TINY) --activation relu --learning-rate 0.005 --clip 0.3 --seed 6)
	$(BIN)/python -m rnnviz.nn.gradients data/gradients

chapters: $(VENV)/.installed
	$(call ship,gru-en,--cell gru $(CHAPTER) $(TALES),8)
	$(call ship,gru-zh,--cell gru $(CHAPTER) $(LYRICS),2)
	$(call ship,lstm-en,--cell lstm --forget-bias 1 $(CHAPTER) $(TALES),8)
	$(call ship,lstm-zh,--cell lstm --forget-bias 1 $(CHAPTER) $(LYRICS),2)
	$(call ship,lstm-brackets,--cell lstm --forget-bias 1 $(CHAPTER) $(BRACKETS))
	$(call ship,deep-en,$(DEEP) $(DEEP_TALES),8,epochs)
	$(call ship,deep-zh,$(DEEP) $(DEEP_LYRICS),4,epochs)
	$(BIN)/python -m rnnviz.nn.deep data/deep build/deep-en build/deep-zh
	$(call ship,bidirectional-en,$(BOTH) $(BOTH_TALES),6)
	$(call ship,bidirectional-zh,$(BOTH) $(BOTH_LYRICS),2)
	$(BIN)/python -m rnnviz.nn.side_by_side data/side_by_side
	$(BIN)/python -m rnnviz.nn.future data/bidirectional

# What the Reproduce page opens on: the notes' experiments with three seeds, and the book's with one. Half an hour on
# two processors; what was interrupted goes on. After an exit status of 2 a training has diverged, which ships as well.
define reproduce
$(BIN)/python -m rnnviz reproduce --table $(1) --seeds $(2) --json --out build/reproduction-$(1) || [ $$? -eq 2 ]
$(BIN)/python -m rnnviz.reproduce $(1) $(2) build/reproduction-$(1) data/reproduction/$(1).json
endef

reproduction: $(VENV)/.installed
	$(call reproduce,notes,3)
	$(call reproduce,d2l,1)

# Take screenshots of every page in both languages, light and dark.
gallery: $(VENV)/.installed-dev
	$(BIN)/python -m tests.browser.setup
	$(BIN)/python -m tests.browser.gallery

# Measure how long a step of the cell takes to draw, and how regular the frames are while it plays.
latency: $(VENV)/.installed-dev
	$(BIN)/python -m tests.browser.setup
	$(BIN)/python -m tests.browser.latency

# Measure how soon pages show their first picture, what they load for it, and how smoothly a run is shown.
loading: $(VENV)/.installed-dev
	$(BIN)/python -m tests.browser.setup
	$(BIN)/python -m tests.browser.loading

clean:
	rm -rf $(VENV) build .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
