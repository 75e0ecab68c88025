"""The perplexities with which a run's held-out curve is compared, computed once per text beside the page."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock

from cachetools import LRUCache, cached

from rnnviz.runs.folder import Run
from rnnviz.text.ngram import References, references

_PATIENCE = 0.3  # seconds that a page waits; a text of 200,000 characters takes longer
_pool = ThreadPoolExecutor(1, "references")


@cached(LRUCache(256), key=lambda run: run.folder, lock=Lock())
def _measured(run: Run) -> Future[References]:
    return _pool.submit(references, run.corpus)


def _is_comparable(run: Run) -> bool:
    return run.config.is_language_model and bool(run.corpus.held_out)


def references_of_both(one: Run, other: Run) -> References | None:
    """The references of the text that two runs share; None where their texts differ or one has another task."""
    return references_of(one) if one.corpus == other.corpus and _is_comparable(other) else None


def references_of(run: Run) -> References | None:
    """The references of a run's text. None while they are computed, and where they would say nothing about the run."""
    if not _is_comparable(run):
        return None
    try:
        return _measured(run).result(_PATIENCE)
    except TimeoutError:
        return None
