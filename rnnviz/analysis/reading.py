"""A recurrent language model reading a text, number by number, from a recording and the weights. No torch here.

X_t W_xh + H_{t-1} W_hh + b_h = A_t    φ(A_t) = H_t
H_t W_hq + b_q = O_t                   softmax(O_t) = P_t    −Y_t · log P_t = L_t
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnviz.cells import cell_of, of_layer
from rnnviz.errors import InputError
from rnnviz.runs.recording import Array, Trace
from rnnviz.text.corpora import Vocabulary, one_hot


@dataclass(frozen=True)
class TimeStep:
    """All numbers of the step that read one character: row vectors, so that `X @ W_xh` is the product.

    X is the one-hot vector (V,) of the character read, or in a later layer the output of the layer below;
    Y is the one-hot vector of the character that follows. Both are zeros where the vocabulary lacks the
    character or there is none. A is the sum before the activation, O the logits, and P their softmax.
    `loss` is in nats, NaN without a next character.
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
    """A recording of a network over a text, in one layer and direction, and the weights that produced it.

    `weights` has the cell's own weights, such as W_xh (d, h), and W_hq (D h, V) and b_q (V,), by name.
    """

    trace: Trace
    weights: Mapping[str, Array]
    vocabulary: Vocabulary
    layer: int = 1
    direction: str = "forward"

    @staticmethod
    def of(
        trace: Trace,
        weights: Mapping[str, NDArray[Any]],
        vocabulary: Vocabulary,
        layer: int = 1,
        direction: str = "forward",
    ) -> Reading:
        """From a model's weights under their full names. Raises InputError for a layer or direction that it lacks."""
        if not 1 <= layer <= trace.num_layers or direction not in trace.directions:
            raise InputError(
                "the run is a {cell} of {layers} layers and {directions} directions; allowed here: one that has a "
                "layer {layer} and the direction {direction}",
                cell=cell_of(trace).label,
                layers=trace.num_layers,
                directions=len(trace.directions),
                layer=layer,
                direction=direction,
            )
        own = of_layer(weights, layer, direction) | {name: weights[name] for name in ("W_hq", "b_q")}
        return Reading(trace, own, vocabulary, layer, direction)

    @property
    def hidden_size(self) -> int:
        return len(self.trace.signal("H", self.layer, self.direction)[0])

    def log_probabilities(self) -> Array:
        """log P_t of every step, (T, V)."""
        return log_softmax(self.outputs(self.trace.num_layers) @ self.weights["W_hq"] + self.weights["b_q"])

    def outputs(self, layer: int) -> Array:
        """What a layer hands to the next one, (T, D h): the hidden states of its directions side by side, to which a
        residual layer adds its input."""
        H = np.concatenate([self.trace.signal("H", layer, direction) for direction in self.trace.directions], axis=1)
        return H + self.outputs(layer - 1) if self.trace.residual and layer > 1 else H

    def step(self, t: int) -> TimeStep:
        """The step of a plain RNN that read `text[t]`. Raises InputError for another cell."""
        if self.trace.cell != "rnn":
            raise InputError("the run is a {cell}; allowed here: an RNN", cell=cell_of(self.trace).label)
        W, H = self.weights, self.trace.signal("H", self.layer, self.direction)
        ids, V = self.vocabulary.encode(self.trace.text[t : t + 2]), len(self.vocabulary)
        Y = one_hot(ids[1], V) if len(ids) > 1 else np.zeros(V, np.float32)
        X = one_hot(ids[0], V) if self.layer == 1 else self.outputs(self.layer - 1)[t]
        before = t - 1 if self.direction == "forward" else t + 1
        H_before = H[before] if 0 <= before < len(H) else np.zeros_like(H[0])
        XW, HW, HW_q = X @ W["W_xh"], H_before @ W["W_hh"], self.outputs(self.trace.num_layers)[t] @ W["W_hq"]
        O = HW_q + W["b_q"]  # noqa: E741  the equation's own symbol
        log_P = log_softmax(O)
        loss = -float(Y @ log_P) if Y.any() else float("nan")
        return TimeStep(X, H_before, XW, HW, XW + HW + W["b_h"], H[t], HW_q, O, np.exp(log_P), Y, loss)


def every_layer(trace: Trace, weights: Mapping[str, NDArray[Any]], vocabulary: Vocabulary) -> tuple[Reading, ...]:
    """A network's reading once for each of its layers, the lowest first."""
    return tuple(Reading.of(trace, weights, vocabulary, layer) for layer in range(1, trace.num_layers + 1))


def log_softmax(logits: NDArray[Any]) -> NDArray[Any]:
    """log(exp(O) / sum exp(O)) along the last axis, relative to the largest logit, so that nothing overflows."""
    lower: NDArray[Any] = logits - logits.max(axis=-1, keepdims=True)
    lower -= np.log(np.exp(lower).sum(axis=-1, keepdims=True))
    return lower
