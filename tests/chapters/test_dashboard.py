"""The Train page of a run that has ended: its checkpoints, its twin, and two runs over each other."""

from __future__ import annotations

import json
import re
import secrets
import shutil
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from rnnviz.i18n import LANGUAGES, translator
from rnnviz.runs.folder import Run, Status
from rnnviz.runs.reports import EpochReport, PredictionReport, StepReport
from rnnviz.text.corpora import DATA
from rnnviz.text.quotation import quoted_from
from rnnviz.ui.frame import Frame
from rnnviz.ui.run_view import newest_curves
from tests.chapters.helpers import by_step, charts, groups, show_settings
from tests.helpers import IdleEngine, open_app

WAYS = ("forward", "backward")


def finished(engine: IdleEngine, home: Path, name: str = "example-en") -> str:
    """The id of a copy of a shipped run in the home folder, as an engine's."""
    run_id = secrets.token_hex(10)  # a page keeps what it found by id, also for the next test
    shutil.copytree(DATA / name, home / "runs" / run_id)
    engine.states[run_id] = Status("finished")
    return run_id


def test_a_slider_moves_gates_and_writing_through_the_checkpoints(engine: IdleEngine, tmp_path: Path) -> None:
    """Each checkpoint and signal has a frame, with the units in one order; the texts are those of the time."""
    run = Run.find(finished(engine, tmp_path))
    latest = run.recording()
    assert latest is not None
    begun = replace(latest, signals={name: values * np.float32(0.5) for name, values in latest.signals.items()})
    for step in (2, 400):
        run.save_recording(begun, step)
    app = open_app("train", run=run.id)
    (group,) = [group for group in groups(app) if group["charts"] and group["charts"][0]["name"] == "gates"]
    steps, signals = group["sliders"]
    assert steps["values"] == ["2", "400", str(max(report.step for report in run.reports()))]
    assert signals["values"] == ["R", "Z", "H_tilde", "H"]
    assert (signals["default"], signals["multiples"]) == (1, True)
    (gates,) = group["charts"]
    assert len(gates["frames"]) == 3 * 4
    assert [frame.get("data", {}).get("0", {}).get("y") for frame in gates["frames"][::4]] == [None] * 3  # one order
    texts = by_step(app, "step")
    assert texts[0] == "The first text appears after some epochs."
    assert texts[2].startswith("after epoch 60")
    newest = [report for report in run.reports() if isinstance(report, PredictionReport)][-1]
    places = [f"{q.source + 1:,}" for q in quoted_from(run.corpus.training, newest.text).quotations]
    assert places
    assert texts[2].replace("\\", "").endswith(f"of the training text: {', '.join(places)}.")
    assert not any("Point at it" in caption.value for caption in app.caption)
    assert len(by_step(app, "signal")) == 4
    caption = next(caption.value for caption in app.caption if "of the gates at the start" in caption.value)
    assert f"Zₜ {latest.signal('Z').mean() / 2:.2f} → {latest.signal('Z').mean():.2f}" in caption


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_says_what_the_mean_of_exponentials_would_be(language: str) -> None:
    """Of the example's last epoch, in both languages, as its reports have it."""
    reports = Run.open(DATA / f"example-{language}").reports()
    last = [report for report in reports if isinstance(report, EpochReport)][-1]
    losses = [report.loss for report in reports if isinstance(report, StepReport) and report.epoch == last.epoch]
    right, wrong = last.perplexity, float(np.exp(losses).mean())
    captions = [caption.value for caption in open_app("train", language).caption]
    (said,) = [caption for caption in captions if ("common mistake" if language == "en" else "若误取") in caption]
    numbers = [float(number) for number in re.findall(r"\d+\.\d+", said)]
    close = [np.allclose(pair, (right, wrong), rtol=1e-3) and pair[0] < pair[1] for pair in pairwise(numbers)]
    assert any(close), said


def test_while_a_run_moves_there_is_no_slider_over_checkpoints(engine: IdleEngine, tmp_path: Path) -> None:
    """All signals are sent nevertheless, so that the browser can enlarge any of them."""
    run_id = finished(engine, tmp_path)
    Run.find(run_id).save_recording(Run.find(run_id).recording(), 2)  # type: ignore[arg-type]
    engine.states[run_id] = Status("running")
    (group,) = [group for group in groups(open_app("train", run=run_id)) if len(group["sliders"])]
    assert [slider["key"] for slider in group["sliders"]] == ["signal"]
    assert len(group["charts"][0]["frames"]) == 4


def test_a_twin_is_the_same_run_with_clipping_off(engine: IdleEngine, tmp_path: Path) -> None:
    """It has the text of the first, and the address shows both; another training is shown alone again."""
    run_id = finished(engine, tmp_path)
    run, app = Run.find(run_id), open_app("train", run=run_id)
    app.button(key="twins").click().run()
    ((config, twin),) = engine.submitted
    assert config == run.config.with_settings({"clip": 0.0})
    assert Run.find(twin).corpus == run.corpus
    assert (app.query_params["run"], app.query_params["with"]) == (twin, run_id)
    assert app.button(key="train").disabled
    engine.states[twin] = Status("finished")
    app.run()
    app.selectbox(key="twin").set_value("hidden_size").run()
    assert app.button(key="twins").disabled  # until another number is chosen
    app.number_input(key="twin-hidden_size").set_value(16).run()
    assert not app.button(key="twins").disabled
    app.button(key="train").click().run()
    assert "with" not in app.query_params


@pytest.mark.parametrize(
    ("layers", "name", "missing"),
    [
        (1, "reset", {"Dropout between layers", "Residual between layers", "Activation (RNN)"}),
        (2, "residual", {"Forget-gate bias (LSTM)", "Activation (RNN)"}),
        (2, "dropout", set()),
        (1, "epochs", set()),
    ],
)
def test_a_twin_may_have_any_setting_that_makes_a_difference(
    engine: IdleEngine, tmp_path: Path, layers: int, name: str, missing: set[str]
) -> None:
    """Not one of another cell, or of what lies between layers where there is one layer; one setting is changed."""
    run = Run.find(finished(engine, tmp_path))
    config = run.config.with_settings({"num_layers": layers})
    (run.folder / "config.json").write_text(json.dumps({"format": 2, **config.to_json()}))
    app = open_app("train", run=run.id, twin=name)
    offered = app.selectbox(key="twin").options
    assert {"Reset gate (GRU)", "Batch size", "Weight decay λ (0: off)", "Implementation"} <= set(offered) - missing
    assert not missing & set(offered)
    if name in ("dropout", "epochs"):
        app.number_input(key=f"twin-{name}").increment().run()
    app.button(key="twins").click().run()
    before, after = config.settings(), engine.submitted[0][0].settings()
    assert {setting for setting in before if before[setting] != after[setting]} == {name}


def test_the_one_line_is_that_of_the_run_until_the_form_is_changed(engine: IdleEngine, tmp_path: Path) -> None:
    """A run under way keeps its line; who watches sees it too. A file's name is told without where it is."""
    folder = tmp_path / "runs" / finished(engine, tmp_path)
    shown = json.loads((folder / "config.json").read_text())
    settings = shown | {"corpus": "/srv/tales.txt", "model": shown["model"] | {"hidden_size": 48}}
    (folder / "config.json").write_text(json.dumps(settings))

    def line(app: AppTest) -> str:
        (told,) = [each.value for each in app.main.markdown if "units" in each.value and "Adam" in each.value]
        return str(told).replace("\\", "")

    ours, form = "GRU, 48 units, tales.txt, Adam 0.01, θ 0.3", "GRU, 17 units, Tales (English), Adam 0.01, θ 0.3"
    app = open_app("train", run=folder.name)
    assert line(app) == line(open_app("train", run=folder.name, view="watch")) == ours
    show_settings(app)
    app.number_input(key="hidden_size").set_value(17).run()
    assert line(app) == form
    engine.states[folder.name] = Status("running")
    app.run()
    assert line(app) == ours
    engine.states[folder.name] = Status("finished")
    app.run()
    app.button(key="train").click().run()
    assert line(app) == form


def test_two_runs_are_shown_over_each_other(engine: IdleEngine, tmp_path: Path) -> None:
    """Their curves in one chart, live as well, and the gates of both side by side."""
    one, other = finished(engine, tmp_path), finished(engine, tmp_path, "example-zh")
    app = open_app("train", **{"run": one, "with": other})
    shown = charts(app)
    assert list(shown) == ["perplexity", "gradient_norm", "gates", "gates_beside"]
    assert [note["text"] for note in shown["perplexity"]["layout"]["annotations"]] == ["first", "second"]
    assert len(shown["perplexity"]["data"]) == 4
    assert shown["gates_beside"]["layout"]["meta"]["characters"] != shown["gates"]["layout"]["meta"]["characters"]
    engine.states[other] = Status("running")
    frame = Frame("train", "en", translator("en"))
    told = json.loads(newest_curves(frame, one, 0, "", other) or b"")
    assert told["source"] == f"app/newest/{one}?lang=en&phase=moving&with={other}"
    assert newest_curves(frame, one, told["version"], "moving", other) is None
    assert newest_curves(frame, one, told["version"], "moving") is not None
    assert [chart["name"] for chart in told["charts"]] == ["perplexity", "gradient_norm"]


@pytest.mark.parametrize(
    ("layers", "ways", "named"),
    [(2, WAYS, ""), (1, WAYS, ", layer 1"), (2, WAYS[:1], ", forward"), (1, WAYS[:1], ", layer 1, forward")],
)
def test_the_gates_beside_are_of_the_chosen_layer_and_direction(
    engine: IdleEngine, tmp_path: Path, layers: int, ways: Sequence[str], named: str
) -> None:
    """Where the other run has no such layer or direction, the title says of which its gates are."""

    def recorded(layers: int, ways: Sequence[str]) -> str:
        run_id = finished(engine, tmp_path)
        config = tmp_path / "runs" / run_id / "config.json"
        settings = json.loads(config.read_text())
        settings["model"] |= {"num_layers": layers, "bidirectional": len(ways) == 2}
        config.write_text(json.dumps(settings))
        run = Run.find(run_id)
        trace = run.recording()
        assert trace is not None
        places = product(range(1, layers + 1), ways)
        signals = {f"layer{n}.{way}.H": trace.signal("H") / np.float32(n + len(way)) for n, way in places}
        run.save_recording(replace(trace, signals=signals))
        return run.id

    one, other = recorded(2, WAYS), recorded(layers, ways)
    shown = charts(open_app("train", **{"run": one, "with": other, "layer": "2", "direction": "backward"}))
    assert re.fullmatch(rf"Hₜ hidden state, [^,]+(, [^,]+ off)?{named}", shown["gates_beside"]["title"])
    assert (shown["gates_beside"]["data"] == shown["gates"]["data"]) == (not named)


@pytest.mark.parametrize(
    ("other", "reason"), [("0" * 20, "There is no run 0{20}"), ("../etc", "is not the id of a run")]
)
def test_a_run_that_cannot_be_shown_beside_is_reported(
    engine: IdleEngine, tmp_path: Path, other: str, reason: str
) -> None:
    """The page shows the first run alone, and says why."""
    app = open_app("train", **{"run": finished(engine, tmp_path), "with": other})
    (error,) = app.error
    said = error.value.replace("\\", "")
    assert re.search(f"^The run to compare with cannot be shown: .*{reason}", said)
    assert list(charts(app)) == ["perplexity", "gradient_norm", "gates"]
