"""Configurations: which values are allowed, the errors for others, and conversion to JSON and back."""

from __future__ import annotations

import dataclasses
import json
import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnviz.cells import CellName, Reset
from rnnviz.config import MAX_PARAMETERS, PRESETS, RANGES, ModelConfig, TrainConfig
from rnnviz.errors import InputError

MODEL_FIELDS = {field.name for field in dataclasses.fields(ModelConfig)}
REAL = {"forget_bias", "dropout", "learning_rate", "clip", "weight_decay"}
WHOLE = sorted(set(RANGES) - REAL)
CHOICES = {
    "cell": ("rnn", "gru", "mingru", "lstm"),
    "activation": ("tanh", "relu"),
    "reset": ("before", "after", "after-bias"),
    "implementation": ("fused", "scratch", "torch"),
    "initialisation": ("normal", "uniform"),
    "sampling": ("sequential", "random"),
    "optimizer": ("sgd", "adam"),
    "device": ("auto", "cpu", "cuda", "mps"),
}


def make(name: str, value: Any) -> ModelConfig | TrainConfig:
    """A configuration with one field set, of the class that has it."""
    if name in MODEL_FIELDS:
        return ModelConfig(**{name: value})
    # at this learning rate every weight decay is allowed
    slow: dict[str, Any] = {} if name == "learning_rate" else {"learning_rate": 0.01}
    return TrainConfig(**slow, **{name: value})


@pytest.mark.parametrize("name", RANGES)
def test_both_ends_of_a_range_are_allowed(name: str) -> None:
    """The smallest and the largest value themselves are accepted."""
    for value in RANGES[name]:
        assert getattr(make(name, value), name) == value


@pytest.mark.parametrize("name", RANGES)
def test_values_outside_a_range_are_refused(name: str) -> None:
    """They are just below, just above, infinite or NaN; the message has the name and what is allowed."""
    low, high = RANGES[name]
    step = 1 if name in WHOLE else 1e-9 + abs(high) * 1e-9
    for value in (low - step, high + step, float("inf"), float("-inf"), float("nan")):
        with pytest.raises(InputError, match=f"{name} is .*; allowed: "):
            make(name, value)


def test_a_weight_decay_that_turns_the_weights_around_is_refused() -> None:
    """The factor 1 - ηλ may be 0 and not less: a decay that the range allows can be too much for the learning rate."""
    assert TrainConfig(learning_rate=0.5, weight_decay=2).weight_decay == 2
    with pytest.raises(InputError, match=r"weight_decay is 2\.5; allowed: at most 1 / learning_rate = 2, because"):
        TrainConfig(learning_rate=0.5, weight_decay=2.5)


@pytest.mark.parametrize("value", ["3", [3], {"a": 1}])
@pytest.mark.parametrize("name", RANGES)
def test_values_that_are_not_numbers_are_refused(name: str, value: object) -> None:
    """Examples are texts and lists."""
    with pytest.raises(InputError, match=name):
        make(name, value)


@pytest.mark.parametrize("name", sorted(set(RANGES) - {"held_out_chars"}))
def test_none_is_not_a_number(name: str) -> None:
    """Only held_out_chars may be None."""
    with pytest.raises(InputError, match=name):
        make(name, None)


@pytest.mark.parametrize("name", WHOLE)
def test_counts_are_whole_numbers(name: str) -> None:
    """Half a row or half a layer is refused here, instead of by an obscure error while training."""
    low, _ = RANGES[name]
    with pytest.raises(InputError, match=name):
        make(name, low + 0.5)


@pytest.mark.parametrize("kind", [np.int64, np.int32, np.uint8])
def test_numpy_integers_are_accepted(kind: Any) -> None:
    """They become Python's own, which JSON can write; a real-valued setting takes NumPy's real numbers as well."""
    rate: Any = np.float32(0.5)
    config = TrainConfig(ModelConfig(hidden_size=kind(3)), epochs=kind(2), clip=kind(1), learning_rate=rate)
    assert config == TrainConfig(ModelConfig(hidden_size=3), epochs=2, clip=1, learning_rate=0.5)
    assert TrainConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


@pytest.mark.parametrize("value", [True, np.True_, np.float64(3), 3.0, "3"])
def test_a_number_of_units_is_a_whole_number(value: Any) -> None:
    """A boolean, a real number or a text is refused."""
    with pytest.raises(InputError, match=r"hidden_size is .*; allowed: 1 to 4,096"):
        ModelConfig(hidden_size=value)


def test_limits_are_printed_in_full() -> None:
    """A limit is a count, so it is not written as 5e+06."""
    with pytest.raises(InputError, match=r"max_chars is 1; allowed: 2 to 5,000,000$"):
        TrainConfig(max_chars=1)
    with pytest.raises(InputError, match=r"learning_rate is 0; allowed: 1e-08 to 10,000$"):
        TrainConfig(learning_rate=0)


@pytest.mark.parametrize("settings", [{"prefixes": ("a", "\udcff")}, {"probe": "\udcff"}, {"corpus": "\udcff.txt"}])
def test_texts_that_utf_8_cannot_write_are_refused(settings: dict[str, Any]) -> None:
    """Nothing is written; the command gets a surrogate for a byte that is not UTF-8."""
    (name,) = settings
    with pytest.raises(InputError, match=rf"{name} is .*\\udcff.*; allowed: .* in UTF-8"):
        TrainConfig(**settings)


@pytest.mark.parametrize("name", CHOICES)
def test_only_documented_choices_are_accepted(name: str) -> None:
    """Every documented choice is accepted, and the error for another lists them."""
    for value in CHOICES[name]:
        assert getattr(make(name, value), name) == value
    for other in ("transformer", None, 3, ""):
        with pytest.raises(InputError, match=f"{name} is {other}; allowed: {', '.join(CHOICES[name])}"):
            make(name, other)


def test_reset_before_has_no_torch_implementation() -> None:
    """torch's GRU resets after the matrix product; other cells have no reset, and ours supports both."""
    with pytest.raises(InputError, match="reset=before has no torch implementation"):
        ModelConfig(cell="gru", reset="before", implementation="torch")
    assert ModelConfig(cell="lstm", reset="before", implementation="torch").reset == "before"
    assert ModelConfig(cell="gru", reset="before").implementation == "fused"


def test_an_empty_prefix_is_refused() -> None:
    """A model needs a character to begin with."""
    with pytest.raises(InputError, match="a prefix is empty"):
        TrainConfig(prefixes=("ab", ""))


def test_configurations_are_frozen() -> None:
    """They can be compared, hashed and copied, but not changed."""
    config = TrainConfig(prefixes=["ab"])  # type: ignore[arg-type]
    assert config == TrainConfig(prefixes=("ab",))
    assert hash(config) == hash(TrainConfig(prefixes=("ab",)))
    assert replace(config, seed=1) != config
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.seed = 2  # type: ignore[misc]


@given(
    V=st.integers(2, 50),
    h=st.integers(1, 30),
    L=st.integers(1, 4),
    cell=st.sampled_from(["rnn", "gru", "mingru", "lstm"]),
    reset=st.sampled_from(["before", "after", "after-bias"]),
    bidirectional=st.booleans(),
)
def test_parameter_count_follows_the_equations(
    V: int, h: int, L: int, cell: CellName, reset: Reset, bidirectional: bool
) -> None:
    """Input, recurrent and bias weights per gate, layer and direction, and the output layer, are added one by one."""
    D = 2 if bidirectional else 1
    total = D * h * V + V  # W_hq, b_q
    for layer in range(L):
        inputs = V if layer == 0 else D * h
        for _ in range(D):
            recurrent = 0 if cell == "mingru" else h * h
            total += {"rnn": 1, "gru": 3, "mingru": 2, "lstm": 4}[cell] * (inputs * h + recurrent + h)
            total += h if (cell, reset) == ("gru", "after-bias") else 0
    config = ModelConfig(cell=cell, hidden_size=h, num_layers=L, bidirectional=bidirectional, reset=reset)
    assert config.num_directions == D
    assert config.parameter_count(V) == total


def test_cells_that_torch_lacks_have_no_torch_implementation() -> None:
    """The message names the cells that torch has."""
    with pytest.raises(InputError, match="torch has no layer for mingru; allowed with implementation=torch: rnn, gru"):
        ModelConfig(cell="mingru", implementation="torch")


def test_parameter_count_of_the_lecture_notes_gru() -> None:
    """256 units and 1,027 characters give 3 (1027 + 256 + 1) 256 + 256 1027 + 1027, and 256 more for b_hn."""
    assert ModelConfig(reset="before").parameter_count(1027) == 1_250_051
    assert ModelConfig(reset="after-bias").parameter_count(1027) == 1_250_051 + 256


def test_check_size_refuses_more_parameters_than_the_limit() -> None:
    """The message gives the count and the limit; the largest model that fits is accepted."""
    config = TrainConfig(model=ModelConfig(cell="rnn", hidden_size=4096))
    per_character = 4096 + 4096 + 1
    fits = (MAX_PARAMETERS - 4096 * 4097) // per_character
    config.check_size(fits)
    count = config.model.parameter_count(fits + 1)
    assert count - MAX_PARAMETERS <= per_character
    with pytest.raises(InputError, match=f"{count:,} parameters; allowed: at most 50,000,000"):
        config.check_size(fits + 1)


configs = st.builds(
    TrainConfig,
    model=st.builds(
        ModelConfig,
        cell=st.sampled_from(CHOICES["cell"]),
        hidden_size=st.integers(1, 4096),
        num_layers=st.integers(1, 8),
        bidirectional=st.booleans(),
        activation=st.sampled_from(CHOICES["activation"]),
        initialisation=st.sampled_from(CHOICES["initialisation"]),
        forget_bias=st.floats(-20, 20),
        residual=st.booleans(),
        dropout=st.floats(0, 0.9),
    ),
    corpus=st.text(max_size=10),
    held_out_chars=st.none() | st.integers(0, 1000),
    keep_line_breaks=st.booleans(),
    sampling=st.sampled_from(CHOICES["sampling"]),
    optimizer=st.sampled_from(CHOICES["optimizer"]),
    learning_rate=st.floats(1e-8, 1e4),
    clip=st.floats(0, 1e9),
    weight_decay=st.floats(0, 1e-4),
    seed=st.integers(0, 2**31 - 1),
    prefixes=st.lists(st.text(min_size=1, max_size=5), max_size=3),
    probe=st.text(max_size=10),
)


@given(configs)
def test_a_configuration_survives_json(config: TrainConfig) -> None:
    """Written as JSON and read again it is equal, including prefixes and floats."""
    assert TrainConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


def test_from_json_fills_in_defaults() -> None:
    """Missing fields have their defaults, even in a partial model."""
    assert TrainConfig.from_json({}) == TrainConfig()
    assert TrainConfig.from_json({"seed": 3, "model": {"cell": "lstm"}}) == TrainConfig(
        seed=3, model=ModelConfig(cell="lstm")
    )


@pytest.mark.parametrize(
    "values",
    [
        {"sead": 1},
        {"model": {"cells": "gru"}},
        {"model": None},
        {"model": "gru"},
        {"model": [1, 2]},
        {"prefixes": 5},
        {"prefixes": [3]},
        {"prefixes": "ab"},
        {"epochs": "many"},
        {"model": {"hidden_size": 0}},
        {"model": {"bidirectional": "yes"}},
        {"corpus": 3},
        {"probe": None},
    ],
    ids=str,
)
def test_from_json_refuses_unknown_and_wrong_fields(values: dict[str, object]) -> None:
    """A configuration file edited by hand raises an InputError, whatever is wrong with it."""
    with pytest.raises(InputError):
        TrainConfig.from_json(values)


def test_from_json_does_not_change_its_argument() -> None:
    """The given dictionary stays the same."""
    values = {"seed": 3, "model": {"cell": "lstm"}}
    TrainConfig.from_json(values)
    assert values == {"seed": 3, "model": {"cell": "lstm"}}


def test_presets_are_the_quick_one_and_the_six_experiments_of_the_lecture_notes() -> None:
    """They have the notes' settings: 256 units (128 if bidirectional), 35 steps, batch 32, clip 0.01, 160 epochs."""
    assert list(PRESETS) == ["quick", "gru-scratch", "gru", "lstm-scratch", "lstm", "lstm-deep", "gru-bidirectional"]
    assert all(name == preset.name for name, preset in PRESETS.items())
    for name, preset in list(PRESETS.items())[1:]:
        config, model = preset.config, preset.config.model
        assert (config.num_steps, config.batch_size, config.clip, config.epochs) == (35, 32, 0.01, 160)
        assert (config.max_chars, config.sampling) == (10_000, "sequential")
        by_hand = name.endswith("scratch")
        assert (config.optimizer, config.learning_rate) == (("sgd", 100.0) if by_hand else ("adam", 0.01))
        assert model.implementation == ("fused" if by_hand else "torch")
        assert model.initialisation == ("normal" if by_hand else "uniform")
        assert model.cell == name.split("-")[0]
        assert model.hidden_size == (128 if name == "gru-bidirectional" else 256)
        assert model.bidirectional == (name == "gru-bidirectional")
        assert model.num_layers == (2 if name == "lstm-deep" else 1)


def test_quick_preset_is_small() -> None:
    """It is for people in a hurry, and has less of everything."""
    quick, full = PRESETS["quick"].config, PRESETS["gru"].config
    assert quick.model.hidden_size < full.model.hidden_size
    assert quick.max_chars < full.max_chars
    assert quick.epochs < full.epochs


def test_an_input_error_keeps_message_and_values_separate_even_when_pickled() -> None:
    """A page in another process can translate the message before it fills in the values."""
    error = pickle.loads(pickle.dumps(InputError("{name} is {value:,}", name="size", value=1234)))  # noqa: S301
    assert str(error) == "size is 1,234"
    assert (error.message, error.values) == ("{name} is {value:,}", {"name": "size", "value": 1234})
    assert isinstance(error, ValueError)
