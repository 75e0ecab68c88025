"""What holds memorising back: switches of one live training, its curves over those that ship."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import numpy as np
import streamlit as st

from rnnviz.analysis.held_back import (
    SWITCHES,
    TIMES,
    Learned,
    held_back_config,
    held_back_corpus,
    shipped_held_back,
    switches_of,
)
from rnnviz.config import TrainConfig
from rnnviz.errors import InputError
from rnnviz.figures.reproduce import held_back_figure
from rnnviz.i18n import quantity
from rnnviz.runs.folder import Run
from rnnviz.runs.follower import REFRESH_SECONDS
from rnnviz.text.corpora import Corpus
from rnnviz.ui.forms import training_buttons
from rnnviz.ui.frame import Frame, engine, settings, show_error, watching
from rnnviz.ui.live import MOVING, live_part
from rnnviz.ui.pictures import picture
from rnnviz.ui.references import levels_of_text
from rnnviz.ui.run_view import chosen_run, follow, phase_of, show_progress

_shipped = cache(shipped_held_back)
_SECONDS = 0.7


def held_back(frame: Frame) -> None:
    """Training and held-out curves of every switch, and below them the switches and the button."""
    run = chosen_run(frame)
    if run and switches_of(run.config) is None:  # a run of another page, which the address names
        run = None
    place = st.container()
    early = _choose(frame, run)

    def draw(phase: str) -> None:
        if run and phase == MOVING:
            show_progress(frame, run, engine().view(run.id), follow(run).story())
        _draw(frame, run, live=phase == MOVING, early=early)

    with place:
        live_part(frame, lambda: phase_of(run) if run else "finished", draw, least_seconds=_SECONDS)


def _choose(frame: Frame, run: Run | None) -> bool:
    """The switches and the buttons. Returns whether what early stopping would have spared is faded.

    Those who only watch have the switch of early stopping alone, since it changes the picture and no training.
    """
    _ = frame.translate
    with st.container(border=True):
        row = st.container(horizontal=True, vertical_alignment="center", gap="medium")
        on = {
            name: row.toggle(label, key=f"with-{name}", bind="query-params", persist_state="session")
            for name, label in ({} if watching() else _labels(frame)).items()
        }
        early = row.toggle(_("early stopping"), key="with-early", bind="query-params", persist_state="session")
        if not watching():
            _train(frame, held_back_config([name for name in SWITCHES if on[name]]), run)
    return early


def _train(frame: Frame, config: TrainConfig, run: Run | None) -> None:
    corpus = held_back_corpus(config)
    allowed: Corpus | None = corpus
    try:
        settings().limits.check(config, len(corpus.vocabulary))
    except InputError as error:
        show_error(frame, error)
        allowed = None
    training_buttons(frame, config, allowed, run)
    if run is None:
        st.caption(frame.lesson("held_back_shipped"))


def _labels(frame: Frame) -> dict[str, str]:
    _ = frame.translate
    plain = held_back_config(())
    dropout, decay, fewer = (held_back_config((name,)) for name in ("dropout", "decay", "fewer"))
    return {
        "dropout": _("dropout {share:.0%}").format(share=dropout.model.dropout),
        "decay": _("weight decay {value:g}").format(value=decay.weight_decay),
        "fewer": _("{few} units instead of {units}").format(few=fewer.model.hidden_size, units=plain.model.hidden_size),
        "more": _("{times} × the text").format(times=TIMES),
    }


def _name(frame: Frame, switches: tuple[str, ...]) -> str:
    labels = _labels(frame)
    return " + ".join(labels[name] for name in switches) or frame.translate("none of these")


def _draw(frame: Frame, run: Run | None, *, live: bool, early: bool) -> None:
    _ = frame.translate
    curves = {_name(frame, switches): learned for switches, learned in _shipped().items()}
    mine: tuple[str, Learned] | None = None
    if run:
        epochs = follow(run).story(REFRESH_SECONDS if live else 0.0).epochs
        if epochs:
            mine = _("yours: {name}").format(name=_name(frame, switches_of(run.config) or ())), Learned.of(epochs)
    words = " ".join(_in_words(frame, name, curve) for name, curve in [*curves.items(), *([mine] if mine else [])])
    picture(
        held_back_figure(curves, mine, levels_of_text(held_back_corpus(held_back_config(())), _), _, early=early),
        key="held_back",
        description=words,
        caption=words,
        table=_table(frame, curves | dict([mine] if mine else [])),
        height=430,
    )


def _in_words(frame: Frame, name: str, curve: Learned) -> str:
    _ = frame.translate
    best = curve.best
    return _("{name}: held-out {best} at its best, in step {step:,}, {last} in the end; training {training}.").format(
        name=name,
        best=quantity(float(curve.held_out[best])),
        step=int(curve.step[best]),
        last=quantity(float(curve.held_out[-1])),
        training=quantity(float(curve.training[-1])),
    )


def _table(frame: Frame, curves: Mapping[str, Learned]) -> dict[str, list[float]]:
    """Every curve with its own steps, since more text has longer epochs."""
    _ = frame.translate
    longest = max(len(curve.step) for curve in curves.values())
    step, training, held_out = _("step"), _("training"), _("held-out")
    columns = {}
    for name, curve in curves.items():
        rest = [np.nan] * (longest - len(curve.step))
        columns[f"{name}, {step}"] = [*map(float, curve.step), *rest]
        columns[f"{name}, {training}"] = [*curve.training.tolist(), *rest]
        columns[f"{name}, {held_out}"] = [*curve.held_out.tolist(), *rest]
    return columns
