"""Choosing what to train: presets and settings, the text, and the buttons."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any
from zlib import crc32

import streamlit as st

from rnnviz.cells import all_cells
from rnnviz.config import CHOICES, PRESETS, RANGES, ModelConfig, Preset, TrainConfig
from rnnviz.engine.jobs import LIVE
from rnnviz.engine.settings import MIB
from rnnviz.errors import InputError
from rnnviz.i18n import duration
from rnnviz.runs.folder import Run
from rnnviz.text.corpora import (
    CORPORA,
    ENCODINGS,
    Corpus,
    clean,
    corpus_in,
    corpus_of,
    find_encoding,
    read,
    unrecognized,
)
from rnnviz.text.sampling import check_length
from rnnviz.ui.controls import offer, pick, select
from rnnviz.ui.frame import Frame, as_text, engine, settings, show_error, visitor, watching
from rnnviz.ui.labels import setting_labels, setting_names
from rnnviz.ui.live import RESUMABLE
from rnnviz.ui.own_text import pasted_text, uploaded_file
from rnnviz.ui.run_view import chosen_run, remember_run

_NUMBERS = (  # the settings in the order of the form
    "hidden_size", "num_layers", "dropout", "forget_bias", "max_chars", "batch_size", "num_steps",
    "epochs", "learning_rate", "clip", "weight_decay", "seed", "predict_every", "predict_length",
)  # fmt: skip


def _apply(preset: Preset) -> None:
    """Set every setting to the value of a new preset."""
    for key, value in _allowed(preset.config).items():
        st.session_state[key] = ", ".join(value) if key == "prefixes" else value


def choose_text(frame: Frame, place: Any, default: str = "") -> str:
    """The name of a corpus of ours, or `upload` or `paste`: then `chosen_corpus` asks for the visitor's own text.

    Where no `default` is given, each language has one of its own; so the address always names the text.
    """
    _ = frame.translate
    default = default or corpus_in(frame.language)
    offer("corpus", default)
    return select(place, _("Text"), _texts(frame), "corpus", default, named=True)


def _texts(frame: Frame) -> dict[str, str]:
    """What the texts are called that can be chosen."""
    _ = frame.translate
    shipped = {name: _(corpus.label) for name, corpus in CORPORA.items()}
    return shipped | {"upload": _("Upload a file"), "paste": _("Paste a text")}


def small_training(
    frame: Frame,
    label: str,
    variants: Mapping[str, tuple[str, TrainConfig]],
    more: Callable[[Any], Mapping[str, Any]] = lambda row: {},
    default: str | None = None,
) -> Run | None:
    """Train a small model on a chapter's page: a text, one of the page's variants, and the buttons.

    `variants` maps a name for the address to a label and a configuration; the `default` is the first of them.
    `more` may draw further choices into the row that it is given, and returns their settings. Returns this
    visitor's run on this page, or None before the first. Those who only watch see no form.
    """
    run = chosen_run(frame)
    if watching():
        return run
    with st.container(border=True):
        row = st.container(horizontal=True, vertical_alignment="bottom", gap="medium")
        text = choose_text(frame, row)
        names = {name: shown for name, (shown, _config) in variants.items()}
        config = variants[pick(row, label, tuple(names), "variant", names.__getitem__, default)][1]
        config = config.with_settings({"corpus": text, **more(row)})
        with st.container():
            corpus = chosen_corpus(frame, config)
        with st.container(horizontal=True, vertical_alignment="center"):
            training_buttons(frame, config, corpus, run)
            unattended_toggle(frame, run)
        _warn_of_reading_ahead(frame, config)
    return run


_STEPS = {"dropout": 0.1, "weight_decay": 0.01}
_TOGGLES = ("bidirectional", "residual", "keep_line_breaks")
_ONLY_FOR = {setting: cell.name for cell in all_cells() for setting in cell.settings}
_CHOICES = ("cell", "implementation", "reset", "activation", "initialisation", "sampling", "optimizer")
_SETTINGS = (*_CHOICES, *_NUMBERS, *_TOGGLES, "prefixes", "probe")


def training_bar(frame: Frame, run: Run | None, errors: Any) -> bool:
    """What is trained, in one line; the form, which opens over the page; and the buttons.

    The line is that of the run on the page. Where Train can be pressed and the form was changed since the page began
    to show the run, or where there is no run, it is what Train would start. Those who only watch see the line alone.

    Returns whether what the form says can be trained. If not, the reason is among the `errors`, or in the form.
    """
    _ = frame.translate
    if watching():
        if run is not None:
            st.markdown(as_text(_in_one_line(frame, run.config)))
        return False
    live = run is not None and engine().view(run.id).status.state in LIVE
    with st.container(horizontal=True, vertical_alignment="center", key="training-bar"):
        summary = st.container(width="content")
        with st.container(width="content"), st.expander(_("Change"), expanded=run is None and _own_text_chosen()):
            config, place = training_form(frame, errors)
            with place:
                corpus = chosen_corpus(frame, config, _("Training characters"), errors) if config else None
            unattended_toggle(frame, run)
            if config:
                _warn_of_reading_ahead(frame, config)
        told = run.config if run and (not _form_changed(frame, run, config) or live) else config
        summary.markdown(as_text(_in_one_line(frame, told)) if told else "")
        training_buttons(frame, config, corpus, run)
        if run is not None and not live:
            with st.popover(_("Train a twin"), icon=":material/compare_arrows:", key="twin-form"):
                twin_form(frame, run)
    return corpus is not None


def _own_text_chosen() -> bool:
    """Whether the form stands at a text that the visitor has yet to give."""
    return (st.session_state.get("corpus") or st.query_params.get("corpus")) in ("upload", "paste")


def _form_changed(frame: Frame, run: Run, config: TrainConfig | None) -> bool:
    """Whether the form was changed since the page began to show this run, in this language, which may name the text."""
    shown = (run.id, frame.language)
    if st.session_state.get("told-of") != shown:
        st.session_state["told-of"], st.session_state["told-beside"] = shown, config
    return bool(config != st.session_state["told-beside"])


def _in_one_line(frame: Frame, config: TrainConfig) -> str:
    """The settings that matter most, as in: GRU, 64 units, Tales (English), Adam 0.01, θ 0.3."""
    _ = frame.translate
    names, model = setting_names(_), config.model
    units = _("{count:,} units").format(count=model.hidden_size)
    layers = [_("{count} layers").format(count=model.num_layers)] if model.num_layers > 1 else []
    both = [_("bidirectional")] if model.bidirectional else []
    texts = _texts(frame) | dict.fromkeys(("upload", "paste"), _("Your text"))
    text = texts.get(config.corpus, Path(config.corpus).name)  # a run of the command may be of a file
    clip = f"θ {config.clip:g}" if config.clip else _("θ off")
    rate = f"{names[config.optimizer]} {config.learning_rate:g}"
    return _(", ").join([names[model.cell], units, *layers, *both, text, rate, clip])


def training_form(frame: Frame, errors: Any) -> tuple[TrainConfig | None, Any]:
    """The form: text and preset first, then all settings. Returns the place between them for the visitor's own text.

    The settings are drawn once the visitor asks for all, or the address names one: 24 controls would delay the page's
    first picture. Until then they are the preset's. There is no configuration, but an error, if settings contradict
    each other.
    """
    _ = frame.translate
    left, right = st.columns(2)
    text = choose_text(frame, left)
    presets = {name: _(preset.label) for name, preset in PRESETS.items()}
    chosen = select(right, _("Model and settings"), presets, "preset", "quick")
    # Not in a callback: after a change of language, it would receive the label of the other language.
    if st.session_state.setdefault("applied", chosen) != chosen:
        _apply(PRESETS[chosen])
    st.session_state["applied"] = chosen
    place = st.container()
    start = PRESETS[chosen].config
    if {*st.session_state, *st.query_params}.intersection((*_SETTINGS, "all-shown")):
        values = _settings(frame, start)
    else:
        values = _allowed(start)
        show_all = partial(st.session_state.__setitem__, "all-shown", True)
        st.button(_("All settings"), icon=":material/tune:", key="all-settings", on_click=show_all)
    try:
        return TrainConfig().with_settings({**values, "corpus": text}), place
    except InputError as error:
        show_error(frame, error, errors)
        return None, place


def _allowed(preset: TrainConfig) -> dict[str, Any]:
    """Every setting of the form, as far as this server allows the preset's value."""
    values = preset.settings()
    return {name: min(values[name], _highest(name)) if name in _NUMBERS else values[name] for name in _SETTINGS}


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
    with st.container(horizontal=True, gap="large"):
        values |= {name: st.toggle(labels[name], start[name], key=name, **bound) for name in _TOGGLES}
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
    """The largest value that both the program and this server allow."""
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
        step=_STEPS.get(name, start / 10 or 0.5) if is_real else 1,
        format="%g" if is_real else "%d",
        key=name,
        bind="query-params",
        persist_state="session",
        disabled=idle,
    )


def chosen_corpus(frame: Frame, config: TrainConfig, limited_by: str = "", errors: Any = st) -> Corpus | None:
    """The corpus of the form, cut as the settings say; None if there is none yet, or it cannot be used.

    `limited_by` is what the page calls the setting for `max_chars`, where it has one. `errors` is the place for them.
    """
    try:
        source = _source(frame, config.corpus)
        if source is None:
            return None
        encoding = _encoding(frame, source)
        text = clean(_whole(source, config.seed, encoding), keep_line_breaks=config.keep_line_breaks)
        corpus = corpus_of(config, text)
        check_length(config.sampling, len(corpus.training), config.batch_size, config.num_steps)
        settings().limits.check(config, len(corpus.vocabulary))
    except InputError as error:
        show_error(frame, error, errors)
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
    if corpus.name not in CORPORA:
        _say_how_much_is_used(frame, len(corpus.training) + len(corpus.held_out), len(text), limited_by)
    return corpus


def _say_how_much_is_used(frame: Frame, used: int, length: int, limited_by: str) -> None:
    """Say how much of the visitor's own text is used, if not all of it, and which setting decides that."""
    _ = frame.translate
    if used == length:
        return
    if limited_by:
        said = _("{used:,} of your text’s {length:,} characters are used; the setting “{name}” decides how many.")
    else:
        said = _("{used:,} of your text’s {length:,} characters are used; this small training takes no more.")
    st.caption(said.format(used=used, length=length, name=limited_by))


def _source(frame: Frame, name: str) -> str | bytes | None:
    """A corpus by name, or the visitor's own text as bytes; None, with a hint, if there is none yet."""
    _ = frame.translate
    if name == "paste":
        text = pasted_text(frame)
        if text == "":
            st.caption(_("The box is empty: paste or type a text first."))
        return text.encode() if text else None
    if name == "upload":
        file = uploaded_file(frame, _("A .txt file, or a .zip that holds one"))
        if file is None:
            st.caption(_("There is no file yet: choose one first."))
        return file
    return name


def _encoding(frame: Frame, source: str | bytes) -> str | None:
    """The encoding of a visitor's text. If it is a guess, the page says so and another one can be chosen.

    Raises InputError if the text is too large; Streamlit's own limit does not catch every way.
    """
    if isinstance(source, str):
        return None
    limit = settings().limits.upload_mib * MIB
    if len(source) > limit:
        raise InputError("the file has {size:,} bytes; allowed: at most {limit:,}", size=len(source), limit=limit)
    found = _found_encoding(source)
    if found == "UTF-8":
        return found
    _ = frame.translate
    names = list(ENCODINGS)
    chosen = st.selectbox(
        _("Encoding of the file"),
        names,
        names.index(found) if found else None,
        key=f"encoding-{crc32(source)}",
        placeholder=_("Not recognized"),
        width=240,
    )
    if chosen is None:
        raise unrecognized()
    beginning = clean(_whole(source, 0, chosen)[:30])
    st.caption(_("Its text begins with: {text}").format(text=as_text(beginning)))
    return str(chosen)


@st.cache_data(max_entries=64, show_spinner=False)
def _found_encoding(source: bytes) -> str | None:
    return find_encoding(source)


@st.cache_data(max_entries=32, show_spinner=False)
def _whole(source: str | bytes, seed: int, encoding: str | None) -> str:
    return read(source, seed=seed, encoding=encoding)


def training_buttons(frame: Frame, config: TrainConfig | None, corpus: Corpus | None, run: Run | None) -> None:
    """Train a new run; pause, resume or stop the one on the page."""
    _ = frame.translate
    view = engine().view(run.id) if run else None
    state = view.status.state if view else None
    ready = config is not None and corpus is not None and state not in LIVE
    if st.button(_("Train"), type="primary", icon=":material/play_arrow:", disabled=not ready, key="train"):
        assert config is not None  # noqa: S101  the button was enabled
        assert corpus is not None  # noqa: S101
        _act(frame, lambda: _start(frame, config, corpus))
    if run and state in LIVE and st.button(_("Pause"), icon=":material/pause:", key="pause"):
        _act(frame, lambda: engine().pause(run.id))
    if run and state in RESUMABLE and st.button(_("Resume"), icon=":material/resume:", key="resume"):
        _act(frame, lambda: engine().resume(run.id, visitor=visitor(), unattended=_unattended()))
    if run and state in (*LIVE, "paused") and st.button(_("Stop"), icon=":material/stop:", key="stop"):
        _act(frame, lambda: engine().cancel(run.id))


def _start(frame: Frame, config: TrainConfig, corpus: Corpus, beside: Run | None = None) -> None:
    """Train a new run and show it on this page, over the run `beside` where there is one."""
    run_id = engine().submit(config, corpus, visitor=visitor(), unattended=_unattended())
    remember_run(frame, run_id)
    if beside is None:
        st.query_params.pop("with", None)
    else:
        st.query_params["with"] = beside.id


# The settings of which a twin may have another. The text and its parts stay, so that perplexities compare; so does the
# direction, because a bidirectional model's perplexity is not a language model's. What a run writes and when, and the
# probe text, change nothing that it learns.
_OF_TWINS = (
    "clip", "learning_rate", "optimizer", "weight_decay", "cell", "activation", "reset", "forget_bias", "hidden_size",
    "num_layers", "dropout", "residual", "initialisation", "implementation", "sampling", "batch_size", "num_steps",
    "epochs", "seed",
)  # fmt: skip
_BETWEEN_LAYERS = ("dropout", "residual")


def _of_twins(model: ModelConfig) -> list[str]:
    """The settings that make a difference to a run of this model."""
    idle = {name for name in _OF_TWINS if _ONLY_FOR.get(name, model.cell) != model.cell}
    if model.num_layers == 1:
        idle.update(_BETWEEN_LAYERS)
    return [name for name in _OF_TWINS if name not in idle]


def twin_form(frame: Frame, run: Run) -> None:
    """Start the same run again with one setting changed, clipping off unless another is chosen, over the first."""
    _ = frame.translate
    labels = setting_labels(_)
    st.caption(_("The same run again with one setting changed. Both are shown over each other."))
    offered = {name: labels[name] for name in _of_twins(run.config.model)}
    name = select(st, _("Setting"), offered, "twin", _OF_TWINS[0])
    value, names = run.config.settings()[name], setting_names(_)
    if name in CHOICES:
        options = {option: names.get(option, option) for option in CHOICES[name] if option != value}
        value = select(st, labels[name], options, f"twin_{name}", next(iter(options)))
    elif isinstance(value, bool):
        options = {"off": _("off")} if value else {"on": _("on")}
        value = select(st, labels[name], options, f"twin_{name}", next(iter(options))) == "on"
    else:
        start = (0.0 if value else 1.0) if name == "clip" else value
        kind, low, high = type(value), RANGES[name][0], _highest(name)
        shown = "%g" if kind is float else "%d"
        start = min(kind(start), kind(high))
        value = st.number_input(labels[name], kind(low), kind(high), start, format=shown, key=f"twin-{name}")
    try:
        config = run.config.with_settings({name: value})
        check_length(config.sampling, len(run.corpus.training), config.batch_size, config.num_steps)
        settings().limits.check(config, len(run.corpus.vocabulary))
    except InputError as error:
        show_error(frame, error)
        return
    changed = config != run.config
    if st.button(_("Train the twin"), type="primary", icon=":material/play_arrow:", disabled=not changed, key="twins"):
        _act(frame, lambda: _start(frame, config, run.corpus, run))


def _warn_of_reading_ahead(frame: Frame, config: TrainConfig) -> None:
    if config.model.bidirectional:
        st.caption(
            frame.translate(
                "A bidirectional layer has already seen the next character: its perplexity falls to 1 for free."
            )
        )


def _unattended() -> bool:
    return bool(st.session_state.get("unattended"))


def unattended_toggle(frame: Frame, run: Run | None) -> None:
    """A switch for whether a run goes on when its tab is closed; it works for a live run as well."""
    _ = frame.translate

    def change() -> None:
        if run is not None:
            engine().set_unattended(run.id, _unattended())

    st.toggle(
        _("Keep running without me"),
        key="unattended",
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
    except OSError as error:
        told = InputError("the run's folder cannot be used: {reason}", reason=error.strerror or error)
        show_error(frame, told)
    else:
        st.rerun()
