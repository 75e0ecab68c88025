"""Random and sequential mini-batches against the two generators of the lecture notes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from rnnviz.config import ModelConfig, Sampling, TrainConfig
from rnnviz.errors import InputError
from rnnviz.nn.training import Trainer
from rnnviz.text.corpora import UNKNOWN, split
from rnnviz.text.sampling import (
    MASKED_SHARE,
    characters_needed,
    check_length,
    cover,
    epoch_starts,
    mask,
    random_starts,
    sequential_starts,
    starts,
    starts_per_epoch,
    window,
)

Batch = tuple[list[list[int]], list[list[int]]]

sizes = st.tuples(st.integers(0, 120), st.integers(1, 7), st.integers(1, 9))


def data_iter_random(corpus: list[int], batch_size: int, num_steps: int, order: list[int]) -> list[Batch]:
    """data_iter_random of the lecture notes, with the shuffled example indices given; X and Y are (B, T)."""
    epoch_size = ((len(corpus) - 1) // num_steps) // batch_size
    batches = []
    for i in range(epoch_size):
        rows = order[i * batch_size : (i + 1) * batch_size]
        X = [corpus[j * num_steps : j * num_steps + num_steps] for j in rows]
        Y = [corpus[j * num_steps + 1 : j * num_steps + 1 + num_steps] for j in rows]
        batches.append((X, Y))
    return batches


def data_iter_consecutive(corpus: list[int], batch_size: int, num_steps: int) -> list[Batch]:
    """data_iter_consecutive of the lecture notes; X and Y are (B, T)."""
    batch_len = len(corpus) // batch_size
    rows = [corpus[r * batch_len : (r + 1) * batch_len] for r in range(batch_size)]
    batches = []
    for i in range((batch_len - 1) // num_steps):
        at = i * num_steps
        X = [row[at : at + num_steps] for row in rows]
        Y = [row[at + 1 : at + num_steps + 1] for row in rows]
        batches.append((X, Y))
    return batches


def batches_of(ids: np.ndarray, begin: np.ndarray, T: int) -> list[Batch]:
    """Our windows, transposed from (T, B) to the (B, T) of the lecture notes."""
    return [(X.T.tolist(), Y.T.tolist()) for X, Y in (window(ids, row, T) for row in begin)]


@given(sizes)
def test_sequential_windows_are_those_of_the_lecture_notes(size: tuple[int, int, int]) -> None:
    """Every batch equals that of data_iter_consecutive, for every length, even if none fits."""
    length, B, T = size
    ids = np.arange(length) * 10 + 3
    assert batches_of(ids, sequential_starts(length, B, T), T) == data_iter_consecutive(ids.tolist(), B, T)


@given(sizes, st.integers(0, 1000))
def test_random_windows_are_those_of_the_lecture_notes(size: tuple[int, int, int], seed: int) -> None:
    """Every batch equals that of data_iter_random for the order drawn, which repeats no example."""
    length, B, T = size
    ids = np.arange(length) * 10 + 3
    begin = random_starts(length, B, T, np.random.default_rng(seed))
    assert (begin % T == 0).all()
    order = (begin // T).flatten().tolist()
    assert len(set(order)) == len(order)
    assert set(order) <= set(range((length - 1) // T))
    assert batches_of(ids, begin, T) == data_iter_random(ids.tolist(), B, T, order)


@given(sizes, st.sampled_from(["sequential", "random"]))
def test_y_is_x_shifted_by_one(size: tuple[int, int, int], sampling: Sampling) -> None:
    """On a text that counts up, every target is its input plus one, and time is the first axis."""
    length, B, T = size
    assume(length >= characters_needed(sampling, B, T))
    for row in starts(sampling, length, B, T, np.random.default_rng(0)):
        X, Y = window(np.arange(length), row, T)
        assert X.shape == (T, B)
        assert (X + 1 == Y).all()
        assert (X[0] == row).all()
        assert (np.diff(X, axis=0) == 1).all()


@given(sizes)
def test_sequential_batches_continue_row_by_row(size: tuple[int, int, int]) -> None:
    """Each row of a batch begins where that row of the batch before stopped, so the state can be carried over."""
    length, B, T = size
    begin = sequential_starts(length, B, T)
    assert (begin[1:] == begin[:-1] + T).all()


def test_the_example_of_the_docstring() -> None:
    """With twelve characters, two rows and three steps there is one sequential batch, since rows have length 6."""
    ids = np.arange(12)
    assert sequential_starts(12, 2, 3).tolist() == [[0, 6]]
    assert sequential_starts(14, 2, 3).tolist() == [[0, 7], [3, 10]]
    X, Y = window(ids, np.array([0, 6]), 3)
    assert X.tolist() == [[0, 6], [1, 7], [2, 8]]
    assert Y.tolist() == [[1, 7], [2, 8], [3, 9]]
    assert sorted(random_starts(12, 3, 3, np.random.default_rng(0)).flatten().tolist()) == [0, 3, 6]


def test_random_order_depends_only_on_the_generator() -> None:
    """The same seed gives the same order, another seed another, and NumPy's global state has no effect."""
    np.random.seed(1)
    first = random_starts(500, 4, 5, np.random.default_rng(7))
    np.random.seed(2)
    assert (first == random_starts(500, 4, 5, np.random.default_rng(7))).all()
    assert (first != random_starts(500, 4, 5, np.random.default_rng(8))).any()
    generator = np.random.default_rng(7)
    random_starts(500, 4, 5, generator)
    assert (first != random_starts(500, 4, 5, generator)).any()


def test_every_example_comes_first_equally_often() -> None:
    """The order is a fair shuffle: over 2,000 seeds each of five examples comes first about 400 times."""
    leads = [int(random_starts(11, 1, 2, np.random.default_rng(seed))[0, 0]) // 2 for seed in range(2000)]
    counts = np.bincount(leads, minlength=5)
    assert counts.min() > 400 - 5 * 18  # 18 is the standard deviation
    assert counts.max() < 400 + 5 * 18


@given(st.sampled_from(["sequential", "random"]), st.integers(1, 9), st.integers(1, 9))
def test_characters_needed_is_the_least_length_that_works(sampling: Sampling, B: int, T: int) -> None:
    """One character fewer raises an error that has the number, and that number gives one batch."""
    needed = characters_needed(sampling, B, T)
    generator = np.random.default_rng(0)
    assert starts(sampling, needed, B, T, generator).shape == (1, B)
    for length in range(needed):
        with pytest.raises(InputError, match=f"has {length:,} characters.*needs at least {needed:,}"):
            starts(sampling, length, B, T, generator)


@pytest.mark.parametrize("sampling", ["sequential", "random"])
def test_starts_dispatches_on_the_name(sampling: Sampling) -> None:
    """The name chooses between the two kinds, and the generator is passed on."""
    expected = {
        "sequential": sequential_starts(103, 3, 4),
        "random": random_starts(103, 3, 4, np.random.default_rng(5)),
    }[sampling]
    assert (starts(sampling, 103, 3, 4, np.random.default_rng(5)) == expected).all()


@given(sizes, st.sampled_from(["sequential", "random"]))
def test_starts_per_epoch_counts_the_mini_batches_without_making_them(
    size: tuple[int, int, int], sampling: Sampling
) -> None:
    """There are as many as the lecture notes' generators yield, and none exactly if `check_length` refuses the text."""
    length, B, T = size
    corpus = list(range(length))
    yielded = {
        "sequential": data_iter_consecutive(corpus, B, T),
        "random": data_iter_random(corpus, B, T, list(range(length))),
    }[sampling]
    assert starts_per_epoch(sampling, length, B, T) == len(yielded)
    if yielded:
        check_length(sampling, length, B, T)
    else:
        with pytest.raises(InputError, match="needs at least"):
            check_length(sampling, length, B, T)


@given(sizes, st.sampled_from(["sequential", "random"]), st.integers(0, 5))
def test_coverage_is_what_the_windows_read(size: tuple[int, int, int], sampling: Sampling, epoch: int) -> None:
    """Every character's mini-batch, row and step are those of the one window that reads it; targets likewise."""
    length, B, T = size
    assume(length >= characters_needed(sampling, B, T))
    begin = epoch_starts(sampling, length, B, T, seed=3, epoch=epoch)
    coverage = cover(begin, T, length)
    read: dict[int, tuple[int, int, int]] = {}
    asked = set()
    for k, row in enumerate(begin):
        X, Y = window(np.arange(length), row, T)
        asked |= set(Y.ravel().tolist())
        for (t, i), position in np.ndenumerate(X):
            assert position not in read
            read[int(position)] = (k, i, t)
    places = zip(coverage.batch.tolist(), coverage.row.tolist(), coverage.step.tolist(), strict=True)
    assert {p: place for p, place in enumerate(places) if place != (-1, -1, -1)} == read
    assert set(np.flatnonzero(coverage.is_input)) == set(read)
    assert set(np.flatnonzero(coverage.only_target)) == asked - set(read)
    assert set(np.flatnonzero(coverage.never_seen)) == set(range(length)) - asked - set(read)


@pytest.mark.parametrize("sampling", ["sequential", "random"])
def test_an_epochs_starts_are_those_that_training_reads(sampling: Sampling) -> None:
    """For the same seed and epoch, the trainer's mini-batches are the windows at these positions."""
    corpus = split("the rain and the river and the sea ", "text", held_out_chars=0)
    config = TrainConfig(ModelConfig(hidden_size=4), sampling=sampling, batch_size=2, num_steps=3, seed=9)
    trainer = Trainer(config, corpus)
    for epoch in range(3):
        begin = epoch_starts(sampling, len(trainer.ids), 2, 3, seed=9, epoch=epoch)
        assert len(begin) == trainer.steps_per_epoch
        for k, row in enumerate(begin):
            for ours, theirs in zip(window(trainer.ids, row, 3), trainer._batch(epoch, k), strict=True):
                assert (ours == theirs.numpy()).all()


def test_random_epochs_leave_out_different_windows_and_sequential_ones_the_same() -> None:
    """Of 37 windows in rows of four, one is left over; over twelve epochs it is not always the same one."""
    missed = {
        sampling: {
            tuple(np.flatnonzero(~cover(epoch_starts(sampling, 300, 4, 8, seed=0, epoch=e), 8, 300).is_input))
            for e in range(12)
        }
        for sampling in ("sequential", "random")
    }
    assert len(missed["sequential"]) == 1
    assert len(missed["random"]) > 3
    assert {len(positions) for kinds in missed.values() for positions in kinds} == {12}


def test_a_share_is_masked_and_stands_in_the_targets_alone() -> None:
    """Put together they are the text again; the generator alone decides where."""
    ids = np.random.default_rng(0).integers(0, 9, (50, 40))
    X, Y = mask(ids, np.random.default_rng(1))
    np.testing.assert_array_equal(np.where(X == UNKNOWN, Y, X), ids)
    assert ((X == UNKNOWN) ^ (Y == UNKNOWN)).all()
    assert (X == UNKNOWN).mean() == pytest.approx(MASKED_SHARE, abs=0.03)
    np.testing.assert_array_equal(mask(ids, np.random.default_rng(1))[0], X)
    assert (mask(ids, np.random.default_rng(2))[0] != X).any()


def test_at_least_one_character_is_masked() -> None:
    """Of two characters, whatever the generator draws; otherwise there would be nothing to learn."""
    for seed in range(50):
        _X, Y = mask(np.array([3, 4]), np.random.default_rng(seed))
        assert (Y != UNKNOWN).any()
