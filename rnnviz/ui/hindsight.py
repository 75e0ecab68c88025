"""What can be said of a run in hindsight, in one sentence, from its numbers."""

from __future__ import annotations

from collections.abc import Sequence

from rnnviz.i18n import Translate, quantity
from rnnviz.runs.recording import Trace
from rnnviz.runs.reports import EpochReport, GlobalNorms
from rnnviz.signals import SIGNALS


def what_changed(
    epochs: Sequence[EpochReport],
    norms: GlobalNorms,
    theta: float,
    first: Trace | None,
    last: Trace | None,
    translate: Translate = str,
    *,
    mean_of_exponentials: float | None = None,
    reads_ahead: bool = False,
) -> str:
    """The best held-out epoch, the last perplexity beside the wrong mean, the steps that clipping shortened, and the
    mean of each gate at the start and now.

    The `mean_of_exponentials` is that of the last epoch. `first` and `last` are recordings of the first layer's forward
    direction, among others; means are over units and characters. What the run does not have is left out; without
    anything to say the sentence is empty. The perplexity of a model that `reads_ahead` is called so.
    """
    _ = translate
    parts = []
    held_out = [report for report in epochs if report.held_out_perplexity is not None]
    if held_out:
        best = min(held_out, key=lambda report: report.held_out_perplexity or 0.0)
        best_at = (
            _("the held-out perplexity, future read, was best at epoch {epoch:,} of {epochs:,}, {perplexity}")
            if reads_ahead
            else _("the held-out perplexity was best at epoch {epoch:,} of {epochs:,}, {perplexity}")
        )
        perplexity = quantity(best.held_out_perplexity or 0.0)
        parts.append(best_at.format(epoch=best.epoch, epochs=epochs[-1].epoch, perplexity=perplexity))
    if mean_of_exponentials is not None:
        parts += _mistaken(epochs[-1].perplexity, mean_of_exponentials, _, reads_ahead=reads_ahead)
    if theta and len(norms):
        clipped = int((norms.before > theta).sum())
        parts.append(_("clipping shortened {count:,} of {steps:,} gradients").format(count=clipped, steps=len(norms)))
    if first is not None and last is not None:
        gates = [name for name in last.names if SIGNALS[name].is_gate and name in first.names]
        means = [
            f"{SIGNALS[name].symbol} {first.signal(name).mean():.2f} → {last.signal(name).mean():.2f}" for name in gates
        ]
        if means:
            parts.append(_("mean of the gates at the start and now: {means}").format(means=_(", ").join(means)))
    said = _("; ").join(parts)
    return said[:1].upper() + said[1:] + _(".") if said else ""


def _mistaken(right: float, wrong: float, translate: Translate, *, reads_ahead: bool) -> list[str]:
    """The perplexity of the last epoch, and beside it the mean of exponentials; empty where both look the same.

    Both have three digits, or as many more as it takes to tell them apart, at most six.
    """
    _ = translate
    said = (
        _(
            "the last epoch’s training perplexity, future read, is {right}, while the mean of its mini-batches’ own, "
            "a common mistake, would be {wrong}"
        )
        if reads_ahead
        else _(
            "the last epoch’s training perplexity is {right}, while the mean of its mini-batches’ own, "
            "a common mistake, would be {wrong}"
        )
    )
    pairs = [(quantity(right), quantity(wrong))]
    pairs += [(f"{right:#,.{n}g}".rstrip("."), f"{wrong:#,.{n}g}".rstrip(".")) for n in (4, 5, 6)]
    return next(([said.format(right=one, wrong=other)] for one, other in pairs if one != other), [])
