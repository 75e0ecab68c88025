"""Trains the curves that pages show before their visitors train anything."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from rnnviz.analysis.held_back import VARIANTS, Learned, held_back_config, held_back_corpus
from rnnviz.analysis.restoring import DIRECTIONS, SEEDS, Restored, restoring_config
from rnnviz.analysis.side_by_side import (
    BIASES,
    IMPLEMENTATIONS,
    STARTS,
    Curve,
    implementation_config,
    recall_config,
    start_config,
)
from rnnviz.cells import CellName
from rnnviz.config import TrainConfig
from rnnviz.nn.training import train
from rnnviz.runs.folder import write_atomically
from rnnviz.runs.reports import EpochReport
from rnnviz.text.corpora import Corpus, corpus_of

_CELLS: tuple[CellName, ...] = ("gru", "lstm")


def curve_of(config: TrainConfig) -> Curve:
    """The curve of a configuration, trained here from start to end."""
    return Curve.of(_epochs(config))


def ship(folder: Path) -> None:
    """Train and write the curves of both cells' implementations, of the biases, and of the depths on two texts."""
    torch.set_num_threads(1)
    folder.mkdir(parents=True, exist_ok=True)
    for cell in _CELLS:
        curves = {str(name): curve_of(implementation_config(cell, name)) for name in IMPLEMENTATIONS}
        _save(folder / f"{cell}.json", curves)
    ship_restored(folder / "restoring.json")
    ship_held_back(folder / "held_back.json")
    _save(folder / "recall.json", {f"{bias:g}": curve_of(recall_config(f"{bias:g}")) for bias in BIASES})
    for language, corpus in (("en", "tales-en"), ("zh", "lyrics-zh")):
        _save(folder / f"start-{language}.json", {name: curve_of(start_config(name, corpus)) for name in STARTS})


def ship_restored(path: Path) -> None:
    """Train both models that restore masked characters, with every seed, and write their curves."""
    curves = {name: Restored.of([_epochs(restoring_config(name, seed=seed)) for seed in SEEDS]) for name in DIRECTIONS}
    values = {
        name: {"step": each.step.tolist(), "accuracy": np.round(each.accuracy, 4).tolist()}
        for name, each in curves.items()
    }
    write_atomically(path, json.dumps(values, allow_nan=False).encode())


def ship_held_back(path: Path) -> None:
    """Train with no switch and with each by itself, and write the curves."""
    values = {}
    for switches in VARIANTS:
        config = held_back_config(switches)
        learned = Learned.of(_epochs(config, held_back_corpus(config)))
        values["+".join(switches)] = {
            "step": learned.step.tolist(),
            "training": [float(f"{p:.6g}") for p in learned.training],
            "held_out": [float(f"{p:.6g}") for p in learned.held_out],
        }
    write_atomically(path, json.dumps(values, allow_nan=False).encode())


def _epochs(config: TrainConfig, corpus: Corpus | None = None) -> list[EpochReport]:
    return [report for report in train(config, corpus or corpus_of(config)) if isinstance(report, EpochReport)]


def _save(path: Path, curves: Mapping[str, Curve]) -> None:
    values = {
        name: {
            "step": curve.step.tolist(),
            "perplexity": [float(f"{p:.9g}") for p in curve.perplexity],
            "held_out": [float(f"{p:.9g}") for p in curve.held_out],
            "speed": [curve.speed],
        }
        for name, curve in curves.items()
    }
    write_atomically(path, json.dumps(values, allow_nan=False).encode())


if __name__ == "__main__":
    ship(Path(sys.argv[1]))
