"""The Deep page without a browser: each tab opens on real numbers, layers are chosen, and its models train."""

from __future__ import annotations

import json
from dataclasses import replace
from pkgutil import resolve_name
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from rnnviz.analysis.deep import BETWEEN, DEPTHS, cost_sizes, deep_config, shipped_costs
from rnnviz.analysis.reading import Reading
from rnnviz.analysis.side_by_side import STARTS, shipped_curves, start_config
from rnnviz.chapters.deep.start import notes_curves
from rnnviz.config import ModelConfig, TrainConfig
from rnnviz.engine.batches import Batch
from rnnviz.errors import InputError
from rnnviz.i18n import LANGUAGES, quantity, translator
from rnnviz.nn.execution import Execution, load_model
from rnnviz.nn.training import evaluate, perplexity
from rnnviz.runs.folder import Run, Status
from rnnviz.runs.reports import EpochReport
from rnnviz.text.corpora import DATA, corpus_of
from rnnviz.text.quotation import quoted_from
from tests.chapters.helpers import charts, unpack
from tests.helpers import IdleEngine, make_reading, open_app

pytestmark = [
    pytest.mark.usefixtures("engine"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


_REFERENCES = ("uniform", "unigram", "2-gram", "3-gram", "4-gram", "5-gram")


def cell_of(app: AppTest) -> dict[str, Any]:
    """What the browser is given of the cell and the stack above it."""
    (view,) = [e.proto for e in app.main.get("bidi_component") if e.proto.component_name == "rnnviz_cell_view"]
    packed: dict[str, Any] = json.loads(view.bytes)
    return packed


@pytest.mark.parametrize("tab", ["training", "reach", "start", "dropout", "cost"])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_question_opens_in_each_language_on_real_numbers(tab: str, language: str) -> None:
    """Nothing has to be pressed and no worker is asked: what ships is read at once, and said in words."""
    app = open_app("deep", language, tab=tab)
    assert not app.error
    chart = charts(app)[tab]
    assert chart["data"]
    assert any(character.isdigit() for character in chart["description"])


@pytest.mark.parametrize(("language", "layer"), [("en", "1"), ("en", "3"), ("zh", "2")])
def test_the_address_names_the_layer_whose_cell_is_shown(language: str, layer: str) -> None:
    """The states of all layers stand below it; without a layer, or with one that the model lacks, all cells are.

    No chart is on the page, so its head need not name plotly.js.
    """
    packed = cell_of(open_app("deep", language, layer=layer))
    assert (packed["stack"]["layer"], packed["stack"]["whole"]) == (int(layer), False)
    assert len(packed["stack"]["rows"]) == 3
    assert packed["cell"]["name"] == "lstm"
    assert len(packed["kept"]["steps"]) == len(Run.open(DATA / f"deep-{language}").checkpoint_steps())
    for query in ({}, {"layer": "7"}):
        app = open_app("deep", language, **query)
        stack = cell_of(app)["stack"]
        assert stack["whole"]
        assert not charts(app)
        assert all("F" in row["signals"] for row in stack["rows"])


def test_the_model_writes_with_what_is_held_in_a_layer(engine: IdleEngine) -> None:
    """Below the enlarged cell, twice, with what differs; in the whole stack nothing is held; nonsense is refused."""

    def compute(function: str, *, visitor: str = "", **arguments: Any) -> Any:
        return resolve_name(function)(**arguments)

    engine.compute = compute  # type: ignore[attr-defined]
    app = open_app("deep", layer="2", holds="F=0")
    assert cell_of(app)["held"] == {"F": {"value": 0, "unit": None, "first": 1, "last": None}}
    before, after = [
        json.loads(e.proto.bytes) for e in app.main.get("bidi_component") if "painted" in e.proto.component_name
    ]
    assert before["characters"] != after["characters"]
    assert before["marks"] == [a != b for a, b in zip(before["characters"], after["characters"], strict=True)]
    assert "→" in app.metric[0].value
    whole = open_app("deep", holds="F=0")
    assert "held" not in cell_of(whole)
    assert not whole.metric
    refused = open_app("deep", layer="1", holds="Z=0")
    assert "I, F, O" in refused.error[0].value
    assert cell_of(refused)["held"] == {}


def test_the_form_offers_one_to_four_layers_in_their_order() -> None:
    """It opens on as many as the models have that ship."""
    control = open_app("deep").segmented_control(key="variant")
    assert (control.options, control.value) == (["1", "2", "3", "4"], "3")


@pytest.mark.parametrize("layers", DEPTHS)
def test_networks_of_one_to_four_layers_can_be_trained(engine: IdleEngine, layers: str) -> None:
    """The button submits the one that is chosen; while it trains, its study is what the page waits for."""
    app = open_app("deep", tab="reach", variant=layers, corpus="sums")
    app.button(key="train").click().run()
    ((config, run_id),) = engine.submitted
    assert config == deep_config(layers).with_settings({"corpus": "sums"})
    assert config.model.num_layers == int(layers)
    assert app.query_params["run"] in (run_id, [run_id])
    assert not app.exception
    assert any("first step" in caption.value for caption in app.caption)


def test_a_run_that_the_page_cannot_draw_is_refused_in_words(engine: IdleEngine) -> None:
    """A bidirectional one, for instance, or one of more layers."""
    for model in (ModelConfig(cell="lstm", num_layers=2, bidirectional=True), ModelConfig(cell="lstm", num_layers=5)):
        config = TrainConfig(model, corpus="sums")
        run = Run.create(config, corpus_of(config))
        engine.states[run.id] = Status("finished")
        app = open_app("deep", tab="reach", run=run.id, model="own")
        assert "allowed here: one to 4 LSTM layers of one direction" in app.error[0].value.replace("\\", "")
    app = open_app("deep", "zh", tab="reach", run=run.id, model="own")
    assert "1 到 4 层" in app.error[0].value


@pytest.mark.parametrize(("page", "tab"), [("deep", "stack"), ("deep", "reach"), ("lstm", "cell"), ("lstm", "find")])
def test_a_run_that_restores_masked_characters_is_refused(engine: IdleEngine, page: str, tab: str) -> None:
    """These pages study the prediction of the next character."""
    run = restoring_run()
    engine.states[run.id] = Status("finished")
    app = open_app(page, tab=tab, run=run.id, model="own")
    assert "runs that predict the next character" in app.error[0].value


@pytest.mark.parametrize(
    "function",
    ["nn.deep:study", "nn.gradients:study", "nn.carrying:reset_perplexities", "nn.carrying:graph_growth"],
)
def test_no_worker_studies_it_as_if_it_predicted(function: str) -> None:
    """Nor on the page of the gradients or of the RNN."""
    with pytest.raises(InputError, match="the run restores masked characters"):
        resolve_name(f"rnnviz.{function}")(str(restoring_run().folder))


def restoring_run() -> Run:
    """A small LSTM with a checkpoint."""
    config = deep_config("1").with_settings({"corpus": "sums", "task": "restore", "max_chars": 1000})
    run = Run.create(config, corpus_of(config))
    Execution.resume(run)
    return run


def test_the_depths_are_trained_side_by_side(engine: IdleEngine) -> None:
    """One press submits four that differ in their layers; their curves replace those that ship."""
    app = open_app("deep", tab="start", corpus="sums")
    app.button(key="train-start").click().run()
    assert [config for config, _ in engine.submitted] == [start_config(name, "sums") for name in STARTS]
    for _config, run_id in engine.submitted:
        reports = [EpochReport(s, s, 30 / s, 40 / s, 1.0, 1.0, 1.0, 1000.0, 1.0) for s in (1, 2, 4)]
        Run.find(run_id).append(reports)
        engine.states[run_id] = Status("stopped")
    app.run()
    assert not app.error
    chart = charts(app)["start"]
    plateau, *lines = chart["data"][len(_REFERENCES) :]
    names = ["1 layer", "2 layers", "3 layers", "3 layers, residual"]
    assert [line["name"] for line in lines] == [*names, *(f"{name}, held-out" for name in names), "held-out"]
    assert "frequencies alone" in plateau["name"]
    assert unpack(lines[4]["y"]).tolist() == [40, 20, 10]
    assert chart["description"].count("at the last step training 7.50, held-out 10.0.") == 4


@pytest.mark.parametrize("language", LANGUAGES)
def test_held_out_perplexities_stand_beside_those_of_training(engine: IdleEngine, language: str) -> None:
    """In both pictures as dotted lines, in their words and in their tables."""
    app, _ = open_app("deep", language, tab="start"), translator(language)
    for key, curves in (("start", shipped_curves(f"start-{language}")), ("start-notes", notes_curves())):
        chart, held_out = charts(app)[key], [curve.held_out for curve in curves.values()]
        dotted = [line for line in chart["data"] if line["name"].endswith(_(", ") + _("held-out"))]
        assert [unpack(line["y"]).max() for line in dotted] == [values.max() for values in held_out]
        assert all(line["line"]["dash"] == "dot" for line in dotted)
        assert [line["name"] for line in chart["data"]].count(_("held-out")) == 1  # in the legend
        assert all(quantity(values[-1]) in chart["description"] for values in held_out)
        assert [line["name"] for line in chart["data"]][: len(_REFERENCES)] == [
            _("uniform"),
            _("unigram"),
            *(_("{n}-gram").format(n=n) for n in (2, 3, 4, 5)),
        ]
        table = dict(chart["table"])
        columns = [unpack(table[line["name"]]).tolist() for line in dotted]
        assert columns == [values.tolist() for values in held_out]


@pytest.mark.parametrize(("between", "settings"), BETWEEN.items())
def test_what_stands_between_the_layers_is_a_switch(engine: IdleEngine, between: str, settings: dict[str, Any]) -> None:
    """Residual connections, dropout, both or nothing: what is trained has it, and the address names it."""
    app = open_app("deep", variant="2", corpus="sums", between=between)
    app.button(key="train").click().run()
    ((config, _run_id),) = engine.submitted
    assert config == deep_config("2").with_settings({"corpus": "sums", **settings})


def test_a_draw_drops_about_its_share_and_predicting_drops_nothing() -> None:
    """A frame for each draw; the values that are left are those of the prediction, scaled up."""
    app = open_app("deep", tab="dropout", share="0.2")
    chart = charts(app)["dropout"]
    assert len(chart["frames"]) == 8
    training, prediction = (unpack(trace["z"]) for trace in chart["data"][:2])
    blank = np.isnan(training)
    assert blank.mean() == pytest.approx(0.2, abs=0.03)
    np.testing.assert_allclose(training[~blank], prediction[~blank] / 0.8, rtol=1e-4)
    assert not np.isnan(prediction).any()
    run = Run.open(DATA / "deep-en")
    held_out = run.corpus.held_out[: training.shape[1]]
    model = load_model(run)
    loss = evaluate(model, run.corpus.vocabulary.encode(held_out))
    assert f"training step, {quantity(perplexity(loss.nats, loss.characters))} when predicting." in chart["caption"]
    share = quoted_from(run.corpus.training, run.config.probe).share
    assert f"{share:.0%} of this text occurs verbatim in the training text." in chart["caption"]


def test_one_layer_has_nothing_to_drop(engine: IdleEngine) -> None:
    """The page says so in place of a picture."""
    run = Run.create(deep_config("1"), corpus_of(deep_config("1")))
    engine.states[run.id] = Status("finished")
    engine.compute = lambda *_args, **_options: every_layer_of_one()  # type: ignore[attr-defined]
    app = open_app("deep", tab="dropout", run=run.id, model="own")
    assert [info.value for info in app.info] == ["A network of one layer has nothing between its layers to drop."]
    assert "dropout" not in charts(app)


def every_layer_of_one() -> tuple[Reading, ...]:
    return (make_reading("lstm"),)


def test_the_cost_is_measured_where_the_page_is(engine: IdleEngine) -> None:
    """It grows as measurements come, and says on which machine; an error of the batch is shown."""
    shipped = shipped_costs()
    batch = Batch(
        "rnnviz.nn.bench:cost", cost_sizes(), results=[replace(c, machine="a slide rule") for c in shipped[:5]]
    )
    engine.batch = lambda *_arguments, **_options: batch  # type: ignore[attr-defined]
    app = open_app("deep", tab="cost")
    assert shipped[0].machine in charts(app)["cost"]["caption"]
    app.button(key="measure").click().run()
    assert app.query_params["measured"] in ("here", ["here"])
    chart = charts(app)["cost"]
    assert "a slide rule" in chart["caption"]
    assert [len(trace["x"]) for trace in chart["data"]] == [4, 4, 1, 1, 0, 0]
    batch.results[:] = shipped
    batch.error = InputError("no worker answered within {seconds:g} seconds", seconds=60)
    app.run()
    assert "No worker answered" in app.error[0].value
    assert [len(trace["x"]) for trace in charts(app)["cost"]["data"]] == [4] * 6


def test_a_run_of_the_visitors_own_is_studied_and_read(engine: IdleEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every picture is of it, and of its own layers; what needs torch is asked for by name."""
    config = deep_config("2").with_settings({"corpus": "sums", "epochs": 1, "residual": True})
    run = Run.create(config, corpus_of(config))
    execution = Execution.resume(run)
    execution.advance(execution.trainer.total_steps)
    engine.states[run.id] = Status("finished")
    asked = []

    def compute(function: str, run: Run, visitor: str = "", **arguments: Any) -> Any:
        asked.append(function)
        return resolve_name(function)(folder=str(run.folder), **arguments)

    monkeypatch.setattr(engine, "compute", compute, raising=False)
    address = {"run": run.id, "model": "own"}
    packed = cell_of(open_app("deep", layer="2", **address))
    assert (len(packed["stack"]["rows"]), packed["stack"]["residual"]) == (2, True)
    assert packed["kept"]["steps"] == run.checkpoint_steps()[:-1]
    titles = charts(open_app("deep", tab="training", **address))["training"]["layout"]["annotations"]
    assert [title["text"] for title in titles] == ["<b>layer 1</b>", "<b>layer 2</b>"]
    reach = charts(open_app("deep", tab="reach", **address))["reach"]
    assert len(reach["frames"]) == len(run.checkpoint_steps())
    assert len(charts(open_app("deep", tab="dropout", **address))["dropout"]["frames"]) == 8
    assert set(asked) == {"rnnviz.nn.execution:read_layers", "rnnviz.nn.deep:study"}
