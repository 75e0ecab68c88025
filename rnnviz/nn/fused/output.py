"""The output layer: softmax and cross-entropy with their gradients, some rows at a time."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from rnnviz.nn.fused.tape import Buffers, odd_lines
from rnnviz.text.corpora import UNKNOWN

_LOGITS_IN_CACHE = 600_000


@torch.no_grad()
def output_loss(
    H: Tensor, Y: Tensor, W_hq: nn.Parameter, b_q: nn.Parameter, buffers: Buffers
) -> tuple[float, int, Tensor]:
    """Output layer, softmax and cross-entropy with their gradients, some rows at a time.

    O = H W_hq + b_q; L = mean over known targets of -log softmax(O)_y; dO = (softmax(O) - onehot(y)) / n.
    So many rows go together that their logits stay in the processor's cache; (T B, V) never exists.
    The products work on copies of W_hq and b_q, widened by `odd_lines`: the added columns have b_q = -inf,
    and therefore probability and gradient 0.
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
    lost = chosen < tiny  # exp has underflowed, so these few rows are computed again, in logarithms
    log_P = chosen.clamp(min=tiny).log_()
    if bool(lost.any()):
        again = torch.log_softmax(torch.addmm(b_q, rows[lost], W_hq), -1)
        log_P[lost] = again.gather(1, columns[lost]).squeeze(1)
    dO = P.scatter_add_(1, columns, P.new_full((1, 1), -1.0).expand_as(columns))
    if not bool(known.all()):
        dO[~known] = 0.0
    return log_P * known, dO
