"""The RNN's chapter: a step with its numbers, the state over the text, and what carrying it changes."""

from __future__ import annotations

from typing import Any

import streamlit as st

from rnnviz.config import ModelConfig, TrainConfig
from rnnviz.equations import MAX_CHARACTERS, MAX_UNITS, rnn_equation
from rnnviz.errors import InputError
from rnnviz.figures import visible
from rnnviz.i18n import Translate, quantity
from rnnviz.reading import Reading
from rnnviz.recording import Growth
from rnnviz.rnn_figures import LINE_LENGTH, growth_figure, reset_figure, state_figure, unit_figure
from rnnviz.runs import Run
from rnnviz.ui.equation import linked_equation
from rnnviz.ui.frame import Frame, as_text, engine, pick, select, show_error
from rnnviz.ui.parts import picture, stepper, table_and_files
from rnnviz.ui.reading import choose_model, choose_text, reading_of

_FIRST_STEP = 5  # of the shipped text: the last a of aaa


def rnn_variants(translate: Translate) -> dict[str, tuple[str, TrainConfig]]:
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


def _choose_model(frame: Frame, place: Any, own: Run | None) -> Run:
    _ = frame.translate
    return choose_model(frame, place, {"tiny-tanh": _("4 units, tanh"), "tiny-relu": _("4 units, ReLU")}, own)


@st.fragment
def show_step(frame: Frame, own: Run | None, words: str) -> None:
    """One step of a model reading a text; stepping draws this part of the page alone."""
    row = st.container(horizontal=True, vertical_alignment="bottom", gap="medium")
    run = _choose_model(frame, row, own)
    reading = reading_of(frame, run, choose_text(frame, row, run))
    if reading is None:
        return
    t = stepper(frame, "t", reading.trace.text, default=min(_FIRST_STEP, len(reading.trace.text) - 1))
    _show_equation(frame, reading, t)
    _show_state(frame, reading, t, words)


def _show_equation(frame: Frame, reading: Reading, t: int) -> None:
    _ = frame.translate
    equation = rnn_equation(reading, t, _)
    linked_equation(frame, equation, key="equation", description=_describe_step(frame, reading, t))
    _show_notes(frame, reading, t)
    table_and_files(frame, "equation", equation.table())


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


def _show_notes(frame: Frame, reading: Reading, t: int) -> None:
    _ = frame.translate
    h, V, character = reading.hidden_size, len(reading.vocabulary), reading.trace.text[t]
    if character not in reading.vocabulary:
        st.caption(_("The model does not know {character}: X_t is zero.").format(character=as_text(character)))
    if h > MAX_UNITS:
        st.caption(_("Shown are the first {shown} of {h} units.").format(shown=MAX_UNITS, h=h))
    if V > MAX_CHARACTERS:
        st.caption(
            _(
                "Of the {V:,} rows of W_xh the one is shown that X_t picks, the others are multiplied by 0; "
                "of the output, the likeliest characters and the true one."
            ).format(V=V)
        )


def _show_state(frame: Frame, reading: Reading, t: int, words: str) -> None:
    """The hidden state over the text: all units as a heatmap, and one of them on the characters themselves."""
    _ = frame.translate
    trace, h = reading.trace, reading.hidden_size
    st.markdown("**" + _("The hidden state over the text") + "**")
    left, right = st.columns([3, 2], gap="large")
    with right:
        st.markdown(words)
    with left:
        row = st.container(horizontal=True, vertical_alignment="bottom", gap="medium")
        orders = {"index": _("by index"), "similarity": _("by similarity"), "mean": _("by mean")}
        order = pick(row, _("Units"), tuple(orders), "order", orders.__getitem__)
        names = {str(unit): _("unit {number}").format(number=unit) for unit in range(h)}
        unit = int(select(row, _("On the text"), names, "unit", "0"))
        H = trace.signal("H")
        picture(
            frame,
            state_figure(trace, t, order, _),
            key="state",
            description=_("Heatmap of the hidden state: {units} units by {length} characters.").format(
                units=h, length=len(trace.text)
            ),
            table={_("character"): visible(trace.text), **{names[str(u)]: H[:, u].tolist() for u in range(h)}},
            height=min(150 + 10 * h, 320),
        )
        picture(
            frame,
            unit_figure(trace, unit, t, _),
            key="painted",
            description=_("The text on the colours of unit {unit}: from {low} to {high}.").format(
                unit=unit, low=quantity(float(H[:, unit].min())), high=quantity(float(H[:, unit].max()))
            ),
            table={_("character"): visible(trace.text), names[str(unit)]: H[:, unit].tolist()},
            height=40 + 36 * -(-len(trace.text) // LINE_LENGTH),
        )


def show_carrying(frame: Frame, own: Run | None, of_reset: str, of_detach: str) -> None:
    """Perplexity with the state carried on and set to zero; a training step with and without detach."""
    _ = frame.translate
    run = _choose_model(frame, st, own)
    measured = str(run.folder), run.reports_size()
    try:
        with st.spinner(_("Measuring")):
            _show_reset(frame, *_resets(*measured), of_reset)
            st.markdown("**" + _("Without detach") + "**")
            if st.button(_("Measure again"), icon=":material/timer:", key="again"):
                _growth.clear(*measured)
            _show_growth(frame, _growth(*measured), of_detach)
    except InputError as error:
        show_error(frame, error)


@st.cache_data(max_entries=32, show_spinner=False)
def _resets(folder: str, version: int) -> tuple[float, dict[int, float]]:
    measured: tuple[float, dict[int, float]] = engine().compute("carrying.reset_perplexities", folder=folder)
    return measured


@st.cache_data(max_entries=32, show_spinner=False)
def _growth(folder: str, version: int) -> Growth:
    growth: Growth = engine().compute("carrying.graph_growth", folder=folder)
    return growth


def _show_reset(frame: Frame, carried: float, by_window: dict[int, float], words: str) -> None:
    _ = frame.translate
    st.markdown("**" + _("Without carrying the state") + "**")
    left, right = st.columns([3, 2], gap="large")
    with right:
        st.markdown(words)
    with left:
        picture(
            frame,
            reset_figure(carried, by_window, _),
            key="reset",
            description=_(
                "Perplexity against the characters until the state is set to zero: {values}; carried on {carried}."
            ).format(
                values=", ".join(f"{T}: {quantity(value)}" for T, value in by_window.items()), carried=quantity(carried)
            ),
            table={
                _("characters until the state is set to zero"): [*map(str, by_window), "∞"],
                _("perplexity"): [*by_window.values(), carried],
            },
            height=300,
        )


def _show_growth(frame: Frame, growth: Growth, words: str) -> None:
    _ = frame.translate
    left, right = st.columns([3, 2], gap="large")
    with right:
        st.markdown(words)
    nodes, times = growth.nodes, growth.milliseconds
    with left:
        picture(
            frame,
            growth_figure(growth, _),
            key="growth",
            description=_(
                "At training step {step}: with detach {nodes:,} nodes and {time} ms, "
                "without {more:,} nodes and {longer} ms."
            ).format(
                step=len(nodes["kept"]),
                nodes=nodes["detached"][-1],
                time=quantity(times["detached"][-1]),
                more=nodes["kept"][-1],
                longer=quantity(times["kept"][-1]),
            ),
            table={
                _("training step"): list(range(1, len(nodes["kept"]) + 1)),
                _("nodes, with detach"): nodes["detached"],
                _("nodes, without"): nodes["kept"],
                _("ms, with detach"): times["detached"],
                _("ms, without"): times["kept"],
            },
            height=420,
        )
    st.markdown(_("What torch says at the second step, when nothing is detached:"))
    st.code("RuntimeError: " + growth.errors["second"], language=None, wrap_lines=True)
    st.markdown(_("And with `retain_graph=True`, once the optimiser has changed the weights:"))
    st.code("RuntimeError: " + growth.errors["update"], language=None, wrap_lines=True)
