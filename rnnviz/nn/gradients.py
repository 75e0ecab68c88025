"""Gradients through time, measured: dL_T/dH_t by our own backpropagation, and the theoretical bounds."""

from __future__ import annotations

import json
import math
import sys
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from safetensors.numpy import save as to_safetensors
from torch import Tensor

from rnnviz.analysis.experiments import CELLS, MAPS, UNROLLED, MapCell, map_cells, study_config
from rnnviz.analysis.gradient_study import Lag, Study, norms_of, spectrum_of
from rnnviz.cells import cell_of, of_layer
from rnnviz.config import ModelConfig, TrainConfig
from rnnviz.errors import InputError
from rnnviz.nn import memory
from rnnviz.nn.execution import Execution, load_model
from rnnviz.nn.model import LanguageModel
from rnnviz.nn.tracing import record
from rnnviz.nn.training import Trainer, evaluate, perplexity
from rnnviz.runs.folder import Run, write_atomically
from rnnviz.runs.reports import EpochReport
from rnnviz.text.corpora import UNKNOWN, Corpus, corpus_of
from rnnviz.text.sampling import window

LAGS = 40
WINDOWS = 6
SCALES = tuple(0.25 * 2 ** (i / 3) for i in range(13))  # 0.25 to 4, and 1 among them


def gradient_by_lag(model: LanguageModel, X: Tensor, Y: Tensor, layer: int = 1, direction: str = "forward") -> Lag:
    """How far back the loss of each window's last character reaches in one layer; X, Y are ids (T, B).

    In the backward direction, which reads from the end, it is the loss of the first character, and
    the lag counts the characters after it. Windows are read from a zero state, in double precision.
    A window whose target is unknown has no loss and a gradient of zero. Raises InputError where the
    model has no such layer or direction.
    """
    config, backward = model.config, direction == "backward"
    if not (1 <= layer <= config.num_layers and direction in ("forward", "backward")[: config.num_directions]):
        raise InputError(
            "there is no {direction} direction in a layer {layer}; this model has {layers} layers and {directions} "
            "directions",
            direction=direction,
            layer=layer,
            layers=config.num_layers,
            directions=config.num_directions,
        )
    model = model.convert(implementation="fused").double()
    one = torch.full_like(Y, UNKNOWN)
    one[0 if backward else -1] = Y[0 if backward else -1]
    _loss, _state, adjoints = model.backpropagate(X, one, model.initial_state(X.shape[1]))

    def first_lag_0(values: Tensor) -> Tensor:
        return values if backward else values.flip(0)

    # the loss is a mean over windows with a known target: times their number, each has its own gradient
    known = int((one != UNKNOWN).sum())
    dH, *dC = (first_lag_0(adjoint) * known for adjoint in adjoints[layer - 1][backward])
    with torch.no_grad():
        signals = {name: first_lag_0(signal) for name, signal in of_layer(record(model, X), layer, direction).items()}
    cell, W = cell_of(config), of_layer(model.weights(), layer, direction)
    bound = direct = sigma = None
    if cell.carry_gate:
        direct = _norms((dC[0] if dC else dH)[:1] * _products(signals[cell.carry_gate]))
    elif layer == config.num_layers:  # below the last layer, the gradient can bypass W_hh
        bound = _norms(dH[:1]) * _products(_step_norms(signals["H"], W["W_hh"], config))
        sigma = float(torch.linalg.matrix_norm(W["W_hh"], 2))
    return Lag(
        H=_by_window(_norms(dH)),
        C=_by_window(_norms(dC[0])) if dC else None,
        bound=None if bound is None else _by_window(bound),
        sigma=sigma,
        direct=None if direct is None else _by_window(direct),
    )


def _norms(vectors: Tensor) -> Tensor:
    norms: Tensor = torch.linalg.vector_norm(vectors, dim=-1)
    return norms


def _by_window(norms: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.ascontiguousarray(norms.T.numpy())


def _products(factors: Tensor) -> Tensor:
    """At lag j, the product of the first j factors, which are ordered with lag 0 first: 1, f_0, f_0 f_1, …"""
    return torch.cat([torch.ones_like(factors[:1]), factors.cumprod(0)[:-1]])


def _step_norms(H: Tensor, W_hh: Tensor, config: ModelConfig) -> Tensor:
    """The spectral norm of diag(phi'(A_t)) W_hh^T for every step and window, (T, B)."""
    slope = 1 - H**2 if config.activation == "tanh" else (H > 0).to(H.dtype)
    norms: Tensor = torch.linalg.matrix_norm(slope.unsqueeze(-1) * W_hh.T, 2)
    return norms


@torch.no_grad()
def scale_recurrence(model: LanguageModel, scale: float) -> LanguageModel:
    """A copy of the model with every recurrent matrix W_h. multiplied by `scale`."""
    copy = model.convert()
    for name, W in copy.weights().items():
        if ".W_h" in name:
            W.mul_(scale)
    return copy


def windows_of(corpus: Corpus) -> tuple[tuple[str, ...], Tensor, Tensor]:
    """Evenly spaced windows of the training text: the texts, X and Y (T, WINDOWS)."""
    length = len(corpus.training) - 1
    T = min(LAGS, length)
    starts = np.linspace(0, length - T, WINDOWS).astype(np.int64)
    X, Y = window(corpus.vocabulary.encode(corpus.training), starts, T)
    texts = tuple(corpus.training[start : start + T + 1] for start in starts)
    return texts, torch.from_numpy(X), torch.from_numpy(Y)


def study(folder: str) -> Study:
    """The gradients of a run at all checkpoints kept so far, and with its matrices scaled.

    Raises InputError before the first, and for a run that does not predict.
    """
    run = Run.open(folder)
    steps = run.checkpoint_steps()
    run.config.check_predicts()
    if not steps:
        raise InputError("the run has no checkpoint yet")
    memory.require(2 * memory.of_graph(run.config.model, len(run.corpus.vocabulary), LAGS * WINDOWS))
    texts, X, Y = windows_of(run.corpus)
    newest = load_model(run, steps[-1])
    reports = run.reports()
    epochs = [report for report in reports if isinstance(report, EpochReport)]
    held_out = epochs[-1].held_out_perplexity if epochs else None
    return Study(
        cell=run.config.model.cell,
        perplexity=epochs[-1].perplexity if epochs else math.nan,
        held_out_perplexity=math.nan if held_out is None else held_out,
        texts=texts,
        steps=tuple(steps),
        scales=SCALES,
        by_step=tuple(_at_checkpoint(folder, step) for step in steps),
        by_scale=tuple(gradient_by_lag(scale_recurrence(newest, scale), X, Y) for scale in SCALES),
        spectrum=spectrum_of([run.load_checkpoint(step).weights() for step in steps]),
        norms=norms_of(reports),
    )


@lru_cache(maxsize=256)
def _at_checkpoint(folder: str, step: int) -> Lag:
    """A kept checkpoint never changes."""
    run = Run.open(folder)
    _texts, X, Y = windows_of(run.corpus)
    return gradient_by_lag(load_model(run, step), X, Y)


def map_cell(config: TrainConfig) -> MapCell:
    """A short training from start to end."""
    trainer = Trainer(config, corpus_of(config))
    start = _perplexity(trainer)
    reports = trainer.advance(trainer.total_steps)
    if trainer.failure is None:
        return MapCell(start, _perplexity(trainer))
    if trainer.step < trainer.total_steps:
        return MapCell(start, math.inf)
    return MapCell(start, next(report.perplexity for report in reversed(reports) if isinstance(report, EpochReport)))


def _perplexity(trainer: Trainer) -> float:
    """The perplexity over the training text; infinite if the loss is not a number."""
    loss = evaluate(trainer.model, trainer.ids)
    return perplexity(loss.nats, loss.characters) if math.isfinite(loss.nats) else math.inf


def ship(folder: Path) -> None:
    """Train and write everything that the page opens on: three studies, a small RNN's weights, and the maps."""
    torch.set_num_threads(1)
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as place:
        for cell in CELLS:
            run = _train(study_config(cell), Path(place) / cell)
            write_atomically(folder / f"{cell}.npz", study(str(run.folder)).to_bytes())
        small = _train(UNROLLED, Path(place) / "unrolled")
        checkpoint = small.load_checkpoint(small.checkpoint_steps()[-1])
        write_atomically(folder / "unrolled.safetensors", to_safetensors(checkpoint.weights()))
    maps = {name: [map_cell(config) for config in map_cells(name)] for name in MAPS}
    values = {name: [[_rounded(cell.start), _rounded(cell.end)] for cell in cells] for name, cells in maps.items()}
    write_atomically(folder / "maps.json", json.dumps(values, allow_nan=False).encode())


def _rounded(value: float) -> float | None:
    """Four digits for JSON, which lacks infinities."""
    return float(f"{value:.4g}") if math.isfinite(value) else None


def _train(config: TrainConfig, folder: Path) -> Run:
    run = Run.create(config, corpus_of(config), folder)
    execution = Execution.resume(run)
    execution.advance(execution.trainer.total_steps)
    return run


if __name__ == "__main__":
    ship(Path(sys.argv[1]))
