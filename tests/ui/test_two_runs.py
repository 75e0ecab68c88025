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
from rnnviz.runs.folder import Run
from rnnviz.runs.follower import Story
from rnnviz.runs.reports import EpochReport, FailureReport, GlobalNorms, StepReport
from rnnviz.text.corpora import corpus_of
from rnnviz.text.ngram import References, references
from rnnviz.ui.references import references_of, references_of_both
from rnnviz.ui.two_runs import names_apart, perplexities
from tests.helpers import until

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
    return Story(1, 20, norms, epochs, None, (), failure, None)


class _Run:
    config = replace(QUICK, epochs=7)


class _Bidirectional:
    config = QUICK.with_settings({"bidirectional": True, "epochs": 7})


def test_each_run_has_one_colour_and_its_name_at_its_end() -> None:
    """The one that diverged says at which step, and the axis ends where the longer run would."""
    failed = FailureReport(212, 3, "diverged", {})
    runs: Any = (_Run, _Run)
    figure = perplexities(runs, (story(10), story(5, failed)), ("θ 0.3", "θ off"), None, str)
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
    figure = perplexities(runs, (story(10), story(5)), ("off", "on"), None, str)
    names = [line["name"] for line in figure["data"]]
    assert names == ["off, training", "off, held-out", "on, training, future read", "on, held-out, future read"]


def test_runs_of_one_text_have_its_lines() -> None:
    """Labelled beside the axis; there are none where one of them has another text or another task."""
    runs: Any = (_Run, _Run)
    compared = References(40, 33.0, {2: 19.25, 3: 18.5}, 100)
    figure = perplexities(runs, (story(10), story(5)), ("a", "b"), compared, str)
    drawn = {line["name"]: line["y"] for line in figure["data"]}
    assert {name: drawn[name][0] for name in ("uniform", "unigram", "2-gram", "3-gram")} == {
        "uniform": 40, "unigram": 33.0, "2-gram": 19.25, "3-gram": 18.5,
    }  # fmt: skip
    texts = [note["text"] for note in figure["layout"]["annotations"]]
    assert texts == ["3-gram 18.5", "2-gram 19.2", "unigram 33.0", "uniform 40", "a", "b"]
    assert figure["layout"]["yaxis"]["range"][1] > np.log10(40)
    assert figure["layout"]["margin"]["r"] > 60


@pytest.mark.parametrize("changed", [{}, {"corpus": "sums"}, {"bidirectional": True}, {"task": "restore"}])
def test_only_runs_that_predict_the_same_text_are_compared_with_its_references(changed: dict[str, Any]) -> None:
    """The perplexity of a model that reads ahead or restores characters is of another kind."""
    config = QUICK.with_settings({"corpus": "brackets"})
    one, other = (Run.create(c, corpus_of(c)) for c in (config, config.with_settings(changed)))
    expected = None if changed else references(one.corpus)
    until(lambda: references_of(one) is not None and (bool(changed) or references_of(other) is not None))
    assert references_of_both(one, other) == expected
    assert references_of_both(other, one) == expected


def test_runs_without_a_number_yet_are_drawn_as_nothing() -> None:
    """A twin has just been started, or its gradients are infinite."""
    nothing = np.array([1.0]), np.array([np.inf]), "before"
    figure = two_runs_figure({"a": [nothing], "b": [nothing]}, {}, "norm", 5)
    assert [len(line["x"]) for line in figure["data"]] == [0, 0]
    assert figure["layout"]["annotations"] == []
