"""The signals inside the cells: symbol, range and colour, in one table."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Signal:
    """One recorded quantity of a cell, of shape (T, h) over a text.

    Its values lie between `low` and `high`: gates in [0, 1], states in [-1, 1]. In some cells a state
    has no bounds, as `Cell.unbounded` says; the memory cell `C` never has.
    """

    name: str
    label: str
    symbol: str
    low: float
    high: float
    colour: str

    @property
    def is_gate(self) -> bool:
        """Gates are in [0, 1] and have a sequential scale; everything else diverges around 0."""
        return self.low == 0.0


# Labels are message ids for gettext. The colours differ for the three common kinds of colour
# blindness and have a contrast of 3:1 on a white and on a dark page (tests assert both).
SIGNALS: dict[str, Signal] = {
    signal.name: signal
    for signal in (
        Signal("R", "reset gate", "Rₜ", 0.0, 1.0, "#C8553D"),
        Signal("Z", "update gate", "Zₜ", 0.0, 1.0, "#3A7CA5"),
        Signal("H_tilde", "candidate hidden state", "H̃ₜ", -1.0, 1.0, "#B07D12"),
        Signal("H", "hidden state", "Hₜ", -1.0, 1.0, "#1B8A6B"),
        Signal("I", "input gate", "Iₜ", 0.0, 1.0, "#328BBF"),
        Signal("F", "forget gate", "Fₜ", 0.0, 1.0, "#B5548F"),
        Signal("O", "output gate", "Oₜ", 0.0, 1.0, "#739A31"),
        Signal("C_tilde", "candidate memory cell", "C̃ₜ", -1.0, 1.0, "#C65E0A"),
        Signal("C", "memory cell", "Cₜ", -math.inf, math.inf, "#7668CC"),
    )
}

_LATEX = {
    "H̃": r"\tilde{H}",
    "C̃": r"\tilde{C}",
    "⊙": r"\odot",
    "σ": r"\sigma",
    "tanh": r"\tanh",
    "ReLU": r"\mathrm{ReLU}",
}


def in_direction(equation: str, direction: str) -> str:
    """An equation of a cell as a direction computes it: backward goes on from the state at the next character."""
    return equation.replace("ₜ₋₁", "ₜ₊₁") if direction == "backward" else equation


def latex(equation: str) -> str:
    """An equation of a cell's record in LaTeX."""
    text = equation
    for sign, command in _LATEX.items():
        text = text.replace(sign, command)
    text = text.replace("ₜ₋₁", "_{t-1}").replace("ₜ₊₁", "_{t+1}").replace("ₜ", "_t").replace("−", "-")
    return re.sub(r"([Wb])_(\w+)", r"\1_{\2}", text)
