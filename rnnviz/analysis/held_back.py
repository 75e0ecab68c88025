"""What keeps a network from memorising its text: small trainings that differ in one switch each. No torch here."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnviz.config import ModelConfig, TrainConfig
from rnnviz.runs.reports import EpochReport
from rnnviz.text.corpora import DATA, Corpus, clean, read

SHIPPED = DATA / "side_by_side" / "held_back.json"  # what `rnnviz.nn.side_by_side.ship_held_back` wrote
TIMES = 4  # as much text, where there is more

_PLAIN = TrainConfig(
    ModelConfig(hidden_size=64, num_layers=2, initialisation="uniform"),
    corpus="tales-en",
    max_chars=4000,
    held_out_chars=2000,
    batch_size=16,
    num_steps=32,
    epochs=120,
    optimizer="adam",
    learning_rate=0.01,
    clip=1.0,
    predict_every=0,
    device="cpu",
)
# What each switch changes. With more text there are as many steps, not as many epochs.
SWITCHES: dict[str, dict[str, Any]] = {
    "dropout": {"dropout": 0.5},
    "decay": {"weight_decay": 0.3},
    "fewer": {"hidden_size": 16},
    "more": {"max_chars": TIMES * _PLAIN.max_chars, "epochs": _PLAIN.epochs // TIMES},
}
VARIANTS: tuple[tuple[str, ...], ...] = ((), *((name,) for name in SWITCHES))  # those that ship


def held_back_config(switches: Collection[str]) -> TrainConfig:
    """The training with these of SWITCHES turned on."""
    return _PLAIN.with_settings({key: value for name in switches for key, value in SWITCHES[name].items()})


def held_back_corpus(config: TrainConfig) -> Corpus:
    """Its text, which ends where the held-out part begins: that is the same for all, however much they learn from."""
    text, end = clean(read(config.corpus)), TIMES * _PLAIN.max_chars
    return Corpus(config.corpus, text[end - config.max_chars : end], text[end : end + (config.held_out_chars or 0)])


@cache
def switches_of(config: TrainConfig) -> tuple[str, ...] | None:
    """The switches of a training; None where it is none of these."""
    return next((chosen for chosen in _every_choice() if held_back_config(chosen) == config), None)


def _every_choice() -> Iterator[tuple[str, ...]]:
    for count in range(len(SWITCHES) + 1):
        yield from combinations(SWITCHES, count)


@dataclass(frozen=True)
class Learned:
    """Training and held-out perplexity at the end of each epoch (n,), with its step (n,)."""

    step: NDArray[np.int64]
    training: NDArray[np.float64]
    held_out: NDArray[np.float64]

    @staticmethod
    def of(epochs: Sequence[EpochReport]) -> Learned:
        """Of a training that has ended an epoch."""
        held_out = [np.nan if r.held_out_perplexity is None else r.held_out_perplexity for r in epochs]
        return Learned(np.array([r.step for r in epochs]), np.array([r.perplexity for r in epochs]), np.array(held_out))

    @property
    def best(self) -> int:
        """The index of the epoch in which the held-out perplexity was lowest: where early stopping would have ended."""
        return int(np.nanargmin(self.held_out))


def shipped_held_back() -> dict[tuple[str, ...], Learned]:
    """The trainings of VARIANTS that come with the app."""
    saved = json.loads(SHIPPED.read_text(encoding="utf-8"))
    return {
        switches: Learned(*(np.array(saved["+".join(switches)][name]) for name in ("step", "training", "held_out")))
        for switches in VARIANTS
    }
