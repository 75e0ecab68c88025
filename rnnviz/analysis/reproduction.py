"""Published experiments trained again: what is planned, what was reached, and how it compares."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from statistics import median
from typing import Any, Literal

from rnnviz.analysis.published import EXPERIMENTS, NOTES, Experiment, Table
from rnnviz.config import Implementation, TrainConfig
from rnnviz.runs.follower import Story
from rnnviz.runs.reports import EpochReport, FailureReport
from rnnviz.text.corpora import Corpus, default_prefixes
from rnnviz.text.sampling import check_length

Place = Literal["inside", "below", "above"]


@dataclass(frozen=True)
class Plan:
    """Which experiments are trained, on what, and how often. Raises InputError for settings that are not allowed."""

    corpus: Corpus
    experiments: tuple[Experiment, ...] = tuple(EXPERIMENTS.values())
    implementation: Implementation = "fused"
    seeds: tuple[int, ...] = (0,)
    epochs: int = NOTES.epochs
    prefixes: tuple[str, ...] = ()
    table: Table = NOTES

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
            predict_every=min(self.table.marks[0], self.epochs),
        )

    @property
    def continued(self) -> tuple[str, ...]:
        """The given prefixes; or the published two; or, where the corpus lacks their characters, the corpus's own."""
        if self.prefixes:
            return self.prefixes
        known = all(character in self.corpus.vocabulary for character in "".join(self.table.prefixes))
        return self.table.prefixes if known else default_prefixes(self.corpus)

    @property
    def marks(self) -> tuple[int, ...]:
        """The epochs at which results are given: those of the table, and the last."""
        return tuple(sorted({mark for mark in self.table.marks if mark <= self.epochs} | {self.epochs}))


@dataclass(frozen=True)
class Outcome:
    """What the run of one seed has reached so far; `texts` are the newest predictions by their prefixes.

    `failure` is the report of its end, if the training diverged.
    """

    seed: int
    epochs: tuple[EpochReport, ...]
    texts: Mapping[str, str]
    failure: FailureReport | None = None

    @staticmethod
    def of(seed: int, story: Story) -> Outcome:
        """What a run says of itself."""
        return Outcome(seed, story.epochs, {p.prefix: p.text for p in story.predictions}, story.failure)

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

    def place(self, value: float, decimals: int) -> Place:
        """Where a value lies beside the lowest and the highest, all of them rounded to so many decimals."""
        low, value, high = (round(x, decimals) for x in (self.lowest, value, self.highest))
        return "below" if value < low else "above" if value > high else "inside"


@dataclass(frozen=True)
class Machine:
    """On what a reproduction was trained."""

    torch: str
    python: str
    system: str
    processors: int

    @staticmethod
    def here() -> Machine:
        """This machine; without importing torch, which takes seconds."""
        system = f"{platform.system()} on {platform.machine()}"
        return Machine(version("torch"), platform.python_version(), system, os.cpu_count() or 1)


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
        """The medians beside the published figures, and with several seeds the lowest and the highest."""
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
            self.plan.table.name: {
                "perplexity": {str(epoch): value for epoch, value in self.experiment.recorded.items()},
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
