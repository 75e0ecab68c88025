"""The GRU's pass, with the reset gate before or after the matrix product."""

from __future__ import annotations

import torch
from torch import Tensor

from rnnviz.nn.fused.tape import Direction, Pass, Tape, one_minus_square, rows, tanh_


def allocate(tape: Tape) -> Tensor:
    h = tape.H.shape[-1]
    products = tape.buffer("products", 3)
    tape.signals.update(R=products[..., :h], Z=products[..., h : 2 * h], H_tilde=tape.buffer("N"))
    return products


def forward(W: Direction, tape: Tape, products: Tensor) -> None:
    """R, Z = sigma(A + H_{t-1} W_h); H~ as the reset says; H_t = H~_t + Z_t * (H_{t-1} - H~_t).

    `products` (T, B, 3 h), packed r, z, h, holds A and becomes R, Z, M. After: M = H_{t-1} W_hh, plus b_hn
    if there is one. Before: M = R * H_{t-1}.
    """
    h, buffers, H_tilde = W.h, tape.buffers, tape.signals["H_tilde"]
    H_tilde.copy_(products[..., 2 * h :])
    H, N = buffers.steps("H", tape.H), buffers.steps("N", H_tilde)
    RZ, M = buffers.steps("RZ", products[..., : 2 * h]), buffers.steps("M", products[..., 2 * h :])
    R, Z = buffers.steps("R", products[..., :h]), buffers.steps("Z", products[..., h : 2 * h])
    if tape.cell.variant != "before":
        products[..., 2 * h :] = 0.0 if W.b_hn is None else W.b_hn.data
        P = buffers.steps("P", products)
        for t in tape.order:
            H_before = H[tape.before(t)]
            P[t].addmm_(H_before, tape.W_h)
            RZ[t].sigmoid_()
            tanh_(N[t].addcmul_(R[t], M[t]))
            torch.lerp(N[t], H_before, Z[t], out=H[tape.after(t)])
    else:
        W_rz, W_hh = tape.W_h[:, : 2 * h], tape.W_h[:, 2 * h :]
        for t in tape.order:
            H_before = H[tape.before(t)]
            RZ[t].addmm_(H_before, W_rz).sigmoid_()
            torch.mul(R[t], H_before, out=M[t])
            tanh_(N[t].addmm_(M[t], W_hh))
            torch.lerp(N[t], H_before, Z[t], out=H[tape.after(t)])


def backward(W: Direction, tape: Tape, dH: Tensor) -> Tensor:
    """From H_t = H~ + Z (H_{t-1} - H~), with every factor of dH_t computed beforehand:

    dA_z = dH (H_{t-1} - H~) Z (1 - Z)        dA_h = dH (1 - Z) (1 - H~^2)
    after:   dA_r = dA_h M R (1 - R);  dM = dA_h R;  dH_{t-1} += dH Z + [dA_r dA_z dM] W_h^T
    before:  dQ = dA_h W_hh^T;  dA_r = dQ H_{t-1} R (1 - R);  dH_{t-1} += dH Z + dQ R + [dA_r dA_z] W_rz^T
    """
    h, buffers = W.h, tape.buffers
    T, B = dH.shape[:2]
    R, Z, N = (tape.signals[name] for name in ("R", "Z", "H_tilde"))
    products = tape.buffer("products", 3)
    M = products[..., 2 * h :]
    H_before = tape.previous(tape.H)
    dA = tape.buffer("Q", 3)  # first holds the factors of dH
    Q_r, Q_z, Q_n = dA[..., :h], dA[..., h : 2 * h], dA[..., 2 * h :]
    F_n = one_minus_square(N, out=tape.buffer("F_n"))
    F_n.addcmul_(F_n, Z, value=-1)  # (1 - H~^2)(1 - Z): x (1 - s) is x - x s, in one pass
    torch.sub(H_before, N, out=Q_z).mul_(Z)
    Q_z.addcmul_(Q_z, Z, value=-1)
    dH_steps, dH_gates = dH.unbind(0), dH.unsqueeze(2).unbind(0)
    Z_steps = buffers.steps("Z", products[..., h : 2 * h])
    if tape.cell.variant != "before":
        torch.mul(F_n, R, out=Q_n)
        torch.mul(Q_n, M, out=Q_r)
        Q_r.addcmul_(Q_r, R, value=-1)
        dA_gates, dA_flat = buffers.steps("Q gates", dA.view(T, B, 3, h)), buffers.steps("Q", dA)
        W_hT = tape.W_h.T
        for t in reversed(tape.order):
            dA_gates[t].mul_(dH_gates[t])
            if (s := tape.earlier(t)) is not None:
                dH_steps[s].addcmul_(dH_steps[t], Z_steps[t]).addmm_(dA_flat[t], W_hT)
        dM = dA[..., 2 * h :]
        if W.b_hn is not None:
            torch.mv(rows(dM).T, dM.new_ones(T * B), out=W.b_hn.grad)
        torch.mm(rows(H_before).T, rows(dA), out=W.W_h.grad)
        torch.mul(dH, F_n, out=dM)  # from here on this is dA_h, as the input's part needs it
        return dA
    torch.addcmul(M, M, R, value=-1, out=Q_r)  # M is R * H_{t-1} here
    Q_n.copy_(F_n)
    W_rzT, W_hhT = tape.W_h[:, : 2 * h].T, tape.W_h[:, 2 * h :].T
    dA_r, dA_z, dA_n = (buffers.steps(n, x) for n, x in (("Q_r", Q_r), ("Q_z", Q_z), ("Q_n", Q_n)))
    dA_rz, R_steps = buffers.steps("Q_rz", dA[..., : 2 * h]), buffers.steps("R", products[..., :h])
    dQ = buffers.get("dQ", B, h)
    for t in reversed(tape.order):
        dA_z[t].mul_(dH_steps[t])
        torch.mm(dA_n[t].mul_(dH_steps[t]), W_hhT, out=dQ)
        dA_r[t].mul_(dQ)
        if (s := tape.earlier(t)) is not None:
            dH_steps[s].addcmul_(dH_steps[t], Z_steps[t]).addcmul_(dQ, R_steps[t]).addmm_(dA_rz[t], W_rzT)
    gradient = W.W_h.grad
    assert gradient is not None  # noqa: S101  views of the flat gradient, there from the start
    gradient[:, : 2 * h] = rows(H_before).T @ rows(dA)[:, : 2 * h]
    gradient[:, 2 * h :] = rows(M).T @ rows(dA)[:, 2 * h :]
    return dA


GRU = Pass(allocate, forward, backward)
