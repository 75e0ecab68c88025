"""The layers of a deep network while it trains, and the small trainings of the Deep page. No torch."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from rnnviz.analysis.reading import Reading, log_softmax
from rnnviz.cells import CellName, cell_of
from rnnviz.config import ModelConfig, TrainConfig
from rnnviz.errors import InputError
from rnnviz.text.corpora import DATA, one_hot

Array = NDArray[np.floating[Any]]
DEPTHS = ("1", "2", "3", "4")  # layers
# What may stand between the layers, by a name for the address.
BETWEEN: dict[str, dict[str, Any]] = {
    "plain": {},
    "residual": {"residual": True},
    "dropout": {"dropout": 0.3},
    "both": {"residual": True, "dropout": 0.3},
}
COST_CELL: CellName = "lstm"
COST_VOCABULARY = 60  # characters, about as many as the tales have
COST_PARAMETERS = (20_000, 80_000, 320_000)
COST_LAYERS = (1, 2, 3, 4)
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
SHIPPED = DATA / "deep"  # what `rnnviz.nn.deep.ship` wrote

_SMALL = TrainConfig(
    ModelConfig(cell="lstm", hidden_size=24, initialisation="uniform", forget_bias=1.0),
    max_chars=10_000,
    keep_line_breaks=True,
    batch_size=16,
    num_steps=32,
    epochs=60,
    optimizer="adam",
    learning_rate=0.01,
    clip=1.0,
    predict_every=20,
)


def deep_config(layers: str) -> TrainConfig:
    """The small training of the page, for a number of layers."""
    return _SMALL.with_settings({"num_layers": int(layers)})


@dataclass(frozen=True)
class LayerStudy:
    """What the layers of a network do while it trains, the lowest first.

    At each of `steps`, the K checkpoints kept: `quantiles` has of each signal, by its name, the QUANTILES of its
    values over all units and characters of the probe text, (K, layers, 5). `differences` is how far the hidden states
    of different windows of the training text are apart at the same step: their standard deviation, as a mean over
    steps and units, (K, layers). `reach` is ‖dL_T/dH_t‖ at the lag T - t, lag 0 first, as a geometric mean over these
    windows, (K, layers, T).

    `norms` (n, layers) are the gradient norms of all parameters of a layer together, before clipping, at the training
    steps `norm_steps`.
    """

    cell: CellName
    steps: tuple[int, ...]
    quantiles: Mapping[str, Array]
    differences: Array
    reach: Array
    norm_steps: NDArray[np.integer[Any]]
    norms: Array

    @property
    def num_layers(self) -> int:
        return int(self.reach.shape[1])

    def to_bytes(self) -> bytes:
        """A compressed `.npz` in single precision; plain arrays, nothing pickled."""
        buffer = io.BytesIO()
        arrays: dict[str, Any] = {"cell": np.array(self.cell), "steps": np.array(self.steps)}
        arrays |= {"norm_steps": self.norm_steps, "norms": self.norms.astype(np.float32)}
        arrays |= {"differences": self.differences.astype(np.float32), "reach": self.reach.astype(np.float32)}
        arrays |= {f"quantiles.{name}": values.astype(np.float32) for name, values in self.quantiles.items()}
        np.savez_compressed(buffer, **arrays)
        return buffer.getvalue()

    @staticmethod
    def load(file: BinaryIO) -> LayerStudy:
        """The study that `to_bytes` wrote. Raises InputError for anything else."""
        try:
            with np.load(file, allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
            return LayerStudy(
                cell=cast("CellName", str(arrays["cell"])),
                steps=tuple(map(int, arrays["steps"])),
                quantiles={
                    name.removeprefix("quantiles."): values
                    for name, values in arrays.items()
                    if name.startswith("quantiles.")
                },
                differences=arrays["differences"],
                reach=arrays["reach"],
                norm_steps=arrays["norm_steps"],
                norms=arrays["norms"],
            )
        except Exception as error:  # NumPy raises many kinds for a damaged file
            raise InputError("the study cannot be read: {reason}", reason=error) from error


def shipped_study(language: str) -> LayerStudy:
    """The study of the model that the page opens on in a language."""
    with (SHIPPED / f"{language}.npz").open("rb") as file:
        return LayerStudy.load(file)


def lag_of_share(reach: Array, share: float) -> NDArray[np.intp]:
    """The first lag up to which so large a share of all gradient lies, for norms (…, T) against the lag: (…,)."""
    sums = reach.cumsum(axis=-1)
    lags: NDArray[np.intp] = (sums >= share * sums[..., -1:]).argmax(axis=-1)
    return lags


@dataclass(frozen=True)
class Cost:
    """What a training step of a network costs: its least processor time in seconds, and the bytes of all tensors
    that it keeps: parameters, gradients, the optimiser's memory and what the backward pass needs. `machine` says
    where that was measured."""

    layers: int
    units: int
    parameters: int
    seconds: float
    bytes: int
    machine: str


def units_for(layers: int, parameters: int) -> int:
    """The number of hidden units with which a network of so many layers has about so many parameters."""

    def excess(units: int) -> int:
        config = ModelConfig(cell=COST_CELL, hidden_size=units, num_layers=layers)
        return abs(config.parameter_count(COST_VOCABULARY) - parameters)

    return min(range(1, int(parameters**0.5)), key=excess)


def cost_sizes() -> list[dict[str, int]]:
    """The layers and units that are measured: every depth at every number of parameters."""
    return [
        {"layers": layers, "units": units_for(layers, parameters)}
        for parameters in COST_PARAMETERS
        for layers in COST_LAYERS
    ]


def shipped_costs() -> list[Cost]:
    """The measurement that comes with the app, in the order of `cost_sizes`."""
    return [Cost(**cost) for cost in json.loads((SHIPPED / "cost.json").read_text(encoding="utf-8"))]


@dataclass(frozen=True)
class Dropped:
    """A network that reads a text while what its layers hand on is dropped out.

    `handed` is what each layer but the last hands to the next one, (T, h), 0 where it was dropped. `log_P` (T, V)
    are the predictions.
    """

    handed: tuple[Array, ...]
    log_P: Array


def read_with_dropout(layers: Sequence[Reading], share: float, seed: int) -> Dropped:
    """The layers of a network of one direction, the lowest first, reading their text as in a training step.

    Of what each layer but the last hands on, a `share` is set to 0 and the rest divided by 1 - share.
    """
    rng, trace = np.random.default_rng(seed), layers[0].trace
    cell, vocabulary = cell_of(trace), layers[0].vocabulary
    X: Array = one_hot(vocabulary.encode(trace.text), len(vocabulary))
    handed = []
    for layer in layers:
        state = tuple(np.zeros(layer.hidden_size, np.float32) for _ in cell.state)
        H = np.empty((len(X), layer.hidden_size), np.float32)
        for t, x in enumerate(X):
            signals = cell.step(x, state, layer.weights)
            state, H[t] = tuple(signals[name] for name in cell.state), signals["H"]
        X = H + X if trace.residual and layer.layer > 1 else H
        if layer.layer < len(layers):
            X = X * (rng.random(X.shape) >= share) / np.float32(1 - share)
            handed.append(X)
    last = layers[-1].weights
    return Dropped(tuple(handed), log_softmax(X @ last["W_hq"] + last["b_q"]))
