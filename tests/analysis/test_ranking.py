"""The ranking finds units that follow a feature, estimates the level of chance, and refuses what it cannot read."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnviz.analysis.ranking import EXPRESSION, FEATURES, MAX_EXPRESSION, MAX_TEXT, find, mark_matches, rank
from rnnviz.analysis.ranking import shifted_correlations as shifted
from rnnviz.errors import InputError
from rnnviz.nn import execution
from rnnviz.runs.folder import Run
from rnnviz.text.corpora import DATA

TEXT = "it was (so [they say] not) far. " * 12


def noise(seed: int, T: int, h: int, memory: float = 0.0) -> np.ndarray:
    """Units (T, h) of noise, in which each value keeps the share `memory` of the one before it."""
    steps = np.random.default_rng(seed).normal(size=(T, h)).astype(np.float32)
    for t in range(1, T):
        steps[t] += memory * steps[t - 1]
    return steps


@pytest.mark.parametrize("sign", [1, -1])
def test_a_planted_unit_is_found(sign: int) -> None:
    """Among 200 units of noise, the one that follows the spaces comes first, whatever its sign."""
    marks = find("spaces", TEXT)
    signals = {"H": noise(0, len(TEXT), 100), "Z": noise(1, len(TEXT), 100)}
    signals["Z"][:, 37] = 5 + sign * marks + 0.5 * noise(2, len(TEXT), 1)[:, 0]
    found = rank(TEXT, marks, signals)
    best = found.best[0]
    assert (best.signal, best.unit) == ("Z", 37)
    assert np.sign(best.correlation) == sign
    assert best.correlation == pytest.approx(np.corrcoef(signals["Z"][:, 37], marks)[0, 1])
    assert abs(best.correlation) > 0.5 > found.level
    assert np.array_equal(best.values, signals["Z"][:, 37])
    strengths = [abs(f.correlation) for f in found.best]
    assert strengths == sorted(strengths, reverse=True)


@pytest.mark.parametrize("memory", [0.0, 0.9])
def test_the_chance_level_is_right_on_noise(memory: float) -> None:
    """In 300 texts of noise the best of 30 units has a share of at most 0.1 about 30 times, even if units are slow.

    The number is binomial with a standard deviation of 5.2.
    """
    low = 0
    for seed in range(300):
        units = noise(seed, 200, 31, memory)
        feature = (units[:, 30] > 0).astype(float)
        low += rank("a" * 200, feature, {"H": units[:, :30]}).best[0].share <= 0.1
    assert 30 - 3 * 5.2 < low < 30 + 3 * 5.2


@given(st.integers(0, 2**32 - 1), st.integers(20, 70), st.floats(0.1, 100), st.floats(-100, 100))
def test_correlations_are_pearsons_at_every_shift(seed: int, T: int, scale: float, offset: float) -> None:
    """They are those that NumPy computes, shift by shift; a unit's scale and offset do not matter."""
    units, feature = noise(seed, T, 3).astype(np.float64), noise(seed + 1, T, 1)[:, 0].astype(np.float64)
    r = shifted(units, feature)
    assert (np.abs(r) <= 1).all()
    for s in (0, 1, T // 2, T - 1):
        expected = [np.corrcoef(units[:, u], np.roll(feature, s))[0, 1] for u in range(3)]
        np.testing.assert_allclose(r[s], expected, atol=1e-9)
    np.testing.assert_allclose(shifted(scale * units + offset, feature), r, atol=1e-6)
    np.testing.assert_allclose(shifted(-units, feature), -r, atol=1e-9)


def test_units_that_never_change_are_last() -> None:
    """A gate that stays at 1 up to rounding, and values that are not finite, count as 0."""
    units = noise(0, len(TEXT), 4)
    units[:, 1], units[:, 2] = 1.0, np.nan
    units[:, 3] = np.float32(1) - np.float32(6e-8) * find("spaces", TEXT).astype(np.float32)
    found = rank(TEXT, find("spaces", TEXT), {"H": units})
    assert found.correlations["H"][1:].tolist() == [0, 0, 0]
    assert found.best[0].unit == 0
    with pytest.raises(InputError, match="no unit changes over the text"):
        rank(TEXT, find("spaces", TEXT), {"H": units[:, 1:]})


@pytest.mark.parametrize(
    ("name", "text", "marked"),
    [
        ("spaces", "a b\nc", "01010"),
        ("starts", "ab\n\ncd", "100010"),
        ("brackets", "a) (b[c]) d", "00011111000"),
        ("quotes", '"ab" c“d"” e', "111000111000"),
        ("capital", "Ab ÖbB", "010010"),
        ("position", "ab\ncde", "012012"),
    ],
)
def test_features_mark_the_right_characters(name: str, text: str, marked: str) -> None:
    """Each feature is compared with a marking by hand."""
    assert "".join(f"{value:g}" for value in FEATURES[name](text)) == marked


def test_a_quotation_ends_with_its_line_at_the_latest() -> None:
    """One forgotten mark does not invert the rest of the text."""
    assert FEATURES["quotes"]('"a\n"b" c').tolist() == [1, 1, 0, 1, 1, 0, 0, 0]


def test_an_expression_marks_its_matches() -> None:
    """All characters of all matches are marked; an empty match marks none."""
    assert find(EXPRESSION, "ab1 22", r"\d+|(?=a)").tolist() == [0, 0, 1, 0, 1, 1]


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("", "the expression has 0 characters; allowed: 1 to 200"),
        ("a" * (MAX_EXPRESSION + 1), "the expression has 201 characters"),
        ("(", "the expression cannot be read: missing"),
        ("a**", "the expression cannot be read: multiple repeat"),
        ("(?:(?:(?:a{99}){99}){99}){99}", "counts in braces multiply to 96,059,601; allowed: at most 10,000"),
        ("a{99999999999999999999}", "counts in braces multiply to"),
    ],
)
def test_an_expression_that_is_wrong_is_refused(expression: str, message: str) -> None:
    """The message says what is wrong and what is allowed; nested repetitions are refused before they fill memory."""
    with pytest.raises(InputError, match=message):
        mark_matches(TEXT, expression)


@pytest.mark.parametrize("expression", ["(a+)+$", "(a|aa)+$", "(?=(.*?)*?x)", "(?R)*", "(?:(?:a|aa)+(?=c))|b"])
def test_a_slow_expression_is_refused_within_a_second(expression: str) -> None:
    """The second is one of computing time, because a busy machine may take longer."""
    began = time.process_time()
    with pytest.raises(InputError, match=r"more than 0.2 seconds on this text"):
        mark_matches("a" * (MAX_TEXT - 1) + "b", expression)
    assert time.process_time() - began < 1


@pytest.mark.parametrize(("expression", "count"), [("q", "0"), (r"[\s\S]", "384")])
def test_an_expression_that_matches_nowhere_or_everywhere_is_refused(expression: str, count: str) -> None:
    """A correlation needs characters that match and characters that do not."""
    with pytest.raises(InputError, match=f"{count} of the 384 characters match"):
        rank(TEXT, mark_matches(TEXT, expression), {"H": noise(0, len(TEXT), 3)})


@pytest.mark.parametrize("length", [0, 1, 19, MAX_TEXT + 1, 10**7])
def test_a_text_that_is_too_short_or_huge_is_refused_at_once(length: int) -> None:
    """It is refused before the model reads it."""
    with pytest.raises(InputError, match=f"the text has {length:,} characters; allowed: 20 to 5,000"):
        execution.rank(str(DATA / "gru-en"), "a" * length, "spaces")


def test_the_shipped_gru_has_a_unit_for_quotations() -> None:
    """The unit is found on text that the model was not trained on, and beats the best of all 256 at every shift."""
    run = Run.open(DATA / "gru-en")
    found = execution.rank(str(run.folder), run.corpus.held_out[:2000], "quotes")
    best = found.best[0]
    assert (best.signal, best.unit) == ("H", 31)
    assert best.correlation > 0.5 > 2 * found.level
    assert best.share == 1 / (1 + len(found.chance))
