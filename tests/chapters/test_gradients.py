"""The Gradients page without a browser: it opens on real numbers, its controls work, and bad input is reported."""

from __future__ import annotations

import base64
import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from rnnviz.analysis.experiments import CELLS, shipped_map, shipped_study, shipped_unrolled, study_config
from rnnviz.analysis.gradient_study import geometric_mean
from rnnviz.analysis.unrolled import unroll
from rnnviz.i18n import quantity
from rnnviz.nn import gradients
from rnnviz.nn.execution import Execution
from rnnviz.runs.folder import Run, Status
from rnnviz.text.corpora import read, split
from tests.chapters.helpers import by_step, charts, groups
from tests.helpers import GRADIENT_CHARTS, IdleEngine, open_app, patched

pytestmark = [
    pytest.mark.usefixtures("engine"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def open_page(language: str = "en", **query: str) -> AppTest:
    return open_app("gradients", language, **query)


def frame(app: AppTest, key: str, value: str | None = None) -> dict[str, Any]:
    """A chart at this value of its slider, by default the value at which it starts."""
    group = next(group for group in groups(app) if any(chart["name"] == key for chart in group["charts"]))
    (chart,) = (dict(chart) for chart in group["charts"] if chart["name"] == key)
    frames = chart.pop("frames", [{}])
    (slider,) = group["sliders"] or [{"values": [None], "default": 0}]
    at = slider["default"] if value is None else slider["values"].index(value)
    assert len(frames) == len(slider["values"])
    return dict(patched(chart, frames[at]))


def drawn(app: AppTest, key: str, name: str, value: str | None = None, axis: str = "y") -> np.ndarray[Any, Any]:
    """The y, or the x, of one line of a chart."""
    (trace,) = (t for t in frame(app, key, value)["data"] if t.get("name") == name)
    y = trace[axis]
    if isinstance(y, dict):
        return np.frombuffer(base64.b64decode(y["bdata"]), dtype=np.dtype(y["dtype"]))
    return np.array(y, dtype=np.float64)


@pytest.mark.parametrize("tab", GRADIENT_CHARTS)
@pytest.mark.parametrize(("language", "title"), [("en", "Gradients"), ("zh", "梯度")])
def test_every_question_opens_in_each_language_on_real_numbers(language: str, title: str, tab: str) -> None:
    """Title and pictures are shown, each described in words, without a click and without a worker."""
    app = open_page(language, tab=tab)
    assert app.title[0].value == title
    assert not app.error
    for key in GRADIENT_CHARTS[tab]:
        assert charts(app)[key]["data"]
        assert any(character.isdigit() for character in charts(app)[key]["description"])
    assert app.query_params.get("tab", "unrolled") == tab


def test_stepping_back_leads_to_the_first_step() -> None:
    """The page opens at the last step; with each step back, every picture and the equation show the gradient there."""
    weights, vocabulary = shipped_unrolled()
    u = unroll(weights, vocabulary.encode("rivers"))
    app = open_page()
    assert "back to step 5" in frame(app, "unrolled")["description"]
    before = frame(app, "unrolled", "3")["description"]
    assert "back to step 4" in before
    assert quantity(float(np.linalg.norm(u.dH[3]))) in before
    assert quantity(float(np.linalg.norm(u.dW[3:].sum(axis=0)))) in frame(app, "contributions", "3")["description"]
    product = dict(frame(app, "product", "3")["table"])
    np.testing.assert_allclose(np.frombuffer(base64.b64decode(product["dH₄"]["bdata"])), u.dH[3])
    found = [re.findall(r"underbrace{dH_{(\d)}", equation) for equation in by_step(app, "at")]
    assert found == [[str(t), str(t + 1)] for t in range(5)]


@pytest.mark.parametrize(
    ("word", "message"), [("ab", "has 2 characters"), ("r§ver", "never seen '§'"), ("", "has 0 characters")]
)
def test_a_word_that_cannot_be_read_is_reported(word: str, message: str) -> None:
    """It is too short, empty, or has characters that the model has never seen; the message says what is allowed."""
    app = open_page()
    app.text_input(key="word").set_value(word).run()
    assert message in app.error[0].value.replace("\\", "")
    assert not app.exception


def test_another_word_is_read_at_once() -> None:
    """Its loss is that of the small RNN; the last step is shown if the word is too short for the one asked for."""
    app = open_page(at="4")
    app.text_input(key="word").set_value("sea").run()
    assert not app.error
    assert "over 2 characters" in frame(app, "unrolled")["description"]
    equations = by_step(app, "at")
    assert len(equations) == 2
    assert "dH_{1}" in equations[-1]


def test_the_lines_show_the_studies_at_the_sliders_checkpoint() -> None:
    """They are the geometric means of the shipped windows, at the checkpoint that the slider names."""
    app = open_page(tab="reach")
    name = "‖dL<sub>T</sub>/dH<sub>t</sub>‖"
    study = shipped_study("gru")
    np.testing.assert_allclose(drawn(app, "reach-gru", name), geometric_mean(study.by_step[-1].H))
    np.testing.assert_allclose(drawn(app, "reach-gru", name, "0"), geometric_mean(study.by_step[0].H))


def test_scaling_shows_the_gradient_of_the_scaled_matrix() -> None:
    """At s = 4 the RNN's gradient explodes, at 0.25 it vanishes; picture, description and table agree."""
    name = "‖dL<sub>T</sub>/dH<sub>t</sub>‖"
    app = open_page(tab="scale")
    exploding = drawn(app, "scale", name, "4")
    assert exploding[-1] > 1000 * exploding[0]
    vanishing = drawn(app, "scale", name, "0.25")
    assert np.nan_to_num(vanishing[-1]) < 1e-10 * vanishing[0]
    lag = shipped_study("rnn").by_scale[0]
    shown = frame(app, "scale", "0.25")
    assert quantity(float(geometric_mean(lag.H)[0])) in shown["description"]
    table = dict(shown["table"])
    values = np.frombuffer(base64.b64decode(table["‖dL_T/dH_t‖"]["bdata"]))
    np.testing.assert_allclose(values, geometric_mean(lag.H))


def test_each_matrix_has_its_spectrum() -> None:
    """The LSTM offers its four recurrent matrices, and the chosen one is drawn."""
    app = open_page(tab="spectrum", cell="lstm")
    app.segmented_control(key="matrix-lstm").set_value("W_hf").run()
    top = drawn(app, "growth", "σ<sub>max</sub>")
    np.testing.assert_allclose(top, shipped_study("lstm").spectrum.singular_values["W_hf"][:, 0])


def test_the_threshold_clips_the_recorded_gradients() -> None:
    """The line after clipping never rises above theta; "off" clips nothing; a single parameter can be shown."""
    app = open_page(tab="clipping")
    norms = shipped_study("rnn").norms
    assert drawn(app, "clipping", "after", "0.2").max() == pytest.approx(0.2)
    assert drawn(app, "clipping", "before", "0.2").max() == pytest.approx(norms.total().max())
    np.testing.assert_allclose(drawn(app, "clipping", "after", "0"), drawn(app, "clipping", "before", "0"))
    assert f"{(norms.total() > 0.2).mean():.0%}" in frame(app, "clipping", "0.2")["caption"]
    app.selectbox(key="norm").set_value("W_hh").run()
    assert drawn(app, "clipping", "before").max() == pytest.approx(norms.values[:, 1].max())


def test_the_step_looked_at_is_named_by_its_norm() -> None:
    """At first the one with the largest norm; the address names another, and nonsense there is the first again."""
    norms = shipped_study("rnn").norms
    largest, smallest = norms.total().argmax(), norms.total().argmin()
    expected = {"": largest, "smallest": smallest, "last": largest, "12": largest}
    for step, i in expected.items():
        app = open_page(tab="clipping", **({"step": step} if step else {}))
        np.testing.assert_allclose(drawn(app, "parameters", "before", axis="x"), norms.values[i])
        assert f"Step {norms.steps[i]:,}:" in frame(app, "parameters")["caption"]


def test_training_here_uses_the_threshold_of_the_slider(engine: IdleEngine) -> None:
    """The variant's configuration is submitted with the theta that the page shows."""
    app = open_page(tab="clipping", theta="2", variant="rnn-sgd")
    app.button(key="train").click().run()
    ((config, _run_id),) = engine.submitted
    assert (config.clip, config.optimizer, config.model.cell) == (2.0, "sgd", "rnn")


def test_the_three_are_trained_on_one_text_and_shown(engine: IdleEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """One press submits RNN, GRU and LSTM; the address names them; once they have weights, their lines are drawn."""
    app = open_page(tab="reach", corpus="brackets")
    app.button(key="train-three").click().run()
    configs = [config for config, _run_id in engine.submitted]
    assert configs == [study_config(cell, "brackets") for cell in CELLS]
    assert app.query_params["three"].split(".") == [run_id for _config, run_id in engine.submitted]
    assert app.button(key="train-three").disabled
    monkeypatch.setattr(IdleEngine, "compute", lambda self, name, visitor, **a: gradients.study(**a), raising=False)
    monkeypatch.setattr(gradients, "SCALES", (1.0,))
    for _config, run_id in engine.submitted:
        Execution.resume(Run.find(run_id))
        engine.states[run_id] = Status("stopped")
    app.run()
    assert not app.error
    run = Run.find(engine.submitted[0][1])
    expected = geometric_mean(gradients.study(str(run.folder)).by_step[0].H)
    np.testing.assert_allclose(drawn(app, "reach-rnn", "‖dL<sub>T</sub>/dH<sub>t</sub>‖"), expected)


@pytest.mark.parametrize("three", ["x", "0123456789abcdef0123", "[x](http://example.org)"])
def test_missing_runs_are_reported(three: str) -> None:
    """A wrong `?three=` is reported with its Markdown escaped, and the shipped models are shown."""
    app = open_page(tab="reach", three=three)
    assert app.error
    assert "](http" not in app.error[0].value
    assert charts(app)["reach-rnn"]["data"]


def test_runs_of_another_page_are_refused(engine: IdleEngine) -> None:
    """Three runs that are not this page's RNN, GRU and LSTM cannot be compared here."""
    corpus = split(read("sums"), "sums", max_chars=2000)
    ids = [Run.create(study_config("rnn", "sums"), corpus).id for _ in range(3)]
    app = open_page(tab="reach", three=".".join(ids))
    assert "RNN, GRU, LSTM" in app.error[0].value


def test_a_map_is_computed_on_request(engine: IdleEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A seed that does not ship is empty until the button is pressed; then progress and trainings are shown."""
    asked: list[Any] = []

    def batch(self: IdleEngine, key: Any, function: str, arguments: list[Any], *, visitor: str) -> Any:
        asked.append((key, function, len(arguments)))
        return SimpleNamespace(results=shipped_map("rnn-sgd")[:10], total=len(arguments), finished=False, error=None)

    monkeypatch.setattr(IdleEngine, "batch", batch, raising=False)
    app = open_page(tab="map", seed="1")
    assert not asked
    assert "0 of 0 diverged" in charts(app)["learning-map"]["description"]
    app.button(key="compute").click().run()
    assert asked[-1] == (("map", "rnn-sgd", 1), "rnnviz.nn.gradients:map_cell", 63)
    assert app.query_params["computed"] == "rnn-sgd-1"
    assert "of 10 diverged" in charts(app)["learning-map"]["description"]
