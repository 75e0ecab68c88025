"""A run on a page: its progress, curves, gates and writing, live while it goes on, and its files."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

import streamlit as st
from cachetools import LRUCache, TLRUCache, cached

from rnnviz.cells import cell_of
from rnnviz.config import ModelConfig, TrainConfig
from rnnviz.engine.engine import View
from rnnviz.engine.jobs import LIVE
from rnnviz.engine.settings import MIB
from rnnviz.errors import InputError
from rnnviz.figures.curves import gradient_norm_figure, perplexity_figure
from rnnviz.figures.gates import Order, gates_figure, unit_order
from rnnviz.figures.references import reference_values
from rnnviz.i18n import Translate, duration, quantity, why_it_cannot_continue, why_not_a_language_model
from rnnviz.runs.folder import Run
from rnnviz.runs.follower import Follower, Story
from rnnviz.runs.recording import Trace
from rnnviz.runs.reports import GlobalNorms, Report, best_held_out, to_csv
from rnnviz.signals import SIGNALS, in_direction, latex
from rnnviz.text.corpora import DATA
from rnnviz.text.ngram import References
from rnnviz.ui.charts import Chart, Slider, live_charts, pack, together
from rnnviz.ui.controls import by_step, formula, note, pick
from rnnviz.ui.frame import Frame, as_text, engine, let_it_be_drawn, show_error, visitor
from rnnviz.ui.hindsight import what_changed
from rnnviz.ui.labels import state_names
from rnnviz.ui.live import MOVING, REFRESH_SECONDS, halted_seconds, live_part, refresh_seconds
from rnnviz.ui.references import references_of, references_of_both
from rnnviz.ui.two_runs import gradient_norms, names_apart, perplexities
from rnnviz.ui.writing import show_predictions, show_writing

_CURVES = "app/newest"  # the address of the newest curves, in rnnviz/server.py
_CURVES_SECONDS_A_VIEWER = 0.033
_UNSERVED = "curves-unserved"  # in a session whose browser gets no answer from that address
_FIRST_POINT_SECONDS = 0.1
_SENT_BYTES = 4 * MIB  # of recordings at once, to a browser
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


def show_run(frame: Frame, run: Run, about: str = "", other: Run | None = None) -> None:
    """A run's curves, gates and writing, which update while the run goes on and stand where page.css puts them.

    Each part is a fragment, so that a choice among the gates redraws only the gates. If many watch, the curves
    update more often than the rest: the browser fetches them without Streamlit. Where it cannot, because a proxy
    does not pass their address on, they update with the progress. `about` stands in place of the progress of a run
    that ships. The `other` run's curves are drawn over this one's, and its gates beside them.
    """
    unserved = _UNSERVED in st.session_state
    with st.container(key="run-place"), st.container(key="run"):
        curves_place = st.container(key="run-curves", gap="small")
        gates_place = st.container(key="run-gates")
        writing_place = st.container(key="run-writing", gap="small")
    with curves_place:
        every = live_part(
            frame,
            lambda: _phase_of(run, other),
            lambda phase: _show_curves(frame, run, phase, about, other, served=not unserved),
            watch_halted=unserved,
        )
    with writing_place:
        st.markdown("**" + frame.translate("What it writes") + "**")
        st.fragment(_writing_view, run_every=2 * every if every else None)(frame, run, other)
    with gates_place:  # last, because a browser draws all that is above before their equations
        st.fragment(_gates_view, run_every=every)(frame, run, other)


def curves_seconds(version: int = 1) -> float:
    """Seconds between two looks for curves newer than this version; version 0 has no point yet, so they are short."""
    return max(REFRESH_SECONDS if version else _FIRST_POINT_SECONDS, _CURVES_SECONDS_A_VIEWER * engine().viewers)


def phase_of(run: Run) -> str:
    """Whether a run is moving, or else its state: `paused`, `finished`, `stopped` or `failed`."""
    view = None if ships(run) else engine().view(run.id)
    return "finished" if view is None else MOVING if view.moving else view.status.state


def _phase_of(run: Run, other: Run | None) -> str:
    """The phase of a run, or MOVING as long as the other one moves."""
    return MOVING if other is not None and phase_of(other) == MOVING else phase_of(run)


def _show_curves(frame: Frame, run: Run, phase: str, about: str, other: Run | None, *, served: bool) -> None:
    story = follow(run).story(max_age=0.8 * curves_seconds() if phase == MOVING else 0.0)
    view = None if ships(run) else engine().view(run.id)
    if view is not None:
        show_bar(frame, run, view, story)
    elif about:
        st.progress(1.0, text=about)
    if served and _UNSERVED in st.session_state:
        st.rerun()
    live_charts(curves(frame, run, story, phase, other, served=served), key="curves", on_unserved=_note_unserved)
    with st.container(key="run-says", gap="small"):
        if view is not None:
            show_messages(frame, run, view, story)
        if phase != MOVING:
            _say_what_changed(frame, run, story)


def _note_unserved() -> None:
    st.session_state[_UNSERVED] = True


def _say_what_changed(frame: Frame, run: Run, story: Story) -> None:
    steps = run.recording_steps()
    try:
        first, last = run.recording(steps[0]) if steps else None, run.recording()
    except InputError:
        return  # the gates below report the error
    config = run.config
    said = what_changed(
        story.epochs,
        story.norms,
        config.clip,
        first,
        last,
        frame.translate,
        mean_of_exponentials=story.mean_of_exponentials,
        reads_ahead=config.reads_ahead,
    )
    st.caption(said)


def _gates_view(frame: Frame, run: Run, other: Run | None) -> None:
    # The charts' place and the choices are there before the first recording, so that nothing moves when it comes.
    place = st.container(key="gates-place")
    place.empty()  # Streamlit does not draw a container that has nothing in it yet
    view = _choose_view(frame, run.config.model)
    with place:
        try:
            recorded = _recorded(run)
            beside = (other, recorded_there) if other and (recorded_there := _recorded(other)) else None
            if recorded is None:
                st.caption(frame.translate("The gates appear with the first recording."))
            else:
                _show_gates(frame, run, view, *recorded, beside)
        except InputError as error:
            show_error(frame, error)


@dataclass(frozen=True)
class _GatesView:
    """Which gates of a run are looked at: of which layer and direction, with the units in which order."""

    layer: int
    direction: str
    order: Order


def _directions(translate: Translate) -> dict[str, str]:
    _ = translate
    return {"forward": _("forward"), "backward": _("backward")}


def _orders(translate: Translate) -> dict[str, str]:
    _ = translate
    return {"similarity": _("by similarity"), "mean": _("by mean"), "index": _("by index")}


def _choose_view(frame: Frame, model: ModelConfig) -> _GatesView:
    _ = frame.translate
    row = st.container(horizontal=True, vertical_alignment="bottom", gap="medium")
    layer, direction = "1", "forward"
    if model.num_layers > 1:
        layer = pick(row, _("Layer"), [str(n) for n in range(1, model.num_layers + 1)], "layer", str)
    if model.num_directions > 1:
        directions = _directions(_)
        direction = pick(row, _("Direction"), tuple(directions), "direction", directions.__getitem__)
    orders = _orders(_)
    return _GatesView(int(layer), direction, pick(row, _("Units"), tuple(orders), "units", orders.__getitem__))


def _writing_view(frame: Frame, run: Run, other: Run | None) -> None:
    try:
        story = follow(run).story()
        if other is not None:
            for name, one in zip(names_apart(run.config, other.config, frame.translate), (run, other), strict=True):
                st.markdown(as_text(name))
                show_predictions(frame, one, follow(one).story())
            return
    except InputError:
        return  # the view above reports the error
    if run.config.task == "restore":
        st.caption(frame.translate("This model restores masked characters; it does not continue texts."))
        return
    if run.config.reads_ahead:
        st.caption(why_it_cannot_continue(frame.translate))
    steps = _checkpoints(run)
    sliding = (_checkpoint_slider(frame, run, steps), steps) if steps else None
    show_writing(frame, run, story, sliding, continues=not run.config.reads_ahead)


def _checkpoints(run: Run) -> list[int]:
    """The steps of a run's recordings up to its last step, so few of them that the browser can be sent all at once.

    While it moves, there are none.
    """
    now = follow(run).story().step
    steps = [] if phase_of(run) == MOVING else [step for step in run.recording_steps() if step < now]
    if not steps:
        return []
    most = max(1, _SENT_BYTES // max(1, run.recording_path(steps[-1]).stat().st_size))
    return [*steps[:: -(-len(steps) // most)], now]


def _checkpoint_slider(frame: Frame, run: Run, steps: Sequence[int]) -> Slider:
    """A slider over the checkpoints of these steps, which moves gates and writing together."""
    _, per_epoch = frame.translate, follow(run).steps_per_epoch
    names = [_("{step:,}, epoch {epoch:,}").format(step=step, epoch=-(-step // per_epoch)) for step in steps]
    return Slider("step", _("Training step"), list(map(str, steps)), names, len(steps) - 1, in_browser=True)


def show_progress(frame: Frame, run: Run, view: View, story: Story) -> None:
    """What the run is doing, or how it ended, and why."""
    show_bar(frame, run, view, story)
    show_messages(frame, run, view, story)


def show_bar(frame: Frame, run: Run, view: View, story: Story) -> None:
    """One line: what the run is doing, its progress, its speed and the time left."""
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
            held_out = _("held-out {value}, future read") if config.reads_ahead else _("held-out {value}")
            parts.append(held_out.format(value=quantity(last.held_out_perplexity)))
    st.progress(min(step / follower.total_steps, 1.0), text=as_text(" · ".join(parts)))


def show_messages(frame: Frame, run: Run, view: View, story: Story) -> None:
    """Why the run failed or was paused, and what became of its workers."""
    _, config, status = frame.translate, run.config, view.status
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


def newest_curves(frame: Frame, run_id: str, version: int, phase: str, other_id: str = "") -> bytes | None:
    """A run's curves if they are newer than this version or the run is in another phase by now, else None.

    Those of the other run, where one is named, are drawn over them. Raises InputError where there is no such run.
    """
    run, other = _found(run_id), _found(other_id) if other_id else None
    now = _phase_of(run, other)
    max_age = 0.8 * curves_seconds(version) if now == MOVING else 0.0
    story = follow(run).story(max_age)
    newest = story.version + (follow(other).story(max_age).version if other else 0)
    return curves(frame, run, story, now, other) if (newest, now) != (version, phase) else None


@cached(LRUCache(64), lock=Lock())
def _found(run_id: str) -> Run:
    return Run.find(run_id)


def curves(frame: Frame, run: Run, story: Story, phase: str, other: Run | None = None, *, served: bool = True) -> bytes:
    """Perplexity and gradient norm, and if they are `served`, where to fetch newer ones unless the run has ended."""
    every = (curves_seconds(story.version) if phase == MOVING else halted_seconds(phase)) if served else None
    source = f"{_CURVES}/{run.id}?lang={frame.language}&phase={phase}" if every else ""
    if other is None:
        charts, version = _curves_of_one(frame, run, story), story.version
    else:
        there = follow(other).story(0.8 * curves_seconds())
        charts, version = _curves_of_two(frame, (run, other), (story, there)), story.version + there.version
        source += f"&with={other.id}" if source else ""
    return together(*charts, version=version, source=source, every=every)


def _curves_of_two(frame: Frame, runs: tuple[Run, Run], stories: tuple[Story, Story]) -> tuple[bytes, bytes]:
    _ = frame.translate
    names = names_apart(runs[0].config, runs[1].config, _)
    steps = (follow(runs[0]).steps_per_epoch, follow(runs[1]).steps_per_epoch)
    compared = references_of_both(*runs)
    identity = (runs[1].folder, *(story.version for story in stories), frame.language, compared is None)
    described = _("{title} of two runs over each other: {one}, and {other}.")

    def chart(name: str, title: str, make: Callable[[], Any]) -> bytes:
        description = described.format(title=title, one=names[0], other=names[1])
        return packed(runs[0], make, lambda: description, *identity, name=name, title=title)

    return (
        chart("perplexity", _("Perplexity"), lambda: perplexities(runs, stories, names, compared, _)),
        chart("gradient_norm", _("Gradient norm"), lambda: gradient_norms(runs, stories, steps, names, _)),
    )


def _curves_of_one(frame: Frame, run: Run, story: Story) -> tuple[bytes, bytes]:
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
    return perplexity, gradient_norm


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


def _show_gates(
    frame: Frame,
    run: Run,
    view: _GatesView,
    version: int,
    trace: Trace,
    beside: tuple[Run, tuple[int, Trace]] | None,
) -> None:
    """All signals of a layer in a direction as heatmaps, one of them large, and below them its equation.

    The same signal of the run `beside` stands next to it, of the same layer and direction. Where that run has no such
    layer or direction it is of the first layer or of the forward direction, and the title says so.
    """
    _ = frame.translate
    cell = cell_of(trace)
    common = [name for name in trace.names if beside is None or name in beside[1][1].names]
    labels = {name: f"{SIGNALS[name].symbol} {_(SIGNALS[name].label)}" for name in common}
    main = common.index(cell.main) if cell.main in common else 0
    signal = Slider(
        "signal", _("Signal"), common, list(labels.values()), main, in_browser=True, multiples=len(common) > 1
    )
    steps = _checkpoints(run) if beside is None else []
    described = _("Heatmap of {signal}: {units:,} units by the {length:,} characters of the probe text, {order}.")

    def chart(at: Trace, name: str) -> Chart:
        units = unit_order(trace.signal(name, view.layer, view.direction), view.order)  # the same at every checkpoint
        figure = gates_figure(at, name, view.layer, view.direction, units, _)
        description = described.format(
            signal=_(SIGNALS[name].label),
            units=trace.signal(name).shape[1],
            length=len(trace.text),
            order=_orders(_)[view.order],
        )
        return Chart(figure, "gates", description, 440, labels[name], revision=run.id)

    def charts() -> bytes:
        traces = [*(run.recording(step) or trace for step in steps[:-1]), trace]
        return pack(*(chart(at, name) for at in traces for name in labels))

    gates = _packed(("gates", run.folder, version, *steps, view, frame.language), charts)
    sliders = [_checkpoint_slider(frame, run, steps), signal] if steps else [signal]
    shown = [gates]
    if beside is not None:
        other, (there, theirs) = beside
        apart = names_apart(run.config, other.config, _)
        layer = view.layer if view.layer <= theirs.num_layers else 1
        direction = view.direction if view.direction in theirs.directions else "forward"
        said = [apart[1]]
        said += [_("layer {n}").format(n=layer)] if layer != view.layer else []
        said += [_directions(_)[direction]] if direction != view.direction else []

        def theirs_of(name: str) -> Chart:
            figure = gates_figure(theirs, name, layer, direction, view.order, _)
            title = _(", ").join([labels[name], *said])
            return Chart(figure, "gates_beside", title, 440, title, revision=other.id)

        identity = ("beside", run.folder, other.folder, there, view, frame.language)
        shown.append(_packed(identity, lambda: pack(*map(theirs_of, labels))))
    moved = live_charts(together(*shown, sliders=sliders), key="gates")
    for slider in sliders:
        note(slider, moved)
    let_it_be_drawn()
    equations = [formula(latex(in_direction(cell.equations[name], view.direction))) for name in labels]
    by_step(signal).markdown("\n\n".join(equations))


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


def run_beside(frame: Frame, run: Run | None) -> Run | None:
    """The run of `?with=` in the address, to be shown over the page's; None, with an error, where it cannot be."""
    run_id = st.query_params.get("with")
    if run is None or not run_id or run_id == run.id:
        return None
    try:
        return whole_run(run_id)
    except InputError as error:
        reason = frame.explain(error)
        show_error(frame, InputError("the run to compare with cannot be shown: {reason}", reason=reason))
        return None


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
