"""The signals inside each cell: symbol, equation, range and colour, in one table.

No torch here: pages and figures read this table in a process that never imports torch.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

CellName = Literal["rnn", "gru", "lstm"]
Activation = Literal["tanh", "relu"]
Reset = Literal["before", "after"]


@dataclass(frozen=True)
class Signal:
    """One recorded quantity of a cell, of shape (T, h) over a text.

    `low` and `high` bound the colour scale: gates lie in [0, 1], states in [-1, 1]. Only the
    memory cell `C` and a ReLU state are unbounded; their scale is fixed all the same, so that
    two pictures compare, and values beyond it saturate.
    """

    name: str
    label: str
    symbol: str
    low: float
    high: float
    colour: str

    @property
    def is_gate(self) -> bool:
        """Gates live in [0, 1] and take a sequential scale; everything else diverges around 0."""
        return self.low == 0.0


# Labels are message ids for gettext. Colours: a set that stays apart for the three common kinds
# of colour blindness and keeps a contrast of 3:1 on a white and on a dark page (tests assert it).
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
        Signal("C", "memory cell", "Cₜ", -2.0, 2.0, "#7668CC"),
    )
}

CELL_SIGNALS: dict[CellName, tuple[str, ...]] = {
    "rnn": ("H",),
    "gru": ("R", "Z", "H_tilde", "H"),
    "lstm": ("I", "F", "O", "C_tilde", "C", "H"),
}

EQUATIONS: dict[tuple[CellName, str], str] = {
    ("rnn", "H"): "Hₜ = φ(Xₜ W_xh + Hₜ₋₁ W_hh + b_h)",
    ("gru", "R"): "Rₜ = σ(Xₜ W_xr + Hₜ₋₁ W_hr + b_r)",
    ("gru", "Z"): "Zₜ = σ(Xₜ W_xz + Hₜ₋₁ W_hz + b_z)",
    ("gru", "H_tilde"): "H̃ₜ = tanh(Xₜ W_xh + (Rₜ ⊙ Hₜ₋₁) W_hh + b_h)",
    ("gru", "H"): "Hₜ = Zₜ ⊙ Hₜ₋₁ + (1 − Zₜ) ⊙ H̃ₜ",
    ("lstm", "I"): "Iₜ = σ(Xₜ W_xi + Hₜ₋₁ W_hi + b_i)",
    ("lstm", "F"): "Fₜ = σ(Xₜ W_xf + Hₜ₋₁ W_hf + b_f)",
    ("lstm", "O"): "Oₜ = σ(Xₜ W_xo + Hₜ₋₁ W_ho + b_o)",
    ("lstm", "C_tilde"): "C̃ₜ = tanh(Xₜ W_xc + Hₜ₋₁ W_hc + b_c)",
    ("lstm", "C"): "Cₜ = Fₜ ⊙ Cₜ₋₁ + Iₜ ⊙ C̃ₜ",
    ("lstm", "H"): "Hₜ = Oₜ ⊙ tanh(Cₜ)",
}
_RESET_AFTER = "H̃ₜ = tanh(Xₜ W_xh + b_h + Rₜ ⊙ (Hₜ₋₁ W_hh + b_hn))"


def equation(cell: CellName, name: str, reset: Reset = "before", activation: Activation = "tanh") -> str:
    """The equation of one signal, as one line of text.

    Raises KeyError where the cell has no such signal.
    """
    if (cell, name, reset) == ("gru", "H_tilde", "after"):
        return _RESET_AFTER
    text = EQUATIONS[cell, name]
    return text.replace("φ", "ReLU" if activation == "relu" else "tanh") if cell == "rnn" else text


_LATEX = {
    "H̃": r"\tilde{H}",
    "C̃": r"\tilde{C}",
    "⊙": r"\odot",
    "σ": r"\sigma",
    "tanh": r"\tanh",
    "ReLU": r"\mathrm{ReLU}",
}


def latex(cell: CellName, name: str, reset: Reset = "before", activation: Activation = "tanh") -> str:
    """The same equation in LaTeX."""
    text = equation(cell, name, reset, activation)
    for sign, command in _LATEX.items():
        text = text.replace(sign, command)
    text = text.replace("ₜ₋₁", "_{t-1}").replace("ₜ", "_t").replace("−", "-")
    return re.sub(r"([Wb])_(\w+)", r"\1_{\2}", text)
