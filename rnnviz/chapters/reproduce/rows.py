"""The table of a reproduction: what was published, what was reached here, and a verdict in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from rnnviz.analysis.reproduction import Result, Spread
from rnnviz.chapters.reproduce.series import Series, is_going
from rnnviz.engine.jobs import LIVE
from rnnviz.errors import InputError
from rnnviz.figures.report import perplexity_text, published_text
from rnnviz.i18n import Translate, duration, perplexity_names, quantity
from rnnviz.ui.frame import Frame, engine
from rnnviz.ui.labels import state_names
from rnnviz.ui.run_view import follow


def table_of(frame: Frame, results: Sequence[Result], shipped: Sequence[Result], series: Series | None) -> str:
    """The table as HTML. The `results` are the shipped ones or those of the visitor's `series`."""
    _ = frame.translate
    plan = results[0].plan
    heads = [_("experiment"), "", *(_("epoch {epoch:,}").format(epoch=epoch) for epoch in plan.marks)]
    heads += [_("s an epoch"), _("verdict at epoch {epoch:,}").format(epoch=plan.table.epochs)]
    ranges = {result.experiment.name: result for result in shipped} if plan.corpus == shipped[0].plan.corpus else {}
    bodies = "".join(
        _body(frame, result, verdict(_, result, ranges.get(result.experiment.name)), series) for result in results
    )
    head = "".join(f'<th scope="col">{escape(name)}</th>' if name else "<td></td>" for name in heads)
    name = _("Reproduce")
    region = f'class="reproduction" role="region" tabindex="0" aria-label="{escape(name)}"'
    return f"<div {region}><table><thead><tr>{head}</tr></thead>{bodies}</table></div>"


def _body(frame: Frame, result: Result, words: str, series: Series | None) -> str:
    """Three rows of numbers beside the experiment's name, what it is doing, and the verdict."""
    _ = frame.translate
    experiment, marks = result.experiment, result.plan.marks
    source, here = _("notes") if result.plan.table.name == "notes" else _("book"), _("here")
    if experiment.sees_the_future:
        source, here = (_("{name}, future read").format(name=name) for name in (source, here))
    _training, held_out = perplexity_names(_, reads_ahead=experiment.sees_the_future)
    seconds = result.seconds_per_epoch
    rows = (
        ("theirs", source, [published_text(result, epoch) for epoch in marks], experiment.seconds_per_epoch),
        (
            "ours",
            here,
            [_spread(result.perplexity(epoch)) for epoch in marks],
            seconds.median if seconds else None,
        ),
        ("held-out", held_out, [_median(result.held_out(epoch)) for epoch in marks], None),
    )
    name = f'<th scope="rowgroup" rowspan="3">{escape(_(experiment.label))}{_doing(frame, result, series)}</th>'
    lines = []
    for i, (kind, label, cells, each) in enumerate(rows):
        numbers = "".join(f"<td>{cell}</td>" for cell in [*cells, quantity(each) if each else ""])
        first, last = (name, f'<td class="verdict" rowspan="3">{escape(words)}</td>') if i == 0 else ("", "")
        lines.append(f'<tr class="{kind}">{first}<th scope="row">{escape(label)}</th>{numbers}{last}</tr>')
    return f"<tbody>{''.join(lines)}</tbody>"


def _spread(spread: Spread | None) -> str:
    """A median, and the lowest and the highest of several seeds, small."""
    if spread is None:
        return _median(spread)
    low, high = perplexity_text(spread.lowest), perplexity_text(spread.highest)
    small = "" if low == high else f" <small>{low}–{high}</small>"
    return _median(spread) + small


def _median(spread: Spread | None) -> str:
    return perplexity_text(spread.median) if spread else "–"


def _doing(frame: Frame, result: Result, series: Series | None) -> str:
    """Of a visitor's experiment, what it is doing and where its run can be opened; of a shipped one, what it lacks."""
    _ = frame.translate
    if series is None:
        notes = [
            _("seed {seed}: {reason}").format(
                seed=outcome.seed, reason=frame.explain(InputError(f.message, **f.values))
            )
            for outcome in result.outcomes
            if (f := outcome.failure)
        ]
        if not result.finished:
            notes.append(_("not run to its end") if result.outcomes else _("not run"))
        return "".join(f"<small>{escape(note)}</small>" for note in notes)
    run = series.runs.get(result.experiment.name)
    if run is None:
        waits = _("waits for its turn") if is_going(series.key) else _("not begun")
        return f"<small>{escape(waits)}</small>"
    said, opened = " · ".join(_progress(frame, series, result)), _("Open the run")
    return f'<small>{escape(said)} <a href="train?run={run.id}" target="_blank">{escape(opened)}</a></small>'


def _progress(frame: Frame, series: Series, result: Result) -> Iterator[str]:
    """How far a run is and how long it still takes; or how it ended."""
    _ = frame.translate
    run = series.runs[result.experiment.name]
    status, story, follower = engine().view(run.id).status, follow(run).story(), follow(run)
    if status.state == "failed":
        yield frame.explain(InputError(status.message, **dict(status.values or {})))
        return
    yield state_names(_)[status.state]
    if status.state != "finished":
        share = story.step / follower.total_steps
        yield f"{share:.0%}"
        if status.state in LIVE and story.steps_per_second:
            left = (follower.total_steps - story.step) / max(story.steps_per_second, 1e-9)
            yield _("{time} left").format(time=duration(left))


def verdict(translate: Translate, result: Result, shipped: Result | None) -> str:
    """How what was reached compares with what was published, and a visitor's run with the shipped seeds.

    `shipped` is the shipped result on the same text, which may be the result itself; None for another text. Only
    several shipped seeds have a range.
    """
    _ = translate
    epoch, value = max(result.experiment.recorded.items())
    ours, decimals = result.perplexity(epoch), result.plan.table.decimals
    if ours is None:
        return _("The training diverged.") if any(outcome.failure for outcome in result.outcomes) else ""
    theirs = _compared(_, ours, value, decimals, several=len(result.outcomes) > 1)
    seeds = shipped.perplexity(epoch) if shipped and shipped is not result else None
    if shipped is None or seeds is None:
        return theirs
    if sum(outcome.perplexity(epoch) is not None for outcome in shipped.outcomes) == 1:
        return _beside_one_seed(_, ours.median, seeds.median) + " " + theirs
    low, high = perplexity_text(seeds.lowest), perplexity_text(seeds.highest)
    if seeds.place(ours.median, 6) == "inside":
        return _("Inside our seeds, {low} to {high}.").format(low=low, high=high) + " " + theirs
    return _("Outside our seeds, {low} to {high}.").format(low=low, high=high) + " " + theirs


def _beside_one_seed(translate: Translate, yours: float, shipped: float) -> str:
    _ = translate
    value, share = perplexity_text(shipped), _percent(_, abs(yours / shipped - 1))
    if perplexity_text(yours) == value:
        return _("Our one seed reached the same, {value}.").format(value=value)
    if yours < shipped:
        return _("Our one seed reached {value}; yours is {share} below it.").format(value=value, share=share)
    return _("Our one seed reached {value}; yours is {share} above it.").format(value=value, share=share)


def _compared(translate: Translate, ours: Spread, value: float, decimals: int, *, several: bool) -> str:
    _ = translate
    place, share = ours.place(value, decimals), _percent(_, abs(value / ours.median - 1))
    if place == "inside":
        return _("Theirs is inside the range of our seeds.") if several else _("The same as theirs, as far as printed.")
    if several and place == "below":
        return _("Outside: theirs is below all our seeds, and {share} below their median.").format(share=share)
    if several:
        return _("Outside: theirs is above all our seeds, and {share} above their median.").format(share=share)
    if place == "below":
        return _("Theirs is {share} below ours.").format(share=share)
    return _("Theirs is {share} above ours.").format(share=share)


def _percent(translate: Translate, share: float) -> str:
    """A share with one decimal; one that would be printed as 0.0% is not nothing."""
    _ = translate
    return f"{share:.1%}" if share >= 0.0005 else _("less than 0.1%")
