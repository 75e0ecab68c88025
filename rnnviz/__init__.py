"""Recurrent neural networks, seen from inside: models, training and probes as a plain library.

    >>> import rnnviz
    >>> corpus = rnnviz.split(rnnviz.read("sums"), "sums", max_chars=2000)
    >>> config = rnnviz.TrainConfig(epochs=2, batch_size=8, num_steps=20)
    >>> reports = list(rnnviz.train(config, corpus))

Names are looked up when first used, so that `import rnnviz` alone does not import torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rnnviz.config import PRESETS, ModelConfig, TrainConfig
    from rnnviz.errors import InputError
    from rnnviz.generation import generate, predict
    from rnnviz.gradient_study import Lag
    from rnnviz.gradients import gradient_by_lag
    from rnnviz.model import LanguageModel
    from rnnviz.ngram import NgramModel, fit_ngrams
    from rnnviz.probes import trace
    from rnnviz.reading import Reading
    from rnnviz.recording import Generation, Trace
    from rnnviz.runs import Run
    from rnnviz.sampling import Coverage, cover, epoch_starts, window
    from rnnviz.text import Corpus, Vocabulary, one_hot, read, split
    from rnnviz.training import Trainer, evaluate, perplexity, train

_HOMES = {
    "config": ("PRESETS", "ModelConfig", "TrainConfig"),
    "errors": ("InputError",),
    "gradient_study": ("Lag",),
    "gradients": ("gradient_by_lag",),
    "generation": ("generate", "predict"),
    "model": ("LanguageModel",),
    "ngram": ("NgramModel", "fit_ngrams"),
    "probes": ("trace",),
    "reading": ("Reading",),
    "recording": ("Generation", "Trace"),
    "runs": ("Run",),
    "sampling": ("Coverage", "cover", "epoch_starts", "window"),
    "text": ("Corpus", "Vocabulary", "one_hot", "read", "split"),
    "training": ("Trainer", "evaluate", "perplexity", "train"),
}
_MODULE_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "PRESETS",
    "Corpus",
    "Coverage",
    "Generation",
    "InputError",
    "Lag",
    "LanguageModel",
    "ModelConfig",
    "NgramModel",
    "Reading",
    "Run",
    "Trace",
    "TrainConfig",
    "Trainer",
    "Vocabulary",
    "cover",
    "epoch_starts",
    "evaluate",
    "fit_ngrams",
    "generate",
    "gradient_by_lag",
    "one_hot",
    "perplexity",
    "predict",
    "read",
    "split",
    "trace",
    "train",
    "window",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'rnnviz' has no attribute {name!r}")
    return getattr(import_module(f"rnnviz.{_MODULE_OF[name]}"), name)
