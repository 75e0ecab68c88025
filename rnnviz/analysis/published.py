"""What was published: the lecture notes' six experiments, and the table of *Dive into Deep Learning*."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from rnnviz.config import PRESETS, ModelConfig, Preset, TrainConfig

EPOCHS = 160
MARKS = (40, 80, 120, 160)  # the epochs at which the notes print a perplexity

_BOOK = TrainConfig(corpus="tales-en", epochs=500, learning_rate=1.0, clip=1.0)
_CONCISE = ModelConfig(implementation="torch", reset="after-bias", initialisation="uniform")


def _presets_of_the_book() -> dict[str, Preset]:
    rnn, lstm = ModelConfig(cell="rnn", hidden_size=512), replace(_CONCISE, cell="lstm")
    deep = replace(lstm, num_layers=2)
    by_hand = Preset("d2l-rnn-scratch", "RNN from scratch", replace(_BOOK, model=rnn))
    return {
        preset.name: preset
        for preset in (
            by_hand,
            Preset(
                "d2l-rnn-scratch-random",
                "RNN from scratch, random sampling",
                replace(by_hand.config, sampling="random"),
            ),
            Preset("d2l-rnn", "RNN concise", replace(_BOOK, model=replace(_CONCISE, cell="rnn"))),
            Preset("d2l-gru-scratch", "GRU from scratch", replace(_BOOK, model=ModelConfig(reset="before"))),
            Preset("d2l-gru", "GRU concise", replace(_BOOK, model=_CONCISE)),
            Preset("d2l-lstm-scratch", "LSTM from scratch", replace(_BOOK, model=ModelConfig(cell="lstm"))),
            Preset("d2l-lstm", "LSTM concise", replace(_BOOK, model=lstm)),
            Preset("d2l-lstm-deep", "LSTM of 2 layers", replace(_BOOK, model=deep, learning_rate=2.0)),
            Preset(
                "d2l-lstm-bidirectional",
                "Bidirectional LSTM of 2 layers",
                replace(_BOOK, model=replace(deep, bidirectional=True)),
            ),
        )
    }


_SETTINGS: Mapping[str, Preset] = ChainMap(PRESETS, _presets_of_the_book())


@dataclass(frozen=True)
class Experiment:
    """A training whose result was published.

    `perplexity` is what was printed at the epochs of `marks`: the training perplexity of that epoch; and `seconds`,
    where they were given, how long it took on their CPU.
    """

    name: str
    perplexity: tuple[float, ...]
    seconds: tuple[float, ...] = ()
    marks: tuple[int, ...] = MARKS

    @property
    def label(self) -> str:
        return _SETTINGS[self.name].label

    @property
    def recorded(self) -> dict[int, float]:
        """The published perplexities by their epochs."""
        return dict(zip(self.marks, self.perplexity, strict=True))

    @property
    def sees_the_future(self) -> bool:
        """Whether the model reads the characters that it is scored on, so that it is no language model."""
        return _SETTINGS[self.name].config.model.bidirectional

    @property
    def seconds_per_epoch(self) -> float | None:
        """The mean of what was published; None where nothing was."""
        return round(sum(self.seconds) / len(self.seconds), 4) if self.seconds else None

    def config(self, **settings: Any) -> TrainConfig:
        """The experiment's settings but for those that are given; trained by the CPU, as in the notes."""
        return _SETTINGS[self.name].config.with_settings({"device": "cpu", **settings})


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
_OF_THE_BOOK = {
    "d2l-rnn-scratch": 1.0,
    "d2l-rnn-scratch-random": 1.4,
    "d2l-rnn": 1.3,
    "d2l-gru-scratch": 1.1,
    "d2l-gru": 1.0,
    "d2l-lstm-scratch": 1.1,
    "d2l-lstm": 1.0,
    "d2l-lstm-deep": 1.0,
    "d2l-lstm-bidirectional": 1.1,
}


@dataclass(frozen=True)
class Table:
    """Experiments that were published together: on the text `corpus` in our case, for so many `epochs`.

    Results are shown at the epochs of `marks`. `prefixes` is what was continued. The published perplexities
    have so many `decimals`. `source` names who published them, and `made` says how.
    """

    name: str
    source: str
    made: str
    experiments: Mapping[str, Experiment]
    epochs: int
    marks: tuple[int, ...]
    corpus: str
    prefixes: tuple[str, ...]
    decimals: int


NOTES = Table(
    "notes",
    "lecture notes",
    "The notes were made in 2020, with the torch of that time, on another machine, and on 10,000 characters of lyrics, "
    "1,027 of them different, that are not ours to ship.",
    EXPERIMENTS,
    EPOCHS,
    MARKS,
    "lyrics-zh",
    ("分开", "不分开"),
    decimals=6,
)
D2L = Table(
    "d2l",
    "Dive into Deep Learning",
    "The book trained on 10,000 characters of The Time Machine, with small letters and spaces alone, 28 of them "
    "different, and gives perplexities with one decimal.",
    {name: Experiment(name, (value,), marks=(_BOOK.epochs,)) for name, value in _OF_THE_BOOK.items()},
    _BOOK.epochs,
    (50, 100, 250, 500),
    _BOOK.corpus,
    ("time traveller", "traveller"),
    decimals=1,
)
TABLES: dict[str, Table] = {table.name: table for table in (NOTES, D2L)}
