"""The equations: one time step of each recurrent cell, symbol for symbol.

A step takes the input X_t of shape (B, d), the state before it (tensors of shape (B, h)) and the
cell's weights by their textbook names, and returns every signal of the step by name. What a
page shows, what autograd differentiates and what a test compares are these few lines.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from rnnviz.config import ModelConfig
from rnnviz.signals import Activation, CellName, Reset

Weights = Mapping[str, Tensor]
State = tuple[Tensor, ...]
Signals = dict[str, Tensor]
Step = Callable[[Tensor, State, Weights], Signals]


def rnn_step(X: Tensor, state: State, W: Weights, activation: Activation = "tanh") -> Signals:
    """Mix the new character into the state (Elman 1990).

    H_t = phi(X_t W_xh + H_{t-1} W_hh + b_h), phi = tanh or ReLU.
    """
    (H,) = state
    phi = torch.tanh if activation == "tanh" else torch.relu
    return {"H": phi(X @ W["W_xh"] + H @ W["W_hh"] + W["b_h"])}


def gru_step(X: Tensor, state: State, W: Weights, reset: Reset = "before") -> Signals:
    """Decide unit by unit how much of the old state to keep and how much to rewrite.

    R_t = sigma(X_t W_xr + H_{t-1} W_hr + b_r)
    Z_t = sigma(X_t W_xz + H_{t-1} W_hz + b_z)
    H~_t = tanh(X_t W_xh + (R_t * H_{t-1}) W_hh + b_h)              reset before (Cho et al. 2014)
    H~_t = tanh(X_t W_xh + b_h + R_t * (H_{t-1} W_hh + b_hn))       reset after (torch, cuDNN)
    H_t = Z_t * H_{t-1} + (1 - Z_t) * H~_t
    """
    (H,) = state
    R = torch.sigmoid(X @ W["W_xr"] + H @ W["W_hr"] + W["b_r"])
    Z = torch.sigmoid(X @ W["W_xz"] + H @ W["W_hz"] + W["b_z"])
    if reset == "before":
        H_tilde = torch.tanh(X @ W["W_xh"] + (R * H) @ W["W_hh"] + W["b_h"])
    else:
        H_tilde = torch.tanh(X @ W["W_xh"] + W["b_h"] + R * (H @ W["W_hh"] + W["b_hn"]))
    return {"R": R, "Z": Z, "H_tilde": H_tilde, "H": Z * H + (1 - Z) * H_tilde}


def lstm_step(X: Tensor, state: State, W: Weights) -> Signals:
    """Keep a memory cell that is only scaled and added to, and show a gated view of it.

    I_t, F_t, O_t = sigma(X_t W_x. + H_{t-1} W_h. + b_.) for . = i, f, o
    C~_t = tanh(X_t W_xc + H_{t-1} W_hc + b_c)
    C_t = F_t * C_{t-1} + I_t * C~_t          (Hochreiter & Schmidhuber 1997; Gers et al. 2000)
    H_t = O_t * tanh(C_t)
    """
    H, C = state
    I = torch.sigmoid(X @ W["W_xi"] + H @ W["W_hi"] + W["b_i"])  # noqa: E741  the equation's own symbol
    F = torch.sigmoid(X @ W["W_xf"] + H @ W["W_hf"] + W["b_f"])
    O = torch.sigmoid(X @ W["W_xo"] + H @ W["W_ho"] + W["b_o"])  # noqa: E741  the equation's own symbol
    C_tilde = torch.tanh(X @ W["W_xc"] + H @ W["W_hc"] + W["b_c"])
    C = F * C + I * C_tilde
    return {"I": I, "F": F, "O": O, "C_tilde": C_tilde, "C": C, "H": O * torch.tanh(C)}


@dataclass(frozen=True)
class Cell:
    """One family behind one contract: its step, what it carries, and its gates.

    `gates` are the suffixes of the weights W_x., W_h., b_. in torch's packed order; `state` names
    the signals carried to the next step.
    """

    step: Step
    state: tuple[str, ...]
    gates: str
    inner_bias: bool = False

    def shapes(self, d: int, h: int) -> dict[str, tuple[int, ...]]:
        """Every weight by its textbook name, for inputs of size d and h hidden units."""
        shapes: dict[str, tuple[int, ...]] = {}
        for g in self.gates:
            shapes |= {f"W_x{g}": (d, h), f"W_h{g}": (h, h), f"b_{g}": (h,)}
        return shapes | ({"b_hn": (h,)} if self.inner_bias else {})


def cell_of(config: ModelConfig) -> Cell:
    """The cell that a configuration asks for."""
    makers: dict[CellName, Callable[[], Cell]] = {
        "rnn": lambda: Cell(lambda X, S, W: rnn_step(X, S, W, config.activation), ("H",), "h"),
        "gru": lambda: Cell(
            lambda X, S, W: gru_step(X, S, W, config.reset), ("H",), "rzh", inner_bias=config.reset == "after"
        ),
        "lstm": lambda: Cell(lstm_step, ("H", "C"), "ifco"),
    }
    return makers[config.cell]()


def scan(cell: Cell, X: Tensor, state: State, W: Weights, *, backward: bool = False) -> Signals:
    """All signals over a sequence, each of shape (T, B, h), in the order of the text.

    X is (T, B, d), the state (B, h). `backward` reads the text from its end, as the second
    direction of a bidirectional layer does.
    """
    T = X.shape[0]
    steps: list[Signals] = []
    for t in reversed(range(T)) if backward else range(T):
        steps.append(cell.step(X[t], state, W))
        state = tuple(steps[-1][name] for name in cell.state)
    if backward:
        steps.reverse()
    return {name: torch.stack([signals[name] for signals in steps]) for name in steps[0]}


def last_state(cell: Cell, signals: Signals, *, backward: bool = False) -> State:
    """The state after the whole sequence, (B, h) each: where `scan` stopped."""
    return tuple(signals[name][0 if backward else -1] for name in cell.state)
