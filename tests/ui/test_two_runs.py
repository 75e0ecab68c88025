"""Two runs over each other: what they are called, and their curves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from rnnviz.config import PRESETS
from rnnviz.figures.curves import two_runs_figure
from rnnviz.figures.kit import RUN_COLOURS
from rnnviz.i18n import translator
from rnnviz.runs.follower import Story
from rnnviz.runs.reports import EpochReport, FailureReport, GlobalNorms, StepReport
from rnnviz.ui.two_runs import names_apart, perplexities

QUICK = PRESETS["quick"].config


@pytest.mark.parametrize(
    ("changed", "names"),
    [
        ({}, ("first", "second")),
        ({"clip": 0.0}, ("θ 0.3", "θ off")),
        ({"learning_rate": 0.1, "clip": 1.0}, ("Learning rate 0.01, θ 0.3", "Learning rate 0.1, θ 1")),
        ({"optimizer": "sgd"}, ("Optimiser Adam", "Optimiser SGD")),
        ({"bidirectional": True}, ("Bidirectional off", "Bidirectional on")),
    ],
)
def test_runs_are_called_by_what_tells_them_apart(changed: dict[str, Any], names: tuple[str, str]) -> None:
    """The threshold by its symbol, other settings by their labels; equal runs by their order."""
    assert names_apart(QUICK, QUICK.with_settings(changed)) == names


def test_names_are_in_the_readers_language() -> None:
    """A twin without clipping says so in Chinese as well."""
    assert names_apart(QUICK, QUICK.with_settings({"clip": 0.0}), translator("zh")) == ("θ 0.3", "不裁剪")


def story(perplexity: float, failure: FailureReport | None = None) -> Story:
    epochs = tuple(EpochReport(10 * k, k, perplexity * k, 2.0, 0.9, 1.0, 0.5, 100.0, 1.0) for k in (1, 2))
    norms = GlobalNorms.of([StepReport(1, 1, 3.0, 10, 1.0, 0.5, {})])
    return Story(1, 20, norms, epochs, (), failure, None)


class _Run:
    config = replace(QUICK, epochs=7)


class _Bidirectional:
    config = QUICK.with_settings({"bidirectional": True, "epochs": 7})


def test_each_run_has_one_colour_and_its_name_at_its_end() -> None:
    """The one that diverged says at which step, and the axis ends where the longer run would."""
    failed = FailureReport(212, 3, "diverged", {})
    runs: Any = (_Run, _Run)
    figure = perplexities(runs, (story(10), story(5, failed)), ("θ 0.3", "θ off"), str)
    colours = [line["line"]["color"] for line in figure["data"]]
    assert colours == [RUN_COLOURS[0]] * 2 + [RUN_COLOURS[1]] * 2
    assert [line["y"].tolist() for line in figure["data"]] == [[10, 20], [2, 2], [5, 10], [2, 2]]
    notes = figure["layout"]["annotations"]
    assert [note["text"] for note in notes] == ["θ 0.3", "θ off: diverged at step 212"]
    assert [(note["x"], 10 ** note["y"]) for note in notes] == [(2, pytest.approx(20)), (2, pytest.approx(10))]
    assert figure["layout"]["xaxis"]["range"][1] == pytest.approx(7 * 1.01)


def test_curves_of_a_model_that_reads_ahead_are_called_so() -> None:
    """The other run's are not."""
    runs: Any = (_Run, _Bidirectional)
    figure = perplexities(runs, (story(10), story(5)), ("off", "on"), str)
    names = [line["name"] for line in figure["data"]]
    assert names == ["off, training", "off, held-out", "on, training, future read", "on, held-out, future read"]


def test_runs_without_a_number_yet_are_drawn_as_nothing() -> None:
    """A twin has just been started, or its gradients are infinite."""
    nothing = np.array([1.0]), np.array([np.inf]), "before"
    figure = two_runs_figure({"a": [nothing], "b": [nothing]}, {}, "norm", 5)
    assert [len(line["x"]) for line in figure["data"]] == [0, 0]
    assert figure["layout"]["annotations"] == []
