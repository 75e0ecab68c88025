"""What all pages share: the frame, the language, the engine, cached pictures. Only wrappers here."""

from __future__ import annotations

import gc
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamlit as st

from rnnviz.config import CHOICES, PRESETS, RANGES, TrainConfig
from rnnviz.engine import LIVE, Engine, View
from rnnviz.errors import InputError
from rnnviz.figures import gates_figure, gradient_norm_figure, perplexity_figure
from rnnviz.following import Follower, Story
from rnnviz.i18n import LANGUAGES, Translate, duration, explain, lesson_part, match_language, quantity, translator
from rnnviz.live import live_chart, pack, preload
from rnnviz.reports import to_csv
from rnnviz.runs import Run
from rnnviz.sampling import check_length
from rnnviz.settings import Settings
from rnnviz.signals import SIGNALS, latex
from rnnviz.text import CORPORA, DATA, Corpus, read, split

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = DATA / "example"
REFRESH_SECONDS = 0.5
_FAVICON = Path(__file__).resolve().parent / "static" / "favicon.svg"


@dataclass(frozen=True)
class PageInfo:
    """A page in the navigation: its address, the message id of its title, and its icon."""

    name: str
    title: str
    icon: str


PAGES = (
    PageInfo("home", "Home", ":material/home:"),
    PageInfo("train", "Train", ":material/play_circle:"),
)
_navigated = False


@dataclass(frozen=True)
class Frame:
    """A page under way: its name, its language, and the functions that depend on it."""

    page: str
    language: str
    translate: Translate

    def lesson(self, part: str) -> str:
        """A part of this page's prose."""
        return lesson_part(self.page, self.language, part)

    def explain(self, error: InputError) -> str:
        """What was wrong, in the reader's language, with settings by the names they have on the page."""
        name = error.values.get("name")
        label = setting_labels(self.translate).get(str(name), name)
        message = explain(InputError(error.message, **{**error.values, "name": label}), self.translate)
        return message[:1].upper() + message[1:]


def start_from_address(key: str, options: Sequence[str], default: str) -> None:
    """Before a widget of few options: its value is the visitor's last one, or the address's, or the default.

    Streamlit's own binding would put the translated label into the address; this puts the option.
    """
    if st.session_state.get(key) not in options:
        asked = st.query_params.get(key)
        st.session_state[key] = asked if asked in options else default


def keep_in_address(key: str, default: str) -> str:
    """After the widget: the address names every value that is not the default. Returns the value."""
    value = str(st.session_state.get(key) or default)
    if value != default:
        st.query_params[key] = value
    else:
        st.query_params.pop(key, None)
    return value


def _choose_language() -> str:
    """The language picker. It starts at `?lang=`, or at the browser's own language."""
    default = match_language(st.context.locale)
    start_from_address("lang", list(LANGUAGES), default)
    st.sidebar.segmented_control(
        "Language / 语言",
        list(LANGUAGES),
        format_func=LANGUAGES.__getitem__,
        key="lang",
        persist_state="session",
        label_visibility="collapsed",
        required=True,
    )
    return keep_in_address("lang", default)


def _pages(translate: Translate) -> list[Any]:
    return [
        st.Page(
            ROOT / "pages" / f"{page.name}.py",
            title=translate(page.title),
            icon=page.icon,
            url_path="" if page.name == "home" else page.name,
            default=page.name == "home",
        )
        for page in PAGES
    ]


def navigation() -> Any:
    """Install the pages and return the one that was asked for. `app.py` runs it."""
    global _navigated  # noqa: PLW0603  one server, one navigation
    if not _navigated:
        gc.collect()
        gc.freeze()  # what was imported stays; collections need not walk through it again
        _navigated = True
    st.set_page_config("rnnviz", _FAVICON, layout="wide", initial_sidebar_state=230)
    page = st.navigation(_pages(translator(_choose_language())))
    with st.sidebar:
        preload()
    return page


def open_page(name: str) -> Frame:
    """The first line of every page: title, language, and a way in for deep links.

    A fresh server that is first asked for `/train` runs that page without `app.py`, because it
    sees the folder `pages/`. Then the navigation is installed here, and the script run again.
    """
    if not _navigated:
        navigation()
        st.rerun()
    language = str(st.session_state.get("lang") or match_language(st.context.locale))
    frame = Frame(name, language, translator(language))
    st.title(frame.translate(next(page.title for page in PAGES if page.name == name)))
    return frame


@st.cache_resource
def engine() -> Engine:
    """The one engine of this server; its cluster starts in the background."""
    settings = Settings.from_environment()
    return Engine(settings.scheduler, settings.workers)


@st.cache_resource(max_entries=64)
def _follower(folder: str) -> Follower:
    return Follower(Run.open(folder))


def follow(run: Run) -> Follower:
    """The follower that all viewers of a run share. Raises InputError where the run is damaged."""
    follower: Follower = _follower(str(run.folder))
    return follower


@st.cache_data(max_entries=256, show_spinner=False)
def _packed(identity: tuple[Any, ...], _make: Callable[[], Any]) -> str:
    return pack(_make())


def chart(run: Run, make: Callable[[], Any], *identity: Any, key: str, description: str, height: int = 320) -> None:
    """A live chart of a run: the figure that `make` gives, made once for all who see the same `identity` of it."""
    packed = _packed((key, str(run.folder), *identity), make)
    live_chart(packed, key=key, description=description, revision=run.id, height=height)


def show_error(frame: Frame, error: InputError) -> None:
    """An error message in the reader's language."""
    st.error(_as_text(frame.explain(error)), icon=":material/error:")


def _as_text(text: str) -> str:
    """Text that Markdown shows as it is: what a user wrote must not become a link or a heading."""
    return "".join("\\" + c if c in r"\`*_{}[]()<>#+-.!|~$:" else c for c in text)


def show_run(frame: Frame, run: Run, *, live: bool) -> None:
    """A run's curves, gates and writing; while it is live they move by themselves."""
    st.fragment(_run_view, run_every=REFRESH_SECONDS if live else None)(frame, run, live)


def _run_view(frame: Frame, run: Run, live: bool) -> None:
    try:
        follower = follow(run)
        view = engine().view(run.id) if run.folder != EXAMPLE else None
        story = follower.story(newest=not live)
    except InputError as error:
        show_error(frame, error)
        return
    if view and view.moving != live:
        st.rerun()  # the buttons above have to change as well
    if view:
        _show_progress(frame, run, view, story)
    _show_curves(frame, run, story)
    _show_gates(frame, run)
    _show_predictions(frame, story)


def _show_progress(frame: Frame, run: Run, view: View, story: Story) -> None:
    """One line: what the run is doing, how far it is, how fast, how long yet; or how it ended."""
    _ = frame.translate
    follower, config, status = follow(run), run.config, view.status
    step = story.steps[-1].step if story.steps else 0
    epoch = min(step // follower.steps_per_epoch + 1, config.epochs)
    parts = [_STATES(_)[status.state], _("epoch {epoch:,} of {epochs:,}").format(epoch=epoch, epochs=config.epochs)]
    if status.state in LIVE and story.steps_per_second:
        speed = story.steps_per_second * config.batch_size * config.num_steps
        left = (follower.total_steps - step) / max(story.steps_per_second, 1e-9)
        parts += [
            _("{speed} characters/s").format(speed=quantity(speed)),
            _("{time} left").format(time=duration(left)),
        ]
        if view.sharing > 1:
            parts.append(_("{count} runs share this machine").format(count=view.sharing))
    if story.epochs:
        parts.append(_("perplexity {value}").format(value=quantity(story.epochs[-1].perplexity)))
    st.progress(min(step / follower.total_steps, 1.0), text=" · ".join(parts))
    if status.state == "failed":
        show_error(frame, InputError(status.message, **dict(status.values or {})))


def _STATES(_: Translate) -> dict[str, str]:  # noqa: N802
    return {
        "queued": _("Starting"),
        "running": _("Training"),
        "paused": _("Paused"),
        "finished": _("Finished"),
        "stopped": _("Stopped"),
        "failed": _("Failed"),
    }


def _show_curves(frame: Frame, run: Run, story: Story) -> None:
    _ = frame.translate
    config, follower, V = run.config, follow(run), len(run.corpus.vocabulary)
    identity = (story.version, frame.language)
    left, right = st.columns(2)
    with left:
        st.markdown("**" + _("Perplexity") + "**")
        chart(
            run,
            lambda: perplexity_figure(story.epochs, V, config.epochs, _),
            *identity,
            key="perplexity",
            description=_describe_perplexity(frame, story, V),
        )
    with right:
        st.markdown("**" + _("Gradient norm") + "**")
        chart(
            run,
            lambda: gradient_norm_figure(story.steps, config.clip, follower.steps_per_epoch, config.epochs, _),
            *identity,
            key="gradient_norm",
            description=_describe_norm(frame, story, config.clip),
        )


def _describe_perplexity(frame: Frame, story: Story, vocab_size: int) -> str:
    _ = frame.translate
    if not story.epochs:
        return _("Perplexity against epoch; no epoch has ended yet.")
    last = story.epochs[-1]
    held_out = "–" if last.held_out_perplexity is None else quantity(last.held_out_perplexity)
    return _(
        "Perplexity against epoch. At epoch {epoch}: training {training}, held-out {held_out}, uniform guess {uniform}."
    ).format(epoch=last.epoch, training=quantity(last.perplexity), held_out=held_out, uniform=vocab_size)


def _describe_norm(frame: Frame, story: Story, theta: float) -> str:
    _ = frame.translate
    if not story.steps:
        return _("Gradient norm against epoch; no step has been taken yet.")
    last = story.steps[-1]
    return _(
        "Gradient norm at every step. At the last one: before clipping {before}, after {after}, θ = {theta}."
    ).format(before=quantity(last.norm_before), after=quantity(last.norm_after), theta=f"{theta:g}")


def _show_gates(frame: Frame, run: Run) -> None:
    """The heatmap of one signal, chosen by gate, layer and direction."""
    _ = frame.translate
    trace = run.recording()
    if trace is None:
        st.caption(_("The gates appear with the first recording."))
        return
    st.markdown("**" + _("Inside the cell, character by character") + "**")
    row = st.container(horizontal=True, vertical_alignment="bottom", gap="medium")
    telling = {"rnn": "H", "gru": "Z", "lstm": "F"}[trace.cell]
    name = _pick(
        row, _("Signal"), trace.names, "signal", lambda n: f"{SIGNALS[n].symbol} {_(SIGNALS[n].label)}", telling
    )
    layers = [str(n) for n in range(1, trace.num_layers + 1)]
    layer = _pick(row, _("Layer"), layers, "layer", str) if len(layers) > 1 else "1"
    directions = {"forward": _("forward"), "backward": _("backward")}
    direction = "forward"
    if len(trace.directions) > 1:
        direction = _pick(row, _("Direction"), trace.directions, "direction", directions.__getitem__)
    orders = {"similarity": _("by similarity"), "mean": _("by mean"), "index": _("by index")}
    order = _pick(row, _("Units"), tuple(orders), "units", orders.__getitem__)
    version = run.recording_path().stat().st_mtime_ns
    chart(
        run,
        lambda: gates_figure(trace, name, int(layer), direction, order, _),
        version,
        (name, layer, direction, order, frame.language),
        key="gates",
        description=_("Heatmap of {signal}: {units} units by the {length} characters of the probe text.").format(
            signal=_(SIGNALS[name].label), units=trace.signal(name).shape[1], length=len(trace.text)
        ),
        height=440,
    )
    st.latex(latex(trace.cell, name, trace.reset, trace.activation))


def _pick(
    row: Any, label: str, options: Sequence[str], key: str, show: Callable[[str], str], default: str | None = None
) -> Any:
    """One of a few options, side by side, kept in the address."""
    default = default or options[0]
    start_from_address(key, options, default)
    row.segmented_control(label, options, format_func=show, key=key, persist_state="session", required=True)
    return keep_in_address(key, default)


def _select(place: Any, label: str, names: Mapping[str, str], key: str, default: str, **more: Any) -> str:
    """One of several options, by their names in the reader's language, kept in the address."""
    start_from_address(key, list(names), default)
    place.selectbox(label, list(names), format_func=names.__getitem__, key=key, persist_state="session", **more)
    return keep_in_address(key, default)


def _show_predictions(frame: Frame, story: Story) -> None:
    """What the model wrote, the newest first."""
    _ = frame.translate
    st.markdown("**" + _("What it writes") + "**")
    if not story.predictions:
        st.caption(_("The first text appears after some epochs."))
        return
    newest = story.predictions[-1].epoch
    st.caption(_("after epoch {epoch}").format(epoch=newest))
    for prediction in story.predictions:
        if prediction.epoch == newest:
            st.code(prediction.text, language=None, wrap_lines=True)
    earlier = [p for p in reversed(story.predictions) if p.epoch != newest]
    if earlier:
        with st.expander(_("Earlier texts")):
            st.code("\n\n".join(f"{p.epoch}: {p.text}" for p in earlier), language=None, wrap_lines=True)


def show_downloads(frame: Frame, run: Run) -> None:
    """The run's files, read when their button is pressed."""
    _ = frame.translate
    files: tuple[tuple[str, str, Callable[[], bytes]], ...] = (
        (_("Configuration (JSON)"), "config.json", (run.folder / "config.json").read_bytes),
        (_("Reports (CSV)"), "reports.csv", lambda: to_csv(run.reports()).encode("utf-8-sig")),
        (_("Checkpoint (safetensors)"), "checkpoint.safetensors", run.checkpoint_path().read_bytes),
        (_("Recording (NumPy)"), "recording.npz", run.recording_path().read_bytes),
    )
    with st.popover(_("Download"), icon=":material/download:"):
        for label, name, read in files:
            st.download_button(label, read, file_name=name, key=f"download-{name}", on_click="ignore", type="tertiary")


def chosen_run(frame: Frame) -> Run | None:
    """The run named by `?run=` in the address, or the last one this visitor started; None without one."""
    run_id = st.query_params.get("run") or st.session_state.get("run")
    if not run_id:
        return None
    try:
        run = Run.find(run_id)
    except InputError as error:
        st.session_state.pop("run", None)
        show_error(frame, error)
        return None
    st.session_state["run"] = st.query_params["run"] = run_id
    return run


_NUMBERS = (  # of the settings, in the order in which they stand in the form
    "hidden_size", "num_layers", "forget_bias", "max_chars", "batch_size", "num_steps",
    "epochs", "learning_rate", "clip", "seed", "predict_every", "predict_length",
)  # fmt: skip


def _apply_preset() -> None:
    """A new preset: every setting takes its value."""
    values = PRESETS[st.session_state["preset"]].config.settings()
    for key in (*_NUMBERS, *_CHOICES, "bidirectional", "keep_line_breaks", "probe"):
        st.session_state[key] = values[key]
    st.session_state["prefixes"] = ", ".join(values["prefixes"])


_ONLY_FOR = {"reset": "gru", "activation": "rnn", "forget_bias": "lstm"}
_CHOICES = ("cell", "implementation", "reset", "activation", "initialisation", "sampling", "optimizer")


def training_form(frame: Frame) -> TrainConfig | None:
    """Preset first, all settings one click away; None where they contradict each other, and why."""
    _ = frame.translate
    left, right = st.columns(2)
    texts = {name: _(corpus.label) for name, corpus in CORPORA.items()}
    texts |= {"upload": _("Upload a file"), "paste": _("Paste a text")}
    text = _select(left, _("Text"), texts, "corpus", TrainConfig.corpus)
    presets = {name: _(preset.label) for name, preset in PRESETS.items()}
    chosen = _select(right, _("Model and settings"), presets, "preset", "quick", on_change=_apply_preset)
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
                values[name] = _select(st, labels[name], options, name, start[name], disabled=idle)
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


def _number(name: str, start: float, label: str, idle: bool) -> Any:
    low, high = RANGES[name]
    is_real = isinstance(start, float)
    kind: Any = float if is_real else int
    return st.number_input(
        label,
        kind(low),
        kind(high),
        start,
        step=(start / 10 or 0.5) if is_real else 1,
        format="%g" if is_real else "%d",
        key=name,
        bind="query-params",
        persist_state="session",
        disabled=idle,
    )


def setting_labels(_: Translate) -> dict[str, str]:
    """What a setting is called."""
    return {
        "cell": _("Cell"),
        "implementation": _("Implementation"),
        "reset": _("Reset gate (GRU)"),
        "activation": _("Activation (RNN)"),
        "initialisation": _("Initialisation"),
        "sampling": _("Sampling"),
        "optimizer": _("Optimiser"),
        "hidden_size": _("Hidden units"),
        "num_layers": _("Layers"),
        "forget_bias": _("Forget-gate bias (LSTM)"),
        "max_chars": _("Training characters"),
        "batch_size": _("Batch size"),
        "num_steps": _("Time steps"),
        "epochs": _("Epochs"),
        "learning_rate": _("Learning rate"),
        "clip": _("Clipping threshold θ (0: off)"),
        "seed": _("Seed"),
        "predict_every": _("Write every … epochs (0: never)"),
        "predict_length": _("Characters to write"),
        "bidirectional": _("Bidirectional"),
        "keep_line_breaks": _("Keep line breaks"),
        "prefixes": _("Prefixes to continue"),
        "probe": _("Probe text for the gates"),
    }


def setting_names(_: Translate) -> dict[str, str]:
    """What a choice is called."""
    return {
        "rnn": "RNN",
        "gru": "GRU",
        "lstm": "LSTM",
        "fused": _("fused (own BPTT)"),
        "scratch": _("scratch (autograd)"),
        "torch": _("concise (torch.nn)"),
        "before": _("before the matrix product"),
        "after": _("after the matrix product"),
        "relu": "ReLU",
        "normal": "N(0, 0.01)",
        "uniform": "U(−1/√h, 1/√h)",
        "sequential": _("sequential"),
        "random": _("random"),
        "sgd": "SGD",
        "adam": "Adam",
    }


def chosen_corpus(frame: Frame, config: TrainConfig) -> Corpus | None:
    """The corpus of the form, cut as the settings say; None where there is none yet, or it cannot be used."""
    try:
        source = _source(frame, config.corpus)
        if source is None:
            return None
        corpus = _corpus(config.corpus, source, config)
        check_length(config.sampling, len(corpus.training), config.batch_size, config.num_steps)
        config.check_size(len(corpus.vocabulary))
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
            st.caption(_("Still here: {name}").format(name=_as_text(filename)))
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
    state = engine().view(run.id).status.state if run else None
    with st.container(horizontal=True):
        ready = config is not None and corpus is not None and state not in LIVE
        if st.button(_("Train"), type="primary", icon=":material/play_arrow:", disabled=not ready, key="train"):
            assert config is not None  # noqa: S101  the button was enabled
            assert corpus is not None  # noqa: S101
            _act(frame, lambda: _start(config, corpus))
        if run and state in LIVE and st.button(_("Pause"), icon=":material/pause:", key="pause"):
            _act(frame, lambda: engine().pause(run.id))
        if run and state == "paused" and st.button(_("Resume"), icon=":material/resume:", key="resume"):
            _act(frame, lambda: engine().resume(run.id))
        if run and state in (*LIVE, "paused") and st.button(_("Stop"), icon=":material/stop:", key="stop"):
            _act(frame, lambda: engine().cancel(run.id))
    if config and config.model.bidirectional:
        st.caption(_("A bidirectional layer has already seen the next character: its perplexity falls to 1 for free."))


def _start(config: TrainConfig, corpus: Corpus) -> None:
    st.session_state["run"] = st.query_params["run"] = engine().submit(config, corpus)


def _act(frame: Frame, action: Callable[[], None]) -> None:
    try:
        action()
    except InputError as error:
        show_error(frame, error)
    else:
        st.rerun()
