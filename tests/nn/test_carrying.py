"""Measurements of carrying and detaching agree with torch: windows, nodes and torch's own errors."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from rnnviz.config import ModelConfig, TrainConfig
from rnnviz.errors import InputError
from rnnviz.nn.carrying import WINDOWS, count_nodes, evaluate_windows, graph_growth, reset_perplexities
from rnnviz.nn.execution import Execution, load_model
from rnnviz.nn.training import evaluate, perplexity
from rnnviz.runs.folder import Run
from rnnviz.text.corpora import DATA, Corpus

TINY = Run.open(DATA / "tiny-tanh")


@pytest.mark.parametrize("num_steps", [1, 2, 7, 24, 99, 200])
def test_windows_are_read_one_by_one_from_zero(num_steps: int) -> None:
    """The loss is the sum over the windows, each evaluated alone, and every character is scored once."""
    model, ids = load_model(TINY), TINY.corpus.vocabulary.encode(TINY.corpus.training[:100])
    whole = evaluate_windows(model, ids, num_steps)
    alone = [evaluate(model, ids[start : start + num_steps + 1]) for start in range(0, 99, num_steps)]
    assert whole.characters == 99
    assert whole.nats == pytest.approx(sum(part.nats for part in alone), rel=1e-5)


def test_carrying_the_state_lowers_the_perplexity() -> None:
    """Carrying the state gives the whole text's perplexity; forgetting costs something, least in the longest window."""
    training, held_out = reset_perplexities(str(TINY.folder))
    assert held_out is not None
    for text, resets in ((TINY.corpus.training[:4000], training), (TINY.corpus.held_out, held_out)):
        carried, by_window = resets.carried, resets.by_window
        whole = evaluate(load_model(TINY), TINY.corpus.vocabulary.encode(text))
        assert carried == pytest.approx(perplexity(whole.nats, whole.characters))
        assert tuple(by_window) == WINDOWS
        assert carried < by_window[64] == min(by_window.values())
        assert by_window[1] > 1.2 * carried


@pytest.mark.parametrize("held_out", ["", "a", "xyz"])
def test_nothing_held_out_that_can_be_scored_has_no_perplexity(tmp_path: Path, held_out: str) -> None:
    """No text, a single character, or characters that the vocabulary lacks."""
    config = TrainConfig(ModelConfig(cell="rnn", hidden_size=3), batch_size=2, num_steps=5, epochs=1)
    run = Run.create(config, Corpus("test", "abcdef" * 9, held_out), tmp_path / "run")
    Execution.resume(run)
    assert reset_perplexities(str(run.folder), (1, 2))[1] is None


def test_the_graph_grows_only_without_detach() -> None:
    """It grows by the same number of nodes at every step, and backward takes longer."""
    growth = graph_growth(str(TINY.folder), steps=12)
    assert len(set(growth.nodes["detached"])) == 1
    assert growth.nodes["attached"][0] == growth.nodes["detached"][0]
    assert set(np.diff(growth.nodes["attached"])) == {growth.nodes["attached"][1] - growth.nodes["attached"][0]}
    assert growth.nodes["attached"][-1] > 8 * growth.nodes["detached"][-1]
    kept, detached = (np.median(growth.milliseconds[way][-4:]) for way in ("attached", "detached"))
    assert kept > 1.5 * detached


def test_a_large_model_takes_fewer_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step whose graph is kept walks through all before it, so the work grows with the square of their number."""
    parameters = TINY.config.model.parameter_count(len(TINY.corpus.vocabulary))
    monkeypatch.setattr("rnnviz.nn.carrying._GRAPH_WORK", parameters * (1 + 2 + 3 + 4 + 5))
    assert len(graph_growth(str(TINY.folder)).nodes["attached"]) == 5


def test_the_errors_are_torchs_own() -> None:
    """A second backward meets a freed graph; if the graph is retained, it meets a changed weight."""
    errors = graph_growth(str(TINY.folder), steps=1).errors
    assert errors["second"].startswith("Trying to backward through the graph a second time")
    assert "modified by an inplace operation" in errors["update"]


def test_nodes_are_counted_once() -> None:
    """x² + x² has four nodes: the two squares, their sum, and the leaf's accumulator."""
    x = torch.ones(1, requires_grad=True)
    y = x * x
    assert count_nodes(y + y) == 3
    assert count_nodes(x * x + x * x) == 4


def test_a_run_without_checkpoint_is_reported(tmp_path: Path) -> None:
    """It raises an InputError."""
    shutil.copytree(TINY.folder, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    (tmp_path / "run" / "checkpoints").mkdir()
    with pytest.raises(InputError, match="no checkpoint"):
        reset_perplexities(str(tmp_path / "run"))
