"""How the future leaks into a prediction, and what the perplexity is without it."""

from __future__ import annotations

from typing import Any

import streamlit as st

from rnnviz.analysis.leak import LENGTH, Leak, Leakage
from rnnviz.chapters.bidirectional.models import choose_reading, leakage_of
from rnnviz.errors import InputError
from rnnviz.figures.bidirectional import leak_figures
from rnnviz.figures.kit import visible
from rnnviz.i18n import LANGUAGES, quantity
from rnnviz.runs.folder import Run
from rnnviz.text.corpora import DATA
from rnnviz.ui.charts import Chart, Slider
from rnnviz.ui.frame import Frame, show_error
from rnnviz.ui.limits import Limit, show_measured
from rnnviz.ui.pictures import pictures


def leak(frame: Frame) -> None:
    """Three perplexities, and for each prediction of a text the way from its answer back into it."""
    measured, place = st.container(), st.container()
    chosen = choose_reading(frame)
    if chosen is None:
        return
    run, text = chosen
    one = _of_one_direction(run)
    try:
        both, other = (leakage_of(each, str(each.folder), each.reports_size(), text) for each in (run, one))
    except InputError as error:
        show_error(frame, error)
        return
    _show_scores(frame, measured, both, len(run.corpus.vocabulary))
    with place:
        pictures(_charts(frame, both.leak, other.leak), key="leak", slider=_slider(frame, both.leak.text))
        if len(text) > LENGTH:
            st.caption(frame.translate("Of the text the first {count} characters are drawn.").format(count=LENGTH))


def _of_one_direction(run: Run) -> Run:
    """The GRU of one direction that ships and knows most of the characters of a run's text."""
    text = run.corpus.training
    models = [Run.open(DATA / f"gru-{language}") for language in LANGUAGES]
    return max(models, key=lambda model: sum(character in model.corpus.vocabulary for character in text))


def _show_scores(frame: Frame, place: Any, leakage: Leakage, vocab_size: int) -> None:
    _ = frame.translate
    values = {
        _("held-out perplexity, the future read"): leakage.scores.read,
        _("the future masked"): leakage.scores.masked,
    }
    row = show_measured(place, [Limit(label, value) for label, value in values.items()])
    uniform = _("a uniform guess")
    row.markdown(f"{uniform}: **{vocab_size:,}**", width="content")


def _slider(frame: Frame, text: str) -> Slider:
    """Over the predictions; it starts in the middle of the text."""
    _ = frame.translate
    characters = visible(text)
    count = len(text) - 1
    names = [f"{t}  {characters[t - 1]} → {characters[t]}" for t in range(1, count + 1)]
    return Slider(
        "t", _("Prediction at step t"), [str(t) for t in range(1, count + 1)], names, count // 2,
        steps=(_("Back"), _("Next")), play=(_("Play"), _("Pause")),
        in_browser=True,
    )  # fmt: skip


def _charts(frame: Frame, both: Leak, one: Leak) -> list[Chart]:
    _ = frame.translate
    table: dict[str, Any] = {
        _("character"): visible(both.text[:-1]),
        _("the next one"): visible(both.text[1:]),
        _("P of the next"): both.true,
        _("the future masked"): both.masked,
        "‖dP / dx‖": both.answers,
        _("one direction"): one.answers,
    }
    charts = []
    for t, figure in enumerate(leak_figures(both, one, _)):
        words = _words(frame, both, one, t)
        charts.append(Chart(figure, "leak", words, 460, caption=words, table=table, revision=str(t)))
    return charts


def _words(frame: Frame, both: Leak, one: Leak, t: int) -> str:
    _ = frame.translate
    character = visible(both.text)[t + 1]
    return _(
        "Step {t}: P({character}) = {true}, with the future masked {masked}. ‖dP / dx‖ of {character} itself: {leak}; "
        "in the model of one direction: {one}."
    ).format(
        t=t + 1,
        character=character,
        true=quantity(float(both.true[t])),
        masked=quantity(float(both.masked[t])),
        leak=quantity(float(both.answers[t])),
        one=quantity(float(one.answers[t])),
    )
