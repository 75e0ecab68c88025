"""Training: mini-batches, truncated BPTT, clipping of the global norm, perplexity, as reports."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rnnviz.config import TrainConfig
from rnnviz.errors import InputError
from rnnviz.generation import predict
from rnnviz.model import BatchLoss, LanguageModel, ModelState, detach, for_device
from rnnviz.reports import Checkpoint, EpochReport, FailureReport, PredictionReport, Report, StepReport
from rnnviz.sampling import Indices, epoch_starts, window
from rnnviz.text import Corpus, default_prefixes

_EVALUATION_STEPS = 1000


def perplexity(nats: float, characters: int) -> float:
    """exp(total nats / total characters): 1 at best, V for a uniform guess, infinite at worst."""
    mean = nats / characters if characters else math.nan
    return math.exp(mean) if mean < 700 else math.inf


@torch.no_grad()
def evaluate(model: LanguageModel, ids: Indices) -> BatchLoss:
    """The loss over a text (length,), read once from a zero state, each character predicting the next.

    Unknown characters enter as zero vectors and are not scored.
    """
    total = BatchLoss(0.0, 0)
    state = model.initial_state(1)
    text = torch.from_numpy(ids).to(model.W_hq.device).unsqueeze(1)
    for start in range(0, len(ids) - 1, _EVALUATION_STEPS):
        X = text[start : start + _EVALUATION_STEPS]
        Y = text[start + 1 : start + 1 + _EVALUATION_STEPS]
        _, loss, state = model.loss(X[: len(Y)], Y, state)
        total = BatchLoss(total.nats + loss.nats, total.characters + loss.characters)
    return total


def clip_scale(norm: float, theta: float) -> float:
    """min(theta / norm, 1), the factor that clipping applies to all gradients; theta 0 never clips."""
    return min(theta / norm, 1.0) if theta and norm else 1.0


def resolve_device(name: str) -> torch.device:
    """The device for a name; "auto" takes CUDA, then Apple's MPS, then the CPU.

    Raises InputError where the named one is not there.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(device for device, there in available.items() if there)
    if not available[name]:
        raise InputError(
            "device {name} is not available here; allowed: {allowed}",
            name=name,
            allowed=", ".join(["auto", *(d for d, there in available.items() if there)]),
        )
    return torch.device(name)


def make_optimizer(config: TrainConfig, model: LanguageModel) -> torch.optim.Optimizer:
    """SGD without momentum or Adam with torch's defaults, over all parameters."""
    kind: Any = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[config.optimizer]
    fused = model.W_hq.device.type in ("cpu", "cuda")
    optimizer: torch.optim.Optimizer = kind(model.trainable(), lr=config.learning_rate, fused=fused)
    return optimizer


@dataclass
class EpochSums:
    """What an epoch has added up so far: part of a checkpoint, so that a resumed epoch reports the same."""

    nats: float = 0.0
    characters: int = 0
    steps: int = 0
    norm_before: float = 0.0
    norm_after: float = 0.0
    seconds: float = 0.0


class Trainer:
    """A run in memory: a model, its optimiser, and the position in the text.

    `advance` is a pure count of steps: how a run is cut into calls never changes its numbers. The
    order of an epoch's mini-batches depends on the seed and the epoch alone.

    Raises InputError where the text is too short for one batch or the model too large.
    """

    def __init__(self, config: TrainConfig, corpus: Corpus) -> None:
        config.check_size(len(corpus.vocabulary))
        self.config, self.corpus = config, corpus
        self.ids = corpus.vocabulary.encode(corpus.training)
        self.held_out_ids = corpus.vocabulary.encode(corpus.held_out)
        self.prefixes = config.prefixes or default_prefixes(corpus)
        self.steps_per_epoch = len(self._epoch_starts(0))
        self.device = resolve_device(config.device)
        generator = torch.Generator().manual_seed(config.seed)
        model = for_device(config.model, self.device)
        self.model = LanguageModel(model, len(corpus.vocabulary), generator).to(self.device)
        self.optimizer = make_optimizer(config, self.model)
        self.step = 0
        self.state: ModelState = self.model.initial_state(config.batch_size)
        self.sums = EpochSums()
        self.failure: FailureReport | None = None
        self._starts = (-1, np.empty((0, 0), dtype=np.int64))
        self._good = self._weights_copy()

    @property
    def total_steps(self) -> int:
        return self.config.epochs * self.steps_per_epoch

    @property
    def finished(self) -> bool:
        return self.step >= self.total_steps or self.failure is not None

    def advance(self, steps: int) -> list[Report]:
        """Train for so many steps, or to the end, and return what happened, in order."""
        reports: list[Report] = []
        for _ in range(steps):
            if self.finished:
                break
            reports += self._advance_one()
        return reports

    def _advance_one(self) -> Iterator[Report]:
        began = time.perf_counter()
        epoch, position = divmod(self.step, self.steps_per_epoch)
        if position == 0 or self.config.sampling == "random":
            self.state = self.model.initial_state(self.config.batch_size)
        if position == 0:
            self.sums = EpochSums()
        X, Y = self._batch(epoch, position)
        loss, after = self.model.loss_and_gradients(X, Y, self.state)
        norms = self.model.gradient_norms()
        norm = math.sqrt(sum(n * n for n in norms.values()))
        if not (math.isfinite(loss.nats) and math.isfinite(norm)):
            yield self._fail(epoch, loss, norm)
            return
        scale = clip_scale(norm, self.config.clip)
        after_clipping = min(norm * scale, self.config.clip or math.inf)  # never above theta, by rounding either
        self._apply(scale)
        self.state = after
        self.step += 1
        self.sums.nats += loss.nats
        self.sums.characters += loss.characters
        self.sums.steps += 1
        self.sums.norm_before += norm
        self.sums.norm_after += after_clipping
        self.sums.seconds += time.perf_counter() - began
        yield StepReport(self.step, epoch + 1, loss.mean, loss.characters, norm, after_clipping, norms)
        if position == self.steps_per_epoch - 1:
            yield from self._end_epoch(epoch + 1)

    def _epoch_starts(self, epoch: int) -> Indices:
        c = self.config
        return epoch_starts(c.sampling, len(self.ids), c.batch_size, c.num_steps, seed=c.seed, epoch=epoch)

    def _batch(self, epoch: int, position: int) -> tuple[Tensor, Tensor]:
        if self._starts[0] != epoch:
            self._starts = (epoch, self._epoch_starts(epoch))
        X, Y = window(self.ids, self._starts[1][position], self.config.num_steps)
        return torch.from_numpy(X).to(self.device), torch.from_numpy(Y).to(self.device)

    def _apply(self, scale: float) -> None:
        if scale < 1:
            torch._foreach_mul_([p.grad for p in self.model.trainable() if p.grad is not None], scale)
        self.optimizer.step()

    def _end_epoch(self, epoch: int) -> Iterator[Report]:
        sums = self.sums
        held_out = evaluate(self.model, self.held_out_ids) if len(self.held_out_ids) > 1 else None
        scored = held_out is not None and held_out.characters > 0  # a text of unknown characters has no perplexity
        yield EpochReport(
            step=self.step,
            epoch=epoch,
            perplexity=perplexity(sums.nats, sums.characters),
            held_out_perplexity=perplexity(held_out.nats, held_out.characters) if held_out and scored else None,
            known_share=self.corpus.known_share if held_out else None,
            norm_before=sums.norm_before / sums.steps,
            norm_after=sums.norm_after / sums.steps,
            characters_per_second=sums.characters / max(sums.seconds, 1e-9),
            seconds=sums.seconds,
        )
        self._good = self._weights_copy()
        if self.config.predict_every and epoch % self.config.predict_every == 0:
            for prefix in self.prefixes:
                text = predict(self.model, self.corpus.vocabulary, prefix, self.config.predict_length)
                yield PredictionReport(self.step, epoch, prefix, text)

    def _fail(self, epoch: int, loss: BatchLoss, norm: float) -> FailureReport:
        """End the run on the weights of the last epoch that was finite to its end."""
        self.model.load_weights(self._good)
        self.failure = FailureReport(
            self.step,
            epoch + 1,
            "the training diverged: in step {step} (epoch {epoch}) {symbol} = {value}. "
            "The weights from the end of epoch {kept} are kept. "
            "Lower the learning rate (now {learning_rate:g}), "
            "or clip to a smaller norm (θ is {clip:g}; 0 is no clipping)",
            {
                "symbol": "‖g‖" if math.isfinite(loss.nats) else "L",
                "value": str(norm if math.isfinite(loss.nats) else loss.nats),
                "step": self.step + 1,
                "epoch": epoch + 1,
                "kept": epoch,
                "learning_rate": self.config.learning_rate,
                "clip": self.config.clip,
            },
        )
        return self.failure

    def _weights_copy(self) -> dict[str, Tensor]:
        return {name: value.detach().clone() for name, value in self.model.weights().items()}

    def checkpoint(self) -> Checkpoint:
        """All that `restore` needs to go on bit for bit."""
        arrays = {f"weights.{name}": _numpy(value) for name, value in self.model.weights().items()}
        for index, memory in self.optimizer.state_dict()["state"].items():
            arrays |= {f"optimizer.{index}.{key}": _numpy(value) for key, value in memory.items()}
        if self.step % self.steps_per_epoch:  # between epochs these are the weights themselves
            arrays |= {f"good.{name}": _numpy(value) for name, value in self._good.items()}
        for i, layer in enumerate(self.state):
            arrays |= {f"state.{i}.{k}": _numpy(S) for k, S in enumerate(layer)}
        failure = None if self.failure is None else vars(self.failure)
        return Checkpoint(arrays, {"step": self.step, "sums": vars(self.sums).copy(), "failure": failure})

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go back to a checkpoint of the same configuration and text.

        Raises InputError where its arrays do not fit this model.
        """
        try:
            self._restore(checkpoint)
        except (KeyError, RuntimeError, ValueError, TypeError) as error:
            raise InputError("the checkpoint does not fit this configuration: {reason}", reason=error) from error

    def _restore(self, checkpoint: Checkpoint) -> None:
        arrays = {name: torch.from_numpy(np.array(value)).to(self.device) for name, value in checkpoint.arrays.items()}
        unknown = checkpoint.weights().keys() ^ self.model.weights().keys()
        if unknown:
            raise KeyError(min(unknown))
        self.model.load_weights({name.removeprefix("weights."): a for name, a in arrays.items()})
        memory: dict[int, dict[str, Tensor]] = {}
        for name, value in arrays.items():
            if name.startswith("optimizer."):
                _, index, key = name.split(".")
                memory.setdefault(int(index), {})[key] = value
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": memory})
        self.state = detach(
            tuple(
                tuple(arrays[f"state.{i}.{k}"].reshape(S.shape) for k, S in enumerate(layer))
                for i, layer in enumerate(self.model.initial_state(self.config.batch_size))
            )
        )
        self.step = int(checkpoint.meta["step"])
        self.sums = EpochSums(**checkpoint.meta["sums"])
        failure = checkpoint.meta["failure"]
        self.failure = FailureReport(**failure) if failure else None
        self._good = {name: arrays.get(f"good.{name}", value) for name, value in self._weights_copy().items()}


def _numpy(value: Tensor) -> Any:
    """A copy, contiguous and on the CPU: a checkpoint must not change as training goes on."""
    return value.detach().to("cpu", copy=True).contiguous().numpy()


def train(config: TrainConfig, corpus: Corpus) -> Iterator[Report]:
    """Train from the start to the end of the configuration, yielding every report as it comes."""
    trainer = Trainer(config, corpus)
    while not trainer.finished:
        yield from trainer.advance(1)
