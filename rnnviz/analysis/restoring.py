"""Restoring masked characters with both directions and with one, at equal numbers of parameters. No torch here."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from rnnviz.config import ModelConfig, TrainConfig
from rnnviz.runs.reports import EpochReport
from rnnviz.text.corpora import DATA, corpus_of

SEEDS = (0, 1, 2)
DIRECTIONS = ("both", "one")
SHIPPED = DATA / "side_by_side" / "restoring.json"  # what `rnnviz.nn.side_by_side.ship_restored` wrote

_SMALL = TrainConfig(
    ModelConfig(hidden_size=32, initialisation="uniform"),
    corpus="tales-en",
    max_chars=30_000,
    sampling="random",
    batch_size=32,
    num_steps=40,
    epochs=30,
    optimizer="adam",
    learning_rate=0.01,
    clip=1.0,
    predict_every=0,
    device="cpu",
    task="restore",
)


@cache
def restoring_config(name: str, corpus: str = _SMALL.corpus, seed: int = 0) -> TrainConfig:
    """One of two trainings that differ in their directions, and in their units so that their parameters are as many."""
    config = _SMALL.with_settings({"corpus": corpus, "seed": seed})
    both = replace(config.model, bidirectional=True)
    model = both if name == "both" else of_one_direction(both, len(corpus_of(config).vocabulary))
    return replace(config, model=model)


def of_one_direction(both: ModelConfig, vocab_size: int) -> ModelConfig:
    """A model of one direction, with as many units as bring it closest to the parameters of a bidirectional one."""
    target = both.parameter_count(vocab_size)
    sizes = [replace(both, bidirectional=False, hidden_size=h) for h in range(1, 2 * both.hidden_size + 1)]
    return min(sizes, key=lambda model: abs(model.parameter_count(vocab_size) - target))


@dataclass(frozen=True)
class Restored:
    """The share of the masked held-out characters that was restored, (seeds, n), after so many steps (n,)."""

    step: NDArray[np.int64]
    accuracy: NDArray[np.float64]

    @staticmethod
    def of(trainings: Sequence[Sequence[EpochReport]]) -> Restored:
        """Of trainings of one length, each with one epoch at least."""
        accuracy = [
            [np.nan if r.held_out_accuracy is None else r.held_out_accuracy for r in each] for each in trainings
        ]
        return Restored(np.array([report.step for report in trainings[0]]), np.array(accuracy, np.float64))

    @property
    def last(self) -> tuple[float, float, float]:
        """At the end: the lowest of the seeds, their median, the highest."""
        ends = self.accuracy[:, -1]
        return float(ends.min()), float(np.median(ends)), float(ends.max())


def shipped_restored() -> dict[str, Restored]:
    """The curves of all seeds that come with the app, by the names in DIRECTIONS."""
    saved = json.loads(SHIPPED.read_text(encoding="utf-8"))
    return {name: Restored(np.array(each["step"]), np.array(each["accuracy"])) for name, each in saved.items()}
