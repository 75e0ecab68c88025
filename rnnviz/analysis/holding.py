"""A network reading a text with gates held at a value, and what must hold exactly at the limits. No torch here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from rnnviz.analysis.reading import Reading
from rnnviz.analysis.surgery import Hold, held
from rnnviz.cells import Cell, Reset, Signals, cell_of, find_cell
from rnnviz.runs.recording import Array
from rnnviz.text.corpora import one_hot


def hold(reading: Reading, values: Mapping[str, float], since: int = 0) -> Reading:
    """The same network reading the same text with each gate in `values` held at its value from step `since` on.

    The network has one layer and one direction. All signals are computed anew by the cell's equations.
    """
    holds = [Hold(gate, value, first=since + 1) for gate, value in values.items()]
    cell = cell_of(reading.trace)
    signals = _read(reading, cell, lambda t, gates: held(gates, [each for each in holds if each.at(t)]))
    return replace(reading, trace=replace(reading.trace, signals=signals))


def read_anew(reading: Reading, text: str) -> Reading:
    """The same network of one layer and one direction reading another text."""
    return hold(replace(reading, trace=replace(reading.trace, text=text)), {})


def with_reset(reading: Reading, reset: Reset, *, one_number: bool = False) -> Reading:
    """A GRU with the same weights whose reset gate acts elsewhere, reading the same text.

    With `one_number` the reset gate of each step is its mean over the units, the same for all of them.
    """

    def of_one_number(_: int, gates: Signals) -> Signals:
        return gates | {"R": np.full_like(gates["R"], gates["R"].mean())}

    signals = _read(reading, find_cell("gru", reset), of_one_number if one_number else lambda _, gates: gates)
    return replace(reading, trace=replace(reading.trace, reset=reset, signals=signals))


def _read(reading: Reading, cell: Cell, operate: Callable[[int, Signals], Signals]) -> dict[str, Array]:
    """Every signal (T, h) of a cell that reads the text; at each step `operate` may replace gates."""
    state = tuple(np.zeros(reading.hidden_size, np.float32) for _ in cell.state)
    steps: list[Signals] = []
    for t, X in enumerate(_inputs(reading)):
        gates = operate(t, cell.open(X, state, reading.weights))
        steps.append({**gates, **cell.update(X, state, reading.weights, gates)})
        state = tuple(steps[-1][name] for name in cell.state)
    return {f"layer1.forward.{name}": np.stack([step[name] for step in steps]) for name in steps[0]}


def plain_rnn(reading: Reading, since: int) -> Array:
    """The states (T - since, h) of a plain RNN that goes on from a GRU's state with its candidate's weights."""
    W = {name: reading.weights[name] for name in ("W_xh", "W_hh", "b_h")}
    W["b_h"] = W["b_h"] + reading.weights.get("b_hn", np.float32(0))
    H = state_before(reading, "H", since)
    states = []
    for X in _inputs(reading)[since:]:
        H = find_cell("rnn").step(X, (H,), W)["H"]
        states.append(H)
    return np.array(states).reshape(-1, reading.hidden_size)


def state_before(reading: Reading, name: str, t: int) -> Array:
    """A state (h,) before step t; zeros before the first."""
    values = reading.trace.signal(name)
    return values[t - 1] if t else np.zeros_like(values[0])


def largest_change(reading: Reading, name: str, since: int) -> float:
    """The most by which any unit's state changes in one step, from step `since` on."""
    values = np.concatenate([[state_before(reading, name, since)], reading.trace.signal(name)[since:]])
    return float(np.abs(np.diff(values, axis=0)).max())


def spread_within_characters(reading: Reading, name: str, since: int) -> float:
    """The largest difference between a unit's values at two steps that read the same character.

    NaN where no character occurs twice from step `since` on.
    """
    text, values = np.array(list(reading.trace.text[since:])), reading.trace.signal(name)[since:]
    spreads = [np.ptp(values[text == c], axis=0).max() for c in np.unique(text) if (text == c).sum() > 1]
    return float(max(spreads, default=np.nan))


def true_probabilities(reading: Reading, log_P: Array | None = None) -> Array:
    """The probability that each step gives to the character that follows, (T - 1,); NaN where that is unknown.

    With `log_P` (T, V), other predictions for the same text.
    """
    following = reading.vocabulary.encode(reading.trace.text[1:])
    log_P = reading.log_probabilities() if log_P is None else log_P
    chances = np.exp(log_P[np.arange(len(following)), following])
    return np.where(following < 0, np.nan, chances).astype(np.float32)


def perplexity_of(probabilities: Array) -> float:
    """exp of the mean surprise; NaN where nothing was scored."""
    scored = probabilities[np.isfinite(probabilities)]
    return float(np.exp(-np.log(scored).mean())) if len(scored) else float("nan")


def shares_left(F: Array, most: int) -> NDArray[np.float64]:
    """The share of each unit's memory that is left 0, 1, … `most` steps later, (most + 1, h): the product of the
    forget gates (T, h) in between, averaged over all steps of the text that are followed by at least `most`."""
    starts = len(F) - most
    product = np.ones((starts, F.shape[1]))
    means = [product.mean(axis=0)]
    for j in range(1, most + 1):
        product = product * F[j : j + starts]
        means.append(product.mean(axis=0))
    return np.array(means)


def _inputs(reading: Reading) -> Array:
    """The one-hot vectors (T, V) of the text."""
    return one_hot(reading.vocabulary.encode(reading.trace.text), len(reading.vocabulary))
