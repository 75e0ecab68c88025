"""A step as equations whose terms are named matrices, which a page shows and highlights. No Streamlit here.

A panel is laid out like a sum on paper. A vector stands down the left side of the matrix whose rows
it scales; their product is the sum of each column, and what is added stands below it:

              W_xh
    X_t │ 0 │  …  …
        │ 1 │  …  …
     X_t W_xh  …  …
     +    b_h  …  …
     =    A_t  …  …
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnviz.analysis.reading import Reading, TimeStep
from rnnviz.figures.kit import COLOURS, visible
from rnnviz.i18n import Translate
from rnnviz.runs.recording import Array
from rnnviz.signals import SIGNALS

MAX_UNITS = 32
MAX_CHARACTERS = 10
_MOST_LIKELY = 6
_INPUT, _OUTPUT, _WEIGHT = COLOURS["training"], COLOURS["before"], COLOURS["reference"]
_STATE = SIGNALS["H"].colour

Axis = tuple[NDArray[np.intp], Sequence[str]]
"""Which rows or columns of a matrix are shown, and their names."""


@dataclass(frozen=True)
class Term:
    """A matrix of an equation: its symbol (`W_xh`, with an underscore before the index), its label, and its numbers.

    `values` is (rows, columns), named by `rows` and `columns`; a vector is one row. Numbers are coloured on a
    scale from -`limit` to `limit`. `parts` are the terms that a product or a sum is made of.
    """

    symbol: str
    label: str
    values: Array
    rows: Sequence[str]
    columns: Sequence[str]
    colour: str
    limit: float = 1.0
    parts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Row:
    """A line of a panel: a sign and a term of one row, which may be the product of `factors`, a vector and a matrix."""

    sign: str
    term: str
    factors: tuple[str, str] | None = None


@dataclass(frozen=True)
class Equation:
    """Terms by name, the equations as lines of names and signs, and panels of rows with the numbers."""

    terms: Mapping[str, Term]
    lines: Sequence[Sequence[str]]
    panels: Sequence[Sequence[Row]]

    def to_json(self) -> dict[str, Any]:
        """For the browser: numbers have six significant digits, and None stands for NaN and infinities."""
        terms = {
            name: {**vars(term), "values": [[_short(value) for value in row] for row in term.values.tolist()]}
            for name, term in self.terms.items()
        }
        panels = [[vars(row) for row in panel] for panel in self.panels]
        return {"terms": terms, "lines": [list(line) for line in self.lines], "panels": panels}

    def table(self) -> dict[str, list[Any]]:
        """A table with every number once: its term, row, column and value."""
        cells = [
            (term.symbol, row, column, float(term.values[i, j]))
            for term in self.terms.values()
            for i, row in enumerate(term.rows)
            for j, column in enumerate(term.columns)
        ]
        return dict(zip(("term", "row", "column", "value"), map(list, zip(*cells, strict=True)), strict=True))


def pack_steps(steps: Sequence[Equation]) -> dict[str, Any]:
    """The same equation at several steps, for the browser: what all of them have in common is there once.

    `terms` has what never changes, and `steps` what each step puts into the terms: its values, say.
    """
    first, *others = packed = [equation.to_json() for equation in steps]
    terms = {
        name: {key: value for key, value in term.items() if all(other["terms"][name][key] == value for other in others)}
        for name, term in first["terms"].items()
    }
    changing = [
        {
            name: {key: value for key, value in term.items() if key not in terms[name]}
            for name, term in equation["terms"].items()
        }
        for equation in packed
    ]
    return {**first, "terms": terms, "steps": changing}


def rnn_equation(reading: Reading, t: int, translate: Translate = str) -> Equation:
    """The step of a plain RNN that read `text[t]`.

    For a larger model, this shows the first MAX_UNITS units, the row of W_xh that X_t selects, and
    the likeliest characters of the output together with the true one.
    """
    _ = translate
    phi = {"tanh": "tanh", "relu": "ReLU"}[reading.trace.activation]
    lines = (
        ("H", f"= {phi}(", "X", "W_xh", "+", "H_before", "W_hh", "+", "b_h", ")"),
        ("O", "=", "H", "W_hq", "+", "b_q"),
        ("P", "= softmax(", "O", ")"),
        ("L", "= −", "Y", "· log", "P"),
    )
    state = (
        Row("", "XW", ("X", "W_xh")),
        Row("+", "HW", ("H_before", "W_hh")),
        Row("+", "b_h"),
        Row("=", "A"),
        Row(phi, "H"),
    )
    output = (
        Row("", "HW_q", ("H", "W_hq")),
        Row("+", "b_q"),
        Row("=", "O"),
        Row("softmax", "P"),
        Row("", "Y"),
        Row("−log", "L"),
    )
    return Equation(_rnn_terms(reading, t, _), lines, (state, output))


def _rnn_terms(reading: Reading, t: int, _: Translate) -> dict[str, Term]:
    step, W = reading.step(t), reading.weights
    characters = visible(reading.vocabulary.characters)
    units, read, out = np.arange(min(reading.hidden_size, MAX_UNITS)), _characters_read(step), _likeliest(step)
    by_unit = [_("unit {number}").format(number=unit) for unit in units]
    by_input, by_output = [characters[i] for i in read], [characters[i] for i in out]
    limit = max(1.0, *(float(np.abs(w).max()) for w in W.values()))

    def of_state(symbol: str, label: str, values: Array, colour: str, limit: float, *parts: str) -> Term:
        return Term(symbol, label, values[None, units], ("",), by_unit, colour, limit, parts)

    def of_output(symbol: str, label: str, values: Array, colour: str, limit: float, *parts: str) -> Term:
        return Term(symbol, label, values[None, out], ("",), by_output, colour, limit, parts)

    def weights(name: str, label: str, rows: Axis, columns: Axis) -> Term:
        return Term(name, label, W[name][np.ix_(rows[0], columns[0])], rows[1], columns[1], _WEIGHT, limit)

    sums = ("X", "W_xh", "H_before", "W_hh", "b_h")
    return {
        "H": of_state("H_t", _("hidden state"), step.H, _STATE, 1.0),
        "X": Term("X_t", _("input, one-hot"), step.X[None, read], ("",), by_input, _INPUT),
        "W_xh": weights("W_xh", _("weights from input to state"), (read, by_input), (units, by_unit)),
        "H_before": of_state("H_t−1", _("hidden state one step before"), step.H_before, _STATE, 1.0),
        "W_hh": weights("W_hh", _("weights from state to state"), (units, by_unit), (units, by_unit)),
        "b_h": of_state("b_h", _("bias of the state"), W["b_h"], _WEIGHT, limit),
        "XW": of_state("X_t W_xh", _("what the character adds"), step.XW, _INPUT, limit, "X", "W_xh"),
        "HW": of_state("H_t−1 W_hh", _("what the old state adds"), step.HW, _STATE, limit, "H_before", "W_hh"),
        "A": of_state("A_t", _("sum before the activation"), step.A, _STATE, limit, *sums),
        "O": of_output("O_t", _("logits"), step.O, _OUTPUT, limit),
        "W_hq": weights("W_hq", _("weights from state to output"), (units, by_unit), (out, by_output)),
        "b_q": of_output("b_q", _("bias of the output"), W["b_q"], _WEIGHT, limit),
        "HW_q": of_output("H_t W_hq", _("what the state says"), step.HW_q, _OUTPUT, limit, "H", "W_hq"),
        "P": of_output("P_t", _("probability of the next character"), step.P, _OUTPUT, 1.0),
        "Y": of_output("Y_t", _("true next character, one-hot"), step.Y, _INPUT, 1.0),
        "L": Term("L_t", _("loss in nats"), np.array([[step.loss]]), ("",), ("",), _OUTPUT, limit),
    }


def _characters_read(step: TimeStep) -> NDArray[np.intp]:
    """The rows of W_xh to show: all of a small vocabulary, or the one that X_t selects."""
    V = len(step.X)
    return np.arange(V) if V <= MAX_CHARACTERS else np.array([step.X.argmax()])


def _likeliest(step: TimeStep) -> NDArray[np.intp]:
    """The characters of the output to show: all of a small vocabulary, or the likeliest and the true one."""
    V = len(step.P)
    if V <= MAX_CHARACTERS:
        return np.arange(V)
    best = np.argsort(-step.P, kind="stable")[:_MOST_LIKELY]
    true = np.flatnonzero(step.Y)
    return np.concatenate([best, true[~np.isin(true, best)]])


def _short(value: float) -> float | None:
    return float(f"{value:.6g}") if math.isfinite(value) else None
