"""The RNN page without a browser: its views, its numbers, its controls, and how it reports bad input."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import numpy as np
import pytest
import torch
from streamlit.testing.v1 import AppTest

from rnnviz.chapters import rnn
from rnnviz.chapters import rnn as page
from rnnviz.config import ModelConfig, TrainConfig
from rnnviz.i18n import quantity
from rnnviz.nn import carrying, execution
from rnnviz.nn.training import Trainer
from rnnviz.runs.folder import Run
from rnnviz.text.corpora import DATA, split
from rnnviz.ui.frame import close_engine
from tests.chapters.helpers import by_step, charts, groups, unpack
from tests.helpers import IdleEngine, open_app

pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
TINY = Run.open(DATA / "tiny-tanh")


class WorkingEngine(IdleEngine):
    """An engine whose runs wait for ever, but which computes calls at once, in this process."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    def compute(self, function: str, run: Run | None = None, visitor: str = "", **arguments: Any) -> Any:
        self.calls.append(function)
        folder = {"folder": str(run.folder)} if run else {}
        return resolve_name(function)(**folder, **arguments)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[WorkingEngine]:
    monkeypatch.setenv("RNNVIZ_HOME", str(tmp_path))
    working = WorkingEngine()
    monkeypatch.setattr("rnnviz.ui.frame.Engine", lambda *_, **__: working)
    close_engine()
    for cached in ("_growth", "_resets"):
        getattr(page, cached).clear()
    yield working
    close_engine()


def terms(app: AppTest) -> dict[str, Any]:
    """What the browser shows of the equation at the step of the address, or at the one the page opens on."""
    found = [element.proto for element in app.main.get("bidi_component")]
    (data,) = [json.loads(proto.bytes) for proto in found if proto.component_name == "rnnviz_linked_equation"]
    (slider,) = [it for group in groups(app) for it in group["sliders"] if it["shown"]]
    asked = app.query_params.get(data["slider"])
    at = slider["values"].index(asked) if asked in slider["values"] else slider["default"]
    assert len(data["descriptions"]) == len(data["equation"]["steps"]) == len(slider["values"])
    step = data["equation"]["steps"][at]
    return {name: term | step[name] for name, term in data["equation"]["terms"].items()}


def in_table(app: AppTest, symbol: str) -> list[float]:
    """The numbers of a term in the equation's table, which the server draws."""
    table = app.dataframe[0].value
    return list(table["value"][table["term"] == symbol])


@pytest.mark.parametrize(("language", "title"), [("en", "RNN"), ("zh", "循环神经网络")])
def test_it_opens_on_real_numbers_without_a_worker(engine: WorkingEngine, language: str, title: str) -> None:
    """Title, equation and both pictures of the state are shown before any worker was asked."""
    app = open_app("rnn", language)
    assert app.title[0].value == title
    assert not app.error
    assert list(charts(app)) == ["state", "painted"]
    assert terms(app)["H"]["values"][0] == pytest.approx(TINY.recording().signal("H")[5].tolist(), rel=1e-5)  # type: ignore[union-attr]
    assert engine.calls == []


def test_stepping_shows_the_next_step(engine: WorkingEngine) -> None:
    """The step is the one in the address; if the text has no such step, the page opens at its default step."""
    recorded = TINY.recording()
    assert recorded is not None
    H = recorded.signal("H")
    app = open_app("rnn", t=str(len(H) - 2))
    assert terms(app)["H"]["values"][0] == pytest.approx(H[-2].tolist(), rel=1e-5)
    for nonsense in (str(len(H)), "-1", "abc", "²", " 7", "05"):
        app.query_params["t"] = nonsense
        app.run()
        assert in_table(app, "H_t") == pytest.approx(H[5].tolist())
    for t, shown in ((len(H) - 1, H[-1]), (len(H), H[5])):
        app.query_params["t"] = str(t)
        app.run()
        assert terms(app)["H"]["values"][0] == pytest.approx(shown.tolist(), rel=1e-5)
        assert in_table(app, "H_t") == pytest.approx(shown.tolist())
    assert terms(open_app("rnn", t=str(len(H) - 1)))["L"]["values"] == [[None]]


def test_the_numbers_shown_are_the_models(engine: WorkingEngine) -> None:
    """On a visitor's own text, the probabilities are the model's and sum to 1, and the loss is torch's."""
    text = "aaabbb ab"
    app = open_app("rnn", model="tiny-relu", reads=text, t="4")
    shown, model = terms(app), execution.load_model(Run.open(DATA / "tiny-relu"))
    ids = torch.from_numpy(TINY.corpus.vocabulary.encode(text))
    logits = model(ids.unsqueeze(1))[0][4, 0].detach()
    assert shown["P"]["values"][0] == pytest.approx(torch.softmax(logits, 0).tolist(), rel=1e-4)
    assert sum(shown["P"]["values"][0]) == pytest.approx(1, abs=1e-5)
    loss = torch.nn.functional.cross_entropy(logits, ids[5])
    assert shown["L"]["values"][0][0] == pytest.approx(float(loss), rel=1e-4)
    assert engine.calls == ["rnnviz.nn.execution:read_layers"]


def test_controls_come_from_the_address_and_go_back_into_it(engine: WorkingEngine) -> None:
    """Model, unit, order and text are kept there; defaults leave the address clean."""
    app = open_app("rnn", model="tiny-relu", unit="2", order="mean")
    assert app.selectbox(key="unit").value == "2"
    assert "unit 2" in charts(app)["painted"]["description"]
    app.selectbox(key="unit").set_value("3").run()
    assert app.query_params["unit"] == "3"
    app.text_input(key="reads").set_value("aab").run()
    assert app.query_params["reads"] == "aab"
    assert len(terms(app)["X"]["values"][0]) == 3


@pytest.mark.parametrize("text", ["a", "?", "\U0001f600b", " ", "a\tb", "ab" * 100])
def test_unusual_texts_are_read(engine: WorkingEngine, text: str) -> None:
    """Tested with one character, unknown characters, blanks, and the longest text allowed."""
    app = open_app("rnn", reads=text, t="0")
    assert not app.error
    assert not app.exception
    known = [character in " ab" for character in text]
    if all(known):
        assert not any("does not know" in caption.value for caption in app.caption)
    else:
        assert ["does not know" not in note for note in by_step(app, "t")] == known


def test_bad_input_is_reported(engine: WorkingEngine) -> None:
    """A text too long, an invalid step or model, and a run of another cell give a message and never a traceback."""
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
    """With many characters and units, it shows the selected row and the likeliest characters, and captions say so."""
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
    """It is an RNN of 32 units with the activation and the implementation of its name, on the chosen text."""
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


def test_scratch_and_concise_learn_the_same() -> None:
    """With one seed, both implementations of a variant report the same losses."""
    variants = rnn.variants(str)
    corpus = split("the cat sat on the mat. " * 80, held_out_chars=0)
    for activation in ("tanh", "relu"):
        losses = []
        for name in (activation, f"{activation}-torch"):
            trainer = Trainer(variants[name][1].with_settings({"device": "cpu", "predict_every": 0}), corpus)
            losses.append([report.loss for report in trainer.advance(6) if hasattr(report, "loss")])
        np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)


def test_carrying_is_measured_when_its_view_opens_and_again_on_request(
    engine: WorkingEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two charts and torch's messages are shown; another visit reads the same measurement, the button measures anew."""
    monkeypatch.setattr(carrying, "_STEPS", 6)
    app = open_app("rnn", view="carry")
    assert list(charts(app)) == ["reset", "growth"]
    names = [line.get("name") for line in charts(app)["reset"]["data"][:6]]
    assert names == ["uniform", "unigram", "2-gram", "3-gram", "4-gram", "5-gram"]
    told, measured = charts(app)["reset"], carrying.reset_perplexities(str(DATA / "tiny-tanh"))
    for (name, column), resets in zip(told["table"][1:], measured, strict=True):
        assert name in ("perplexity, training", "perplexity, held-out")
        assert resets is not None
        np.testing.assert_allclose(unpack(column), [*resets.by_window.values(), resets.carried])
        assert f"carried on {quantity(resets.carried)}" in told["description"]
    said = [block.value for block in app.code]
    assert any("backward through the graph a second time" in text for text in said)
    assert any("modified by an inplace operation" in text for text in said)
    open_app("rnn", "zh", view="carry")
    assert engine.calls == ["rnnviz.nn.carrying:reset_perplexities", "rnnviz.nn.carrying:graph_growth"]
    app.button(key="again").click().run()
    assert engine.calls[2:] == ["rnnviz.nn.carrying:graph_growth"]


def test_a_run_that_cannot_be_measured_is_reported(engine: WorkingEngine) -> None:
    """The run has no checkpoint yet."""
    config = TrainConfig(ModelConfig(cell="rnn", hidden_size=3), batch_size=2, num_steps=5)
    run = Run.create(config, split("abcabd" * 40))
    app = open_app("rnn", run=run.id, model="own", view="carry")
    assert "no checkpoint" in app.error[0].value


def test_typed_text_is_kept(engine: WorkingEngine) -> None:
    """Changing the view, the language or the page and coming back keeps text and step."""
    app = open_app("rnn", reads="aab", t="1")
    app.segmented_control(key="show").set_value("train").run()
    assert app.query_params["show"] == "train"
    app.segmented_control(key="show").set_value("step").run()
    assert app.text_input(key="reads").value == "aab"
    assert app.query_params["t"] == "1"
    app.session_state["lang"] = "zh"
    app.run()
    app.switch_page("pages/train.py").run()
    app.switch_page("pages/rnn.py").run()
    assert app.title[0].value == "循环神经网络"
    assert app.text_input(key="reads").value == "aab"
    assert (app.query_params["t"], app.query_params["reads"]) == ("1", "aab")
