"""What a run writes, with what stands word for word in its training text marked."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from threading import Lock

import numpy as np
import streamlit as st
from cachetools import LRUCache, cached

from rnnviz.errors import InputError
from rnnviz.i18n import Translate
from rnnviz.runs.folder import BEST, LATEST, Run
from rnnviz.runs.follower import Story
from rnnviz.runs.recording import Generation
from rnnviz.text.corpora import default_prefixes
from rnnviz.text.ngram import REFERENCE_ORDERS, NgramModel, fit_ngrams
from rnnviz.text.quotation import SHORTEST, Quoted, quoted_from
from rnnviz.ui.charts import Slider
from rnnviz.ui.controls import by_step, select
from rnnviz.ui.frame import Frame, as_text, engine, show_error, visitor
from rnnviz.ui.painted_text import painted_text

_DRAWN = 200  # characters that are drawn one by one
_AROUND = 12  # characters on either side of a quotation's place in the training text
_AS_IT_TRAINS, _NGRAMS = "run", "ngrams"


def show_writing(
    frame: Frame, run: Run, story: Story, checkpoints: tuple[Slider, Sequence[int]] | None, *, continues: bool
) -> None:
    """What the run wrote as it trained or, if it `continues` texts, what it and n-gram models draw now.

    Where there is a slider over the steps of `checkpoints`, it also chooses what the run had written by then.
    """
    _ = frame.translate
    authors = {_AS_IT_TRAINS: _("the run as it trains")}
    if story.epochs:
        authors[LATEST] = _("its last weights")
        authors |= {BEST: _("its best held-out epoch")} if run.has_best else {}
        authors[_NGRAMS] = _("n-gram models")
    # It is one line high from the start, so that nothing moves when there is more to choose from.
    author = select(st, _("Written by"), authors, "author", _AS_IT_TRAINS) if continues else _AS_IT_TRAINS
    if author == _AS_IT_TRAINS:
        if checkpoints is None:
            show_predictions(frame, run, story)
        else:
            slider, steps = checkpoints
            by_step(slider).markdown("\n\n".join(_written_by(frame, run, story, step) for step in steps))
            explain_marks(frame, pointed_at=False)
        return
    try:
        texts = _ngram_texts(run) if author == _NGRAMS else {"": _drawn(run, author, story.epochs[-1].epoch)}
    except InputError as error:
        show_error(frame, error)
        return
    st.caption(_("Each character is drawn with its probability, from the same prefix."))
    for order, text in texts.items():
        _show_text(frame, run, text, f"{author}{order}", f"{_('{n}-gram').format(n=order)}: " if order else "")
    explain_marks(frame)


def _written_by(frame: Frame, run: Run, story: Story, step: int) -> str:
    """A paragraph of Markdown with what the run had written last by a step, its quotations marked."""
    _ = frame.translate
    written = [p for p in story.predictions if p.step <= step]
    if not written:
        return _("The first text appears after some epochs.")
    lines = [_("after epoch {epoch:,}").format(epoch=written[-1].epoch)]
    for prediction in written:
        if prediction.epoch == written[-1].epoch:
            lines.append(in_markdown(_quoted(run, prediction.text), _))
    return "  \n".join(lines)


def in_markdown(quoted: Quoted, translate: Translate) -> str:
    """A text as lines of Markdown: its quotations marked, what they are in short, and where they stand."""
    lines = (summary(quoted, translate), _places_in_words(quoted, translate))
    return "  \n".join((_with_marks(quoted), *(as_text(line) for line in lines if line)))


def _places_in_words(quoted: Quoted, translate: Translate) -> str:
    """Where every quotation begins in the training text, where nobody can point at it; nothing without any."""
    _ = translate
    begin = _(", ").join(f"{quotation.source + 1:,}" for quotation in quoted.quotations)
    said = _("In order, the quotations begin at these characters of the training text: {places}.")
    return said.format(places=begin) if begin else ""


def _with_marks(quoted: Quoted) -> str:
    """A text on one line of Markdown, on a colour where it is quoted."""
    parts = []
    for marked, characters in groupby(zip(quoted.text, quoted.marked, strict=True), key=lambda pair: bool(pair[1])):
        part = as_text("".join(character for character, _ in characters).replace("\n", "↵"))
        parts.append(f":orange-background[{part}]" if marked else part)
    return "".join(parts)


def show_predictions(frame: Frame, run: Run, story: Story) -> None:
    """What the model wrote as it trained, the newest first."""
    _ = frame.translate
    if not story.predictions:
        st.caption(_("The first text appears after some epochs."))
        return
    newest = story.predictions[-1].epoch
    st.caption(_("after epoch {epoch:,}").format(epoch=newest))
    for i, prediction in enumerate(p for p in story.predictions if p.epoch == newest):
        _show_text(frame, run, prediction.text, f"{_AS_IT_TRAINS}{i}")
    explain_marks(frame)
    earlier = [p for p in reversed(story.predictions) if p.epoch != newest]
    if earlier:
        folded = st.expander(_("Earlier texts"), key=f"open-earlier-{run.id}", on_change="rerun")
        if folded.open:
            folded.code("\n\n".join(f"{p.epoch:,}: {p.text}" for p in earlier), language=None, wrap_lines=True)


def _show_text(frame: Frame, run: Run, text: str, key: str, author: str = "") -> None:
    """A text with its quotations marked, their share and the longest."""
    _ = frame.translate
    quoted = _quoted(run, text)
    label = author + summary(quoted, _)
    painted_text(
        text,
        key=f"written-{run.id}-{key}",
        label=label,
        marks=quoted.marked.tolist(),
        titles=places(quoted, run.corpus.training, _),
        plain_spaces=True,
    )
    st.caption(as_text(label))


def explain_marks(frame: Frame, *, pointed_at: bool = True) -> None:
    """What is marked, and if a mark can be `pointed_at`, that it then says where it comes from."""
    _ = frame.translate
    marked = _("Marked is what stands word for word in the training text, from {shortest} characters on.")
    st.caption(marked.format(shortest=SHORTEST) + (" " + _("Point at it to see where.") if pointed_at else ""))


def summary(quoted: Quoted, translate: Translate) -> str:
    """The share of a text that is quoted, and its longest quotation."""
    _ = translate
    longest = quoted.longest
    if longest is None:
        return _("Nothing in it is quoted.")
    return _("{share:.0%} quoted; the longest quotation has {length} characters: {text}").format(
        share=quoted.share, length=len(longest), text=quoted.text[longest.start : longest.end]
    )


def places(quoted: Quoted, training: str, translate: Translate) -> Sequence[str]:
    """For each character of a text, where in the training text its first quotation stands; nothing for others."""
    _ = translate
    titles = [""] * len(quoted.text)
    for quotation in reversed(quoted.quotations):
        end = quotation.source + len(quotation)
        around = training[max(quotation.source - _AROUND, 0) : end + _AROUND]
        title = _("from character {place:,} of the training text on: …{text}…").format(
            place=quotation.source + 1, text=around
        )
        titles[quotation.start : quotation.end] = [title] * len(quotation)
    return titles


@cached(LRUCache(512), key=lambda run, text: (run.folder, text), lock=Lock())
def _quoted(run: Run, text: str) -> Quoted:
    return quoted_from(run.corpus.training, text)


def _prefix(run: Run) -> str:
    return (run.config.prefixes or default_prefixes(run.corpus))[0]


# Within an epoch a run's weights on the disk change.
@cached(
    LRUCache(64),
    key=lambda run, checkpoint, epoch: (run.folder, checkpoint, epoch, run.checkpoint_version(checkpoint)),
)
def _drawn(run: Run, checkpoint: str, epoch: int) -> str:
    """What a checkpoint's weights write at an epoch of the run. Raises InputError where no worker can tell."""
    written: Generation = engine().compute(
        "rnnviz.nn.execution:generate",
        run,
        visitor=visitor(),
        prefix=_prefix(run),
        length=_DRAWN,
        temperature=1.0,
        top_k=None,
        seed=run.config.seed,
        checkpoint=checkpoint,
    )
    return written.text


@cached(LRUCache(4), key=lambda run: run.folder, lock=Lock())
def _ngrams(run: Run) -> NgramModel:
    return fit_ngrams(run.corpus.training, max(REFERENCE_ORDERS))


@cached(LRUCache(64), key=lambda run: run.folder)
def _ngram_texts(run: Run) -> dict[str, str]:
    """What the n-gram model of each order writes after the run's prefix."""
    prefix, model = _prefix(run), _ngrams(run)
    known = "".join(character for character in prefix if character in model.vocabulary)
    seed = run.config.seed
    return {str(n): prefix + model.write(known, _DRAWN, n, np.random.default_rng(seed)) for n in REFERENCE_ORDERS}
