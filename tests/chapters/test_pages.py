"""Every page without a browser: it opens, says what it is about, and its widgets work."""

from __future__ import annotations

import gc
import json
import math
import os
import re
import secrets
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest
from threadpoolctl import threadpool_info

from rnnviz import ui
from rnnviz.analysis import experiments
from rnnviz.chapters import home
from rnnviz.chapters.home import LECTURES, WRITTEN
from rnnviz.config import PRESETS, TrainConfig
from rnnviz.errors import InputError
from rnnviz.figures.kit import visible
from rnnviz.i18n import LANGUAGES, lesson_part, translator
from rnnviz.runs.folder import Run, Status
from rnnviz.runs.reports import EpochReport, FailureReport, StepReport
from rnnviz.text.corpora import DATA, read, split
from rnnviz.ui.frame import PAGES, title_of_tab
from rnnviz.ui.live import HALTED_SECONDS, REFRESH_SECONDS
from rnnviz.ui.pictures import _whole_numbers
from rnnviz.ui.run_view import newest_curves
from tests.chapters.helpers import cells_of, charts, containers, show_settings
from tests.helpers import APP, IdleEngine, open_app, until

THEMES = ("light", "dark")
pytestmark = [
    # Dask and Tornado leave sockets open until the interpreter ends in the process that tests them.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def switch(app: AppTest, language: str) -> None:
    app.session_state["lang"] = language
    app.run()


@pytest.mark.parametrize(
    ("language", "title"),
    [("en", "rnnviz: recurrent networks from the inside"), ("zh", "rnnviz：从内部看循环神经网络")],
)
def test_home_opens_in_each_language(engine: IdleEngine, language: str, title: str) -> None:
    """The home page has its title, its prose, a cell that plays, and a link to every chapter; no worker is asked."""
    app = open_app("home", language)
    assert app.title[0].value == title
    (view,) = cells_of(app)
    assert view["playing"]
    read = visible(Run.open(DATA / f"gru-{language}").recording().text)  # type: ignore[union-attr]
    assert (view["text"][: view["written"]], len(view["text"])) == (read, len(read) + WRITTEN)
    linked = {link.proto.page for link in app.get("page_link")}
    chapters = [info.name for info in PAGES if info.name not in ("home", "status")]
    assert linked >= set(chapters)
    rows = [[child.proto for child in block.children.values()] for block in containers(app.main)]
    named = [[each.page for each in row[1:]] for row in rows if all(hasattr(each, "page") for each in row[1:])]
    assert [names for names in named if len(names) > 1] == [list(names) for names in LECTURES.values()]
    assert list(LECTURES[90]) == chapters
    idea = lesson_part("home", language, "idea")
    assert len(re.findall(r"[.。]", idea)) == 1, "one sentence"


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_card_shows_its_chapter_in_the_readers_language(language: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each picture ships in both languages, light and dark, and is small."""
    chapters = [info.name for info in PAGES if info.name not in ("home", "status")]
    ships = {path.name: path.stat().st_size for path in home._PICTURES.iterdir()}
    assert set(ships) == {f"{name}-{each}-{theme}.webp" for name in chapters for each in LANGUAGES for theme in THEMES}
    assert max(ships.values()) < 20_000
    in_address = Mock(wraps=home._in_address)
    monkeypatch.setattr(home, "_in_address", in_address)
    open_app("home", language)
    assert [call.args[0].name for call in in_address.call_args_list] == [
        f"{name}-{language}-light.webp" for name in chapters
    ]


def test_a_tab_is_called_by_its_page_and_home_by_the_products_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last name that the app gives the tab counts."""
    named: list[str] = []
    monkeypatch.setattr("streamlit.set_page_config", lambda title, *_args, **_more: named.append(title))
    open_app("home")
    assert named[-1] == "rnnviz"
    assert title_of_tab(SimpleNamespace(title="GRU", url_path="gru")) == "GRU · rnnviz"


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
    assert config == PRESETS["quick"].config.with_settings({"corpus": "tales-en"})
    assert app.query_params["run"] == run_id
    assert app.button(key="train").disabled
    app.button(key="pause").click().run()
    assert engine.states[run_id].state == "paused"
    app.button(key="resume").click().run()
    app.button(key="stop").click().run()
    assert engine.states[run_id].state == "stopped"
    assert not app.button(key="train").disabled
    app.button(key="resume").click().run()
    assert engine.states[run_id].state == "running"


@pytest.mark.parametrize("name", list(PRESETS))
def test_each_preset_trains_its_own_configuration(engine: IdleEngine, name: str) -> None:
    """A preset chosen in the form is submitted exactly as it is defined, on the language's own text."""
    app = open_app("train", "zh")
    app.selectbox(key="preset").set_value(name).run()
    app.button(key="train").click().run()
    assert engine.submitted[0][0] == PRESETS[name].config


def test_a_small_training_holds_out_what_its_configuration_says(
    engine: IdleEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The text of a run that a chapter starts is cut as the run's configuration says."""
    monkeypatch.setattr(experiments, "_STUDY", experiments._STUDY.with_settings({"held_out_chars": 77}))
    app = open_app("gradients", tab="clipping")
    app.button(key="train").click().run()
    ((config, run_id),) = engine.submitted
    assert config.held_out_chars == len(Run.find(run_id).corpus.held_out) == 77


@pytest.mark.parametrize(
    ("page", "query"),
    [
        ("train", {}),
        ("rnn", {"view": "train"}),
        ("sequences", {"part": "batches"}),
        ("language_model", {}),
        ("gradients", {"tab": "clipping"}),
        ("gradients", {"tab": "reach"}),
    ],
)
def test_each_language_opens_on_its_own_text(engine: IdleEngine, page: str, query: dict[str, str]) -> None:
    """It changes with the language until the visitor chooses another or the address names one."""
    for language, corpus in (("en", "tales-en"), ("zh", "lyrics-zh")):
        app = open_app(page, language, **query)
        assert app.selectbox(key="corpus").value == app.query_params["corpus"] == corpus
    switch(app, "en")
    assert app.selectbox(key="corpus").value == app.query_params["corpus"] == "tales-en"
    app.selectbox(key="corpus").set_value("sums").run()
    switch(app, "zh")
    assert app.selectbox(key="corpus").value == "sums"
    assert open_app(page, "zh", corpus="tales-en", **query).selectbox(key="corpus").value == "tales-en"


@pytest.mark.parametrize(("language", "corpus"), [("en", "tales-en"), ("zh", "lyrics-zh")])
def test_the_shipped_run_is_in_the_readers_language(engine: IdleEngine, language: str, corpus: str) -> None:
    """Train opens on it, and it is that of the quick preset."""
    run = ui.example(ui.Frame("train", language, translator(language)))
    assert run.config == PRESETS["quick"].config.with_settings({"corpus": corpus, "device": run.config.device})
    recording = run.recording()
    assert recording is not None
    shown = charts(open_app("train", language))["gates"]
    assert shown["layout"]["meta"]["characters"] == visible(recording.text)


def test_the_form_says_how_much_of_a_long_text_is_used(engine: IdleEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """It also says which setting decides this; for a text that is used completely, it says nothing."""
    text = "the cat sat on the mat. " * 6250
    monkeypatch.setattr("rnnviz.ui.forms.pasted_text", lambda frame: text)
    said = "4,400 of your text’s 150,000 characters are used; "
    for page, query, reason in (
        ("train", {}, "the setting “Training characters” decides how many."),
        ("rnn", {"view": "train"}, "this small training takes no more."),
    ):
        assert said + reason in [caption.value for caption in open_app(page, corpus="paste", **query).caption]
    text = text[:4400]
    assert not any("of your text" in caption.value for caption in open_app("train", corpus="paste").caption)


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


def test_the_settings_are_drawn_once_all_are_asked_for_or_the_address_names_one(engine: IdleEngine) -> None:
    """Before that the preset's are trained, and asking for all changes nothing."""
    app = open_app("train", corpus="sums")
    assert "hidden_size" not in {box.key for box in app.number_input}
    app.button(key="train").click().run()
    opened = open_app("train", corpus="sums")
    show_settings(opened)
    opened.button(key="train").click().run()
    named = open_app("train", corpus="sums", seed="0")
    assert "hidden_size" in {box.key for box in named.number_input}
    assert "all-settings" not in {button.key for button in (*opened.button, *named.button)}
    named.button(key="train").click().run()
    configs = [config for config, _run_id in engine.submitted]
    assert configs == 3 * [PRESETS["quick"].config.with_settings({"corpus": "sums"})]


def test_a_text_too_short_for_a_batch_is_reported(engine: IdleEngine) -> None:
    """A batch larger than the text allows is reported with the characters it needs, and the button is disabled."""
    app = open_app("train")
    show_settings(app)
    app.number_input(key="batch_size").set_value(2000).run()
    assert "needs at least 52,000" in app.error[0].value.replace("\\", "")
    assert app.button(key="train").disabled


def test_markdown_in_a_users_text_stays_text(engine: IdleEngine) -> None:
    """A user's text reaches an error message with its Markdown escaped."""
    app = open_app("train", run="[x](http://example.org)")
    assert "\\[x\\]\\(http" in app.error[0].value


def test_a_run_that_failed_says_why(engine: IdleEngine) -> None:
    """The page shows the reason in a failed run's folder, in the reader's language."""
    corpus = split(read("sums"), "sums", max_chars=2000)
    run = Run.create(TrainConfig(corpus="sums"), corpus)
    run.set_status(Status("failed", "the worker failed: {reason}", {"reason": "killed"}))
    app = open_app("train", "zh", run=run.id)
    assert "计算进程出错：killed" in app.error[0].value


def diverged(optimizer: str, **settings: float) -> Run:
    """A run in the home folder that diverged after three steps, whose gradients were 0.5, 4000 and 30 long."""
    config = TrainConfig(corpus="sums", optimizer=optimizer, **settings)  # type: ignore[arg-type]
    run = Run.create(config, split(read("sums"), "sums", max_chars=2000))
    after = [min(norm, config.clip or math.inf) for norm in (0.5, 4000.0, 30.0)]
    steps = [StepReport(k + 1, 1, 3.0, 10, (0.5, 4000.0, 30.0)[k], after[k], {}) for k in range(3)]
    failure = FailureReport(3, 1, "the worker failed: {reason}", {"reason": "diverged"})
    run.append([*steps, failure])
    run.set_status(Status("failed", failure.message, failure.values))
    return run


@pytest.mark.parametrize(
    ("optimizer", "settings", "said"),
    [
        (
            "sgd",
            {"learning_rate": 100.0, "clip": 0.0},
            "Clipping was off, so the longest step was η = 100 times as long: 400,000. "
            "With θ = 0.01 no step would have been longer than ηθ = 1.",
        ),
        (
            "sgd",
            {"learning_rate": 300.0, "clip": 10.0},
            "Clipping at θ = 10 shortened 2 of 3 gradients, so that no step was longer than ηθ = 3e+03. "
            "With θ = 0.001 no step would have been longer than ηθ = 0.3.",
        ),
        (
            "sgd",
            {"learning_rate": 0.1, "clip": 10.0},
            "Clipping at θ = 10 shortened 2 of 3 gradients, so that no step was longer than ηθ = 1.",
        ),
        (
            "adam",
            {"learning_rate": 0.5, "clip": 0.0},
            "Clipping was off; θ = 1 would have shortened 2 of 3 gradients. "
            "But Adam divides by the size of the gradients: how long its steps are depends on η = 0.5.",
        ),
        (
            "adam",
            {"learning_rate": 0.5, "clip": 100.0},
            "Clipping at θ = 100 shortened 1 of 3 gradients. "
            "But Adam divides by the size of the gradients: how long its steps are depends on η = 0.5.",
        ),
    ],
)
def test_a_run_that_diverged_says_what_clipping_did_or_would_have_done(
    engine: IdleEngine, optimizer: str, settings: dict[str, float], said: str
) -> None:
    """The sentence is derived from the recorded norms, in both languages."""
    run = diverged(optimizer, **settings)
    app = open_app("train", run=run.id)
    first = "The gradient norm was 0.500 in the first step and 4,000 at most, in step 2. "
    assert [caption.value for caption in app.caption if "gradient norm" in caption.value] == [first + said]
    chinese = open_app("train", "zh", run=run.id)
    (caption,) = [caption.value for caption in chinese.caption if "梯度范数" in caption.value]
    assert [number in caption for number in ("0.500", "4,000", "第 2 步")] == [True] * 3


def test_a_run_that_failed_for_another_reason_says_nothing_of_clipping(engine: IdleEngine) -> None:
    """A worker that died says nothing about the gradient."""
    run = Run.create(TrainConfig(corpus="sums"), split(read("sums"), "sums", max_chars=2000))
    run.append([StepReport(1, 1, 3.0, 10, 0.5, 0.01, {})])
    run.set_status(Status("failed", "the worker failed: {reason}", {"reason": "killed"}))
    app = open_app("train", run=run.id)
    assert not [caption.value for caption in app.caption if "gradient norm" in caption.value]


def test_tables_show_whole_numbers_in_full() -> None:
    """Their thousands are separated; measurements and texts are left as they are."""
    table: dict[str, Any] = {"step": np.arange(3), "n": [1102, 57, 7184], "norm": [0.5, 1.0, 2.0], "x": ["a", "b", "c"]}
    assert list(_whole_numbers(table)) == ["step", "n"]


def test_imported_objects_are_left_out_of_garbage_collections(engine: IdleEngine) -> None:
    """The first page freezes the objects of all imports, so that a collection need not walk through them."""
    open_app("home")
    assert gc.get_freeze_count() > 10_000


def test_the_page_process_leaves_the_other_cores_to_training(engine: IdleEngine) -> None:
    """A second BLAS thread would spin beside busy workers: ordering the units of a heatmap took ten times as long."""
    open_app("home")
    assert {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"} == {1}


# What the host decides


@pytest.mark.parametrize(("language", "title"), [("en", "Status"), ("zh", "状态")])
def test_the_status_page_is_shown_if_the_host_asks_for_it(
    engine: IdleEngine, host: pytest.MonkeyPatch, language: str, title: str
) -> None:
    """It counts runs by state, and shows the workers, the memory and the disk."""
    host.setenv("RNNVIZ_STATUS", "1")
    app = open_app("status", language)
    assert app.title[0].value == title
    assert [metric.value for metric in app.metric] == ["1", "2", "0", "0", "0", "0"]
    assert "tcp://127.0.0.1:1" in str(app.dataframe[0].value)


def test_a_wrong_setting_of_the_host_is_reported_at_once(engine: IdleEngine, host: pytest.MonkeyPatch) -> None:
    """Every page says which variable is wrong, instead of failing later."""
    host.setenv("RNNVIZ_MAX_UNITS", "many")
    app = AppTest.from_file(APP, default_timeout=60).run()
    assert not app.exception
    assert "RNNVIZ_MAX_UNITS is 'many'" in app.error[0].value


def test_a_server_with_a_wrong_setting_does_not_start(tmp_path: Path) -> None:
    """It ends with the message alone, without a traceback; settings that Streamlit reads later are tested above."""
    command = [sys.executable, "-m", "streamlit", "run", APP, "--server.headless", "true", "--server.port", "0"]
    environment = {**os.environ, "RNNVIZ_WORKERS": "zero", "RNNVIZ_HOME": str(tmp_path)}
    server = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert server.returncode == 1
    assert "Traceback" not in server.stderr
    assert server.stderr.endswith("RNNVIZ_WORKERS is 'zero'; allowed: a whole number from 1 to 256\n")


def test_the_form_offers_only_what_the_host_allows(engine: IdleEngine, host: pytest.MonkeyPatch) -> None:
    """Ranges end at the host's limits, presets are cut to them, and other limits are reported before a click."""
    host.setenv("RNNVIZ_MAX_UNITS", "32")
    host.setenv("RNNVIZ_MAX_PARAMETERS", "1000")
    app = open_app("train")
    show_settings(app)
    units = app.number_input(key="hidden_size")
    assert (units.value, units.max) == (32, 32)
    assert "at most 1,000" in app.error[0].value
    assert app.button(key="train").disabled


def test_curves_are_fetched_while_a_run_moves(engine: IdleEngine, tmp_path: Path) -> None:
    """The page says where to fetch them; no curve is sent twice, and the end of a run is reported at once."""
    run_id = secrets.token_hex(10)  # a page keeps what it found by id, also for the next test
    shutil.copytree(DATA / "example-zh", tmp_path / "runs" / run_id)
    engine.states[run_id] = Status("running")
    app = open_app("train", "zh", run=run_id)
    (shown,) = [json.loads(e.proto.bytes) for e in app.main.get("bidi_component") if e.proto.id.endswith("-curves")]
    assert shown["source"] == f"app/newest/{run_id}?lang=zh&phase=moving"
    assert shown["every"] == REFRESH_SECONDS
    frame = ui.Frame("train", "zh", translator("zh"))
    told = json.loads(newest_curves(frame, run_id, 0, "moving") or b"")
    assert told == shown
    assert newest_curves(frame, run_id, told["version"], "moving") is None
    engine.states[run_id] = Status("finished")
    ended = json.loads(newest_curves(frame, run_id, told["version"], "moving") or b"")
    assert (ended["every"], ended["source"], ended["charts"]) == (None, "", told["charts"])
    with pytest.raises(InputError, match="not the id of a run"):
        newest_curves(frame, "../etc", 0, "moving")


def test_the_first_point_is_looked_for_often(engine: IdleEngine, tmp_path: Path) -> None:
    """A run without a report is asked for five times as often as one with curves, and its first report is found."""
    run_id = secrets.token_hex(10)
    shutil.copytree(DATA / "example-zh", tmp_path / "runs" / run_id)
    reports = tmp_path / "runs" / run_id / "reports.jsonl"
    written = reports.read_text(encoding="utf-8")
    reports.write_text("", encoding="utf-8")
    engine.states[run_id] = Status("running")
    frame = ui.Frame("train", "en", translator("en"))
    waiting = json.loads(newest_curves(frame, run_id, 0, "") or b"")
    assert (waiting["version"], waiting["every"]) == (0, REFRESH_SECONDS / 5)
    assert newest_curves(frame, run_id, 0, "moving") is None
    reports.write_text(written, encoding="utf-8")
    until(lambda: newest_curves(frame, run_id, 0, "moving") is not None, 10)
    assert json.loads(newest_curves(frame, run_id, 0, "moving") or b"")["every"] == REFRESH_SECONDS


def test_charts_follow_what_a_run_has_done(engine: IdleEngine, tmp_path: Path) -> None:
    """New reports appear in the curves and a new recording in the heatmap, although charts are cached."""
    run_id = secrets.token_hex(10)  # a page keeps what it found by id, also for the next test
    shutil.copytree(DATA / "example-en", tmp_path / "runs" / run_id)
    engine.states[run_id] = Status("finished")
    run, app = Run.find(run_id), open_app("train", run=run_id)
    before, recording = charts(app), run.recording()
    assert recording is not None
    last = [report for report in run.reports() if isinstance(report, EpochReport)][-1]
    step = StepReport(last.step + 1, last.epoch + 1, 1.0, 10, 1.0, 1.0, {})
    run.append([step, replace(last, step=last.step + 1, epoch=last.epoch + 1, perplexity=1.25)])
    run.save_recording(replace(recording, signals={name: -values for name, values in recording.signals.items()}))
    until(lambda: charts(app.run())["gates"]["data"] != before["gates"]["data"], 10)
    now = charts(app)
    assert "1.25" in now["perplexity"]["description"]
    for name in ("perplexity", "gradient_norm"):
        assert now[name]["data"] != before[name]["data"]


def test_the_name_of_an_uploaded_file_stays_text(engine: IdleEngine) -> None:
    """When the visitor comes back to the page, the name is shown with its Markdown escaped."""
    app = open_app("train", corpus="upload")
    app.session_state["file-uploaded"] = ("[x](http://example.org).txt", b"some text")
    app.run()
    assert r"Still here: \[x\]\(http\://example\.org\)\.txt" in [caption.value for caption in app.caption]


def test_viewers_of_a_paused_run_learn_that_it_goes_on(engine: IdleEngine, tmp_path: Path) -> None:
    """The browser goes on asking, less often, and learns of whatever another tab does with the run."""
    run_id = secrets.token_hex(10)  # a page keeps what it found by id, also for the next test
    shutil.copytree(DATA / "example-zh", tmp_path / "runs" / run_id)
    engine.states[run_id] = Status("paused")
    frame = ui.Frame("train", "en", translator("en"))
    paused = json.loads(newest_curves(frame, run_id, 0, "moving") or b"")
    assert (paused["source"], paused["every"]) == (f"app/newest/{run_id}?lang=en&phase=paused", HALTED_SECONDS)
    assert newest_curves(frame, run_id, paused["version"], "paused") is None
    for state, every in (("running", REFRESH_SECONDS), ("stopped", HALTED_SECONDS), ("finished", None)):
        engine.states[run_id] = Status(state)  # type: ignore[arg-type]
        assert json.loads(newest_curves(frame, run_id, paused["version"], "paused") or b"")["every"] == every


def test_a_paused_run_says_why(engine: IdleEngine) -> None:
    """If it was paused because nobody was watching, the page says so beside the resume button."""
    config = TrainConfig()
    run_id = engine.submit(config, split(read("lyrics-zh"), "lyrics-zh", max_chars=4000))
    engine.states[run_id] = Status("paused", "nobody was watching")
    app = open_app("train", run=run_id)
    assert [info.value for info in app.info] == ["Nobody was watching"]
    assert app.button(key="resume")


def test_no_message_reveals_where_the_server_keeps_its_files(engine: IdleEngine, tmp_path: Path) -> None:
    """Neither the runs' folder nor the program's is shown, whatever a worker's error contains."""
    frame = ui.Frame("train", "en", translator("en"))
    reason = f"FileNotFoundError: No such file: '{tmp_path}/runs/abc/lock' in {ui.frame.ROOT}/rnnviz/runs/folder.py"
    told = frame.explain(InputError("the worker failed: {reason}", reason=reason))
    assert told == "The worker failed: FileNotFoundError: No such file: '…/runs/abc/lock' in …/rnnviz/runs/folder.py"


KOREAN = "옛날 어느 마을에 할머니와 할아버지가 살고 있었습니다. 할아버지는 산으로 나무를 하러 가고 " * 20


def uploaded(data: bytes) -> AppTest:
    """The page of a visitor who has uploaded a file."""
    app = open_app("train", corpus="upload")
    app.session_state["file-uploaded"] = ("a.txt", data)
    app.run()
    assert not app.exception
    return app


def encoding(app: AppTest) -> Any:
    (box,) = (box for box in app.selectbox if str(box.key).startswith("encoding-"))
    return box


def test_a_guessed_encoding_is_shown_and_can_be_corrected(engine: IdleEngine) -> None:
    """The page shows how the text begins, so that a reader can see whether it is nonsense."""
    app = uploaded(KOREAN.encode("cp949"))
    assert encoding(app).value == "EUC-KR"
    assert f"Its text begins with: {KOREAN[:30]}".replace(".", r"\.") in [caption.value for caption in app.caption]
    encoding(app).set_value("GB18030").run()
    assert not any("옛날" in caption.value for caption in app.caption)
    encoding(app).set_value("Shift-JIS").run()
    assert "The file is not in Shift\\-JIS" in app.error[0].value
    utf8 = uploaded(KOREAN.encode())
    assert not [box for box in utf8.selectbox if str(box.key).startswith("encoding-")]


def test_a_file_in_no_known_encoding_is_refused_until_one_is_named(engine: IdleEngine) -> None:
    """A short text in French is an example."""
    app = uploaded("Ça va? L'été, la forêt est à côté. ".encode("cp1252") * 3)
    box = encoding(app)
    assert box.value is None
    assert "not recognized" in app.error[0].value
    box.set_value("Windows-1252").run()
    assert any("Ça va" in caption.value for caption in app.caption)


def test_an_upload_may_not_be_larger_than_the_server_allows(engine: IdleEngine, host: pytest.MonkeyPatch) -> None:
    """It is refused even if it got past Streamlit's own limit."""
    host.setenv("RNNVIZ_MAX_UPLOAD_MIB", "1")
    app = uploaded(b"a b " * 300_000)
    assert "The file has 1,200,000 bytes" in app.error[0].value
