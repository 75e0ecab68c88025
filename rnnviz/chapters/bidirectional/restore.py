"""A task for which reading ahead is right: masked characters, restored with both directions and with one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import streamlit as st

from rnnviz.analysis.restoring import Restored, restoring_config, shipped_restored
from rnnviz.figures.bidirectional import restored_figure
from rnnviz.runs.folder import Run
from rnnviz.runs.follower import REFRESH_SECONDS
from rnnviz.text.corpora import corpus_of
from rnnviz.ui.frame import Frame
from rnnviz.ui.pictures import picture
from rnnviz.ui.run_view import follow
from rnnviz.ui.side_by_side import SideBySide, side_by_side


def restore(frame: Frame) -> None:
    """The curves of both models, and below them the button that trains both here."""
    _ = frame.translate
    both, one = restoring_config("both"), restoring_config("one")
    labels = {
        "both": _("both directions, 2 × {units} units").format(units=both.model.hidden_size),
        "one": _("one direction, {units} units").format(units=one.model.hidden_size),
    }
    group = SideBySide("restore", labels, restoring_config, frame.lesson("restore_shipped"), corpus=both.corpus)

    def draw(runs: Mapping[str, Run], live: bool) -> None:
        curves = _of_runs(runs, live=live) if runs else shipped_restored()
        if len(curves) == len(labels):
            _draw(frame, {labels[name]: curve for name, curve in curves.items()})
        else:
            st.caption(_("The curves begin when both have ended an epoch."))

    side_by_side(frame, group, draw)


def _of_runs(runs: Mapping[str, Run], *, live: bool) -> dict[str, Restored]:
    stories = {name: follow(run).story(REFRESH_SECONDS if live else 0.0) for name, run in runs.items()}
    return {name: Restored.of([story.epochs]) for name, story in stories.items() if story.epochs}


def _draw(frame: Frame, curves: Mapping[str, Restored]) -> None:
    _ = frame.translate
    held_out = corpus_of(restoring_config("both")).held_out
    (_character, count) = Counter(held_out).most_common(1)[0]
    words = " ".join(_in_words(frame, name, curve) for name, curve in curves.items())
    longest = max(curves.values(), key=lambda curve: len(curve.step))
    picture(
        restored_figure(curves, count / len(held_out), _),
        key="restore",
        description=words,
        caption=words,
        table={_("step"): longest.step}
        | {
            f"{name}{f', {seed}' if len(curve.accuracy) > 1 else ''}": list(row)
            + [None] * (len(longest.step) - len(row))
            for name, curve in curves.items()
            for seed, row in enumerate(curve.accuracy)
        },
        height=380,
    )


def _in_words(frame: Frame, name: str, curve: Restored) -> str:
    _ = frame.translate
    low, middle, high = curve.last
    if len(curve.accuracy) == 1:
        return _("{name}: {share:.1%} restored.").format(name=name, share=middle)
    return _("{name}: {share:.1%} restored, the median of {seeds} seeds ({low:.1%} to {high:.1%}).").format(
        name=name, share=middle, seeds=len(curve.accuracy), low=low, high=high
    )
