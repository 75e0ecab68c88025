"""Training steps of every implementation side by side, measured as ratios within one run.

A shared machine is noisy, so absolute numbers mean little: implementations take turns, round by
round, and medians are compared. The same run also measures how fast this machine multiplies two
large matrices, and what share of that speed a step reaches.

`cost` measures one size of a deep network in absolute numbers, and says on which kind of machine.
"""

from __future__ import annotations

import gc
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rnnviz.analysis.deep import COST_CELL, COST_VOCABULARY, Cost
from rnnviz.cells import CellName, all_cells, find_cell
from rnnviz.config import ModelConfig
from rnnviz.nn.model import LanguageModel
from rnnviz.nn.training import clip_scale

THETA, LEARNING_RATE = 0.01, 0.01
_PEAK_SIZE = 1024
_COST_STEPS, _COST_SECONDS = (5, 25), 1.0  # at least and at most so many, and no more after so long
Work = Callable[[], None]


@dataclass(frozen=True)
class Setting:
    """A size to measure at: V distinct characters, h hidden units, B rows, T time steps.

    The defaults are the sizes of the default `TrainConfig` and its text; every other setting changes one of them.
    """

    name: str
    V: int = 1027
    h: int = 256
    layers: int = 1
    B: int = 32
    T: int = 35

    def flops(self, cell: CellName) -> float:
        """Floating-point operations that no training step can avoid: its matrix products.

        There is one product each for forward, dL/dinput and dL/dweight. A one-hot input needs none: its
        product is a look-up.
        """
        record = find_cell(cell)
        G = len(record.blocks)
        recurrent = self.layers * self.h * G * self.h if record.recurrent else 0
        between = (self.layers - 1) * self.h * G * self.h
        return 3 * 2 * self.T * self.B * (recurrent + between + self.h * self.V)


SETTINGS = (
    Setting("default"),
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
    """RNNModel of *Dive into Deep Learning*, on one-hot vectors or on an embedding of the hidden size."""

    def __init__(self, setting: Setting, cell: CellName, *, embedding: bool) -> None:
        super().__init__()
        self.V = setting.V
        d = setting.h if embedding else setting.V
        kind = getattr(nn, find_cell(cell).torch_name or "")
        self.embedding = nn.Embedding(setting.V, setting.h) if embedding else None
        self.rnn = kind(d, setting.h, num_layers=setting.layers)
        self.dense = nn.Linear(setting.h, setting.V)

    def forward(self, ids: Tensor) -> Tensor:
        X = self.embedding(ids) if self.embedding is not None else F.one_hot(ids, self.V).to(torch.float32)
        H, _ = self.rnn(X)
        logits: Tensor = self.dense(H.flatten(0, 1))
        return logits


def concise_step(setting: Setting, cell: CellName, X: Tensor, Y: Tensor, *, embedding: bool) -> Work:
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


def our_step(setting: Setting, cell: CellName, implementation: str, X: Tensor, Y: Tensor) -> Work:
    """A training step of a LanguageModel, with the norm of every gradient, as in training."""
    config = ModelConfig(
        cell=cell,
        hidden_size=setting.h,
        num_layers=setting.layers,
        implementation=implementation,  # type: ignore[arg-type]
        reset="after-bias",  # as in torch, so that all implementations do the same work
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


def peak_step() -> Work:
    """A product of two large square matrices, the fastest operation of this machine."""
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
    }
    if find_cell(cell).torch_name:
        steps["torch, one-hot"] = concise_step(setting, cell, X, Y, embedding=False)
        steps["torch, embedding"] = concise_step(setting, cell, X, Y, embedding=True)
    steps["peak"] = peak_step()
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
    """Every setting, cell with gates and thread count; quick: the default setting with one thread."""
    counts = [1] if quick else sorted({1, len(os.sched_getaffinity(0))})
    cells = [cell.name for cell in all_cells() if cell.gates]
    for setting in SETTINGS[:1] if quick else SETTINGS:
        for threads in counts:
            for cell in cells:
                yield from compare(setting, cell, threads, 9 if quick else 11)


def cost(layers: int, units: int) -> Cost:
    """What a training step of a network of so many layers and hidden units costs here, with one thread.

    The time is the processor's, and the least of all steps: whatever else runs on the machine only adds to it.
    """
    torch.set_num_threads(1)
    setting = Setting("cost", V=COST_VOCABULARY, h=units, layers=layers)
    generator = torch.Generator().manual_seed(0)
    X, Y = (torch.randint(setting.V, (setting.T, setting.B), generator=generator) for _ in range(2))
    before = live_bytes()
    step = our_step(setting, COST_CELL, "fused", X, Y)
    step()
    step()
    held, seconds, ends = live_bytes() - before, list[float](), time.perf_counter() + _COST_SECONDS
    least, most = _COST_STEPS
    while len(seconds) < least or (len(seconds) < most and time.perf_counter() < ends):
        began = time.thread_time()
        step()
        seconds.append(time.thread_time() - began)
    config = ModelConfig(cell=COST_CELL, hidden_size=units, num_layers=layers)
    return Cost(layers, units, config.parameter_count(setting.V), min(seconds), held, machine())


def live_bytes() -> int:
    """The bytes of all tensors in this process; those that share their memory count once."""
    gc.collect()
    tensors = [each for each in gc.get_objects() if type(each) in (Tensor, nn.Parameter)]
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors}
    return sum(storages.values())


def machine() -> str:
    """The processor's name, the number of its cores that this process may use, and torch's version."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    name = next(iter(names), platform.processor() or platform.machine())
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{name}, {cores} cores, torch {torch.__version__}"
