"""Every page without a browser: it opens, says what it is, and its widgets work."""

from __future__ import annotations

import gc
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest
from threadpoolctl import threadpool_info

from rnnviz import ui
from rnnviz.config import PRESETS, TrainConfig
from rnnviz.connection import Worker
from rnnviz.engine import Load
from rnnviz.errors import InputError
from rnnviz.i18n import translator
from rnnviz.runs import Run, Status
from rnnviz.text import read, split
from rnnviz.ui.runs import EXAMPLE, REFRESH_SECONDS, newest_curves

APP = str(Path(__file__).resolve().parent.parent / "app.py")
pytestmark = [
    # Dask and Tornado leave sockets to the interpreter's end in the process that tests them.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


class IdleEngine:
    """An engine whose runs wait for ever: pages are tested without a cluster."""

    def __init__(self) -> None:
        self.submitted: list[tuple[TrainConfig, str]] = []
        self.states: dict[str, Status] = {}

    def submit(self, config: TrainConfig, corpus: object, **options: object) -> str:
        run = Run.create(config, corpus)  # type: ignore[arg-type]
        self.submitted.append((config, run.id))
        self.states[run.id] = Status("running")
        return run.id

    def view(self, run_id: str) -> object:
        from rnnviz.engine import View

        status = self.states.get(run_id) or Run.find(run_id).status()
        return View(status, status.state == "running", 1)

    viewers = 1

    def close(self) -> None:
        pass

    def load(self) -> Load:
        return Load({"queued": 1, "running": 2}, {"tcp://127.0.0.1:1": Worker(2**28, 2**30, 3)}, "")

    def set_kept(self, run_id: str, kept: bool) -> None:
        pass

    def watch(self, run_id: str, viewer: str) -> None:
        pass

    def leave(self, viewer: str) -> None:
        pass

    def pause(self, run_id: str) -> None:
        self.states[run_id] = Status("paused")

    def resume(self, run_id: str, **options: object) -> None:
        self.states[run_id] = Status("running")

    def cancel(self, run_id: str) -> None:
        self.states[run_id] = Status("stopped")


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[IdleEngine]:
    monkeypatch.setenv("RNNVIZ_HOME", str(tmp_path))
    idle = IdleEngine()
    monkeypatch.setattr("rnnviz.ui.frame.Engine", lambda *_: idle)
    ui.engine.clear()  # type: ignore[attr-defined]
    yield idle
    ui.engine.clear()  # type: ignore[attr-defined]


def open_app(page: str, language: str = "en", **query: str) -> AppTest:
    app = AppTest.from_file(APP, default_timeout=60)
    for name, value in {**query, "lang": language}.items():
        app.query_params[name] = value
    app.run()
    if page != "home":
        app.switch_page(f"pages/{page}.py").run()
    assert not app.exception
    return app


def charts(app: AppTest) -> dict[str, Any]:
    """What each live chart of the page was given, by its name: figure and description."""
    shown = [element.proto for element in app.main.get("bidi_component")]
    packed = [json.loads(proto.bytes) for proto in shown if proto.component_name == "rnnviz_live_charts"]
    return {chart["name"]: chart for several in packed for chart in several["charts"]}


@pytest.mark.parametrize(("language", "title"), [("en", "Home"), ("zh", "首页")])
def test_home_opens_in_each_language(engine: IdleEngine, language: str, title: str) -> None:
    """The home page has its title, its prose and the shipped run's three charts."""
    app = open_app("home", language)
    assert app.title[0].value == title
    assert list(charts(app)) == ["perplexity", "gradient_norm", "gates"]


@pytest.mark.parametrize(("language", "title", "button"), [("en", "Train", "Train"), ("zh", "训练", "训练")])
def test_train_opens_in_each_language(engine: IdleEngine, language: str, title: str, button: str) -> None:
    """The Train page opens on the shipped run, with the button ready."""
    app = open_app("train", language)
    assert app.title[0].value == title
    assert app.button(key="train").label == button
    assert not app.button(key="train").disabled
    assert list(charts(app)) == ["perplexity", "gradient_norm", "gates"]


def test_the_buttons_follow_the_run(engine: IdleEngine) -> None:
    """Train starts the preset's configuration; pause, resume and stop appear when they make sense."""
    app = open_app("train")
    app.button(key="train").click().run()
    ((config, run_id),) = engine.submitted
    assert config == PRESETS["quick"].config
    assert app.query_params["run"] == run_id
    assert app.button(key="train").disabled
    app.button(key="pause").click().run()
    assert engine.states[run_id].state == "paused"
    app.button(key="resume").click().run()
    app.button(key="stop").click().run()
    assert engine.states[run_id].state == "stopped"
    assert not app.button(key="train").disabled


@pytest.mark.parametrize("name", list(PRESETS))
def test_each_preset_trains_its_own_configuration(engine: IdleEngine, name: str) -> None:
    """A preset chosen in the form is submitted exactly as it is defined."""
    app = open_app("train")
    app.selectbox(key="preset").set_value(name).run()
    app.button(key="train").click().run()
    assert engine.submitted[0][0] == PRESETS[name].config


def test_settings_come_from_the_address_and_go_into_the_run(engine: IdleEngine) -> None:
    """Settings named in the address are in the form and in the submitted configuration."""
    app = open_app("train", cell="lstm", corpus="brackets", sampling="random")
    app.number_input(key="hidden_size").set_value(7).run()
    app.text_input(key="prefixes").set_value("(,[[").run()
    app.button(key="train").click().run()
    config = engine.submitted[0][0]
    assert (config.model.cell, config.corpus, config.sampling) == ("lstm", "brackets", "random")
    assert config.model.hidden_size == 7
    assert config.prefixes == ("(", "[[")


def test_a_text_too_short_for_a_batch_is_told(engine: IdleEngine) -> None:
    """A batch larger than the text allows says how many characters it needs, and the button is off."""
    app = open_app("train")
    app.number_input(key="batch_size").set_value(2000).run()
    assert "needs at least 52,000" in app.error[0].value.replace("\\", "")
    assert app.button(key="train").disabled


def test_markdown_in_a_users_text_stays_text(engine: IdleEngine) -> None:
    """What a user wrote reaches an error message with its Markdown escaped."""
    app = open_app("train", run="[x](http://example.org)")
    assert "\\[x\\]\\(http" in app.error[0].value


def test_a_run_that_failed_says_why(engine: IdleEngine) -> None:
    """The reason in a failed run's folder is on the page, in the reader's language."""
    corpus = split(read("sums"), "sums", max_chars=2000)
    run = Run.create(TrainConfig(corpus="sums"), corpus)
    run.set_status(Status("failed", "the worker failed: {reason}", {"reason": "killed"}))
    app = open_app("train", "zh", run=run.id)
    assert "计算进程出错：killed" in app.error[0].value


def test_what_was_imported_is_left_out_of_garbage_collections(engine: IdleEngine) -> None:
    """The first page freezes the objects of all imports, so that a collection need not walk through them."""
    open_app("home")
    assert gc.get_freeze_count() > 10_000


def test_the_page_process_leaves_the_other_cores_to_training(engine: IdleEngine) -> None:
    """A second BLAS thread would spin beside busy workers: ordering the units of a heatmap took ten times as long."""
    open_app("home")
    assert {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"} == {1}


# What the host decides


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Settings from an environment that the test writes."""
    ui.settings.clear()  # type: ignore[attr-defined]
    yield monkeypatch
    ui.settings.clear()  # type: ignore[attr-defined]


@pytest.mark.parametrize(("language", "title"), [("en", "Status"), ("zh", "状态")])
def test_the_hosts_page_is_there_where_it_is_asked_for(
    engine: IdleEngine, host: pytest.MonkeyPatch, language: str, title: str
) -> None:
    """It counts runs by state, and shows the workers, the memory and the disk."""
    host.setenv("RNNVIZ_STATUS", "1")
    app = open_app("status", language)
    assert app.title[0].value == title
    assert [metric.value for metric in app.metric] == ["1", "2", "0", "0", "0", "0"]
    assert "tcp://127.0.0.1:1" in str(app.dataframe[0].value)


def test_a_wrong_setting_of_the_host_is_told_at_once(engine: IdleEngine, host: pytest.MonkeyPatch) -> None:
    """Every page says which variable is wrong, instead of failing later."""
    host.setenv("RNNVIZ_MAX_UNITS", "many")
    app = AppTest.from_file(APP, default_timeout=60).run()
    assert not app.exception
    assert "RNNVIZ_MAX_UNITS is 'many'" in app.error[0].value


def test_a_server_with_a_wrong_setting_does_not_start(tmp_path: Path) -> None:
    """It ends with the sentence alone, no traceback; what Streamlit reads later, the test above covers."""
    command = [sys.executable, "-m", "streamlit", "run", APP, "--server.headless", "true", "--server.port", "0"]
    environment = {**os.environ, "RNNVIZ_WORKERS": "zero", "RNNVIZ_HOME": str(tmp_path)}
    server = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert server.returncode == 1
    assert "Traceback" not in server.stderr
    assert server.stderr.endswith("RNNVIZ_WORKERS is 'zero'; allowed: a whole number from 1 to 256\n")


def test_what_the_host_does_not_allow_cannot_be_chosen(engine: IdleEngine, host: pytest.MonkeyPatch) -> None:
    """Ranges end where the host's limits do, presets are cut to them, and the rest is told before the button."""
    host.setenv("RNNVIZ_MAX_UNITS", "32")
    host.setenv("RNNVIZ_MAX_PARAMETERS", "1000")
    app = open_app("train")
    units = app.number_input(key="hidden_size")
    assert (units.value, units.max) == (32, 32)
    assert "at most 1,000" in app.error[0].value
    assert app.button(key="train").disabled


def test_curves_are_fetched_while_a_run_moves(engine: IdleEngine, tmp_path: Path) -> None:
    """The page names where to fetch them; nothing is told twice, and the end of a run is told at once."""
    run_id = "0123456789abcdef0123"
    shutil.copytree(EXAMPLE, tmp_path / "runs" / run_id)
    engine.states[run_id] = Status("running")
    app = open_app("train", "zh", run=run_id)
    (shown,) = [json.loads(e.proto.bytes) for e in app.main.get("bidi_component") if e.proto.id.endswith("-curves")]
    assert shown["source"] == f"app/newest/{run_id}?lang=zh"
    assert shown["every"] == REFRESH_SECONDS
    frame = ui.Frame("train", "zh", translator("zh"))
    told = json.loads(newest_curves(frame, run_id, version=0) or b"")
    assert told == shown
    assert newest_curves(frame, run_id, told["version"]) is None
    engine.states[run_id] = Status("paused")
    ended = json.loads(newest_curves(frame, run_id, told["version"]) or b"")
    assert (ended["every"], ended["source"], ended["charts"]) == (None, "", told["charts"])
    with pytest.raises(InputError, match="not the id of a run"):
        newest_curves(frame, "../etc", version=0)


def test_a_paused_run_says_why(engine: IdleEngine) -> None:
    """Nobody was watching: the page tells it beside the button that goes on."""
    config = TrainConfig()
    run_id = engine.submit(config, split(read("lyrics-zh"), "lyrics-zh", max_chars=4000))
    engine.states[run_id] = Status("paused", "nobody was watching")
    app = open_app("train", run=run_id)
    assert [info.value for info in app.info] == ["Nobody was watching"]
    assert app.button(key="resume")
