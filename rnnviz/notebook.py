"""Runs and traces in a notebook: curves and gates below the cell, which move while a model trains.

The pictures of a cell are one widget, which `ui/static/notebook.js` draws with plotly.js. anywidget carries it into
JupyterLab, and is made for VS Code and Colab, which were not tried. They are updated in place: they keep their zoom and
do not blink, as an output that is displayed anew would.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plotly.io import templates
from plotly.io.json import to_json_plotly

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
from rnnviz.scripts import plotly_file
from rnnviz.text.corpora import Corpus, corpus_of, default_probe
from rnnviz.text.ngram import References, references

if TYPE_CHECKING:
    from rnnviz.nn.training import Trainer

REFRESH_SECONDS = 0.5
_SCRIPT = Path(__file__).resolve().parent / "ui" / "static" / "notebook.js"
_MOST_CHARACTERS = 60  # that fit side by side


def show(
    shown: Run | Trace | ModuleTrace | Mapping[str, ModuleTrace],
    *,
    signal: str | None = None,
    layer: int = 1,
    direction: str = "forward",
    batch: int = 0,
    labels: Sequence[str] | None = None,
    language: str = SOURCE,
) -> None:
    """Show a run's curves and its newest recording, a trace, or the traces of modules below the cell of a notebook.

    `signal` is one of the trace's names, such as "Z" for the update gate, or in a module's trace its name in words; it
    is the cell's main one by default. In a module's trace `batch` says which sequence, and `labels` are the names of
    its steps, such as the tokens that were read. Of all that `trace_module` returns, the traces are shown one below the
    other. `language` is "en" or "zh". Raises InputError for a signal, a layer, a direction or a sequence that a trace
    does not have, for labels that do not fit, and where anywidget is missing.
    """
    _ = translator(match_language(language))
    if isinstance(shown, Trace):
        figures = [_gates(shown, signal, layer, direction, "similarity", _)]
    elif isinstance(shown, Run):
        recording = shown.recording()
        figures = _curves_of(shown, _)
        if recording is not None:
            figures.append(_gates(recording, signal, layer, direction, "similarity", _))
    else:
        figures = [
            _sized(
                trace.figure(
                    signal or trace.record.main,
                    batch=batch,
                    labels=labels,
                    layer=layer,
                    direction=direction,
                    language=language,
                ).to_plotly_json(),
                420,
            )
            for trace in ([shown] if isinstance(shown, ModuleTrace) else shown.values())
        ]
    _display(_pictures(figures))


def train_live(
    config: TrainConfig, corpus: Corpus | None = None, *, signal: str | None = None, language: str = SOURCE
) -> Trainer:
    """Train a model below the cell of a notebook, and return its trainer, whose `model` has been trained.

    Perplexity, gradient norm and a signal over the probe text move while it trains. `corpus` is the
    configuration's by default. Like the command it uses one thread unless OMP_NUM_THREADS is set: more gain little, and
    lose much when other programs run. The numbers are those of `rnnviz.train` with as many threads. Raises InputError
    as `show` does.
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
    compared = _references(config, corpus)

    def figures() -> list[Figure]:
        recorded = trace(trainer.model, corpus.vocabulary, probe)
        curves = _curves(config, len(corpus.vocabulary), trainer.steps_per_epoch, epochs, norms, compared, _)
        return [*curves, _gates(recorded, signal, 1, "forward", "index", _)]  # by index, so that no row moves

    pictures = _pictures(figures())
    _display(pictures)
    with in_one_thread():
        while not trainer.finished:
            reports = _advance(trainer)
            epochs += [report for report in reports if isinstance(report, EpochReport)]
            norms += GlobalNorms.of(report for report in reports if isinstance(report, StepReport))
            pictures.figures = to_json_plotly(figures())
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
    size, compared = len(run.corpus.vocabulary), _references(run.config, run.corpus)
    return _curves(run.config, size, follower.steps_per_epoch, story.epochs, story.norms, compared, translate)


def _references(config: TrainConfig, corpus: Corpus) -> References | None:
    """What the held-out curve is compared with; None where it is not a language model's or there is none."""
    return references(corpus) if config.is_language_model and corpus.held_out else None


def _curves(
    config: TrainConfig,
    vocab_size: int,
    steps_per_epoch: int,
    epochs: Sequence[EpochReport],
    norms: GlobalNorms,
    compared: References | None,
    translate: Translate,
) -> list[Figure]:
    ahead = config.reads_ahead
    perplexity = perplexity_figure(epochs, vocab_size, config.epochs, translate, reads_ahead=ahead, references=compared)
    norm = gradient_norm_figure(norms, config.clip, steps_per_epoch, config.epochs, translate)
    return [_sized(perplexity, 300), _sized(norm, 260)]


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
    return _sized(figure, 420)


def _sized(figure: Figure, height: int) -> Figure:
    """A figure as it is in a notebook: so many pixels high, as wide as there is room, with a zoom that stays."""
    template = templates["plotly_white"].to_plotly_json()
    style = {"height": height, "autosize": True, "template": template, "uirevision": "same"}
    return {"data": figure["data"], "layout": figure["layout"] | style}


def _pictures(figures: Sequence[Figure]) -> Any:
    """The widget of all pictures below a cell; its `figures` may be replaced by as many newer ones."""
    try:
        from anywidget import AnyWidget
        from traitlets import Unicode
    except ImportError as error:
        raise InputError("a picture in a notebook needs anywidget: pip install anywidget") from error

    class Pictures(AnyWidget):
        _esm = _SCRIPT.read_text(encoding="utf-8")
        figures = Unicode().tag(sync=True)  # in Plotly's JSON
        plotly = Unicode().tag(sync=True)  # its source, since a notebook may be anywhere

    return Pictures(figures=to_json_plotly(figures), plotly=plotly_file().read_text(encoding="utf-8"))


def _display(pictures: Any) -> None:
    from IPython.display import display

    display(pictures)
