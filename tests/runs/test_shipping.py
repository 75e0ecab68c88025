"""A shipped run has enough to look at it and back at its training, and no more."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rnnviz.config import ModelConfig, TrainConfig
from rnnviz.nn.execution import Execution
from rnnviz.nn.training import Trainer
from rnnviz.runs.folder import BEST, Run
from rnnviz.runs.reports import StepReport
from rnnviz.runs.shipping import ship
from rnnviz.text.corpora import Corpus


def test_a_shipped_run_can_be_looked_at(tmp_path: Path) -> None:
    """It has the last weights bit for bit, earlier ones in half precision, no optimiser, and the same reports."""
    corpus = Corpus("abc", "abcabcabc" * 20, "abc")
    config = TrainConfig(ModelConfig(hidden_size=3), batch_size=2, num_steps=5, epochs=2, optimizer="adam")
    run = Run.create(config, corpus, tmp_path / "run")
    trainer = Trainer(config, corpus)
    Execution.start(run, trainer).advance(10**6)
    kept = run.checkpoint_steps()
    shipped = Run.open(ship(run, tmp_path / "shipped", 3).folder)
    assert shipped.checkpoint_steps()[0] == 0
    assert len(shipped.checkpoint_steps()) == 3
    assert set(shipped.checkpoint_steps()) < set(kept)
    for step in shipped.checkpoint_steps():
        for name, weights in shipped.load_checkpoint(step).weights().items():
            assert weights.dtype == np.float16
            np.testing.assert_allclose(weights, run.load_checkpoint(step).weights()[name], rtol=1e-3, atol=1e-6)
    last = shipped.load_checkpoint()
    assert all(name.startswith("weights.") for name in last.arrays)
    for name, weights in last.weights().items():
        np.testing.assert_array_equal(weights, run.load_checkpoint().weights()[name])
    assert shipped.reports() == run.reports()
    assert shipped.recording() is not None
    assert not shipped.has_best
    assert ship(run, tmp_path / "shipped").checkpoint_steps() == []
    with_best = ship(run, tmp_path / "best", best=True)
    for name, weights in with_best.load_checkpoint(BEST).weights().items():
        assert weights.dtype == np.float16
        np.testing.assert_allclose(weights, run.load_checkpoint(BEST).weights()[name], rtol=1e-3, atol=1e-6)
    short = ship(run, tmp_path / "short", steps_told=False).reports()
    assert short == [report for report in run.reports() if not isinstance(report, StepReport)]
    assert 0 < len(short) < len(run.reports())
