"""A recurrent language model reading a text, number by number. No torch: all comes from a recording and the weights.

X_t W_xh + H_{t-1} W_hh + b_h = A_t    φ(A_t) = H_t
H_t W_hq + b_q = O_t                   softmax(O_t) = P_t    −Y_t · log P_t = L_t
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnviz.errors import InputError
from rnnviz.recording import Array, Trace
from rnnviz.text import Vocabulary, one_hot


@dataclass(frozen=True)
class Step:
    """All numbers of the step that read one character: row vectors, so that `X @ W_xh` is the product.

    X and Y are one-hot vectors (V,) of the character read and of the one that follows; zeros where
    the vocabulary lacks it or there is none. A is the sum before the activation, O the logits, P
    their softmax. `loss` is in nats, NaN without a next character.
    """

    X: Array
    H_before: Array
    XW: Array
    HW: Array
    A: Array
    H: Array
    HW_q: Array
    O: Array  # noqa: E741  the equation's own symbol
    P: Array
    Y: Array
    loss: float


@dataclass(frozen=True)
class Reading:
    """What a model of one layer recorded over a text, and the weights with which it did.

    `weights` maps W_xh (V, h), W_hh (h, h), b_h (h,), W_hq (h, V) and b_q (V,) by their names.
    """

    trace: Trace
    weights: Mapping[str, Array]
    vocabulary: Vocabulary

    @staticmethod
    def of(trace: Trace, weights: Mapping[str, NDArray[Any]], vocabulary: Vocabulary) -> Reading:
        """From a model's weights under their full names. Raises InputError for another model than an RNN layer."""
        if (trace.cell, trace.num_layers, trace.directions) != ("rnn", 1, ("forward",)):
            raise InputError(
                "the run is a {cell} of {layers} layers and {directions} directions; "
                "allowed here: an RNN of one layer and one direction",
                cell=trace.cell.upper(),
                layers=trace.num_layers,
                directions=len(trace.directions),
            )
        return Reading(trace, {name.split(".")[-1]: value for name, value in weights.items()}, vocabulary)

    @property
    def hidden_size(self) -> int:
        return len(self.weights["W_hh"])

    def step(self, t: int) -> Step:
        """The step that read `text[t]`."""
        W, H = self.weights, self.trace.signal("H")
        ids, V = self.vocabulary.encode(self.trace.text[t : t + 2]), len(self.vocabulary)
        X, Y = one_hot(ids[0], V), one_hot(ids[1], V) if len(ids) > 1 else np.zeros(V, np.float32)
        H_before = H[t - 1] if t else np.zeros_like(H[0])
        XW, HW, HW_q = X @ W["W_xh"], H_before @ W["W_hh"], H[t] @ W["W_hq"]
        O = HW_q + W["b_q"]  # noqa: E741  the equation's own symbol
        log_P = log_softmax(O)
        loss = -float(Y @ log_P) if Y.any() else float("nan")
        return Step(X, H_before, XW, HW, XW + HW + W["b_h"], H[t], HW_q, O, np.exp(log_P), Y, loss)


def log_softmax(logits: Array) -> Array:
    """log(exp(O) / sum exp(O)) along the last axis, from the largest logit down, so that nothing overflows."""
    lower: Array = logits - logits.max(axis=-1, keepdims=True)
    lower -= np.log(np.exp(lower).sum(axis=-1, keepdims=True))
    return lower
