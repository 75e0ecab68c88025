"""The settings that the host makes through environment variables."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from rnnviz.analysis.deep import DEPTHS, deep_config
from rnnviz.analysis.experiments import CELLS, study_config
from rnnviz.analysis.restoring import DIRECTIONS, restoring_config
from rnnviz.analysis.side_by_side import (
    BIASES,
    IMPLEMENTATIONS,
    STARTS,
    implementation_config,
    recall_config,
    start_config,
)
from rnnviz.config import ModelConfig, TrainConfig
from rnnviz.engine.settings import HOSTED, MIB, Limits, Settings, estimated_memory
from rnnviz.errors import InputError
from rnnviz.text.corpora import corpus_of


@pytest.mark.parametrize(
    ("environment", "settings"),
    [
        ({}, Settings()),
        ({"RNNVIZ_SCHEDULER": "", "RNNVIZ_WORKERS": ""}, Settings()),
        ({"RNNVIZ_SCHEDULER": "tcp://10.0.0.1:8786"}, Settings(scheduler="tcp://10.0.0.1:8786")),
        ({"RNNVIZ_WORKERS": "1"}, Settings(workers=1)),
        ({"RNNVIZ_WORKERS": "256"}, Settings(workers=256)),
        (
            {"RNNVIZ_SCHEDULER": "tls://a:1", "RNNVIZ_WORKERS": "3", "OTHER": "x"},
            Settings(scheduler="tls://a:1", workers=3),
        ),
    ],
)
def test_settings_come_from_the_environment(environment: dict[str, str], settings: Settings) -> None:
    """A variable that is unset or empty gives None."""
    assert Settings.from_environment(environment) == settings


@pytest.mark.parametrize(
    "value", ["0", "257", "-1", "+2", "1.5", "two", " 2", "2\n", "²", "1e2", "0x2", "999999999999"]
)
def test_a_wrong_count_of_workers_is_reported(value: str) -> None:
    """The message has the variable's name, its value and what is allowed."""
    with pytest.raises(InputError, match=r"RNNVIZ_WORKERS is .*; allowed: a whole number from 1 to 256") as wrong:
        Settings.from_environment({"RNNVIZ_WORKERS": value})
    assert repr(value) in str(wrong.value)


def test_the_environment_is_read_on_demand(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not read when the module is imported."""
    monkeypatch.setenv("RNNVIZ_SCHEDULER", "tcp://one:1")
    monkeypatch.setenv("RNNVIZ_WORKERS", "7")
    assert Settings.from_environment() == Settings(scheduler="tcp://one:1", workers=7)
    monkeypatch.delenv("RNNVIZ_SCHEDULER")
    monkeypatch.delenv("RNNVIZ_WORKERS")
    assert Settings.from_environment() == Settings()


def test_a_hosted_server_has_one_worker_unless_told_otherwise() -> None:
    """It fits into the smallest memory that hosts give; a laptop has a worker per core, which None stands for."""
    assert Settings.from_environment({}).workers is None
    assert Settings.from_environment({"RNNVIZ_HOSTED": "1"}).workers == 1
    assert Settings.from_environment({"RNNVIZ_HOSTED": "1", "RNNVIZ_WORKERS": "4"}).workers == 4


def test_a_hosted_server_has_limits_and_each_can_be_set() -> None:
    """A laptop has no limits that anybody would notice."""
    assert Settings.from_environment({}).limits == Limits()
    assert Settings.from_environment({"RNNVIZ_HOSTED": "1"}).limits == HOSTED
    one = Settings.from_environment({"RNNVIZ_HOSTED": "1", "RNNVIZ_MAX_UNITS": "64", "RNNVIZ_MAX_RUN_SECONDS": "60"})
    assert (one.limits.units, one.limits.run_seconds, one.limits.layers) == (64, 60, HOSTED.layers)
    laptop = Settings.from_environment({"RNNVIZ_MAX_EPOCHS": "7"}).limits
    assert (laptop.epochs, laptop.units) == (7, Limits().units)


@pytest.mark.parametrize("text", ["tales-en", "lyrics-zh"])
def test_a_hosted_server_allows_whatever_the_pages_train_side_by_side(text: str) -> None:
    """All runs of a group at once, each within the limits; and every depth that the Deep page offers."""
    groups = [
        [start_config(name, text) for name in STARTS],
        [implementation_config("lstm", name, text) for name in IMPLEMENTATIONS],
        [recall_config(f"{bias:g}", "recall") for bias in BIASES],
        [restoring_config(name) for name in DIRECTIONS],
        [study_config(cell, text) for cell in CELLS],
        *([replace(deep_config(layers), corpus=text)] for layers in DEPTHS),
    ]
    assert max(map(len, groups)) <= HOSTED.visitor_runs
    for config in (config for group in groups for config in group):
        HOSTED.check(config, len(corpus_of(config).vocabulary))


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("class.test", ("class.test",)),
        ("localhost, *.Class.test ,192.168.1.5,[::1],", ("localhost", "*.Class.test", "192.168.1.5", "[::1]")),
    ],
)
def test_hosts_are_a_list(text: str, hosts: tuple[str, ...]) -> None:
    """They are names, names below a domain, or addresses; without any, all hosts are allowed."""
    assert Settings.from_environment({"RNNVIZ_HOSTS": text}).hosts == hosts
    assert Settings.from_environment({}).hosts == ()


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("RNNVIZ_HOSTED", "yes", "0 or 1"),
        ("RNNVIZ_STATUS", "2", "0 or 1"),
        ("RNNVIZ_LOG", "LOUD", "DEBUG, INFO, WARNING or ERROR"),
        ("RNNVIZ_HOSTS", "http://class.test", "names or addresses without a port"),
        ("RNNVIZ_HOSTS", "class.test:8501", "names or addresses without a port"),
        ("RNNVIZ_HOSTS", "a.*.test", "names or addresses without a port"),
        ("RNNVIZ_GRACE_SECONDS", "0", "a whole number from 1"),
        ("RNNVIZ_WORKER_MIB", "10", "a whole number from 600"),
        ("RNNVIZ_MAX_DISK_MIB", "1e9", "a whole number from 1"),
    ],
)
def test_a_wrong_setting_is_reported(name: str, value: str, allowed: str) -> None:
    """The message has the variable's name, its value and what is allowed."""
    with pytest.raises(InputError, match=f"{name} (is|has) '{re.escape(value)}'; allowed: {allowed}"):
        Settings.from_environment({name: value})


@pytest.mark.parametrize(
    ("limits", "config", "told"),
    [
        (Limits(chars=500), TrainConfig(), "max_chars is 10,000; this server allows at most 500"),
        (Limits(units=64), TrainConfig(), "hidden_size is 256; this server allows at most 64"),
        (Limits(layers=1), TrainConfig(ModelConfig(num_layers=2)), "num_layers is 2; this server allows at most 1"),
        (Limits(epochs=10), TrainConfig(), "epochs is 160; this server allows at most 10"),
        (Limits(parameters=1000), TrainConfig(), "parameters; allowed: at most 1,000"),
        (Limits(vocabulary=999), TrainConfig(), "the text has 1,000 different characters; this server allows at most"),
        (Limits(prefixes=1), TrainConfig(prefixes=("a", "b")), "there are 2 prefixes to continue; this server allows"),
        (Limits(prefix_chars=2), TrainConfig(prefixes=("a", "bcd")), "a prefix has 3 characters; this server allows"),
        (Limits(predict_length=9), TrainConfig(), "predict_length is 50; this server allows at most 9"),
        (Limits(probe_chars=2), TrainConfig(probe="abc"), "the gates are recorded has 3 characters; this server"),
        (Limits(step_work=10**9), TrainConfig(), r"about 1,\d\d\d million multiplications; this server allows 1,000"),
    ],
)
def test_each_limit_has_its_message(limits: Limits, config: TrainConfig, told: str) -> None:
    """It says what is too much, how much it is, and how much is allowed."""
    with pytest.raises(InputError, match=told):
        limits.check(config, 1000)
    Limits().check(config, 1000)


def test_memory_is_estimated_before_a_run_starts() -> None:
    """More units, longer windows, larger batches and autograd need more; what exceeds a worker's memory is refused."""
    base = estimated_memory(TrainConfig(), 1000)
    for larger in (
        TrainConfig(ModelConfig(hidden_size=512)),
        TrainConfig(ModelConfig(implementation="scratch")),
        TrainConfig(ModelConfig(num_layers=2)),
        TrainConfig(num_steps=100),
        TrainConfig(batch_size=128),
    ):
        assert estimated_memory(larger, 1000) > base
    with pytest.raises(InputError, match=r"the run would need about [\d,]+ MB of memory; a worker has 100 MB"):
        Limits().check(TrainConfig(), 1000, 100 * MIB)
    Limits().check(TrainConfig(), 1000, 1000 * MIB)
