"""The Gradients page without a browser: it opens on real numbers, its controls work, and bad input is told."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from rnnviz import gradients
from rnnviz.execution import Execution
from rnnviz.experiments import CELLS, shipped_map, shipped_study, shipped_unrolled, study_config
from rnnviz.gradient_study import geometric_mean
from rnnviz.runs import Run, Status
from rnnviz.text import read, split
from rnnviz.unrolled import unroll
from tests.test_pages import IdleEngine, charts, engine, open_app  # noqa: F401  engine is a fixture

pytestmark = [
    pytest.mark.usefixtures("engine"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
CHARTS = {
    "unrolled": ("unrolled", "product", "contributions"),
    "reach": ("reach-rnn", "reach-gru", "reach-lstm"),
    "spectrum": ("plane", "growth"),
    "scale": ("scale", "scaled-plane"),
    "clipping": ("clipping", "parameters"),
    "map": ("learning-map",),
}


def open_page(language: str = "en", **query: str) -> AppTest:
    return open_app("gradients", language, **query)


def drawn(app: AppTest, key: str, name: str) -> np.ndarray[Any, Any]:
    """The y of one line of a chart."""
    (trace,) = (t for t in charts(app)[key]["data"] if t.get("name") == name)
    y = trace["y"]
    if isinstance(y, dict):
        import base64

        return np.frombuffer(base64.b64decode(y["bdata"]), dtype=np.dtype(y["dtype"]))
    return np.array(y, dtype=np.float64)


@pytest.mark.parametrize("tab", CHARTS)
@pytest.mark.parametrize(("language", "title"), [("en", "Gradients"), ("zh", "梯度")])
def test_every_question_opens_in_each_language_on_real_numbers(language: str, title: str, tab: str) -> None:
    """Title, the question's own pictures, each said in words; nothing has to be pressed, no worker is asked."""
    app = open_page(language, tab=tab)
    assert app.title[0].value == title
    assert not app.error
    for key in CHARTS[tab]:
        assert charts(app)[key]["data"]
        assert any(character.isdigit() for character in charts(app)[key]["description"])
    assert app.query_params.get("tab", "unrolled") == tab


def test_stepping_back_goes_on_to_the_first_step() -> None:
    """The page opens at the last step; Back moves the gradient one step, and the description has that step's norm."""
    weights, vocabulary = shipped_unrolled()
    u = unroll(weights, vocabulary.encode("rivers"))
    app = open_page()
    assert "back to step 5" in charts(app)["unrolled"]["description"]
    app.button(key="at-back").click().run()
    assert app.query_params["at"] == "3"
    assert "back to step 4" in charts(app)["unrolled"]["description"]
    assert f"{np.linalg.norm(u.dH[3]):.3g}" in charts(app)["unrolled"]["description"]
    assert any(r"dH_{3}" in latex.value for latex in app.latex)
    first = open_page(at="0")
    first.button(key="at-back").click().run()
    assert first.query_params["at"] == "0"
    assert not first.exception


@pytest.mark.parametrize(
    ("word", "message"), [("ab", "has 2 characters"), ("r§ver", "never seen '§'"), ("", "has 0 characters")]
)
def test_a_word_that_cannot_be_read_is_told(word: str, message: str) -> None:
    """Too short, empty, or with characters that the model has never seen; what is allowed stands beside."""
    app = open_page()
    app.text_input(key="word").set_value(word).run()
    assert message in app.error[0].value.replace("\\", "")
    assert not app.exception


def test_another_word_is_read_at_once() -> None:
    """Its loss is the small RNN's own, and the step moves into the word where it is shorter."""
    app = open_page(at="4")
    app.text_input(key="word").set_value("sea").run()
    assert not app.error
    assert "over 2 characters" in charts(app)["unrolled"]["description"]


def test_the_lines_are_the_studies_and_the_slider_goes_back_to_the_start() -> None:
    """What is drawn is the geometric mean of the shipped windows, at the checkpoint that the slider names."""
    app = open_page(tab="reach")
    name = "‖dL<sub>T</sub>/dH<sub>t</sub>‖"
    study = shipped_study("gru")
    np.testing.assert_allclose(drawn(app, "reach-gru", name), geometric_mean(study.by_step[-1].H))
    app.select_slider(key="checkpoint").set_value("0").run()
    np.testing.assert_allclose(drawn(app, "reach-gru", name), geometric_mean(study.by_step[0].H))
    assert app.query_params["checkpoint"] == "0"


def test_scaling_shows_the_gradient_of_the_scaled_matrix() -> None:
    """At s = 4 the RNN's gradient explodes, at 0.25 it vanishes; the address has s and the cell."""
    name = "‖dL<sub>T</sub>/dH<sub>t</sub>‖"
    app = open_page(tab="scale", s="4")
    exploding = drawn(app, "scale", name)
    assert exploding[-1] > 1000 * exploding[0]
    app.select_slider(key="s").set_value("0.25").run()
    vanishing = drawn(app, "scale", name)
    assert np.nan_to_num(vanishing[-1]) < 1e-10 * vanishing[0]
    assert app.query_params["s"] == "0.25"


def test_each_matrix_has_its_spectrum() -> None:
    """The LSTM offers its four recurrent matrices; the chosen one is drawn."""
    app = open_page(tab="spectrum", cell="lstm")
    app.segmented_control(key="matrix-lstm").set_value("W_hf").run()
    top = drawn(app, "growth", "σ<sub>max</sub>")
    np.testing.assert_allclose(top, shipped_study("lstm").spectrum.singular_values["W_hf"][:, 0])


def test_the_threshold_clips_the_recorded_gradients() -> None:
    """The line after never rises above theta; off clips nothing; a single parameter can be looked at."""
    app = open_page(tab="clipping", theta="0.2")
    norms = shipped_study("rnn").norms
    assert drawn(app, "clipping", "after").max() == pytest.approx(0.2)
    assert drawn(app, "clipping", "before").max() == pytest.approx(norms.total().max())
    app.select_slider(key="theta").set_value("0").run()
    np.testing.assert_allclose(drawn(app, "clipping", "after"), drawn(app, "clipping", "before"))
    app.selectbox(key="norm").set_value("W_hh").run()
    assert drawn(app, "clipping", "before").max() == pytest.approx(norms.values[:, 1].max())


def test_training_here_uses_the_threshold_of_the_slider(engine: IdleEngine) -> None:  # noqa: F811
    """The variant's configuration is submitted with the theta that the page shows."""
    app = open_page(tab="clipping", theta="2", variant="rnn-sgd")
    app.button(key="train").click().run()
    ((config, _run_id),) = engine.submitted
    assert (config.clip, config.optimizer, config.model.cell) == (2.0, "sgd", "rnn")


def test_the_three_are_trained_on_one_text_and_shown(engine: IdleEngine, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """One press submits RNN, GRU and LSTM; the address names them; once they have weights, those are drawn."""
    app = open_page(tab="reach", corpus="brackets")
    app.button(key="train-three").click().run()
    configs = [config for config, _run_id in engine.submitted]
    assert configs == [study_config(cell, "brackets") for cell in CELLS]
    assert app.query_params["three"].split(".") == [run_id for _config, run_id in engine.submitted]
    assert app.button(key="train-three").disabled
    monkeypatch.setattr(IdleEngine, "compute", lambda self, name, **a: gradients.study(**a), raising=False)
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
def test_runs_that_are_not_there_are_told(three: str) -> None:
    """A wrong `?three=` is an error in words, its Markdown escaped, and the shipped models are shown."""
    app = open_page(tab="reach", three=three)
    assert app.error
    assert "](http" not in app.error[0].value
    assert charts(app)["reach-rnn"]["data"]


def test_runs_of_another_page_are_refused(engine: IdleEngine) -> None:  # noqa: F811
    """Three runs that are not this page's RNN, GRU and LSTM cannot be compared here."""
    corpus = split(read("sums"), "sums", max_chars=2000)
    ids = [Run.create(study_config("rnn", "sums"), corpus).id for _ in range(3)]
    app = open_page(tab="reach", three=".".join(ids))
    assert "an RNN, a GRU and an LSTM" in app.error[0].value


def test_a_map_is_computed_when_asked(engine: IdleEngine, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """A seed that does not ship is empty until the button; then the progress is told and each training drawn."""
    asked: list[Any] = []

    def batch(self: IdleEngine, key: Any, function: str, arguments: list[Any]) -> Any:
        asked.append((key, function, len(arguments)))
        return SimpleNamespace(results=shipped_map("rnn-sgd")[:10], total=len(arguments), finished=False, error=None)

    monkeypatch.setattr(IdleEngine, "batch", batch, raising=False)
    app = open_page(tab="map", seed="1")
    assert not asked
    assert "0 of 0 diverged" in charts(app)["learning-map"]["description"]
    app.button(key="compute").click().run()
    assert asked[-1] == (("map", "rnn-sgd", 1), "gradients.map_cell", 63)
    assert app.query_params["computed"] == "rnn-sgd-1"
    assert "of 10 diverged" in charts(app)["learning-map"]["description"]
