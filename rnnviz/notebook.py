"""Runs and traces in a notebook: curves and gates below the cell, which move while a model trains.

Each picture is a Plotly FigureWidget. anywidget carries it into JupyterLab, and is made for VS Code and Colab, which
were not tried. It is updated in place: it keeps its zoom and does not blink, as an output that is displayed anew would.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go

from rnnviz.cells import cell_of
from rnnviz.config import TrainConfig
from rnnviz.errors import InputError
from rnnviz.figures.curves import gradient_norm_figure, perplexity_figure
from rnnviz.figures.gates import Order, gates_figure
from rnnviz.figures.kit import Figure
from rnnviz.figures.module_trace import ModuleTrace
from rnnviz.i18n import SOURCE, Translate, match_language, translator
from rnnviz.runs.folder import Run
from rnnviz.runs.follower import Follower
from rnnviz.runs.recording import Trace
from rnnviz.runs.reports import EpochReport, GlobalNorms, Report, StepReport
from rnnviz.text.corpora import Corpus, corpus_of, default_probe

if TYPE_CHECKING:
    from rnnviz.nn.training import Trainer

REFRESH_SECONDS = 0.5
_HEIGHTS = (300, 260, 420)  # of perplexity, gradient norm and gates, in pixels
_MOST_CHARACTERS = 60  # that fit side by side


def show(
    shown: Run | Trace | ModuleTrace,
    *,
    signal: str | None = None,
    layer: int = 1,
    direction: str = "forward",
    batch: int = 0,
    labels: Sequence[str] | None = None,
    language: str = SOURCE,
) -> None:
    """Show a run's curves and its newest recording, a trace, or a module's trace below the cell of a notebook.

    `signal` is one of the trace's names, such as "Z" for the update gate, or in a module's trace its name in words; it
    is the cell's main one by default. In a module's trace `batch` says which sequence, and `labels` are the names of
    its steps, such as the tokens that were read. `language` is "en" or "zh". Raises InputError for a signal, a layer, a
    direction or a sequence that the trace does not have, for labels that do not fit, and where anywidget is missing.
    """
    _ = translator(match_language(language))
    if isinstance(shown, ModuleTrace):
        figure = shown.figure(
            signal or shown.record.main, batch=batch, labels=labels, layer=layer, direction=direction, language=language
        )
        figures: list[Any] = [figure]
    else:
        trace = shown if isinstance(shown, Trace) else shown.recording()
        figures = [] if isinstance(shown, Trace) else _curves_of(shown, _)
        if trace is not None:
            figures.append(_gates(trace, signal, layer, direction, "similarity", _))
    _display([_widget(figure, height) for figure, height in zip(figures, _HEIGHTS[-len(figures) :], strict=True)])


def train_live(
    config: TrainConfig, corpus: Corpus | None = None, *, signal: str | None = None, language: str = SOURCE
) -> Trainer:
    """Train a model below the cell of a notebook, and return its trainer, whose `model` has been trained.

    Perplexity, gradient norm and a signal over the probe text move while it trains. `corpus` is the
    configuration's by default. The numbers are those of `rnnviz.train`. Like the command it uses one thread unless
    OMP_NUM_THREADS is set: more gain little, and lose much when other programs run. Raises InputError as `show` does.
    """
    from rnnviz.nn.execution import in_one_thread
    from rnnviz.nn.tracing import trace
    from rnnviz.nn.training import Trainer

    _ = translator(match_language(language))
    corpus = corpus_of(config) if corpus is None else corpus
    trainer = Trainer(config, corpus)
    probe = config.probe or default_probe(corpus)
    epochs: list[EpochReport] = []
    norms = GlobalNorms.of(())

    def figures() -> list[Figure]:
        recorded = trace(trainer.model, corpus.vocabulary, probe)
        curves = _curves(config, len(corpus.vocabulary), trainer.steps_per_epoch, epochs, norms, _)
        return [*curves, _gates(recorded, signal, 1, "forward", "index", _)]  # by index, so that no row moves

    widgets = [_widget(figure, height) for figure, height in zip(figures(), _HEIGHTS, strict=True)]
    _display(widgets)
    with in_one_thread():
        while not trainer.finished:
            reports = _advance(trainer)
            epochs += [report for report in reports if isinstance(report, EpochReport)]
            norms += GlobalNorms.of(report for report in reports if isinstance(report, StepReport))
            for widget, figure in zip(widgets, figures(), strict=True):
                _redraw(widget, figure)
    if trainer.failure:
        print(InputError(_(trainer.failure.message), **trainer.failure.values))
    return trainer


def _advance(trainer: Trainer) -> list[Report]:
    """Train until the pictures are due again, for one piece at least."""
    due = time.monotonic() + REFRESH_SECONDS
    reports = [*trainer.piece()]
    while not trainer.finished and time.monotonic() < due:
        reports += trainer.piece()
    return reports


def _curves_of(run: Run, translate: Translate) -> list[Figure]:
    follower = Follower(run)
    story = follower.story()
    size = len(run.corpus.vocabulary)
    return _curves(run.config, size, follower.steps_per_epoch, story.epochs, story.norms, translate)


def _curves(
    config: TrainConfig,
    vocab_size: int,
    steps_per_epoch: int,
    epochs: Sequence[EpochReport],
    norms: GlobalNorms,
    translate: Translate,
) -> list[Figure]:
    ahead = config.reads_ahead
    return [
        perplexity_figure(epochs, vocab_size, config.epochs, translate, reads_ahead=ahead),
        gradient_norm_figure(norms, config.clip, steps_per_epoch, config.epochs, translate),
    ]


def _gates(trace: Trace, signal: str | None, layer: int, direction: str, order: Order, translate: Translate) -> Figure:
    """The heatmap of one signal, with as many characters below it as fit."""
    signal = signal or cell_of(trace).main
    for name, value, allowed in (
        ("signal", signal, trace.names),
        ("layer", layer, range(1, trace.num_layers + 1)),
        ("direction", direction, trace.directions),
    ):
        if value not in allowed:
            raise InputError(
                "{name} is {value}; allowed: {allowed}", name=name, value=value, allowed=", ".join(map(str, allowed))
            )
    figure = gates_figure(trace, signal, layer, direction, order, translate)
    every = slice(None, None, -(-len(trace.text) // _MOST_CHARACTERS))
    axis = figure["layout"]["xaxis"]
    axis |= {"tickvals": axis["tickvals"][every], "ticktext": axis["ticktext"][every]}
    return figure


def _widget(figure: Figure, height: int) -> Any:
    class Whole(go.FigureWidget):  # type: ignore[misc]  # plotly has no types
        """One that is sent when it is complete.

        Plotly sends it empty and then its data; a busy browser draws it before they come, and leaves it empty.
        """

        complete = False

        def open(self) -> None:
            if self.complete:
                super().open()

    try:
        widget = Whole(go.Figure(figure).update_layout(height=height, template="plotly_white", uirevision="same"))
    except ImportError as error:
        raise InputError("a picture in a notebook needs anywidget: pip install anywidget") from error
    widget.complete = True
    widget.open()
    return widget


def _redraw(widget: Any, figure: Figure) -> None:
    """Put a newer figure in the place of a widget's."""
    with widget.batch_update():
        widget.update_layout(figure["layout"])
        for drawn, newer in zip(widget.data, figure["data"], strict=False):
            drawn.update(newer)
    if new := figure["data"][len(widget.data) :]:  # the held-out curve begins with the first epoch
        widget.add_traces(new)
    widget._repr_mimebundle_()  # puts it into the widget's state as well, for a browser that draws it only now


def _display(widgets: Sequence[Any]) -> None:
    from IPython.display import display

    display(*widgets)
