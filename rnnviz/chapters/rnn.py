"""The RNN's chapter: a step with its numbers, the state over the text, and what carrying it changes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import streamlit as st

from rnnviz.analysis.reading import Reading
from rnnviz.config import ModelConfig, TrainConfig
from rnnviz.errors import InputError
from rnnviz.figures.equations import MAX_CHARACTERS, MAX_UNITS, rnn_equation
from rnnviz.figures.kit import visible
from rnnviz.figures.rnn import LINE_LENGTH, growth_figure, reset_figure, state_figures, unit_figures
from rnnviz.i18n import Translate, quantity
from rnnviz.runs.folder import Run
from rnnviz.runs.recording import Growth, Resets
from rnnviz.ui.charts import Chart, Slider
from rnnviz.ui.controls import by_step, chosen, pick, select, stepper
from rnnviz.ui.equation import linked_equation, pack_equations
from rnnviz.ui.frame import Frame, as_text, engine, show_error, visitor
from rnnviz.ui.pictures import beside, picture, pictures, table_and_files
from rnnviz.ui.reading import choose_model, choose_text, reading_of
from rnnviz.ui.references import levels_of_text

_FIRST_STEP = 5  # of the shipped text: the last a of aaa


def variants(translate: Translate) -> dict[str, tuple[str, TrainConfig]]:
    """What can be trained here: tanh or ReLU, from scratch under autograd or with torch.nn.RNN."""
    _ = translate
    small = TrainConfig(
        max_chars=4000, batch_size=16, num_steps=25, epochs=60, optimizer="adam", learning_rate=0.01, clip=0.3,
        predict_every=10,
    )  # fmt: skip

    def config(**settings: Any) -> TrainConfig:
        model = ModelConfig(cell="rnn", hidden_size=32, initialisation="uniform", **settings)
        return small.with_settings(vars(model))

    return {
        "tanh": (_("tanh, scratch"), config(implementation="scratch")),
        "relu": (_("ReLU, scratch"), config(implementation="scratch", activation="relu")),
        "tanh-torch": (_("tanh, concise"), config(implementation="torch")),
        "relu-torch": (_("ReLU, concise"), config(implementation="torch", activation="relu")),
    }


def take_older_address(views: Sequence[str]) -> None:
    """Addresses from before say `view` for what is called `show` by now."""
    asked = st.query_params.get("view", "").split(".")
    for view in set(asked) & set(views):
        asked.remove(view)
        st.query_params["show"] = st.session_state["show"] = view
        if asked:
            st.query_params["view"] = ".".join(asked)
        else:
            del st.query_params["view"]


def _choose_model(frame: Frame, place: Any, own: Run | None) -> Run:
    _ = frame.translate
    return choose_model(frame, place, {"tiny-tanh": _("4 units, tanh"), "tiny-relu": _("4 units, ReLU")}, own)


@st.fragment
def show_step(frame: Frame, own: Run | None, words: str) -> None:
    """One step of a model reading a text. The browser has all steps; the table follows when the slider is at rest."""
    place = st.container()
    row = st.container(horizontal=True, vertical_alignment="bottom", gap="medium")
    run = _choose_model(frame, row, own)
    reading = reading_of(frame, run, choose_text(frame, row, run))
    if reading is None:
        return
    with place:
        slider = stepper(frame, "t", reading.trace.text, default=min(_FIRST_STEP, len(reading.trace.text) - 1))
        linked_equation(
            _packed(frame, reading, slider, (frame.language, str(run.folder), run.reports_size(), reading.trace.text)),
            key="equation",
        )
        _show_notes(frame, reading, slider)
        table_and_files(frame, "equation", rnn_equation(reading, chosen(slider), frame.translate).table())
    _show_state(frame, reading, slider, words)


@st.cache_data(max_entries=16, show_spinner=False)
def _packed(_frame: Frame, _reading: Reading, _slider: Slider, version: tuple[str, str, int, str]) -> bytes:
    """The equations of all steps: with the longest text and the most units, less than 2 MB."""
    steps = range(len(_reading.trace.text))
    equations = [rnn_equation(_reading, t, _frame.translate) for t in steps]
    return pack_equations(_frame, equations, [_describe_step(_frame, _reading, t) for t in steps], _slider)


def _describe_step(frame: Frame, reading: Reading, t: int) -> str:
    _ = frame.translate
    step, characters = reading.step(t), visible(reading.vocabulary.characters)
    return _(
        "Step {t} reads {character}. The likeliest next character is {guess} with probability {chance}; "
        "the true one costs {loss} nats."
    ).format(
        t=t + 1,
        character=visible(reading.trace.text)[t],
        guess=characters[step.P.argmax()],
        chance=quantity(float(step.P.max())),
        loss=quantity(step.loss),
    )


def _show_notes(frame: Frame, reading: Reading, slider: Slider) -> None:
    _ = frame.translate
    h, V = reading.hidden_size, len(reading.vocabulary)
    text = reading.trace.text
    if not set(text) <= set(reading.vocabulary.characters):
        words = _("The model does not know {character}: X_t is zero.")
        notes = (
            "&nbsp;" if known in reading.vocabulary else words.format(character=as_text(shown))
            for known, shown in zip(text, visible(text), strict=True)
        )
        by_step(slider).caption("\n\n".join(notes))
    if h > MAX_UNITS:
        st.caption(_("The first {shown} of {h:,} units are shown.").format(shown=MAX_UNITS, h=h))
    if V > MAX_CHARACTERS:
        st.caption(
            _(
                "Of the {V:,} rows of W_xh, only the one that X_t picks is shown, since the others are multiplied "
                "by 0; the output shows the likeliest characters and the true one."
            ).format(V=V)
        )


def _show_state(frame: Frame, reading: Reading, slider: Slider, words: str) -> None:
    """The hidden state over the text: all units as a heatmap, and one of them on the characters themselves."""
    _ = frame.translate
    trace, h = reading.trace, reading.hidden_size
    st.markdown("**" + _("The hidden state over the text") + "**")
    with beside(words):
        row = st.container(horizontal=True, vertical_alignment="bottom", gap="medium")
        orders = {"index": _("by index"), "similarity": _("by similarity"), "mean": _("by mean")}
        order = pick(row, _("Units"), tuple(orders), "order", orders.__getitem__)
        names = {str(unit): _("unit {number}").format(number=unit) for unit in range(h)}
        unit = int(select(row, _("On the text"), names, "unit", "0"))
        H, characters = trace.signal("H"), visible(trace.text)
        state = Chart(
            figure={},
            name="state",
            description=_("Heatmap of the hidden state: {units:,} units by {length} characters.").format(
                units=h, length=len(trace.text)
            ),
            table={_("character"): characters, **{names[str(u)]: H[:, u] for u in range(h)}},
            height=min(150 + 10 * h, 320),
        )
        painted = Chart(
            figure={},
            name="painted",
            description=_("The text on the colours of unit {unit}: from {low} to {high}.").format(
                unit=unit, low=quantity(float(H[:, unit].min())), high=quantity(float(H[:, unit].max()))
            ),
            table={_("character"): characters, names[str(unit)]: H[:, unit]},
            height=40 + 36 * -(-len(trace.text) // LINE_LENGTH),
        )
        for chart, figures in ((state, state_figures(trace, order, _)), (painted, unit_figures(trace, unit, _))):
            frames = [replace(chart, figure=figure) for figure in figures]
            pictures(frames, key=chart.name, follows=slider)


def show_carrying(frame: Frame, own: Run | None, of_reset: str, of_detach: str) -> None:
    """Perplexity with the state carried on and set to zero; a training step with and without detach."""
    _ = frame.translate
    run = _choose_model(frame, st, own)
    try:
        measured = str(run.folder), run.reports_size()
        with st.spinner(_("Measuring")):
            _show_reset(frame, run, *_resets(*measured), of_reset)
            st.markdown("**" + _("Without detach") + "**")
            if st.button(_("Measure again"), icon=":material/timer:", key="again"):
                _growth.clear(*measured)
            _show_growth(frame, _growth(*measured), of_detach)
    except InputError as error:
        show_error(frame, error)


@st.cache_data(max_entries=32, show_spinner=False)
def _resets(folder: str, version: int) -> tuple[Resets, Resets | None]:
    measured: tuple[Resets, Resets | None] = engine().compute(
        "rnnviz.nn.carrying:reset_perplexities", visitor=visitor(), folder=folder
    )
    return measured


@st.cache_data(max_entries=32, show_spinner=False)
def _growth(folder: str, version: int) -> Growth:
    growth: Growth = engine().compute("rnnviz.nn.carrying:graph_growth", visitor=visitor(), folder=folder)
    return growth


def _show_reset(frame: Frame, run: Run, training: Resets, held_out: Resets | None, words: str) -> None:
    _ = frame.translate
    st.markdown("**" + _("Without carrying the state") + "**")
    parts = {_("training"): training} | ({_("held-out"): held_out} if held_out else {})
    described = (
        _(
            "Perplexity against the characters until the state is set to zero, {part}: {values}; carried on {carried}."
        ).format(
            part=name,
            values=", ".join(f"{T}: {quantity(value)}" for T, value in resets.by_window.items()),
            carried=quantity(resets.carried),
        )
        for name, resets in parts.items()
    )
    windows = list(training.by_window)
    columns = {
        _(", ").join((_("perplexity"), name)): [*(resets.by_window.get(T, math.nan) for T in windows), resets.carried]
        for name, resets in parts.items()
    }
    with beside(words):
        picture(
            reset_figure(training, held_out, _, levels_of_text(run.corpus, _) if held_out else None),
            key="reset",
            description=" ".join(described),
            table={_("characters until the state is set to zero"): [*map(str, windows), "∞"], **columns},
            height=300,
        )


def _show_growth(frame: Frame, growth: Growth, words: str) -> None:
    _ = frame.translate
    nodes, times = growth.nodes, growth.milliseconds
    with beside(words):
        picture(
            growth_figure(growth, _),
            key="growth",
            description=_(
                "At training step {step}: with detach {nodes:,} nodes and {time} ms, "
                "without {more:,} nodes and {longer} ms."
            ).format(
                step=len(nodes["attached"]),
                nodes=nodes["detached"][-1],
                time=quantity(times["detached"][-1]),
                more=nodes["attached"][-1],
                longer=quantity(times["attached"][-1]),
            ),
            table={
                _("training step"): list(range(1, len(nodes["attached"]) + 1)),
                _("nodes, with detach"): nodes["detached"],
                _("nodes, without"): nodes["attached"],
                _("ms, with detach"): times["detached"],
                _("ms, without"): times["attached"],
            },
            height=420,
        )
    st.markdown(_("What torch says at the second step, when nothing is detached:"))
    st.code("RuntimeError: " + growth.errors["second"], language=None, wrap_lines=True)
    st.markdown(_("And with `retain_graph=True`, once the optimiser has changed the weights:"))
    st.code("RuntimeError: " + growth.errors["update"], language=None, wrap_lines=True)
