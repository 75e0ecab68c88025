"""Pictures in a notebook: what they show, that they move, and the notebooks that introduce the library."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import comm
import nbformat
import pytest
import torch
from nbclient import NotebookClient
from torch import Tensor, nn

import rnnviz
from rnnviz import notebook
from rnnviz.config import ModelConfig, TrainConfig
from rnnviz.errors import InputError
from rnnviz.runs.folder import Run
from rnnviz.runs.reports import EpochReport, StepReport
from rnnviz.scripts import plotly_file
from rnnviz.text.corpora import DATA, corpus_of

NOTEBOOKS = sorted((Path(__file__).resolve().parent.parent / "notebooks").glob("*.ipynb"))
WIDGET = "application/vnd.jupyter.widget-view+json"
CONFIG = TrainConfig(
    model=ModelConfig(hidden_size=4, initialisation="uniform"), corpus="sums", max_chars=300, batch_size=4,
    num_steps=10, epochs=3, device="cpu", predict_every=0,
)  # fmt: skip


@pytest.fixture
def displayed(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The widget of each cell."""
    shown: list[Any] = []
    monkeypatch.setattr(notebook, "_display", shown.append)
    return shown


def figures_of(pictures: Any) -> list[dict[str, Any]]:
    """The figures that a browser draws, however late it is, since they are the widget's state."""
    figures: list[dict[str, Any]] = json.loads(pictures.figures)
    return figures


def test_a_training_moves_the_pictures_and_is_the_same(displayed: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Three pictures are displayed before the first step. In the end they show what `train` reports.

    It takes one thread, since many small products are slow in several, and leaves torch as it was.
    """
    redrawn: list[int] = []
    threads: set[int] = set()
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)

    def note(change: Any) -> None:
        redrawn.append(len(json.loads(change["new"])))
        threads.add(torch.get_num_threads())

    def display(pictures: Any) -> None:
        displayed.append(pictures)
        pictures.observe(note, names="figures")

    monkeypatch.setattr(notebook, "_display", display)
    monkeypatch.setattr(notebook, "REFRESH_SECONDS", 0.0)  # so that every step is drawn
    torch.set_num_threads(2)
    try:
        trainer = rnnviz.train_live(CONFIG)
        assert (threads, torch.get_num_threads()) == ({1}, 2)
    finally:
        torch.set_num_threads(1)
    assert len(redrawn) >= trainer.total_steps
    assert set(redrawn) == {3}
    (pictures,) = displayed
    perplexity, norm, gates = figures_of(pictures)
    reports = list(rnnviz.train(CONFIG, corpus_of(CONFIG)))
    epochs = [report for report in reports if isinstance(report, EpochReport)]
    lines = {line.get("name"): line["y"] for line in (*perplexity["data"], *norm["data"])}
    assert lines["training"] == [report.perplexity for report in epochs]
    assert lines["held-out"] == [report.held_out_perplexity for report in epochs]
    assert lines["before"] == [report.norm_before for report in reports if isinstance(report, StepReport)]
    last = rnnviz.trace(trainer.model, trainer.corpus.vocabulary, trainer.corpus.training[:48]).signal("Z")
    assert gates["data"][0]["z"] == last.T.tolist()


def test_a_run_and_a_trace_are_shown(displayed: list[Any]) -> None:
    """A run has curves and gates, in the language that is asked for; a trace has the signal that is asked for."""
    run = Run.open(DATA / "example-en")
    rnnviz.show(run, language="zh")
    recording = run.recording()
    assert recording is not None
    rnnviz.show(recording, signal="R")
    of_run, of_trace = map(figures_of, displayed)
    assert [figure["layout"]["yaxis"]["title"]["text"] for figure in of_run] == ["困惑度", "梯度范数 ‖g‖", "单元"]
    assert [figure["layout"]["height"] for figure in of_run] == [300, 260, 420]
    names = [line["name"] for line in of_run[0]["data"]]
    assert names[1:6] == ["一元", *(f"{n} 元" for n in (2, 3, 4, 5))]
    (gates,) = of_trace
    assert gates["data"][0]["colorbar"]["title"]["text"] == "Rₜ"
    assert len(gates["layout"]["xaxis"]["ticktext"]) <= 60


def test_a_modules_trace_is_shown(displayed: list[Any]) -> None:
    """The signal is asked for by symbol or name and is the cell's main one by default; so are sequence and labels."""
    lstm = nn.LSTM(3, 4, num_layers=2, bidirectional=True)
    (trace,) = rnnviz.trace_module(lstm, torch.randn(5, 2, 3)).values()
    rnnviz.show(trace)
    where: dict[str, Any] = {"layer": 2, "direction": "backward", "batch": 1, "labels": list("abcde"), "language": "zh"}
    for signal in ("O", "output gate"):
        rnnviz.show(trace, signal=signal, **where)
    ((main,), *output) = map(figures_of, displayed)
    assert main["data"][0]["colorbar"]["title"]["text"] == "Fₜ"
    for (figure,) in output:
        assert figure == output[0][0]
        assert figure["layout"]["title"]["text"] == "LSTM: Oₜ · 输出门 · 第 2 层 · 反向"
        assert figure["layout"]["xaxis"]["ticktext"] == list("abcde")
    with pytest.raises(InputError, match="LSTM has no signal 'Z'"):
        rnnviz.show(trace, signal="Z")


class EncoderAndDecoder(nn.Module):
    """Calls its decoder twice, each time for a sequence of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.LSTM(3, 4), nn.GRU(3, 4)

    def forward(self, X: Tensor) -> None:
        _, (h, _c) = self.encoder(X)
        self.decoder(X[:2], h)
        self.decoder(X[:3], h)


def test_all_traces_of_a_model_are_shown(displayed: list[Any]) -> None:
    """One below the other, each with its name and the main signal of its cell, or the one that is asked for."""
    traces = rnnviz.trace_module(EncoderAndDecoder(), torch.randn(5, 2, 3))
    rnnviz.show(traces)
    rnnviz.show(traces, signal="H")
    main, states = ([figure["layout"]["title"]["text"] for figure in figures_of(pictures)] for pictures in displayed)
    assert main == ["encoder: Fₜ · forget gate", "decoder: Zₜ · update gate", "decoder#2: Zₜ · update gate"]
    assert states == [f"{name}: Hₜ · hidden state" for name in traces]
    with pytest.raises(InputError, match="encoder has no signal 'Z'"):
        rnnviz.show(traces, signal="Z")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"signal": "F"}, "signal is F; allowed: R, Z, H_tilde, H"),
        ({"layer": 2}, "layer is 2; allowed: 1"),
        ({"direction": "backward"}, "direction is backward; allowed: forward"),
    ],
)
def test_what_a_trace_does_not_have_is_refused(displayed: list[Any], asked: dict[str, Any], message: str) -> None:
    """The error says what is allowed, and nothing is displayed."""
    with pytest.raises(InputError) as raised:
        rnnviz.show(Run.open(DATA / "example-en"), **asked)
    assert str(raised.value) == message
    assert displayed == []


def test_pictures_are_sent_at_once(displayed: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Their first message has all of it, and a script that a browser starts at once: plotly.js is beside it.

    anywidget waits two seconds for the script. After that it throws away what is sent, and the pictures never move.
    """
    opened: list[dict[str, Any]] = []
    create = comm.create_comm

    def note(**arguments: Any) -> Any:
        opened.append(arguments["data"]["state"])
        return create(**arguments)

    monkeypatch.setattr(comm, "create_comm", note)
    rnnviz.show(Run.open(DATA / "example-en"))
    (state,) = [state for state in opened if "_esm" in state]
    assert len(json.loads(state["figures"])) == 3
    assert len(state["_esm"]) < 5_000
    assert state["plotly"] == plotly_file().read_text(encoding="utf-8")


def test_without_anywidget_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing else needs it, so it is an extra of our package."""
    monkeypatch.setitem(sys.modules, "anywidget", None)
    with pytest.raises(InputError, match="pip install anywidget"):
        rnnviz.show(Run.open(DATA / "example-en"))


def test_both_notebooks_have_the_same_steps() -> None:
    """They are for two languages, and neither is stored with its results."""
    books = [nbformat.read(path, as_version=4) for path in NOTEBOOKS]
    assert len(books) == 2
    assert len({tuple(cell.cell_type for cell in book.cells) for book in books}) == 1
    assert [cell for book in books for cell in book.cells if cell.get("outputs")] == []


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_runs(path: Path) -> None:
    """Every cell succeeds, and those that show something have one widget with all their pictures."""
    book = nbformat.read(path, as_version=4)
    NotebookClient(book, timeout=120).execute()
    outputs = [cell.outputs for cell in book.cells if cell.cell_type == "code"]
    views = [sum(WIDGET in output.get("data", {}) for output in cell) for cell in outputs]
    assert views == [0, 1, 0, 1, 0, 0, 1, 0, 1]
