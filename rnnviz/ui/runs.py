"""A run on a page: its progress, curves, gates and writing, live while it goes on, and its files."""

from __future__ import annotations

from collections.abc import Callable
from random import uniform
from threading import Lock
from typing import Any

import streamlit as st
from cachetools import LRUCache, TLRUCache, cached

from rnnviz.engine import LIVE, View
from rnnviz.errors import InputError
from rnnviz.figures import gates_figure, gradient_norm_figure, perplexity_figure
from rnnviz.following import Follower, Story
from rnnviz.i18n import duration, quantity
from rnnviz.live import live_charts, pack, together
from rnnviz.recording import Trace
from rnnviz.reports import to_csv
from rnnviz.runs import Run
from rnnviz.signals import SIGNALS, latex
from rnnviz.text import DATA
from rnnviz.ui.frame import Frame, as_text, engine, pick, show_error, visitor
from rnnviz.ui.labels import state_names

EXAMPLE = DATA / "example"
REFRESH_SECONDS = 0.5
_CURVES = "app/newest"  # the address of the newest curves, in rnnviz/server.py
# Thirty viewers leave the processor to training and to whoever presses a button.
_SECONDS_A_VIEWER = 0.2
_CURVES_SECONDS_A_VIEWER = 0.033


def ships(run: Run) -> bool:
    """Whether the run comes with the app; no engine knows of it."""
    return run.folder.parent == DATA


# cachetools, because Streamlit's caches take longer to find their keys than these functions take.


@cached(LRUCache(64), key=lambda run: run.folder, lock=Lock())
def follow(run: Run) -> Follower:
    """The follower that all viewers of a run share. Raises InputError where the run is damaged."""
    return Follower(run)


@cached(LRUCache(256), key=lambda identity, _: identity, lock=Lock())
def _packed(identity: tuple[Any, ...], make: Callable[[], bytes]) -> bytes:
    return make()


@cached(
    TLRUCache(64, ttu=lambda key, value, now: now + 0.5 * refresh_seconds()), key=lambda run: run.folder, lock=Lock()
)
def _recorded(run: Run) -> tuple[int, Trace] | None:
    """The newest recording and what tells it from others, read once for all who watch; None before the first."""
    try:
        version = run.recording_path().stat().st_mtime_ns
    except FileNotFoundError:
        return None
    trace: Trace | None = run.recording()
    return None if trace is None else (version, trace)


def packed(
    run: Run,
    make: Callable[[], Any],
    describe: Callable[[], str],
    *identity: Any,
    name: str,
    title: str = "",
    height: int = 320,
) -> bytes:
    """A chart of a run: the figure that `make` gives, made once for all who see the same `identity` of it."""
    return _packed(
        (name, run.folder, *identity),
        lambda: pack(make(), name=name, title=title, description=describe(), revision=run.id, height=height),
    )


def show_run(frame: Frame, run: Run, *, live: bool) -> None:
    """A run's curves, gates and writing; while it is live they move by themselves.

    Each part is a fragment, so that a choice among the gates draws the gates alone. The curves move
    more often than the rest where many watch: the browser fetches them without Streamlit.
    """
    _ = frame.translate
    every = own_refresh_seconds() if live else None
    st.fragment(_live_view, run_every=every)(frame, run, every)
    st.markdown("**" + _("Inside the cell, character by character") + "**")
    st.fragment(_gates_view, run_every=every)(frame, run)
    st.markdown("**" + _("What it writes") + "**")
    st.fragment(_writing_view, run_every=2 * every if every else None)(frame, run)


def refresh_seconds() -> float:
    """How often a live page looks: the more rarely, the more people watch."""
    return max(REFRESH_SECONDS, _SECONDS_A_VIEWER * engine().viewers)


def curves_seconds() -> float:
    """How often its curves are fetched."""
    return max(REFRESH_SECONDS, _CURVES_SECONDS_A_VIEWER * engine().viewers)


def own_refresh_seconds() -> float:
    """The same, a little different for each page: a class that looks in step would wait in step."""
    return refresh_seconds() * uniform(0.85, 1.15)  # noqa: S311  no secret


def _live_view(frame: Frame, run: Run, every: float | None) -> None:
    try:
        follower = follow(run)
        view = None if ships(run) else engine().view(run.id)
        story = follower.story(max_age=0.8 * curves_seconds() if every else 0.0)
    except InputError as error:
        show_error(frame, error)
        return
    if view and (view.moving != bool(every) or (every and not 0.6 < refresh_seconds() / every < 1.7)):
        st.rerun()  # the buttons above have to change as well, or the pace does
    if view:
        show_progress(frame, run, view, story)
    live_charts(curves(frame, run, story, moving=bool(every)), key="curves")


def _gates_view(frame: Frame, run: Run) -> None:
    try:
        recorded = _recorded(run)
    except InputError as error:
        show_error(frame, error)
        return
    if recorded is None:
        st.caption(frame.translate("The gates appear with the first recording."))
    else:
        _show_gates(frame, run, *recorded)


def _writing_view(frame: Frame, run: Run) -> None:
    try:
        story = follow(run).story()
    except InputError:
        return  # the view above says what is wrong
    _show_predictions(frame, story)


def show_progress(frame: Frame, run: Run, view: View, story: Story) -> None:
    """One line: what the run is doing, how far it is, how fast, how long yet; or how it ended."""
    _ = frame.translate
    follower, config, status = follow(run), run.config, view.status
    step = int(story.norms.step[-1]) if len(story.norms) else 0
    epoch = min(step // follower.steps_per_epoch + 1, config.epochs)
    parts = [state_names(_)[status.state], _("epoch {epoch:,} of {epochs:,}").format(epoch=epoch, epochs=config.epochs)]
    if status.state in LIVE and story.steps_per_second:
        speed = story.steps_per_second * config.batch_size * config.num_steps
        left = (follower.total_steps - step) / max(story.steps_per_second, 1e-9)
        parts += [
            _("{speed} characters/s").format(speed=quantity(speed)),
            _("{time} left").format(time=duration(left)),
        ]
        if view.sharing > max(view.workers, 1):
            parts.append(
                _("{count} runs take turns on {workers} workers, so each is at {share:.0%} of its speed").format(
                    count=view.sharing, workers=view.workers, share=view.workers / view.sharing
                )
            )
    if story.epochs:
        parts.append(_("perplexity {value}").format(value=quantity(story.epochs[-1].perplexity)))
    st.progress(min(step / follower.total_steps, 1.0), text=" · ".join(parts))
    reason = InputError(status.message, **dict(status.values or {})) if status.message else None
    if reason and status.state == "failed":
        show_error(frame, reason)
    elif reason:
        st.info(as_text(frame.explain(reason)), icon=":material/info:")
    if view.workers == 0 and status.state in LIVE:
        st.caption(_("No worker is there yet; the run waits for one."))
    if view.recoveries:
        st.caption(
            _("A worker died {count} times; the run went on from its last checkpoint.").format(count=view.recoveries)
        )


def newest_curves(frame: Frame, run_id: str, version: int) -> bytes | None:
    """A run's curves if they are newer than this version or the run has halted, else None.

    Raises InputError where there is no such run.
    """
    run = _found(run_id)
    moving = engine().view(run_id).moving
    story = follow(run).story(max_age=0.8 * curves_seconds() if moving else 0.0)
    return curves(frame, run, story, moving=moving) if story.version != version or not moving else None


@cached(LRUCache(64), lock=Lock())
def _found(run_id: str) -> Run:
    return Run.find(run_id)


def curves(frame: Frame, run: Run, story: Story, *, moving: bool) -> bytes:
    """Perplexity and gradient norm, and while the run moves where to fetch what comes next."""
    _ = frame.translate
    config, follower, V = run.config, follow(run), len(run.corpus.vocabulary)
    identity = (story.version, frame.language)
    perplexity = packed(
        run,
        lambda: perplexity_figure(story.epochs, V, config.epochs, _),
        lambda: _describe_perplexity(frame, story, V),
        *identity,
        name="perplexity",
        title=_("Perplexity"),
    )
    gradient_norm = packed(
        run,
        lambda: gradient_norm_figure(story.norms, config.clip, follower.steps_per_epoch, config.epochs, _),
        lambda: _describe_norm(frame, story, config.clip),
        *identity,
        name="gradient_norm",
        title=_("Gradient norm"),
    )
    source = f"{_CURVES}/{run.id}?lang={frame.language}" if moving else ""
    every = curves_seconds() if moving else None
    return together(perplexity, gradient_norm, version=story.version, source=source, every=every)


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
    norms = story.norms
    if not len(norms):
        return _("Gradient norm against epoch; no step has been taken yet.")
    return _(
        "Gradient norm at every step. At the last one: before clipping {before}, after {after}, θ = {theta}."
    ).format(before=quantity(float(norms.before[-1])), after=quantity(float(norms.after[-1])), theta=f"{theta:g}")


def _show_gates(frame: Frame, run: Run, version: int, trace: Trace) -> None:
    """The heatmap of one signal, chosen by gate, layer and direction."""
    _ = frame.translate
    row = st.container(horizontal=True, vertical_alignment="bottom", gap="medium")
    telling = {"rnn": "H", "gru": "Z", "lstm": "F"}[trace.cell]
    name = pick(
        row, _("Signal"), trace.names, "signal", lambda n: f"{SIGNALS[n].symbol} {_(SIGNALS[n].label)}", telling
    )
    layers = [str(n) for n in range(1, trace.num_layers + 1)]
    layer = pick(row, _("Layer"), layers, "layer", str) if len(layers) > 1 else "1"
    directions = {"forward": _("forward"), "backward": _("backward")}
    direction = "forward"
    if len(trace.directions) > 1:
        direction = pick(row, _("Direction"), trace.directions, "direction", directions.__getitem__)
    orders = {"similarity": _("by similarity"), "mean": _("by mean"), "index": _("by index")}
    order = pick(row, _("Units"), tuple(orders), "units", orders.__getitem__)
    gates = packed(
        run,
        lambda: gates_figure(trace, name, int(layer), direction, order, _),
        lambda: _("Heatmap of {signal}: {units} units by the {length} characters of the probe text.").format(
            signal=_(SIGNALS[name].label), units=trace.signal(name).shape[1], length=len(trace.text)
        ),
        version,
        (name, layer, direction, order, frame.language),
        name="gates",
        height=440,
    )
    live_charts(together(gates), key="gates")
    st.latex(latex(trace.cell, name, trace.reset, trace.activation))


def _show_predictions(frame: Frame, story: Story) -> None:
    """What the model wrote, the newest first."""
    _ = frame.translate
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
    """The run named by `?run=` in the address, or the last one this visitor started here; None without one."""
    run_id = st.query_params.get("run") or st.session_state.get(_own_run(frame))
    if not run_id:
        return None
    try:
        run = Run.find(run_id)
    except InputError as error:
        st.session_state.pop(_own_run(frame), None)
        show_error(frame, error)
        return None
    keep_run(frame, run_id)
    return run


def keep_run(frame: Frame, run_id: str) -> None:
    """The run that this page shows from now on; the address names it."""
    st.session_state[_own_run(frame)] = st.query_params["run"] = run_id
    engine().watch(run_id, visitor().name)


def _own_run(frame: Frame) -> str:
    """Each page has its own run: a chapter's small model is not the training page's."""
    return f"run-{frame.page}"
