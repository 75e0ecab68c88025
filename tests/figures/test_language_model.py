"""Pictures of n-gram models show the model's own numbers."""

from __future__ import annotations

import math
import re
from itertools import combinations
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnviz.figures import language_model
from rnnviz.figures.language_model import (
    ORDER_COLOURS,
    contexts,
    growth_figure,
    orders_figure,
    scientific,
    step_sum,
)
from rnnviz.i18n import LANGUAGES, quantity, translator
from rnnviz.text.ngram import MAX_ORDER, fit_ngrams
from tests.figures.helpers import packed
from tests.helpers import PAGES, VISION, contrast, lab, linear_rgb, read_scientific

TEXT = "the cat sat on the mat, the rat sat on the cat. " * 20
MODEL = fit_ngrams(TEXT)
V = len(MODEL.vocabulary)
SENTENCE = "the Ωcat <b>"


def chain_figure(*arguments: Any, **options: Any) -> go.Figure:
    """The figure as Plotly's classes take it, which refuse what Plotly would not draw."""
    return go.Figure(language_model.chain_figure(*arguments, **options))


def next_character_figure(*arguments: Any) -> go.Figure:
    return go.Figure(language_model.next_character_figure(*arguments))


def traces(figure: go.Figure, kind: str) -> list[Any]:
    return [trace for trace in figure.data if trace.type == kind]


@pytest.mark.parametrize("order", range(1, MAX_ORDER + 1))
def test_bars_stack_up_to_the_probabilities(order: int) -> None:
    """There is one bar for each λ_k P_k; their sum is P(x_t | …), and an unknown character has none."""
    chain = MODEL.chain(SENTENCE, order)
    bars = traces(chain_figure(chain, V), "bar")
    assert len(bars) == order + 1
    assert sum(np.asarray(bar.y) for bar in bars) == pytest.approx(chain.probabilities, nan_ok=True)
    assert [bar.marker.color for bar in bars] == list(ORDER_COLOURS[: order + 1])


def test_the_lower_lines_add_up_the_logarithms() -> None:
    """One is the model's, the other a uniform guess's; both stay level at a character that is not scored."""
    chain = MODEL.chain(SENTENCE, 3)
    uniform, model, unknown = traces(chain_figure(chain, V), "scatter")
    assert list(model.y) == pytest.approx(np.nancumsum(np.log(chain.probabilities)))
    assert uniform.y[-1] == pytest.approx(-math.log(V) * chain.scored.sum())
    assert uniform.y[4] == uniform.y[3]
    assert list(unknown.x) == ["5  Ω", "10  <", "11  b", "12  >"]


def test_a_bars_hover_text_has_character_context_term_and_sum() -> None:
    """The context is as long as the term's order says, and a user's text never becomes markup."""
    chain = MODEL.chain("the cat", 3)
    hover = traces(chain_figure(chain, V), "bar")[3].hovertext[5]
    assert hover == (
        f"step 6: a after ␣c<br>λ₃ P₃ = {quantity(chain.terms[5, 3])}<br>P(xₜ | …) = {quantity(chain.probabilities[5])}"
    )
    hovers = traces(chain_figure(MODEL.chain("<b>at", 4), V), "bar")[4].hovertext
    assert "a after &lt;b&gt;" in hovers[3]
    assert "step 1: &lt; after" in hovers[0]


def test_a_term_and_a_step_can_be_highlighted() -> None:
    """The other terms fade, and the band is at the step."""
    figure = chain_figure(MODEL.chain("the cat", 3), V, t=2, lit=1)
    assert [bar.opacity == 1 for bar in traces(figure, "bar")] == [False, True, False, False]
    assert (figure.layout.shapes[0].x0, figure.layout.shapes[0].x1) == (1.5, 2.5)


@pytest.mark.parametrize(("highest", "top"), [("the ", 1), ("m", 0.03)])
def test_the_axis_of_probabilities_fits_the_highest(highest: str, top: float) -> None:
    """It usually ends at 1; if all probabilities are small, it ends at a smaller round number."""
    figure = chain_figure(MODEL.chain(highest, 4), V)
    assert figure.layout.yaxis.range[1] == pytest.approx(top * 1.02)


def test_one_character_and_two_hundred_can_be_drawn() -> None:
    """They are the shortest and the longest sentence of the page."""
    for text in ("t", TEXT[:200], "Ω"):
        figure = chain_figure(MODEL.chain(text, 6), V, 0)
        assert len(figure.layout.meta["characters"]) == len(text)
        packed(figure)


def test_next_characters_are_the_likeliest_and_the_true_one() -> None:
    """They are in falling order; the true one is among them even if it was not expected."""
    P = MODEL.distribution("the ", 4)
    (bar,) = next_character_figure(P, MODEL.vocabulary.characters, "c").data
    assert list(bar.y[:5]) == sorted(P, reverse=True)[:5]
    corpus = "abcdefghijklmnopqrstuvwxyz"
    falling = np.arange(26, 0, -1) / 351
    assert next_character_figure(np.ones(1), "<", None).data[0].hovertext[0].startswith("&lt;: ")
    figure = next_character_figure(falling, corpus, "z")
    assert list(figure.layout.xaxis.ticktext) == [*"abcdefghijk", "z"]
    colours = figure.data[0].marker.color
    assert [i for i, colour in enumerate(colours) if colour != colours[0]] == [11]
    assert len(set(next_character_figure(falling, corpus, "Ω").data[0].marker.color)) == 1


def test_perplexity_against_n_has_both_parts_and_the_uniform_line() -> None:
    """The log axis covers all of it; without a held-out part there is one curve."""
    training, held_out = np.array([20.0, 9, 5, 3, 2.5, 2]), np.array([21.0, 12, 9, 8, 7.5, 7])
    uniform, ours, theirs = orders_figure(training, held_out, 57, 3).data
    assert list(uniform.y) == [57, 57]
    assert list(ours.x) == [1, 2, 3, 4, 5, 6]
    assert (list(ours.y), list(theirs.y)) == (training.tolist(), held_out.tolist())
    layout = orders_figure(training, held_out, 57, 3).layout
    assert layout.yaxis.type == "log"
    assert layout.yaxis.range[0] == 0
    assert 10 ** layout.yaxis.range[1] > 57
    assert len(orders_figure(training, np.full(6, np.nan), 57, 3).data) == 2


def test_growth_shows_possible_and_seen_n_grams() -> None:
    """V^n and the counts are on one log axis, together with the length of the text."""
    possible, seen = MODEL.counts.possible(), MODEL.counts.seen().tolist()
    length, exponential, counted = growth_figure(possible, seen, len(TEXT), 2).data
    assert list(exponential.y) == pytest.approx([V**n for n in range(1, 7)])
    assert list(counted.y) == seen
    assert list(length.y) == [len(TEXT)] * 2


def test_growth_shows_counts_in_full() -> None:
    """Every digit is shown, with separated thousands, even where a float has fewer."""
    possible = [1102**n for n in range(1, 7)]
    _length, exponential, counted = growth_figure(possible, [1102, 7184, 9000, 9500, 9800, 57], 10_000, 2).data
    assert exponential.hovertext[:2] == ("1,102", "1,214,404")
    assert exponential.hovertext[-1] == f"{1102**6:,}" == "1,790,975,179,250,611,264"
    assert counted.hovertext == ("1,102", "7,184", "9,000", "9,500", "9,800", "57")


def test_growth_of_a_text_shorter_than_the_n_gram_ends_early() -> None:
    """There is no point where the text has no n-gram, and the axis still has its limits."""
    counts = fit_ngrams("ab").counts
    _length, _possible, counted = growth_figure(counts.possible(), counts.seen().tolist(), 2, 2).data
    assert list(counted.x) == [1, 2]
    assert list(counted.y) == [2, 1]


@pytest.mark.parametrize("t", range(7))
@pytest.mark.parametrize("order", [1, 3, 6])
def test_the_sum_holds_the_numbers_of_the_bars(order: int, t: int) -> None:
    """Each line has a weight times P_k, and the first their sum; unseen contexts say what replaces them."""
    chain = MODEL.chain("the tac", order)
    (symbol, total), *terms = step_sum(chain, t)
    assert symbol == f"P(x_{{{t + 1}}} | …)"
    assert total.endswith(f"= {quantity(chain.probabilities[t])}")
    assert len(terms) == order + 1
    for k, (symbol, product) in zip(range(order, -1, -1), terms, strict=True):
        weight, P, term = product.replace("=", "×").split(" × ")
        assert weight == quantity(chain.weights[k])
        assert term == quantity(chain.terms[t, k])
        assert quantity(chain.terms[t, k] / chain.weights[k]) == P
        assert (f"P_{{{k}}} = P_{{{chain.reach[t]}}}" in symbol) == (k > chain.reach[t])


@given(st.floats(-3000, 0))
def test_a_probability_too_small_for_a_float_is_written_out(nats: float) -> None:
    """It has three digits and a power of ten, as far down as logarithms go."""
    mantissa, exponent = read_scientific(scientific(nats))
    assert (math.log(mantissa) + exponent * math.log(10)) == pytest.approx(nats, abs=0.006)
    assert re.fullmatch(r"\d\.\d\d × 10⁻[⁰¹²³⁴⁵⁶⁷⁸⁹]+|[01]\.\d+", scientific(nats))


def test_contexts_are_the_characters_before() -> None:
    """There are n−1 characters, or fewer at the beginning of the text, with visible spaces."""
    assert contexts("a bcd", 3) == ["", "a", "a␣", "␣b", "bc"]
    assert contexts("abc", 1) == ["", "", ""]


@pytest.mark.parametrize("language", LANGUAGES)
def test_labels_are_in_the_readers_language(language: str) -> None:
    """All four figures are drawn in every language."""
    _ = translator(language)
    figures = (
        chain_figure(MODEL.chain(SENTENCE, 2), V, 0, None, _),
        next_character_figure(MODEL.distribution("t", 2), MODEL.vocabulary.characters, "h", _),
        orders_figure(MODEL.perplexities(TEXT), MODEL.perplexities(SENTENCE), V, 2, _),
        growth_figure(MODEL.counts.possible(), MODEL.counts.seen().tolist(), len(TEXT), 2, _),
    )
    for figure in figures:
        labels = f"{figure.layout.xaxis.title.text} {figure.layout.yaxis.title.text}"
        assert bool(re.search("[\u4e00-\u9fff]", labels)) is (language == "zh")


@pytest.mark.parametrize("page", PAGES)
def test_the_colours_of_the_orders_contrast_with_the_page(page: str) -> None:
    """The contrast is at least 3:1, on the white and on the dark page."""
    assert all(contrast(colour, PAGES[page]) >= 3 for colour in ORDER_COLOURS)


@pytest.mark.parametrize("vision", VISION)
def test_the_colours_of_the_orders_differ_for_colour_blind_eyes(vision: str) -> None:
    """Any two are more than 15 apart in CIELab, even without red or green cones."""
    seen = [lab(VISION[vision] @ linear_rgb(colour)) for colour in ORDER_COLOURS]
    assert all(np.linalg.norm(a - b) > 15 for a, b in combinations(seen, 2))
