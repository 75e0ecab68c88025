"""A network that reads while its layers' outputs are dropped out, in NumPy, against the model in torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rnnviz.analysis.deep import read_with_dropout
from rnnviz.analysis.reading import Reading, every_layer
from rnnviz.config import ModelConfig
from rnnviz.nn.model import LanguageModel
from rnnviz.nn.tracing import trace
from rnnviz.text.corpora import Vocabulary
from tests.helpers import CONFIGS

VOCABULARY, TEXT = Vocabulary("abcdef"), "fadedbeadcab"


def make_layers(name: str, residual: bool) -> tuple[LanguageModel, tuple[Reading, ...]]:
    config = ModelConfig(
        **CONFIGS[name], hidden_size=5, num_layers=3, residual=residual, initialisation="uniform", dropout=0.5
    )
    model = LanguageModel(config, len(VOCABULARY))
    weights = {key: w.detach().numpy() for key, w in model.weights().items()}
    return model, every_layer(trace(model, VOCABULARY, TEXT), weights, VOCABULARY)


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("name", CONFIGS)
def test_a_share_of_0_is_the_prediction(name: str, residual: bool) -> None:
    """What is handed on is what was recorded, and so are the predictions."""
    _model, layers = make_layers(name, residual)
    dropped = read_with_dropout(layers, 0.0, 0)
    assert len(dropped.handed) == 2
    for i, handed in enumerate(dropped.handed, start=1):
        np.testing.assert_allclose(handed, layers[0].outputs(i), atol=1e-6)
    np.testing.assert_allclose(dropped.log_P, layers[0].log_probabilities(), atol=1e-5)


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("name", CONFIGS)
def test_what_is_dropped_changes_the_layers_above_as_it_does_in_training(
    name: str, residual: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model in torch, given the same masks, predicts the same."""
    model, layers = make_layers(name, residual)
    dropped = read_with_dropout(layers, 0.5, 3)
    rng = np.random.default_rng(3)
    masks = [torch.from_numpy((rng.random((len(TEXT), 5)) >= 0.5) / 0.5).float().unsqueeze(1) for _ in range(2)]
    for handed, mask in zip(dropped.handed, masks, strict=True):
        assert not handed[mask[:, 0].numpy() == 0].any()
    monkeypatch.setattr(model, "_masks", lambda *_: [*masks, None])
    with torch.no_grad():
        logits, _ = model(torch.from_numpy(VOCABULARY.encode(TEXT)).unsqueeze(1))
    np.testing.assert_allclose(dropped.log_P, torch.log_softmax(logits[:, 0], -1), atol=1e-5)
    assert np.abs(dropped.log_P - layers[0].log_probabilities()).max() > 1e-3
