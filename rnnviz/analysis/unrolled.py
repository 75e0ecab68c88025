"""Backpropagation through time for a plain RNN, one step at a time, with every factor kept. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnviz.analysis.reading import log_softmax
from rnnviz.cells import of_layer

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Unrolled:
    """An RNN over T characters, forward and backward. Rows are steps: row t - 1 belongs to step t.

    `H` is (T + 1, h) and begins with H_0 = 0; `loss` (T,) is -log P of each target in nats, and L
    their mean. `slope` is phi'(A_t), `own` the part of the gradient that comes from the loss of step t
    itself, `dH` the whole dL/dH_t, and `dA` = dH * slope, (T, h) each. `carried` is dA_t W_hh^T, which
    step t hands to step t - 1. `dW` holds the terms H_{t-1}^T dA_t, (T, h, h), whose sum is dL/dW_hh.
    """

    W_hh: Array
    H: Array
    loss: Array
    slope: Array
    own: Array
    dH: Array
    dA: Array
    carried: Array
    dW: Array

    @property
    def T(self) -> int:  # noqa: N802
        return len(self.loss)


def unroll(weights: Mapping[str, NDArray[Any]], ids: NDArray[np.int64]) -> Unrolled:
    """Read ids[:-1] with a tanh RNN from H_0 = 0, each character predicting the next, and backpropagate.

    `weights` are those of a one-layer model by their textbook names.
    """
    W = of_layer(weights)
    W_xh, W_hh, b_h = (W[name].astype(np.float64) for name in ("W_xh", "W_hh", "b_h"))
    W_hq, b_q = (weights[name].astype(np.float64) for name in ("W_hq", "b_q"))
    X, Y = ids[:-1], ids[1:]
    T, h = len(X), len(W_hh)
    H = np.zeros((T + 1, h))
    for t in range(T):
        H[t + 1] = np.tanh(W_xh[X[t]] + H[t] @ W_hh + b_h)
    log_P = log_softmax(H[1:] @ W_hq + b_q)
    dO = np.exp(log_P)
    dO[np.arange(T), Y] -= 1
    own = dO @ W_hq.T / T
    slope = 1 - H[1:] ** 2
    dH, dA, carried = own.copy(), np.empty((T, h)), np.empty((T, h))
    for t in reversed(range(T)):
        dA[t] = dH[t] * slope[t]
        carried[t] = dA[t] @ W_hh.T
        if t > 0:
            dH[t - 1] += carried[t]
    dW = H[:-1, :, None] * dA[:, None, :]
    return Unrolled(W_hh, H, -log_P[np.arange(T), Y], slope, own, dH, dA, carried, dW)
