"""Work that would exceed a worker's memory is refused before it begins."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from rnnviz.config import ModelConfig, TrainConfig
from rnnviz.engine.settings import HOSTED, MIB
from rnnviz.errors import InputError
from rnnviz.nn import carrying, execution, gradients, memory
from rnnviz.nn.model import BatchLoss, LanguageModel
from rnnviz.runs.folder import Run
from rnnviz.text.corpora import Corpus

SMALL = TrainConfig(ModelConfig(hidden_size=4), batch_size=2, num_steps=4, epochs=1, predict_every=0, device="cpu")


@pytest.fixture(autouse=True)
def _own_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("RNNVIZ_HOME", str(tmp_path))
    execution._live.clear()
    yield
    execution._live.clear()
    memory.set_limit(None)


def trained(characters: int) -> Run:
    """A run after one step, whose text has so many different characters."""
    text = "".join(chr(0x4E00 + n % characters) for n in range(characters + 200))
    run = Run.create(SMALL, Corpus("test", text, text[:9]))
    execution.advance(str(run.folder), 1)
    execution.pause(str(run.folder))
    return run


def allow(mib: int) -> None:
    """Allow so much more memory than this process has now."""
    memory.set_limit(psutil.Process().memory_info().rss + mib * MIB)


def test_work_that_does_not_fit_is_reported() -> None:
    """Without a limit, as in a notebook, any work begins."""
    memory.require(2**60)
    allow(100)
    memory.require(50 * MIB)
    with pytest.raises(InputError, match=r"this would need about 200 MB of memory; the worker has \d+ MB left"):
        memory.require(200 * MIB)


@pytest.mark.parametrize("function", [carrying.graph_growth, gradients.study])
def test_a_measurement_of_a_large_vocabulary_is_refused(function: object) -> None:
    """A text with few characters is measured as before."""
    small, large = trained(30), trained(20_000)
    allow(150)
    assert function(str(small.folder))  # type: ignore[operator]
    with pytest.raises(InputError, match="this would need about"):
        function(str(large.folder))  # type: ignore[operator]


def test_reading_with_a_large_model_is_refused() -> None:
    """The weights alone are copied many times on their way to the page."""
    run = trained(20_000)
    allow(4)
    for ask in (lambda: execution.read(str(run.folder), "abc"), lambda: execution.trace(str(run.folder), "abc")):
        with pytest.raises(InputError, match="this would need about"):
            ask()
    allow(600)
    assert execution.read(str(run.folder), "abc").trace.text == "abc"


def test_windows_are_scored_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The logits of four thousand windows at once would be too many; the sum is the same."""
    model = LanguageModel(ModelConfig(hidden_size=4), 30)
    ids = Corpus("test", "abcdefghij" * 40, "a").vocabulary.encode("abcdefghij" * 40)
    expected = carrying.evaluate_windows(model, ids, 4)
    largest: list[int] = []
    loss = LanguageModel.loss

    def note(self: LanguageModel, X: object, *rest: object) -> object:
        largest.append(X.numel() * 30)  # type: ignore[attr-defined]
        return loss(self, X, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(LanguageModel, "loss", note)
    monkeypatch.setattr(carrying, "_LARGEST_LOGITS", 10 * 4 * 30)
    scored = carrying.evaluate_windows(model, ids, 4)
    assert max(largest) <= 10 * 4 * 30
    assert scored.nats == pytest.approx(expected.nats)
    assert scored.characters == expected.characters
    assert isinstance(scored, BatchLoss)


def test_estimates_grow_with_everything() -> None:
    """They grow with units, layers, directions, characters and the vocabulary."""
    base = ModelConfig(hidden_size=64)
    for estimate in (memory.of_reading, memory.of_graph):
        least = estimate(base, 100, 10)
        assert estimate(base, 1000, 10) > least
        assert estimate(base, 100, 100) > least
        for changes in ({"hidden_size": 128}, {"num_layers": 2}, {"bidirectional": True}):
            assert estimate(replace(base, **changes), 100, 10) > least


def test_what_a_host_allows_fits_its_workers() -> None:
    """The largest models of a hosted server fit into a worker of 1.5 GB."""
    model = ModelConfig(hidden_size=HOSTED.units, num_layers=HOSTED.layers)
    assert memory.of_graph(model, 60, 24 * 64) < 1100 * MIB
    assert memory.of_graph(ModelConfig(hidden_size=32), HOSTED.vocabulary, 24 * 64) < 1100 * MIB
