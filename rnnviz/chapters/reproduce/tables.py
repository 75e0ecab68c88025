"""A published table beside ours: the shipped results, or the visitor's own while they are trained."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import streamlit as st

from rnnviz.analysis.published import D2L, NOTES, Table
from rnnviz.analysis.reproduction import Machine, Plan, Result
from rnnviz.analysis.shipped_reproduction import Shipped, shipped
from rnnviz.chapters.reproduce.rows import table_of
from rnnviz.chapters.reproduce.series import (
    Series,
    advance,
    check,
    chosen_series,
    forget,
    halt,
    room,
    set_going,
)
from rnnviz.chapters.reproduce.texts import show_texts
from rnnviz.errors import InputError
from rnnviz.figures.references import reference_levels
from rnnviz.figures.report import perplexity_text, report_files
from rnnviz.figures.reproduce import common_limits, experiment_figure
from rnnviz.i18n import duration, perplexity_names, why_not_a_language_model
from rnnviz.runs.reports import best_held_out
from rnnviz.text.corpora import CORPORA, Corpus
from rnnviz.text.ngram import References, references
from rnnviz.ui.charts import Chart
from rnnviz.ui.controls import pick
from rnnviz.ui.forms import choose_text, chosen_corpus
from rnnviz.ui.frame import Frame, as_text, show_error, watching
from rnnviz.ui.live import MOVING, live_part
from rnnviz.ui.pictures import pictures

_REFRESH_SECONDS = 1.0
_SEEDS = ("3", "4", "5")  # others than those that ship

_references = lru_cache(8)(references)


def notes(frame: Frame) -> None:
    """The lecture notes' six experiments."""
    _reproduction(frame, NOTES)


def d2l(frame: Frame) -> None:
    """The nine of the book."""
    _reproduction(frame, D2L)


def _reproduction(frame: Frame, table: Table) -> None:
    ours = shipped(table.name)
    series = chosen_series(frame, table)

    def draw(phase: str) -> None:
        if series:
            advance(frame, series)
        results = series.results() if series else ours.results
        st.html(table_of(frame, results, ours.results, series))
        _say_what_differs(frame, ours, series)
        pictures(*([chart] for chart in _charts(frame, results)), key=f"{table.name}-curves")
        show_texts(frame, results)

    live_part(frame, lambda: series.phase if series else "finished", draw, least_seconds=_REFRESH_SECONDS)
    if not watching():
        _buttons(frame, table, ours, series)
    _download(frame, ours, series)


def _say_what_differs(frame: Frame, ours: Shipped, series: Series | None) -> None:
    """On what text and machine the results were made, and whether they ship with the app."""
    _ = frame.translate
    plan, machine = (series.plan, Machine.here()) if series else (ours.plan, ours.machine)
    corpus = plan.corpus
    where = _("torch {torch}, {system}, {count} processors").format(
        torch=machine.torch, system=machine.system, count=machine.processors
    )
    what = _("{length:,} characters of {text}, {vocabulary:,} of them different").format(
        length=len(corpus.training), text=_name(frame, corpus), vocabulary=len(corpus.vocabulary)
    )
    if series:
        first = _("Trained here with seed {seed}.").format(seed=plan.seeds[0])
    elif len(plan.seeds) > 1:
        first = _("These results ship with the app: the median of seeds {seeds}, and in small print the range.").format(
            seeds=", ".join(map(str, plan.seeds))
        )
    else:
        first = _("These results ship with the app: one seed, {seed}.").format(seed=plan.seeds[0])
    here = _("Here: {what}; {where}.").format(what=what, where=where)
    differs = frame.lesson("notes_differs") if plan.table is NOTES else frame.lesson("d2l_differs")
    st.caption(as_text(f"{first} {here}") + " " + differs)


def _name(frame: Frame, corpus: Corpus) -> str:
    named = CORPORA.get(corpus.name)
    return frame.translate(named.label) if named else corpus.name


def _charts(frame: Frame, results: Sequence[Result]) -> list[Chart]:
    _ = frame.translate
    compared = _references(results[0].plan.corpus)
    lines = reference_levels(compared, _)
    limits = common_limits(results, lines)
    return [
        Chart(
            experiment_figure(result, lines, limits, _),
            name=result.experiment.name,
            title=_(result.experiment.label),
            description=_in_words(frame, result),
            table=_numbers(frame, result),
            revision=result.plan.table.name,
            height=250,
        )
        for result in results
    ]


def _in_words(frame: Frame, result: Result) -> str:
    _ = frame.translate
    reached = max((len(outcome.epochs) for outcome in result.outcomes), default=0)
    if not reached:
        return _("No epoch has ended yet.")
    training, held_out = result.perplexity(reached), result.held_out(reached)
    said = _("At epoch {epoch:,}: training perplexity {training}, held-out {held_out}.").format(
        epoch=reached,
        training=perplexity_text(training.median) if training else "–",
        held_out=perplexity_text(held_out.median) if held_out else "–",
    )
    if best := best_held_out(epoch for outcome in result.outcomes for epoch in outcome.epochs):
        value = perplexity_text(best.held_out_perplexity or np.nan)
        said += " " + _("Best held-out: {value} in epoch {epoch:,}.").format(value=value, epoch=best.epoch)
    return f"{said} {why_not_a_language_model(_)}" if result.experiment.sees_the_future else said


def _numbers(frame: Frame, result: Result) -> dict[str, list[float | int]]:
    _ = frame.translate
    training, held_out_name = perplexity_names(_, reads_ahead=result.experiment.sees_the_future)
    longest = max((len(outcome.epochs) for outcome in result.outcomes), default=0)
    table: dict[str, list[float | int]] = {_("epoch"): list(range(1, longest + 1))}
    for outcome in result.outcomes:
        rest = [np.nan] * (longest - len(outcome.epochs))
        seed = _("seed {seed}").format(seed=outcome.seed)
        table[f"{training}, {seed}"] = [epoch.perplexity for epoch in outcome.epochs] + rest
        held_out = [epoch.held_out_perplexity for epoch in outcome.epochs]
        table[f"{held_out_name}, {seed}"] = [np.nan if value is None else value for value in held_out] + rest
    return table


def _buttons(frame: Frame, table: Table, ours: Shipped, series: Series | None) -> None:
    """A text and a seed, and the buttons that train all experiments on it, halt them, or go on."""
    _ = frame.translate
    live = series is not None and series.phase == MOVING
    seconds = {result.experiment.name: s.median for result in ours.results if (s := result.seconds_per_epoch)}
    with st.container(border=True):
        row = st.container(horizontal=True, vertical_alignment="bottom", gap="medium")
        text = choose_text(frame, row, table.corpus)
        seed = int(pick(row, _("Seed"), _SEEDS, "again", str))
        first = next(iter(table.experiments.values()))
        corpus = chosen_corpus(frame, first.config(corpus=text, seed=seed))
        plan = _allowed(frame, table, corpus, seed, seconds)
        if row.button(
            _("Run it here"),
            type="primary",
            icon=":material/play_arrow:",
            key=f"run-{table.name}",
            disabled=live or plan is None,
        ):
            assert plan is not None  # noqa: S101  the button was enabled
            forget(table.name)
            set_going(table.name, True)
            advance(frame, Series(plan, {}))
        if series and live and row.button(_("Pause all"), icon=":material/pause:", key=f"pause-{table.name}"):
            halt(series)
            st.rerun()
        if series and not live:
            unfinished = series.halted or series.missing
            if unfinished and row.button(_("Go on"), icon=":material/resume:", key=f"resume-{table.name}"):
                set_going(table.name, True)
                st.rerun()
            if row.button(_("Shipped results"), type="tertiary", key=f"forget-{table.name}"):
                forget(table.name)
                st.rerun()
        if plan:
            said = (
                _(
                    "{count} trainings, {room} at a time, for about {time}; the next one starts when one has ended, "
                    "for as long as this page is open."
                )
                if len(seconds) == len(plan.experiments)
                else _(
                    "{count} trainings, {room} at a time; the next one starts when one has ended, "
                    "for as long as this page is open."
                )
            )
            time = duration(sum(seconds.values()) * plan.epochs / room())
            st.caption(said.format(count=len(plan.experiments), room=room(), time=time))


def _allowed(frame: Frame, table: Table, corpus: Corpus | None, seed: int, seconds: dict[str, float]) -> Plan | None:
    """The plan to train all on a text; None, with the reason, where this server does not allow it."""
    if corpus is None:
        return None
    try:
        plan = Plan(corpus, tuple(table.experiments.values()), seeds=(seed,), epochs=table.epochs, table=table)
        check(frame, plan, seconds)
    except InputError as error:
        show_error(frame, error)
        return None
    return plan


def _download(frame: Frame, ours: Shipped, series: Series | None) -> None:
    """The report that `rnnviz reproduce --out` writes, of what is shown, with its curves."""
    table = ours.plan.table.name

    def packed() -> bytes:
        plan, results, machine = (
            (series.plan, series.results(), Machine.here()) if series else (ours.plan, ours.results, ours.machine)
        )
        return _zip(plan, results, _references(plan.corpus), machine)

    st.download_button(
        frame.translate("Report (Markdown, with its curves)"),
        packed,
        file_name=f"reproduction-{table}.zip",
        mime="application/zip",
        icon=":material/download:",
        key=f"report-{table}",
        on_click="ignore",
    )


def _zip(plan: Plan, results: Sequence[Result], compared: References, machine: Machine) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in report_files(plan, results, compared, machine).items():
            archive.writestr(name, text)
    return file.getvalue()
