"""A deep network layer by layer: its recordings inside each implementation, and the study of its training."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rnnviz.analysis.deep import (
    COST_VOCABULARY,
    QUANTILES,
    Cost,
    LayerStudy,
    cost_sizes,
    lag_of_share,
    shipped_costs,
)
from rnnviz.analysis.gradient_study import geometric_mean
from rnnviz.cells import cell_of
from rnnviz.config import Implementation, ModelConfig, TrainConfig
from rnnviz.errors import InputError
from rnnviz.nn.bench import Setting, cost, live_bytes
from rnnviz.nn.deep import differences_of, layer_norms, ship, ship_costs, study
from rnnviz.nn.execution import Execution, load_model
from rnnviz.nn.gradients import gradient_by_lag, windows_of
from rnnviz.nn.model import LanguageModel
from rnnviz.nn.tracing import record, trace
from rnnviz.runs.folder import Run
from rnnviz.runs.reports import StepReport
from rnnviz.text.corpora import Corpus, Vocabulary
from tests.helpers import CONFIGS

LAYERS = 4
VOCABULARY = Vocabulary("abcdef")
TEXT = "fadedbeadcab"
TEXTS = {"en": "the cat sat on the mat and the dog sat on the log. " * 6, "zh": "猫坐在垫子上，狗坐在木头上。" * 20}


def deep_model(name: str, implementation: Implementation) -> LanguageModel:
    config = ModelConfig(**CONFIGS[name], hidden_size=5, num_layers=LAYERS, initialisation="uniform")
    return LanguageModel(config, len(VOCABULARY)).convert(implementation=implementation)


def ids_of(text: str) -> torch.Tensor:
    return torch.from_numpy(VOCABULARY.encode(text)).unsqueeze(1)


def implementations(name: str) -> list[Implementation]:
    torch_too = cell_of(ModelConfig(**CONFIGS[name])).torch_name is not None
    return ["fused", "scratch", *(["torch"] if torch_too else [])]  # type: ignore[list-item]


@pytest.mark.parametrize(("name", "implementation"), [(n, i) for n in CONFIGS for i in implementations(n)])
def test_every_layers_recording_is_inside_the_forward_pass(name: str, implementation: Implementation) -> None:
    """What each of four layers hands over, and the state that it ends in, equal the recording of that layer."""
    model = deep_model(name, implementation)
    handed: list[torch.Tensor] = []
    layers: Any = model.layers
    for layer in layers:
        layer.register_forward_hook(lambda _layer, _given, answer: handed.append(answer[0].clone()))
    with torch.no_grad():
        _logits, after = model(ids_of(TEXT))
    recorded, cell = trace(model, VOCABULARY, TEXT), cell_of(model.config)
    assert len(handed) == recorded.num_layers == LAYERS
    for i in range(LAYERS):
        np.testing.assert_allclose(recorded.signal("H", i + 1), handed[i][:, 0], rtol=0, atol=1e-6)
        for state, values in zip(cell.state, after[i], strict=True):
            np.testing.assert_allclose(recorded.signal(state, i + 1)[-1], values[0, 0], rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", CONFIGS)
def test_every_gate_of_every_layer_is_on_the_tape(name: str) -> None:
    """The fused pass keeps all signals of a layer; they are the recorded ones, bit for bit up to rounding."""
    model = deep_model(name, "fused")
    recorded = trace(model, VOCABULARY, TEXT)
    H: Any = ids_of(TEXT)
    layers: Any = model.layers
    for i, (layer, state) in enumerate(zip(layers, model.initial_state(1), strict=True), start=1):
        H, _after, (tape,) = layer.run(H, state)
        for signal in recorded.names:
            np.testing.assert_allclose(recorded.signal(signal, i), tape.signals[signal][:, 0], rtol=0, atol=1e-6)


def test_differences_are_between_windows_at_the_same_step() -> None:
    """Windows of the same text have none, whatever happens along it; else it is the standard deviation, by hand."""
    model = deep_model("lstm", "scratch")
    same = ids_of(TEXT).expand(-1, 3)
    np.testing.assert_allclose(differences_of(model, same), 0, atol=1e-7)
    X = torch.cat([ids_of(TEXT), ids_of(TEXT[::-1])], dim=1)
    signals = record(model, X)
    expected = [
        np.mean([np.std(step, axis=0).mean() for step in signals[f"layer{i}.forward.H"].detach().numpy()])
        for i in range(1, LAYERS + 1)
    ]
    np.testing.assert_allclose(differences_of(model, X), expected, rtol=1e-5)


def test_a_layers_norm_is_that_of_all_its_parameters_as_one_vector() -> None:
    """The output layer is no layer; layer1 is not layer10."""
    norms = {"layer1.forward.W_xh": 3.0, "layer1.forward.b_h": 4.0, "layer2.forward.W_xh": 5.0, "W_hq": 7.0}
    reports = [StepReport(s, 1, 1.0, 10, 1.0, 1.0, norms | {"layer10.forward.b_h": 9.0}) for s in (1, 2)]
    steps, values = layer_norms(reports, 2)
    assert steps.tolist() == [1, 2]
    np.testing.assert_allclose(values, [[5, 5], [5, 5]])
    assert layer_norms([], 2)[1].shape == (0, 2)


def small_run(folder: Path, language: str = "en", epochs: int = 2) -> Run:
    text = TEXTS[language]
    config = TrainConfig(
        ModelConfig(cell="lstm", hidden_size=4, num_layers=2, initialisation="uniform"),
        batch_size=2,
        num_steps=10,
        epochs=epochs,
        optimizer="adam",
        learning_rate=0.01,
        device="cpu",
    )
    run = Run.create(config, Corpus(f"cats-{language}", text, text[:50]), folder)
    execution = Execution.resume(run)
    execution.advance(execution.trainer.total_steps)
    return run


def test_a_study_is_of_the_runs_own_checkpoints(tmp_path: Path) -> None:
    """At every checkpoint, layer by layer: the quantiles of the probe's signals, the differences and the reach."""
    run = small_run(tmp_path / "run")
    made = study(str(run.folder))
    assert list(made.steps) == run.checkpoint_steps()
    assert made.num_layers == 2
    _texts, X, Y = windows_of(run.corpus)
    for k, step in enumerate(made.steps):
        model, recorded = load_model(run, step), run.recording(step)
        assert recorded is not None
        np.testing.assert_allclose(made.differences[k], differences_of(model, X))
        for layer in (1, 2):
            expected = geometric_mean(gradient_by_lag(model, X, Y, layer).H)
            np.testing.assert_allclose(made.reach[k, layer - 1], expected)
            for name in recorded.names:
                quantiles = np.quantile(recorded.signal(name, layer), QUANTILES)
                np.testing.assert_allclose(made.quantiles[name][k, layer - 1], quantiles, atol=1e-6)
    total = np.array([report.norm_before for report in run.reports() if isinstance(report, StepReport)])
    assert made.norms.shape == (len(total), 2)
    assert (np.hypot(*made.norms.T) < total).all()  # the output layer has the rest


def test_what_ships_is_the_study_of_each_languages_run(tmp_path: Path) -> None:
    """Under the language's name, in single precision; it comes back as it was."""
    runs = [small_run(tmp_path / language, language, 1) for language in TEXTS]
    ship(tmp_path / "shipped", runs)
    for language, run in zip(TEXTS, runs, strict=True):
        with (tmp_path / "shipped" / f"{language}.npz").open("rb") as file:
            read = LayerStudy.load(file)
        made = study(str(run.folder))
        assert (read.cell, read.steps) == (made.cell, made.steps)
        assert read.norm_steps.tolist() == made.norm_steps.tolist()
        for name in ("differences", "reach", "norms"):
            np.testing.assert_allclose(getattr(read, name), getattr(made, name), rtol=1e-6)
        assert read.quantiles.keys() == made.quantiles.keys()
        for name, values in made.quantiles.items():
            np.testing.assert_allclose(read.quantiles[name], values, rtol=1e-6, atol=1e-9)


def test_a_damaged_study_is_refused(tmp_path: Path) -> None:
    """In words for people, whatever is wrong with the file."""
    whole = study(str(small_run(tmp_path / "run", epochs=1).folder)).to_bytes()
    for data in (b"", b"no study", whole[: len(whole) // 2]):
        with pytest.raises(InputError, match="the study cannot be read"):
            LayerStudy.load(io.BytesIO(data))


def test_a_run_without_a_checkpoint_has_no_study(tmp_path: Path) -> None:
    """It has not begun."""
    config = TrainConfig(ModelConfig(hidden_size=3), batch_size=2, num_steps=5)
    run = Run.create(config, Corpus("cats", TEXTS["en"], ""), tmp_path / "run")
    with pytest.raises(InputError, match="no checkpoint yet"):
        study(str(run.folder))


def test_the_lag_of_a_share_is_the_first_that_reaches_it() -> None:
    """By hand; all of it lies within the last lag, and where all is at lag 0 that is the answer."""
    reach = np.array([[4.0, 3.0, 2.0, 1.0], [1.0, 0.0, 0.0, 0.0]])
    assert lag_of_share(reach, 0.4).tolist() == [0, 0]
    assert lag_of_share(reach, 0.69).tolist() == [1, 0]
    assert lag_of_share(reach, 1.0).tolist() == [3, 0]
    assert math.isclose(float(reach[0].sum()), 10)


def test_the_cost_of_a_step_has_all_that_training_keeps() -> None:
    """Four numbers for each parameter (itself, its gradient and Adam's two moments) and the states of every step."""
    small, deep = cost(1, 8), cost(3, 8)
    for measured in (small, deep):
        config = ModelConfig(cell="lstm", hidden_size=8, num_layers=measured.layers)
        assert measured.parameters == config.parameter_count(COST_VOCABULARY)
        states = measured.layers * 6 * 8 * Setting("").T * Setting("").B
        assert measured.bytes > 4 * (4 * measured.parameters + states)
        assert 0 < measured.seconds < 10
        assert torch.__version__ in measured.machine
    assert deep.bytes > small.bytes


def test_live_bytes_count_a_memory_once() -> None:
    """A view adds nothing; what is deleted is gone."""
    before = live_bytes()
    tensor = torch.zeros(1000, dtype=torch.float32)
    views = [tensor[:10], tensor.view(10, 100)]
    assert live_bytes() - before == 4000
    del tensor, views
    assert live_bytes() == before


def test_what_ships_of_the_cost_is_what_was_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every depth at every size, with the machine's name, and read back as it was written."""
    measured = [Cost(**size, parameters=1, seconds=0.5, bytes=8, machine="here") for size in cost_sizes()]
    monkeypatch.setattr("rnnviz.nn.deep.cost", lambda layers, units: Cost(layers, units, 1, 0.5, 8, "here"))
    ship_costs(tmp_path)
    monkeypatch.setattr("rnnviz.analysis.deep.SHIPPED", tmp_path)
    assert shipped_costs() == measured
