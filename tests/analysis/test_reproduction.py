"""The notes' experiments: their settings, what they recorded, and medians over seeds."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnviz.analysis.published import D2L, EXPERIMENTS, MARKS, TABLES
from rnnviz.analysis.reproduction import Machine, Outcome, Plan, Result, Spread
from rnnviz.analysis.shipped_reproduction import from_json, to_json
from rnnviz.config import TrainConfig
from rnnviz.errors import InputError
from rnnviz.runs.reports import EpochReport, FailureReport
from rnnviz.text.corpora import Corpus, corpus_of, read, split

LYRICS = corpus_of(TrainConfig())
COMMON = {
    "max_chars": 10_000,
    "sampling": "sequential",
    "batch_size": 32,
    "num_steps": 35,
    "epochs": 160,
    "clip": 0.01,
    "predict_every": 40,
    "predict_length": 50,
    "prefixes": ("分开", "不分开"),
    "activation": "tanh",
    "forget_bias": 0,
    "keep_line_breaks": False,
}
SCRATCH = {"optimizer": "sgd", "learning_rate": 100, "initialisation": "normal", "hidden_size": 256}
CONCISE = {"optimizer": "adam", "learning_rate": 0.01, "initialisation": "uniform", "hidden_size": 256}
NOTES: dict[str, dict[str, Any]] = {
    "gru-scratch": {**SCRATCH, "cell": "gru", "reset": "after"},
    "gru": {**CONCISE, "cell": "gru", "reset": "after-bias"},
    "lstm-scratch": {**SCRATCH, "cell": "lstm"},
    "lstm": {**CONCISE, "cell": "lstm"},
    "lstm-deep": {**CONCISE, "cell": "lstm", "num_layers": 2},
    "gru-bidirectional": {
        **CONCISE,
        "cell": "gru",
        "reset": "after-bias",
        "hidden_size": 128,
        "bidirectional": True,
    },
}


def outcome(seed: int, perplexities: list[float], held_out: list[float | None]) -> Outcome:
    epochs = [
        EpochReport(n, n, p, h, None if h is None else 1.0, 1.0, 0.01, 1e4, 0.1 * n)
        for n, (p, h) in enumerate(zip(perplexities, held_out, strict=True), start=1)
    ]
    return Outcome(seed, tuple(epochs), {"a": f"a{seed}"})


def test_the_experiments_have_the_settings_of_the_notes() -> None:
    """All six in their order; the GRU from scratch is the notebook's, whose reset gate acts after the product."""
    assert list(EXPERIMENTS) == list(NOTES)
    for name, expected in NOTES.items():
        settings = Plan(LYRICS).config(EXPERIMENTS[name], 0).settings()
        common = {"num_layers": 1, "bidirectional": False, **COMMON}
        assert {key: settings[key] for key in {**common, **expected}} == {**common, **expected}


def test_the_notes_figures_stand_beside_them() -> None:
    """Four perplexities each, as the issue and the notes have them, to the digits that tables show."""
    recorded = {name: [float(f"{p:.4g}") for p in e.perplexity] for name, e in EXPERIMENTS.items()}
    assert recorded == {
        "gru-scratch": [151.4, 31.75, 4.808, 1.453],
        "gru": [1.037, 1.015, 1.015, 1.019],
        "lstm-scratch": [209.9, 64.82, 15.04, 3.814],
        "lstm": [1.026, 1.054, 1.014, 1.02],
        "lstm-deep": [13.13, 1.248, 1.032, 1.021],
        "gru-bidirectional": [1.001, 1.0, 1.0, 1.0],
    }
    assert [round(e.seconds_per_epoch or 0, 1) for e in EXPERIMENTS.values()] == [1.9, 1.5, 2.3, 2.0, 3.1, 1.6]


# The book's: units, what differs from a GRU of 256 units without more, and the perplexity that it printed.
BOOK: dict[str, tuple[dict[str, Any], float]] = {
    "d2l-rnn-scratch": ({"cell": "rnn", "hidden_size": 512, "initialisation": "normal"}, 1.0),
    "d2l-rnn-scratch-random": (
        {"cell": "rnn", "hidden_size": 512, "initialisation": "normal", "sampling": "random"},
        1.4,
    ),
    "d2l-rnn": ({"cell": "rnn"}, 1.3),
    "d2l-gru-scratch": ({"reset": "before", "initialisation": "normal"}, 1.1),
    "d2l-gru": ({"reset": "after-bias"}, 1.0),
    "d2l-lstm-scratch": ({"cell": "lstm", "initialisation": "normal"}, 1.1),
    "d2l-lstm": ({"cell": "lstm"}, 1.0),
    "d2l-lstm-deep": ({"cell": "lstm", "num_layers": 2, "learning_rate": 2}, 1.0),
    "d2l-lstm-bidirectional": ({"cell": "lstm", "num_layers": 2, "bidirectional": True}, 1.1),
}


def test_the_books_experiments_have_its_settings_and_figures() -> None:
    """Nine in their order: 500 epochs of 10,000 characters by SGD, with learning rate 1 and clipped at 1."""
    tales = corpus_of(TrainConfig(corpus=D2L.corpus))
    plan = Plan(tales, tuple(D2L.experiments.values()), epochs=D2L.epochs, table=D2L)
    assert list(D2L.experiments) == list(BOOK)
    common = {
        **{"cell": "gru", "hidden_size": 256, "num_layers": 1, "bidirectional": False, "initialisation": "uniform"},
        **{"sampling": "sequential", "optimizer": "sgd", "learning_rate": 1, "clip": 1, "epochs": 500},
        **{"batch_size": 32, "num_steps": 35, "max_chars": 10_000, "forget_bias": 0},
    }
    for name, (differs, printed) in BOOK.items():
        settings, expected = plan.config(D2L.experiments[name], 0).settings(), common | differs
        assert {key: settings[key] for key in expected} == expected
        assert D2L.experiments[name].recorded == {500: printed}
        assert D2L.experiments[name].seconds_per_epoch is None
    assert plan.marks == (50, 100, 250, 500)
    assert plan.continued == ("time traveller", "traveller")


@pytest.mark.parametrize(
    ("value", "decimals", "place"),
    [(1.03, 6, "below"), (1.0, 1, "inside"), (1.3, 6, "above"), (1.1, 6, "inside"), (1.24, 1, "inside")],
)
def test_a_published_figure_lies_inside_or_outside_the_range_of_seeds(value: float, decimals: int, place: str) -> None:
    """As far as its decimals can tell."""
    assert Spread(1.1, 1.04, 1.2).place(value, decimals) == place


@pytest.mark.parametrize("name", list(TABLES))
def test_a_shipped_reproduction_is_read_back(name: str) -> None:
    """Every epoch of every seed to six digits, also where an experiment was not run, or has diverged."""
    table = TABLES[name]
    experiments = tuple(table.experiments.values())[:3]
    plan = Plan(corpus_of(TrainConfig(corpus=table.corpus)), experiments, seeds=(0, 1), epochs=3, table=table)
    broken = Outcome(
        1, outcome(1, [9.0], [math.inf]).epochs, {}, FailureReport(9, 1, "{what} diverged", {"what": "it"})
    )
    results = (
        Result(plan, experiments[0], (outcome(0, [9.0, 5.0, 2.0], [50.0, 40.0, None]), broken)),
        Result(plan, experiments[1], (outcome(0, [9.1234567], [50.0]),)),
        Result(plan, experiments[2], ()),
    )
    machine = Machine("2.0", "3.11", "Linux on a toaster", 2)
    values = json.loads(json.dumps(to_json(plan, results, machine), allow_nan=False))
    again = from_json(values)
    assert (again.plan, again.machine) == (plan, machine)
    assert again.results[0] == results[0]
    values["results"][experiments[0].name][0]["failure"] = ""  # as older files have it
    assert from_json(values).results[0] == results[0]
    assert again.results[1].outcomes[0].epochs[0].perplexity == 9.12346
    assert again.results[2].outcomes == ()


@pytest.mark.parametrize("implementation", ["fused", "scratch", "torch"])
def test_every_experiment_has_every_implementation(implementation: Any) -> None:
    """Nothing but the implementation changes with it."""
    plan, fused = Plan(LYRICS, implementation=implementation), Plan(LYRICS)
    for experiment in EXPERIMENTS.values():
        settings = plan.config(experiment, 3).settings()
        assert settings == {**fused.config(experiment, 3).settings(), "implementation": implementation}


def test_what_is_continued_suits_the_corpus() -> None:
    """The notes' prefixes where they can be read, else the corpus's own; given ones always win."""
    tales = split(read("tales-en"), "tales-en")
    assert Plan(LYRICS).continued == ("分开", "不分开")
    assert Plan(tales).continued == ("The ", "She said")
    assert Plan(tales, prefixes=("Once",)).continued == ("Once",)


@pytest.mark.parametrize(
    ("epochs", "marks"), [(160, MARKS), (3, (3,)), (40, (40,)), (90, (40, 80, 90)), (200, (*MARKS, 200))]
)
def test_results_are_given_at_the_epochs_of_the_notes_and_the_last(epochs: int, marks: tuple[int, ...]) -> None:
    """And predictions are written at the first of them at the latest."""
    plan = Plan(LYRICS, epochs=epochs)
    assert plan.marks == marks
    assert plan.config(EXPERIMENTS["gru"], 0).predict_every == min(40, epochs)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"epochs": 0}, "epochs is 0"),
        ({"seeds": (2**31,)}, "seed is 2147483648"),
        ({"prefixes": ("",)}, "a prefix is empty"),
        ({"corpus": Corpus("a", "ab" * 30, "ab")}, "the training text has 60 characters"),
    ],
)
def test_a_plan_that_cannot_be_carried_out_is_refused(changes: dict[str, Any], reason: str) -> None:
    """Before any folder is made."""
    with pytest.raises(InputError, match=reason):
        Plan(**{"corpus": LYRICS, **changes})


@given(st.lists(st.none() | st.floats(1, 1e6), max_size=7))
def test_a_spread_is_median_lowest_and_highest(values: list[float | None]) -> None:
    """Of the seeds that got so far; of none, nothing."""
    there = sorted(value for value in values if value is not None)
    spread = Spread.of(values)
    if not there:
        assert spread is None
    else:
        middle = (there[(len(there) - 1) // 2] + there[len(there) // 2]) / 2
        assert spread == Spread(pytest.approx(middle), there[0], there[-1])  # type: ignore[arg-type]


def test_json_has_the_promised_shape() -> None:
    """The keys that programs rely on, with the notes' figures; medians, and ranges where there are several seeds."""
    plan = Plan(LYRICS, epochs=3, seeds=(0, 1, 2))
    outcomes = (
        outcome(0, [9.0, 5.0, 2.0], [50.0, 40.0, 45.0]),
        outcome(1, [9.0, 6.0, 4.0], [50.0, 41.0, math.inf]),
        outcome(2, [8.0, 7.0], [51.0, 42.0]),
    )
    values = Result(plan, EXPERIMENTS["gru-bidirectional"], outcomes).to_json()
    assert list(values)[:7] == [
        "experiment",
        "implementation",
        "epochs",
        "perplexity",
        "held_out",
        "seconds_per_epoch",
        "notes",
    ]
    assert (values["experiment"], values["implementation"], values["epochs"]) == ("gru-bidirectional", "fused", 3)
    assert values["perplexity"] == {"3": 3.0}
    assert values["held_out"] == {"3": None}  # the median is infinite
    assert values["range"] == {"perplexity": {"3": [2.0, 4.0]}, "held_out": {"3": [45.0, None]}}
    assert values["seconds_per_epoch"] == pytest.approx(0.2)
    assert values["notes"] == {
        "perplexity": {"40": 1.001484, "80": 1.000478, "120": 1.000239, "160": 1.000143},
        "seconds_per_epoch": 1.555,
    }
    assert (values["corpus"], values["seeds"], values["held_out_sees_the_future"]) == ("lyrics-zh", [0, 1, 2], True)
    json.dumps(values, allow_nan=False)


def test_what_was_not_reached_is_none() -> None:
    """An experiment that was not begun, and one without a held-out part, still have their line."""
    plan = Plan(LYRICS, epochs=2)
    nothing = Result(plan, EXPERIMENTS["gru"], ())
    values = nothing.to_json()
    assert (values["perplexity"], values["held_out"], values["seconds_per_epoch"]) == ({"2": None}, {"2": None}, None)
    assert not nothing.finished
    half = Result(plan, EXPERIMENTS["gru"], (outcome(0, [9.0], [None]),))
    assert (half.finished, half.outcomes[0].best_held_out()) == (False, None)
    whole = Result(plan, EXPERIMENTS["gru"], (outcome(0, [9.0, 5.0], [50.0, 60.0]),))
    assert (whole.finished, whole.outcomes[0].best_held_out()) == (True, (50.0, 1))
