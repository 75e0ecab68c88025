"""A run on a page: its progress, curves, gates and writing, live while it goes on, and its files."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from threading import Lock
from typing import Any

import streamlit as st
from cachetools import LRUCache, TLRUCache, cached

from rnnviz.cells import cell_of
from rnnviz.config import TrainConfig
from rnnviz.engine.engine import View
from rnnviz.engine.jobs import LIVE
from rnnviz.engine.settings import MIB
from rnnviz.errors import InputError
from rnnviz.figures.curves import gradient_norm_figure, perplexity_figure
from rnnviz.figures.gates import gates_figure
from rnnviz.figures.references import reference_values
from rnnviz.i18n import Translate, duration, quantity, why_it_cannot_continue, why_not_a_language_model
from rnnviz.runs.folder import Run
from rnnviz.runs.follower import Follower, Story
from rnnviz.runs.recording import Trace
from rnnviz.runs.reports import GlobalNorms, Report, best_held_out, to_csv
from rnnviz.signals import SIGNALS, in_direction, latex
from rnnviz.text.corpora import DATA
from rnnviz.text.ngram import References
from rnnviz.ui.charts import Chart, live_charts, pack, together
from rnnviz.ui.controls import pick
from rnnviz.ui.frame import Frame, as_text, engine, show_error, visitor
from rnnviz.ui.labels import state_names
from rnnviz.ui.live import MOVING, REFRESH_SECONDS, halted_seconds, live_part, refresh_seconds
from rnnviz.ui.references import references_of
from rnnviz.ui.writing import show_writing

_CURVES = "app/newest"  # the address of the newest curves, in rnnviz/server.py
_CURVES_SECONDS_A_VIEWER = 0.033
_UNSERVED = "curves-unserved"  # in a session whose browser gets no answer from that address
_FIRST_POINT_SECONDS = 0.1
_PACKED_BYTES, _RECORDED_BYTES = 32 * MIB, 64 * MIB  # the memory for the charts and recordings of all runs


def ships(run: Run) -> bool:
    """Whether the run comes with the app; no engine knows of it."""
    return run.folder.parent == DATA


def example(frame: Frame) -> Run:
    """The run that ships in the reader's language."""
    return Run.open(DATA / f"example-{frame.language}")


# cachetools, because Streamlit's caches take longer to find their keys than these functions take.


@cached(LRUCache(64), key=lambda run: run.folder, lock=Lock())
def follow(run: Run) -> Follower:
    """The follower that all viewers of a run share. Raises InputError where the run is damaged."""
    return Follower(run)


@cached(LRUCache(_PACKED_BYTES, getsizeof=len), key=lambda identity, _: identity, lock=Lock())
def _packed(identity: tuple[Any, ...], make: Callable[[], bytes]) -> bytes:
    return make()


def _recorded_bytes(recorded: tuple[int, Trace] | None) -> int:
    return 1 if recorded is None else sum(signal.nbytes for signal in recorded[1].signals.values())


@cached(
    TLRUCache(
        _RECORDED_BYTES,
        ttu=lambda key, value, now: now + 0.5 * refresh_seconds(),
        getsizeof=_recorded_bytes,
    ),
    key=lambda run: run.folder,
    lock=Lock(),
)
def _recorded(run: Run) -> tuple[int, Trace] | None:
    """The newest recording and its version, read once for all who watch; None before the first."""
    version = run.recording_version()
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
    """A chart of a run: the figure that `make` returns, made once for all who see the same `identity` of it."""
    return _packed(
        (name, run.folder, *identity),
        lambda: pack(Chart(make(), name, describe(), height, title, revision=run.id)),
    )


def show_run(frame: Frame, run: Run) -> None:
    """A run's curves, gates and writing, which update while the run goes on.

    Each part is a fragment, so that a choice among the gates redraws only the gates. If many watch, the curves
    update more often than the rest: the browser fetches them without Streamlit. Where it cannot, because a proxy
    does not pass their address on, they update with the progress.
    """
    _ = frame.translate
    unserved = _UNSERVED in st.session_state
    every = live_part(
        frame,
        lambda: phase_of(run),
        lambda phase: _show_progress_and_curves(frame, run, phase, served=not unserved),
        watch_halted=unserved,
    )
    st.markdown("**" + _("Inside the cell, character by character") + "**")
    st.fragment(_gates_view, run_every=every)(frame, run)
    st.markdown("**" + _("What it writes") + "**")
    st.fragment(_writing_view, run_every=2 * every if every else None)(frame, run)


def curves_seconds(version: int = 1) -> float:
    """Seconds between two looks for curves newer than this version; version 0 has no point yet, so they are short."""
    return max(REFRESH_SECONDS if version else _FIRST_POINT_SECONDS, _CURVES_SECONDS_A_VIEWER * engine().viewers)


def phase_of(run: Run) -> str:
    """Whether a run is moving, or else its state: `paused`, `finished`, `stopped` or `failed`."""
    view = None if ships(run) else engine().view(run.id)
    return "finished" if view is None else MOVING if view.moving else view.status.state


def _show_progress_and_curves(frame: Frame, run: Run, phase: str, *, served: bool) -> None:
    story = follow(run).story(max_age=0.8 * curves_seconds() if phase == MOVING else 0.0)
    if not ships(run):
        show_progress(frame, run, engine().view(run.id), story)
    if served and _UNSERVED in st.session_state:
        st.rerun()
    live_charts(curves(frame, run, story, phase, served=served), key="curves", on_unserved=_note_unserved)


def _note_unserved() -> None:
    st.session_state[_UNSERVED] = True


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
        return  # the view above reports the error
    if run.config.task == "restore":
        st.caption(frame.translate("This model restores masked characters; it does not continue texts."))
        return
    if run.config.reads_ahead:
        st.caption(why_it_cannot_continue(frame.translate))
    show_writing(frame, run, story, continues=not run.config.reads_ahead)


def show_progress(frame: Frame, run: Run, view: View, story: Story) -> None:
    """One line: what the run is doing, its progress, its speed and the time left, or how it ended."""
    _ = frame.translate
    follower, config, status = follow(run), run.config, view.status
    step = story.step
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
        last = story.epochs[-1]
        reached = _("perplexity {value}, future read") if config.reads_ahead else _("perplexity {value}")
        parts.append(reached.format(value=quantity(last.perplexity)))
        if last.held_out_perplexity is not None:
            parts.append(_("held-out {value}").format(value=quantity(last.held_out_perplexity)))
    st.progress(min(step / follower.total_steps, 1.0), text=" · ".join(parts))
    reason = InputError(status.message, **dict(status.values or {})) if status.message else None
    if reason and status.state == "failed":
        show_error(frame, reason)
        if story.failure and len(story.norms):
            st.caption(clipping_in_hindsight(story.norms, config, _))
    elif reason:
        st.info(as_text(frame.explain(reason)), icon=":material/info:")
    if view.workers == 0 and status.state in LIVE:
        st.caption(_("There is no worker yet; the run waits for one."))
    if view.recoveries:
        st.caption(
            _("A worker died {count} times; the run went on from its last checkpoint.").format(count=view.recoveries)
        )


def clipping_in_hindsight(norms: GlobalNorms, config: TrainConfig, translate: Translate) -> str:
    """What clipping did to the recorded gradients of a run that diverged, or would have done to them.

    A step of SGD is η times the clipped norm long. Adam's steps do not change when all gradients are scaled.
    """
    _ = translate
    rate, theta, worst = config.learning_rate, config.clip, int(norms.before.argmax())
    smaller = 10.0 ** math.floor(-math.log10(rate))  # the largest power of ten that keeps SGD's steps to 1
    said = [_("The gradient norm was {first} in the first step and {norm} at most, in step {step:,}.")]
    if config.optimizer == "adam":
        said += [
            _("Clipping at θ = {theta} shortened {count:,} of {steps:,} gradients.")
            if theta
            else _("Clipping was off; θ = {theta} would have shortened {count:,} of {steps:,} gradients."),
            _("But Adam divides by the size of the gradients: how long its steps are depends on η = {rate}."),
        ]
    elif theta:
        said.append(
            _(
                "Clipping at θ = {theta} shortened {count:,} of {steps:,} gradients, "
                "so that no step was longer than ηθ = {length}."
            )
        )
    else:
        said.append(_("Clipping was off, so the longest step was η = {rate} times as long: {length}."))
    if config.optimizer == "sgd" and rate * (theta or math.inf) > 1:
        said.append(_("With θ = {smaller} no step would have been longer than ηθ = {limit}."))
    return " ".join(said).format(
        first=quantity(float(norms.before[0])),
        norm=quantity(float(norms.before[worst])),
        step=int(norms.step[worst]),
        theta=f"{theta or 1:g}",
        count=int((norms.before > (theta or 1)).sum()),
        steps=len(norms),
        length=f"{rate * theta:.3g}" if theta else quantity(rate * float(norms.before[worst])),
        rate=f"{rate:g}",
        smaller=f"{smaller:g}",
        limit=f"{rate * smaller:.3g}",
    )


def newest_curves(frame: Frame, run_id: str, version: int, phase: str) -> bytes | None:
    """A run's curves if they are newer than this version or the run is in another phase by now, else None.

    Raises InputError where there is no such run.
    """
    run = _found(run_id)
    now = phase_of(run)
    story = follow(run).story(max_age=0.8 * curves_seconds(version) if now == MOVING else 0.0)
    return curves(frame, run, story, now) if (story.version, now) != (version, phase) else None


@cached(LRUCache(64), lock=Lock())
def _found(run_id: str) -> Run:
    return Run.find(run_id)


def curves(frame: Frame, run: Run, story: Story, phase: str, *, served: bool = True) -> bytes:
    """Perplexity and gradient norm, and if they are `served`, where to fetch newer ones unless the run has ended."""
    _ = frame.translate
    config, follower, V = run.config, follow(run), len(run.corpus.vocabulary)
    identity, compared = (story.version, frame.language), references_of(run)
    perplexity = packed(
        run,
        lambda: perplexity_figure(
            story.epochs, V, config.epochs, _, reads_ahead=config.reads_ahead, references=compared
        ),
        lambda: _describe_perplexity(frame, story, V, config, compared),
        *identity,
        compared is None,
        name="perplexity",
        title=_("Perplexity of the masked characters") if config.task == "restore" else _("Perplexity"),
    )
    gradient_norm = packed(
        run,
        lambda: gradient_norm_figure(story.norms, config.clip, follower.steps_per_epoch, config.epochs, _),
        lambda: _describe_norm(frame, story, config.clip),
        *identity,
        name="gradient_norm",
        title=_("Gradient norm"),
    )
    every = (curves_seconds(story.version) if phase == MOVING else halted_seconds(phase)) if served else None
    source = f"{_CURVES}/{run.id}?lang={frame.language}&phase={phase}" if every else ""
    return together(perplexity, gradient_norm, version=story.version, source=source, every=every)


def _describe_perplexity(
    frame: Frame, story: Story, vocab_size: int, config: TrainConfig, references: References | None
) -> str:
    _ = frame.translate
    if not story.epochs:
        return _("Perplexity against epoch; no epoch has ended yet.")
    last = story.epochs[-1]
    held_out = "–" if last.held_out_perplexity is None else quantity(last.held_out_perplexity)
    said = _(
        "Perplexity against epoch. At epoch {epoch:,}: training {training}, held-out {held_out}, "
        "uniform guess {uniform:,}."
    ).format(epoch=last.epoch, training=quantity(last.perplexity), held_out=held_out, uniform=vocab_size)
    best = best_held_out(story.epochs)
    if best:
        value = quantity(best.held_out_perplexity or math.nan)
        said += " " + _("Best held-out: {value} in epoch {epoch:,}.").format(value=value, epoch=best.epoch)
    if references:
        counted = ", ".join(f"{name} {quantity(value)}" for name, value in reference_values(references, _).items())
        said += " " + _("The same held-out characters under n-gram models: {values}.").format(values=counted)
    return f"{said} {why_not_a_language_model(_)}" if config.reads_ahead else said


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
    cell = cell_of(trace)
    name = pick(
        row, _("Signal"), trace.names, "signal", lambda n: f"{SIGNALS[n].symbol} {_(SIGNALS[n].label)}", cell.main
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
        lambda: _("Heatmap of {signal}: {units:,} units by the {length:,} characters of the probe text.").format(
            signal=_(SIGNALS[name].label), units=trace.signal(name).shape[1], length=len(trace.text)
        ),
        version,
        (name, layer, direction, order, frame.language),
        name="gates",
        height=440,
    )
    live_charts(together(gates), key="gates")
    st.latex(latex(in_direction(cell.equations[name], direction)))


def show_downloads(frame: Frame, run: Run) -> None:
    """The run's files, read when their button is pressed."""
    _ = frame.translate
    files: tuple[tuple[str, str, Callable[[], bytes]], ...] = (
        (_("Configuration (JSON)"), "config.json", (run.folder / "config.json").read_bytes),
        (_("Reports (CSV)"), "reports.csv", lambda: _csv_of(run).encode("utf-8-sig")),
        (_("Checkpoint (safetensors)"), "checkpoint.safetensors", run.checkpoint_path().read_bytes),
        (_("Recording (NumPy)"), "recording.npz", run.recording_path().read_bytes),
    )
    with st.popover(_("Download"), icon=":material/download:"):
        for label, name, read in files:
            st.download_button(label, read, file_name=name, key=f"download-{name}", on_click="ignore", type="tertiary")


def _csv_of(run: Run) -> str:
    return to_csv(_each_report(run), reads_ahead=run.config.reads_ahead)


def _each_report(run: Run) -> Iterator[Report]:
    for batch, _ in run.report_batches():
        yield from batch


def chosen_run(frame: Frame) -> Run | None:
    """The run named by `?run=` in the address, or the last one this visitor started here; None without one."""
    run_id = st.query_params.get("run") or st.session_state.get(_own_run(frame))
    if not run_id:
        return None
    try:
        run = whole_run(run_id)
    except InputError as error:
        st.session_state.pop(_own_run(frame), None)
        show_error(frame, error)
        return None
    remember_run(frame, run_id)
    return run


def whole_run(run_id: str) -> Run:
    """The run of this id. Raises InputError where there is none, or a file is damaged that every page needs."""
    run = Run.find(run_id)
    _ = run.corpus, engine().view(run_id)
    return run


def remember_run(frame: Frame, run_id: str) -> None:
    """Show this run on this page from now on, and put it into the address."""
    st.session_state[_own_run(frame)] = st.query_params["run"] = run_id
    engine().watch(run_id, visitor())


def _own_run(frame: Frame) -> str:
    """Each page has its own run: a chapter's small model is not the training page's."""
    return f"run-{frame.page}"
