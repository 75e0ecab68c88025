"""The chapter on sequences: a typed text becomes vectors, a corpus becomes mini-batches."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import streamlit as st

from rnnviz.config import Sampling, TrainConfig
from rnnviz.errors import InputError
from rnnviz.figures.kit import visible
from rnnviz.figures.sequences import (
    painting_figures,
    painting_height,
    vectors_figure,
    vectors_height,
    windows_figure,
    windows_height,
)
from rnnviz.i18n import Translate, quantity
from rnnviz.text.corpora import UNKNOWN, Corpus, clean, split
from rnnviz.text.sampling import Coverage, Indices, cover, epoch_starts, window
from rnnviz.ui.charts import Chart, Slider
from rnnviz.ui.controls import chosen, offer, pick, walk
from rnnviz.ui.forms import choose_text, chosen_corpus
from rnnviz.ui.frame import Frame, show_error
from rnnviz.ui.labels import setting_labels, setting_names
from rnnviz.ui.pictures import picture, pictures

MAX_TYPED = 60  # characters that fit side by side
_FRAMES = 300  # mini-batches that the browser gets at once
MAX_PASTED = 1000  # an address can hold no more
_BOUND: dict[str, Any] = {"bind": "query-params", "persist_state": "session"}


def show_vectors(frame: Frame, example: str) -> None:
    """A typed text, cleaned, numbered and turned into one-hot vectors."""
    _ = frame.translate
    place = st.container()
    left, right = st.columns(2)
    offer("typed", example)
    typed = str(left.text_area(_("Your text"), key="typed", height=110, max_chars=MAX_PASTED, persist_state="session"))
    st.query_params["typed"] = typed
    other = right.text_input(
        _("Encode another text with its vocabulary"), key="other", placeholder=_("Empty: the text itself"), **_BOUND
    )
    try:
        corpus = split(typed, "typed", max_chars=MAX_TYPED, held_out_chars=0)
    except InputError as error:
        show_error(frame, error)
        return
    before = other or typed
    if len(before) > MAX_TYPED:
        right.caption(
            _("The first {shown} of {count:,} characters are used.").format(shown=MAX_TYPED, count=len(before))
        )
    before = before[:MAX_TYPED]
    after, V = clean(before), len(corpus.vocabulary)
    ids = corpus.vocabulary.encode(after)
    unknown = int((ids == UNKNOWN).sum())
    said = _("T = {T} characters and V = {V} in the vocabulary: the one-hot matrix has the shape ({T}, {V}).").format(
        T=len(ids), V=V
    )
    if unknown:
        said += " " + _("{count} are not in the vocabulary: index −1, zero vector.").format(count=unknown)
    right.markdown(said)
    with place:
        picture(
            vectors_figure(before, after, ids, corpus.vocabulary, _),
            key="vectors",
            description=said + " " + ", ".join(f"{c} {i}" for c, i in zip(visible(after), ids, strict=True)),
            table={
                "t": list(range(1, len(ids) + 1)),
                _("typed"): visible(before),
                _("cleaned"): visible(after),
                _("index"): ids.tolist(),
            },
            height=vectors_height(V),
        )


@dataclass(frozen=True)
class _Epoch:
    """One epoch of one kind of sampling over a text."""

    sampling: Sampling
    corpus: Corpus
    num_steps: int
    number: int
    starts: Indices

    @cached_property
    def ids(self) -> Indices:
        return self.corpus.vocabulary.encode(self.corpus.training)

    @cached_property
    def coverage(self) -> Coverage:
        return cover(self.starts, self.num_steps, len(self.corpus.training))

    @property
    def carried(self) -> bool:
        return self.sampling == "sequential"


def show_batches(frame: Frame) -> None:
    """Random and sequential sampling painted on a corpus, one mini-batch after the other."""
    _ = frame.translate
    row = st.container(horizontal=True, vertical_alignment="bottom", gap="medium")
    kinds = {**_sampling_names(_), "both": _("side by side")}
    kind = pick(row, _("Sampling"), tuple(kinds), "kind", kinds.__getitem__)
    colours = {"batch": _("mini-batch"), "row": _("row")}
    colour_by = pick(row, _("Colour by"), tuple(colours), "colour", colours.__getitem__)
    text = choose_text(frame, row)
    labels = setting_labels(_)
    row = st.container(horizontal=True, gap="small")
    length = _number(row, _("Characters"), "chars", 20, 2000, 300)
    batch_size = _number(row, f"{labels['batch_size']} B", "rows", 1, 32, 4)
    num_steps = _number(row, f"{labels['num_steps']} T", "steps", 1, 50, 8)
    ordered = kind == "sequential"  # every epoch is the same, whatever the seed
    number = _number(row, _("Epoch"), "epoch", 1, 9999, 1, disabled=ordered)
    seed = _number(row, labels["seed"], "order", 0, 2**31 - 1, 0, disabled=ordered)
    sampling: Sampling = "random" if kind == "random" else "sequential"  # the more demanding where there are both
    config = TrainConfig(
        corpus=text, max_chars=length, batch_size=batch_size, num_steps=num_steps, sampling=sampling, seed=seed
    )
    corpus = chosen_corpus(frame, config, _("Characters"))
    if corpus is None:
        return
    both: tuple[Sampling, ...] = ("sequential", "random")
    N = len(corpus.training)
    epochs = [
        _Epoch(s, corpus, num_steps, number, epoch_starts(s, N, batch_size, num_steps, seed=seed, epoch=number - 1))
        for s in both
        if kind in {s, "both"}
    ]
    count = max(len(epoch.starts) for epoch in epochs)
    slider = walk(frame, "k", _("Mini-batch k"), [f"{n:,} / {count:,}" for n in range(1, count + 1)])
    for place, epoch in zip(st.columns(len(epochs)), epochs, strict=True):
        with place:
            _show_epoch(frame, epoch, slider, colour_by)


def _number(place: Any, label: str, key: str, low: int, high: int, start: int, disabled: bool = False) -> int:
    return int(place.number_input(label, low, high, start, key=key, width=140, disabled=disabled, **_BOUND))


def _sampling_names(_: Translate) -> dict[str, str]:
    names = setting_names(_)
    return {kind: names[kind] for kind in ("sequential", "random")}


def _show_epoch(frame: Frame, epoch: _Epoch, slider: Slider, colour_by: Any) -> None:
    """The painted corpus, what it leaves out, and X and Y of the mini-batch chosen by the slider."""
    _ = frame.translate
    title, said = _sampling_names(_)[epoch.sampling], _describe(frame, epoch, epoch.coverage)
    st.markdown(f"**{title}** · {said}")
    last, k = len(epoch.starts) - 1, chosen(slider)
    batches = [min(n, last) for n in range(len(slider.values))]
    few = len(batches) <= _FRAMES  # if there are more, the browser gets one at a time
    shown, follows = (batches, slider) if few else ([batches[k]], None)
    paintings = _painting_charts(frame, epoch, shown, colour_by, f"{title}: {said}")
    pictures(paintings, key=f"painting-{epoch.sampling}", follows=follows)
    st.markdown(_describe_state(frame, epoch, batches[k]))
    windows = [_windows_chart(frame, epoch, n) for n in shown]
    pictures(windows, key=f"windows-{epoch.sampling}", follows=follows)
    st.latex(_equation(epoch, batches[k]))


def _painting_charts(frame: Frame, epoch: _Epoch, batches: list[int], colour_by: Any, description: str) -> list[Chart]:
    _ = frame.translate
    text, coverage = epoch.corpus.training, epoch.coverage
    table = _painting_table(text, coverage, _)
    figures = painting_figures(text, coverage, batches, carried=epoch.carried, colour_by=colour_by, translate=_)
    return [
        Chart(
            figure,
            name=f"painting-{epoch.sampling}",
            description=description,
            table=table,
            revision=f"{len(text)}",
            height=painting_height(len(text)),
        )
        for figure in figures
    ]


def _windows_chart(frame: Frame, epoch: _Epoch, k: int) -> Chart:
    """X and Y of mini-batch k, counted from 0."""
    _ = frame.translate
    vocabulary = epoch.corpus.vocabulary
    X, Y = window(epoch.ids, epoch.starts[k], epoch.num_steps)
    shapes = _("Mini-batch {k:,}: X and Y have the shape (T, B) = ({T}, {B}).").format(
        k=k + 1, T=X.shape[0], B=X.shape[1]
    )
    return Chart(
        windows_figure(X, Y, vocabulary, _),
        name=f"windows-{epoch.sampling}",
        description=shapes + " " + " | ".join(vocabulary.decode(X[:, i]) for i in range(X.shape[1])),
        table=_windows_table(X, Y, epoch),
        revision=f"{X.shape}",
        height=windows_height(X.shape[1]),
    )


def _describe(frame: Frame, epoch: _Epoch, coverage: Coverage) -> str:
    _ = frame.translate
    never = int(coverage.never_seen.sum())
    return _(
        "{batches:,} mini-batches read {read:,} of {length:,} characters in epoch {epoch:,}; "
        "{target:,} are only a target, {never:,} ({share}%) are never seen."
    ).format(
        batches=len(epoch.starts),
        read=int(coverage.is_input.sum()),
        length=len(coverage.batch),
        epoch=epoch.number,
        target=int(coverage.only_target.sum()),
        never=never,
        share=quantity(100 * never / len(coverage.batch)),
    )


def _describe_state(frame: Frame, epoch: _Epoch, k: int) -> str:
    """The origin of the state with which mini-batch k, counted from 0, begins."""
    _ = frame.translate
    if not epoch.carried:
        return _(
            "Mini-batch {k:,}: every row starts from a fresh state, since what precedes it is read elsewhere or never."
        ).format(k=k + 1)
    if k == 0:
        return _("Mini-batch 1: the epoch begins, and every row starts from a fresh state.")
    return _("Mini-batch {k:,}: each row carries on from the state in which it ended mini-batch {before:,}.").format(
        k=k + 1, before=k
    )


def _painting_table(text: str, coverage: Coverage, _: Translate) -> dict[str, list[Any]]:
    kinds = [_("input"), _("only a target"), _("never seen")]
    kind = (~coverage.is_input).astype(int) + coverage.never_seen
    return {
        _("position"): list(range(1, len(text) + 1)),
        _("character"): visible(text),
        _("in this epoch"): [kinds[n] for n in kind],
        **{
            name: [int(n) + 1 if n >= 0 else None for n in numbers]
            for name, numbers in (
                (_("mini-batch"), coverage.batch),
                (_("row"), coverage.row),
                ("t", coverage.step),
            )
        },
    }


def _windows_table(X: Indices, Y: Indices, epoch: _Epoch) -> dict[str, list[Any]]:
    T, B = X.shape
    columns: dict[str, list[Any]] = {
        "i": [i for i in range(1, B + 1) for _t in range(T)],
        "t": [*range(1, T + 1)] * B,
    }
    for name, ids in (("X", X), ("Y", Y)):
        flat = ids.T.ravel()
        columns[name] = visible(epoch.corpus.vocabulary.decode(flat))
        columns[f"{name} id"] = flat.tolist()
    return columns


def _equation(epoch: _Epoch, k: int) -> str:
    """Which character of the text is at step t in row i of mini-batch k, counted from 1, with its numbers."""
    T, B = epoch.num_steps, epoch.starts.shape[1]
    if epoch.carried:
        row = len(epoch.corpus.training) // B
        terms = [r"(i-1)\lfloor N/B \rfloor + (k-1)\,T + t", rf"(i-1)\cdot {row} + {k}\cdot {T} + t"]
        return _lines(r"p &= " + r" \\ &= ".join(terms))
    pieces = [str(start // T + 1) for start in epoch.starts[k]]
    shown = ", ".join(pieces[:6]) + (r", \dots" if len(pieces) > 6 else "")
    return _lines(rf"p &= (j_i - 1)\,T + t \\ j &= ({shown})")


def _lines(position: str) -> str:
    """Short lines: two kinds of sampling stand side by side, and phones are narrow."""
    return r"\begin{aligned} X_{t,i} &= x_p, \quad Y_{t,i} = x_{p+1} \\ " + position + r" \end{aligned}"
