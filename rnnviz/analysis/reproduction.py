"""The six experiments of the lecture notes: their settings, what the notes recorded, and what we get."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from rnnviz.config import PRESETS, Implementation, TrainConfig
from rnnviz.runs.reports import EpochReport
from rnnviz.text.corpora import Corpus, default_prefixes
from rnnviz.text.sampling import check_length

EPOCHS = 160
MARKS = (40, 80, 120, 160)  # the epochs at which the notes print a perplexity
NOTES_PREFIXES = ("分开", "不分开")


@dataclass(frozen=True)
class Experiment:
    """An experiment of the notes. `name` is the preset that has its settings.

    `perplexity` and `seconds` are what the notes printed at the epochs of MARKS: the training
    perplexity of that epoch, and how long it took on their CPU.
    """

    name: str
    perplexity: tuple[float, float, float, float]
    seconds: tuple[float, float, float, float]

    @property
    def label(self) -> str:
        return PRESETS[self.name].label

    @property
    def sees_the_future(self) -> bool:
        """Whether the model reads the characters that it is scored on, so that it is no language model."""
        return PRESETS[self.name].config.model.bidirectional

    @property
    def seconds_per_epoch(self) -> float:
        return round(sum(self.seconds) / len(self.seconds), 4)

    def config(self, **settings: Any) -> TrainConfig:
        """The experiment's settings but for those that are given; trained by the CPU, as in the notes."""
        return PRESETS[self.name].config.with_settings({"device": "cpu", **settings})


EXPERIMENTS: dict[str, Experiment] = {
    experiment.name: experiment
    for experiment in (
        Experiment("gru-scratch", (151.429965, 31.751351, 4.808134, 1.452839), (1.85, 1.87, 1.90, 1.92)),
        Experiment("gru", (1.037126, 1.015159, 1.014609, 1.019101), (1.50, 1.51, 1.53, 1.55)),
        Experiment("lstm-scratch", (209.949112, 64.816869, 15.044305, 3.814198), (2.27, 2.43, 2.27, 2.31)),
        Experiment("lstm", (1.026000, 1.053941, 1.014121, 1.019518), (2.00, 1.99, 1.97, 1.94)),
        Experiment("lstm-deep", (13.129161, 1.247795, 1.031725, 1.021264), (3.04, 2.98, 3.24, 3.21)),
        Experiment("gru-bidirectional", (1.001484, 1.000478, 1.000239, 1.000143), (1.56, 1.54, 1.57, 1.55)),
    )
}


@dataclass(frozen=True)
class Plan:
    """Which experiments are trained, on what, and how often. Raises InputError for settings that are not allowed."""

    corpus: Corpus
    experiments: tuple[Experiment, ...] = tuple(EXPERIMENTS.values())
    implementation: Implementation = "fused"
    seeds: tuple[int, ...] = (0,)
    epochs: int = EPOCHS
    prefixes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for experiment in self.experiments:
            for seed in self.seeds:
                config = self.config(experiment, seed)
                config.check_size(len(self.corpus.vocabulary))
                check_length(config.sampling, len(self.corpus.training), config.batch_size, config.num_steps)

    def config(self, experiment: Experiment, seed: int) -> TrainConfig:
        """The settings of one run."""
        return experiment.config(
            corpus=self.corpus.name,
            implementation=self.implementation,
            seed=seed,
            epochs=self.epochs,
            prefixes=self.continued,
            predict_every=min(MARKS[0], self.epochs),
        )

    @property
    def continued(self) -> tuple[str, ...]:
        """The given prefixes; or the notes' two; or, where the corpus lacks their characters, the corpus's own."""
        if self.prefixes:
            return self.prefixes
        known = all(character in self.corpus.vocabulary for character in "".join(NOTES_PREFIXES))
        return NOTES_PREFIXES if known else default_prefixes(self.corpus)

    @property
    def marks(self) -> tuple[int, ...]:
        """The epochs at which results are given: those of the notes, and the last."""
        return tuple(sorted({mark for mark in MARKS if mark <= self.epochs} | {self.epochs}))


@dataclass(frozen=True)
class Outcome:
    """What the run of one seed has reached so far; `texts` are the newest predictions by their prefixes.

    `failure` says why its training diverged, if it did.
    """

    seed: int
    epochs: tuple[EpochReport, ...]
    texts: Mapping[str, str]
    failure: str = ""

    def perplexity(self, epoch: int) -> float | None:
        """The training perplexity of an epoch; None where it was not reached."""
        return self.epochs[epoch - 1].perplexity if epoch <= len(self.epochs) else None

    def held_out(self, epoch: int) -> float | None:
        return self.epochs[epoch - 1].held_out_perplexity if epoch <= len(self.epochs) else None

    def best_held_out(self) -> tuple[float, int] | None:
        """The lowest held-out perplexity and its epoch; None where nothing is held out."""
        scored = [(e.held_out_perplexity, e.epoch) for e in self.epochs if e.held_out_perplexity is not None]
        return min(scored, default=None)

    @property
    def seconds_per_epoch(self) -> float | None:
        """The median, so that an epoch in which the machine was busy with something else does not count."""
        return median(epoch.seconds for epoch in self.epochs) if self.epochs else None


@dataclass(frozen=True)
class Spread:
    """The median of several seeds, and the lowest and the highest of them."""

    median: float
    lowest: float
    highest: float

    @staticmethod
    def of(values: Iterable[float | None]) -> Spread | None:
        """Of the values that are there; None where none is."""
        there = [value for value in values if value is not None]
        return Spread(median(there), min(there), max(there)) if there else None


@dataclass(frozen=True)
class Result:
    """An experiment of a plan, with the outcomes of the seeds that were begun."""

    plan: Plan
    experiment: Experiment
    outcomes: tuple[Outcome, ...]

    def perplexity(self, epoch: int) -> Spread | None:
        return Spread.of(outcome.perplexity(epoch) for outcome in self.outcomes)

    def held_out(self, epoch: int) -> Spread | None:
        return Spread.of(outcome.held_out(epoch) for outcome in self.outcomes)

    @property
    def seconds_per_epoch(self) -> Spread | None:
        return Spread.of(outcome.seconds_per_epoch for outcome in self.outcomes)

    @property
    def finished(self) -> bool:
        """Whether every seed was trained to the end, or until it diverged."""
        ended = [outcome for outcome in self.outcomes if outcome.failure or len(outcome.epochs) == self.plan.epochs]
        return len(ended) == len(self.plan.seeds)

    def to_json(self) -> dict[str, Any]:
        """The medians beside the notes' figures, and with several seeds the lowest and the highest."""
        spreads = {
            "perplexity": {str(epoch): self.perplexity(epoch) for epoch in self.plan.marks},
            "held_out": {str(epoch): self.held_out(epoch) for epoch in self.plan.marks},
        }
        seconds = self.seconds_per_epoch
        values: dict[str, Any] = {
            "experiment": self.experiment.name,
            "implementation": self.plan.implementation,
            "epochs": self.plan.epochs,
            **{name: {e: s and finite(s.median) for e, s in row.items()} for name, row in spreads.items()},
            "seconds_per_epoch": seconds and seconds.median,
            "notes": {
                "perplexity": dict(zip(map(str, MARKS), self.experiment.perplexity, strict=True)),
                "seconds_per_epoch": self.experiment.seconds_per_epoch,
            },
            "held_out_sees_the_future": self.experiment.sees_the_future,
            "corpus": self.plan.corpus.name,
            "seeds": [outcome.seed for outcome in self.outcomes],
        }
        if len(self.outcomes) > 1:
            values["range"] = {
                name: {e: s and [finite(s.lowest), finite(s.highest)] for e, s in row.items()}
                for name, row in spreads.items()
            }
        return values


def finite(value: float) -> float | None:
    """JSON has no infinities."""
    return value if math.isfinite(value) else None
