"""The table of signals: colours that everyone can distinguish, and an equation for each."""

from __future__ import annotations

import re
from itertools import combinations

import numpy as np
import pytest

from rnnviz.cells import CellName, all_cells, find_cell
from rnnviz.signals import SIGNALS, in_direction, latex
from tests.helpers import PAGES, VISION, contrast, lab, linear_rgb

CELLS = {cell.name: cell for cell in all_cells()}


def test_the_contrast_of_the_two_extremes_is_known() -> None:
    """Black on white is 21 and white on white is 1, so the measure itself is right."""
    assert contrast("#000000", "#FFFFFF") == pytest.approx(21, abs=1e-3)
    assert contrast("#FFFFFF", "#FFFFFF") == 1
    assert contrast("#767676", "#FFFFFF") == pytest.approx(4.54, abs=0.01)


def test_every_signal_has_its_own_colour() -> None:
    """No two signals share a colour, a label, a symbol or a name."""
    for part in ("name", "colour", "label", "symbol"):
        values = [getattr(signal, part) for signal in SIGNALS.values()]
        assert len(set(values)) == len(SIGNALS)
    assert all(name == signal.name for name, signal in SIGNALS.items())


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("name", SIGNALS)
def test_every_colour_contrasts_with_the_page(name: str, page: str) -> None:
    """A line in a signal's colour has a contrast of at least 3:1, on the white and on the dark page."""
    assert contrast(SIGNALS[name].colour, PAGES[page]) >= 3


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize("cell", CELLS)
def test_the_colours_of_a_cell_differ_for_colour_blind_eyes(cell: CellName, vision: str) -> None:
    """Any two signals of one cell are more than 10 apart in CIELab, even without red or green cones."""
    seen = {name: lab(VISION[vision] @ linear_rgb(SIGNALS[name].colour)) for name in CELLS[cell].equations}
    close = {
        (a, b): round(float(np.linalg.norm(seen[a] - seen[b])), 1)
        for a, b in combinations(seen, 2)
        if np.linalg.norm(seen[a] - seen[b]) <= 10
    }
    assert close == {}


def test_every_signal_of_the_table_belongs_to_a_cell() -> None:
    """Each signal of each cell is described, and no description is left over."""
    assert {name for cell in CELLS.values() for name in cell.equations} == set(SIGNALS)


@pytest.mark.parametrize("cell", CELLS)
def test_every_equation_begins_with_its_own_symbol(cell: CellName) -> None:
    """The left side of an equation is the symbol in the table."""
    for name, equation in CELLS[cell].equations.items():
        assert equation.startswith(SIGNALS[name].symbol + " = ")


@pytest.mark.parametrize("cell", CELLS)
def test_every_weight_of_a_cell_is_named_in_an_equation(cell: CellName) -> None:
    """Each weight of the code is in the text of that cell's equations, and no other is."""
    text = " ".join(CELLS[cell].equations.values())
    assert set(re.findall(r"\b[Wb]_\w+", text)) == set(CELLS[cell].shapes(3, 4))


def test_equations_follow_the_reset_and_the_activation() -> None:
    """The GRU's candidate depends on where the reset acts, and the RNN's state on the activation; others on neither."""
    assert "(Rₜ ⊙ Hₜ₋₁) W_hh" in find_cell("gru", "before").equations["H_tilde"]
    assert "Rₜ ⊙ (Hₜ₋₁ W_hh) + b_h)" in find_cell("gru", "after").equations["H_tilde"]
    assert "Rₜ ⊙ (Hₜ₋₁ W_hh + b_hn)" in find_cell("gru", "after-bias").equations["H_tilde"]
    assert find_cell("gru", "before").equations["Z"] == find_cell("gru", "after", "relu").equations["Z"]
    assert find_cell("rnn").equations["H"] == "Hₜ = tanh(Xₜ W_xh + Hₜ₋₁ W_hh + b_h)"
    assert find_cell("rnn", activation="relu").equations["H"] == "Hₜ = ReLU(Xₜ W_xh + Hₜ₋₁ W_hh + b_h)"
    assert find_cell("lstm", activation="relu").equations == find_cell("lstm").equations
    with pytest.raises(KeyError):
        find_cell("transformer")


def test_only_gates_are_between_zero_and_one() -> None:
    """R, Z, I, F and O have a sequential scale; every other signal has one that diverges around zero."""
    assert {name for name, signal in SIGNALS.items() if signal.is_gate} == set("RZIFO")
    assert all((s.low, s.high) == (0, 1) for s in SIGNALS.values() if s.is_gate)
    assert all(s.low == -s.high < 0 for s in SIGNALS.values() if not s.is_gate)


def test_latex_has_commands_instead_of_signs() -> None:
    """Subscripts, accents and Greek letters become commands, and no sign is left that LaTeX does not know."""
    assert latex(CELLS["gru"].equations["Z"]) == r"Z_t = \sigma(X_t W_{xz} + H_{t-1} W_{hz} + b_{z})"
    assert latex(CELLS["gru"].equations["H"]) == r"H_t = Z_t \odot H_{t-1} + (1 - Z_t) \odot \tilde{H}_t"
    assert latex(CELLS["lstm"].equations["C"]) == r"C_t = F_t \odot C_{t-1} + I_t \odot \tilde{C}_t"
    assert (
        latex(find_cell("rnn", activation="relu").equations["H"])
        == r"H_t = \mathrm{ReLU}(X_t W_{xh} + H_{t-1} W_{hh} + b_{h})"
    )
    after = latex(find_cell("gru", "after-bias").equations["H_tilde"])
    assert after == r"\tilde{H}_t = \tanh(X_t W_{xh} + R_t \odot (H_{t-1} W_{hh} + b_{hn}) + b_{h})"
    backward = in_direction(CELLS["gru"].equations["H"], "backward")
    assert latex(backward) == r"H_t = Z_t \odot H_{t+1} + (1 - Z_t) \odot \tilde{H}_t"
    assert in_direction(CELLS["gru"].equations["H"], "forward") == CELLS["gru"].equations["H"]
    assert all(latex(text).isascii() for cell in CELLS.values() for text in cell.equations.values())
