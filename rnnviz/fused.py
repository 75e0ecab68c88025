"""Backpropagation through time by hand: every cell's forward and backward pass, all gates kept.

The forward pass leaves every signal of every step on a tape, because the backward pass reads them
there; nothing is computed again to be shown. The gates' weights are packed side by side, so a
step has one product with W_h, and the input's part of all steps is computed at once: for the
first layer by looking up rows of W_x, since a one-hot vector times a matrix is a row of it.

Going backward, each local derivative that does not depend on what comes from the future is
computed for all steps at once (`Q` below); what remains for a step is to multiply the adjoint
into it and to carry the result one step back. The weights' gradients are one product over all
steps. Everything is time first, (T, B, ...); h hidden units, G gates.

Buffers are allocated once for a shape and used again: a tape is valid until the same layer's
next forward pass of the same shape.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rnnviz.cells import Cell, State, Weights, cell_of
from rnnviz.config import ModelConfig
from rnnviz.text import UNKNOWN

_LOGITS_IN_CACHE = 600_000
_LINE = 16  # float32 numbers in a cache line
_STEPS_WORTH_A_COPY = 8  # of W_h
_ONE, _TWO = torch.tensor(1.0), torch.tensor(2.0)  # a Python number would become a tensor at every use
MAX_SHAPES = 4  # of which buffers are kept
Adjoints = list[tuple[Tensor, ...]]
"""For each direction of a layer dL/dH_t, and for the LSTM dL/dC_t, (T, B, h) each."""


class Buffers:
    """Named scratch tensors of one shape (T, B), each allocated at its first use.

    `steps` gives a tensor's T + n slices along time, cut once: making views costs as much as the
    small operations of a step.
    """

    def __init__(self, like: Tensor) -> None:
        self._like = like
        self._tensors: dict[str, Tensor] = {}
        self._steps: dict[str, tuple[Tensor, ...]] = {}

    def get(self, name: str, *shape: int) -> Tensor:
        tensor = self._tensors.get(name)
        if tensor is None:
            tensor = self._tensors[name] = self._like.new_empty(shape)
        return tensor

    def steps(self, name: str, tensor: Tensor) -> tuple[Tensor, ...]:
        """The slices of a buffer along time; `name` stands for this tensor and no other."""
        slices = self._steps.get(name)
        if slices is None:
            slices = self._steps[name] = tensor.unbind(0)
        return slices


def odd_lines(columns: int) -> int:
    """How wide to store so many columns that the rows fill an odd number of cache lines.

    Products are faster so: no row shares a line with the next, and no two fall on the same place of
    the cache, as those of 1,024 columns do.
    """
    return _LINE * (-(-columns // _LINE) | 1)


@dataclass(frozen=True)
class Tape:
    """One direction's forward pass: its signals, what entered it, and the order of its steps.

    `signals` are views of shape (T, B, h) by their names; `H` has T + 1 rows, the given state
    at the end where the direction starts. `order` are the steps as they were taken. `W_h` are
    the weights (h, G h) that they were taken with.
    """

    buffers: Buffers
    W_h: Tensor
    signals: dict[str, Tensor]
    X: Tensor
    H: Tensor
    C: Tensor | None
    order: Sequence[int]
    reverse: bool

    @property
    def T(self) -> int:  # noqa: N802
        return len(self.order)

    def before(self, t: int) -> int:
        """Where in `H` the state before step t stands."""
        return t + 1 if self.reverse else t

    def after(self, t: int) -> int:
        """Where in `H` the state after step t stands."""
        return t if self.reverse else t + 1

    def previous(self, states: Tensor) -> Tensor:
        """The states before each step, (T, B, h), of a tensor with T + 1 rows."""
        return states[1:] if self.reverse else states[:-1]

    def outputs(self, states: Tensor) -> Tensor:
        """The states after each step, (T, B, h), of a tensor with T + 1 rows."""
        return states[:-1] if self.reverse else states[1:]


class Direction(nn.Module):
    """The packed weights of one direction of a layer: W_x (d, G h), W_h (h, G h), b (G h), and for a
    GRU with reset after b_hn (h)."""

    def __init__(self, cell: Cell, gates: str, d: int, h: int) -> None:
        super().__init__()
        self.gates, self.h = gates, h
        G = len(gates)
        self.W_x = nn.Parameter(torch.zeros(d, G * h))
        self.W_h = nn.Parameter(torch.zeros(h, G * h))
        self.b = nn.Parameter(torch.zeros(G * h))
        self.b_hn = nn.Parameter(torch.zeros(h)) if cell.inner_bias else None

    def named(self, part: str = "data") -> dict[str, Tensor]:
        """Views of the weights, or with "grad" of their gradients, under the textbook's names."""
        h, named = self.h, {}
        for i, gate in enumerate(self.gates):
            columns = slice(i * h, (i + 1) * h)
            for name, packed in (("W_x", self.W_x), ("W_h", self.W_h), ("b_", self.b)):
                named[f"{name}{gate}"] = getattr(packed, part)[..., columns]
        return named if self.b_hn is None else {**named, "b_hn": getattr(self.b_hn, part)}

    def gradient_norms(self) -> dict[str, Tensor]:
        """The L2 norm of every gradient by its textbook name, in one pass: of the rows of each gate first."""
        norms: dict[str, Tensor] = {}
        for name, packed in (("W_x", self.W_x), ("W_h", self.W_h), ("b_", self.b)):
            gradient = packed.grad.view(-1, len(self.gates), self.h)  # type: ignore[union-attr]
            each = torch.linalg.vector_norm(torch.linalg.vector_norm(gradient, dim=2), dim=0)
            norms |= {f"{name}{gate}": norm for gate, norm in zip(self.gates, each.unbind(), strict=True)}
        return norms if self.b_hn is None else {**norms, "b_hn": torch.linalg.vector_norm(self.b_hn.grad)}


def input_part(W: Direction, X: Tensor, out: Tensor) -> Tensor:
    """X_t W_x + b for all steps, (T, B, G h). X is (T, B, d), or (T, B) indices, -1 the zero vector."""
    rows = out.flatten(0, 1)
    if X.dtype == torch.int64:
        indices = X.flatten()
        torch.index_select(W.W_x.data, 0, indices.clamp(min=0), out=rows)
        if bool((indices < 0).any()):
            rows[indices < 0] = 0
        rows += W.b.data
    else:
        torch.addmm(W.b.data, X.flatten(0, 1), W.W_x.data, out=rows)
    return out


def input_gradients(W: Direction, X: Tensor, dA: Tensor) -> Tensor | None:
    """dL/dW_x and dL/db from dL/dA, A = X W_x + b; returns dL/dX, or None where X were indices."""
    rows = dA.flatten(0, 1)
    torch.mv(rows.T, rows.new_ones(len(rows)), out=W.b.grad)  # faster than the sum
    if X.dtype == torch.int64:
        indices = X.flatten()
        if bool((indices < 0).any()):
            rows, indices = rows[indices >= 0], indices[indices >= 0]
        W.W_x.grad.zero_().index_add_(0, indices, rows)  # type: ignore[union-attr]
        return None
    torch.mm(X.flatten(0, 1).T, rows, out=W.W_x.grad)
    return (rows @ W.W_x.data.T).view_as(X)


def rnn_forward(W: Direction, tape: Tape, activation: str) -> None:
    """H_t = phi(A_t + H_{t-1} W_hh), phi = tanh or ReLU. A stands where H will."""
    phi = tanh_ if activation == "tanh" else torch.relu_
    H = tape.buffers.steps("H", tape.H)
    for t in tape.order:
        phi(H[tape.after(t)].addmm_(H[tape.before(t)], tape.W_h))


def rnn_backward(W: Direction, tape: Tape, dH: Tensor, activation: str) -> Tensor:
    """dA_t = dH_t * phi'(A_t); dH_{t-1} += dA_t W_hh^T. phi' is 1 - H^2, or 1 where H > 0.

    dH (T, B, h) enters as dL/dH_t by way of the output alone and leaves as the whole of dL/dH_t.
    """
    H, buffers = tape.signals["H"], tape.buffers
    dA = buffers.get("Q", *H.shape)  # holds the factors first
    if activation == "tanh":
        one_minus_square(H, out=dA)
    else:
        torch.gt(H, 0, out=dA)
    dH_steps, dA_steps, W_hT = dH.unbind(0), buffers.steps("Q", dA), tape.W_h.T
    for t in reversed(tape.order):
        dA_steps[t].mul_(dH_steps[t])
        if (s := _earlier(tape, t)) is not None:
            dH_steps[s].addmm_(dA_steps[t], W_hT)
    torch.mm(_rows(tape.previous(tape.H)).T, _rows(dA), out=W.W_h.grad)
    return dA


def gru_forward(W: Direction, tape: Tape, products: Tensor, reset: str) -> None:
    """R, Z = sigma(A + H_{t-1} W_h); H~ as the reset says; H_t = H~_t + Z_t * (H_{t-1} - H~_t).

    `products` (T, B, 3 h), packed r, z, h, holds A and becomes R, Z, M: after, M = H_{t-1} W_hh + b_hn;
    before, M = R * H_{t-1}.
    """
    h, buffers, H_tilde = W.h, tape.buffers, tape.signals["H_tilde"]
    H_tilde.copy_(products[..., 2 * h :])
    H, N = buffers.steps("H", tape.H), buffers.steps("N", H_tilde)
    RZ, M = buffers.steps("RZ", products[..., : 2 * h]), buffers.steps("M", products[..., 2 * h :])
    R, Z = buffers.steps("R", products[..., :h]), buffers.steps("Z", products[..., h : 2 * h])
    if reset == "after":
        assert W.b_hn is not None  # noqa: S101  this cell has the bias
        products[..., 2 * h :] = W.b_hn.data
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


def gru_backward(W: Direction, tape: Tape, dH: Tensor, reset: str) -> Tensor:
    """From H_t = H~ + Z (H_{t-1} - H~), with every factor of dH_t computed beforehand:

    dA_z = dH (H_{t-1} - H~) Z (1 - Z)        dA_h = dH (1 - Z) (1 - H~^2)
    after:   dA_r = dA_h M R (1 - R);  dM = dA_h R;  dH_{t-1} += dH Z + [dA_r dA_z dM] W_h^T
    before:  dQ = dA_h W_hh^T;  dA_r = dQ H_{t-1} R (1 - R);  dH_{t-1} += dH Z + dQ R + [dA_r dA_z] W_rz^T
    """
    h, buffers = W.h, tape.buffers
    T, B = dH.shape[:2]
    R, Z, N = (tape.signals[name] for name in ("R", "Z", "H_tilde"))
    products = buffers.get("products", T, B, 3 * h)
    M = products[..., 2 * h :]
    H_before = tape.previous(tape.H)
    dA = buffers.get("Q", T, B, 3 * h)  # holds the factors of dH first
    Q_r, Q_z, Q_n = dA[..., :h], dA[..., h : 2 * h], dA[..., 2 * h :]
    F_n = one_minus_square(N, out=buffers.get("F_n", T, B, h))
    F_n.addcmul_(F_n, Z, value=-1)  # (1 - H~^2)(1 - Z): x (1 - s) is x - x s, in one pass
    torch.sub(H_before, N, out=Q_z).mul_(Z)
    Q_z.addcmul_(Q_z, Z, value=-1)
    dH_steps, dH_gates = dH.unbind(0), dH.unsqueeze(2).unbind(0)
    Z_steps = buffers.steps("Z", products[..., h : 2 * h])
    if reset == "after":
        torch.mul(F_n, R, out=Q_n)
        torch.mul(Q_n, M, out=Q_r)
        Q_r.addcmul_(Q_r, R, value=-1)
        dA_gates, dA_flat = buffers.steps("Q gates", dA.view(T, B, 3, h)), buffers.steps("Q", dA)
        W_hT = tape.W_h.T
        for t in reversed(tape.order):
            dA_gates[t].mul_(dH_gates[t])
            if (s := _earlier(tape, t)) is not None:
                dH_steps[s].addcmul_(dH_steps[t], Z_steps[t]).addmm_(dA_flat[t], W_hT)
        dM = dA[..., 2 * h :]
        torch.mv(_rows(dM).T, dM.new_ones(T * B), out=W.b_hn.grad)  # type: ignore[union-attr]
        torch.mm(_rows(H_before).T, _rows(dA), out=W.W_h.grad)
        torch.mul(dH, F_n, out=dM)  # from here on dA_h, as the input's part needs it
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
        if (s := _earlier(tape, t)) is not None:
            dH_steps[s].addcmul_(dH_steps[t], Z_steps[t]).addcmul_(dQ, R_steps[t]).addmm_(dA_rz[t], W_rzT)
    gradient = W.W_h.grad
    assert gradient is not None  # noqa: S101  views of the flat gradient, there from the start
    gradient[:, : 2 * h] = _rows(H_before).T @ _rows(dA)[:, : 2 * h]
    gradient[:, 2 * h :] = _rows(M).T @ _rows(dA)[:, 2 * h :]
    return dA


def lstm_forward(W: Direction, tape: Tape, gates: Tensor) -> None:
    """I, F, O = sigma(.), C~ = tanh(.) of A + H_{t-1} W_h; C_t = F C_{t-1} + I C~; H_t = O tanh(C_t).

    `gates` (T, B, 4 h) holds A and becomes I, F, O, C~: the three sigmoids stand together.
    """
    h, buffers = W.h, tape.buffers
    T, B = gates.shape[:2]
    H, C = buffers.steps("H", tape.H), buffers.steps("C", tape.C)  # type: ignore[arg-type]
    G, IFO, C_tilde = (
        buffers.steps(name, part)
        for name, part in (("G", gates), ("IFO", gates[..., : 3 * h]), ("C~", gates[..., 3 * h :]))
    )
    I, F, O = (buffers.steps(name, gates[..., i * h : (i + 1) * h]) for i, name in enumerate("IFO"))  # noqa: E741
    tanh_C = buffers.steps("tanh_C", buffers.get("tanh_C", T, B, h))
    for t in tape.order:
        C_after = C[tape.after(t)]
        G[t].addmm_(H[tape.before(t)], tape.W_h)
        IFO[t].sigmoid_()
        tanh_(C_tilde[t])
        torch.mul(F[t], C[tape.before(t)], out=C_after).addcmul_(I[t], C_tilde[t])
        torch.mul(O[t], tanh(C_after, out=tanh_C[t]), out=H[tape.after(t)])


def lstm_backward(W: Direction, tape: Tape, dH: Tensor, dC: Tensor) -> Tensor:
    """From H_t = O tanh(C_t) and C_t = F C_{t-1} + I C~:

    dC_t += dH_t O (1 - tanh^2 C_t);  dC_{t-1} = dC_t F;  dH_{t-1} += [dA_i dA_f dA_o dA_c] W_h^T
    dA_i = dC C~ I (1 - I);  dA_f = dC C_{t-1} F (1 - F);  dA_o = dH tanh(C) O (1 - O);  dA_c = dC I (1 - C~^2)

    dC (T, B, h) enters as zeros, but for what the next window sends back, and leaves as dL/dC_t.
    """
    h, buffers = W.h, tape.buffers
    T, B = dH.shape[:2]
    gates = buffers.get("gates", T, B, 4 * h)
    I, F, O, C_tilde = (gates[..., i * h : (i + 1) * h] for i in range(4))  # noqa: E741
    tanh_C = buffers.get("tanh_C", T, B, h)
    dA = buffers.get("Q", T, B, 4 * h)  # holds the factors of dC and dH first
    E = one_minus_square(tanh_C, out=buffers.get("E", T, B, h)).mul_(O)
    sigmoids = gates[..., : 3 * h]
    torch.addcmul(sigmoids, sigmoids, sigmoids, value=-1, out=dA[..., : 3 * h])  # s (1 - s)
    dA[..., :h].mul_(C_tilde)
    dA[..., h : 2 * h].mul_(tape.previous(tape.C))  # type: ignore[arg-type]
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
        if (s := _earlier(tape, t)) is not None:
            dC_steps[s].addcmul_(dC_t, F_steps[t])
            dH_steps[s].addmm_(dA_steps[t], W_hT)
    torch.mm(_rows(tape.previous(tape.H)).T, _rows(dA), out=W.W_h.grad)
    return dA


def tanh(x: Tensor, out: Tensor) -> Tensor:
    """tanh(x) = 2 sigma(2 x) - 1, into `out`: torch's sigmoid is four times as fast as its tanh on a CPU."""
    return torch.mul(x, _TWO, out=out).sigmoid_().mul_(_TWO).sub_(_ONE)


def tanh_(x: Tensor) -> Tensor:
    """`tanh` in place."""
    return tanh(x, out=x)


def one_minus_square(x: Tensor, out: Tensor) -> Tensor:
    """1 - x^2, into `out`, in one pass."""
    return torch.addcmul(x.new_ones(()), x, x, value=-1, out=out)


def _earlier(tape: Tape, t: int) -> int | None:
    """The step taken before step t; None for the first one, whose state was given."""
    s = t + 1 if tape.reverse else t - 1
    return s if 0 <= s < tape.T else None


def _rows(steps: Tensor) -> Tensor:
    """(T, B, n) as (T B, n)."""
    return steps.flatten(0, 1)


class FusedLayer(nn.Module):
    """A recurrent layer whose backward pass is written out. It builds no autograd graph."""

    def __init__(self, config: ModelConfig, d: int) -> None:
        super().__init__()
        self.config, self.cell = config, cell_of(config)
        gates = {"rnn": "h", "gru": "rzh", "lstm": "ifoc"}[config.cell]
        self.directions = nn.ModuleList(
            Direction(self.cell, gates, d, config.hidden_size) for _ in range(config.num_directions)
        )
        self._buffers_of: OrderedDict[tuple[int, int, int], Buffers] = OrderedDict()

    def _weights(self) -> list[Direction]:
        return list(self.directions)  # type: ignore[arg-type]

    @torch.no_grad()
    def forward(self, X: Tensor, state: State) -> tuple[Tensor, State]:
        """Hidden states (T, B, D h) and the state after; X is (T, B, d), or (T, B) indices."""
        H, after, _ = self.run(X, state)
        return H, after

    @torch.no_grad()
    def run(self, X: Tensor, state: State) -> tuple[Tensor, State, list[Tape]]:
        """As `forward`, with the tape of each direction, which holds every signal."""
        tapes = [self._run(i, X, tuple(S[i] for S in state)) for i in range(len(self.directions))]
        after = [tuple(states[0 if tape.reverse else -1] for states in _states(tape)) for tape in tapes]
        H = torch.cat([tape.signals["H"] for tape in tapes], dim=-1) if len(tapes) > 1 else tapes[0].signals["H"]
        return H, tuple(torch.stack(S) for S in zip(*after, strict=True)), tapes

    def _run(self, i: int, X: Tensor, state: State) -> Tape:
        W, h = self._weights()[i], self.config.hidden_size
        T, B = X.shape[:2]
        tape = self._tape(i, X, T, B)
        for states, given in zip(_states(tape), state, strict=True):
            states[-1 if tape.reverse else 0] = given
        if self.config.cell == "rnn":
            input_part(W, X, tape.signals["H"])
            rnn_forward(W, tape, self.config.activation)
        elif self.config.cell == "gru":
            gru_forward(W, tape, input_part(W, X, tape.buffers.get("products", T, B, 3 * h)), self.config.reset)
        else:
            lstm_forward(W, tape, input_part(W, X, tape.buffers.get("gates", T, B, 4 * h)))
        return tape

    def _tape(self, i: int, X: Tensor, T: int, B: int) -> Tape:
        h, reverse, W_h = self.config.hidden_size, i == 1, self._weights()[i].W_h.data
        key = (i, T, B)
        buffers = self._buffers_of.pop(key, None) or Buffers(W_h)
        self._buffers_of[key] = buffers
        while len(self._buffers_of) > MAX_SHAPES * len(self.directions):
            self._buffers_of.popitem(last=False)
        H = buffers.get("H", T + 1, B, h)
        C = buffers.get("C", T + 1, B, h) if self.config.cell == "lstm" else None
        if T >= _STEPS_WORTH_A_COPY:
            columns = W_h.shape[1]
            W_h = buffers.get("W_h", h, odd_lines(columns))[:, :columns].copy_(W_h)
        order = range(T - 1, -1, -1) if reverse else range(T)
        tape = Tape(buffers, W_h, {}, X, H, C, order, reverse)
        tape.signals.update(_signals(self.config.cell, tape, T, B, h))
        return tape

    @torch.no_grad()
    def backward(self, tapes: list[Tape], dH: Tensor) -> tuple[Tensor | None, Adjoints]:
        """Leave the gradients of all weights in `.grad`, given dL/dH (T, B, D h) from above.

        Returns dL/dX, or None where X were indices, and for each direction the whole of dL/dH_t, and
        for the LSTM of dL/dC_t, (T, B, h) each.
        """
        h = self.config.hidden_size
        dX: Tensor | None = None
        adjoints: Adjoints = []
        for i, (W, tape) in enumerate(zip(self._weights(), tapes, strict=True)):
            mine = dH[..., i * h : (i + 1) * h].contiguous() if len(tapes) > 1 else dH
            if self.config.cell == "rnn":
                dA, extra = rnn_backward(W, tape, mine, self.config.activation), ()
            elif self.config.cell == "gru":
                dA, extra = gru_backward(W, tape, mine, self.config.reset), ()
            else:
                dC = tape.buffers.get("dC", *mine.shape).zero_()
                dA, extra = lstm_backward(W, tape, mine, dC), (dC,)  # type: ignore[assignment]
            part = input_gradients(W, tape.X, dA)
            dX = part if dX is None or part is None else dX + part
            adjoints.append((mine, *extra))
        return dX, adjoints

    def forget_buffers(self) -> None:
        """Before the weights move to another tensor: the buffers are made after them."""
        self._buffers_of.clear()

    def weights(self) -> list[dict[str, Tensor]]:
        return [W.named() for W in self._weights()]

    def gradients(self) -> list[dict[str, Tensor]]:
        return [W.named("grad") for W in self._weights()]

    def gradient_norms(self) -> list[dict[str, Tensor]]:
        return [W.gradient_norms() for W in self._weights()]

    @torch.no_grad()
    def load(self, weights: Sequence[Weights]) -> None:
        for views, given in zip(self.weights(), weights, strict=True):
            for name, view in views.items():
                view.copy_(given[name])


def _states(tape: Tape) -> tuple[Tensor, ...]:
    return (tape.H,) if tape.C is None else (tape.H, tape.C)


def _signals(cell: str, tape: Tape, T: int, B: int, h: int) -> dict[str, Tensor]:
    """Where each signal of the cell stands in the buffers, (T, B, h) views by name."""
    get = tape.buffers.get
    if cell == "gru":
        products = get("products", T, B, 3 * h)
        gates = {"R": products[..., :h], "Z": products[..., h : 2 * h], "H_tilde": get("N", T, B, h)}
    elif cell == "lstm":
        packed = get("gates", T, B, 4 * h)
        names = ("I", "F", "O", "C_tilde")
        gates = {name: packed[..., i * h : (i + 1) * h] for i, name in enumerate(names)}
        gates["C"] = tape.outputs(tape.C)  # type: ignore[arg-type]
    else:
        gates = {}
    return {**gates, "H": tape.outputs(tape.H)}


@torch.no_grad()
def output_loss(
    H: Tensor, Y: Tensor, W_hq: nn.Parameter, b_q: nn.Parameter, buffers: Buffers
) -> tuple[float, int, Tensor]:
    """Output layer, softmax and cross-entropy with their gradients, some rows at a time.

    O = H W_hq + b_q; L = mean over known targets of -log softmax(O)_y; dO = (softmax(O) - onehot(y)) / n.
    So many rows go together that their logits stay in the processor's cache; (T B, V) never exists.
    The products work on copies of W_hq and b_q, wider by `odd_lines`: the columns added have b_q = -inf,
    hence probability and gradient 0.
    Leaves dL/dW_hq and dL/db_q in `.grad`; returns the loss in nats summed, n, and dL/dH (T, B, D h).
    """
    rows, targets = H.flatten(0, 1), Y.flatten()
    known = targets != UNKNOWN
    (Dh, V), n = W_hq.shape, int(known.sum())
    width = odd_lines(V)
    W, dW = (buffers.get(name, Dh, width) for name in ("W_hq", "dW_hq"))
    b, db = (buffers.get(name, width) for name in ("b_q", "db_q"))
    W[:, V:], b[V:] = 0.0, -math.inf
    W[:, :V], b[:V] = W_hq.data, b_q.data
    parts = -(-len(rows) * width // _LOGITS_IN_CACHE)
    size = max(64, -(-len(rows) // parts))
    space = buffers.get("logits", min(size, len(rows)), width)
    dH = buffers.get("dH", *rows.shape)
    nats, mean = 0.0, 1.0 / max(n, 1)
    for i in range(0, len(rows), size):
        part, first = slice(i, i + size), i == 0
        log_P, dO = _softmax_loss(rows[part], targets[part], known[part], W, b, space)
        nats -= float(log_P.sum(dtype=torch.float64))
        dW.addmm_(rows[part].T, dO, beta=0.0 if first else 1.0, alpha=mean)
        db.addmv_(dO.T, torch.ones_like(log_P), beta=0.0 if first else 1.0, alpha=mean)
        dH[part].addmm_(dO, W.T, beta=0.0, alpha=mean)
    W_hq.grad.copy_(dW[:, :V])  # type: ignore[union-attr]  # views of the flat gradient, there from the start
    b_q.grad.copy_(db[:V])  # type: ignore[union-attr]
    return nats, n, dH.view_as(H)


def _softmax_loss(
    rows: Tensor, targets: Tensor, known: Tensor, W_hq: Tensor, b_q: Tensor, space: Tensor
) -> tuple[Tensor, Tensor]:
    """log P of each row's target, 0 where it is unknown, and softmax(O) - onehot(y), 0 where it is unknown."""
    logits = torch.mm(rows, W_hq, out=space[: len(rows)]).add_(b_q)
    P = torch.softmax(logits, -1, out=logits)
    columns = targets.clamp(min=0).unsqueeze(1)
    chosen = P.gather(1, columns).squeeze(1)
    tiny = torch.finfo(P.dtype).tiny
    lost = chosen < tiny  # exp has underflowed: these few rows again, in logarithms
    log_P = chosen.clamp(min=tiny).log_()
    if bool(lost.any()):
        again = torch.log_softmax(torch.addmm(b_q, rows[lost], W_hq), -1)
        log_P[lost] = again.gather(1, columns[lost]).squeeze(1)
    dO = P.scatter_add_(1, columns, P.new_full((1, 1), -1.0).expand_as(columns))
    if not bool(known.all()):
        dO[~known] = 0.0
    return log_P * known, dO
