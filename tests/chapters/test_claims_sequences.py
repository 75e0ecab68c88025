"""What the Sequences page counts is counted again."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rnnviz.i18n import LANGUAGES, lesson_part
from rnnviz.text.corpora import UNKNOWN, Vocabulary, clean, one_hot
from rnnviz.text.sampling import Coverage, cover, epoch_starts
from tests.chapters.helpers import run_code, said

EPOCHS = 20


def covered(sampling: str, N: int, B: int, T: int, epoch: int = 0) -> Coverage:
    return cover(epoch_starts(sampling, N, B, T, seed=0, epoch=epoch), T, N)  # type: ignore[arg-type]


def example() -> tuple[int, int, int]:
    """N, B and T of the lesson's example."""
    N, B, T = said("sequences", "counting", en="$N = #$, $B = #$, $T = #$", zh="$N = #$、$B = #$、$T = #$")
    return int(N), int(B), int(T)


# Vectors


@pytest.mark.parametrize("language", LANGUAGES)
def test_columns_equal_the_first_one_as_often_as_its_character_occurs(language: str) -> None:
    """It occurs more than once in the text of each language; the row sums say how often each character occurs."""
    said("sequences", "try_vectors", en="how many columns are equal to the first one", zh="有多少列与第一列相同")
    text = clean(lesson_part("sequences", language, "text"))
    vocabulary = Vocabulary(text)
    X = one_hot(vocabulary.encode(text), len(vocabulary))
    assert np.equal(X, X[0]).all(axis=1).sum() == text.count(text[0]) > 1
    assert X.sum(axis=0).tolist() == [text.count(character) for character in vocabulary.characters]


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_new_character_changes_some_indices_and_leaves_others(language: str) -> None:
    """Characters that sort after it move up by one."""
    said("sequences", "try_vectors", en="Which indices change, and which stay", zh="哪些索引变了，哪些没变")
    said("sequences", "try_vectors", en="such as a comma", zh="例如“快”")
    text, added = clean(lesson_part("sequences", language, "text")), {"en": ",", "zh": "快"}[language]
    before, after = Vocabulary(text).encode(text), Vocabulary(text + added).encode(text + added)
    later = np.array([character > added for character in text])
    np.testing.assert_array_equal(after[:-1] - before, later)
    assert 0 < later.sum() < len(text)


def test_one_hot_vectors_are_root_2_apart_and_pick_a_row() -> None:
    """This holds for every pair; an unknown character has the zero vector and picks no row."""
    said("sequences", "one_hot", r"$\sqrt{2}$")
    said("sequences", "one_hot", en="has the index −1 here and the zero vector", zh="索引为 −1，对应零向量")
    vectors = one_hot(np.arange(5), 5)
    apart = np.linalg.norm(vectors[:, None] - vectors, axis=-1)
    np.testing.assert_allclose(apart, math.sqrt(2) * (1 - np.eye(5)))
    W = np.random.default_rng(0).normal(size=(5, 3))
    np.testing.assert_array_equal(vectors[3] @ W, W[3])
    assert Vocabulary("abc").encode("z").tolist() == [UNKNOWN] == [-1]
    assert not (one_hot(np.array([UNKNOWN]), 5) @ W).any()


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_code_of_the_vectors_gives_what_its_comments_say(language: str) -> None:
    """Vocabulary, indices and shape are as stated."""
    names = run_code("sequences", "vectors_code", language)
    said("sequences", "vectors_code", f'"{names["vocabulary"].characters}"')
    assert names["ids"].tolist() == said("sequences", "vectors_code", "#, #, #")
    assert list(names["X"].shape) == said("sequences", "vectors_code", en="shape (#, #)", zh="形状 (#, #)")


# Mini-batches


def test_sequential_rows_continue_where_they_stopped() -> None:
    """They do so from one mini-batch to the next in every epoch; row 2 of the first begins at position L + 1."""
    said("sequences", "batches", en="lets row $i$ continue where it stopped", zh="让第 $i$ 行从上次停下的地方接着读")
    said(
        "sequences",
        "try_batches",
        en="where row 2 of the first sequential mini-batch begins",
        zh="第一个小批量的第 2 行从哪里开始",
    )
    N, B, T = example()
    starts = epoch_starts("sequential", N, B, T, seed=0, epoch=0)
    assert (np.diff(starts, axis=0) == T).all()
    assert starts[0, 1] == N // B


def test_random_sampling_makes_up_for_windows_and_sequential_never_does() -> None:
    """Over some epochs only the end of the text stays unseen; with sequential sampling, always the same characters."""
    said("sequences", "try_batches", en="which kind of sampling makes up for them", zh="哪种采样会补上它们")
    N, B, T = example()
    unseen = {
        kind: [covered(kind, N, B, T, epoch).never_seen for epoch in range(EPOCHS)] for kind in ("sequential", "random")
    }
    assert all(mask.any() for masks in unseen.values() for mask in masks)
    assert all((mask == unseen["sequential"][0]).all() for mask in unseen["sequential"])
    always = np.logical_and.reduce(unseen["random"])
    assert always.nonzero()[0].min() > (N - 1) // T * T - 1


def test_one_kind_wastes_far_more_of_301_characters() -> None:
    """With the number of rows that the page opens with, it wastes 101, and the other 1."""
    N, T = said("sequences", "try_batches", en="Take # characters and $T = #$", zh="取 # 个字符和 $T = #$")
    _N, B, _T = example()
    read = {kind: covered(kind, int(N), B, int(T)).is_input.sum() for kind in ("sequential", "random")}
    assert N - read["sequential"] > 10 * (N - read["random"])


# How many characters an epoch leaves out


def test_the_formula_of_sequential_sampling() -> None:
    """N - BKT characters are not an input, the same in every epoch; the example's numbers are those in the text."""
    N, B, T = example()
    L, K, whole, inputs, left = said(
        "sequences",
        "counting",
        en="$L = #$, $K = #$, and $# - # = #$ are no input",
        zh="$L = #$，$K = #$，有 $# - # = #$ 个不作输入",
    )
    assert (L, K, whole, inputs) == (N // B, (N // B - 1) // T, N, B * K * T)
    assert left == N - B * K * T
    epochs = [covered("sequential", N, B, T, epoch) for epoch in range(3)]
    assert all((~epoch.is_input).sum() == left for epoch in epochs)
    assert all((epoch.is_input == epochs[0].is_input).all() for epoch in epochs)
    said(
        "sequences",
        "counting",
        en="the end of each row, and what follows the last row",
        zh="各行的末尾，以及最后一行之后的字符",
    )
    for n in range(N, N + B + 1):
        mask, length = covered("sequential", n, B, T).is_input, n // B
        ends = np.arange(n) % length >= (length - 1) // T * T
        np.testing.assert_array_equal(mask, ~ends & (np.arange(n) < B * length))


def test_the_formula_of_random_sampling() -> None:
    """n - KB windows are left over, different ones in other epochs, and the text after position nT always is."""
    N, B, T = example()
    n, K = said("sequences", "counting", en="$n = #$, $K = #$", zh="$n = #$，$K = #$")
    size, end, left = said(
        "sequences",
        "counting",
        en="one window of # and the last # characters are no input, again #",
        zh="一个 # 个字符的窗口和最后 # 个字符不作输入，同样是 # 个",
    )
    assert (n, K) == ((N - 1) // T, (N - 1) // T // B)
    assert (n - K * B, size, end) == (1, T, N - n * T)
    assert left == size + end
    epochs = [covered("random", N, B, T, epoch).is_input for epoch in range(EPOCHS)]
    assert all((~mask).sum() == left for mask in epochs)
    assert all(not mask[int(n) * T :].any() for mask in epochs)
    assert len({int((~mask).argmax()) for mask in epochs}) > 5


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_code_of_the_batches_gives_what_its_comments_say(language: str) -> None:
    """The shapes and both counts are as stated; what is no input may be a target, so fewer than 12 are never seen."""
    said("sequences", "counting", en="fewer than 12 are never seen", zh="既非输入也非目标的不到 12 个")
    inputs, N, others = said(
        "sequences", "batches_code", en="# of # are inputs, # are not", zh="# 个是输入（共 # 个），# 个不是"
    )
    (never,) = said(
        "sequences", "batches_code", en="#, since two of the 12 are targets", zh="#，因为 12 个中有两个是目标"
    )
    names = run_code("sequences", "batches_code", language)
    coverage = names["coverage"]
    assert names["starts"].shape == (9, 4)
    assert names["X"].shape == names["Y"].shape == (8, 4)
    assert len(coverage.batch) == N
    assert coverage.is_input.sum() == inputs
    assert (~coverage.is_input).sum() == others == 12
    assert coverage.never_seen.sum() == never == others - 2
    assert all(covered(kind, *example()).never_seen.sum() < others for kind in ("sequential", "random"))
