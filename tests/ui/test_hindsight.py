"""What is said of a run in hindsight is what its numbers say."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from rnnviz.i18n import translator
from rnnviz.runs.recording import Trace
from rnnviz.runs.reports import EpochReport, GlobalNorms, StepReport
from rnnviz.ui.hindsight import what_changed


def epoch(number: int, held_out: float | None) -> EpochReport:
    return EpochReport(10 * number, number, 5.0, held_out, None if held_out is None else 0.9, 1.0, 0.5, 100.0, 1.0)


def norms(*before: float) -> GlobalNorms:
    return GlobalNorms.of(StepReport(k + 1, 1, 3.0, 10, norm, min(norm, 0.3), {}) for k, norm in enumerate(before))


def gates(cell: str, **means: float) -> Trace:
    signals = {f"layer1.forward.{name}": np.full((3, 2), mean, np.float32) for name, mean in means.items()}
    return Trace("abc", cell, "after", "tanh", signals)  # type: ignore[arg-type]


EPOCHS = [epoch(1, 20.0), epoch(2, 7.25), epoch(3, 9.0)]
START, NOW = gates("gru", R=0.5, Z=0.5, H_tilde=0, H=0), gates("gru", R=0.4321, Z=0.25, H_tilde=0, H=0.1)


def test_the_sentence_has_the_best_epoch_the_wrong_mean_the_clipped_steps_and_the_gates() -> None:
    """In both languages, with the same numbers."""
    known = EPOCHS, norms(0.2, 0.31, 4.0, 0.3), 0.3, START, NOW
    assert what_changed(*known, mean_of_exponentials=5.51) == (
        "The held-out perplexity was best at epoch 2 of 3, 7.25; the last epoch’s training perplexity is 5.00, while "
        "the mean of its mini-batches’ own, a common mistake, would be 5.51; clipping shortened 2 of 4 gradients; "
        "mean of the gates at the start and now: Rₜ 0.50 → 0.43, Zₜ 0.50 → 0.25."
    )
    assert what_changed(*known, translator("zh"), mean_of_exponentials=5.51) == (
        "留出集困惑度在第 2 个周期（共 3 个）最低，为 7.25；最后一个周期的训练困惑度为 5.00；"
        "若误取各小批量困惑度的平均，则会是 5.51；4 个梯度中有 2 个被裁剪；"
        "门的均值，开始时与现在：Rₜ 0.50 → 0.43，Zₜ 0.50 → 0.25。"
    )


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (5.1, "is 5.00, while the mean of its mini-batches’ own, a common mistake, would be 5.10."),
        (5.002, "is 5.000, while the mean of its mini-batches’ own, a common mistake, would be 5.002."),
        (5.0001, "is 5.0000, while the mean of its mini-batches’ own, a common mistake, would be 5.0001."),
        (math.inf, "is 5.00, while the mean of its mini-batches’ own, a common mistake, would be ∞."),
    ],
)
def test_the_perplexity_and_the_wrong_mean_have_the_digits_that_tell_them_apart(wrong: float, said: str) -> None:
    """Three where they suffice. What overflows is ∞."""
    assert what_changed([epoch(1, None)], norms(), 0.0, None, None, mean_of_exponentials=wrong).endswith(said)


@pytest.mark.parametrize("wrong", [5.0, 5.0000001])
def test_a_mean_that_looks_the_same_is_left_out(wrong: float) -> None:
    """As where an epoch is one step."""
    assert what_changed([epoch(1, None)], norms(), 0.0, None, None, mean_of_exponentials=wrong) == ""


@pytest.mark.parametrize(("language", "said"), [("en", "perplexity, future read, is"), ("zh", "困惑度（已读未来）为")])
def test_the_wrong_mean_of_a_model_that_reads_ahead_says_so(language: str, said: str) -> None:
    """Neither of the two is a language model's perplexity."""
    known = [epoch(1, None)], norms(), 0.0, None, None, translator(language)
    assert said in what_changed(*known, mean_of_exponentials=9.0, reads_ahead=True)
    assert said not in what_changed(*known, mean_of_exponentials=9.0)


@pytest.mark.parametrize(("language", "said"), [("en", "perplexity, future read, was"), ("zh", "困惑度（已读未来）在")])
def test_the_perplexity_of_a_model_that_reads_ahead_is_called_so(language: str, said: str) -> None:
    """It is not a language model's."""
    known = EPOCHS, norms(1.0), 0.0, None, None, translator(language)
    assert said in what_changed(*known, reads_ahead=True)
    assert said not in what_changed(*known)


@pytest.mark.parametrize(
    ("known", "said"),
    [
        (([], norms(), 0.3, None, None), ""),
        (([epoch(1, None)], norms(1.0), 0.0, None, NOW), ""),
        (([epoch(1, None)], norms(1.0), 0.3, None, NOW), "Clipping shortened 1 of 1 gradients."),
        ((EPOCHS[:1], norms(1.0), 0.0, None, NOW), "The held-out perplexity was best at epoch 1 of 1, 20.0."),
        (([], norms(), 0.3, gates("rnn", H=0.0), gates("rnn", H=1.0)), ""),
    ],
)
def test_what_a_run_does_not_have_is_left_out(known: tuple[Any, ...], said: str) -> None:
    """A run may have no held-out text, no clipping, no recording at the start, or no gates."""
    assert what_changed(*known) == said
