"""Two runs over each other: what tells them apart, and their curves."""

from __future__ import annotations

from typing import Any

import numpy as np

from rnnviz.config import TrainConfig
from rnnviz.figures.curves import two_runs_figure
from rnnviz.figures.kit import Figure
from rnnviz.figures.references import reference_levels
from rnnviz.i18n import Translate, perplexity_names
from rnnviz.runs.folder import Run
from rnnviz.runs.follower import Story
from rnnviz.text.ngram import References
from rnnviz.ui.labels import setting_labels, setting_names


def names_apart(one: TrainConfig, other: TrainConfig, translate: Translate = str) -> tuple[str, str]:
    """What two runs are called beside each other: the settings in which they differ, or first and second."""
    _ = translate
    here, there = one.settings(), other.settings()
    labels = setting_labels(_)
    apart = [name for name in labels if here[name] != there[name]]
    if not apart:
        return _("first"), _("second")
    texts = ([_shown(name, values[name], labels[name], _) for name in apart] for values in (here, there))
    first, second = (_(", ").join(text) for text in texts)
    return first, second


def _shown(name: str, value: Any, label: str, translate: Translate) -> str:
    _ = translate
    if name == "clip":
        return f"θ {value:g}" if value else _("θ off")
    if isinstance(value, bool):
        value = _("on") if value else _("off")
    return f"{label} {setting_names(_).get(value, value)}" if isinstance(value, str) else f"{label} {value}"


def perplexities(
    runs: tuple[Run, Run],
    stories: tuple[Story, Story],
    names: tuple[str, str],
    references: References | None,
    translate: Translate,
) -> Figure:
    """Perplexity against epoch of both runs: training thick, held-out thin, and the lines of their `references`."""
    _ = translate
    curves = {}
    for run, name, story in zip(runs, names, stories, strict=True):
        of_training, of_held_out = perplexity_names(_, reads_ahead=run.config.reads_ahead)
        epochs = np.array([report.epoch for report in story.epochs], dtype=np.float64)
        training = np.array([report.perplexity for report in story.epochs], dtype=np.float64)
        held_out = np.array([report.held_out_perplexity for report in story.epochs], dtype=np.float64)
        curves[name] = [(epochs, training, of_training), (epochs, held_out, of_held_out)]
    ends = _ends(stories, names, _)
    levels = reference_levels(references, _) if references else {}
    return two_runs_figure(curves, ends, _("perplexity"), _longest(runs), _, levels)


def gradient_norms(
    runs: tuple[Run, Run], stories: tuple[Story, Story], steps_per_epoch: tuple[int, int], names: tuple[str, str],
    translate: Translate,
) -> Figure:  # fmt: skip
    """The gradient norm of every step of both runs, before clipping."""
    _ = translate
    curves = {
        name: [(story.norms.step / steps, story.norms.before, _("before"))]
        for name, story, steps in zip(names, stories, steps_per_epoch, strict=True)
    }
    return two_runs_figure(curves, _ends(stories, names, _), _("gradient norm ‖g‖"), _longest(runs), _)


def _longest(runs: tuple[Run, Run]) -> int:
    return max(run.config.epochs for run in runs)


def _ends(stories: tuple[Story, Story], names: tuple[str, str], translate: Translate) -> dict[str, str]:
    """What is written at the end of the curve of a run that diverged."""
    told = translate("diverged at step {step:,}")
    return {n: told.format(step=s.failure.step) for n, s in zip(names, stories, strict=True) if s.failure}
