"""Mini-batches of a long text: random and sequential sampling (随机采样 and 相邻采样 in the lecture notes).

A text of 14 characters, B = 2 rows, T = 3 time steps:

    text        a b c d e f g h i j k l m n
    sequential  row 0: a b c | d e f      batch 1 continues where batch 0 stopped, row by row,
                row 1: h i j | k l m      so the state can be carried over
    random      the text is cut into a b c | d e f | g h i | j k l; the pieces are shuffled and
                dealt to the rows, so every batch starts from a fresh state

Y is X shifted by one character. Both kinds of sampling return one array of start positions, of shape
(batches, B), which training and the pictures of the sampling both read.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rnnviz.config import Sampling
from rnnviz.errors import InputError
from rnnviz.text.corpora import UNKNOWN

Indices = NDArray[np.int64]
MASKED_SHARE = 0.15


def characters_needed(sampling: Sampling, batch_size: int, num_steps: int) -> int:
    """The least length of a text that gives one mini-batch."""
    B, T = batch_size, num_steps
    return B * (T + 1) if sampling == "sequential" else B * T + 1


def starts_per_epoch(sampling: Sampling, length: int, batch_size: int, num_steps: int) -> int:
    """How many mini-batches, and so training steps, an epoch has; 0 where the text is too short for one."""
    if sampling == "sequential":
        return max((length // batch_size - 1) // num_steps, 0)
    return max((length - 1) // num_steps, 0) // batch_size


def check_length(sampling: Sampling, length: int, batch_size: int, num_steps: int) -> None:
    """Raises InputError where a text is too short for one batch, and says what would be enough."""
    needed = characters_needed(sampling, batch_size, num_steps)
    if length < needed:
        raise InputError(
            "the training text has {length:,} characters; one batch of {batch_size} rows by {num_steps} time steps "
            "needs at least {needed:,}. Use a longer text, fewer rows or fewer steps",
            length=length,
            batch_size=batch_size,
            num_steps=num_steps,
            needed=needed,
        )


def sequential_starts(length: int, batch_size: int, num_steps: int) -> Indices:
    """Start positions (batches, B) of sequential sampling over a text of `length` characters."""
    B, T = batch_size, num_steps
    batches = starts_per_epoch("sequential", length, B, T)
    return np.arange(batches)[:, None] * T + np.arange(B)[None, :] * (length // B)


def random_starts(length: int, batch_size: int, num_steps: int, generator: np.random.Generator) -> Indices:
    """Start positions (batches, B) of random sampling; the order comes from `generator`."""
    B, T = batch_size, num_steps
    batches = starts_per_epoch("random", length, B, T)
    order = generator.permutation(max((length - 1) // T, 0))
    return order[: batches * B].reshape(batches, B) * T


def starts(sampling: Sampling, length: int, batch_size: int, num_steps: int, generator: np.random.Generator) -> Indices:
    """Start positions of one epoch, of shape (batches, B).

    Raises InputError where the text is too short for one batch.
    """
    check_length(sampling, length, batch_size, num_steps)
    if sampling == "sequential":
        return sequential_starts(length, batch_size, num_steps)
    return random_starts(length, batch_size, num_steps, generator)


def epoch_starts(sampling: Sampling, length: int, batch_size: int, num_steps: int, *, seed: int, epoch: int) -> Indices:
    """The start positions that training reads in an epoch, counted from 0. They depend only on seed and epoch.

    Raises InputError where the text is too short for one batch.
    """
    return starts(sampling, length, batch_size, num_steps, np.random.default_rng([seed, epoch]))


def window(indices: Indices, batch_starts: Indices, num_steps: int) -> tuple[Indices, Indices]:
    """One mini-batch X, Y of shape (T, B), time first; Y is X shifted by one."""
    positions = batch_starts[None, :] + np.arange(num_steps)[:, None]
    return indices[positions], indices[positions + 1]


def mask(indices: Indices, generator: np.random.Generator) -> tuple[Indices, Indices]:
    """Characters to restore: X with MASKED_SHARE of them masked, at least one, and Y with those alone.

    A masked character is read as an unknown one, a zero vector; what is not masked is no target.
    """
    masked = generator.random(indices.shape) < MASKED_SHARE
    if not masked.any():
        masked.flat[generator.integers(masked.size)] = True
    return np.where(masked, UNKNOWN, indices), np.where(masked, indices, UNKNOWN)


@dataclass(frozen=True)
class Coverage:
    """Where one epoch reads each character of a text; every array has one entry per character.

    `batch`, `row` and `step` say where the character is read, counted from 0, and are -1 where it
    is not an input in this epoch. A window's last target may be such a character.
    """

    batch: Indices
    row: Indices
    step: Indices
    is_target: NDArray[np.bool_]

    @property
    def is_input(self) -> NDArray[np.bool_]:
        return self.batch >= 0

    @property
    def only_target(self) -> NDArray[np.bool_]:
        return self.is_target & ~self.is_input

    @property
    def never_seen(self) -> NDArray[np.bool_]:
        return ~self.is_target & ~self.is_input


def cover(epoch: Indices, num_steps: int, length: int) -> Coverage:
    """Lay an epoch's windows, given by their start positions (batches, B), on a text of `length` characters."""
    positions = epoch[..., None] + np.arange(num_steps)  # (batches, B, T)
    places = np.full((3, length), -1)
    places[:, positions] = np.indices(positions.shape)
    is_target = np.zeros(length, dtype=np.bool_)
    is_target[positions + 1] = True
    batch, row, step = places
    return Coverage(batch, row, step, is_target)
