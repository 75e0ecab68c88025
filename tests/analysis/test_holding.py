"""Gates held at a value: what holds exactly at the limits, for random weights and every variant."""

from __future__ import annotations

import numpy as np
import pytest

from rnnviz.analysis.holding import (
    hold,
    largest_change,
    perplexity_of,
    plain_rnn,
    shares_left,
    spread_within_characters,
    true_probabilities,
    with_reset,
)
from rnnviz.cells import Reset, cell_of
from tests.helpers import CELLS, TEXT, make_reading

GRUS = pytest.mark.parametrize("name", ["gru-before", "gru-after", "gru-after-bias"])
SINCE = 3


@CELLS
def test_holding_nothing_changes_nothing(name: str) -> None:
    """Every signal is the recorded one, even if a gate is held from the text's end on."""
    reading = make_reading(name)
    for held in ({}, dict.fromkeys(cell_of(reading.trace).gates, 0.5)):
        again = hold(reading, held, len(TEXT) if held else 0)
        for signal in reading.trace.names:
            np.testing.assert_allclose(again.trace.signal(signal), reading.trace.signal(signal), atol=1e-6)


@CELLS
def test_a_held_gate_has_its_value_from_its_step_on(name: str) -> None:
    """Everything before that step is as recorded."""
    reading = make_reading(name)
    for gate in cell_of(reading.trace).gates:
        values = hold(reading, {gate: 0.25}, SINCE).trace.signal(gate)
        assert (values[SINCE:] == 0.25).all()
        np.testing.assert_allclose(values[:SINCE], reading.trace.signal(gate)[:SINCE], atol=1e-6)


@GRUS
def test_an_update_gate_of_1_keeps_for_ever(name: str) -> None:
    """The state does not change by a single bit; with the gate as learned, it does."""
    reading = make_reading(name)
    assert largest_change(hold(reading, {"Z": 1}, SINCE), "H", SINCE) == 0
    assert largest_change(reading, "H", SINCE) > 0.1


@GRUS
def test_a_reset_gate_of_0_forgets_the_past(name: str) -> None:
    """The candidate depends on the character alone; with Z = 0, so does the state."""
    reading = make_reading(name, "abcabbacab")
    forgetful = hold(reading, {"R": 0}, SINCE)
    assert spread_within_characters(forgetful, "H_tilde", SINCE) == 0
    assert spread_within_characters(forgetful, "H", SINCE) > 0.1
    assert spread_within_characters(hold(reading, {"R": 0, "Z": 0}, SINCE), "H", SINCE) == 0
    assert np.isnan(spread_within_characters(make_reading(name, "abc"), "H", 0))


@GRUS
@pytest.mark.parametrize("since", [0, SINCE])
def test_a_gru_with_open_reset_and_closed_update_gate_is_a_plain_rnn(name: str, since: int) -> None:
    """They agree to the last digit, except with a bias inside the gate, which is added in another order."""
    reading = make_reading(name)
    H = hold(reading, {"R": 1, "Z": 0}, since).trace.signal("H")[since:]
    expected = plain_rnn(hold(reading, {"R": 1, "Z": 0}, since), since)
    if name == "gru-after-bias":
        np.testing.assert_allclose(H, expected, atol=1e-5)
    else:
        assert np.array_equal(H, expected)


def test_the_limits_of_the_lstm_are_exact() -> None:
    """F = 1 and I = 0 keeps C; F = 0 and I = 1 takes the candidate; O = 0 hides, O = 1 shows all."""
    reading = make_reading("lstm")
    assert largest_change(hold(reading, {"F": 1, "I": 0}, SINCE), "C", SINCE) == 0
    taken = hold(reading, {"F": 0, "I": 1}).trace
    assert np.array_equal(taken.signal("C"), taken.signal("C_tilde"))
    assert not hold(reading, {"O": 0}).trace.signal("H").any()
    shown = hold(reading, {"O": 1}).trace
    assert np.array_equal(shown.signal("H"), np.tanh(shown.signal("C")))


@pytest.mark.parametrize("reset", ["before", "after"])
def test_each_reset_has_the_numbers_of_its_own_cell(reset: Reset) -> None:
    """They are computed from that cell's weights; the other form differs unless all units share one reset gate."""
    reading = make_reading(f"gru-{reset}")
    own, other = with_reset(reading, reset), with_reset(reading, "before" if reset == "after" else "after")
    np.testing.assert_allclose(own.trace.signal("H"), reading.trace.signal("H"), atol=1e-6)
    assert np.abs(own.trace.signal("H") - other.trace.signal("H")).max() > 0.01
    after, before = (with_reset(reading, form, one_number=True).trace for form in ("after", "before"))
    np.testing.assert_allclose(after.signal("H"), before.signal("H"), atol=1e-5)
    assert np.ptp(after.signal("R"), axis=1).max() == 0


def test_true_probabilities_are_those_of_the_characters_that_follow() -> None:
    """There is one per character but the last; characters that the vocabulary lacks do not count for the perplexity."""
    reading = make_reading("lstm")
    chances = true_probabilities(reading)
    ids = reading.vocabulary.encode(TEXT)
    assert len(chances) == len(TEXT) - 1
    assert chances[2] == pytest.approx(np.exp(reading.log_probabilities()[2, ids[3]]))
    assert np.isnan(chances).tolist() == [i < 0 for i in ids[1:]]
    assert perplexity_of(np.array([0.5, 0.125, np.nan], np.float32)) == pytest.approx(4)
    assert np.isnan(perplexity_of(np.array([np.nan], np.float32)))


def test_the_share_left_of_a_memory_is_the_product_of_its_forget_gates() -> None:
    """A constant gate gives its powers; once a gate closes, nothing from before is left."""
    F = np.full((9, 2), 0.5, np.float32)
    F[4, 1] = 0
    left = shares_left(F, 4)
    np.testing.assert_allclose(left[:, 0], 0.5 ** np.arange(5))
    np.testing.assert_allclose(left[1, 1], 0.5 * 4 / 5)
    assert left[4, 1] == pytest.approx(0.5**4 / 5)
