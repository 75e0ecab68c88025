"""Recurrent neural networks, seen from inside: models, training and probes as a plain library.

    >>> import rnnviz
    >>> config = rnnviz.TrainConfig(corpus="sums", max_chars=2000, epochs=2, batch_size=8, num_steps=20)
    >>> reports = list(rnnviz.train(config, rnnviz.corpus_of(config)))

Names are looked up when first used, so that `import rnnviz` alone does not import torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rnnviz.analysis.gradient_study import Lag
    from rnnviz.analysis.reading import Reading
    from rnnviz.config import PRESETS, ModelConfig, TrainConfig
    from rnnviz.errors import InputError
    from rnnviz.figures.module_trace import ModuleTrace
    from rnnviz.modules import trace_module
    from rnnviz.nn.future import evaluate_masked
    from rnnviz.nn.generation import generate, predict
    from rnnviz.nn.gradients import gradient_by_lag
    from rnnviz.nn.model import LanguageModel
    from rnnviz.nn.modules import from_torch
    from rnnviz.nn.tracing import trace
    from rnnviz.nn.training import Trainer, evaluate, perplexity, train
    from rnnviz.notebook import show, train_live
    from rnnviz.runs.folder import Run
    from rnnviz.runs.recording import Generation, Trace
    from rnnviz.text.corpora import Corpus, Vocabulary, corpus_of, one_hot, read, split
    from rnnviz.text.ngram import NgramModel, fit_ngrams
    from rnnviz.text.sampling import Coverage, cover, epoch_starts, window

_HOMES = {
    "config": ("PRESETS", "ModelConfig", "TrainConfig"),
    "errors": ("InputError",),
    "analysis.gradient_study": ("Lag",),
    "nn.gradients": ("gradient_by_lag",),
    "nn.future": ("evaluate_masked",),
    "nn.generation": ("generate", "predict"),
    "figures.module_trace": ("ModuleTrace",),
    "modules": ("trace_module",),
    "nn.modules": ("from_torch",),
    "nn.model": ("LanguageModel",),
    "text.ngram": ("NgramModel", "fit_ngrams"),
    "nn.tracing": ("trace",),
    "analysis.reading": ("Reading",),
    "runs.recording": ("Generation", "Trace"),
    "runs.folder": ("Run",),
    "text.sampling": ("Coverage", "cover", "epoch_starts", "window"),
    "text.corpora": ("Corpus", "Vocabulary", "corpus_of", "one_hot", "read", "split"),
    "nn.training": ("Trainer", "evaluate", "perplexity", "train"),
    "notebook": ("show", "train_live"),
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
    "ModuleTrace",
    "NgramModel",
    "Reading",
    "Run",
    "Trace",
    "TrainConfig",
    "Trainer",
    "Vocabulary",
    "corpus_of",
    "cover",
    "epoch_starts",
    "evaluate",
    "evaluate_masked",
    "fit_ngrams",
    "from_torch",
    "generate",
    "gradient_by_lag",
    "one_hot",
    "perplexity",
    "predict",
    "read",
    "show",
    "split",
    "trace",
    "trace_module",
    "train",
    "train_live",
    "window",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'rnnviz' has no attribute {name!r}")
    return getattr(import_module(f"rnnviz.{_MODULE_OF[name]}"), name)
