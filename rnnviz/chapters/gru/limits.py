"""The GRU with its gates held at their limits."""

from __future__ import annotations

import numpy as np

from rnnviz.analysis.holding import largest_change, plain_rnn, spread_within_characters
from rnnviz.analysis.reading import Reading
from rnnviz.ui.frame import Frame
from rnnviz.ui.limits import Limit, show_limits


def limits(frame: Frame) -> None:
    """Two switches, and three numbers, each of which is 0 for some of their positions."""
    show_limits(frame, "gru", "H", _measure, start={"Z": "1"})


def _measure(frame: Frame, held: Reading, since: int) -> list[Limit]:
    _ = frame.translate
    difference = np.abs(held.trace.signal("H")[since:] - plain_rnn(held, since)).max()
    return [
        Limit(_("largest change of $H_t$ in one step"), largest_change(held, "H", since)),
        Limit(_("largest difference from a plain RNN"), float(difference)),
        Limit(_(r"same character, different candidate $\tilde H_t$"), spread_within_characters(held, "H_tilde", since)),
    ]
