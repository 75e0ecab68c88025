"""The LSTM with its gates held at their limits."""

from __future__ import annotations

import numpy as np

from rnnviz.analysis.holding import largest_change
from rnnviz.analysis.reading import Reading
from rnnviz.ui.frame import Frame
from rnnviz.ui.limits import Limit, show_limits


def limits(frame: Frame) -> None:
    """Three switches, and four numbers, each of which is 0 for some of their positions."""
    show_limits(frame, "lstm", "C", _measure, start={"I": "0", "F": "1"})


def _measure(frame: Frame, held: Reading, since: int) -> list[Limit]:
    _ = frame.translate
    H, C, C_tilde = (held.trace.signal(name)[since:] for name in ("H", "C", "C_tilde"))
    return [
        Limit(_("largest change of $C_t$ in one step"), largest_change(held, "C", since)),
        Limit(_(r"largest difference of $C_t$ and $\tilde C_t$"), float(np.abs(C - C_tilde).max())),
        Limit(_(r"largest difference of $H_t$ and $\tanh C_t$"), float(np.abs(H - np.tanh(C)).max())),
        Limit(_("largest size of $H_t$"), float(np.abs(H).max())),
    ]
