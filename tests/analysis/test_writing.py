"""A network that goes on writing after its text."""

from __future__ import annotations

import numpy as np
import pytest

from rnnviz.analysis.holding import hold
from rnnviz.analysis.writing import write_on
from tests.helpers import make_reading


@pytest.mark.parametrize("name", ["rnn", "gru-after", "lstm"])
def test_what_is_written_is_read_as_any_text_is(name: str) -> None:
    """The text grows by that many known characters, and every signal is what reading the whole text gives."""
    reading = make_reading(name)
    longer = write_on(reading, 12, seed=3)
    assert longer.trace.text.startswith(reading.trace.text)
    assert len(longer.trace.text) == len(reading.trace.text) + 12
    assert (longer.vocabulary.encode(longer.trace.text[-12:]) >= 0).all()
    read = hold(longer, {})
    for signal in reading.trace.names:
        np.testing.assert_allclose(longer.trace.signal(signal), read.trace.signal(signal), atol=1e-5)


def test_the_draws_depend_on_the_seed_alone() -> None:
    """The same seed writes the same text, and another one another."""
    reading = make_reading("gru-after")
    texts = [write_on(reading, 30, seed).trace.text for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]


def test_likely_characters_are_written() -> None:
    """With one logit far above the others, only its character is written."""
    reading = make_reading("gru-after")
    reading.weights["b_q"][:] = 0
    reading.weights["b_q"][2] = 50
    assert set(write_on(reading, 8).trace.text[-8:]) == {reading.vocabulary.characters[2]}
