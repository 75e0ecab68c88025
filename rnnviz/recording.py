"""What looking inside gives: `Trace`, every signal over a text, and `Generation`, a text and its chances."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from rnnviz.errors import InputError
from rnnviz.signals import CELL_SIGNALS, Activation, CellName, Reset

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Trace:
    """A recording and the text it speaks of.

    `signals` maps names such as `layer1.forward.Z` to arrays of shape (T, h): row t is the step
    that read `text[t]`, also for the backward direction.
    """

    text: str
    cell: CellName
    reset: Reset
    activation: Activation
    signals: Mapping[str, Array]

    def signal(self, name: str, layer: int = 1, direction: str = "forward") -> Array:
        """One signal (T, h) by its name in SIGNALS. Raises KeyError where there is none."""
        return self.signals[f"layer{layer}.{direction}.{name}"]

    @property
    def names(self) -> tuple[str, ...]:
        return CELL_SIGNALS[self.cell]

    @property
    def num_layers(self) -> int:
        return len({name.split(".")[0] for name in self.signals})

    @property
    def directions(self) -> tuple[str, ...]:
        return tuple(d for d in ("forward", "backward") if f"layer1.{d}.H" in self.signals)

    def save(self, file: BinaryIO) -> None:
        """Write an `.npz` of the arrays, the text and the cell; plain arrays, nothing pickled."""
        about = {"text": self.text, "cell": self.cell, "reset": self.reset, "activation": self.activation}
        arrays: dict[str, Any] = {name: np.array(value) for name, value in about.items()}
        np.savez(file, **(arrays | dict(self.signals)))

    def to_bytes(self) -> bytes:
        buffer = io.BytesIO()
        self.save(buffer)
        return buffer.getvalue()

    def to_json(self) -> dict[str, Any]:
        """Lists for JSON, under the names that `save` uses."""
        about = {"text": self.text, "cell": self.cell, "reset": self.reset, "activation": self.activation}
        return about | {name: values.tolist() for name, values in self.signals.items()}

    @staticmethod
    def load(file: BinaryIO) -> Trace:
        """The recording that `save` wrote. Raises InputError for anything else."""
        try:
            with np.load(file, allow_pickle=False) as arrays:
                about = {name: str(arrays[name]) for name in ("text", "cell", "reset", "activation")}
                signals = {name: arrays[name] for name in arrays.files if name not in about}
        except Exception as error:  # NumPy raises many kinds for a damaged file
            raise InputError("the recording cannot be read: {reason}", reason=error) from error
        return Trace(
            text=about["text"],
            cell=cast("CellName", about["cell"]),
            reset=cast("Reset", about["reset"]),
            activation=cast("Activation", about["activation"]),
            signals=signals,
        )


@dataclass(frozen=True)
class Generation:
    """A continuation and what the model thought at each step.

    `distributions` is (length, V): row i is what `text[len(prefix) + i]` was drawn from.
    """

    prefix: str
    text: str
    distributions: NDArray[np.float32]


@dataclass(frozen=True)
class Growth:
    """What each training step cost while the state was carried on, detached from the graph and not.

    `nodes` of the graph that backward has to walk through, and the `milliseconds` of forward and
    backward, under "detached" and "kept". `errors` are torch's own words, under "second" where
    backward meets a graph that it has freed, and under "update" where the graph was retained and
    the weights have changed since.
    """

    nodes: Mapping[str, list[int]]
    milliseconds: Mapping[str, list[float]]
    errors: Mapping[str, str]


def order_by_similarity(values: Array) -> NDArray[np.intp]:
    """An order of the h columns of (T, h) in which units of like activity stand together.

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
    return np.argsort(np.argsort(order)[group], kind="stable")
