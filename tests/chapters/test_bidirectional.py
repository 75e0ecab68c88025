"""The Bidirectional page without a browser: each tab opens on real numbers, and says what it cannot show."""

from __future__ import annotations

import base64
import re
from pkgutil import resolve_name
from typing import Any

import numpy as np
import pytest

from rnnviz.analysis.leak import shipped_leakage
from rnnviz.analysis.restoring import DIRECTIONS, restoring_config, shipped_restored
from rnnviz.chapters.bidirectional.leak import _of_one_direction
from rnnviz.config import PRESETS
from rnnviz.i18n import quantity, translator, why_it_cannot_continue, why_not_a_language_model
from rnnviz.nn.execution import Execution, read
from rnnviz.runs.folder import Run, Status
from rnnviz.runs.reports import EpochReport
from rnnviz.text.corpora import DATA, corpus_of
from tests.chapters.helpers import cells_of, charts, groups
from tests.helpers import IdleEngine, open_app

pytestmark = [
    pytest.mark.usefixtures("engine"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
TABS = {"passes": "passes", "cheat": "perplexity", "leak": "leak", "restore": "restore"}


@pytest.mark.parametrize("tab", TABS)
@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_question_opens_in_each_language_on_real_numbers(tab: str, language: str) -> None:
    """Nothing has to be pressed and no worker is asked: what ships is read at once, and said in words."""
    app = open_app("bidirectional", language, tab=tab)
    assert not app.error
    chart = charts(app)[TABS[tab]]
    assert chart["data"]
    assert any(character.isdigit() for character in chart["description"])


def test_the_passes_have_a_frame_for_every_step_and_a_button_that_plays_them() -> None:
    """All of them are in the browser at once."""
    app = open_app("bidirectional", "en")
    text = Run.open(DATA / "bidirectional-en").config.probe
    ((slider,),) = [group["sliders"] for group in groups(app) if group["sliders"]]
    assert slider["play"] == ["Play", "Pause"]
    assert len(slider["values"]) == len(text) == len(charts(app)["passes"]["frames"])


@pytest.mark.parametrize(("language", "name"), [("en", "bidirectional-en"), ("zh", "bidirectional-zh")])
def test_both_perplexities_stand_beside_each_other(language: str, name: str) -> None:
    """As measured, with what a uniform guess gets."""
    app = open_app("bidirectional", language, tab="leak")
    run = Run.open(DATA / name)
    shipped = shipped_leakage(run)
    assert shipped is not None
    shown = [re.search(r"\*\*(.*?)\*\*", m.value) for m in app.markdown if ": **" in m.value]
    found = [line.group(1) for line in shown if line][:3]
    scores = (shipped.scores.read, shipped.scores.masked)
    assert found == [*map(quantity, scores), f"{len(run.corpus.vocabulary):,}"]
    assert len(charts(app)["leak"]["frames"]) == len(shipped.leak.text) - 1


@pytest.mark.parametrize("language", ["en", "zh"])
def test_its_perplexity_and_its_writing_are_never_shown_bare(language: str) -> None:
    """The curves are named for what they are, and why it cannot continue a text stands above what it wrote."""
    _ = translator(language)
    app = open_app("bidirectional", language, tab="cheat")
    chart = charts(app)["perplexity"]
    names = [trace["name"] for trace in chart["data"]]
    assert {_("training, future read"), _("held-out, future read")} < set(names)
    assert why_not_a_language_model(_) in chart["description"]
    captions = [caption.value for caption in app.caption]
    assert why_it_cannot_continue(_) in captions
    best = _("best held-out, future read: {value} in epoch {epoch:,}").partition("{")[0]
    assert any(note["text"].startswith(best) for note in chart["layout"]["annotations"])
    hindsight = {"en": "The held-out perplexity, future read, was best", "zh": "留出集困惑度（已读未来）在"}[language]
    assert any(caption.startswith(hindsight) for caption in captions)
    plain = open_app("train", language)
    assert why_it_cannot_continue(_) not in [caption.value for caption in plain.caption]
    assert _("training") in [trace["name"] for trace in charts(plain)["perplexity"]["data"]]


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_the_cell_of_each_direction_is_drawn_as_it_reads(language: str, direction: str) -> None:
    """On what ships: the text from its beginning or its end, no prediction, levers, and the checkpoints that ship."""
    app = open_app("bidirectional", language, tab="cell", direction=direction)
    assert not app.error
    run = Run.open(DATA / f"bidirectional-{language}")
    (packed,) = cells_of(app)
    assert "".join(packed["text"]).replace("␣", " ") == run.config.probe[:: -1 if direction == "backward" else 1]
    assert packed["output"] is None
    assert packed["weights"] is not None
    assert "held" not in packed  # so no button writes with held gates
    assert packed["kept"]["steps"] == run.checkpoint_steps() != []
    assert translator(language)(direction) in packed["words"]["said"].lower()


def test_the_cell_of_an_own_run_has_its_layers_and_checkpoints(
    engine: IdleEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker reads with the newest weights; the slider is there for the first layer, whose inputs stay the same."""
    settings = {"corpus": "sums", "bidirectional": True, "num_layers": 2, "hidden_size": 3, "max_chars": 1000}
    config = PRESETS["quick"].config.with_settings({**settings, "epochs": 1})
    run = Run.create(config, corpus_of(config))
    execution = Execution.resume(run)
    execution.advance(execution.trainer.total_steps)
    engine.states[run.id] = Status("finished")

    def compute(function: str, run: Run, visitor: str = "", **arguments: Any) -> Any:
        return resolve_name(function)(folder=str(run.folder), **arguments)

    monkeypatch.setattr(engine, "compute", compute, raising=False)
    address = {"tab": "cell", "run": run.id, "model": "own", "direction": "backward", "reads": "1+2"}
    for layer, steps in (("1", run.checkpoint_steps()[:-1]), ("2", [])):
        app = open_app("bidirectional", layer=layer, **address)
        assert not app.error
        (packed,) = cells_of(app)
        H = read(str(run.folder), "1+2").trace.signal("H", int(layer), "backward")
        sent = np.frombuffer(base64.b64decode(packed["signals"]["H"]["values"]["data"]), "<f4")
        np.testing.assert_array_equal(sent.reshape(3, 3), H[::-1])
        assert packed["kept"]["steps"] == steps


def test_a_small_one_can_be_trained_with_any_of_three_cells(engine: IdleEngine) -> None:
    """Bidirectional, on the chosen text; the page then shows it."""
    app = open_app("bidirectional", tab="cheat", corpus="tales-en", variant="lstm")
    app.button(key="train").click().run()
    ((config, run_id),) = engine.submitted
    assert (config.model.cell, config.model.bidirectional, config.corpus) == ("lstm", True, "tales-en")
    assert app.query_params["run"] in (run_id, [run_id])
    assert app.session_state["model"] == "own"
    assert charts(app)["perplexity"]["revision"] == run_id
    Run.find(run_id).append([EpochReport(9, 1, 5.0, 6.25, 1.0, 1.0, 1.0, 1e4, 0.1)])
    engine.states[run_id] = Status("finished")
    app.run()
    (bar,) = app.main.get("progress")
    assert "perplexity 5.00, future read · held-out 6.25, future read" in bar.proto.text.replace("\\", "")


@pytest.mark.parametrize("settings", [{}, {"bidirectional": True, "task": "restore"}])
def test_a_run_that_has_no_leak_is_refused_in_words(settings: dict[str, Any]) -> None:
    """One of one direction and one that restores; the model that ships is shown instead."""
    config = PRESETS["quick"].config.with_settings({"corpus": "sums", **settings})
    run = Run.create(config, corpus_of(config))
    app = open_app("bidirectional", run=run.id)
    assert "one direction" in app.error[0].value
    assert charts(app)["passes"]["data"]


@pytest.mark.parametrize(("reads", "tab"), [("x", "passes"), ("y" * 201, "leak")])
def test_a_text_that_is_too_short_or_too_long_is_refused(reads: str, tab: str) -> None:
    """With what is allowed."""
    app = open_app("bidirectional", tab=tab, reads=reads)
    assert "2 to 200" in app.error[0].value
    assert TABS[tab] not in charts(app)


@pytest.mark.parametrize(("text", "name"), [("tales-en", "gru-en"), ("lyrics-zh", "gru-zh")])
def test_a_model_is_compared_with_the_gru_that_knows_its_text(text: str, name: str) -> None:
    """Whatever the page's language."""
    config = PRESETS["quick"].config.with_settings({"corpus": text, "bidirectional": True})
    assert _of_one_direction(Run.create(config, corpus_of(config))).folder.name == name


def test_the_leaks_table_has_every_prediction() -> None:
    """Beside its probability with the future masked, and the zeros of one direction."""
    table = dict(charts(open_app("bidirectional", "en", tab="leak"))["leak"]["table"])
    shipped = shipped_leakage(Run.open(DATA / "bidirectional-en"))
    assert shipped is not None
    assert "".join(table["the next one"]).replace("␣", " ") == shipped.leak.text[1:]
    assert {"P of the next", "the future masked", "‖dP / dx‖", "one direction"} < set(table)
    assert np.isfinite(shipped.leak.answers).all()


def test_both_restoring_models_are_trained_side_by_side_and_drawn(engine: IdleEngine) -> None:
    """One press submits two that have as many parameters; what they tell takes the place of what ships."""
    app = open_app("bidirectional", tab="restore")
    shipped = charts(app)["restore"]["caption"]
    for restored in shipped_restored().values():
        assert all(f"{share:.1%}" in shipped for share in restored.last)
    app.button(key="train-restore").click().run()
    assert [config for config, _run_id in engine.submitted] == [restoring_config(name) for name in DIRECTIONS]
    for _config, run_id in engine.submitted:
        report = EpochReport(23, 1, 9.0, 8.0, 1.0, 1.0, 1.0, 1000.0, 1.0, held_out_accuracy=0.125)
        Run.find(run_id).append([report])
        engine.states[run_id] = Status("stopped")
    app.run()
    assert not app.error
    assert charts(app)["restore"]["caption"].count("12.5% restored.") == 2
    run_id = engine.submitted[0][1]
    shown = open_app("train", run=run_id)
    assert "This model restores masked characters; it does not continue texts." in [c.value for c in shown.caption]
    assert charts(shown)["perplexity"]["title"] == "Perplexity of the masked characters"
