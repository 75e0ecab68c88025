"""A reproduction as a report in Markdown, and its curves.

What models write and what files are called may hold any characters; `_plain` escapes all that
Markdown or HTML would take for their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from rnnviz.analysis.published import Experiment
from rnnviz.analysis.reproduction import Machine, Plan, Result, Spread
from rnnviz.figures.kit import COLOURS
from rnnviz.figures.svg import Mark, log_chart
from rnnviz.i18n import quantity
from rnnviz.text.ngram import REFERENCE_ORDERS, References, fit_ngrams
from rnnviz.text.quotation import SHORTEST, Quoted, Source

SEES_THE_FUTURE = "reads the characters that follow, so it is not the perplexity of a language model"
REPORT = "report.md"
_OURS = "here"
_NGRAM_CHARACTERS = 50  # that an n-gram model writes


def spread_text(spread: Spread | None) -> str:
    """A median as people read it, with the lowest and highest of several seeds."""
    if spread is None:
        return "–"
    text = perplexity_text(spread.median)
    if spread.lowest == spread.highest:
        return text
    return f"{text} ({perplexity_text(spread.lowest)} to {perplexity_text(spread.highest)})"


def perplexity_text(value: float) -> str:
    """Near 1, where a model knows its text by heart, with three decimals; a vocabulary's size in full."""
    if value < 10:
        return f"{value:.3f}"
    return f"{value:,.0f}" if 1000 <= value < 1e6 else quantity(value)


def published_text(result: Result, epoch: int) -> str:
    """A published perplexity as people read it, with the decimals that it has; empty where none was published."""
    value, decimals = result.experiment.recorded.get(epoch), result.plan.table.decimals
    return "" if value is None else perplexity_text(value) if decimals >= 3 else f"{value:.{decimals}f}"


def setting_text(plan: Plan, torch: str) -> str:
    """In one sentence, what was trained on what."""
    corpus, seeds = plan.corpus, ", ".join(map(str, plan.seeds))
    return (
        f"Trained on {len(corpus.training):,} characters of {corpus.name}, {len(corpus.vocabulary):,} of them "
        f"different; {len(corpus.held_out):,} are held out. Implementation {plan.implementation}, "
        f"{'seeds' if len(plan.seeds) > 1 else 'seed'} {seeds}, torch {torch}."
    )


def reference_values(references: References) -> dict[str, float]:
    """The reference perplexities by their names."""
    values = {"uniform": float(references.uniform), "unigram": references.unigram}
    return values | {f"{order}-gram": perplexity for order, perplexity in references.ngrams.items()}


def curves(result: Result, references: References) -> str:
    """Training and held-out perplexity of every seed, the notes' figures, and the reference lines, as SVG."""
    experiment, right = result.experiment, result.plan.epochs
    marks = [
        Mark(f"{name} {perplexity_text(value)}", COLOURS["reference"], [(0, value), (right, value)], dashed=True)
        for name, value in reference_values(references).items()
    ]
    for i, outcome in enumerate(result.outcomes):
        training = [(epoch.epoch, epoch.perplexity) for epoch in outcome.epochs]
        held_out = [(e.epoch, e.held_out_perplexity) for e in outcome.epochs if e.held_out_perplexity is not None]
        named = "training, sees the future" if experiment.sees_the_future else "training"
        marks.append(Mark("" if i else named, COLOURS["training"], training))
        if best := outcome.best_held_out():
            value, epoch = best
            name = "held-out, sees the future" if experiment.sees_the_future else f"held-out, best in epoch {epoch}"
            marks.append(Mark("" if i else name, COLOURS["held_out"], held_out))
            marks.append(Mark("", COLOURS["held_out"], [(epoch, value)], dots=True))
    told = [(epoch, value) for epoch, value in experiment.recorded.items() if epoch <= right]
    marks.append(Mark(result.plan.table.source, COLOURS["before"], told, dots=True))
    return log_chart(f"{experiment.label}: perplexity", "epoch", "perplexity", right, marks)


def report_files(plan: Plan, results: Sequence[Result], references: References, machine: Machine) -> dict[str, str]:
    """The report and the curves that it shows, by the names of their files."""
    pictures = {f"{result.experiment.name}.svg": curves(result, references) for result in results}
    return {**pictures, REPORT: report(plan, results, references, machine)}


def report(plan: Plan, results: Sequence[Result], references: References, machine: Machine) -> str:
    """The whole report: what was trained, the figures beside the published ones, the curves, and what models write."""
    compared = reference_values(references)
    unfinished = [result.experiment.label for result in results if not result.finished]
    parts = [
        f"# Reproduced: {plan.table.source}",
        _plain(setting_text(plan, machine.torch)),
        f"Python {machine.python}, {machine.system}, {machine.processors} processors, of which each training uses one. "
        f"{plan.table.made} On any other text their figures only say what to expect.",
    ]
    if unfinished:
        parts.append(f"**Not finished: {', '.join(unfinished)}.** The same command goes on from here.")
    parts += [
        f"**{result.experiment.label}, seed {outcome.seed}**: {_plain(outcome.failure.reason)}"
        for result in results
        for outcome in result.outcomes
        if outcome.failure
    ]
    parts += [
        "## Training perplexity",
        _seeds(plan),
        _table(
            ["experiment", "", *(f"epoch {epoch}" for epoch in plan.marks), "seconds an epoch"],
            (row for result in results for row in _training_rows(result)),
        ),
        "## Held-out perplexity",
        f"Of the {references.characters:,} held-out characters that the vocabulary has. A training perplexity near 1 "
        "says that a model knows its text by heart; only the held-out one says what it learned of the language.",
        _table(
            ["experiment", *(f"epoch {epoch}" for epoch in plan.marks), "best"],
            (_held_out_row(result) for result in results),
        ),
        *(f"¹ The bidirectional model {SEES_THE_FUTURE}." for result in results if result.experiment.sees_the_future),
        "To compare, what guessing and n-gram models of the same training text get on the same characters:",
        _table(list(compared), [[perplexity_text(value) for value in compared.values()]]),
        "## Curves",
        *(f"![{result.experiment.label}]({result.experiment.name}.svg)" for result in results),
        "## What the models write, and what of it is quoted",
        f"The newest predictions of each run, always the likeliest character. Bold is what stands word for word in the "
        f"training text, in spans of {SHORTEST} characters or more.",
        _table(
            ["written by", "seed", "text", "quoted", "longest quotation, and where it stands"],
            _writing_rows(plan, results),
        ),
        "## Settings",
        _table(
            [
                "experiment",
                "cell",
                "units",
                "layers",
                "directions",
                "optimiser",
                "learning rate",
                "θ",
                "batch",
                "steps",
            ],
            (_setting_row(plan, result.experiment) for result in results),
        ),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _seeds(plan: Plan) -> str:
    return "The median of the seeds, and in brackets the lowest and the highest." if len(plan.seeds) > 1 else ""


def _training_rows(result: Result) -> Iterator[list[str]]:
    published = result.experiment.seconds_per_epoch
    ours = [spread_text(result.perplexity(epoch)) for epoch in result.plan.marks]
    theirs = [published_text(result, epoch) for epoch in result.plan.marks]
    seconds = result.seconds_per_epoch
    yield [result.experiment.label, _OURS, *ours, quantity(seconds.median) if seconds else "–"]
    yield ["", result.plan.table.source, *theirs, quantity(published) if published else ""]


def _held_out_row(result: Result) -> list[str]:
    mark = "¹" if result.experiment.sees_the_future else ""
    values = [spread_text(result.held_out(epoch)) for epoch in result.plan.marks]
    return [result.experiment.label + mark, *values, best_text(result)]


def best_text(result: Result) -> str:
    """The lowest held-out perplexity of all seeds, and when it was reached."""
    best = min(filter(None, (outcome.best_held_out() for outcome in result.outcomes)), default=None)
    return f"{perplexity_text(best[0])} in epoch {best[1]}" if best else "–"


def _writing_rows(plan: Plan, results: Sequence[Result]) -> Iterator[list[str]]:
    source, seed, prefix = Source(plan.corpus.training), plan.seeds[0], plan.continued[0]
    for result in results:
        for outcome in result.outcomes:
            for text in outcome.texts.values():
                yield [result.experiment.label, str(outcome.seed), *_quoted_cells(source.quoted(text))]
    model = fit_ngrams(plan.corpus.training, max(REFERENCE_ORDERS))
    for order in REFERENCE_ORDERS:
        text = prefix + model.write(prefix, _NGRAM_CHARACTERS, order, np.random.default_rng(seed))
        yield [f"{order}-gram, drawn", str(seed), *_quoted_cells(source.quoted(text))]


def _quoted_cells(quoted: Quoted) -> list[str]:
    """A text with its quotations in bold, their share, and the longest."""
    text = "".join(f"<b>{_plain(part)}</b>" if is_quoted else _plain(part) for part, is_quoted in quoted.passages())
    longest = quoted.longest
    place = f"{len(longest)} characters, from character {longest.source + 1:,} on" if longest else "–"
    return [text, f"{quoted.share:.0%}", place]


def _setting_row(plan: Plan, experiment: Experiment) -> list[str]:
    config = plan.config(experiment, plan.seeds[0])
    model = config.model
    cell = f"{model.cell}, reset {model.reset}" if model.cell == "gru" else model.cell
    numbers = (config.learning_rate, config.clip, config.batch_size, config.num_steps)
    sizes = (model.hidden_size, model.num_layers, model.num_directions)
    return [experiment.label, cell, *map(str, sizes), config.optimizer, *(f"{n:g}" for n in numbers)]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [list(head), ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _plain(text: str) -> str:
    """A text in which nothing means anything to Markdown or HTML."""
    return re.sub(r"([\\`*_\[\]<>&|~!#$:])", r"\\\1", " ".join(text.splitlines()))
