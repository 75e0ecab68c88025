"""What the RNN page says about the two small networks that ship, and about those it trains, is true of them."""

from __future__ import annotations

import re
from functools import cache
from itertools import pairwise

import numpy as np
import pytest

from rnnviz.analysis.reading import Reading
from rnnviz.chapters.rnn import variants
from rnnviz.i18n import LANGUAGES
from rnnviz.nn import carrying
from rnnviz.nn.execution import load_model
from rnnviz.nn.tracing import trace
from rnnviz.nn.training import Trainer, evaluate, perplexity
from rnnviz.runs.folder import Run
from rnnviz.runs.reports import EpochReport, PredictionReport
from rnnviz.text.corpora import DATA, read, split
from tests.chapters.helpers import refers_to, run_code, said

TANH, RELU = (Run.open(DATA / name) for name in ("tiny-tanh", "tiny-relu"))
LONGEST = 12  # the most `a` in a word of their text


@cache
def reading(run: Run, text: str) -> Reading:
    """A shipped network over a text."""
    vocabulary = run.corpus.vocabulary
    return Reading.of(trace(load_model(run), vocabulary, text), run.load_checkpoint().weights(), vocabulary)


def guesses(run: Run, text: str) -> str:
    """The likeliest next character after each character of a text."""
    steps = reading(run, text)
    return "".join(steps.vocabulary.characters[steps.step(t).P.argmax()] for t in range(len(text)))


def ends_in_the_right_place(run: Run, before: str, n: int) -> bool:
    """Whether, after every b of a word of n a and n b, the likeliest character is right: a b, or finally a space."""
    text = before + "a" * n + "b" * n
    return guesses(run, text)[-n:] == "b" * (n - 1) + " "


def test_the_small_networks_are_what_the_page_says() -> None:
    """They have four units, and words of up to twelve a with as many b."""
    said("rnn", "idea", en="a trained network\nof four units", zh="只有四个单元")
    said("rnn", "state", en="a word ends when it has as many `b` as `a`", zh="`b` 和 `a` 一样多时词就结束")
    said("rnn", "try", en="up to twelve `a` as in training", zh="最多十二个 `a`，与训练时相同")
    for run, activation in ((TANH, "tanh"), (RELU, "relu")):
        model = run.config.model
        assert (model.cell, model.hidden_size, model.activation) == ("rnn", 4, activation)
        words = run.corpus.training.split(" ")[:-1]  # the last one may be cut
        assert all(re.fullmatch("a+b+", word) and word.count("a") == word.count("b") for word in words)
        assert max(word.count("a") for word in words) == LONGEST


def test_tanh_keeps_the_state_within_1_and_relu_has_no_upper_bound() -> None:
    """Checked in the recordings that the page opens on."""
    said(
        "rnn",
        "state",
        en="between −1 and 1; **ReLU** cuts off\nbelow 0 and has no upper bound",
        zh="限制在 −1 与 1 之间；**ReLU** 把负数截成 0，没有上界",
    )
    tanh, relu = (run.recording().signal("H") for run in (TANH, RELU))  # type: ignore[union-attr]
    assert np.abs(tanh).max() <= 1
    assert relu.min() == 0
    assert relu.max() > 2


# Train one


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_with_one_seed_both_implementations_begin_alike(activation: str) -> None:
    """They have the same weights, and their curves agree to a thousandth in the first five epochs."""
    (units,) = said("rnn", "train", en="# units", zh="# 个单元")
    said(
        "rnn",
        "train",
        en="both start at the same weights and their curves begin alike",
        zh="两者从相同的权重出发，曲线在开始时一致",
    )
    refers_to("rnn", "train", "your model", "One step")
    for name in ("tales-en", "counting"):
        corpus, weights, curves = split(read(name), name, max_chars=4000), [], []
        for implementation in ("scratch", "torch"):
            config = variants(str)[activation + ("-torch" if implementation == "torch" else "")][1]
            assert config.model.hidden_size == units
            assert config.model.implementation == implementation
            trainer = Trainer(config.with_settings({"device": "cpu", "predict_every": 0}), corpus)
            weights.append({key: value.numpy(force=True).copy() for key, value in trainer.model.weights().items()})
            reports = trainer.advance(5 * trainer.steps_per_epoch)
            curves.append([report.perplexity for report in reports if isinstance(report, EpochReport)])
        assert all((value == weights[1][key]).all() for key, value in weights[0].items())
        np.testing.assert_allclose(curves[0], curves[1], rtol=1e-3)


def test_the_tanh_network_writes_nothing_but_a() -> None:
    """It does so in the last text that it wrote, and after any number of a up to a hundred, even right after a word."""
    said("rnn", "example", en="It writes nothing but\n`a`", zh="它只写 `a`")
    said("rnn", "example", en="the tanh network of four units", zh="有四个单元的 tanh 网络")
    last = [report for report in TANH.reports() if isinstance(report, PredictionReport)][-2:]
    assert all(set(report.text) == {"a"} for report in last)
    for before in ("", "aaabbb "):
        assert set(guesses(TANH, before + "a" * 100)[len(before) :]) == {"a"}


# Carry and detach


def test_carrying_the_state_helps_and_a_longer_life_need_not() -> None:
    """Both networks are better if the state is carried; with tanh, a reset after 1 character is better than after 2."""
    said("rnn", "carry", en="shows how much the memory helps", zh="表示记忆有多大帮助")
    said("rnn", "try", en="set to zero after every character", zh="每读一个字符就把隐状态清零")
    for run in (RELU, TANH):
        resets, _held_out = carrying.reset_perplexities(str(run.folder))
        by_life = resets.by_window
        assert resets.carried < 0.98 * min(by_life.values())
        assert by_life[64] < by_life[1]
    assert by_life[1] < by_life[2]  # of the tanh network


def test_without_detach_the_graph_grows_and_torch_refuses() -> None:
    """The graph grows by the same amount with every window; with detach it keeps its size."""
    said(
        "rnn", "detach", en="a graph that the first has freed, and torch refuses", zh="第一次已经释放的图，torch 会拒绝"
    )
    said("rnn", "detach", en="it goes back through all windows so far", zh="它要走过此前所有的窗口")
    measured = carrying.graph_growth(str(TANH.folder), steps=4)
    detached, kept = measured.nodes["detached"], measured.nodes["attached"]
    assert len(set(detached)) == 1
    assert len({later - earlier for earlier, later in pairwise(kept)}) == 1
    assert kept[-1] > 3 * kept[0]
    assert "second time" in measured.errors["second"]


# What to try


def test_an_extra_b_costs_far_more_than_a_space_would() -> None:
    """After `ab aaabbb` the network is sure of a space; a fourth b in its place costs 3 nats more."""
    said("rnn", "try", "`ab aaabbb`")
    said(
        "rnn",
        "try",
        en="`ab aaabbbb` and step to the\n   third `b` of the long word",
        zh="`ab aaabbbb`，走到长词的\n   第三个 `b`",
    )
    step = reading(TANH, "ab aaabbb").step(8)
    vocabulary = TANH.corpus.vocabulary
    assert step.P[vocabulary.encode(" ")[0]] > 0.9
    losses = {text: reading(TANH, text).step(8).loss for text in ("ab aaabbb ", "ab aaabbbb")}
    assert losses["ab aaabbbb"] > losses["ab aaabbb "] + 3


def test_from_a_state_of_zeros_the_network_misjudges_the_first_word() -> None:
    """The a and b of `ab` cost more than any character of the word after it; `aaabbb` alone does not end."""
    said("rnn", "try", en="misjudge the first word, or `aaabbb` alone", zh="读错第一个词？如果只读 `aaabbb`")
    steps = reading(TANH, "ab aaabbb ")
    losses = [steps.step(t).loss for t in range(9)]
    assert min(losses[:2]) > max(losses[2:])
    assert ends_in_the_right_place(TANH, "ab ", 3)
    assert not ends_in_the_right_place(TANH, "", 3)


def test_one_relu_unit_counts_up_and_down() -> None:
    """In the long word of the shipped recording it rises with every a, and falls with every b until it is 0."""
    said("rnn", "try", en="rises with every `a` and falls with every `b`", zh="读到 `a` 就上升、读到 `b` 就下降")
    recording = RELU.recording()
    assert recording is not None
    at = recording.text.index("aaaaaaabbbbbbb")
    a, b = recording.signal("H")[at : at + 7], recording.signal("H")[at + 7 : at + 14]
    counts = (np.diff(a, axis=0) > 0).all(axis=0) & ((np.diff(b, axis=0) < 0) | (b[1:] == 0)).all(axis=0)
    assert counts.any()
    assert a[-1, counts].max() > 4


def test_the_tanh_network_ends_all_words_of_its_text_and_the_relu_network_only_some() -> None:
    """The word follows `aaabbb` and has every length that was trained."""
    said(
        "rnn",
        "try",
        en="Read `aaabbb aabb` and other lengths of the second word",
        zh="`aaabbb aabb`，再换用其他长度的第二个词",
    )
    lengths = range(1, LONGEST + 1)
    assert all(ends_in_the_right_place(TANH, "aaabbb ", n) for n in lengths)
    right = [n for n in lengths if ends_in_the_right_place(RELU, "aaabbb ", n)]
    assert 4 <= len(right) < LONGEST
    assert 2 in right


# Why these equations


@pytest.mark.parametrize("run", [TANH, RELU], ids=["tanh", "relu"])
def test_the_equations_are_the_networks(run: Run) -> None:
    """X_t W_xh is a row of W_xh, P is positive and sums to 1, and exp of the mean loss is the perplexity."""
    said("rnn", "equations", en="one row of $W_{xh}$", zh="$W_{xh}$ 的一行")
    said("rnn", "equations", en="minus the logarithm of its probability", zh="它的概率的负对数")
    text = "ab aaabbb "
    steps, ids = reading(run, text), run.corpus.vocabulary.encode(text)
    losses = []
    for t in range(len(text) - 1):
        step, W = steps.step(t), steps.weights
        np.testing.assert_array_equal(step.XW, W["W_xh"][ids[t]])
        phi = np.tanh if run is TANH else lambda A: np.maximum(A, 0)
        np.testing.assert_allclose(phi(step.H_before @ W["W_hh"] + step.XW + W["b_h"]), step.H, atol=1e-5)
        assert (step.P > 0).all()
        assert step.P.sum() == pytest.approx(1, abs=1e-5)
        assert step.loss == pytest.approx(-np.log(step.P[ids[t + 1]]), abs=1e-4)
        losses.append(step.loss)
    said(
        "rnn",
        "equations",
        en="The mean of $L_t$ over a text, put into $\\exp$, is the perplexity",
        zh="取 $\\exp$ 就是困惑度",
    )
    model = load_model(run)
    total = evaluate(model, ids)
    assert np.exp(np.mean(losses)) == pytest.approx(perplexity(total.nats, total.characters), rel=1e-4)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_code_shows_the_step_of_the_sixth_character(language: str) -> None:
    """Its sum before the activation is that of its terms, and its probabilities sum to 1."""
    names = run_code("rnn", "code", language)
    step, steps = names["step"], names["reading"]
    np.testing.assert_array_equal(step.X, reading(TANH, steps.trace.text).step(6 - 1).X)
    np.testing.assert_array_equal(step.A, step.XW + step.HW + steps.weights["b_h"])
    assert step.P.sum() == pytest.approx(1, abs=1e-5)
