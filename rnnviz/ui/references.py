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


def references_of(run: Run) -> References | None:
    """The references of a run's text. None while they are computed, and where they would say nothing about the run.

    A model that has read ahead and one that restores masked characters do another task than n-grams do.
    """
    if run.config.reads_ahead or run.config.task == "restore" or not run.corpus.held_out:
        return None
    try:
        return _measured(run).result(_PATIENCE)
    except TimeoutError:
        return None
