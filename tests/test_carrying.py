"""What is measured of carrying and detaching is what torch does: windows, nodes and torch's own errors."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from rnnviz.carrying import WINDOWS, count_nodes, evaluate_windows, graph_growth, reset_perplexities
from rnnviz.errors import InputError
from rnnviz.execution import load
from rnnviz.runs import Run
from rnnviz.text import DATA
from rnnviz.training import evaluate, perplexity

TINY = Run.open(DATA / "tiny-tanh")


@pytest.mark.parametrize("num_steps", [1, 2, 7, 24, 99, 200])
def test_windows_are_read_one_by_one_from_zero(num_steps: int) -> None:
    """The loss is the sum over the windows, each evaluated alone; every character is scored once."""
    model, ids = load(TINY), TINY.corpus.vocabulary.encode(TINY.corpus.training[:100])
    whole = evaluate_windows(model, ids, num_steps)
    alone = [evaluate(model, ids[start : start + num_steps + 1]) for start in range(0, 99, num_steps)]
    assert whole.characters == 99
    assert whole.nats == pytest.approx(sum(part.nats for part in alone), rel=1e-5)


def test_memory_is_worth_something() -> None:
    """Carried on, the state gives the whole text's perplexity; forgetting costs, least in the longest window."""
    carried, by_window = reset_perplexities(str(TINY.folder))
    whole = evaluate(load(TINY), TINY.corpus.vocabulary.encode(TINY.corpus.training[:4000]))
    assert carried == pytest.approx(perplexity(whole.nats, whole.characters))
    assert tuple(by_window) == WINDOWS
    assert carried < by_window[64] == min(by_window.values())
    assert by_window[1] > 1.2 * carried


def test_without_detach_the_graph_grows_and_with_it_stays() -> None:
    """By the same number of nodes at every step, and backward takes longer."""
    growth = graph_growth(str(TINY.folder), steps=12)
    assert len(set(growth.nodes["detached"])) == 1
    assert growth.nodes["kept"][0] == growth.nodes["detached"][0]
    assert set(np.diff(growth.nodes["kept"])) == {growth.nodes["kept"][1] - growth.nodes["kept"][0]}
    assert growth.nodes["kept"][-1] > 8 * growth.nodes["detached"][-1]
    kept, detached = (np.median(growth.milliseconds[way][-4:]) for way in ("kept", "detached"))
    assert kept > 1.5 * detached


def test_the_errors_are_torchs_own() -> None:
    """A freed graph on the second backward, a changed weight where the graph was retained."""
    errors = graph_growth(str(TINY.folder), steps=1).errors
    assert errors["second"].startswith("Trying to backward through the graph a second time")
    assert "modified by an inplace operation" in errors["update"]


def test_nodes_are_counted_once() -> None:
    """x² + x² has the two squares, their sum, and the leaf's accumulator."""
    x = torch.ones(1, requires_grad=True)
    y = x * x
    assert count_nodes(y + y) == 3
    assert count_nodes(x * x + x * x) == 4


def test_a_run_without_checkpoint_is_told(tmp_path: Path) -> None:
    """As an error for people."""
    shutil.copytree(TINY.folder, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    (tmp_path / "run" / "checkpoints").mkdir()
    with pytest.raises(InputError, match="no checkpoint"):
        reset_perplexities(str(tmp_path / "run"))
