"""Find a unit: how well every unit of every signal follows a feature that a reader names in the text.

The feature is an array y over the text: 1 where a character has it and 0 elsewhere, or a number such as the
position in the line. How well a unit follows it is measured by the correlation r = cov(x, y) / (s_x s_y), which
for a y of 0 and 1 is called the point-biserial correlation.

Among hundreds of units some follow any feature by chance. To see how well, the feature is shifted along the
text, with its end moved around to the beginning, by every number of characters that is not small, and all units
are ranked anew. A shift changes neither the units nor the feature, only their alignment. The best |r| at each
shift is what the best of all units achieves by chance (Westfall and Young 1993).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np
import regex
from numpy.typing import NDArray

from rnnviz.errors import InputError
from rnnviz.runs.recording import Array

Feature = NDArray[np.float64]

LEAST_TEXT, MAX_TEXT = 20, 5000  # characters
MAX_EXPRESSION = 200  # characters
_MAX_REPEATS = 10_000  # of all counts such as {9}, multiplied: compiling copies what is repeated
_SECONDS = 0.2  # of computing; on a busy machine it takes a few times as long
_NEAR = 1 / 20  # of the text: a smaller shift leaves much of a feature where it was
_CONSTANT = 1e-6  # a range that is no more than rounding in float32
_ROUNDING = 1e-9  # of a correlation
_TOGETHER = 64  # units whose spectra are in memory at once
_BEST = 12  # units whose values are returned
_OPENING, _CLOSING = "([{（【〔", ")]}）】〕"
_QUOTES = {'"': '"', "“": "”", "「": "」", "『": "』"}


@dataclass(frozen=True)
class Found:
    """A unit of one signal, and how well it follows the feature.

    `share` is the share of all shifts, including that by 0, at which the best unit follows the feature
    at least as well. `values`, (T,), are the unit's values over the text.
    """

    signal: str
    unit: int
    correlation: float
    share: float
    values: Array


@dataclass(frozen=True)
class Ranking:
    """All units by how well they follow a feature (T,) of a text.

    `correlations` has the r of all units (h,) by the name of their signal, 0 for a unit that never changes.
    `chance` is the best |r| at each shift, and `best` the beginning of the ranking.
    """

    text: str
    feature: Feature
    correlations: Mapping[str, Feature]
    chance: Feature
    best: tuple[Found, ...]

    @property
    def level(self) -> float:
        """The |r| that the best of all units exceeds at one shift in 20."""
        return float(np.quantile(self.chance, 0.95))


def rank(text: str, feature: Feature, signals: Mapping[str, Array]) -> Ranking:
    """Rank all units of signals (T, h), recorded over a text, by how well they follow a feature (T,) of it.

    Raises InputError where the feature is the same everywhere, or every unit.
    """
    length = len(text)
    check_length(length)
    if np.ptp(feature) == 0:
        raise InputError(
            "{count:,} of the {length:,} characters match; allowed: what some of them match, but not all",
            count=int(np.count_nonzero(feature)),
            length=length,
        )
    near = max(1, round(_NEAR * length))
    correlations, chance = {}, np.zeros(length - 2 * near + 1)
    for name, values in signals.items():
        parts = [shifted_correlations(part, feature) for part in _parts(values)]
        correlations[name] = np.concatenate([part[0] for part in parts])
        for part in parts:
            chance = np.maximum(chance, np.abs(part[near : length - near + 1]).max(axis=1))
    if not any(r.any() for r in correlations.values()):
        raise InputError("no unit changes over the text; choose another text or another model")
    return Ranking(text, feature, correlations, chance, tuple(_best(correlations, chance, signals)))


def check_length(length: int) -> None:
    """Raises InputError for a text that is too short for a meaningful result, or too long."""
    if not LEAST_TEXT <= length <= MAX_TEXT:
        raise InputError(
            "the text has {length:,} characters; allowed: {least} to {most:,}",
            length=length,
            least=LEAST_TEXT,
            most=MAX_TEXT,
        )


def shifted_correlations(values: Array | Feature, feature: Feature) -> Feature:
    """The correlation of every unit (T, h) with the feature (T,) shifted by 0, 1, 2, … characters, (T, h).

    All sums over t of x_t y_{t-s} come from one product of Fourier transforms.
    """
    x, y = _standardised(values), _standardised(feature[:, None])
    spectrum = np.fft.rfft(x, axis=0) * np.fft.rfft(y, axis=0).conj()
    r: Feature = np.fft.irfft(spectrum, len(feature), axis=0) / len(feature)
    return r.clip(-1, 1)


def _standardised(values: NDArray[Any]) -> Feature:
    """Columns of mean 0 and variance 1; zeros where a column does not change, or is not finite."""
    columns = np.where(np.isfinite(values).all(axis=0), values, 0).astype(np.float64)
    columns -= columns.mean(axis=0)
    scale = columns.std(axis=0)
    return np.where(np.ptp(columns, axis=0) > _CONSTANT, columns / np.where(scale > 0, scale, 1), 0)


def _parts(values: Array) -> list[Array]:
    return [values[:, begin : begin + _TOGETHER] for begin in range(0, values.shape[1], _TOGETHER)]


def _best(correlations: Mapping[str, Feature], chance: Feature, signals: Mapping[str, Array]) -> Iterator[Found]:
    units = [(name, unit) for name, r in correlations.items() for unit in range(len(r))]
    strength = np.abs(np.concatenate(list(correlations.values())))
    for i in np.argsort(-strength, kind="stable")[:_BEST]:
        name, unit = units[i]
        share = float(1 + np.count_nonzero(chance >= strength[i] - _ROUNDING)) / (1 + len(chance))
        yield Found(name, unit, float(correlations[name][unit]), share, signals[name][:, unit])


# Features


def find(name: str, text: str, expression: str = "") -> Feature:
    """The feature of this name in FEATURES, or what a regular expression matches.

    Raises InputError for an expression that is wrong or takes too long.
    """
    return mark_matches(text, expression) if name == EXPRESSION else FEATURES[name](text)


def mark_matches(text: str, expression: str) -> Feature:
    """1 for every character that a regular expression, in the syntax of the `regex` package, matches.

    Raises InputError where it is empty, too long, wrong, or too slow on this text.
    """
    marks = np.zeros(len(text))
    try:
        for match in _compiled(expression).finditer(text, timeout=_SECONDS):
            marks[match.start() : match.end()] = 1
    except TimeoutError as error:
        raise InputError(
            "the expression takes more than {seconds} seconds on this text; allowed: a faster one, for example "
            "without a repetition inside a repetition",
            seconds=_SECONDS,
        ) from error
    return marks


def _compiled(expression: str) -> regex.Pattern[str]:
    if not 1 <= len(expression) <= MAX_EXPRESSION:
        raise InputError(
            "the expression has {length:,} characters; allowed: 1 to {most}",
            length=len(expression),
            most=MAX_EXPRESSION,
        )
    counts = [
        int(count) for braces in regex.findall(r"\{[^{}]*\}", expression) for count in regex.findall(r"[0-9]+", braces)
    ]
    if (repeats := prod(max(count, 1) for count in counts)) > _MAX_REPEATS:
        raise InputError(
            "the expression's counts in braces multiply to {repeats:,}; allowed: at most {most:,}",
            repeats=repeats,
            most=_MAX_REPEATS,
        )
    try:
        return regex.compile(expression)
    except (regex.error, RecursionError, OverflowError) as error:
        raise InputError("the expression cannot be read: {reason}", reason=error) from error


def _inside_brackets(text: str) -> Feature:
    """1 from an opening bracket up to the character before the one that closes it."""
    marks, depth = np.zeros(len(text)), 0
    for t, character in enumerate(text):
        depth = max(0, depth + (character in _OPENING) - (character in _CLOSING))
        marks[t] = depth > 0
    return marks


def _inside_quotes(text: str) -> Feature:
    """1 from an opening quotation mark up to the character before the closing one, or to the end of the line."""
    marks, closing = np.zeros(len(text)), ""
    for t, character in enumerate(text):
        if not closing:
            closing = _QUOTES.get(character, "")
        elif character in (closing, "\n"):
            closing = ""
        marks[t] = closing != ""
    return marks


def _position(text: str) -> Feature:
    """How many characters of its line stand before a character."""
    starts = [0, *(t + 1 for t, character in enumerate(text) if character == "\n"), len(text)]
    return np.concatenate([np.arange(end - start, dtype=np.float64) for start, end in pairwise(starts)])


EXPRESSION = "expression"
FEATURES: dict[str, Callable[[str], Feature]] = {
    "spaces": partial(mark_matches, expression=r"\s"),
    "starts": partial(mark_matches, expression=r"(?m)^."),
    "brackets": _inside_brackets,
    "quotes": _inside_quotes,
    "capital": partial(mark_matches, expression=r"(?<=\p{Lu})."),
    "position": _position,
}
