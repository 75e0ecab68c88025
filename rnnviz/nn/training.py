"""Training: mini-batches, truncated BPTT, clipping by the global norm, and perplexity, reported step by step."""

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
from rnnviz.nn.generation import likeliest
from rnnviz.nn.model import BatchLoss, LanguageModel, ModelState, detach, for_device, total_loss
from rnnviz.runs.reports import Checkpoint, EpochReport, FailureReport, PredictionReport, Report, StepReport
from rnnviz.text.corpora import Corpus, default_prefixes
from rnnviz.text.sampling import Indices, epoch_starts, mask, window

_EVALUATION_STEPS = 1000
_EVALUATION_LOGITS = 2**23  # at once, for large vocabularies
_EVALUATION_WORK = 2_200_000_000  # parameters times characters at once: about a second, for large models
_PREDICTED_AT_ONCE = 16  # characters
_ALL = 10**9
DIVERGED = 1000


def perplexity(nats: float, characters: int) -> float:
    """exp(total nats / total characters): 1 at best, V for a uniform guess, infinite at worst.

    Raises InputError where no character was scored.
    """
    if characters < 1:
        raise InputError(
            "the perplexity of {characters} characters was asked for; it needs at least 1", characters=characters
        )
    mean = nats / characters
    return math.exp(mean) if mean < 700 else math.inf


def has_diverged(perplexity: float, vocab_size: int) -> bool:
    """Whether a training that ends with an epoch of this perplexity has diverged, because it is above DIVERGED V.

    V is the perplexity of a uniform guess, near which a fresh model starts. Above 1000 V, the
    characters that came had on (geometric) average less than a thousandth of the probability that
    guessing gives them.

    Only the last epoch is judged, because a training can recover from anything that is still a
    number: a ReLU network under Adam with a rate of 0.1 has an infinite perplexity in its first
    epoch and learns well from the second on. The held-out perplexity is not judged, because it grows
    without end while a model learns its text by heart.
    """
    return not perplexity <= DIVERGED * vocab_size


def evaluate(model: LanguageModel, ids: Indices) -> BatchLoss:
    """The loss over a text (length,), read once from a zero state, each character predicting the next.

    Unknown characters are read as zero vectors and are not scored.
    """
    return sum(evaluation(model, ids[:-1], ids[1:]), start=BatchLoss(0.0, 0))


def evaluation(model: LanguageModel, inputs: Indices, targets: Indices) -> Iterator[BatchLoss]:
    """The loss part by part; each part fits into memory and takes little time."""
    parameters = sum(p.numel() for p in model.trainable())
    steps = min(_EVALUATION_STEPS, _EVALUATION_LOGITS // model.vocab_size, _EVALUATION_WORK // parameters)
    state = model.initial_state(1)
    text, answers = (torch.from_numpy(ids).to(model.W_hq.device).unsqueeze(1) for ids in (inputs, targets))
    for X, Y in zip(text.split(max(steps, 1)), answers.split(max(steps, 1)), strict=True):
        with torch.no_grad():
            logits, state = model(X, state)
            total, characters = total_loss(logits, Y)
        yield BatchLoss(float(total), characters, int((logits.argmax(dim=-1) == Y).sum()))


def clip_scale(norm: float, theta: float) -> float:
    """min(theta / norm, 1), the factor that clipping applies to all gradients; a theta of 0 never clips."""
    return min(theta / norm, 1.0) if theta and norm else 1.0


def resolve_device(name: str) -> torch.device:
    """The device for a name; "auto" takes CUDA, then Apple's MPS, then the CPU.

    Raises InputError if the named device is not available.
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
    """SGD without momentum or AdamW with torch's defaults, over all parameters; without weight decay AdamW is Adam."""
    kind: Any = {"sgd": torch.optim.SGD, "adam": torch.optim.AdamW}[config.optimizer]
    optimizer: torch.optim.Optimizer = kind(
        model.trainable(),
        lr=config.learning_rate,
        weight_decay=config.weight_decay,
        fused=model.W_hq.device.type in ("cpu", "cuda"),
    )
    return optimizer


@dataclass
class EpochSums:
    """The sums of the epoch so far: part of a checkpoint, so that a resumed epoch reports the same."""

    nats: float = 0.0
    characters: int = 0
    steps: int = 0
    norm_before: float = 0.0
    norm_after: float = 0.0
    seconds: float = 0.0


class Trainer:
    """A run in memory: a model, its optimiser, and the position in the text.

    `advance` is a pure count of steps, and `piece` does a small part of one: how a run is cut into
    calls never changes its numbers. The order of an epoch's mini-batches depends on the seed and
    the epoch alone.

    Raises InputError where the text is too short for one batch or the model too large.
    """

    def __init__(self, config: TrainConfig, corpus: Corpus) -> None:
        config.check_size(len(corpus.vocabulary))
        self.config, self.corpus = config, corpus
        self.ids = corpus.vocabulary.encode(corpus.training)
        self.held_out = self._held_out()
        self.prefixes = config.prefixes or default_prefixes(corpus)
        self.steps_per_epoch = len(self._epoch_starts(0))
        self.device = resolve_device(config.device)
        generator = torch.Generator().manual_seed(config.seed)
        model = for_device(config.model, self.device)
        self.model = LanguageModel(model, len(corpus.vocabulary), generator).to(self.device)
        self.optimizer = make_optimizer(config, self.model)
        self.step = 0
        self.seconds = 0.0  # training time so far, however often the run was resumed
        self._told = 0  # reports of the end of the epoch that ends with this step
        self._ending: Iterator[list[Report]] | None = None  # the generator that makes them
        self.state: ModelState = self.model.initial_state(config.batch_size)
        self.sums = EpochSums()
        self.failure: FailureReport | None = None
        self._starts = (-1, np.empty((0, 0), dtype=np.int64))
        self._good, self._good_epoch = self._weights_copy(), 0

    @property
    def total_steps(self) -> int:
        return self.config.epochs * self.steps_per_epoch

    @property
    def finished(self) -> bool:
        return self.has_reached(self.total_steps)

    def has_reached(self, step: int) -> bool:
        """Whether the run has reached a step and made all its reports, or has ended before."""
        return self.failure is not None or (self.step >= step and not self.is_ending)

    @property
    def is_ending(self) -> bool:
        """Whether an epoch's last step was taken and some reports of its end are still to come."""
        epoch, position = divmod(self.step, self.steps_per_epoch)
        return epoch > 0 and position == 0 and self._told < 1 + len(self._predicted(epoch))

    def advance(self, steps: int) -> list[Report]:
        """Train for so many steps, or to the end, and return what happened, in order."""
        target = min(self.step + steps, self.total_steps)
        reports: list[Report] = []
        while not self.has_reached(target):
            reports += self.piece()
        return reports

    def piece(self) -> list[Report]:
        """Take a step, or do a small part of what follows the end of an epoch. Returns the reports, if any."""
        began = time.perf_counter()
        reports = self._piece_of_end() if self.is_ending else [self._advance_one()]
        self.seconds += time.perf_counter() - began
        return reports

    def _piece_of_end(self) -> list[Report]:
        if self._ending is None:
            self._ending = self._end_epoch(self.step // self.steps_per_epoch)
        reports = next(self._ending)
        self._told += bool(reports)
        if not self.is_ending:
            self._ending = None
        return reports

    def _advance_one(self) -> Report:
        began = time.perf_counter()
        epoch, position = divmod(self.step, self.steps_per_epoch)
        if position == 0 or self.config.sampling == "random":
            self.state = self.model.initial_state(self.config.batch_size)
        if position == 0:
            self.sums = EpochSums()
        X, Y = self._batch(epoch, position)
        loss, after = self.model.loss_and_gradients(X, Y, self.state, self._dropout())
        norms = self.model.gradient_norms()
        norm = math.sqrt(sum(n * n for n in norms.values()))
        if not (math.isfinite(loss.nats) and math.isfinite(norm)):
            symbol, value = ("‖g‖", norm) if math.isfinite(loss.nats) else ("L", loss.nats)
            return self._fail(
                epoch + 1,
                "the training diverged: in step {step:,} (epoch {epoch:,}) {symbol} = {value}. "
                "The weights from the end of epoch {kept:,} are kept. "
                "Lower the learning rate (now {learning_rate:g}), "
                "or clip to a smaller norm (θ is {clip:g}; 0 is no clipping)",
                step=self.step + 1,
                symbol=symbol,
                value=str(value),
            )
        scale = clip_scale(norm, self.config.clip)
        after_clipping = min(norm * scale, self.config.clip or math.inf)  # never above theta, not even by rounding
        self._apply(scale)
        self.state = after
        self.step, self._told = self.step + 1, 0
        self.sums.nats += loss.nats
        self.sums.characters += loss.characters
        self.sums.steps += 1
        self.sums.norm_before += norm
        self.sums.norm_after += after_clipping
        self.sums.seconds += time.perf_counter() - began
        return StepReport(self.step, epoch + 1, loss.mean, loss.characters, norm, after_clipping, norms)

    def _dropout(self) -> torch.Generator | None:
        """The generator of what this step drops: it depends on the seed and the step alone, as mini-batches do on the
        seed and the epoch, so that a run that goes on drops the same."""
        if not self.config.model.dropout:
            return None
        (seed,) = np.random.SeedSequence([self.config.seed, self.step]).generate_state(1)
        return torch.Generator().manual_seed(int(seed))

    def _epoch_starts(self, epoch: int) -> Indices:
        c = self.config
        return epoch_starts(c.sampling, len(self.ids), c.batch_size, c.num_steps, seed=c.seed, epoch=epoch)

    def _batch(self, epoch: int, position: int) -> tuple[Tensor, Tensor]:
        if self._starts[0] != epoch:
            self._starts = (epoch, self._epoch_starts(epoch))
        X, Y = window(self.ids, self._starts[1][position], self.config.num_steps)
        if self.config.task == "restore":
            X, Y = mask(X, np.random.default_rng([self.config.seed, epoch, position + 1]))
        return torch.from_numpy(X).to(self.device), torch.from_numpy(Y).to(self.device)

    def _held_out(self) -> tuple[Indices, Indices]:
        """What the model reads of the held-out text and what it has to say, the same at the end of every epoch."""
        ids = self.corpus.vocabulary.encode(self.corpus.held_out)
        if self.config.task == "restore" and len(ids):
            return mask(ids, np.random.default_rng([self.config.seed, 0, 0, 1]))
        return ids[:-1], ids[1:]

    def _apply(self, scale: float) -> None:
        if scale < 1:
            torch._foreach_mul_([p.grad for p in self.model.trainable() if p.grad is not None], scale)
        self.optimizer.step()

    def _predicted(self, epoch: int) -> tuple[str, ...]:
        """The prefixes that are continued at the end of an epoch."""
        every = self.config.predict_every
        writes = self.config.task == "predict" and every and epoch % every == 0
        return self.prefixes if writes else ()

    def _end_epoch(self, epoch: int) -> Iterator[list[Report]]:
        """Yield the reports of an epoch's end that are still missing, and empty lists where it may be interrupted."""
        if self._told == 0:
            yield from self._sum_up(epoch)
        for prefix in self._predicted(epoch)[max(self._told - 1, 0) :]:
            text = prefix
            length = self.config.predict_length
            for n, character in enumerate(likeliest(self.model, self.corpus.vocabulary, prefix, length), start=1):
                text += character
                if n % _PREDICTED_AT_ONCE == 0:
                    yield []
            yield [PredictionReport(self.step, epoch, prefix, text)]

    def _sum_up(self, epoch: int) -> Iterator[list[Report]]:
        sums = self.sums
        held_out = None
        if len(self.held_out[0]):
            held_out = BatchLoss(0.0, 0)
            for part in evaluation(self.model, *self.held_out):
                held_out += part
                yield []
        scored = held_out is not None and held_out.characters > 0  # a text of unknown characters has no perplexity
        reached, restores = perplexity(sums.nats, sums.characters), self.config.task == "restore"
        report = EpochReport(
            step=self.step,
            epoch=epoch,
            perplexity=reached,
            held_out_perplexity=perplexity(held_out.nats, held_out.characters) if held_out and scored else None,
            known_share=self.corpus.known_share if held_out else None,
            norm_before=sums.norm_before / sums.steps,
            norm_after=min(sums.norm_after / sums.steps, self.config.clip or math.inf),  # a sum rounds up, too
            characters_per_second=sums.characters / max(sums.seconds, 1e-9),
            seconds=sums.seconds,
            held_out_accuracy=held_out.correct / held_out.characters if restores and held_out and scored else None,
        )
        if not has_diverged(reached, len(self.corpus.vocabulary)):
            self._good, self._good_epoch = self._weights_copy(), epoch
            yield [report]
        elif epoch < self.config.epochs:
            yield [report]
        else:
            failure = self._fail(
                epoch,
                "the training diverged: in the last epoch ({epoch:,}) the perplexity is {value}, more than {factor:,} "
                "times the {vocab_size:,} of a uniform guess. "
                "The weights from the end of epoch {kept:,} are kept. "
                "Lower the learning rate (now {learning_rate:g}), "
                "or clip to a smaller norm (θ is {clip:g}; 0 is no clipping)",
                value=f"{reached:.3g}".replace("inf", "∞"),
                factor=DIVERGED,
                vocab_size=len(self.corpus.vocabulary),
            )
            yield [report, failure]

    def _fail(self, epoch: int, message: str, **values: Any) -> FailureReport:
        """End the run with the weights of the last epoch that ended well, or with the first ones if none did."""
        self.model.load_weights(self._good)
        config = self.config
        common = {"epoch": epoch, "kept": self._good_epoch, "learning_rate": config.learning_rate, "clip": config.clip}
        self.failure = FailureReport(self.step, epoch, message, common | values)
        return self.failure

    def _weights_copy(self) -> dict[str, Tensor]:
        return {name: value.detach().clone() for name, value in self.model.weights().items()}

    def checkpoint(self) -> Checkpoint:
        """All that `restore` needs to go on exactly where the run is."""
        arrays = {f"weights.{name}": _numpy(value) for name, value in self.model.weights().items()}
        for index, memory in self.optimizer.state_dict()["state"].items():
            arrays |= {f"optimizer.{index}.{key}": _numpy(value) for key, value in memory.items()}
        if self.step != self._good_epoch * self.steps_per_epoch:  # otherwise these are the weights themselves
            arrays |= {f"good.{name}": _numpy(value) for name, value in self._good.items()}
        for i, layer in enumerate(self.state):
            arrays |= {f"state.{i}.{k}": _numpy(S) for k, S in enumerate(layer)}
        failure = None if self.failure is None else vars(self.failure)
        sums = vars(self.sums).copy()
        meta = {"step": self.step, "told": self._told, "seconds": self.seconds, "good_epoch": self._good_epoch}
        return Checkpoint(arrays, meta | {"sums": sums, "failure": failure})

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
        # checkpoints of earlier versions lack these: they were written after all was told, and every epoch was good
        self._told = int(checkpoint.meta.get("told", _ALL))
        self._ending = None
        self.seconds = float(checkpoint.meta.get("seconds", 0.0))
        self._good_epoch = int(checkpoint.meta.get("good_epoch", self.step // self.steps_per_epoch))
        self._good = {name: arrays.get(f"good.{name}", value) for name, value in self._weights_copy().items()}


def _numpy(value: Tensor) -> Any:
    """A contiguous copy on the CPU: a checkpoint must not change as training goes on."""
    return value.detach().to("cpu", copy=True).contiguous().numpy()


def train(config: TrainConfig, corpus: Corpus) -> Iterator[Report]:
    """Train from the start to the end of the configuration, yielding every report as it comes.

    The number of threads is torch's: torch.set_num_threads(1) loses little, and gains much when other programs run.
    """
    trainer = Trainer(config, corpus)
    while not trainer.finished:
        yield from trainer.advance(1)
