"""The configuration of a run: the model, the text, the sampling, the optimiser.

No torch here: pages build and check a configuration before any worker sees it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from numbers import Integral, Real
from typing import Any, Literal, get_args

from rnnviz.cells import Activation, CellName, Reset, all_cells, cell_of
from rnnviz.errors import InputError

Implementation = Literal["fused", "scratch", "torch"]
Initialisation = Literal["normal", "uniform"]
Sampling = Literal["sequential", "random"]
Optimizer = Literal["sgd", "adam"]
Device = Literal["auto", "cpu", "cuda", "mps"]
Task = Literal["predict", "restore"]

# Every number that a user can set, with its smallest and largest allowed value.
RANGES: dict[str, tuple[float, float]] = {
    "hidden_size": (1, 4096),
    "num_layers": (1, 8),
    "forget_bias": (-20, 20),
    "dropout": (0, 0.9),
    "max_chars": (2, 5_000_000),
    "held_out_chars": (0, 5_000_000),
    "batch_size": (1, 4096),
    "num_steps": (1, 5000),
    "epochs": (1, 100_000),
    "learning_rate": (1e-8, 1e4),
    "clip": (0, 1e9),
    "weight_decay": (0, 100),
    "seed": (0, 2**31 - 1),
    "predict_every": (0, 100_000),
    "predict_length": (1, 2000),
}
_REAL = {"forget_bias", "dropout", "learning_rate", "clip", "weight_decay"}
_OPTIONAL = {"held_out_chars"}
_SWITCHES = {"bidirectional", "residual", "keep_line_breaks"}
_TEXTS = {"corpus", "probe"}
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
    "task": get_args(Task),
}


def _check(config: Any) -> None:
    """Raises InputError for the first field outside its range or its choices; numbers become Python's own."""
    for item in fields(config):
        value = getattr(config, item.name)
        if item.name in _SWITCHES and not isinstance(value, bool):
            raise InputError("{name} is {value!r}; allowed: true or false", name=item.name, value=value)
        if item.name in _TEXTS and not _is_text(value):
            raise InputError("{name} is {value!r}; allowed: a text in UTF-8", name=item.name, value=value)
        if item.name in CHOICES and value not in CHOICES[item.name]:
            raise InputError(
                "{name} is {value}; allowed: {allowed}",
                name=item.name,
                value=value,
                allowed=", ".join(CHOICES[item.name]),
            )
        if item.name in RANGES and not (value is None and item.name in _OPTIONAL):
            low, high = RANGES[item.name]
            number = _number(value, real=item.name in _REAL)
            if number is not None and low <= number <= high:  # NaN is not
                object.__setattr__(config, item.name, number)
            else:
                raise InputError(
                    "{name} is {value}; allowed: {low:,.12g} to {high:,.12g}",
                    name=item.name,
                    value=value,
                    low=low,
                    high=high,
                )


def _number(value: Any, *, real: bool) -> float | None:
    """The same number as Python's own type, since JSON knows no other (such as NumPy's). None if it is not a number."""
    if isinstance(value, bool):
        return None
    if isinstance(value, Integral):
        return int(value)
    return float(value) if real and isinstance(value, Real) else None


def _is_text(value: Any) -> bool:
    """Whether a value can be written as UTF-8. Lone surrogates cannot; the command gets them for other encodings."""
    return isinstance(value, str) and not any("\ud800" <= character <= "\udfff" for character in value)


@dataclass(frozen=True)
class ModelConfig:
    """A language model's shape and initialisation. The defaults are the GRU from scratch of the lecture notes.

    The lecture notes follow *Dive into Deep Learning* (Zhang, Lipton, Li, Smola). This project accompanies
    them: its symbols, its default settings and all presets but the quick one are theirs.

    `implementation` is "fused" for our own backpropagation through time (`fused.py`), "scratch" for
    the equations under autograd, or "torch" for nn.RNN, nn.GRU and nn.LSTM. All compute the same function.

    `initialisation` is "normal" for N(0, 0.01) weights and zero biases, or "uniform" for torch's
    U(-1/sqrt(h), 1/sqrt(h)). `forget_bias` is added to the LSTM's b_f (Jozefowicz et al. 2015).
    `reset` says where the GRU's reset gate acts: "before" the matrix product (the papers, and the
    formula in the lecture notes), "after" it (their code), or "after-bias", after it and with a bias b_hn
    inside the gate (torch and cuDNN).

    `dropout` is the share of what a layer hands to the next one that is set to 0 in a training step, after each layer
    but the last, as in torch; what is left is divided by 1 - dropout, and nothing is dropped when the model predicts.
    With `residual` each layer but the first adds its input to its output (He et al. 2016, Wu et al. 2016).
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
    residual: bool = False
    dropout: float = 0.0

    def __post_init__(self) -> None:
        _check(self)
        if self.implementation == "torch" and cell_of(self).torch_name is None:
            if self.cell != "gru":
                allowed = ", ".join(cell.name for cell in all_cells() if cell.torch_name)
                raise InputError(
                    "torch has no layer for {cell}; allowed with implementation=torch: {allowed}",
                    cell=self.cell,
                    allowed=allowed,
                )
            raise InputError(
                "torch's GRU applies the reset gate after the matrix product, so reset=before has no torch "
                "implementation; choose reset=after or after-bias, or implementation=fused or scratch"
            )

    @property
    def num_directions(self) -> int:
        return 2 if self.bidirectional else 1

    def parameter_count(self, vocab_size: int) -> int:
        """How many numbers are trained, for a vocabulary of V characters."""
        h, D = self.hidden_size, self.num_directions
        inputs = [vocab_size] + [D * h] * (self.num_layers - 1)
        layers = sum(D * math.prod(shape) for d in inputs for shape in cell_of(self).shapes(d, h).values())
        return layers + D * h * vocab_size + vocab_size


@dataclass(frozen=True)
class TrainConfig:
    """Everything that determines a run's numbers: two runs of the same configuration and text are equal bit for bit.

    `max_chars` and `held_out_chars` cut the corpus (see `rnnviz.text.corpora.split`). `clip` is the
    threshold theta of the global gradient norm; 0 turns clipping off. `predict_every` counts
    epochs; 0 turns prediction off. `probe` is the text over which the gates are recorded. `task` is
    "predict" for the next character, or "restore" for characters that are masked in the input.

    `weight_decay` is λ: each step also multiplies all parameters, biases too, by 1 - ηλ, where η is the
    learning rate. For SGD that is the same as an L2 penalty of λ/2 ‖w‖² in the loss (torch.optim.SGD);
    for Adam it is decoupled from the gradient (torch.optim.AdamW; Loshchilov & Hutter 2019). Clipping acts on
    the gradient of the loss alone, and 0 turns the decay off.
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
    weight_decay: float = 0.0
    seed: int = 0
    device: Device = "auto"
    prefixes: tuple[str, ...] = ()
    predict_every: int = 40
    predict_length: int = 50
    probe: str = ""
    task: Task = "predict"

    def __post_init__(self) -> None:
        _check(self)
        if self.learning_rate * self.weight_decay > 1:
            raise InputError(
                "weight_decay is {value:g}; allowed: at most 1 / learning_rate = {limit:g}, "
                "because each step multiplies the weights by 1 - learning_rate * weight_decay",
                value=self.weight_decay,
                limit=1 / self.learning_rate,
            )
        if isinstance(self.prefixes, str):
            raise InputError("prefixes is {value!r}; allowed: a list of texts in UTF-8", value=self.prefixes)
        object.__setattr__(self, "prefixes", tuple(self.prefixes))
        if not all(map(_is_text, self.prefixes)):
            raise InputError("prefixes is {value!r}; allowed: a list of texts in UTF-8", value=list(self.prefixes))
        if any(not prefix for prefix in self.prefixes):
            raise InputError("a prefix is empty; it needs at least one character")

    @property
    def reads_ahead(self) -> bool:
        """Whether the model has read the characters that it predicts: its perplexity is not a language model's then."""
        return self.model.bidirectional and self.task == "predict"

    @property
    def is_language_model(self) -> bool:
        """Whether it predicts from what came before alone, so that its perplexity compares with an n-gram model's."""
        return self.task == "predict" and not self.model.bidirectional

    def check_predicts(self) -> None:
        """Raises InputError for a run that restores masked characters, where only one that predicts can be studied."""
        if self.task != "predict":
            raise InputError("the run restores masked characters; allowed here: runs that predict the next character")

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
    """A named configuration, offered on the Train page and by the command."""

    name: str
    label: str
    config: TrainConfig


def _presets() -> tuple[Preset, ...]:
    concise = ModelConfig(implementation="torch", reset="after-bias", initialisation="uniform")
    by_hand = TrainConfig()
    adam = replace(by_hand, model=concise, optimizer="adam", learning_rate=0.01)
    return (
        Preset(
            "quick",
            "Quick: a small GRU in seconds",
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


# The quick one, then the six experiments of the lecture notes in their order.
PRESETS: dict[str, Preset] = {preset.name: preset for preset in _presets()}
