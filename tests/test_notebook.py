"""Pictures in a notebook: what they show, that they move, and the notebooks that introduce the library."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import comm
import nbformat
import pytest
import torch
from nbclient import NotebookClient
from plotly import missing_anywidget
from torch import nn

import rnnviz
from rnnviz import notebook
from rnnviz.config import ModelConfig, TrainConfig
from rnnviz.errors import InputError
from rnnviz.runs.folder import Run
from rnnviz.runs.reports import EpochReport, StepReport
from rnnviz.text.corpora import DATA, corpus_of

NOTEBOOKS = sorted((Path(__file__).resolve().parent.parent / "notebooks").glob("*.ipynb"))
WIDGET = "application/vnd.jupyter.widget-view+json"
CONFIG = TrainConfig(
    model=ModelConfig(hidden_size=4, initialisation="uniform"), corpus="sums", max_chars=300, batch_size=4,
    num_steps=10, epochs=3, device="cpu", predict_every=0,
)  # fmt: skip


@pytest.fixture
def displayed(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Everything that is displayed below the cell."""
    shown: list[Any] = []
    monkeypatch.setattr(notebook, "_display", shown.extend)
    return shown


def test_a_training_moves_the_pictures_and_is_the_same(displayed: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Three pictures are displayed before the first step. In the end they show what `train` reports.

    It takes one thread, since many small products are slow in several, and leaves torch as it was.
    """
    redrawn: list[int] = []
    threads: set[int] = set()
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    redraw = notebook._redraw

    def note(widget: Any, figure: Any) -> None:
        assert len(displayed) == 3
        redraw(widget, figure)
        redrawn.append(id(widget))
        threads.add(torch.get_num_threads())

    monkeypatch.setattr(notebook, "_redraw", note)
    monkeypatch.setattr(notebook, "REFRESH_SECONDS", 0.0)  # so that every step is drawn
    torch.set_num_threads(2)
    try:
        trainer = rnnviz.train_live(CONFIG)
        assert (threads, torch.get_num_threads()) == ({1}, 2)
    finally:
        torch.set_num_threads(1)
    perplexity, norm, gates = displayed
    assert redrawn.count(id(gates)) >= trainer.total_steps
    reports = list(rnnviz.train(CONFIG, corpus_of(CONFIG)))
    epochs = [report for report in reports if isinstance(report, EpochReport)]
    lines = {line.name: line for line in perplexity.data}
    assert list(lines["training"].y) == [report.perplexity for report in epochs]
    assert list(lines["held-out"].y) == [report.held_out_perplexity for report in epochs]
    before = next(line for line in norm.data if line.name == "before")
    assert list(before.y) == [report.norm_before for report in reports if isinstance(report, StepReport)]
    last = rnnviz.trace(trainer.model, trainer.corpus.vocabulary, trainer.corpus.training[:48]).signal("Z")
    assert (gates.data[0].z == last.T).all()
    for figure in displayed:  # a browser that is late draws the widget's state, not what it was told before
        sent = [(line["name"], len(line["x"])) for line in figure._widget_data if "name" in line]
        assert sent == [(line.name, len(line.x)) for line in figure.data if line.name]
    assert (gates._widget_data[0]["z"] == last.T).all()


def test_a_run_and_a_trace_are_shown(displayed: list[Any]) -> None:
    """A run has curves and gates, in the language that is asked for; a trace has the signal that is asked for."""
    run = Run.open(DATA / "example-en")
    rnnviz.show(run, language="zh")
    assert [figure.layout.yaxis.title.text for figure in displayed] == ["困惑度", "梯度范数 ‖g‖", "单元"]
    displayed.clear()
    recording = run.recording()
    assert recording is not None
    rnnviz.show(recording, signal="R")
    (gates,) = displayed
    assert gates.data[0].colorbar.title.text == "Rₜ"
    assert len(gates.layout.xaxis.ticktext) <= 60


def test_a_modules_trace_is_shown(displayed: list[Any]) -> None:
    """The signal is asked for by symbol or name and is the cell's main one by default; so are sequence and labels."""
    lstm = nn.LSTM(3, 4, num_layers=2, bidirectional=True)
    (trace,) = rnnviz.trace_module(lstm, torch.randn(5, 2, 3)).values()
    rnnviz.show(trace)
    where: dict[str, Any] = {"layer": 2, "direction": "backward", "batch": 1, "labels": list("abcde"), "language": "zh"}
    for signal in ("O", "output gate"):
        rnnviz.show(trace, signal=signal, **where)
    main, *output = displayed
    assert main.data[0].colorbar.title.text == "Fₜ"
    for figure in output:
        assert figure.layout.title.text == "LSTM: Oₜ · 输出门 · 第 2 层 · 反向"
        assert figure.layout.xaxis.ticktext == tuple("abcde")
        assert sorted(figure.data[0].z[:, 0]) == sorted(trace.signal("O", 2, "backward")[0, 1])
    with pytest.raises(InputError, match="LSTM has no signal 'Z'"):
        rnnviz.show(trace, signal="Z")


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


def test_a_picture_is_sent_as_a_whole(displayed: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Its first message has all of it. Plotly's own first message is empty, and a busy browser drew nothing else."""
    opened: list[dict[str, Any]] = []
    create = comm.create_comm

    def note(**arguments: Any) -> Any:
        opened.append(arguments["data"]["state"])
        return create(**arguments)

    monkeypatch.setattr(comm, "create_comm", note)
    rnnviz.show(Run.open(DATA / "example-en"))
    states = [state for state in opened if "_widget_data" in state]
    assert [state["_widget_layout"].get("height") for state in states] == [300, 260, 420]
    assert [len(state["_widget_data"]) for state in states] == [len(figure.data) for figure in displayed]


def test_without_anywidget_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plotly raises an ImportError, which does not name our package."""

    monkeypatch.setattr("plotly.graph_objects.FigureWidget", missing_anywidget.FigureWidget)
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
    """Every cell succeeds; the training has three pictures, each trace one, and the run three."""
    book = nbformat.read(path, as_version=4)
    NotebookClient(book, timeout=120).execute()
    outputs = [cell.outputs for cell in book.cells if cell.cell_type == "code"]
    views = [sum(WIDGET in output.get("data", {}) for output in cell) for cell in outputs]
    assert views == [0, 3, 0, 1, 0, 0, 1, 0, 3]
