"""The table of signals: colours that everyone can tell apart, and an equation for each."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from rnnviz.cells import cell_of
from rnnviz.config import ModelConfig
from rnnviz.signals import CELL_SIGNALS, EQUATIONS, SIGNALS, equation, latex

PAGES = {"white": "#FFFFFF", "dark": "#0E1117"}
# Machado, Oliveira and Fernandes (2009), severity 1, applied to linear RGB.
VISION = {
    "normal": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
}
# Linear sRGB to XYZ, and the white of D65.
TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.119192, 0.9503041]]
)
WHITE = TO_XYZ.sum(axis=1)


def linear_rgb(colour: str) -> np.ndarray:
    """Linear light (3,) of a colour such as #C8553D (WCAG 2, IEC 61966-2-1)."""
    values = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def contrast(first: str, second: str) -> float:
    """The contrast ratio of WCAG 2, from 1 to 21."""
    light, dark = sorted((float(TO_XYZ[1] @ linear_rgb(c)) for c in (first, second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIELab (3,) of linear RGB."""
    ratio = TO_XYZ @ np.clip(rgb, 0, 1) / WHITE
    f = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def test_contrast_knows_the_two_ends() -> None:
    """Black on white is 21, white on white is 1: the measure itself is right."""
    assert contrast("#000000", "#FFFFFF") == pytest.approx(21, abs=1e-3)
    assert contrast("#FFFFFF", "#FFFFFF") == 1
    assert contrast("#767676", "#FFFFFF") == pytest.approx(4.54, abs=0.01)


def test_every_signal_has_a_colour_of_its_own() -> None:
    """No two signals share a colour, a label, a symbol or a name."""
    for part in ("name", "colour", "label", "symbol"):
        values = [getattr(signal, part) for signal in SIGNALS.values()]
        assert len(set(values)) == len(SIGNALS)
    assert all(name == signal.name for name, signal in SIGNALS.items())


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("name", SIGNALS)
def test_every_colour_stands_out_from_the_page(name: str, page: str) -> None:
    """A line in a signal's colour has a contrast of at least 3:1, on the white and on the dark page."""
    assert contrast(SIGNALS[name].colour, PAGES[page]) >= 3


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize("cell", CELL_SIGNALS)
def test_the_colours_of_a_cell_stay_apart_for_colour_blind_eyes(cell: str, vision: str) -> None:
    """Any two signals of one cell are more than 10 apart in CIELab, also without red or green cones."""
    seen = {name: lab(VISION[vision] @ linear_rgb(SIGNALS[name].colour)) for name in CELL_SIGNALS[cell]}
    close = {
        (a, b): round(float(np.linalg.norm(seen[a] - seen[b])), 1)
        for a, b in combinations(seen, 2)
        if np.linalg.norm(seen[a] - seen[b]) <= 10
    }
    assert close == {}


def test_every_signal_of_a_cell_is_in_both_tables() -> None:
    """Each cell's signals are described and have an equation, and no equation is left over."""
    pairs = {(cell, name) for cell, names in CELL_SIGNALS.items() for name in names}
    assert pairs == set(EQUATIONS)
    assert {name for _, name in pairs} == set(SIGNALS)


@pytest.mark.parametrize("cell", CELL_SIGNALS)
def test_every_equation_begins_with_its_own_symbol(cell: str) -> None:
    """The left side of an equation is the symbol in the table."""
    for name in CELL_SIGNALS[cell]:
        assert equation(cell, name).startswith(SIGNALS[name].symbol + " = ")


@pytest.mark.parametrize("cell", CELL_SIGNALS)
def test_every_gate_of_a_cell_is_named_in_an_equation(cell: str) -> None:
    """Each weight matrix of the code stands in the text of that cell's equations."""
    text = " ".join(EQUATIONS[cell, name] for name in CELL_SIGNALS[cell])
    for gate in cell_of(ModelConfig(cell=cell)).gates:
        assert f"Xₜ W_x{gate}" in text
        assert f"W_h{gate}" in text
        assert f"b_{gate}" in text


def test_equation_follows_the_reset_and_the_activation() -> None:
    """The candidate of a GRU depends on where the reset acts, the plain state on the activation; nothing else does."""
    assert "(Rₜ ⊙ Hₜ₋₁) W_hh" in equation("gru", "H_tilde")
    assert "Rₜ ⊙ (Hₜ₋₁ W_hh" in equation("gru", "H_tilde", reset="after")
    assert equation("gru", "Z", reset="after", activation="relu") == EQUATIONS["gru", "Z"]
    assert equation("rnn", "H") == "Hₜ = tanh(Xₜ W_xh + Hₜ₋₁ W_hh + b_h)"
    assert equation("rnn", "H", activation="relu") == "Hₜ = ReLU(Xₜ W_xh + Hₜ₋₁ W_hh + b_h)"
    assert equation("lstm", "H", activation="relu") == EQUATIONS["lstm", "H"]
    with pytest.raises(KeyError):
        equation("rnn", "Z")


def test_gates_alone_live_between_zero_and_one() -> None:
    """R, Z, I, F and O take a sequential scale; every other signal diverges around zero."""
    assert {name for name, signal in SIGNALS.items() if signal.is_gate} == set("RZIFO")
    assert all((s.low, s.high) == (0, 1) for s in SIGNALS.values() if s.is_gate)
    assert all(s.low == -s.high < 0 for s in SIGNALS.values() if not s.is_gate)


def test_latex_says_the_same_in_commands() -> None:
    """Subscripts, accents and Greek letters become commands; no sign is left that LaTeX does not know."""
    assert latex("gru", "Z") == r"Z_t = \sigma(X_t W_{xz} + H_{t-1} W_{hz} + b_{z})"
    assert latex("gru", "H") == r"H_t = Z_t \odot H_{t-1} + (1 - Z_t) \odot \tilde{H}_t"
    assert latex("lstm", "C") == r"C_t = F_t \odot C_{t-1} + I_t \odot \tilde{C}_t"
    assert latex("rnn", "H", activation="relu") == r"H_t = \mathrm{ReLU}(X_t W_{xh} + H_{t-1} W_{hh} + b_{h})"
    after = latex("gru", "H_tilde", reset="after")
    assert after == r"\tilde{H}_t = \tanh(X_t W_{xh} + b_{h} + R_t \odot (H_{t-1} W_{hh} + b_{hn}))"
    assert all(latex(cell, name).isascii() for cell, name in EQUATIONS)
