"""The RNN's page without a browser: its views, its numbers, its controls, and what it says to bad input."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from streamlit.testing.v1 import AppTest

from rnnviz import carrying, execution, ui
from rnnviz.config import ModelConfig, TrainConfig
from rnnviz.runs import Run
from rnnviz.text import DATA, split
from rnnviz.training import Trainer
from rnnviz.ui import rnn as page
from tests.test_pages import IdleEngine, charts, open_app

pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
TINY = Run.open(DATA / "tiny-tanh")


class WorkingEngine(IdleEngine):
    """Runs wait for ever, but what a person waits for is computed at once, in this process."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    def call(self, name: str, run: Run, **arguments: Any) -> Any:
        self.calls.append(name)
        return getattr(execution, name)(str(run.folder), **arguments)

    def compute(self, function: str, **arguments: Any) -> Any:
        self.calls.append(function)
        return getattr(carrying, function.removeprefix("carrying."))(**arguments)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[WorkingEngine]:
    monkeypatch.setenv("RNNVIZ_HOME", str(tmp_path))
    working = WorkingEngine()
    monkeypatch.setattr("rnnviz.ui.frame.Engine", lambda *_: working)
    ui.engine.clear()  # type: ignore[attr-defined]
    for cached in ("_growth", "_resets"):
        getattr(page, cached).clear()
    yield working
    ui.engine.clear()  # type: ignore[attr-defined]


def terms(app: AppTest) -> dict[str, Any]:
    found = [element.proto for element in app.main.get("bidi_component")]
    (equation,) = [json.loads(proto.json) for proto in found if proto.component_name == "rnnviz_linked_equation"]
    shown: dict[str, Any] = equation["equation"]["terms"]
    return shown


@pytest.mark.parametrize(("language", "title"), [("en", "RNN"), ("zh", "循环神经网络")])
def test_it_opens_on_real_numbers_without_a_worker(engine: WorkingEngine, language: str, title: str) -> None:
    """Title, equation and both pictures of the state stand there before any worker was asked."""
    app = open_app("rnn", language)
    assert app.title[0].value == title
    assert not app.error
    assert list(charts(app)) == ["state", "painted"]
    assert terms(app)["H"]["values"][0] == pytest.approx(TINY.recording().signal("H")[5].tolist(), rel=1e-5)  # type: ignore[union-attr]
    assert engine.calls == []


def test_stepping_shows_the_next_step(engine: WorkingEngine) -> None:
    """Next and Back move the slider, the address and every number, and stop at the ends of the text."""
    recorded = TINY.recording()
    assert recorded is not None
    H = recorded.signal("H")
    app = open_app("rnn", t=str(len(H) - 2))
    app.button(key="t-next").click().run()
    assert app.query_params["t"] == str(len(H) - 1)
    assert terms(app)["H"]["values"][0] == pytest.approx(H[-1].tolist(), rel=1e-5)
    assert terms(app)["L"]["values"] == [[None]]
    app.button(key="t-next").click().run()
    assert app.query_params["t"] == str(len(H) - 1)
    app.button(key="t-back").click().run()
    assert terms(app)["H"]["values"][0] == pytest.approx(H[-2].tolist(), rel=1e-5)


def test_the_numbers_shown_are_the_models(engine: WorkingEngine) -> None:
    """On a visitor's own text: the probabilities are the model's, they sum to 1, the loss is torch's."""
    text = "aaabbb ab"
    app = open_app("rnn", model="tiny-relu", reads=text, t="4")
    shown, model = terms(app), execution.load(Run.open(DATA / "tiny-relu"))
    ids = torch.from_numpy(TINY.corpus.vocabulary.encode(text))
    logits = model(ids.unsqueeze(1))[0][4, 0].detach()
    assert shown["P"]["values"][0] == pytest.approx(torch.softmax(logits, 0).tolist(), rel=1e-4)
    assert sum(shown["P"]["values"][0]) == pytest.approx(1, abs=1e-5)
    loss = torch.nn.functional.cross_entropy(logits, ids[5])
    assert shown["L"]["values"][0][0] == pytest.approx(float(loss), rel=1e-4)
    assert engine.calls == ["read"]


def test_controls_come_from_the_address_and_go_back_into_it(engine: WorkingEngine) -> None:
    """Model, unit, order and text; defaults leave the address clean."""
    app = open_app("rnn", model="tiny-relu", unit="2", order="mean")
    assert app.selectbox(key="unit").value == "2"
    assert "unit 2" in charts(app)["painted"]["description"]
    app.selectbox(key="unit").set_value("3").run()
    assert app.query_params["unit"] == "3"
    app.text_input(key="reads").set_value("aab").run()
    assert app.query_params["reads"] == "aab"
    assert len(terms(app)["X"]["values"][0]) == 3
    assert app.query_params["t"] == "2"  # the step stays inside the shorter text


@pytest.mark.parametrize("text", ["a", "?", "\U0001f600b", " ", "a\tb", "ab" * 100])
def test_unusual_texts_are_read(engine: WorkingEngine, text: str) -> None:
    """One character, unknown ones, blanks, and the longest that is allowed."""
    app = open_app("rnn", reads=text, t="0")
    assert not app.error
    assert not app.exception
    assert any("does not know" in caption.value for caption in app.caption) == (text[0] not in " ab")


def test_bad_input_is_told(engine: WorkingEngine) -> None:
    """A text too long, a step and a model that are none, a run of another cell: words, and never a traceback."""
    app = open_app("rnn", reads="ab" * 101)
    assert "202 characters; allowed: at most 200" in app.error[0].value.replace("\\", "")
    app = open_app("rnn", t="x", model="none", unit="99", view="none")
    assert not app.error
    assert terms(app)
    config = TrainConfig(ModelConfig(cell="gru", hidden_size=3), batch_size=2, num_steps=5, epochs=1, device="cpu")
    run = finished(config)
    app = open_app("rnn", run=run.id, model="own")
    assert "is a GRU of 1 layers" in app.error[0].value.replace("\\", "")
    app = open_app("rnn", run="[x](http://example.org)")
    assert "\\[x\\]" in app.error[0].value
    assert terms(app)


def finished(config: TrainConfig, text: str = "abcabd" * 40) -> Run:
    """A run trained to its end in this process."""
    corpus = split(text, held_out_chars=0)
    run = Run.create(config, corpus)
    execution.Execution.start(run, Trainer(config, corpus)).advance(10**6)
    return run


def test_the_visitors_own_model_is_read_like_the_small_ones(engine: WorkingEngine) -> None:
    """Many characters and units: the picked row, the likeliest characters, and captions that say so."""
    text = "".join(chr(0x4E00 + i % 40) for i in range(400))
    model = ModelConfig(cell="rnn", hidden_size=40)
    run = finished(TrainConfig(model, batch_size=2, num_steps=5, epochs=1, device="cpu"), text)
    app = open_app("rnn", run=run.id, model="own")
    shown = terms(app)
    assert len(shown["W_xh"]["values"]) == 1
    assert len(shown["W_hh"]["values"]) == 32
    captions = " ".join(caption.value for caption in app.caption)
    assert "first 32 of 40 units" in captions
    assert "Of the 40 rows of W_xh" in captions


@pytest.mark.parametrize("variant", ["tanh", "relu", "tanh-torch", "relu-torch"])
def test_each_variant_trains_what_it_says(engine: WorkingEngine, variant: str) -> None:
    """An RNN of 32 units with the activation and the implementation of its name, on the chosen text."""
    app = open_app("rnn", view="train", variant=variant, corpus="counting")
    assert "comes with the app" in " ".join(caption.value for caption in app.caption)
    app.button(key="train").click().run()
    ((config, run_id),) = engine.submitted
    assert (config.model.cell, config.model.hidden_size, config.corpus) == ("rnn", 32, "counting")
    activation, _, torch_ = variant.partition("-")
    assert config.model.activation == activation
    assert config.model.implementation == ("torch" if torch_ else "scratch")
    assert app.query_params["run"] == run_id
    assert not app.exception


def test_from_scratch_and_concise_learn_the_same() -> None:
    """From one seed, both implementations of a variant tell the same losses."""
    variants = page.rnn_variants(str)
    corpus = split("the cat sat on the mat. " * 80, held_out_chars=0)
    for activation in ("tanh", "relu"):
        losses = []
        for name in (activation, f"{activation}-torch"):
            trainer = Trainer(variants[name][1].with_settings({"device": "cpu", "predict_every": 0}), corpus)
            losses.append([report.loss for report in trainer.advance(6) if hasattr(report, "loss")])
        np.testing.assert_allclose(*losses, rtol=1e-4)


def test_carrying_is_measured_when_its_view_is_opened_and_again_when_asked(
    engine: WorkingEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two charts and torch's own words; another visit reads the same measurement, the button takes a new one."""
    monkeypatch.setattr(carrying, "_STEPS", 6)
    app = open_app("rnn", view="carry")
    assert list(charts(app)) == ["reset", "growth"]
    said = [block.value for block in app.code]
    assert any("backward through the graph a second time" in text for text in said)
    assert any("modified by an inplace operation" in text for text in said)
    open_app("rnn", "zh", view="carry")
    assert engine.calls == ["carrying.reset_perplexities", "carrying.graph_growth"]
    app.button(key="again").click().run()
    assert engine.calls[2:] == ["carrying.graph_growth"]


def test_what_a_run_cannot_be_measured_for_is_told(engine: WorkingEngine) -> None:
    """A run that has no checkpoint yet."""
    config = TrainConfig(ModelConfig(cell="rnn", hidden_size=3), batch_size=2, num_steps=5)
    run = Run.create(config, split("abcabd" * 40))
    app = open_app("rnn", run=run.id, model="own", view="carry")
    assert "no checkpoint" in app.error[0].value


def test_what_was_typed_stays(engine: WorkingEngine) -> None:
    """Changing the view, the language or the page and coming back keeps text and step."""
    app = open_app("rnn", reads="aab", t="1")
    app.segmented_control(key="view").set_value("train").run()
    assert app.query_params["view"] == "train"
    app.segmented_control(key="view").set_value("step").run()
    assert app.text_input(key="reads").value == "aab"
    assert app.query_params["t"] == "1"
    app.session_state["lang"] = "zh"
    app.run()
    app.switch_page("pages/train.py").run()
    app.switch_page("pages/rnn.py").run()
    assert app.title[0].value == "循环神经网络"
    assert app.text_input(key="reads").value == "aab"
    assert (app.query_params["t"], app.query_params["reads"]) == ("1", "aab")
