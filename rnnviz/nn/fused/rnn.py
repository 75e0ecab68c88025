"""The plain RNN's pass."""

from __future__ import annotations

import torch
from torch import Tensor

from rnnviz.nn.fused.tape import Direction, Pass, Tape, one_minus_square, rows, tanh_


def allocate(tape: Tape) -> Tensor:
    """A is in the place where H will be."""
    return tape.signals["H"]


def forward(W: Direction, tape: Tape, A: Tensor) -> None:
    """H_t = phi(A_t + H_{t-1} W_hh), phi = tanh or ReLU. A is in the place where H will be."""
    phi = tanh_ if tape.cell.variant == "tanh" else torch.relu_
    H = tape.buffers.steps("H", tape.H)
    for t in tape.order:
        phi(H[tape.after(t)].addmm_(H[tape.before(t)], tape.W_h))


def backward(W: Direction, tape: Tape, dH: Tensor) -> Tensor:
    """dA_t = dH_t * phi'(A_t); dH_{t-1} += dA_t W_hh^T. phi' is 1 - H^2, or 1 where H > 0.

    dH (T, B, h) enters as the part of dL/dH_t that comes through the output and leaves as the whole of dL/dH_t.
    """
    H, buffers = tape.signals["H"], tape.buffers
    dA = buffers.get("Q", *H.shape)  # first holds the factors
    if tape.cell.variant == "tanh":
        one_minus_square(H, out=dA)
    else:
        torch.gt(H, 0, out=dA)
    dH_steps, dA_steps, W_hT = dH.unbind(0), buffers.steps("Q", dA), tape.W_h.T
    for t in reversed(tape.order):
        dA_steps[t].mul_(dH_steps[t])
        if (s := tape.earlier(t)) is not None:
            dH_steps[s].addmm_(dA_steps[t], W_hT)
    torch.mm(rows(tape.previous(tape.H)).T, rows(dA), out=W.W_h.grad)
    return dA


RNN = Pass(allocate, forward, backward)
