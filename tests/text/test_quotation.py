"""Quotations against a naive search, and in linear time."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnviz.text.corpora import read
from rnnviz.text.quotation import SHORTEST, Quotation, Source, quoted_from

# Few characters, so that there is much to be found: letters, Chinese, an emoji of one code point, a combining accent.
ALPHABET = "ab开🐈\u0301"
texts = st.text(alphabet=ALPHABET, max_size=30)
shortest = st.integers(1, 9)


def letters(alphabet: str, length: int) -> str:
    return "".join(np.random.default_rng(1).choice(list(alphabet), length))


def naive(training: str, text: str, least: int) -> list[Quotation]:
    """Every span that occurs in the training text and would not with one more character on either side."""
    spans = [(i, j) for i in range(len(text)) for j in range(i + least, len(text) + 1) if text[i:j] in training]
    maximal = [(i, j) for i, j in spans if (i - 1, j) not in spans and (i, j + 1) not in spans]
    return [Quotation(i, j, training.index(text[i:j])) for i, j in maximal]


@given(texts, texts, shortest)
def test_quotations_are_what_a_naive_search_finds(training: str, text: str, least: int) -> None:
    """The same spans in the same order, each from where it first stands in the training text, in both ways."""
    expected = naive(training, text, least)
    assert list(Source(training).quoted(text, least).quotations) == expected
    assert list(quoted_from(training, text, least).quotations) == expected


@given(st.text(max_size=40), st.text(max_size=40))
def test_any_text_may_be_quoted(training: str, text: str) -> None:
    """With characters of every script, and with more of the text than chance would give."""
    both = text + training
    assert list(Source(training).quoted(both, 1).quotations) == naive(training, both, 1)


@given(texts, texts, shortest)
def test_marks_share_and_passages_agree(training: str, text: str, least: int) -> None:
    """A character is marked if some span of at least that length around it stands in the training text."""
    quoted = Source(training).quoted(text, least)
    expected = np.zeros(len(text), dtype=bool)
    for i in range(len(text) - least + 1):
        if text[i : i + least] in training:
            expected[i : i + least] = True
    np.testing.assert_array_equal(quoted.marked, expected)
    assert quoted.share == (pytest.approx(expected.mean()) if text else 0)
    passages = list(quoted.passages())
    assert "".join(passage for passage, _ in passages) == text
    assert [mark for passage, mark in passages for _ in passage] == expected.tolist()
    assert all(one[1] != other[1] for one, other in pairwise(passages))
    lengths = [len(quotation) for quotation in quoted.quotations]
    assert quoted.longest == (quoted.quotations[lengths.index(max(lengths))] if lengths else None)


def test_a_quotation_has_eight_characters_or_more() -> None:
    """Seven are not enough; the training text itself is one quotation."""
    training = read("lyrics-zh")
    source = Source(training)
    at = training.index("末班渡轮慢慢开")
    seven, eight = training[at : at + 7], training[at : at + 8]
    assert SHORTEST == 8
    assert source.quoted(f"Q{seven}Q").quotations == ()
    assert source.quoted(f"Q{eight}Q").quotations == (Quotation(1, 9, at),)
    assert source.quoted(f"Q{eight}Q").share == pytest.approx(8 / 10)
    assert source.quoted(training).quotations == (Quotation(0, len(training), 0),)


@pytest.mark.parametrize(
    "training",
    [
        pytest.param((read("lyrics-zh") * 7)[:100_000], id="lyrics"),
        pytest.param(letters("ab", 100_000), id="two letters"),
        pytest.param("a" * 100_000, id="one letter"),
    ],
)
def test_a_hundred_thousand_characters_take_less_than_half_a_second(training: str) -> None:
    """Processor time of the best of three, to prepare so long a text and to find what another one quotes of it."""
    text = training[50_000:50_100] + training[:900]

    def measure() -> float:
        began = time.process_time()
        Source(training).quoted(text)
        return time.process_time() - began

    assert min(measure() for _ in range(3)) < 0.5


@given(st.text(alphabet="ab", min_size=2, max_size=300) | texts.filter(lambda text: len(text) > 1))
def test_the_automaton_grows_in_proportion_to_the_text(training: str) -> None:
    """At most 2n - 1 states and 3n - 3 transitions for n characters (Blumer et al. 1985)."""
    source, n = Source(training), len(training)
    assert len(source._length) <= 2 * n - 1
    assert sum(map(len, source._next)) <= 3 * n - 3


@pytest.mark.parametrize("training", ["a" * 20_000, "ab" * 10_000, "a" * 10_000 + "b" * 10_000])
def test_reading_takes_a_few_steps_for_each_character(training: str) -> None:
    """Also where a long span ends again and again: a shorter suffix is looked for no more often than it has grown."""
    source = Source(training)
    looked = 0

    class Counted(list[int]):
        def __getitem__(self, state: Any) -> Any:
            nonlocal looked
            looked += 1
            return super().__getitem__(state)

    source._link = Counted(source._link)
    source.quoted(("a" * 99 + "c") * 50 + ("ab" * 50 + "bb") * 50)
    assert looked <= 50 * (100 + 102)
