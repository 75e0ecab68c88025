"""What the LSTM page says is computed from the models that ship."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rnnviz.analysis.holding import hold, shares_left
from rnnviz.analysis.side_by_side import (
    IMPLEMENTATIONS,
    LETTERS,
    WORD,
    implementation_config,
    largest_difference,
    learned_at,
    recall_config,
    recall_cost,
    shipped_curves,
)
from rnnviz.cells import CellName
from rnnviz.nn.side_by_side import curve_of
from rnnviz.runs.folder import Run
from rnnviz.text.corpora import DATA, read
from tests.chapters.helpers import said, shipped_reading

MODELS = pytest.mark.parametrize("name", ["lstm-en", "lstm-zh"])


@MODELS
def test_a_kept_memory_does_not_keep_the_prediction(name: str) -> None:
    """With F = 1 and I = 0 the hidden state still moves, because the output gate does."""
    said(
        "lstm",
        "limits_why",
        en="$H_t = O_t \\odot \\tanh(C_t)$ still moves",
        zh="$H_t = O_t \\odot \\tanh(C_t)$ 仍会变",
    )
    held = hold(shipped_reading(name), {"F": 1, "I": 0}, 10).trace
    assert (held.signal("C")[9:] == held.signal("C")[9]).all()
    assert np.abs(np.diff(held.signal("H")[10:], axis=0)).max() > 0.5


@MODELS
def test_an_open_memory_adds_up_without_bound(name: str) -> None:
    """It grows by at most 1 per step, and far beyond what the trained network reaches."""
    said("lstm", "limits_why", en="Each step adds at most 1", zh="每一步至多加 1")
    reading = shipped_reading(name)
    C = hold(reading, {"F": 1, "I": 1}).trace.signal("C")
    assert np.abs(np.diff(C, axis=0)).max() <= 1 + 1e-5
    assert np.abs(C).max() > 0.8 * len(C)


def test_half_a_step_leaves_less_than_one_in_four_million() -> None:
    """It is 0.5 to the power of the steps that the lesson names; it falls below a thousandth after 10 of them."""
    (steps,) = said("lstm", "forget_why", en="after # steps $0.5^{22}$ is left", zh="# 步之后剩下 $0.5^{22}$")
    assert steps == 22
    assert 0.5**steps < 1 / 4e6


def test_some_units_of_the_shipped_model_keep_a_tenth_and_some_do_not() -> None:
    """This is over the steps that the lesson names; the model started at the bias that it names."""
    (bias,) = said("lstm", "forget_try", en="started at $b_f = #$", zh="从 $b_f = #$ 开始训练")
    (steps,) = said("lstm", "forget_try", en="for # steps", zh="过了 # 步")
    for name in ("lstm-en", "lstm-zh"):
        assert Run.open(DATA / name).config.model.forget_bias == bias
        left = shares_left(shipped_reading(name).trace.signal("F"), int(steps))[-1]
        assert 0.1 < (left > 0.1).mean() < 0.9


@MODELS
def test_the_largest_memory_is_far_from_0_where_its_hidden_state_is_near_it(name: str) -> None:
    """Some unit's hidden state could also be mistaken for its memory."""
    said("lstm", "memory", en="Where is $C_t$ far from 0 and $H_t$ near it", zh="哪里 $C_t$ 远离 0 而 $H_t$ 接近 0")
    C, H = (shipped_reading(name).trace.signal(signal) for signal in ("C", "H"))
    largest = np.abs(C).max(axis=0).argmax()
    assert ((np.abs(C[:, largest]) > 5) & (np.abs(H[:, largest]) < 0.1)).any()
    correlation = [np.corrcoef(C[:, u], H[:, u])[0, 1] for u in range(C.shape[1])]
    assert max(correlation) > 0.8


def test_the_largest_bias_learns_to_recall_first_and_the_smallest_not_at_all() -> None:
    """This is so in the curves that ship, which have the hidden units, steps and seed that the page names."""
    hidden, steps = said(
        "lstm", "recall_shipped", en="# hidden units, # steps with Adam", zh="# 个隐藏单元，用 Adam 训练 # 步"
    )
    curves = shipped_curves("recall")
    config = recall_config("0")
    assert (config.model.hidden_size, config.optimizer) == (hidden, "adam")
    assert all(curve.step[-1] == steps for curve in curves.values())
    learned = [learned_at(curves[bias]) for bias in ("3", "1", "0")]
    assert learned[0] is not None
    assert learned[1] is not None
    assert learned[0] < learned[1]
    assert learned[2] is None
    assert recall_cost(curves["0"].perplexity)[-1] == pytest.approx(math.log(LETTERS), abs=0.15)
    assert recall_cost(curves["3"].perplexity)[-1] < 0.1


@pytest.mark.slow
def test_a_plain_rnn_does_not_learn_to_recall_either() -> None:
    """It has the same size and is trained in the same way for the steps that the page names, about six seconds."""
    (steps,) = said("lstm", "forget_why", en="does not learn it in # steps either", zh="后者在 # 步内也学不会")
    curve = curve_of(recall_config("0").with_settings({"cell": "rnn"}))
    assert curve.step[-1] == steps
    assert learned_at(curve) is None


def test_a_word_is_recalled_over_the_steps_that_the_lesson_names() -> None:
    """The steps are counted from a letter to its recall; the words are as the page writes them."""
    (steps,) = said("lstm", "recall", en="recalled over # steps", zh="跨过 # 步回忆起来")
    word = read("recall").split(" ")[0]
    assert len(word) == WORD - 1 == steps + 1
    assert word[0] == word[-1]
    assert len(set(read("recall"))) == LETTERS + len(word) - 2 + 1


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_three_implementations_agree_in_nearly_all_digits(cell: CellName) -> None:
    """The shipped curves have the units, steps and characters that the page names."""
    (steps,) = said(cell, "implementations_try", en="after # steps", zh="# 步之后")
    (hidden,) = said(cell, "shipped", en="# hidden units, 280 steps", zh="# 个隐藏单元，")
    (again,) = said(cell, "shipped", en="# steps with Adam", zh="用 Adam 训练 # 步")
    (characters,) = said(cell, "shipped", en="on # characters", zh="在 # 个字符")
    assert again == steps
    config = implementation_config(cell, "fused")
    assert (config.model.hidden_size, config.max_chars) == (hidden, characters)
    curves = shipped_curves(cell)
    assert tuple(curves) == IMPLEMENTATIONS
    assert all(curve.step[-1] == steps for curve in curves.values())
    assert 0 < largest_difference([curve.perplexity for curve in curves.values()]) < 1e-4
