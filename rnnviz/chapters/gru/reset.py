"""The reset gate before or after the matrix product, from the same weights."""

from __future__ import annotations

import numpy as np
import streamlit as st

from rnnviz.analysis.holding import perplexity_of, read_anew, true_probabilities, with_reset
from rnnviz.analysis.reading import Reading
from rnnviz.figures.gru import reset_figure
from rnnviz.figures.kit import visible
from rnnviz.i18n import quantity
from rnnviz.runs.folder import Run
from rnnviz.ui.controls import pick
from rnnviz.ui.frame import Frame
from rnnviz.ui.limits import Limit, choose_reading, show_measured
from rnnviz.ui.pictures import picture
from rnnviz.ui.reading import origin_in_words


def reset(frame: Frame) -> None:
    """Both forms read the text; with one number for all units as the reset gate they are the same."""
    _ = frame.translate
    switch, measured, place = st.container(), st.container(), st.container()
    chosen = choose_reading(frame, "gru")
    if chosen is None:
        return
    run, reading = chosen
    names = {"vector": _("one for each unit, as learned"), "number": _("their mean, for all units")}
    gate = pick(switch, _("Reset gate"), tuple(names), "reset-gate", names.__getitem__)
    after, before = _both(reading, one_number=gate == "number")
    difference = np.abs(after.trace.signal("H") - before.trace.signal("H"))
    values = {
        _("largest difference of $H_t$"): float(difference.max()),
        _("perplexity, after"): _perplexity(after),
        _("perplexity, before"): _perplexity(before),
    }
    show_measured(measured, [Limit(label, value) for label, value in values.items()])
    with place:
        _show(frame, after, before, _words(frame, run, reading, one_number=gate == "number"))
    if "b_hn" in reading.weights:
        st.caption(_("This model has a bias b_hn, which has no place before the product: both forms go without it."))


def _both(reading: Reading, *, one_number: bool) -> tuple[Reading, Reading]:
    """The text read with the reset gate after the product, and before it."""
    return with_reset(reading, "after", one_number=one_number), with_reset(reading, "before", one_number=one_number)


def _perplexity(reading: Reading) -> float:
    return perplexity_of(true_probabilities(reading))


def _words(frame: Frame, run: Run, reading: Reading, *, one_number: bool) -> str:
    """How well the model knows the text, and what both forms have on held-out text."""
    _ = frame.translate
    parts = [origin_in_words(run, reading.trace.text, _)]
    held_out = run.corpus.held_out[: len(reading.trace.text)]
    if len(held_out) > 1:
        after, before = _both(read_anew(reading, held_out), one_number=one_number)
        said = _(
            "On as many held-out characters the perplexity is {after} with the reset gate after the product and "
            "{before} before it."
        )
        parts.append(said.format(after=quantity(_perplexity(after)), before=quantity(_perplexity(before))))
    return " ".join(parts)


def _show(frame: Frame, after: Reading, before: Reading, words: str) -> None:
    _ = frame.translate
    difference = np.abs(after.trace.signal("H") - before.trace.signal("H"))
    picture(
        reset_figure(after, before, _),
        key="reset",
        description=_(
            "Heatmap of the difference of the two states, at most {most}, on average {mean}; and the probability that "
            "each form gives to the true next character."
        ).format(most=quantity(float(difference.max())), mean=quantity(float(difference.mean())))
        + " "
        + words,
        caption=words,
        table={
            _("character"): visible(after.trace.text[:-1]),
            _("largest difference of H"): difference.max(axis=1)[:-1],
            _("P of the next, after"): true_probabilities(after),
            _("P of the next, before"): true_probabilities(before),
        },
        revision=after.trace.text,
        height=440,
    )
