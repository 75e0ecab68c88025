"""Why a deep network starts slower: one to three layers trained side by side, and three with residuals."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import streamlit as st

from rnnviz.analysis.published import EXPERIMENTS, MARKS
from rnnviz.analysis.shipped_reproduction import shipped
from rnnviz.analysis.side_by_side import (
    STARTS,
    Curve,
    frequency_perplexity,
    left_at,
    shipped_curves,
    start_config,
)
from rnnviz.figures.curves import compared_figure
from rnnviz.figures.deep import depth_colours, notes_points
from rnnviz.figures.kit import Figure
from rnnviz.i18n import quantity
from rnnviz.runs.folder import Run
from rnnviz.text.corpora import Corpus, corpus_in
from rnnviz.ui.frame import Frame
from rnnviz.ui.pictures import picture
from rnnviz.ui.references import levels_of_text
from rnnviz.ui.side_by_side import SideBySide, curves_of, curves_table, shipped_corpus, side_by_side

NOTES = {"1": "lstm", "2": "lstm-deep"}  # the lecture notes' experiments by their number of layers
_frequencies = st.cache_data(frequency_perplexity)


def start(frame: Frame) -> None:
    """The curves that ship or the visitor's own, and the plateau on which deep networks wait."""
    _ = frame.translate
    labels = {name: _("1 layer") if name == "1" else _("{n} layers").format(n=name) for name in STARTS}
    labels["3-residual"] = _("3 layers, residual")
    group = SideBySide("start", labels, start_config, frame.lesson("start_shipped"))

    def draw(runs: Mapping[str, Run], live: bool) -> None:
        if runs:
            curves, corpus = curves_of(runs, live=live), next(iter(runs.values())).corpus
        else:
            curves = shipped_curves(f"start-{frame.language}")
            corpus = shipped_corpus(start_config("1", corpus_in(frame.language)))
        if curves:
            _draw(frame, {labels[name]: curve for name, curve in curves.items()}, corpus)
        else:
            st.caption(_("The curves begin with the first epoch that has ended."))

    side_by_side(frame, group, draw)
    st.subheader(_("In the lecture notes’ setting"))
    st.markdown(frame.lesson("start_notes"))
    _draw_notes(frame)


def notes_curves() -> dict[str, Curve]:
    """The perplexities of one layer and of two in the notes' setting, on the lyrics that come with the app."""
    outcomes = {
        n: next(result.outcomes[0] for result in shipped("notes").results if result.experiment.name == name)
        for n, name in NOTES.items()
    }
    return {n: Curve.of(outcome.epochs) for n, outcome in outcomes.items()}


def _draw_notes(frame: Frame) -> None:
    """One layer and two; the circles are what the notes recorded on their text."""
    _ = frame.translate
    names = {"1": _("1 layer"), "2": _("{n} layers").format(n=2)}
    curves = {names[n]: curve for n, curve in notes_curves().items()}
    experiments, colours = dict(zip(curves, NOTES.values(), strict=True)), depth_colours(list(curves))
    steps = curves[names["1"]].step
    figure = _figure(frame, curves, int(steps[-1]), {}, shipped("notes").plan.corpus)
    for name, experiment in experiments.items():
        recorded = EXPERIMENTS[experiment].perplexity
        figure["data"].append(notes_points(steps[np.array(MARKS) - 1], recorded, name, colours[name], _))
    words = " ".join(_notes_in_words(frame, name, curve, experiments[name]) for name, curve in curves.items())
    picture(
        figure,
        key="start-notes",
        description=words,
        caption=words,
        table={_("epoch"): np.arange(1, len(steps) + 1)} | curves_table(frame, curves),
        height=420,
    )


def _notes_in_words(frame: Frame, name: str, curve: Curve, experiment: str) -> str:
    _ = frame.translate
    return _(
        "{name}: {here} at epoch {epoch}, in the notes {there}; held-out {best} at its best, {last} in the end."
    ).format(
        name=name,
        here=quantity(float(curve.perplexity[MARKS[0] - 1])),
        epoch=MARKS[0],
        there=quantity(EXPERIMENTS[experiment].perplexity[0]),
        best=quantity(float(curve.held_out.min())),
        last=quantity(float(curve.held_out[-1])),
    )


def _draw(frame: Frame, curves: Mapping[str, Curve], corpus: Corpus) -> None:
    _ = frame.translate
    plateau = _frequencies(corpus.training)
    words = " ".join(_in_words(frame, name, curve, plateau) for name, curve in curves.items())
    right = max(int(curve.step[-1]) for curve in curves.values())
    picture(
        _figure(
            frame, curves, right, {_("frequencies alone: {value}").format(value=quantity(plateau)): plateau}, corpus
        ),
        key="start",
        description=words,
        caption=words,
        table=curves_table(frame, curves),
        height=400,
    )


def _figure(
    frame: Frame, curves: Mapping[str, Curve], right: int, marks: Mapping[str, float], corpus: Corpus
) -> Figure:
    colours = depth_colours(list(curves))
    return compared_figure(
        {name: (curve.step, curve.perplexity, colours[name], 2.6) for name, curve in curves.items()},
        right,
        frame.translate("perplexity"),
        marks,
        frame.translate,
        held_out={name: curve.held_out for name, curve in curves.items()},
        references=levels_of_text(corpus, frame.translate),
    )


def _in_words(frame: Frame, name: str, curve: Curve, plateau: float) -> str:
    _ = frame.translate
    step = left_at(curve, plateau)
    said = (
        _(
            "{name}: still on the plateau after {step:,} steps; "
            "at the last step training {training}, held-out {held_out}."
        )
        if step is None
        else _("{name}: off the plateau at step {step:,}; at the last step training {training}, held-out {held_out}.")
    )
    return said.format(
        name=name,
        step=int(curve.step[-1]) if step is None else step,
        training=quantity(float(curve.perplexity[-1])),
        held_out=quantity(float(curve.held_out[-1])),
    )
