"""The small trainings of the Gradients page: those that ship, and those that it offers to run. No torch here."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load as from_safetensors

from rnnviz.analysis.gradient_study import Study
from rnnviz.cells import CellName
from rnnviz.config import ModelConfig, TrainConfig
from rnnviz.text.corpora import DATA, Vocabulary, corpus_of

CELLS: tuple[CellName, ...] = ("rnn", "gru", "lstm")

# Three cells, one text, one recipe; only the cell differs.
_STUDY = TrainConfig(
    ModelConfig(hidden_size=32, initialisation="uniform"),
    corpus="tales-en",
    max_chars=4000,
    batch_size=16,
    num_steps=40,
    epochs=50,
    optimizer="adam",
    learning_rate=0.01,
    clip=0.5,
    predict_every=0,
    device="cpu",
)


def study_config(cell: CellName, corpus: str = _STUDY.corpus) -> TrainConfig:
    """The training whose gradients are compared, for one of the three cells."""
    return _STUDY.with_settings({"cell": cell, "corpus": corpus})


# Small enough to draw its recurrent matrix number by number.
UNROLLED = _STUDY.with_settings({"cell": "rnn", "hidden_size": 8})

# A map has a row for each clipping threshold, 0 for none, and a column for each learning rate.
THETAS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 0.0)
_MAP = _STUDY.with_settings(
    {"hidden_size": 16, "max_chars": 600, "held_out_chars": 0, "batch_size": 6, "num_steps": 33, "epochs": 20}
)
MAPS: dict[str, TrainConfig] = {
    f"{cell}-{optimizer}": _MAP.with_settings({"cell": cell, "optimizer": optimizer})
    for cell, optimizer in (("rnn", "sgd"), ("gru", "sgd"), ("lstm", "sgd"), ("rnn", "adam"))
}


def learning_rates(name: str) -> tuple[float, ...]:
    """The columns of a map, two per decade. Adam divides by the gradient's size, so its rates are far smaller."""
    lowest = -3 if MAPS[name].optimizer == "adam" else -1
    return tuple(float(f"{10 ** (lowest + i / 2):.2g}") for i in range(9))


def map_cells(name: str, seed: int = 0) -> list[TrainConfig]:
    """Every training of a map: one threshold after the other, and for each all learning rates."""
    return [
        MAPS[name].with_settings({"learning_rate": rate, "clip": theta, "seed": seed})
        for theta in THETAS
        for rate in learning_rates(name)
    ]


@dataclass(frozen=True)
class MapCell:
    """One training of a map, with the perplexity over its text before and after."""

    start: float
    end: float

    @property
    def diverged(self) -> bool:
        """Whether it ended worse than it began, or with NaN."""
        return not self.end <= self.start


SHIPPED = DATA / "gradients"  # what `rnnviz.nn.gradients.ship` wrote


def shipped_study(cell: CellName) -> Study:
    """The study of `study_config(cell)` that comes with the app."""
    with (SHIPPED / f"{cell}.npz").open("rb") as file:
        return Study.load(file)


def shipped_unrolled() -> tuple[dict[str, NDArray[np.float32]], Vocabulary]:
    """The trained weights of UNROLLED, and their vocabulary."""
    return from_safetensors((SHIPPED / "unrolled.safetensors").read_bytes()), corpus_of(UNROLLED).vocabulary


def shipped_map(name: str) -> list[MapCell]:
    """A map of seed 0, in the order of `map_cells`."""
    pairs = json.loads((SHIPPED / "maps.json").read_text(encoding="utf-8"))[name]
    return [MapCell(*(math.inf if value is None else float(value) for value in pair)) for pair in pairs]
