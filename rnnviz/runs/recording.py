"""Recordings of a model: `Trace`, every signal over a text, and `Generation`, a text with its probabilities."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, cast, get_args

import numpy as np
from numpy.typing import NDArray

from rnnviz.cells import Activation, CellName, Reset, cell_of, of_layer
from rnnviz.errors import InputError

Array = NDArray[np.float32]
_FORMAT = 2


@dataclass(frozen=True)
class Trace:
    """The signals of a network, and the text over which they were recorded.

    `signals` maps names such as `layer1.forward.Z` to arrays of shape (T, h): row t is the step
    that read `text[t]`, also for the backward direction. With `residual` each layer but the first
    hands on its hidden states and its input, added.
    """

    text: str
    cell: CellName
    reset: Reset
    activation: Activation
    signals: Mapping[str, Array]
    residual: bool = False

    def signal(self, name: str, layer: int = 1, direction: str = "forward") -> Array:
        """One signal (T, h) by its name in SIGNALS. Raises KeyError where there is none."""
        return self.signals[f"layer{layer}.{direction}.{name}"]

    @property
    def names(self) -> tuple[str, ...]:
        """The signals recorded, in the order of the cell's equations."""
        return tuple(dict.fromkeys(key.split(".")[2] for key in self.signals))

    @property
    def num_layers(self) -> int:
        return len({name.split(".")[0] for name in self.signals})

    @property
    def directions(self) -> tuple[str, ...]:
        return tuple(d for d in ("forward", "backward") if of_layer(self.signals, 1, d))

    def save(self, file: BinaryIO) -> None:
        """Write an `.npz` of the arrays, the text and the cell; plain arrays, nothing pickled."""
        arrays: dict[str, Any] = {name: np.array(value) for name, value in self._about().items()}
        np.savez(file, **(arrays | dict(self.signals)))

    def to_bytes(self) -> bytes:
        buffer = io.BytesIO()
        self.save(buffer)
        return buffer.getvalue()

    def to_json(self) -> dict[str, Any]:
        """Lists for JSON, under the names that `save` uses."""
        return self._about() | {name: values.tolist() for name, values in self.signals.items()}

    def _about(self) -> dict[str, Any]:
        cell = {"cell": self.cell, "reset": self.reset, "activation": self.activation}
        return {"format": _FORMAT, "text": self.text, **cell} | ({"residual": True} if self.residual else {})

    @staticmethod
    def load(file: BinaryIO) -> Trace:
        """The recording that `save` wrote. Raises InputError for anything else."""
        try:
            with np.load(file, allow_pickle=False) as arrays:
                about = {name: str(arrays[name]) for name in ("text", "cell", "reset", "activation")}
                residual = "residual" in arrays.files and bool(arrays["residual"])
                known = {*about, "format", "residual"}
                signals = {name: arrays[name] for name in arrays.files if name not in known}
                if "format" not in arrays.files and about["reset"] == "after":
                    about["reset"] = "after-bias"  # the first format had two resets; its "after" included b_hn
            trace = Trace(
                text=about["text"],
                cell=cast("CellName", about["cell"]),
                reset=cast("Reset", about["reset"]),
                activation=cast("Activation", about["activation"]),
                signals=signals,
                residual=residual,
            )
            trace._check()
        except Exception as error:  # NumPy raises many kinds for a damaged file
            raise InputError("the recording cannot be read: {reason}", reason=error) from error
        return trace

    def _check(self) -> None:
        """Raises ValueError if signals are missing or do not fit the text."""
        if self.cell not in get_args(CellName) or self.reset not in get_args(Reset):
            raise ValueError(f"its cell is {self.cell}, {self.reset}")
        if self.activation not in get_args(Activation):
            raise ValueError(f"its activation is {self.activation}")
        self.text.encode()
        layers = range(1, self.num_layers + 1)
        expected = {f"layer{i}.{d}.{name}" for i in layers for d in self.directions for name in self.names}
        shapes = {array.shape for array in self.signals.values()}
        known = cell_of(self)
        if not set(known.state) <= set(self.names) <= set(known.equations) or expected != set(self.signals):
            raise ValueError("it does not have the signals of its cell")
        if any(array.dtype.kind != "f" for array in self.signals.values()):
            raise ValueError("its signals are no real numbers")
        if len(shapes) > 1 or len(shape := shapes.pop()) != 2 or shape[0] != len(self.text) or not self.text:
            raise ValueError("its signals do not have a row a character")


@dataclass(frozen=True)
class Generation:
    """A continuation, and the model's distribution at each step.

    `distributions` is (length, V): row i is what `text[len(prefix) + i]` was drawn from.
    """

    prefix: str
    text: str
    distributions: NDArray[np.float32]


@dataclass(frozen=True)
class Resets:
    """The perplexity of a text with the state carried on, and with it set to zero every so many characters."""

    carried: float
    by_window: Mapping[int, float]


@dataclass(frozen=True)
class Growth:
    """The cost of each training step with the carried state detached from the graph, and attached to it.

    `nodes` counts the nodes of the graph that backward has to walk through, and `milliseconds` is the time
    of forward and backward; both have the keys "detached" and "attached". `errors` are torch's messages:
    "second" where backward meets a graph that it has freed, and "update" where the graph was retained
    and the weights have changed since.
    """

    nodes: Mapping[str, list[int]]
    milliseconds: Mapping[str, list[float]]
    errors: Mapping[str, str]


def order_by_similarity(values: Array) -> NDArray[np.intp]:
    """An order of the h columns of (T, h) that puts units of similar activity side by side.

    Units are laid on the plane of the two leading principal components of their centred,
    normalised activity and read off by angle, starting opposite to the mean activity.
    """
    columns, group, counts = np.unique(values, axis=1, return_inverse=True, return_counts=True)
    means = columns.mean(axis=0)
    centred = columns - means
    scale = np.linalg.norm(centred, axis=0)
    unit = centred / np.where(scale > 0, scale, 1)
    axes, _, _ = np.linalg.svd(unit * np.sqrt(counts), full_matrices=False)
    if axes.shape[1] < 2:
        order = np.argsort(means, kind="stable")
    else:
        first, second = axes[:, :2].T @ unit
        first = first * (np.sign((first * means * counts).sum()) or 1)
        second = second * (np.sign((second * scale * counts).sum()) or 1)
        order = np.argsort(np.arctan2(second, first), kind="stable")
    # NumPy 2.0 alone gives the groups a second axis.
    return np.argsort(np.argsort(order)[group.ravel()], kind="stable")
