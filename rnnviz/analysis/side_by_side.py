"""The small trainings that pages run side by side. No torch here."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from rnnviz.cells import CellName
from rnnviz.config import Implementation, ModelConfig, TrainConfig
from rnnviz.runs.reports import EpochReport
from rnnviz.text.corpora import DATA, RECALL_BETWEEN

IMPLEMENTATIONS: tuple[Implementation, ...] = get_args(Implementation)
BIASES = (0.0, 1.0, 3.0)
STARTS: dict[str, dict[str, int | bool]] = {
    "1": {"num_layers": 1},
    "2": {"num_layers": 2},
    "3": {"num_layers": 3},
    "3-residual": {"num_layers": 3, "residual": True},
}
LETTERS = 4  # the number of letters that `generate_recall` chooses from
WORD = len(RECALL_BETWEEN) + 3  # characters: two letters, what is between them, and a space
SHIPPED = DATA / "side_by_side"  # what `rnnviz.nn.side_by_side.ship` wrote

_SMALL = TrainConfig(
    ModelConfig(hidden_size=64, initialisation="uniform"),
    corpus="tales-en",
    max_chars=4000,
    batch_size=16,
    num_steps=32,
    epochs=40,
    optimizer="adam",
    learning_rate=0.005,
    clip=1.0,
    predict_every=0,
    device="cpu",
)


def implementation_config(cell: CellName, name: str, corpus: str = _SMALL.corpus) -> TrainConfig:
    """One of three trainings that differ only in the implementation."""
    return _SMALL.with_settings({"cell": cell, "implementation": name, "corpus": corpus})


def recall_config(bias: str, corpus: str = "recall") -> TrainConfig:
    """One of three trainings on delayed recall that differ only in the forget gate's bias."""
    return _SMALL.with_settings(
        {
            "cell": "lstm",
            "forget_bias": float(bias),
            "corpus": corpus,
            "hidden_size": 32,
            "max_chars": 9000,
            "batch_size": 32,
            "num_steps": 2 * WORD,
            "epochs": 400,
            "learning_rate": 0.01,
        }
    )


def start_config(name: str, corpus: str = _SMALL.corpus) -> TrainConfig:
    """One of the trainings of an LSTM that differ in nothing but what STARTS says of them."""
    return _SMALL.with_settings({"cell": "lstm", "corpus": corpus, "epochs": 60, "learning_rate": 0.01, **STARTS[name]})


@dataclass(frozen=True)
class Curve:
    """The training and the held-out perplexity at the end of each epoch, with its step, and the median of characters
    per second. Where nothing is held out, the held-out perplexity is NaN."""

    step: NDArray[np.int64]
    perplexity: NDArray[np.float64]
    held_out: NDArray[np.float64]
    speed: float

    @staticmethod
    def of(epochs: Sequence[EpochReport]) -> Curve:
        """The curve of a run that has ended at least one epoch."""
        speed = median(report.characters_per_second for report in epochs)
        held_out = np.array([r.held_out_perplexity for r in epochs], dtype=np.float64)  # None becomes NaN
        return Curve(np.array([r.step for r in epochs]), np.array([r.perplexity for r in epochs]), held_out, speed)


def largest_difference(perplexities: Sequence[NDArray[np.float64]]) -> float:
    """The most by which these perplexities differ, at the steps that all of them have reached."""
    reached = min(map(len, perplexities))
    return float(np.ptp([values[:reached] for values in perplexities], axis=0).max())


def frequency_perplexity(text: str) -> float:
    """The perplexity of who knows how often each character occurs in a text, and nothing else."""
    shares = np.array(list(Counter(text).values())) / len(text)
    return float(np.exp(-(shares * np.log(shares)).sum()))


def left_at(curve: Curve, plateau: float) -> int | None:
    """The first step at which a perplexity is below nine tenths of a plateau's; None before."""
    below = curve.perplexity < 0.9 * plateau
    return int(curve.step[below.argmax()]) if below.any() else None


def recall_cost(perplexity: NDArray[np.float64]) -> NDArray[np.float64]:
    """The cost of the recalled letter in nats: log 4 where it is guessed, 0 where it is known.

    All other letters of a word can be known, except the first, which also costs log 4.
    """
    return WORD * np.log(perplexity) - math.log(LETTERS)


def learned_at(curve: Curve) -> int | None:
    """The first step at which the letter costs less than half of what guessing costs; None if there is none."""
    below = recall_cost(curve.perplexity) < math.log(LETTERS) / 2
    return int(curve.step[below.argmax()]) if below.any() else None


def shipped_curves(name: str) -> dict[str, Curve]:
    """The curves that come with the app: those of a cell's implementations, for "recall" those of the biases, and for
    "start-en" and "start-zh" those of STARTS."""
    saved: Mapping[str, Mapping[str, list[float]]] = json.loads((SHIPPED / f"{name}.json").read_text(encoding="utf-8"))
    return {
        key: Curve(
            np.array(curve["step"], np.int64),
            np.array(curve["perplexity"]),
            np.array(curve["held_out"]),
            curve["speed"][0],
        )
        for key, curve in saved.items()
    }
