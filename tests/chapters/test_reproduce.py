"""The Reproduce page without a browser: tables and verdicts, training all again, and what holds memorising back."""

from __future__ import annotations

import io
import math
import re
import zipfile
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from rnnviz import ui
from rnnviz.analysis.held_back import (
    SWITCHES,
    VARIANTS,
    Learned,
    held_back_config,
    held_back_corpus,
    shipped_held_back,
    switches_of,
)
from rnnviz.analysis.published import D2L, NOTES, TABLES
from rnnviz.analysis.reproduction import Machine, Outcome, Plan, Result
from rnnviz.analysis.shipped_reproduction import shipped
from rnnviz.chapters.reproduce.rows import table_of, verdict
from rnnviz.chapters.reproduce.tables import _in_words, _numbers, _zip
from rnnviz.config import TrainConfig
from rnnviz.engine.settings import step_work
from rnnviz.figures.report import report
from rnnviz.figures.reproduce import common_limits, experiment_figure, held_back_figure
from rnnviz.i18n import quantity, translator, why_it_cannot_continue, why_not_a_language_model
from rnnviz.runs.folder import Run, Status
from rnnviz.runs.reports import EpochReport, FailureReport
from rnnviz.text.corpora import corpus_of, split
from rnnviz.text.ngram import REFERENCE_ORDERS, references
from rnnviz.text.quotation import quoted_from
from rnnviz.ui.frame import Frame
from tests.chapters.helpers import charts
from tests.helpers import IdleEngine, open_app

pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
DIVERGED = (  # as `nn.training` says it
    "the training diverged: in step {step:,} (epoch {epoch:,}) {symbol} = {value}. "
    "The weights from the end of epoch {kept:,} are kept. "
    "Lower the learning rate (now {learning_rate:g}), "
    "or clip to a smaller norm (θ is {clip:g}; 0 is no clipping)"
)
SMALL = Plan(split("the quick brown fox jumps over the lazy dog. " * 60), epochs=160)


def table(app: AppTest) -> str:
    """The HTML of the table on the page."""
    (found,) = [element.proto.body for element in app.main.get("html") if "reproduction" in element.proto.body]
    return str(found)


def result(name: str, *ends: float) -> Result:
    """An experiment of the notes that reached these perplexities at epoch 160, one a seed."""
    outcomes = []
    for seed, end in enumerate(ends):
        values = np.linspace(end + 50, end, 160)
        reports = [EpochReport(n, n, float(v), 90.0, 1.0, 1.0, 0.01, 1e4, 0.5) for n, v in enumerate(values, 1)]
        outcomes.append(Outcome(seed, tuple(reports), {"the": "the fox"}))
    return Result(replace(SMALL, seeds=tuple(range(len(ends)))), NOTES.experiments[name], tuple(outcomes))


@pytest.mark.parametrize(("language", "tab"), [("en", "notes"), ("zh", "notes"), ("zh", "d2l")])
def test_each_table_opens_on_what_ships(engine: IdleEngine, language: str, tab: str) -> None:
    """Every experiment with what was published and what was reached, its curves, and on what machine."""
    app = open_app("reproduce", language, tab=tab)
    assert not app.error
    shown, ours = table(app), shipped(tab)
    assert shown.count("<tbody>") == len(TABLES[tab].experiments)
    assert ("1.453" if tab == "notes" else "1.4") in shown
    assert list(charts(app)) == list(TABLES[tab].experiments)
    assert any(ours.machine.torch in caption.value.replace("\\", "") for caption in app.caption)
    assert not app.button(key=f"run-{tab}").disabled
    assert engine.submitted == []


def test_all_six_are_trained_two_at_a_time(engine: IdleEngine) -> None:
    """The longest first; each row opens its run; the next starts when one ends; all can be paused and go on."""
    app = open_app("reproduce")
    app.button(key="run-notes").click().run()
    assert not app.exception
    plan = Plan(corpus_of(TrainConfig()), seeds=(3,))
    names = {plan.config(experiment, 3): name for name, experiment in NOTES.experiments.items()}
    assert len(engine.submitted) == 2
    assert app.query_params["notes"] in (ids := ".".join(run for _config, run in engine.submitted), [ids])
    assert table(app).count("waits for its turn") == 4
    assert [f"train?run={run}" in table(app) for _config, run in engine.submitted] == [True, True]
    engine.states[engine.submitted[0][1]] = Status("finished")
    app.run()
    assert len(engine.submitted) == 3
    app.button(key="pause-notes").click().run()
    assert [engine.states[run].state for _config, run in engine.submitted] == ["finished", "paused", "paused"]
    assert "not begun" in table(app)
    app.run()
    assert len(engine.submitted) == 3
    app.button(key="resume-notes").click().run()
    assert [engine.states[run].state for _config, run in engine.submitted] == ["finished", "running", "running"]
    for _config, run in list(engine.submitted):
        engine.states[run] = Status("finished")
    app.run()
    assert len(engine.submitted) == 5
    for _config, run in list(engine.submitted):
        engine.states[run] = Status("finished")
    app.run()
    assert sorted(names[config] for config, _run in engine.submitted) == sorted(NOTES.experiments)
    costs = [step_work(config, len(plan.corpus.vocabulary)) for config, _run in engine.submitted]
    assert costs == sorted(costs, reverse=True)
    engine.states[engine.submitted[-1][1]] = Status("finished")
    app.run()
    app.button(key="forget-notes").click().run()
    assert "notes" not in app.query_params
    assert "train?run=" not in table(app)


def test_the_series_waits_while_other_runs_take_up_what_is_allowed(engine: IdleEngine) -> None:
    """Those of the visitor on other pages, or of everybody; it goes on when they have ended."""
    app = open_app("reproduce")
    app.button(key="run-notes").click().run()
    assert len(engine.submitted) == 2
    engine.full = True
    engine.states[engine.submitted[0][1]] = Status("finished")
    app.run()
    assert len(engine.submitted) == 2
    assert not app.error
    assert table(app).count("waits for its turn") == 4
    engine.full = False
    app.run()
    assert len(engine.submitted) == 3


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [("RNNVIZ_MAX_EPOCHS", "100", "160"), ("RNNVIZ_MAX_RUN_SECONDS", "1", "this server allows a run 1")],
)
def test_what_the_server_does_not_allow_is_said_before_the_button_is_pressed(
    engine: IdleEngine, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, reason: str
) -> None:
    """The button is disabled."""
    monkeypatch.setenv(variable, value)
    ui.settings.cache_clear()
    try:
        app = open_app("reproduce")
        assert reason in app.error[0].value.replace("\\", "")
        assert app.button(key="run-notes").disabled
    finally:
        ui.settings.cache_clear()


def test_runs_of_something_else_are_refused(engine: IdleEngine) -> None:
    """The page says so and shows what ships."""
    config = TrainConfig(corpus="sums")
    run = Run.create(config, corpus_of(config))
    app = open_app("reproduce", notes=run.id)
    assert "are not the runs of one reproduction" in app.error[0].value.replace("\\", "")
    assert "train?run=" not in table(app)


def test_a_verdict_says_inside_or_outside_and_by_how_much() -> None:
    """Of several seeds, of one, and of a visitor's run beside those that ship."""
    several = result("gru-scratch", 1.4, 1.6, 1.5)
    assert verdict(str, several, several) == "Theirs is inside the range of our seeds."
    above = result("gru-scratch", 2.9, 3.0, 3.1)
    assert verdict(str, above, None) == "Outside: theirs is below all our seeds, and 51.6% below their median."
    below = result("gru-scratch", 1.2, 1.2, 1.3)
    assert verdict(str, below, below) == "Outside: theirs is above all our seeds, and 21.1% above their median."
    mine = result("gru-scratch", 1.55)
    assert verdict(str, mine, several) == "Inside our seeds, 1.400 to 1.600. Theirs is 6.3% below ours."
    assert verdict(str, result("gru-scratch", 1.7), several).startswith("Outside our seeds, 1.400 to 1.600.")
    near = verdict(str, result("gru-bidirectional", 1.00009, 1.0001), None)
    assert near == "Outside: theirs is above all our seeds, and less than 0.1% above their median."
    assert verdict(str, result("gru-scratch"), several) == ""


@pytest.mark.parametrize(
    ("mine", "said"),
    [
        (1.55, "Our one seed reached 1.500; yours is 3.3% above it. Theirs is 6.3% below ours."),
        (1.47, "Our one seed reached 1.500; yours is 2.0% below it. Theirs is 1.2% below ours."),
        (1.5, "Our one seed reached the same, 1.500. Theirs is 3.1% below ours."),
    ],
)
def test_one_shipped_seed_is_no_range(mine: float, said: str) -> None:
    """A visitor's run is compared with its value."""
    assert verdict(str, result("gru-scratch", mine), result("gru-scratch", 1.5)) == said


def test_a_training_that_diverged_says_so_in_its_row() -> None:
    """Of which seed it was and why; the verdict says it where no seed got to the end."""
    several = result("gru-scratch", 1.4, 1.5)
    good, bad = several.outcomes
    values = {"epoch": 70, "step": 700, "symbol": "L", "value": "<nan>", "kept": 69, "learning_rate": 1.0, "clip": 0.0}
    broken = replace(bad, epochs=bad.epochs[:70], failure=FailureReport(70, 70, DIVERGED, values))
    for language, said in (
        ("en", "<small>seed 1: The training diverged: in step 700 (epoch 70) L = &lt;nan&gt;. The weights"),
        ("zh", "<small>种子 1：训练发散：第 700 步（第 70 周期）L = &lt;nan&gt;。保留了"),
    ):
        frame = Frame("reproduce", language, translator(language))
        assert said in table_of(frame, [replace(several, outcomes=(good, broken))], [several], None)
    alone = replace(several, plan=replace(several.plan, seeds=(1,)), outcomes=(broken,))
    assert verdict(str, alone, alone) == "The training diverged."


def test_what_each_model_wrote_stands_below_the_curves_with_its_quotations_marked(engine: IdleEngine) -> None:
    """Of every experiment in a closed part, for both prefixes and every seed."""
    app, ours = open_app("reproduce"), shipped("notes")
    parts = {part.label: part for part in app.expander}
    assert any(result.outcomes for result in ours.results)
    for result in ours.results:
        part = parts[result.experiment.label]
        assert not part.proto.expanded
        shown = [element.value.replace("\\", "") for element in part.markdown]
        texts = [(o.seed, text) for o in result.outcomes for text in o.texts.values()]
        assert len(texts) == 2 * len(result.outcomes)
        for (seed, text), said in zip(texts, shown, strict=True):
            heading, written, *_rest = said.split("  \n")
            assert heading == f"seed {seed}"
            assert re.sub(r":orange-background\[(.*?)\]", r"\1", written) == text
            assert (":orange-background[" in written) == bool(quoted_from(ours.plan.corpus.training, text).quotations)
    assert any("Marked is what stands word for word" in caption.value for caption in app.caption)


@pytest.mark.parametrize("name", ["d2l-lstm", "d2l-lstm-bidirectional"])
def test_a_bidirectional_models_texts_say_why_it_cannot_continue(name: str) -> None:
    """Before it has written anything, its part says when that will be."""
    app = AppTest.from_function(_texts_of, args=(name,)).run()
    captions = [caption.value for caption in app.caption]
    assert (why_it_cannot_continue(str) in captions) == name.endswith("bidirectional")
    assert "The first text appears after some epochs." in captions


def _texts_of(name: str) -> None:
    from types import SimpleNamespace

    from rnnviz.analysis.published import D2L
    from rnnviz.analysis.reproduction import Plan, Result
    from rnnviz.chapters.reproduce.texts import show_texts
    from rnnviz.text.corpora import split

    plan = Plan(split("the quick brown fox jumps over the lazy dog. " * 60), table=D2L)
    show_texts(SimpleNamespace(translate=str), [Result(plan, D2L.experiments[name], ())])  # type: ignore[arg-type]


def test_the_report_can_be_downloaded_with_its_curves() -> None:
    """It is the one that the command writes."""
    shown, machine = result("gru", 1.4, 1.6), Machine("2", "3", "Linux on a toaster", 1)
    compared = references(shown.plan.corpus)
    with zipfile.ZipFile(io.BytesIO(_zip(shown.plan, [shown], compared, machine))) as archive:
        assert archive.namelist() == ["gru.svg", "report.md"]
        assert archive.read("report.md").decode() == report(shown.plan, [shown], compared, machine)


def test_curves_share_an_axis_and_their_labels_do_not_meet() -> None:
    """Every seed's, the published dots, and reference lines; an experiment that was not run has its dots alone."""
    results = [result("gru-scratch", 1.4, 1.6), result("lstm")]
    limits = common_limits(results, {"uniform": 28.0})
    figures = [experiment_figure(each, {"uniform": 28.0}, limits) for each in results]
    names = [[line["name"] for line in figure["data"]] for figure in figures]
    assert names[0].count("training") == names[0].count("held-out") == 2
    assert names[1] == ["uniform", "published"]
    assert figures[0]["layout"]["yaxis"]["range"] == figures[1]["layout"]["yaxis"]["range"]
    beside = [label for label in figures[0]["layout"]["annotations"] if label.get("xref") == "paper"]
    assert len(beside) == 4
    places = sorted(label["y"] for label in beside)
    assert min(np.diff(places)) > 0.09
    assert not math.isnan(places[-1])


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("name", ["d2l-lstm", "d2l-lstm-bidirectional"])
def test_the_perplexity_of_a_model_that_reads_ahead_is_never_shown_bare(language: str, name: str) -> None:
    """Its three rows, its description, its curves and their table say so; another model's do not."""
    _, ahead = translator(language), D2L.experiments[name].sees_the_future
    assert ahead == name.endswith("bidirectional")
    reached = result("gru", 1.5)
    shown = replace(reached, plan=replace(reached.plan, table=D2L), experiment=D2L.experiments[name])
    frame: Any = SimpleNamespace(translate=_)
    rows = table_of(frame, [shown], [shown], None)
    marked = [_("{name}, future read").format(name=_(name)) for name in ("book", "here")] + [_("held-out, future read")]
    assert [f'<th scope="row">{label}</th>' in rows for label in marked] == [ahead] * 3
    assert (why_not_a_language_model(_) in _in_words(frame, shown)) == ahead
    drawn = {line["name"] for line in experiment_figure(shown, {}, common_limits([shown], {}), _)["data"]}
    columns = " ".join(_numbers(frame, shown))
    for label in (_("training, future read"), _("held-out, future read")):
        assert (label in drawn) == (label in columns) == ahead


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_curve_has_the_lines_of_guessing_and_counting(engine: IdleEngine, language: str) -> None:
    """Uniform, unigram and the n-grams of orders 2 to 5, each with its label beside the axis, apart from others."""
    _ = translator(language)
    compared = references(shipped("notes").plan.corpus)
    counted = {_("unigram"): compared.unigram}
    counted |= {_("{n}-gram").format(n=order): compared.ngrams[order] for order in REFERENCE_ORDERS}
    names, values = [_("uniform"), *counted], [compared.uniform, *counted.values()]
    for chart in charts(open_app("reproduce", language)).values():
        drawn = {line["name"]: line["y"] for line in chart["data"]}
        assert [drawn[name] for name in names] == [[value, value] for value in values]
        beside = [label for label in chart["layout"]["annotations"] if label.get("xref") == "paper"]
        texts = [f"{_('uniform')} {compared.uniform:,}", *(f"{n} {quantity(v)}" for n, v in counted.items())]
        at = {label["text"]: label["y"] for label in beside if label["text"] in texts}
        assert set(at) == set(texts)
        low, high = chart["layout"]["yaxis"]["range"]
        assert np.mean(list(at.values())) == pytest.approx((np.mean(np.log10(values)) - low) / (high - low), abs=0.25)
        by_value = [at[text] for _value, text in sorted(zip(values, texts, strict=True))]
        assert by_value == sorted(by_value)
        places = sorted(label["y"] for label in beside)
        assert min(np.diff(places)) > 0.09
        assert 0 <= places[0] <= places[-1] <= 1
        assert max(len(label["text"]) for label in beside) * 5 < chart["layout"]["margin"]["r"]


def test_the_best_held_out_epoch_is_marked_on_the_curve() -> None:
    """That of every seed by a dot, and the best of all in words, here and in the description."""
    reached = result("gru-scratch", 1.4, 1.6)
    outcomes = []
    for outcome, (best, value) in zip(reached.outcomes, ((7, 20.0), (90, 19.5)), strict=True):
        epochs = list(outcome.epochs)
        epochs[best - 1] = replace(epochs[best - 1], held_out_perplexity=value)
        epochs[best + 1] = replace(epochs[best + 1], held_out_perplexity=math.inf)
        outcomes.append(replace(outcome, epochs=tuple(epochs)))
    shown = replace(reached, outcomes=tuple(outcomes))
    figure = experiment_figure(shown, {}, common_limits([shown], {}))
    dots = [(line["x"], line["y"]) for line in figure["data"] if line["name"] == "lowest held-out"]
    assert dots == [([7], [20.0]), ([90], [19.5])]
    (line,) = figure["layout"]["shapes"]
    assert (line["x0"], line["y1"]) == (90, 19.5)
    assert "best in epoch 90" in [label["text"] for label in figure["layout"]["annotations"]]
    frame: Any = SimpleNamespace(translate=str)
    assert "Best held-out: 19.5 in epoch 90." in _in_words(frame, shown)


# What holds it back


def test_every_switch_is_held_out_on_the_same_text() -> None:
    """However much they learn from; one switch changes nothing else, and more text takes as many steps."""
    plain = held_back_config(())
    texts = {name: held_back_corpus(held_back_config((name,))) for name in SWITCHES}
    base = held_back_corpus(plain)
    assert len(base.training) == plain.max_chars
    assert len(base.held_out) == plain.held_out_chars
    for name, text in texts.items():
        assert text.held_out == base.held_out
        assert text.training.endswith(base.training)
        changed = {k for k, v in held_back_config((name,)).settings().items() if v != plain.settings()[k]}
        assert changed == set(SWITCHES[name])
    assert len(texts["more"].training) == 4 * len(base.training)
    assert switches_of(held_back_config(("dropout", "more"))) == ("dropout", "more")
    assert switches_of(TrainConfig()) is None


def test_early_stopping_fades_what_comes_after_the_best_epoch() -> None:
    """The dot stands at the lowest held-out perplexity; nothing of a curve is lost."""
    curves = {"+".join(switches): curve for switches, curve in shipped_held_back().items()}
    assert len(curves) == len(VARIANTS)
    whole = held_back_figure(curves, None, {})["data"]
    faded = held_back_figure(curves, None, {}, early=True)["data"]
    assert not [line for line in whole if "opacity" in line]
    for name, curve in curves.items():
        (dot,) = [line for line in faded if line["name"] == name and line["mode"] == "markers"]
        assert dot["y"] == [curve.held_out.min()]
        kept, rest = (
            [line for line in faded if line["name"] == name and line["xaxis"] == "x2" and ("opacity" in line) == gone]
            for gone in (False, True)
        )
        assert kept[0]["x"][-1] == dot["x"][0]
        assert len(kept[0]["x"]) + sum(len(line["x"]) - 1 for line in rest) == len(curve.step)


def test_what_is_infinite_is_left_out() -> None:
    """A held-out perplexity may be, in the last epoch too; the axis, the labels and the dot stand where they can."""
    learned = Learned(np.arange(3), np.array([9.0, np.inf, 5.0]), np.array([8.0, 7.0, np.inf]))
    nothing = Learned(np.arange(3), np.array([9.0, 8.0, 5.0]), np.full(3, np.inf))
    curves = {str(n): learned for n in range(len(VARIANTS) - 1)} | {"none": nothing}
    figure = held_back_figure(curves, None, {"2-gram": math.inf}, early=True)
    drawn = np.concatenate([np.asarray(line["y"], float) for line in figure["data"]])
    assert np.isfinite(drawn).all()
    assert np.isfinite([note["y"] for note in figure["layout"]["annotations"]]).all()
    assert np.isfinite(figure["layout"]["yaxis"]["range"]).all()
    dots = {line["name"]: line["y"] for line in figure["data"] if line["mode"] == "markers"}
    assert dots == {str(n): [7.0] for n in range(len(VARIANTS) - 1)}


def test_the_switches_are_those_of_one_live_training(engine: IdleEngine) -> None:
    """The address has them; the button trains what they say, and its curve is drawn over the others."""
    app = open_app("reproduce", "zh", tab="held_back")
    before = len(charts(app)["held_back"]["data"])
    app.toggle(key="with-dropout").set_value(True).run()
    app.toggle(key="with-more").set_value(True).run()
    app.button(key="train").click().run()
    ((config, run_id),) = engine.submitted
    assert config == held_back_config(("dropout", "more"))
    run = Run.find(run_id)
    assert run.corpus == held_back_corpus(config)
    run.append([EpochReport(n, n, 9.0 - n, 10.0, 1.0, 1.0, 1.0, 1e4, 0.1) for n in (1, 2)])
    engine.states[run_id] = Status("finished")
    app.run()
    chart = charts(app)["held_back"]
    assert len(chart["data"]) == before + 3
    assert [line["name"] for line in chart["data"][:6]] == ["均匀猜测", "一元", *(f"{n} 元" for n in (2, 3, 4, 5))]
    assert re.search("你的：.*暂退 50%", chart["description"])
    assert D2L.name not in app.query_params
