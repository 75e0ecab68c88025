"""The LSTM's pass."""

from __future__ import annotations

import torch
from torch import Tensor

from rnnviz.nn.fused.tape import Direction, Pass, Tape, one_minus_square, rows, tanh, tanh_


def allocate(tape: Tape) -> Tensor:
    h = tape.H.shape[-1]
    gates = tape.buffer("gates", 4)
    names = ("I", "F", "O", "C_tilde")
    tape.signals.update({name: gates[..., i * h : (i + 1) * h] for i, name in enumerate(names)})
    return gates


def forward(W: Direction, tape: Tape, gates: Tensor) -> None:
    """I, F, O = sigma(.), C~ = tanh(.) of A + H_{t-1} W_h; C_t = F C_{t-1} + I C~; H_t = O tanh(C_t).

    `gates` (T, B, 4 h) holds A and becomes I, F, O, C~: the three sigmoids are adjacent.
    """
    h, buffers = W.h, tape.buffers
    H, C = buffers.steps("H", tape.H), buffers.steps("C", tape.states["C"])
    G, IFO, C_tilde = (
        buffers.steps(name, part)
        for name, part in (("G", gates), ("IFO", gates[..., : 3 * h]), ("C~", gates[..., 3 * h :]))
    )
    I, F, O = (buffers.steps(name, gates[..., i * h : (i + 1) * h]) for i, name in enumerate("IFO"))  # noqa: E741
    tanh_C = buffers.steps("tanh_C", tape.buffer("tanh_C"))
    for t in tape.order:
        C_after = C[tape.after(t)]
        G[t].addmm_(H[tape.before(t)], tape.W_h)
        IFO[t].sigmoid_()
        tanh_(C_tilde[t])
        torch.mul(F[t], C[tape.before(t)], out=C_after).addcmul_(I[t], C_tilde[t])
        torch.mul(O[t], tanh(C_after, out=tanh_C[t]), out=H[tape.after(t)])


def backward(W: Direction, tape: Tape, dH: Tensor, dC: Tensor) -> Tensor:
    """From H_t = O tanh(C_t) and C_t = F C_{t-1} + I C~:

    dC_t += dH_t O (1 - tanh^2 C_t);  dC_{t-1} = dC_t F;  dH_{t-1} += [dA_i dA_f dA_o dA_c] W_h^T
    dA_i = dC C~ I (1 - I);  dA_f = dC C_{t-1} F (1 - F);  dA_o = dH tanh(C) O (1 - O);  dA_c = dC I (1 - C~^2)

    dC (T, B, h) enters as zeros, plus what the next window sends back, and leaves as dL/dC_t.
    """
    h, buffers = W.h, tape.buffers
    T, B = dH.shape[:2]
    gates = tape.buffer("gates", 4)
    I, F, O, C_tilde = (gates[..., i * h : (i + 1) * h] for i in range(4))  # noqa: E741
    tanh_C = tape.buffer("tanh_C")
    dA = tape.buffer("Q", 4)  # first holds the factors of dC and dH
    E = one_minus_square(tanh_C, out=tape.buffer("E")).mul_(O)
    sigmoids = gates[..., : 3 * h]
    torch.addcmul(sigmoids, sigmoids, sigmoids, value=-1, out=dA[..., : 3 * h])  # s (1 - s)
    dA[..., :h].mul_(C_tilde)
    dA[..., h : 2 * h].mul_(tape.previous(tape.states["C"]))
    dA[..., 2 * h : 3 * h].mul_(tanh_C)
    one_minus_square(C_tilde, out=dA[..., 3 * h :]).mul_(I)
    dH_steps, dC_steps, dC_gates = dH.unbind(0), dC.unbind(0), dC.unsqueeze(2).unbind(0)
    E_steps, F_steps = buffers.steps("E", E), buffers.steps("F", F)
    dA_if = buffers.steps("Q_if", dA.view(T, B, 4, h)[:, :, :2])
    dA_o, dA_c = buffers.steps("Q_o", dA[..., 2 * h : 3 * h]), buffers.steps("Q_c", dA[..., 3 * h :])
    dA_steps, W_hT = buffers.steps("Q", dA), tape.W_h.T
    for t in reversed(tape.order):
        dC_t, dH_t = dC_steps[t], dH_steps[t]
        dC_t.addcmul_(dH_t, E_steps[t])
        dA_if[t].mul_(dC_gates[t])
        dA_o[t].mul_(dH_t)
        dA_c[t].mul_(dC_t)
        if (s := tape.earlier(t)) is not None:
            dC_steps[s].addcmul_(dC_t, F_steps[t])
            dH_steps[s].addmm_(dA_steps[t], W_hT)
    torch.mm(rows(tape.previous(tape.H)).T, rows(dA), out=W.W_h.grad)
    return dA


LSTM = Pass(allocate, forward, backward)
