"""Find a unit: the reader names a feature of a text, and sees which units follow it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import streamlit as st

from rnnviz.analysis.ranking import EXPRESSION, MAX_EXPRESSION, Found, Ranking
from rnnviz.cells import CellName, cell_of
from rnnviz.errors import InputError
from rnnviz.figures.ranking import ranking_figure, unit_colours
from rnnviz.i18n import Translate, quantity
from rnnviz.runs.folder import Run
from rnnviz.signals import SIGNALS
from rnnviz.ui.controls import select
from rnnviz.ui.frame import Frame, engine, put_in_address, show_error, starts_anew, visitor
from rnnviz.ui.painted_text import painted_text
from rnnviz.ui.pictures import picture
from rnnviz.ui.reading import check_drawable, choose_model

LENGTH = 2000  # characters of the held-out text
_PAINTED = 600


def show_units(frame: Frame, cell: CellName, shipped: Mapping[str, str], own: Run | None) -> None:
    """The ranking of all units by how well they follow what the reader names, and one of the best on the text."""
    _ = frame.translate
    own = own if own is not None and own.config.model.cell == cell else None
    row = st.container(horizontal=True, vertical_alignment="bottom", gap="medium")
    run = choose_model(frame, row, shipped, own)
    names = feature_names(_)
    usual = {"brackets": "brackets", "tales-en": "quotes"}.get(run.corpus.name, "starts")
    feature = select(row, _("What units may follow"), names, "feature", usual, named=True)
    expression = _own_expression(frame) if feature == EXPRESSION else ""
    try:
        check_drawable(run.config, cell)
        text = (run.corpus.held_out or run.corpus.training)[:LENGTH]
        with st.spinner(_("Measuring")):
            ranking = _ranking(str(run.folder), run.reports_size(), text, feature, expression)
    except InputError as error:
        show_error(frame, error)
        return
    _show_ranking(frame, ranking)
    _show_painted(frame, run, ranking)


def feature_names(translate: Translate) -> dict[str, str]:
    """What units may follow, by the names of `ranking.FEATURES`, and a regular expression of the reader's own."""
    _ = translate
    return {
        "spaces": _("spaces"),
        "starts": _("line starts"),
        "brackets": _("inside brackets"),
        "quotes": _("inside quotes"),
        "capital": _("after a capital"),
        "position": _("position in the line"),
        EXPRESSION: _("a regular expression"),
    }


def _own_expression(frame: Frame) -> str:
    if starts_anew("expression"):
        st.session_state["expression"] = st.query_params.get("expression", r"[aeiou]")
    st.text_input(
        frame.translate("Regular expression"), key="expression", max_chars=MAX_EXPRESSION, persist_state="session"
    )
    return put_in_address("expression", "")


@st.cache_data(max_entries=64, show_spinner=False)
def _ranking(folder: str, version: int, text: str, feature: str, expression: str) -> Ranking:
    ranking: Ranking = engine().compute(
        "rnnviz.nn.execution:rank",
        Run(folder),
        visitor=visitor(),
        text=text,
        feature=feature,
        expression=expression,
    )
    return ranking


def _name(frame: Frame, found: Found) -> str:
    symbol = SIGNALS[found.signal].symbol.replace("ₜ", "")
    return symbol + " · " + frame.translate("unit {number}").format(number=found.unit)


def _show_ranking(frame: Frame, ranking: Ranking) -> None:
    _ = frame.translate
    best = ranking.best[0]
    units = sum(map(len, ranking.correlations.values()))
    said = _(
        "**{name}** ({signal}) follows it best of {units:,}: r = {r}. By chance the best of all reaches {level} "
        "once in 20 shifts of the text, and {r} in {share} % of them."
    ).format(
        name=_name(frame, best),
        signal=_(SIGNALS[best.signal].label),
        units=units,
        r=f"{best.correlation:.2f}".replace("-", "−"),
        level=f"{ranking.level:.2f}",
        share=quantity(100 * best.share),
    )
    st.markdown(said)
    picture(
        ranking_figure(ranking, _),
        key="ranking",
        description=_(
            "The correlation of all units with what was named, one row per signal. The best: {values}."
        ).format(values=", ".join(f"{_name(frame, found)}: {found.correlation:.2f}" for found in ranking.best[:5])),
        table={
            _("signal"): [found.signal for found in ranking.best],
            _("unit"): [found.unit for found in ranking.best],
            "r": [found.correlation for found in ranking.best],
            _("share of the shifts"): [found.share for found in ranking.best],
        },
        height=100 + 46 * len(ranking.correlations),
    )


def _show_painted(frame: Frame, run: Run, ranking: Ranking) -> None:
    """One of the best units on the text; what the reader named is underlined."""
    _ = frame.translate
    names = {f"{found.signal}-{found.unit}": _name(frame, found) for found in ranking.best}
    chosen = select(st, _("On the text"), names, "painted", next(iter(names)))
    found = ranking.best[list(names).index(chosen)]
    begin = _first_part(ranking)
    part = slice(begin, begin + _PAINTED)
    values = found.values[part]
    painted_text(
        ranking.text[part],
        key="on-text",
        label=_("The text on the colours of {name}").format(name=names[chosen]),
        colours=unit_colours(values, found.signal, cell_of(run.config.model)),
        titles=[quantity(float(value)) for value in values],
        marks=(ranking.feature[part] > 0).tolist() if set(np.unique(ranking.feature)) <= {0.0, 1.0} else None,
    )


def _first_part(ranking: Ranking) -> int:
    """Where the painted part begins, so that it has as much of the feature and of its absence as possible."""
    starts = range(0, max(len(ranking.text) - _PAINTED, 0) + 1, 50)
    return max(starts, key=lambda begin: float(ranking.feature[begin : begin + _PAINTED].var()))
