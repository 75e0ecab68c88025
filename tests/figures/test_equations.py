"""Equations hold the numbers of a step, name every row and column, and stay small for large models."""

from __future__ import annotations

import json

import numpy as np
import pytest

from rnnviz.analysis.reading import Reading
from rnnviz.figures.equations import MAX_CHARACTERS, MAX_UNITS, pack_steps, rnn_equation
from rnnviz.figures.kit import visible
from rnnviz.i18n import translator
from rnnviz.runs.recording import Trace
from rnnviz.text.corpora import Vocabulary


def make_reading(V: int = 5, h: int = 4, text: str = "ab ?e") -> Reading:
    rng = np.random.default_rng(1)
    vocabulary = Vocabulary(" abcde"[:V] if V < 7 else "".join(chr(0x4E00 + i) for i in range(V)))
    weights = {
        name: rng.normal(size=shape).astype(np.float32)
        for name, shape in {"W_xh": (V, h), "W_hh": (h, h), "b_h": (h,), "W_hq": (h, V), "b_q": (V,)}.items()
    }
    H = rng.uniform(-1, 1, (len(text), h)).astype(np.float32)
    trace = Trace(text, "rnn", "after", "tanh", {"layer1.forward.H": H})
    return Reading(trace, weights, vocabulary)


@pytest.mark.parametrize("t", range(5))
def test_terms_hold_the_numbers_of_the_step(t: int) -> None:
    """Each term is the step's vector or the model's matrix, entry by entry, with its row and column names."""
    reading = make_reading()
    step, terms = reading.step(t), rnn_equation(reading, t).terms
    for name in ("X", "H_before", "XW", "HW", "A", "H", "HW_q", "O", "P", "Y"):
        np.testing.assert_array_equal(terms[name].values, getattr(step, name)[None])
    for name, values in reading.weights.items():
        np.testing.assert_array_equal(terms[name].values, np.atleast_2d(values))
    assert terms["L"].values[0, 0] == pytest.approx(step.loss, nan_ok=True)
    for term in terms.values():
        assert term.values.shape == (len(term.rows), len(term.columns))
    assert list(terms["W_xh"].rows) == list(terms["P"].columns) == visible(reading.vocabulary.characters)


def test_the_numbers_shown_multiply_and_add_up() -> None:
    """In every panel a product is that of its factors, and the term after `=` is the sum of those above it."""
    equation = rnn_equation(make_reading(), 2)
    for panel in equation.panels:
        total: float | np.ndarray = 0.0
        for row in panel:
            values = equation.terms[row.term].values
            if row.factors:
                vector, matrix = (equation.terms[name].values for name in row.factors)
                np.testing.assert_allclose(vector @ matrix, values, rtol=1e-5)
                assert equation.terms[row.term].parts == row.factors
            if row.sign == "=":
                np.testing.assert_allclose(values, total, rtol=1e-5)
                break
            total = total + values


def test_every_term_of_an_equation_is_in_a_panel_and_vice_versa() -> None:
    """Every term of a line is in a panel, and every term of a panel highlights at least one term of a line."""
    equation = rnn_equation(make_reading(), 2)
    in_lines = {token for line in equation.lines for token in line if token in equation.terms}
    in_panels = {name for panel in equation.panels for row in panel for name in (row.term, *(row.factors or ()))}
    assert in_lines <= in_panels == set(equation.terms)
    for name in in_panels:
        assert {name, *equation.terms[name].parts} & in_lines


@pytest.mark.parametrize("t", [0, 3])
def test_a_large_model_is_cut_to_what_fits(t: int) -> None:
    """It keeps the row that X selects, the first units, the likeliest characters and the true one, with their names."""
    reading = make_reading(V=300, h=64, text="一丏下不")
    step, terms = reading.step(t), rnn_equation(reading, t).terms
    assert terms["W_hh"].values.shape == (MAX_UNITS, MAX_UNITS)
    assert terms["W_xh"].values.shape == (1, MAX_UNITS)
    assert list(terms["X"].columns) == [reading.trace.text[t]]
    np.testing.assert_array_equal(terms["W_xh"].values[0], reading.weights["W_xh"][step.X.argmax(), :MAX_UNITS])
    shown = list(terms["P"].columns)
    assert reading.vocabulary.characters[step.P.argmax()] == shown[0]
    assert len(shown) <= MAX_CHARACTERS
    if t < 3:
        assert reading.trace.text[t + 1] in shown
        assert terms["Y"].values.sum() == 1


def test_it_is_valid_json() -> None:
    """A loss that is NaN becomes null, and numbers keep six digits."""
    reading = make_reading()
    last = json.loads(json.dumps(rnn_equation(reading, 4).to_json(), allow_nan=False))
    assert last["terms"]["L"]["values"] == [[None]]
    assert last["terms"]["W_hh"]["values"][1][2] == pytest.approx(float(reading.weights["W_hh"][1, 2]), rel=1e-5)


def test_packed_steps_are_the_equations_and_say_once_what_never_changes() -> None:
    """Put together again they are the equations; weights are in no step; the largest on a page fit into 2 MB."""
    reading = make_reading()
    equations = [rnn_equation(reading, t).to_json() for t in range(5)]
    packed = pack_steps([rnn_equation(reading, t) for t in range(5)])
    for equation, step in zip(equations, packed["steps"], strict=True):
        assert {name: term | step[name] for name, term in packed["terms"].items()} == equation["terms"]
        assert step["W_hh"] == step["b_q"] == {}
    longest = "".join(chr(0x4E00 + i) for i in range(200))
    large, chinese = make_reading(V=300, h=64, text=longest), translator("zh")
    packed = pack_steps([rnn_equation(large, t, chinese) for t in range(200)])
    assert len(json.dumps(packed, ensure_ascii=False).encode()) < 2e6


def test_the_table_has_every_number_once() -> None:
    """Its columns are term, row, column and value, all of the same length."""
    equation = rnn_equation(make_reading(), 1)
    table = equation.table()
    assert {len(column) for column in table.values()} == {sum(term.values.size for term in equation.terms.values())}
    assert len(set(zip(table["term"], table["row"], table["column"], strict=True))) == len(table["value"])


def test_labels_are_in_the_readers_language() -> None:
    """Symbols are not translated."""
    ours, theirs = (rnn_equation(make_reading(), 1, translator(language)).terms for language in ("en", "zh"))
    for name, term in ours.items():
        assert theirs[name].symbol == term.symbol
        assert theirs[name].label != term.label
