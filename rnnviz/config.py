"""What a training run is told: the model, the text, the sampling, the optimiser.

No torch here: pages build and check a configuration before any worker sees it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, get_args

from rnnviz.errors import InputError
from rnnviz.signals import Activation, CellName, Reset

Implementation = Literal["fused", "scratch", "torch"]
Initialisation = Literal["normal", "uniform"]
Sampling = Literal["sequential", "random"]
Optimizer = Literal["sgd", "adam"]
Device = Literal["auto", "cpu", "cuda", "mps"]

# Every whole number or real number a user can set, with the least and the greatest allowed value.
RANGES: dict[str, tuple[float, float]] = {
    "hidden_size": (1, 4096),
    "num_layers": (1, 8),
    "forget_bias": (-20, 20),
    "max_chars": (2, 5_000_000),
    "held_out_chars": (0, 5_000_000),
    "batch_size": (1, 4096),
    "num_steps": (1, 5000),
    "epochs": (1, 100_000),
    "learning_rate": (1e-8, 1e4),
    "clip": (0, 1e9),
    "seed": (0, 2**31 - 1),
    "predict_every": (0, 100_000),
    "predict_length": (1, 2000),
}
_REAL = {"forget_bias", "learning_rate", "clip"}
_OPTIONAL = {"held_out_chars"}
_TYPES: dict[str, type] = {"bidirectional": bool, "keep_line_breaks": bool, "corpus": str, "probe": str}
MAX_PARAMETERS = 50_000_000
CHOICES: dict[str, tuple[str, ...]] = {
    "cell": get_args(CellName),
    "activation": get_args(Activation),
    "reset": get_args(Reset),
    "implementation": get_args(Implementation),
    "initialisation": get_args(Initialisation),
    "sampling": get_args(Sampling),
    "optimizer": get_args(Optimizer),
    "device": get_args(Device),
}


def _check(config: Any) -> None:
    """Raises InputError for the first field outside its range or its choices."""
    for item in fields(config):
        value = getattr(config, item.name)
        if item.name in _TYPES and not isinstance(value, _TYPES[item.name]):
            raise InputError(
                "{name} is {value!r}; allowed: {allowed}",
                name=item.name,
                value=value,
                allowed="true or false" if _TYPES[item.name] is bool else "a text",
            )
        if item.name in CHOICES and value not in CHOICES[item.name]:
            raise InputError(
                "{name} is {value}; allowed: {allowed}",
                name=item.name,
                value=value,
                allowed=", ".join(CHOICES[item.name]),
            )
        if item.name in RANGES and not (value is None and item.name in _OPTIONAL):
            low, high = RANGES[item.name]
            kind = int | float if item.name in _REAL else int
            number = isinstance(value, kind) and not isinstance(value, bool)
            if not (number and math.isfinite(value) and low <= value <= high):
                raise InputError(
                    "{name} is {value}; allowed: {low:g} to {high:g}", name=item.name, value=value, low=low, high=high
                )


@dataclass(frozen=True)
class ModelConfig:
    """A language model's shape and start. The defaults are the notes' GRU from scratch.

    `implementation` is "fused" for our own backpropagation through time (`fused.py`), "scratch" for
    the equations under autograd, or "torch" for nn.RNN, nn.GRU and nn.LSTM. The mathematics is one.

    `initialisation` is "normal" for N(0, 0.01) weights and zero biases, or "uniform" for torch's
    U(-1/sqrt(h), 1/sqrt(h)). `forget_bias` is added to the LSTM's b_f (Jozefowicz et al. 2015).
    `reset` says where the GRU's reset gate acts: before the matrix product (the papers) or after
    it (torch and cuDNN, which know no other).
    """

    cell: CellName = "gru"
    hidden_size: int = 256
    num_layers: int = 1
    bidirectional: bool = False
    implementation: Implementation = "fused"
    reset: Reset = "after"
    activation: Activation = "tanh"
    initialisation: Initialisation = "normal"
    forget_bias: float = 0.0

    def __post_init__(self) -> None:
        _check(self)
        if self.implementation == "torch" and self.cell == "gru" and self.reset == "before":
            raise InputError(
                "torch's GRU applies the reset gate after the matrix product, so reset=before has no torch "
                "implementation; choose reset=after, or implementation=fused or scratch"
            )

    @property
    def num_directions(self) -> int:
        return 2 if self.bidirectional else 1

    def parameter_count(self, vocab_size: int) -> int:
        """How many numbers are trained, for a vocabulary of V characters."""
        h, D = self.hidden_size, self.num_directions
        gates = {"rnn": 1, "gru": 3, "lstm": 4}[self.cell]
        inner_bias = h if self.cell == "gru" and self.reset == "after" else 0
        inputs = [vocab_size] + [D * h] * (self.num_layers - 1)
        layers = sum(D * (gates * h * (n + h + 1) + inner_bias) for n in inputs)
        return layers + D * h * vocab_size + vocab_size


@dataclass(frozen=True)
class TrainConfig:
    """All that decides a run's numbers: two runs of one config and one text are equal bit for bit.

    `max_chars` and `held_out_chars` cut the corpus (see `rnnviz.text.split`). `clip` is the
    threshold theta of the global gradient norm; 0 turns clipping off. `predict_every` counts
    epochs; 0 turns prediction off. `probe` is the text over which the gates are recorded.
    """

    model: ModelConfig = field(default_factory=ModelConfig)
    corpus: str = "lyrics-zh"
    max_chars: int = 10_000
    held_out_chars: int | None = None
    keep_line_breaks: bool = False
    sampling: Sampling = "sequential"
    batch_size: int = 32
    num_steps: int = 35
    epochs: int = 160
    optimizer: Optimizer = "sgd"
    learning_rate: float = 100.0
    clip: float = 0.01
    seed: int = 0
    device: Device = "auto"
    prefixes: tuple[str, ...] = ()
    predict_every: int = 40
    predict_length: int = 50
    probe: str = ""

    def __post_init__(self) -> None:
        _check(self)
        if isinstance(self.prefixes, str):
            raise InputError("prefixes is {value!r}; allowed: a list of texts", value=self.prefixes)
        object.__setattr__(self, "prefixes", tuple(self.prefixes))
        if any(not isinstance(prefix, str) for prefix in self.prefixes):
            raise InputError("prefixes is {value!r}; allowed: a list of texts", value=list(self.prefixes))
        if any(not prefix for prefix in self.prefixes):
            raise InputError("a prefix is empty; it needs at least one character")

    def check_size(self, vocab_size: int, limit: int = MAX_PARAMETERS) -> None:
        """Raises InputError where the model would have more parameters than `limit`."""
        count = self.model.parameter_count(vocab_size)
        if count > limit:
            raise InputError(
                "the model would have {count:,} parameters; allowed: at most {limit:,}. "
                "Choose fewer hidden units, fewer layers or a text with fewer different characters",
                count=count,
                limit=limit,
            )

    def with_settings(self, settings: Mapping[str, Any]) -> TrainConfig:
        """The same configuration with other settings, of the run or of its model, by their names."""
        of_model = {name: value for name, value in settings.items() if name in ModelConfig.__dataclass_fields__}
        of_run = {name: value for name, value in settings.items() if name not in of_model}
        return replace(self, model=replace(self.model, **of_model), **of_run)

    def settings(self) -> dict[str, Any]:
        """All settings of the run and of its model by their names."""
        return {name: value for name, value in {**vars(self.model), **vars(self)}.items() if name != "model"}

    def to_json(self) -> dict[str, Any]:
        """A dictionary that `json` can write and `from_json` reads back."""
        return asdict(self)

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> TrainConfig:
        """The configuration written by `to_json`. Raises InputError for unknown or wrong fields."""
        try:
            values = dict(values)
            model = ModelConfig(**dict(values.pop("model", {})))
            return TrainConfig(model=model, **values)
        except InputError:
            raise
        except (TypeError, ValueError) as error:
            raise InputError("the configuration cannot be read: {reason}", reason=error) from error


@dataclass(frozen=True)
class Preset:
    """A named configuration, offered on the Train page and worth knowing by heart."""

    name: str
    label: str
    config: TrainConfig


def _presets() -> tuple[Preset, ...]:
    concise = ModelConfig(implementation="torch", initialisation="uniform")
    by_hand = TrainConfig()
    adam = replace(by_hand, model=concise, optimizer="adam", learning_rate=0.01)
    return (
        Preset(
            "quick",
            "Quick: a small GRU in a minute",
            replace(
                adam,
                model=ModelConfig(hidden_size=64, initialisation="uniform"),
                max_chars=4000,
                batch_size=16,
                num_steps=25,
                epochs=60,
                clip=0.3,
                predict_every=10,
            ),
        ),
        Preset("gru-scratch", "GRU from scratch, SGD", by_hand),
        Preset("gru", "GRU concise, Adam", adam),
        Preset("lstm-scratch", "LSTM from scratch, SGD", replace(by_hand, model=ModelConfig(cell="lstm"))),
        Preset("lstm", "LSTM concise, Adam", replace(adam, model=replace(concise, cell="lstm"))),
        Preset("lstm-deep", "LSTM of 2 layers, Adam", replace(adam, model=replace(concise, cell="lstm", num_layers=2))),
        Preset(
            "gru-bidirectional",
            "Bidirectional GRU, Adam",
            replace(adam, model=replace(concise, hidden_size=128, bidirectional=True)),
        ),
    )


# The quick one, then the six experiments of the notes in their order.
PRESETS: dict[str, Preset] = {preset.name: preset for preset in _presets()}
