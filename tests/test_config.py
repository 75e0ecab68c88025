"""Configurations: what is allowed, what is said where it is not, and the way through JSON."""

from __future__ import annotations

import dataclasses
import json
import pickle
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnviz.config import MAX_PARAMETERS, PRESETS, RANGES, ModelConfig, TrainConfig
from rnnviz.errors import InputError

MODEL_FIELDS = {field.name for field in dataclasses.fields(ModelConfig)}
REAL = {"forget_bias", "learning_rate", "clip"}
WHOLE = sorted(set(RANGES) - REAL)
CHOICES = {
    "cell": ("rnn", "gru", "lstm"),
    "activation": ("tanh", "relu"),
    "reset": ("before", "after"),
    "implementation": ("fused", "scratch", "torch"),
    "initialisation": ("normal", "uniform"),
    "sampling": ("sequential", "random"),
    "optimizer": ("sgd", "adam"),
    "device": ("auto", "cpu", "cuda", "mps"),
}


def make(name: str, value: object) -> ModelConfig | TrainConfig:
    """A configuration with one field set, in the class that has it."""
    return (ModelConfig if name in MODEL_FIELDS else TrainConfig)(**{name: value})


@pytest.mark.parametrize("name", RANGES)
def test_both_ends_of_a_range_are_allowed(name: str) -> None:
    """The least and the greatest value themselves are accepted."""
    for value in RANGES[name]:
        assert getattr(make(name, value), name) == value


@pytest.mark.parametrize("name", RANGES)
def test_values_outside_a_range_are_refused(name: str) -> None:
    """Just below, just above, infinite or not a number: the message has the name and what is allowed."""
    low, high = RANGES[name]
    step = 1 if name in WHOLE else 1e-9 + abs(high) * 1e-9
    for value in (low - step, high + step, float("inf"), float("-inf"), float("nan")):
        with pytest.raises(InputError, match=f"{name} is .*; allowed: "):
            make(name, value)


@pytest.mark.parametrize("value", ["3", [3], {"a": 1}])
@pytest.mark.parametrize("name", RANGES)
def test_values_that_are_no_numbers_are_refused(name: str, value: object) -> None:
    """Text and lists are no numbers."""
    with pytest.raises(InputError, match=name):
        make(name, value)


@pytest.mark.parametrize("name", sorted(set(RANGES) - {"held_out_chars"}))
def test_none_is_no_number(name: str) -> None:
    """Only held_out_chars may be left open."""
    with pytest.raises(InputError, match=name):
        make(name, None)


@pytest.mark.parametrize("name", WHOLE)
def test_counts_are_whole_numbers(name: str) -> None:
    """Half a row or half a layer is refused here, not by an obscure error while training."""
    low, _ = RANGES[name]
    with pytest.raises(InputError, match=name):
        make(name, low + 0.5)


@pytest.mark.parametrize("name", CHOICES)
def test_choices_are_these_and_no_others(name: str) -> None:
    """Every documented choice is accepted; the refusal of another lists them."""
    for value in CHOICES[name]:
        assert getattr(make(name, value), name) == value
    for value in ("transformer", None, 3, ""):
        with pytest.raises(InputError, match=f"{name} is {value}; allowed: {', '.join(CHOICES[name])}"):
            make(name, value)


def test_reset_before_has_no_torch_implementation() -> None:
    """torch's GRU resets after the matrix product; other cells do not care, and ours can do both."""
    with pytest.raises(InputError, match="reset=before has no torch implementation"):
        ModelConfig(cell="gru", reset="before", implementation="torch")
    assert ModelConfig(cell="lstm", reset="before", implementation="torch").reset == "before"
    assert ModelConfig(cell="gru", reset="before").implementation == "fused"


def test_an_empty_prefix_is_refused() -> None:
    """A model needs a character to begin with."""
    with pytest.raises(InputError, match="a prefix is empty"):
        TrainConfig(prefixes=("ab", ""))


def test_configurations_are_frozen_values() -> None:
    """They can be compared, hashed and copied, but not changed."""
    config = TrainConfig(prefixes=["ab"])
    assert config == TrainConfig(prefixes=("ab",))
    assert hash(config) == hash(TrainConfig(prefixes=("ab",)))
    assert replace(config, seed=1) != config
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.seed = 2


@given(
    V=st.integers(2, 50),
    h=st.integers(1, 30),
    L=st.integers(1, 4),
    cell=st.sampled_from(["rnn", "gru", "lstm"]),
    reset=st.sampled_from(["before", "after"]),
    bidirectional=st.booleans(),
)
def test_parameter_count_is_that_of_the_equations(
    V: int, h: int, L: int, cell: str, reset: str, bidirectional: bool
) -> None:
    """Input, recurrent and bias weights per gate, layer and direction, and the output layer, added up one by one."""
    D = 2 if bidirectional else 1
    total = D * h * V + V  # W_hq, b_q
    for layer in range(L):
        inputs = V if layer == 0 else D * h
        for _ in range(D):
            total += {"rnn": 1, "gru": 3, "lstm": 4}[cell] * (inputs * h + h * h + h)
            total += h if (cell, reset) == ("gru", "after") else 0
    config = ModelConfig(cell=cell, hidden_size=h, num_layers=L, bidirectional=bidirectional, reset=reset)
    assert config.num_directions == D
    assert config.parameter_count(V) == total


def test_parameter_count_of_the_seeds_gru() -> None:
    """256 units and 1,027 characters, by hand: 3 (1027 + 256 + 1) 256 + 256 1027 + 1027, and 256 more for b_hn."""
    assert ModelConfig(reset="before").parameter_count(1027) == 1_250_051
    assert ModelConfig(reset="after").parameter_count(1027) == 1_250_051 + 256


def test_check_size_refuses_more_parameters_than_the_limit() -> None:
    """The message gives the count and the limit; the largest that fits passes."""
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
    ),
    corpus=st.text(max_size=10),
    held_out_chars=st.none() | st.integers(0, 1000),
    keep_line_breaks=st.booleans(),
    sampling=st.sampled_from(CHOICES["sampling"]),
    optimizer=st.sampled_from(CHOICES["optimizer"]),
    learning_rate=st.floats(1e-8, 1e4),
    clip=st.floats(0, 1e9),
    seed=st.integers(0, 2**31 - 1),
    prefixes=st.lists(st.text(min_size=1, max_size=5), max_size=3),
    probe=st.text(max_size=10),
)


@given(configs)
def test_a_configuration_survives_json(config: TrainConfig) -> None:
    """Written as JSON text and read again it is equal, prefixes and floats included."""
    assert TrainConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


def test_from_json_fills_in_defaults() -> None:
    """What is left out has the default; a partial model too."""
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
    """A configuration file that was edited by hand ends in an InputError, whatever is wrong with it."""
    with pytest.raises(InputError):
        TrainConfig.from_json(values)


def test_from_json_leaves_its_argument_alone() -> None:
    """The dictionary given is not changed."""
    values = {"seed": 3, "model": {"cell": "lstm"}}
    TrainConfig.from_json(values)
    assert values == {"seed": 3, "model": {"cell": "lstm"}}


def test_presets_are_the_quick_one_and_the_six_experiments_of_the_notes() -> None:
    """Their settings are the seeds': 256 units (128 both ways), 35 steps, batch 32, clip 0.01, 160 epochs."""
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
    """The preset for impatient people has less of everything."""
    quick, full = PRESETS["quick"].config, PRESETS["gru"].config
    assert quick.model.hidden_size < full.model.hidden_size
    assert quick.max_chars < full.max_chars
    assert quick.epochs < full.epochs


def test_an_input_error_keeps_message_and_values_apart_also_when_pickled() -> None:
    """A page in another process can translate the message before it fills in the values."""
    error = pickle.loads(pickle.dumps(InputError("{name} is {value:,}", name="size", value=1234)))  # noqa: S301
    assert str(error) == "size is 1,234"
    assert (error.message, error.values) == ("{name} is {value:,}", {"name": "size", "value": 1234})
    assert isinstance(error, ValueError)
