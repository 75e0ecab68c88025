"""Gradients through time, measured: dL_T/dH_t by our own backpropagation, and what theory says about it."""

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

from rnnviz.cells import Signals, cell_of, scan
from rnnviz.config import ModelConfig, TrainConfig
from rnnviz.errors import InputError
from rnnviz.execution import Execution, load
from rnnviz.experiments import CELLS, MAPS, UNROLLED, MapCell, map_cells, study_config
from rnnviz.gradient_study import Lag, Study, norms_of, spectrum_of
from rnnviz.model import LanguageModel, encode_one_hot
from rnnviz.reports import EpochReport
from rnnviz.runs import Run, write_atomically
from rnnviz.sampling import window
from rnnviz.text import UNKNOWN, Corpus, read, split
from rnnviz.training import Trainer, evaluate, perplexity

LAGS = 40
WINDOWS = 6
SCALES = tuple(0.25 * 2 ** (i / 3) for i in range(13))  # 0.25 to 4, and 1 among them


def gradient_by_lag(model: LanguageModel, X: Tensor, Y: Tensor) -> Lag:
    """How far back the loss of each window's last character reaches; X, Y are ids (T, B).

    Windows are read from a zero state, in double precision. Raises InputError for models of
    several layers or two directions.
    """
    config = model.config
    if config.num_layers > 1 or config.bidirectional:
        raise InputError(
            "gradients are measured for one layer that reads forward; this model has {layers} layers and "
            "{directions} directions",
            layers=config.num_layers,
            directions=config.num_directions,
        )
    B = X.shape[1]
    model = model.convert(implementation="fused").double()
    last = torch.full_like(Y, UNKNOWN)
    last[-1] = Y[-1]
    _loss, _state, adjoints = model.backpropagate(X, last, model.initial_state(B))
    # the loss is the mean over B windows: B times its gradient is each window's own
    dH, *dC = (adjoint.flip(0) * B for adjoint in adjoints[-1][0])  # from here on lag 0 first
    signals = {name: signal.flip(0) for name, signal in _signals(model, X).items()}
    W_hh = model.weights()["layer1.forward.W_hh"] if config.cell == "rnn" else None
    bound = direct = None
    if W_hh is not None:
        bound = _norms(dH[:1]) * _products(_step_norms(signals["H"], W_hh, config))
    elif config.cell == "lstm":
        direct = _norms(dC[0][:1] * _products(signals["F"]))
    else:
        direct = _norms(dH[:1] * _products(signals["Z"]))
    return Lag(
        H=_by_window(_norms(dH)),
        C=_by_window(_norms(dC[0])) if dC else None,
        bound=None if bound is None else _by_window(bound),
        sigma=None if W_hh is None else float(torch.linalg.matrix_norm(W_hh, 2)),
        direct=None if direct is None else _by_window(direct),
    )


def _norms(vectors: Tensor) -> Tensor:
    norms: Tensor = torch.linalg.vector_norm(vectors, dim=-1)
    return norms


def _by_window(norms: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.ascontiguousarray(norms.T.numpy())


@torch.no_grad()
def _signals(model: LanguageModel, X: Tensor) -> Signals:
    """Every signal (T, B, h) while the model's one layer reads X from zeros."""
    prefix = "layer1.forward."
    W = {name.removeprefix(prefix): w for name, w in model.weights().items() if name.startswith(prefix)}
    zeros = tuple(S[0] for S in model.initial_state(X.shape[1])[0])
    return scan(cell_of(model.config), encode_one_hot(X, model.vocab_size, model.W_hq.dtype), zeros, W)


def _products(factors: Tensor) -> Tensor:
    """At lag j the product of the first j factors, which stand lag 0 first: 1, f_0, f_0 f_1, …"""
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
    """The gradients of a run, at all checkpoints it has kept so far and with its matrices scaled."""
    run = Run.open(folder)
    steps = run.checkpoint_steps()
    if not steps:
        raise InputError("the run has no checkpoint yet")
    texts, X, Y = windows_of(run.corpus)
    newest = load(run, steps[-1])
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
    return gradient_by_lag(load(run, step), X, Y)


def map_cell(config: TrainConfig) -> MapCell:
    """A short training from its start to its end."""
    trainer = Trainer(config, _corpus(config))
    start = _perplexity(trainer)
    trainer.advance(trainer.total_steps)
    return MapCell(start, math.inf if trainer.failure else _perplexity(trainer))


def _corpus(config: TrainConfig) -> Corpus:
    return split(read(config.corpus), config.corpus, max_chars=config.max_chars, held_out_chars=config.held_out_chars)


def _perplexity(trainer: Trainer) -> float:
    """Over the training text; infinite where the loss is not a number."""
    loss = evaluate(trainer.model, trainer.ids)
    return perplexity(loss.nats, loss.characters) if math.isfinite(loss.nats) else math.inf


def ship(folder: Path) -> None:
    """Train and write all that the page opens on: three studies, a small RNN's weights, and the maps."""
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
    run = Run.create(config, _corpus(config), folder)
    execution = Execution.resume(run)
    execution.advance(execution.trainer.total_steps)
    return run


if __name__ == "__main__":
    ship(Path(sys.argv[1]))
