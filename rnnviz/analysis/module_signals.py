"""The signals of a recurrent module of torch over the inputs of one call, as arrays. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnviz.cells import Cell, interpret, of_layer
from rnnviz.errors import InputError
from rnnviz.signals import SIGNALS


@dataclass(frozen=True, repr=False)
class ModuleSignals:
    """Every signal of a recurrent module of torch while its model computed one call.

    `signals` maps names such as `layer1.forward.Z` to arrays of shape (T, B, h), whatever the order of the
    axes in the call: T time steps, B sequences (1 without a batch dimension), h hidden units, and for the hidden
    states of an LSTM with `proj_size` so many. Behind the end of a packed sequence stands NaN; `lengths` has the
    number of steps of each, in the order of the caller. Row t of a backward signal is the step that read X_t.

    `inputs` is X (T, B, d) of the first layer, and `initial` the state (B, h) before the first step by the names of
    `signals`. `weights` have the textbook's names, such as `layer1.forward.W_xz`, the two biases of torch added.
    `largest_difference` is that between our equations and the module's own outputs and final states, relative to
    the largest of these where it is above 1. Arrays are float64 if the module's are, otherwise float32.

    Signs and names: Z near 1 keeps the old state, as in torch and Keras; in Chung et al. (2014) it is one minus
    this. torch calls H_tilde n, and C_tilde g.
    """

    name: str
    module: str
    record: Cell
    signals: Mapping[str, NDArray[Any]]
    inputs: NDArray[Any]
    initial: Mapping[str, NDArray[Any]]
    weights: Mapping[str, NDArray[Any]]
    lengths: tuple[int, ...]
    largest_difference: float

    def __repr__(self) -> str:
        T, B, _ = self.inputs.shape
        return (
            f"<{type(self).__name__} of {self.name}: {self.module}, {T} steps, {B} sequences, "
            f"largest difference {self.largest_difference:.1e}; signals: {', '.join(self.signals)}>"
        )

    def signal(self, name: str, layer: int = 1, direction: str = "forward") -> NDArray[Any]:
        """One signal (T, B, h) by its symbol or its name: "Z", "Zₜ" or "update gate".

        Raises InputError where the module has no such signal, layer or direction.
        """
        return self.signals[f"layer{layer}.{direction}.{self.known(name, layer, direction)}"]

    def cell(
        self, t: int, unit: int, *, batch: int = 0, layer: int = 1, direction: str = "forward"
    ) -> dict[str, float]:
        """Every number of one unit at one step, by the names of the cell's computation graph.

        These are the signals, the state before the step (`H_before`), the sums inside gates and candidates (`A_z`),
        and what stands between them, such as `kept`, Z_t * H_{t-1}. Steps and units are counted from 0. Raises
        InputError for a step, a unit or a sequence that is not there, and for an LSTM with `proj_size`.
        """
        signals, X, before = self.sequence(batch, layer, direction)
        for what, value, count in (("t", t, len(X)), ("unit", unit, signals["H"].shape[1])):
            _check_below(what, value, count)
        if direction == "backward":
            t = len(X) - 1 - t
        given = {"X": X[t]} | {name: values[t] for name, values in signals.items()}
        given |= {f"{n}_before": signals[n][t - 1] if t else before[n] for n in self.record.state}
        values = interpret(self.record.wiring, given, of_layer(self.weights, layer, direction))
        return {name: float(value[unit]) for name, value in values.items() if name != "X"}

    def sequence(
        self, batch: int, layer: int, direction: str
    ) -> tuple[dict[str, NDArray[Any]], NDArray[Any], dict[str, NDArray[Any]]]:
        """One sequence in the order in which the direction reads it, without what stands behind its end.

        Returns the signals (T, h), the layer's inputs (T, d), and the state (h,) before the first step. Raises
        InputError for a sequence, layer or direction that is not there, and for an LSTM with `proj_size`, whose
        hidden state has other units than its gates.
        """
        self.known("H", layer, direction)
        length = self.length(batch)
        if f"layer{layer}.{direction}.W_hp" in self.weights:
            raise InputError(
                "{name} has proj_size, so its hidden state has other units than its gates, and its cell cannot be "
                "drawn; its signals can: use signal and figure",
                name=self.name,
            )
        turn = slice(None, None, -1 if direction == "backward" else 1)
        one = {name: values[:length, batch][turn] for name, values in of_layer(self.signals, layer, direction).items()}
        before = {name: state[batch] for name, state in of_layer(self.initial, layer, direction).items()}
        return one, self._inputs(layer)[:length, batch][turn], before

    def length(self, batch: int) -> int:
        """The steps of a sequence. Raises InputError where there is no such sequence."""
        _check_below("batch", batch, len(self.lengths))
        return self.lengths[batch]

    def _inputs(self, layer: int) -> NDArray[Any]:
        """What a layer reads, (T, B, d)."""
        if layer == 1:
            return self.inputs
        below = [f"layer{layer - 1}.{direction}.H" for direction in ("forward", "backward")]
        return np.concatenate([self.signals[name] for name in below if name in self.signals], axis=-1)

    def known(self, name: str, layer: int, direction: str) -> str:
        """A signal's name in SIGNALS. Raises InputError where the module has no such signal, layer or direction."""
        names = {known: s.name for s in SIGNALS.values() for known in (s.name, s.symbol, s.label)}
        if f"layer{layer}.{direction}.{names.get(name)}" not in self.signals:
            raise InputError(
                "{name} has no signal {signal!r} in layer {layer} and direction {direction}; it has {allowed}",
                name=self.name,
                signal=name,
                layer=layer,
                direction=direction,
                allowed=", ".join(self.signals),
            )
        return names[name]


def _check_below(what: str, value: int, count: int) -> None:
    if not 0 <= value < count:
        raise InputError("{what} is {value}; allowed: 0 to {last}", what=what, value=value, last=count - 1)
