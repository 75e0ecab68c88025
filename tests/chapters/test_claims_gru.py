"""What the GRU page says is computed from the models that ship."""

from __future__ import annotations

import numpy as np
import pytest

from rnnviz.analysis.holding import hold, perplexity_of, true_probabilities, with_reset
from tests.chapters.helpers import said, shipped_reading

MODELS = pytest.mark.parametrize("name", ["gru-en", "gru-zh"])


def cost(name: str, **held: float) -> float:
    """The perplexity after the first third of the text with gates held."""
    reading = shipped_reading(name)
    since = len(reading.trace.text) // 3
    return perplexity_of(true_probabilities(hold(reading, held, since))[since:])


@MODELS
def test_the_plain_rnn_made_of_a_gru_predicts_badly(name: str) -> None:
    """It predicts far worse than the model as trained."""
    said(
        "gru", "limits_why", en="A plain RNN made in this way predicts badly", zh="这样得到的普通循环神经网络预测得很差"
    )
    assert cost(name, R=1, Z=0) > 20 * cost(name)


def test_hiding_nothing_costs_more_than_rewriting_everything() -> None:
    """R = 1 is compared with Z = 0 in the model that reads the tales."""
    said("gru", "limits_try", en="costs the model that reads the tales more", zh="对读故事的模型，哪一个代价更大")
    assert cost("gru-en") < cost("gru-en", Z=0) < cost("gru-en", R=1) / 10


@MODELS
def test_the_two_resets_part_and_the_weights_were_trained_for_after(name: str) -> None:
    """The states differ by nearly 2, the most possible; if all units share one number, they differ only by rounding."""
    said("gru", "reset", en="trained with *after*", zh="按“之后”训练")
    said("gru", "reset_try", en="not quite 0", zh="不完全为 0")
    reading = shipped_reading(name)
    assert reading.trace.reset == "after"
    after, before = (with_reset(reading, form) for form in ("after", "before"))
    assert np.abs(after.trace.signal("H") - before.trace.signal("H")).max() > 1.9
    assert perplexity_of(true_probabilities(before)) > 5 * perplexity_of(true_probabilities(after))
    one_after, one_before = (with_reset(reading, form, one_number=True) for form in ("after", "before"))
    assert 0 < np.abs(one_after.trace.signal("H") - one_before.trace.signal("H")).max() < 1e-4
