"""The perplexities with which held-out curves are compared, computed once per text beside the page."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock

from cachetools import LRUCache, cached

from rnnviz.figures.references import reference_levels
from rnnviz.i18n import Translate
from rnnviz.runs.folder import Run
from rnnviz.text.corpora import Corpus
from rnnviz.text.ngram import References, references

_PATIENCE = 0.3  # seconds that a page waits; a text of 200,000 characters takes longer
_pool = ThreadPoolExecutor(1, "references")


@cached(LRUCache(256), lock=Lock())
def _measured(corpus: Corpus) -> Future[References]:
    return _pool.submit(references, corpus)


def _is_comparable(run: Run) -> bool:
    return run.config.is_language_model and bool(run.corpus.held_out)


def references_of_both(one: Run, other: Run) -> References | None:
    """The references of the text that two runs share; None where their texts differ or one has another task."""
    return references_of(one) if one.corpus == other.corpus and _is_comparable(other) else None


def references_of(run: Run) -> References | None:
    """The references of a run's text. None while they are computed, and where they would say nothing about the run."""
    return references_of_text(run.corpus) if _is_comparable(run) else None


def references_of_text(corpus: Corpus) -> References | None:
    """The references of a text of which a part is held out; None while they are computed."""
    try:
        return _measured(corpus).result(_PATIENCE)
    except TimeoutError:
        return None


def levels_of_text(corpus: Corpus, translate: Translate) -> dict[str, float]:
    """The same by their names, the uniform guess first; empty while they are computed, and with nothing held out."""
    compared = references_of_text(corpus) if corpus.held_out else None
    return reference_levels(compared, translate) if compared else {}
