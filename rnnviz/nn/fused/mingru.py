"""The minGRU's pass, in which only the mixing of old and new depends on the step before."""

from __future__ import annotations

import torch
from torch import Tensor

from rnnviz.nn.fused.tape import Direction, Pass, Tape


def allocate(tape: Tape) -> Tensor:
    h = tape.H.shape[-1]
    packed = tape.buffer("packed", 2)
    tape.signals.update(Z=packed[..., :h], H_tilde=packed[..., h:])
    return packed


def forward(W: Direction, tape: Tape, packed: Tensor) -> None:
    """Z = sigma(A_z) for all steps at once; H_t = H~_t + Z_t * (H_{t-1} - H~_t) step by step."""
    tape.signals["Z"].sigmoid_()
    H = tape.buffers.steps("H", tape.H)
    Z, N = (tape.buffers.steps(name, tape.signals[name]) for name in ("Z", "H_tilde"))
    for t in tape.order:
        torch.lerp(N[t], H[tape.before(t)], Z[t], out=H[tape.after(t)])


def backward(W: Direction, tape: Tape, dH: Tensor) -> Tensor:
    """dH_{t-1} += dH_t Z step by step; then for all steps dA_z = dH (H_{t-1} - H~) Z (1 - Z), dA_h = dH (1 - Z)."""
    Z, N = tape.signals["Z"], tape.signals["H_tilde"]
    dH_steps, Z_steps = dH.unbind(0), tape.buffers.steps("Z", Z)
    for t in reversed(tape.order):
        if (s := tape.earlier(t)) is not None:
            dH_steps[s].addcmul_(dH_steps[t], Z_steps[t])
    dA = tape.buffer("Q", 2)
    dA_z, dA_h = dA.chunk(2, dim=-1)
    torch.addcmul(dH, dH, Z, value=-1, out=dA_h)
    torch.sub(tape.previous(tape.H), N, out=dA_z).mul_(Z).mul_(dA_h)
    return dA


MINGRU = Pass(allocate, forward, backward)
