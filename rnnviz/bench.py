"""Training steps of every implementation side by side, measured as ratios within one run.

A shared machine is noisy, so no number here stands for itself: implementations take turns, round
by round, and medians are compared. Beside them the same run measures how fast this machine
multiplies two large matrices, and what share of that a step reaches.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rnnviz.config import ModelConfig
from rnnviz.model import LanguageModel
from rnnviz.signals import CellName
from rnnviz.training import clip_scale

THETA, LEARNING_RATE = 0.01, 0.01
_PEAK_SIZE = 1024
Step = Callable[[], None]


@dataclass(frozen=True)
class Setting:
    """A size to measure at: V distinct characters, h hidden units, B rows, T time steps."""

    name: str
    V: int = 1027
    h: int = 256
    layers: int = 1
    B: int = 32
    T: int = 35

    def flops(self, cell: CellName) -> float:
        """Floating-point operations that a training step cannot do without: its matrix products.

        Forward, dL/dinput and dL/dweight are one product each. A one-hot input has none: its
        product is a look-up.
        """
        gates = {"rnn": 1, "gru": 3, "lstm": 4}[cell]
        recurrent = self.layers * self.h * gates * self.h
        between = (self.layers - 1) * self.h * gates * self.h
        return 3 * 2 * self.T * self.B * (recurrent + between + self.h * self.V)


SETTINGS = (
    Setting("seeds"),
    Setting("V=28", V=28),
    Setting("h=64", h=64),
    Setting("h=512", h=512),
    Setting("2 layers", layers=2),
)


@dataclass(frozen=True)
class Measurement:
    """One line of the benchmark. `ratio_to_fused` compares tokens per second: below 1 is slower."""

    setting: str
    cell: str
    threads: int
    implementation: str
    tokens_per_second: float
    ratio_to_fused: float
    share_of_peak: float


class Concise(nn.Module):
    """d2l's RNNModel, or the same on an embedding of the hidden size instead of one-hot vectors."""

    def __init__(self, setting: Setting, cell: CellName, *, embedding: bool) -> None:
        super().__init__()
        self.V = setting.V
        d = setting.h if embedding else setting.V
        kind = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}[cell]
        self.embedding = nn.Embedding(setting.V, setting.h) if embedding else None
        self.rnn = kind(d, setting.h, num_layers=setting.layers)
        self.dense = nn.Linear(setting.h, setting.V)

    def forward(self, ids: Tensor) -> Tensor:
        X = self.embedding(ids) if self.embedding is not None else F.one_hot(ids, self.V).to(torch.float32)
        H, _ = self.rnn(X)
        logits: Tensor = self.dense(H.flatten(0, 1))
        return logits


def concise_step(setting: Setting, cell: CellName, X: Tensor, Y: Tensor, *, embedding: bool) -> Step:
    """A training step of torch's own layer, clipped by torch's own function."""
    torch.manual_seed(0)
    model = Concise(setting, cell, embedding=embedding)
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE, fused=True)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(model(X), Y.flatten()).backward()
        nn.utils.clip_grad_norm_(model.parameters(), THETA)
        optimizer.step()

    return step


def our_step(setting: Setting, cell: CellName, implementation: str, X: Tensor, Y: Tensor) -> Step:
    """A training step of a LanguageModel, with the norm of every gradient, as training takes it."""
    config = ModelConfig(
        cell=cell,
        hidden_size=setting.h,
        num_layers=setting.layers,
        implementation=implementation,  # type: ignore[arg-type]
        initialisation="uniform",
    )
    model = LanguageModel(config, setting.V)
    optimizer = torch.optim.Adam(model.trainable(), lr=LEARNING_RATE, fused=True)
    state = model.initial_state(setting.B)

    def step() -> None:
        model.loss_and_gradients(X, Y, state)
        norm = sum(n * n for n in model.gradient_norms().values()) ** 0.5
        torch._foreach_mul_([p.grad for p in model.trainable() if p.grad is not None], clip_scale(norm, THETA))
        optimizer.step()

    return step


def peak_step() -> Step:
    """A product of two large square matrices: what this machine does best."""
    A, B, out = (torch.rand(_PEAK_SIZE, _PEAK_SIZE) for _ in range(3))

    def step() -> None:
        torch.mm(A, B, out=out)

    return step


def compare(setting: Setting, cell: CellName, threads: int, rounds: int) -> list[Measurement]:
    """All implementations at one setting, in turns; medians over the rounds."""
    torch.set_num_threads(threads)
    generator = torch.Generator().manual_seed(0)
    X, Y = (torch.randint(setting.V, (setting.T, setting.B), generator=generator) for _ in range(2))
    steps = {
        "fused": our_step(setting, cell, "fused", X, Y),
        "scratch": our_step(setting, cell, "scratch", X, Y),
        "torch, one-hot": concise_step(setting, cell, X, Y, embedding=False),
        "torch, embedding": concise_step(setting, cell, X, Y, embedding=True),
        "peak": peak_step(),
    }
    for step in steps.values():
        step()
        step()
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            began = time.perf_counter()
            step()
            seconds[name].append(time.perf_counter() - began)
    median = {name: statistics.median(values) for name, values in seconds.items()}
    peak = 2 * _PEAK_SIZE**3 / median.pop("peak")
    tokens = setting.T * setting.B
    return [
        Measurement(
            setting.name,
            cell,
            threads,
            name,
            tokens / value,
            median["fused"] / value,
            setting.flops(cell) / value / peak,
        )
        for name, value in median.items()
    ]


def run(*, quick: bool = False) -> Iterator[Measurement]:
    """Every setting, cell and thread count; quick: the seeds' setting with one thread."""
    counts = [1] if quick else sorted({1, len(os.sched_getaffinity(0))})
    cells: tuple[CellName, ...] = ("gru", "lstm")
    for setting in SETTINGS[:1] if quick else SETTINGS:
        for threads in counts:
            for cell in cells:
                yield from compare(setting, cell, threads, 9 if quick else 11)
