"""A training step in which values are dropped between the layers, beside a prediction, in which none is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import streamlit as st

from rnnviz.analysis.deep import read_with_dropout
from rnnviz.analysis.holding import perplexity_of, true_probabilities
from rnnviz.analysis.reading import Reading
from rnnviz.chapters.deep.models import MOST_LAYERS, shipped_models, train
from rnnviz.figures.deep import dropout_figure
from rnnviz.figures.kit import visible
from rnnviz.i18n import quantity
from rnnviz.runs.folder import Run
from rnnviz.runs.recording import Array
from rnnviz.ui.cell import with_model
from rnnviz.ui.charts import Chart, Slider
from rnnviz.ui.controls import pick
from rnnviz.ui.frame import Frame
from rnnviz.ui.pictures import pictures
from rnnviz.ui.reading import origin_in_words, readings_of

_DRAWS = 8


def dropout(frame: Frame) -> None:
    """What layer 1 hands on, dropped out anew in each draw under a slider, beside the same when predicting."""
    _ = frame.translate
    share = float(pick(st, _("Share that is dropped"), ("0.5", "0.2", "0.8"), "share", str))

    def show(run: Run, text: str, phase: str) -> None:
        readings = readings_of(frame, run, text, "lstm", most_layers=MOST_LAYERS)
        if readings is None:
            return
        if len(readings) == 1:
            st.info(_("A network of one layer has nothing between its layers to drop."))
            return
        names = [str(k + 1) for k in range(_DRAWS)]
        held_out, origin = run.corpus.held_out[: len(text)], origin_in_words(run, text, _)
        pictures(
            [_chart(frame, readings, held_out, origin, share, k) for k in range(_DRAWS)],
            key="dropout",
            slider=Slider("draw", _("Training step, drawn anew"), names, names, 0),
        )

    with_model(frame, "lstm", shipped_models(frame), lambda: train(frame), show)


def _chart(
    frame: Frame,
    readings: tuple[Reading, ...],
    held_out: str,
    origin: str,
    share: float,
    draw: int,
) -> Chart:
    _ = frame.translate
    first = readings[0]
    dropped = read_with_dropout(readings, share, draw)
    training, prediction = true_probabilities(first, dropped.log_P), true_probabilities(first)
    said = _("Perplexity of this text: {training} in this training step, {prediction} when predicting.")
    parts = [said.format(training=_perplexity(training), prediction=_perplexity(prediction)), origin]
    if len(held_out) > 1:
        unseen = replace(first, trace=replace(first.trace, text=held_out))
        both = [read_with_dropout((unseen, *readings[1:]), dropped_share, draw) for dropped_share in (share, 0.0)]
        there = [_perplexity(true_probabilities(unseen, each.log_P)) for each in both]
        said = _("On as many held-out characters: {training} in this training step, {prediction} when predicting.")
        parts.append(said.format(training=there[0], prediction=there[1]))
    words = " ".join(parts)
    blank = float((dropped.handed[0] == 0).mean())
    return Chart(
        dropout_figure(first, dropped, (training, prediction), _),
        name="dropout",
        description=_("{share:.0%} of what layer 1 hands to layer 2 are dropped.").format(share=blank) + " " + words,
        caption=words,
        table={
            _("character"): visible(first.trace.text[:-1]),
            _("units dropped"): (dropped.handed[0] == 0).sum(axis=1)[:-1].astype(np.int64),
            _("P of the next, training step"): training,
            _("P of the next, prediction"): prediction,
        },
        revision=first.trace.text,
        height=480,
    )


def _perplexity(probabilities: Array) -> str:
    return quantity(perplexity_of(probabilities))
