"""A reproduction's report and its curves: complete, harmless whatever was written, and legible."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnviz.analysis.published import EXPERIMENTS
from rnnviz.analysis.reproduction import Machine, Outcome, Plan, Result
from rnnviz.figures.report import curves, reference_values, report
from rnnviz.figures.svg import Mark, log_chart
from rnnviz.runs.reports import EpochReport, FailureReport
from rnnviz.text.corpora import Corpus, split
from rnnviz.text.ngram import References, references

TEXT = "the quick brown fox jumps over the lazy dog. " * 60
HOSTILE = '<img src=x onerror="alert(1)">|*[a](javascript:b)`&amp;\n# c'
MACHINE = Machine("9.9.9", "3.11.0", "Linux on a toaster", 7)
SVG = "{http://www.w3.org/2000/svg}"


def outcome(seed: int, text: str, epochs: int = 45, held_out: bool = True) -> Outcome:
    reports = [
        EpochReport(n, n, 1 + 99 / n, abs(n - 12) + 20.0 if held_out else None, 1.0, 1.0, 0.01, 1e4, 0.5)
        for n in range(1, epochs + 1)
    ]
    return Outcome(seed, tuple(reports), {"the": text})


def reproduced(corpus: Corpus, text: str, seeds: int = 1, epochs: int = 45) -> tuple[Plan, list[Result], References]:
    plan = Plan(corpus, seeds=tuple(range(seeds)), epochs=45)
    outcomes = tuple(outcome(seed, text, epochs) for seed in plan.seeds)
    return plan, [Result(plan, experiment, outcomes) for experiment in plan.experiments], references(corpus)


def parsed(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg)  # noqa: S314  our own file


def rows(page: str, heading: str) -> list[list[str]]:
    """The cells of the table below a heading."""
    section = page.split(f"## {heading}\n")[1].split("\n## ", maxsplit=1)[0]
    return [re.split(r"(?<!\\) ?\| ?", line)[1:-1] for line in section.splitlines() if line.startswith("| ")]


def test_the_report_says_everything() -> None:
    """Ours beside the notes', held-out beside n-grams, what is quoted and from where, with seed, corpus and torch."""
    corpus = split(TEXT, "mine.txt")
    plan, results, compared = reproduced(corpus, "the quick brown zebra", seeds=3)
    page = report(plan, results, compared, MACHINE)
    assert "Trained on 2,430 characters of mine.txt, 28 of them different; 270 are held out." in page
    assert "Implementation fused, seeds 0, 1, 2, torch 9.9.9." in page
    assert "Python 3.11.0, Linux on a toaster, 7 processors, of which each training uses one. The notes were" in page
    head, _, ours, notes, *others = rows(page, "Training perplexity")
    assert head == ["experiment", "", "epoch 40", "epoch 45", "seconds an epoch"]
    assert ours == ["GRU from scratch, SGD", "here", "3.475", "3.200", "0.500"]
    assert notes == ["", "lecture notes", "151", "", "1.89"]
    assert len(others) == 10
    held_out = rows(page, "Held-out perplexity")
    assert held_out[2] == ["GRU from scratch, SGD", "48.0", "53.0", "20.0 in epoch 12"]
    assert held_out[7][0] == "Bidirectional GRU, Adam¹"
    assert (
        "¹ The bidirectional model reads the characters that follow, so it is not the perplexity of a language" in page
    )
    assert held_out[8] == ["uniform", "unigram", "2-gram", "3-gram", "4-gram", "5-gram"]
    assert float(held_out[10][0]) == len(corpus.vocabulary)
    written = rows(page, "What the models write, and what of it is quoted")
    assert written[2][2] == "<b>the quick brown </b>zebra"
    assert written[2][3:] == ["76%", "16 characters, from character 1 on"]
    assert [row[0] for row in written[-4:]] == [f"{order}-gram, drawn" for order in (2, 3, 4, 5)]
    assert all(f"![{e.label}]({e.name}.svg)" in page for e in EXPERIMENTS.values())
    assert rows(page, "Settings")[6][:6] == ["LSTM of 2 layers, Adam", "lstm", "256", "2", "1", "adam"]
    assert "Not finished" not in page


def test_seeds_that_differ_have_a_range() -> None:
    """Median, lowest, highest."""
    corpus = split(TEXT)
    plan = Plan(corpus, (EXPERIMENTS["gru"],), seeds=(0, 1), epochs=2)
    outcomes = tuple(
        Outcome(seed, (replace(outcome(0, "").epochs[0], epoch=2, perplexity=p),) * 2, {})
        for seed, p in enumerate((2.0, 4.0))
    )
    page = report(plan, [Result(plan, EXPERIMENTS["gru"], outcomes)], references(corpus), MACHINE)
    assert rows(page, "Training perplexity")[2][2] == "3.000 (2.000 to 4.000)"
    assert "The median of the seeds, and in brackets the lowest and the highest." in page


def test_what_is_not_finished_is_said() -> None:
    """With what to do about it."""
    plan, results, compared = reproduced(split(TEXT), "a", epochs=44)
    page = report(plan, [replace(results[0], outcomes=()), *results[1:]], compared, MACHINE)
    assert "**Not finished: GRU from scratch, SGD, GRU concise, Adam," in page
    assert rows(page, "Training perplexity")[2][2:] == ["–", "–", "–"]


def test_a_training_that_diverged_is_said() -> None:
    """It is not unfinished: going on would not help."""
    plan, results, compared = reproduced(split(TEXT), "a")
    broken = replace(
        outcome(0, "a", epochs=7), failure=FailureReport(60, 7, "the training diverged: L = {value}", {"value": "nan"})
    )
    page = report(plan, [replace(results[1], outcomes=(broken,))], compared, MACHINE)
    assert r"**GRU concise, Adam, seed 0**: the training diverged\: L = nan" in page
    assert "Not finished" not in page


def test_nothing_written_is_markup() -> None:
    """Neither a file's name nor a model's text opens a tag, a link, a cell or a heading."""
    plan, results, compared = reproduced(split(HOSTILE * 100, HOSTILE), "the" + HOSTILE)
    page = report(plan, results, compared, MACHINE)
    assert set(re.findall(r"(?<!\\)<[^>]*>", page)) <= {"<b>", "</b>"}
    assert not re.search(r"(?<![\\!])\[[^\]]*\]\(", page)
    assert "\n# c" not in page.removeprefix("# ")
    assert {len(row) for row in rows(page, "What the models write, and what of it is quoted")} == {5}
    assert all("onerror" not in curves(result, compared) for result in results)


@pytest.mark.parametrize("seeds", [1, 5])
def test_the_curves_are_labelled_and_no_label_covers_another(seeds: int) -> None:
    """Training, held-out with its best epoch, the notes' dots, and a line for each reference."""
    _plan, results, compared = reproduced(split(TEXT), "a", seeds)
    for result in results:
        root = parsed(curves(result, compared))
        labels = [text for text in root.iter(f"{SVG}text") if text.get("text-anchor") == "start"]
        names = [str(label.text) for label in labels]
        future = result.experiment.name == "gru-bidirectional"
        training, held_out = (
            ("training, sees the future", "held-out, sees the future")
            if future
            else ("training", "held-out, best in epoch 12")
        )
        assert {training, held_out, "lecture notes"} <= set(names)
        colour = next(label.get("fill") for label in labels if label.text == held_out)
        assert len([dot for dot in root.iter(f"{SVG}circle") if dot.get("fill") == colour]) == seeds
        assert [name.split()[0] for name in names if name[-1].isdigit() and "epoch" not in name] == list(
            reference_values(compared)
        )
        heights = sorted(float(label.get("y", "nan")) for label in labels)
        assert all(b - a >= 13.9 for a, b in pairwise(heights))
        assert 0 < heights[0] < heights[-1] < 330
        assert len(list(root.iter(f"{SVG}polyline"))) == len(reference_values(compared)) + 2 * seeds


numbers = st.floats(min_value=1, allow_infinity=True) | st.just(math.nan)


@given(st.lists(st.tuples(st.integers(0, 160), numbers), max_size=20), st.text(max_size=10))
def test_any_numbers_and_any_label_make_a_chart(points: list[tuple[float, float]], label: str) -> None:
    """What is not finite is left out, and the file is well-formed."""
    label = "".join(c for c in label if c.isprintable())
    root = parsed(log_chart(label, "x", "y", 160, [Mark(label, "#000000", points)]))
    drawn = [p for line in root.iter(f"{SVG}polyline") for p in str(line.get("points")).split()]
    assert len(drawn) == sum(math.isfinite(y) for _x, y in points)
    assert all(math.isfinite(float(number)) for point in drawn for number in point.split(","))


def test_without_a_held_out_part_there_is_nothing_to_compare() -> None:
    """Dashes instead of figures that nobody measured."""
    corpus = Corpus("all", TEXT, "")
    plan = Plan(corpus, (EXPERIMENTS["gru"],), epochs=45)
    result = Result(plan, EXPERIMENTS["gru"], (outcome(0, "a", held_out=False),))
    page = report(plan, [result], references(corpus), MACHINE)
    assert rows(page, "Held-out perplexity")[2][1:] == ["–", "–", "–"]
    assert rows(page, "Held-out perplexity")[5][1:] == ["–"] * 5
    assert "unigram" not in curves(result, references(corpus))
