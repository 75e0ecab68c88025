"""Choosing what to train: presets and settings, the text, and the buttons."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import streamlit as st

from rnnviz.config import CHOICES, PRESETS, RANGES, TrainConfig
from rnnviz.engine import LIVE
from rnnviz.errors import InputError
from rnnviz.i18n import duration
from rnnviz.runs import Run
from rnnviz.sampling import check_length
from rnnviz.text import CORPORA, Corpus, read, split
from rnnviz.ui.frame import Frame, as_text, engine, pick, select, settings, show_error, visitor
from rnnviz.ui.labels import setting_labels, setting_names
from rnnviz.ui.runs import chosen_run, keep_run

_NUMBERS = (  # of the settings, in the order in which they stand in the form
    "hidden_size", "num_layers", "forget_bias", "max_chars", "batch_size", "num_steps",
    "epochs", "learning_rate", "clip", "seed", "predict_every", "predict_length",
)  # fmt: skip


def _apply_preset() -> None:
    """A new preset: every setting takes its value."""
    values = PRESETS[st.session_state["preset"]].config.settings()
    for key in (*_NUMBERS, *_CHOICES, "bidirectional", "keep_line_breaks", "probe"):
        st.session_state[key] = min(values[key], _highest(key)) if key in _NUMBERS else values[key]
    st.session_state["prefixes"] = ", ".join(values["prefixes"])


def choose_text(frame: Frame, place: Any, default: str = TrainConfig.corpus, *, named: bool = False) -> str:
    """The name of a corpus of ours, or `upload` or `paste`: then `chosen_corpus` asks for the visitor's own text."""
    _ = frame.translate
    texts = {name: _(corpus.label) for name, corpus in CORPORA.items()}
    texts |= {"upload": _("Upload a file"), "paste": _("Paste a text")}
    return select(place, _("Text"), texts, "corpus", default, named=named)


def small_training(frame: Frame, label: str, variants: Mapping[str, tuple[str, TrainConfig]]) -> Run | None:
    """Train a small model on a chapter's page: a text, one of the page's variants, and the buttons.

    `variants` maps a name for the address to a label and a configuration. Returns this visitor's
    run on this page, or None before the first.
    """
    run = chosen_run(frame)
    with st.container(border=True):
        row = st.container(horizontal=True, vertical_alignment="bottom", gap="medium")
        text = choose_text(frame, row)
        names = {name: shown for name, (shown, _config) in variants.items()}
        config = variants[pick(row, label, tuple(names), "variant", names.__getitem__)][1]
        config = config.with_settings({"corpus": text})
        training_buttons(frame, config, chosen_corpus(frame, config), run)
    return run


_ONLY_FOR = {"reset": "gru", "activation": "rnn", "forget_bias": "lstm"}
_CHOICES = ("cell", "implementation", "reset", "activation", "initialisation", "sampling", "optimizer")


def training_form(frame: Frame) -> TrainConfig | None:
    """Preset first, all settings one click away; None where they contradict each other, and why."""
    _ = frame.translate
    left, right = st.columns(2)
    text = choose_text(frame, left)
    presets = {name: _(preset.label) for name, preset in PRESETS.items()}
    chosen = select(right, _("Model and settings"), presets, "preset", "quick", on_change=_apply_preset)
    with st.expander(_("All settings"), icon=":material/tune:"):
        values = _settings(frame, PRESETS[chosen].config)
    try:
        return TrainConfig().with_settings({**values, "corpus": text})
    except InputError as error:
        show_error(frame, error)
        return None


def _settings(frame: Frame, preset: TrainConfig) -> dict[str, Any]:
    """Every setting's widget, starting at the preset's value."""
    _ = frame.translate
    labels, names = setting_labels(_), setting_names(_)
    start = preset.settings()
    values: dict[str, Any] = {}
    columns = st.columns(4)
    for i, name in enumerate((*_CHOICES, *_NUMBERS)):
        # a setting of another cell is shown and cannot be changed
        idle = _ONLY_FOR.get(name, values.get("cell")) != values.get("cell")
        with columns[i % 4]:
            if name in _CHOICES:
                options = {value: names.get(value, value) for value in CHOICES[name]}
                values[name] = select(st, labels[name], options, name, start[name], disabled=idle)
            else:
                values[name] = _number(name, start[name], labels[name], idle)
    bound: dict[str, Any] = {"bind": "query-params", "persist_state": "session"}
    with columns[3]:
        values["bidirectional"] = st.toggle(
            labels["bidirectional"], preset.model.bidirectional, key="bidirectional", **bound
        )
        values["keep_line_breaks"] = st.toggle(
            labels["keep_line_breaks"], preset.keep_line_breaks, key="keep_line_breaks", **bound
        )
    left, right = st.columns(2)
    prefixes = left.text_input(
        labels["prefixes"], key="prefixes", placeholder=_("Separated by commas; empty: the text's own"), **bound
    )
    values["prefixes"] = tuple(p for p in re.split("[,，]", prefixes or "") if p)
    values["probe"] = right.text_input(
        labels["probe"], key="probe", max_chars=200, placeholder=_("Empty: how the text begins"), **bound
    )
    return values


def _highest(name: str) -> float:
    """What both the program and this server allow."""
    return min(RANGES[name][1], settings().limits.of_setting(name))


def _number(name: str, start: float, label: str, idle: bool) -> Any:
    low, high = RANGES[name][0], _highest(name)
    is_real = isinstance(start, float)
    kind: Any = float if is_real else int
    return st.number_input(
        label,
        kind(low),
        kind(high),
        min(start, high),
        step=(start / 10 or 0.5) if is_real else 1,
        format="%g" if is_real else "%d",
        key=name,
        bind="query-params",
        persist_state="session",
        disabled=idle,
    )


def chosen_corpus(frame: Frame, config: TrainConfig) -> Corpus | None:
    """The corpus of the form, cut as the settings say; None where there is none yet, or it cannot be used."""
    try:
        source = _source(frame, config.corpus)
        if source is None:
            return None
        corpus = _corpus(config.corpus, source, config)
        check_length(config.sampling, len(corpus.training), config.batch_size, config.num_steps)
        settings().limits.check(config, len(corpus.vocabulary))
    except InputError as error:
        show_error(frame, error)
        return None
    st.caption(
        frame.translate(
            "{training:,} characters to learn from, {vocabulary:,} of them different; {held_out:,} held out, "
            "of which {known:.0%} are known."
        ).format(
            training=len(corpus.training),
            vocabulary=len(corpus.vocabulary),
            held_out=len(corpus.held_out),
            known=corpus.known_share,
        )
    )
    return corpus


def _source(frame: Frame, name: str) -> str | bytes | None:
    """A corpus by name, or the visitor's own text as bytes."""
    _ = frame.translate
    if name == "paste":
        pasted = st.text_area(_("Your text"), key="pasted", height=140, persist_state="session")
        return pasted.encode() if pasted else None
    if name == "upload":
        file = st.file_uploader(_("A .txt file, or a .zip that holds one"), ["txt", "zip", "md", "csv"], key="file")
        if file is not None:
            st.session_state["uploaded"] = (file.name, file.getvalue())
        if "uploaded" not in st.session_state:
            return None
        filename, data = st.session_state["uploaded"]
        if file is None:
            st.caption(_("Still here: {name}").format(name=as_text(filename)))
        return bytes(data)
    return name


@st.cache_data(max_entries=32, show_spinner=False)
def _whole(source: str | bytes, seed: int) -> str:
    return read(source, seed=seed)


def _corpus(name: str, source: str | bytes, config: TrainConfig) -> Corpus:
    whole = _whole(source, config.seed)
    return split(whole, name, max_chars=config.max_chars, keep_line_breaks=config.keep_line_breaks)


def training_buttons(frame: Frame, config: TrainConfig | None, corpus: Corpus | None, run: Run | None) -> None:
    """Train a new run; pause, resume or stop the one on the page."""
    _ = frame.translate
    view = engine().view(run.id) if run else None
    state = view.status.state if view else None
    with st.container(horizontal=True, vertical_alignment="center"):
        ready = config is not None and corpus is not None and state not in LIVE
        if st.button(_("Train"), type="primary", icon=":material/play_arrow:", disabled=not ready, key="train"):
            assert config is not None  # noqa: S101  the button was enabled
            assert corpus is not None  # noqa: S101
            _act(frame, lambda: keep_run(frame, engine().submit(config, corpus, visitor=visitor().name, kept=_kept())))
        if run and state in LIVE and st.button(_("Pause"), icon=":material/pause:", key="pause"):
            _act(frame, lambda: engine().pause(run.id))
        if run and state == "paused" and st.button(_("Resume"), icon=":material/resume:", key="resume"):
            _act(frame, lambda: engine().resume(run.id, visitor=visitor().name, kept=_kept()))
        if run and state in (*LIVE, "paused") and st.button(_("Stop"), icon=":material/stop:", key="stop"):
            _act(frame, lambda: engine().cancel(run.id))
        _keep_toggle(frame, run)
    if config and config.model.bidirectional:
        st.caption(_("A bidirectional layer has already seen the next character: its perplexity falls to 1 for free."))


def _kept() -> bool:
    return bool(st.session_state.get("kept"))


def _keep_toggle(frame: Frame, run: Run | None) -> None:
    """Whether a run goes on when its tab is closed; it can be changed while the run is under way."""
    _ = frame.translate

    def change() -> None:
        if run is not None:
            engine().set_kept(run.id, _kept())

    st.toggle(
        _("Keep running without me"),
        key="kept",
        persist_state="session",
        on_change=change,
        help=_("Otherwise a run that nobody watches is paused after {time}; nothing is lost.").format(
            time=duration(settings().grace_seconds)
        ),
    )


def _act(frame: Frame, action: Callable[[], None]) -> None:
    try:
        action()
    except InputError as error:
        show_error(frame, error)
    else:
        st.rerun()
