"""The pages of the GRU and the LSTM without a browser: each tab opens on real numbers, and its switches work."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
from streamlit.testing.v1 import AppTest

from rnnviz.analysis.holding import hold, largest_change, perplexity_of, true_probabilities
from rnnviz.analysis.side_by_side import (
    IMPLEMENTATIONS,
    implementation_config,
    recall_config,
    recall_cost,
    shipped_curves,
)
from rnnviz.analysis.surgery import Hold
from rnnviz.i18n import LANGUAGES, quantity, translator
from rnnviz.nn.execution import load_model
from rnnviz.nn.surgery import operate
from rnnviz.runs.folder import Run, Status
from rnnviz.runs.reports import EpochReport
from rnnviz.text.corpora import DATA, corpus_of
from rnnviz.text.quotation import quoted_from
from tests.chapters.helpers import charts, shipped_reading, unpack
from tests.helpers import IdleEngine, open_app, read_quantity

pytestmark = [
    pytest.mark.usefixtures("engine"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
TABS = {
    ("gru", "limits"): "limits",
    ("gru", "reset"): "reset",
    ("lstm", "limits"): "limits",
    ("lstm", "forget"): "retention",
    ("lstm", "memory"): "memory",
    ("gru", "implementations"): "implementations",
    ("lstm", "implementations"): "implementations",
}

LABELS = {*IMPLEMENTATIONS, "b_f = 0", "b_f = 1", "b_f = 3"}


def epoch_report(step: int, perplexity: float) -> EpochReport:
    return EpochReport(step, step, perplexity, 2 * perplexity, 1.0, 1.0, 1.0, 1000.0, 1.0)


def measured(app: AppTest) -> list[str]:
    """The numbers above the picture, which are 0 or have three digits."""
    lines = [re.search(r": (?::green-background\[)?\*\*(.*?)\*\*", m.value) for m in app.markdown]
    return [line.group(1) for line in lines if line]


@pytest.mark.parametrize(("page", "tab"), TABS)
@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_question_opens_in_each_language_on_real_numbers(page: str, tab: str, language: str) -> None:
    """No click and no worker is needed: what ships is read at once, and described in words."""
    app = open_app(page, language, tab=tab)
    assert not app.error
    chart = charts(app)[TABS[page, tab]]
    assert chart["data"]
    assert any(character.isdigit() for character in chart["description"])
    assert app.query_params["tab"] == tab or app.query_params["tab"] == [tab]


@pytest.mark.parametrize(
    ("page", "held", "zero"),
    [
        ("gru", {"R": "learned", "Z": "1"}, [0, 2]),
        ("gru", {"R": "1", "Z": "0"}, [1]),
        ("gru", {"R": "0", "Z": "learned"}, [2]),
        ("gru", {"R": "learned", "Z": "learned"}, []),
        ("lstm", {"I": "0", "F": "1", "O": "learned"}, [0]),
        ("lstm", {"I": "1", "F": "0", "O": "learned"}, [1]),
        ("lstm", {"I": "learned", "F": "learned", "O": "1"}, [2]),
        ("lstm", {"I": "learned", "F": "learned", "O": "0"}, [3]),
    ],
)
def test_switches_make_exactly_their_numbers_0(page: str, held: dict[str, str], zero: list[int]) -> None:
    """Checked on the model that ships."""
    app = open_app(page, tab="limits", **{f"hold-{gate}": value for gate, value in held.items()})
    assert [i for i, value in enumerate(measured(app)) if value == "0"] == zero


def test_a_switch_shows_its_cost() -> None:
    """The number and the perplexities are those of the operated network; the address names the switch."""
    app = open_app("gru", tab="limits")
    app.segmented_control(key="hold-Z").set_value("0").run()
    assert "hold-Z" in app.query_params
    reading = shipped_reading("gru-en")
    since = len(reading.trace.text) // 3
    held = hold(reading, {"Z": 0}, since)
    assert measured(app)[0] == quantity(largest_change(held, "H", since))
    for one in (reading, held):
        assert quantity(perplexity_of(true_probabilities(one)[since:])) in charts(app)["limits"]["caption"]
    share = quoted_from(Run.open(DATA / "gru-en").corpus.training, reading.trace.text).share
    assert f"{share:.0%} of this text occurs verbatim in the training text." in charts(app)["limits"]["caption"]


def test_the_cost_of_a_switch_is_also_that_on_held_out_text() -> None:
    """As many characters as the page's text has, read by the model itself."""
    caption = charts(open_app("lstm", tab="limits", **{"hold-F": "0"}))["limits"]["caption"]
    run = Run.open(DATA / "lstm-en")
    count = len(shipped_reading("lstm-en").trace.text)
    ids, since = run.corpus.vocabulary.encode(run.corpus.held_out[:count]), count // 3
    model = load_model(run)
    operated = operate(model, [Hold("F", 0.0, first=since + 1), Hold("I", 0.0, first=since + 1)])
    values = []
    for each in (model, operated):
        with torch.no_grad():
            logits, _ = each(torch.from_numpy(ids[:, None]), each.initial_state(1))
        chances = logits[:-1, 0].softmax(dim=1)[range(count - 1), ids[1:]].numpy()
        values.append(quantity(float(np.exp(-np.log(chances[since:]).mean()))))
    assert f"On as many held-out characters: {values[0]} as trained, {values[1]} with the gates held." in caption


def test_with_one_reset_gate_for_all_units_both_forms_agree() -> None:
    """Their perplexities agree in all digits shown; with the gates as learned they do not."""
    first = open_app("gru", tab="reset")
    learned, (held_out_after, held_out_before) = measured(first), held_out_of(first)
    app = open_app("gru", tab="reset", **{"reset-gate": "number"})
    assert learned[1] != learned[2]
    difference, after, before = measured(app)
    assert read_quantity(difference) < 1e-5
    assert after == before
    assert held_out_after != held_out_before
    held_out_after, held_out_before = held_out_of(app)
    assert held_out_after == held_out_before


def held_out_of(app: AppTest) -> tuple[str, str]:
    said = r"held-out characters the perplexity is (\S+) with the reset gate after the product and (\S+) before it"
    found = re.search(said, charts(app)["reset"]["caption"])
    assert found
    return found[1], found[2]


def test_the_memory_page_opens_at_the_largest_memory() -> None:
    """It has a frame for each unit; the first one shown has the largest C of all."""
    app = open_app("lstm", tab="memory")
    chart: dict[str, Any] = charts(app)["memory"]
    assert len(chart["frames"]) == shipped_reading("lstm-en").hidden_size


@pytest.mark.parametrize(
    ("page", "tab", "key", "names"),
    [("lstm", "implementations", "implementations", IMPLEMENTATIONS), ("lstm", "forget", "recall", ("0", "1", "3"))],
)
def test_three_are_trained_side_by_side_and_their_curves_are_drawn(
    engine: IdleEngine, page: str, tab: str, key: str, names: tuple[str, ...]
) -> None:
    """One press submits three runs that differ in one setting; the address names them; their reports are drawn."""
    app = open_app(page, tab=tab, corpus="sums")
    app.button(key=f"train-{key}").click().run()
    configs = [config for config, _run_id in engine.submitted]
    if key == "recall":
        assert configs == [recall_config(name) for name in names]
    else:
        assert configs == [implementation_config("lstm", name, "sums") for name in names]
    ids = [run_id for _config, run_id in engine.submitted]
    assert app.query_params[key] in (".".join(ids), [".".join(ids)])
    assert app.button(key=f"train-{key}").disabled
    for run_id in ids:
        Run.find(run_id).append([epoch_report(step, 30 / step) for step in (1, 2, 4)])
        engine.states[run_id] = Status("stopped")
    app.run()
    assert not app.error
    lines = [trace for trace in charts(app)[key]["data"] if trace["name"] in LABELS]
    assert len(lines) == 3
    dotted = [trace for trace in charts(app)[key]["data"] if trace["name"].removesuffix(", held-out") in LABELS]
    assert len(dotted) == (3 if key == "recall" else 3 + 3)
    assert not app.button(key=f"train-{key}").disabled


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    ("page", "tab", "key"),
    [
        ("gru", "implementations", "implementations"),
        ("lstm", "implementations", "implementations"),
        ("lstm", "forget", "recall"),
    ],
)
def test_held_out_perplexities_stand_beside_those_of_training(language: str, page: str, tab: str, key: str) -> None:
    """In words and in the table, and as dotted lines; of the recalled letter it is the cost, without a line, because
    the letter of few words is a noisy one."""
    _, curves = translator(language), shipped_curves("recall" if key == "recall" else page)
    chart = charts(open_app(page, language, tab=tab))[key]
    table = dict(chart["table"])
    for name, curve in curves.items():
        label = f"b_f = {name}" if key == "recall" else name
        held_out = np.maximum(recall_cost(curve.held_out), 0.01) if key == "recall" else curve.held_out
        column = table[_(", ").join((label, _("held-out")))]
        np.testing.assert_allclose(unpack(column), held_out, rtol=1e-6)
        assert quantity(float(held_out[-1])) in chart["description"]
        if key == "implementations":
            (line,) = [line for line in chart["data"] if line["name"] == _(", ").join((label, _("held-out")))]
            assert line["line"]["dash"] == "dot"


def test_runs_of_another_kind_are_refused(engine: IdleEngine) -> None:
    """Three runs that are not the three implementations are reported, and the shipped curves are shown."""
    ids = [Run.create(recall_config("0"), corpus_of(recall_config("0"))).id for _ in range(3)]
    app = open_app("lstm", tab="implementations", implementations=".".join(ids))
    assert "fused, scratch, torch" in app.error[0].value
    assert charts(app)["implementations"]["data"]
