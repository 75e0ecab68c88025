"""What the Home page says about the model that it shows."""

from __future__ import annotations

import numpy as np
import pytest

from rnnviz.analysis.holding import hold, perplexity_of, true_probabilities
from rnnviz.chapters.home import WRITTEN
from rnnviz.i18n import LANGUAGES
from rnnviz.runs.folder import Run
from rnnviz.text.corpora import DATA
from tests.chapters.helpers import OWN_TEXT, said, shipped_reading


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_cell_shown_is_the_model_that_ships(language: str) -> None:
    """Hidden units and the text of each language."""
    (units,) = said(
        "home", "example", en="A GRU of # hidden units reads English tales", zh="有 # 个隐藏单元的 GRU 正在读中文歌词"
    )
    run = Run.open(DATA / f"gru-{language}")
    assert (run.config.model.cell, run.config.model.hidden_size) == ("gru", units)
    assert run.config.corpus == OWN_TEXT[language][0]


@pytest.mark.parametrize("language", LANGUAGES)
def test_with_the_update_gate_held_at_1_the_state_stands_still(language: str) -> None:
    """So does every probability, which is computed from the state alone; untouched, both change at every step."""
    said(
        "home",
        "idea",
        en="hold its **update gate** at 1, and see its guesses fail",
        zh="把它的**更新门**固定为 1，看猜测如何失准",
    )
    said("home", "example", en="the guesses no longer follow the text", zh="猜测也不再跟随文本")
    reading = shipped_reading(f"gru-{language}")
    H = hold(reading, {"Z": 1}).trace.signal("H")
    np.testing.assert_array_equal(H, np.broadcast_to(H[0], H.shape))
    perplexities = [perplexity_of(true_probabilities(each)) for each in (reading, hold(reading, {"Z": 1}))]
    assert perplexities[1] > 5 * perplexities[0]
    own = reading.trace.signal("H")
    assert (np.abs(np.diff(own, axis=0)).max(1) > 0.1).all()


def test_it_writes_as_many_characters_as_the_page_says() -> None:
    """After the text that it reads."""
    (count,) = said("home", "example", en="it writes # characters of its own", zh="它自己写 # 个字符")
    assert count == WRITTEN
