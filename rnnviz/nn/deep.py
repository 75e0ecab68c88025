"""A deep network, layer by layer: the study of its checkpoints, and what the Deep page opens on."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rnnviz.analysis.deep import QUANTILES, Array, LayerStudy, cost_sizes
from rnnviz.analysis.gradient_study import geometric_mean
from rnnviz.errors import InputError
from rnnviz.nn import memory
from rnnviz.nn.bench import cost
from rnnviz.nn.execution import load_model
from rnnviz.nn.gradients import LAGS, WINDOWS, gradient_by_lag, windows_of
from rnnviz.nn.model import LanguageModel
from rnnviz.nn.tracing import record, trace
from rnnviz.runs.folder import Run, write_atomically
from rnnviz.runs.reports import Report, StepReport
from rnnviz.text.corpora import default_probe

_ROUNDS = 3


def study(folder: str) -> LayerStudy:
    """The layers of a run at all checkpoints that it has kept so far. Raises InputError before the first, and for
    a run that does not predict."""
    run = Run.open(folder)
    config, steps = run.config.model, run.checkpoint_steps()
    run.config.check_predicts()
    if not steps:
        raise InputError("the run has no checkpoint yet")
    memory.require(2 * memory.of_graph(config, len(run.corpus.vocabulary), LAGS * WINDOWS))
    parts = [_at_checkpoint(folder, step) for step in steps]
    norm_steps, norms = layer_norms(run.reports(), config.num_layers)
    return LayerStudy(
        cell=config.cell,
        steps=tuple(steps),
        quantiles={name: np.stack([part.quantiles[name] for part in parts]) for name in parts[0].quantiles},
        differences=np.stack([part.differences for part in parts]),
        reach=np.stack([part.reach for part in parts]),
        norm_steps=norm_steps,
        norms=norms,
    )


@dataclass(frozen=True)
class _Part:
    """What a study has of one checkpoint: (layers, 5) for each signal, (layers,), and (layers, T)."""

    quantiles: Mapping[str, Array]
    differences: Array
    reach: Array


@lru_cache(maxsize=256)
def _at_checkpoint(folder: str, step: int) -> _Part:
    """A kept checkpoint never changes."""
    run = Run.open(folder)
    model, probe = load_model(run, step), run.config.probe or default_probe(run.corpus)
    recorded = trace(model, run.corpus.vocabulary, probe)
    _texts, X, Y = windows_of(run.corpus)
    layers = range(1, run.config.model.num_layers + 1)

    return _Part(
        {
            name: np.stack([np.quantile(recorded.signal(name, layer), QUANTILES) for layer in layers])
            for name in recorded.names
        },
        differences_of(model, X),
        np.stack([geometric_mean(gradient_by_lag(model, X, Y, layer).H) for layer in layers]),
    )


@torch.no_grad()
def differences_of(model: LanguageModel, X: Tensor) -> Array:
    """How far the hidden states of the windows X (T, B) are apart at the same step, layer by layer, (layers,).

    The standard deviation over the windows, as a mean over steps and units: what is common to all texts, such as
    the way from the zero state, is no difference.
    """
    signals = record(model, X)
    layers = range(1, model.config.num_layers + 1)
    return np.array([float(signals[f"layer{i}.forward.H"].std(dim=1, correction=0).mean()) for i in layers])


def layer_norms(reports: Iterable[Report], num_layers: int) -> tuple[NDArray[np.int64], Array]:
    """The training steps reported, and the gradient norm of each layer's parameters together, (n, layers)."""
    steps = [report for report in reports if isinstance(report, StepReport)]
    layers = [f"layer{i}." for i in range(1, num_layers + 1)]
    norms = [[_norm_of(report.norms, layer) for layer in layers] for report in steps]
    return np.array([report.step for report in steps], np.int64), np.array(norms).reshape(-1, num_layers)


def _norm_of(norms: Mapping[str, float], prefix: str) -> float:
    return math.hypot(*(norm for name, norm in norms.items() if name.startswith(prefix)))


def ship(folder: Path, runs: Iterable[Run]) -> None:
    """Write the study of each run under the name of its text's language, as the page opens on it."""
    torch.set_num_threads(1)
    folder.mkdir(parents=True, exist_ok=True)
    for run in runs:
        language = run.corpus.name.rpartition("-")[2]
        write_atomically(folder / f"{language}.npz", study(str(run.folder)).to_bytes())


def ship_costs(folder: Path) -> None:
    """Measure and write what networks of several depths cost on this machine: of some rounds the fastest."""
    rounds = [[cost(**size) for size in cost_sizes()] for _ in range(_ROUNDS)]
    fastest = [min(costs, key=lambda measured: measured.seconds) for costs in zip(*rounds, strict=True)]
    write_atomically(folder / "cost.json", json.dumps(list(map(asdict, fastest)), allow_nan=False).encode())


if __name__ == "__main__":
    ship(Path(sys.argv[1]), map(Run.open, sys.argv[2:]))
    ship_costs(Path(sys.argv[1]))
