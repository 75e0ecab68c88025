"""The training loop against loops written out by hand, and its exact repeatability."""

from __future__ import annotations

import json
import math
import random
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rnnviz.cells import CellName
from rnnviz.config import ModelConfig, Sampling, TrainConfig
from rnnviz.errors import InputError
from rnnviz.nn import training
from rnnviz.nn.generation import predict
from rnnviz.nn.model import BatchLoss, LanguageModel
from rnnviz.nn.training import Trainer, clip_scale, evaluate, evaluation, has_diverged, perplexity, train
from rnnviz.runs.reports import Checkpoint, EpochReport, FailureReport, PredictionReport, Report, StepReport
from rnnviz.text.corpora import UNKNOWN, Corpus, split
from rnnviz.text.sampling import characters_needed

B, T = 2, 5
LEARNABLE = "abcdef"


def random_text(length: int, seed: int = 0) -> str:
    rng = random.Random(seed)  # noqa: S311  a fixed sample, not a secret
    return "".join(rng.choice(LEARNABLE) for _ in range(length))


def make_corpus(length: int = 43, held_out: str = "abxcfyedcba") -> Corpus:
    """A corpus with four batches of 2 by 5 characters per epoch, and two held-out characters that training lacks."""
    return Corpus("test", random_text(length), held_out)


def make_config(**changes: Any) -> TrainConfig:
    """A tiny GRU; settings of the model may be given together with those of the run."""
    settings: dict[str, Any] = {"hidden_size": 4, "initialisation": "uniform", "implementation": "scratch"}
    settings |= {k: changes.pop(k) for k in list(changes) if k in ModelConfig.__dataclass_fields__}
    defaults: dict[str, Any] = {
        "batch_size": B,
        "num_steps": T,
        "epochs": 3,
        "learning_rate": 0.5,
        "clip": 0.2,
        "device": "cpu",
    }
    defaults |= {"predict_every": 2, "predict_length": 6, "prefixes": ("ab",)}
    return TrainConfig(model=ModelConfig(**settings), **(defaults | changes))


def run(config: TrainConfig, corpus: Corpus | None = None) -> list[Report]:
    return list(train(config, corpus or make_corpus()))


def steps_of(reports: list[Report]) -> list[StepReport]:
    return [r for r in reports if isinstance(r, StepReport)]


def epochs_of(reports: list[Report]) -> list[EpochReport]:
    return [r for r in reports if isinstance(r, EpochReport)]


def weights_of(model: LanguageModel) -> dict[str, Tensor]:
    return {key: value.detach().clone() for key, value in model.weights().items()}


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    """Whether names and values are equal, bit for bit."""
    return set(first) == set(second) and all(torch.equal(first[key], second[key]) for key in first)


def global_norm(gradients: dict[str, Tensor]) -> float:
    return math.sqrt(sum(float((g.double() ** 2).sum()) for g in gradients.values()))


def raw_gradients(trainer: Trainer) -> tuple[BatchLoss, dict[str, Tensor]]:
    """Loss and unclipped gradients of the trainer's first batch, computed on another model of the same weights."""
    other = LanguageModel(trainer.config.model, trainer.model.vocab_size)
    other.load_weights(weights_of(trainer.model))
    X, Y = trainer._batch(0, 0)
    loss, _ = other.loss_and_gradients(X, Y, other.initial_state(trainer.config.batch_size))
    return loss, {key: value.clone() for key, value in other.gradients().items()}


# --- One step ------------------------------------------------------------------------------------


@pytest.mark.parametrize("implementation", ["scratch", "torch"])
@pytest.mark.parametrize("theta", [0.0, 0.05, 100.0])
def test_an_sgd_step_is_the_weight_minus_the_clipped_gradient(theta: float, implementation: str) -> None:
    """It is w - lr min(theta / norm, 1) g for every weight, with and without clipping."""
    trainer = Trainer(make_config(clip=theta, learning_rate=0.3, implementation=implementation), make_corpus())
    before = weights_of(trainer.model)
    loss, gradients = raw_gradients(trainer)
    norm = global_norm(gradients)
    scale = min(theta / norm, 1.0) if theta else 1.0
    (report,) = trainer.advance(1)
    assert isinstance(report, StepReport)
    for key, weight in trainer.model.weights().items():
        expected = before[key] - 0.3 * scale * gradients[key]
        torch.testing.assert_close(weight.detach(), expected, rtol=0, atol=1e-7)
    assert report.loss == pytest.approx(loss.nats / (B * T), rel=1e-6)
    assert report.characters == B * T
    assert (report.step, report.epoch) == (1, 1)
    assert report.norm_before == pytest.approx(norm, rel=1e-6)
    assert report.norm_after == pytest.approx(norm * scale, rel=1e-6)
    for key, value in report.norms.items():
        assert value == pytest.approx(float(gradients[key].norm()), rel=1e-5)
    assert set(report.norms) == set(gradients)


@pytest.mark.parametrize("implementation", ["scratch", "torch"])
def test_adam_steps_follow_the_paper(implementation: str) -> None:
    """Three steps of m, v and their bias corrections (Kingma & Ba 2015) are computed on clipped gradients."""
    config = make_config(optimizer="adam", learning_rate=0.01, clip=0.1, implementation=implementation)
    trainer = Trainer(config, make_corpus())
    m: dict[str, Tensor] = {}
    v: dict[str, Tensor] = {}
    expected = weights_of(trainer.model)
    for t in range(1, 4):
        trainer.advance(1)
        for key, g in trainer.model.gradients().items():  # clipped, as the step left them
            g = g.double()  # noqa: PLW2901
            m[key] = 0.9 * m.get(key, 0) + 0.1 * g
            v[key] = 0.999 * v.get(key, 0) + 0.001 * g**2
            m_hat, v_hat = m[key] / (1 - 0.9**t), v[key] / (1 - 0.999**t)
            expected[key] = expected[key] - 0.01 * m_hat / (v_hat.sqrt() + 1e-8)
    assert trainer.step == 3
    for key, value in trainer.model.weights().items():
        torch.testing.assert_close(value.detach().double(), expected[key].double(), rtol=0, atol=2e-6)


# --- Weight decay -------------------------------------------------------------------------------


@pytest.mark.parametrize("implementation", ["fused", "scratch", "torch"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_weight_decay_is_torchs(optimizer: str, implementation: str) -> None:
    """Five steps of torch.optim.SGD and AdamW on the same clipped gradients, parameter by parameter, in three layouts.

    The decay is in no gradient norm, it moves the weights, and it moves biases that a gradient alone would move less.
    """
    rate, decay = (0.5, 0.3) if optimizer == "sgd" else (0.02, 5.0)
    settings = {"optimizer": optimizer, "learning_rate": rate, "clip": 0.05, "implementation": implementation}
    trainer, without = (Trainer(make_config(**settings, weight_decay=value), make_corpus()) for value in (decay, 0.0))
    theirs = {name: torch.nn.Parameter(value) for name, value in weights_of(trainer.model).items()}
    kind: Any = {"sgd": torch.optim.SGD, "adam": torch.optim.AdamW}[optimizer]
    reference = kind(theirs.values(), lr=rate, weight_decay=decay)
    first, plain = trainer.advance(1), without.advance(1)
    assert first == plain  # loss and norms come before the step
    assert not same(weights_of(trainer.model), weights_of(without.model))
    for step in range(5):
        if step:
            trainer.advance(1)
        for name, gradient in trainer.model.gradients().items():
            theirs[name].grad = gradient.clone()
        reference.step()
        for name, weight in trainer.model.weights().items():
            torch.testing.assert_close(weight.detach(), theirs[name].detach(), rtol=1e-6, atol=1e-7, msg=name)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_run_with_weight_decay_goes_on_exactly(optimizer: str) -> None:
    """From a checkpoint in the middle of an epoch a new trainer reports the same and ends with the same weights."""
    config = make_config(optimizer=optimizer, learning_rate=0.05, weight_decay=0.5, epochs=3)
    whole = Trainer(config, make_corpus())
    reports = whole.advance(10**6)
    first, second = (Trainer(config, make_corpus()) for _ in range(2))
    before = first.advance(whole.steps_per_epoch + 1)
    second.restore(first.checkpoint())
    assert before + second.advance(10**6) == reports
    assert same(weights_of(second.model), weights_of(whole.model))


# --- Clipping ---------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_clipping_shortens_the_gradient_and_keeps_its_direction(cell: str) -> None:
    """After the step the model's gradients are the raw ones times one factor, and their global norm is theta."""
    trainer = Trainer(make_config(cell=cell, clip=0.05), make_corpus())
    _, raw = raw_gradients(trainer)
    (report,) = trainer.advance(1)
    assert isinstance(report, StepReport)
    clipped = trainer.model.gradients()
    factor = 0.05 / global_norm(raw)
    assert factor < 0.9
    for key, value in clipped.items():
        torch.testing.assert_close(value, raw[key] * factor, rtol=1e-5, atol=1e-9)
    assert global_norm(clipped) == pytest.approx(0.05, rel=1e-6)
    assert report.norm_after == pytest.approx(global_norm(clipped), rel=1e-6)


@pytest.mark.parametrize("theta", [0.01, 0.1, 0.3, 1 / 3, 0.35, 0.4, 0.7])
def test_norm_after_never_exceeds_theta(theta: float) -> None:
    """It does not exceed it even by rounding, and a norm below theta is not changed."""
    for report in steps_of(run(make_config(clip=theta, epochs=10, learning_rate=0.5))):
        assert report.norm_after <= theta
        if report.norm_before <= theta:
            assert report.norm_after == report.norm_before
        else:
            assert report.norm_after == pytest.approx(theta, rel=1e-12)


@pytest.mark.parametrize("theta", [0.01, 0.1, 0.3, 0.7])
@pytest.mark.parametrize("length", [32, 52, 62, 132])
def test_the_mean_norm_after_never_exceeds_theta_either(theta: float, length: int) -> None:
    """The sum of many thresholds is rounded, and so may be their mean."""
    reports = run(make_config(clip=theta, epochs=2, learning_rate=0.01), make_corpus(length))
    assert all(epoch.norm_after <= theta for epoch in epochs_of(reports))
    assert all(epoch.norm_before > theta for epoch in epochs_of(reports)) or theta > 0.1


def test_a_run_may_clip_in_some_steps_and_not_in_others() -> None:
    """With a threshold in the middle of the run's norms, both happen."""
    norms = [r.norm_before for r in steps_of(run(make_config(clip=0.0)))]
    steps = steps_of(run(make_config(clip=sorted(norms)[len(norms) // 2])))
    assert 0 < sum(r.norm_after < r.norm_before for r in steps) < len(steps)


def test_theta_of_zero_turns_clipping_off() -> None:
    """The norm after clipping is the norm before in every step."""
    steps = steps_of(run(make_config(clip=0.0)))
    assert all(r.norm_after == r.norm_before > 0 for r in steps)


@given(norm=st.floats(0, 1e30), theta=st.floats(0, 1e9))
def test_clip_scale_is_the_formula_of_the_lecture_notes(norm: float, theta: float) -> None:
    """It is min(theta / norm, 1), and 1 for no threshold or no gradient."""
    scale = clip_scale(norm, theta)
    if theta == 0 or norm <= theta:
        assert scale == 1
    else:
        assert 0 < scale < 1 or scale == theta / norm
        assert norm * scale == pytest.approx(theta, rel=1e-9)


# --- A run ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("sampling", ["sequential", "random"])
@pytest.mark.parametrize("implementation", ["scratch", "torch"])
def test_the_same_seed_gives_the_same_reports(implementation: str, sampling: Sampling, optimizer: str) -> None:
    """Two trainers give the same bit for bit; another seed gives other numbers from the first step on."""
    config = make_config(
        implementation=implementation, sampling=sampling, optimizer=optimizer, cell="lstm", learning_rate=0.02
    )
    first, second, other = run(config), run(config), run(replace(config, seed=1))
    assert first == second
    assert steps_of(first)[0].loss != steps_of(other)[0].loss


def test_global_random_states_have_no_effect() -> None:
    """Random numbers drawn by the rest of a program change nothing."""
    torch.manual_seed(1)
    np.random.seed(1)
    random.seed(1)
    first = run(make_config(sampling="random"))
    torch.manual_seed(2)
    np.random.seed(2)
    random.seed(2)
    assert run(make_config(sampling="random")) == first


@pytest.mark.parametrize(("optimizer", "learning_rate"), [("sgd", 0.5), ("adam", 0.01)])
@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_scratch_and_torch_learn_alike(cell: str, optimizer: str, learning_rate: float) -> None:
    """Over 20 steps in float32 from the same seed, losses and norms stay within 1e-4 of each other."""
    config = make_config(cell=cell, optimizer=optimizer, learning_rate=learning_rate, epochs=5, clip=0.1, num_layers=2)
    ours = steps_of(run(config))[:20]
    theirs = steps_of(run(replace(config, model=replace(config.model, implementation="torch"))))[:20]
    assert len(ours) == len(theirs) == 20
    for a, b in zip(ours, theirs, strict=True):
        assert a.loss == pytest.approx(b.loss, abs=1e-4)
        assert a.norm_before == pytest.approx(b.norm_before, abs=1e-4)
        assert set(a.norms) == set(b.norms)


def test_reports_are_in_order() -> None:
    """There is one for each step, one at the end of each epoch, and then the predictions, if they are due."""
    reports = run(make_config(epochs=4, predict_every=2, prefixes=("ab", "f")))
    epoch = ["StepReport"] * 4 + ["EpochReport"]
    expected = [*epoch, *epoch, "PredictionReport", "PredictionReport"] * 2
    assert [type(r).__name__ for r in reports] == expected
    assert [r.step for r in steps_of(reports)] == list(range(1, 17))
    assert [r.epoch for r in steps_of(reports)] == [1] * 4 + [2] * 4 + [3] * 4 + [4] * 4
    assert [(r.step, r.epoch) for r in epochs_of(reports)] == [(4, 1), (8, 2), (12, 3), (16, 4)]
    written = [r for r in reports if isinstance(r, PredictionReport)]
    assert [(r.step, r.epoch, r.prefix) for r in written] == [(8, 2, "ab"), (8, 2, "f"), (16, 4, "ab"), (16, 4, "f")]
    assert all(r.text.startswith(r.prefix) and len(r.text) == len(r.prefix) + 6 for r in written)


def test_prediction_can_be_turned_off_and_uses_the_corpus_prefixes_by_default() -> None:
    """0 turns it off; without prefixes of its own, a run continues the beginning of the text."""
    assert not [r for r in run(make_config(predict_every=0)) if isinstance(r, PredictionReport)]
    written = [r for r in run(make_config(predict_every=1, prefixes=())) if isinstance(r, PredictionReport)]
    assert [r.prefix for r in written] == [random_text(43)[:4]] * 3


def test_a_prediction_is_written_with_the_weights_of_that_epoch() -> None:
    """The reported text is the greedy continuation by the model at the end of the epoch."""
    trainer = Trainer(make_config(predict_every=1, epochs=2), make_corpus())
    reports = trainer.advance(4)
    expected = predict(trainer.model, trainer.corpus.vocabulary, "ab", 6)
    assert reports[-1] == PredictionReport(4, 1, "ab", expected)


def test_epoch_perplexity_is_of_total_nats_over_total_characters() -> None:
    """It is exp of the sums; the mean of exp(batch loss) would be larger. Norms are means over the epoch's steps."""
    reports = run(make_config(epochs=3))
    for epoch in epochs_of(reports):
        steps = [r for r in steps_of(reports) if r.epoch == epoch.epoch]
        nats = sum(r.loss * r.characters for r in steps)
        characters = sum(r.characters for r in steps)
        assert epoch.perplexity == pytest.approx(math.exp(nats / characters), rel=1e-9)
        assert epoch.perplexity < sum(math.exp(r.loss) for r in steps) / len(steps)
        assert epoch.norm_before == pytest.approx(sum(r.norm_before for r in steps) / len(steps), rel=1e-9)
        assert epoch.norm_after == pytest.approx(sum(r.norm_after for r in steps) / len(steps), rel=1e-9)
        assert epoch.seconds > 0
        assert epoch.characters_per_second == pytest.approx(characters / epoch.seconds)


def test_perplexity_is_computed_from_totals() -> None:
    """It is 1 at best, V for a uniform guess, and infinite at worst and beyond what a float can hold."""
    assert perplexity(0.0, 10) == 1
    assert perplexity(10 * math.log(28), 10) == pytest.approx(28)
    assert perplexity(1e6, 10) == math.inf
    assert perplexity(math.inf, 10) == math.inf


def test_without_characters_there_is_no_perplexity() -> None:
    """Neither 1 nor infinity would be right."""
    with pytest.raises(InputError, match="perplexity of 0 characters was asked for; it needs at least 1"):
        perplexity(0.0, 0)


# --- Mini-batches and the carried state ---------------------------------------------------------------


def by_hand(config: TrainConfig, corpus: Corpus, order: dict[int, list[list[int]]] | None = None) -> list[float]:
    """The mean losses of train_and_predict_rnn in the lecture notes, written out: windows, state, clipping and SGD.

    `order` has the example starts of every random epoch; without it, sampling is sequential.
    """
    vocabulary = sorted(set(corpus.training))
    ids = [vocabulary.index(c) for c in corpus.training]
    model = LanguageModel(config.model, len(vocabulary), torch.Generator().manual_seed(config.seed))
    row = len(ids) // config.batch_size
    losses = []
    for epoch in range(config.epochs):
        state = model.initial_state(config.batch_size)
        if order is None:
            batches = [
                [r * row + i * config.num_steps for r in range(config.batch_size)]
                for i in range((row - 1) // config.num_steps)
            ]
        else:
            batches = order[epoch]
        for begin in batches:
            if order is not None:
                state = model.initial_state(config.batch_size)
            state = tuple(tuple(S.detach() for S in layer) for layer in state)
            X = torch.tensor([[ids[b + t] for b in begin] for t in range(config.num_steps)])
            Y = torch.tensor([[ids[b + t + 1] for b in begin] for t in range(config.num_steps)])
            logits, state = model(X, state)
            loss = F.cross_entropy(logits.reshape(-1, len(vocabulary)), Y.reshape(-1))
            parameters = list(model.parameters())
            gradients = torch.autograd.grad(loss, parameters)
            norm = math.sqrt(sum(float((g**2).sum()) for g in gradients))
            with torch.no_grad():
                for p, g in zip(parameters, gradients, strict=True):
                    p.sub_(config.learning_rate * min(config.clip / norm, 1) * g)
            losses.append(loss.item())
    return losses


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_sequential_sampling_carries_the_state_through_an_epoch(cell: str) -> None:
    """Losses equal those of a loop that detaches the state between batches and zeroes it at the epoch's start."""
    config = make_config(cell=cell, num_layers=2, epochs=3)
    corpus = make_corpus()
    ours = [r.loss for r in steps_of(run(config, corpus))]
    np.testing.assert_allclose(ours, by_hand(config, corpus), rtol=0, atol=2e-6)


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_random_sampling_starts_every_batch_from_zero(cell: str) -> None:
    """Losses equal those of a loop that zeroes the state before each batch; every epoch has its own order."""
    config = make_config(cell=cell, num_layers=2, epochs=3, sampling="random")
    corpus = make_corpus()
    trainer = Trainer(config, corpus)
    order = {epoch: trainer._epoch_starts(epoch).tolist() for epoch in range(3)}
    assert order[0] != order[1] != order[2] != order[0]
    ours = [r.loss for r in steps_of(run(config, corpus))]
    np.testing.assert_allclose(ours, by_hand(config, corpus, order), rtol=0, atol=2e-6)


def test_the_order_of_an_epoch_depends_only_on_the_seed_and_the_epoch() -> None:
    """It does not depend on what was trained before; every seed and every epoch has its own order."""
    orders: dict[tuple[int, int], str] = {}
    for seed in (0, 1):
        trainer = Trainer(make_config(sampling="random", seed=seed), make_corpus(200))
        fresh = [trainer._epoch_starts(epoch).tolist() for epoch in (0, 1)]
        trainer.advance(3)
        assert [trainer._epoch_starts(epoch).tolist() for epoch in (0, 1)] == fresh
        orders |= {(seed, epoch): str(order) for epoch, order in enumerate(fresh)}
    assert len(set(orders.values())) == 4


def test_the_carried_state_affects_the_losses() -> None:
    """If the state is dropped, the second sequential batch has another loss, which the two tests above would notice."""
    trainer, dropped = Trainer(make_config(), make_corpus()), Trainer(make_config(), make_corpus())
    trainer.advance(1)
    dropped.advance(1)
    assert max(float(S.abs().max()) for layer in trainer.state for S in layer) > 0.01
    dropped.state = dropped.model.initial_state(B)
    (carried,), (reset,) = steps_of(trainer.advance(1)), steps_of(dropped.advance(1))
    assert abs(carried.loss - reset.loss) > 1e-5


# --- advance, checkpoint, restore --------------------------------------------------------------------

CUT_CONFIG = make_config(cell="gru", sampling="random", optimizer="adam", learning_rate=0.02, epochs=3)
CUT_REFERENCE: list[Report] = []


@settings(max_examples=15)
@given(st.lists(st.integers(0, 7), max_size=12))
def test_advance_cut_in_any_way_gives_the_same_reports(cuts: list[int]) -> None:
    """Only the number of steps counts, not how the run is cut into calls."""
    if not CUT_REFERENCE:
        CUT_REFERENCE.extend(Trainer(CUT_CONFIG, make_corpus()).advance(10**9))
    trainer = Trainer(CUT_CONFIG, make_corpus())
    reports = [report for n in cuts for report in trainer.advance(n)]
    reports += trainer.advance(10**9)
    assert reports == CUT_REFERENCE
    assert trainer.finished
    assert trainer.advance(5) == []


RESUMED: list[dict[str, Any]] = [
    {"cell": cell, "optimizer": optimizer, "sampling": sampling, "implementation": implementation}
    for cell, implementation in (("rnn", "scratch"), ("gru", "scratch"), ("gru", "torch"))
    for optimizer in ("sgd", "adam")
    for sampling in ("sequential", "random")
]
RESUMED += [
    {"cell": "lstm", "num_layers": 2, "optimizer": "adam", "implementation": "scratch"},
    {"cell": "lstm", "num_layers": 2, "optimizer": "adam", "implementation": "torch"},
    {"cell": "lstm", "num_layers": 2, "bidirectional": True, "optimizer": "sgd"},
    {"cell": "gru", "bidirectional": True, "optimizer": "adam", "implementation": "torch"},
    {"cell": "gru", "reset": "before", "optimizer": "adam"},
    {"cell": "gru", "bidirectional": True, "optimizer": "adam", "sampling": "random", "task": "restore"},
]


@pytest.mark.parametrize("changes", RESUMED, ids=lambda c: "-".join(str(v) for v in c.values()))
def test_a_restored_run_goes_on_identically(changes: dict[str, Any]) -> None:
    """From a checkpoint at any step, read back from bytes and JSON, a fresh trainer gives the remaining reports."""
    config = make_config(**changes, learning_rate=0.05, epochs=2)
    whole = Trainer(config, make_corpus())
    checkpoints, tails = [], []
    reports: list[Report] = []
    for _ in range(whole.total_steps + 1):
        made = whole.checkpoint()
        arrays = {key: np.frombuffer(a.tobytes(), a.dtype).reshape(a.shape) for key, a in made.arrays.items()}
        checkpoints.append(Checkpoint(arrays, json.loads(json.dumps(made.meta))))
        tails.append(len(reports))
        reports += whole.advance(1)
    final = weights_of(whole.model)
    for checkpoint, tail in zip(checkpoints, tails, strict=True):
        resumed = Trainer(replace(config), make_corpus())
        resumed.restore(checkpoint)
        assert resumed.advance(10**9) == reports[tail:]
        assert same(weights_of(resumed.model), final)


def test_what_is_to_be_restored_is_masked_and_nothing_else_is_a_target() -> None:
    """In every mini-batch, at other places in each; the characters left are those of the text."""
    config = make_config(task="restore", epochs=2)
    trainer, plain = Trainer(config, make_corpus()), Trainer(replace(config, task="predict"), make_corpus())
    places = []
    for epoch in range(2):
        for position in range(trainer.steps_per_epoch):
            X, Y = trainer._batch(epoch, position)
            text, _ = plain._batch(epoch, position)
            assert ((X == UNKNOWN) == (Y != UNKNOWN)).all()
            assert torch.equal(torch.where(X == UNKNOWN, Y, X), text)
            places.append((Y != UNKNOWN).tolist())
            again, _ = Trainer(config, make_corpus())._batch(epoch, position)
            assert torch.equal(again, X)
    assert any(places[0] != other for other in places[1:])


def test_a_model_that_restores_is_judged_by_what_was_masked() -> None:
    """Its accuracy is the share of masked held-out characters that were the likeliest; it writes nothing."""
    config = make_config(task="restore", bidirectional=True, optimizer="adam", learning_rate=0.05)
    trainer = Trainer(config, make_corpus(held_out=random_text(300, seed=1)))
    reports = trainer.advance(10**9)
    assert not any(isinstance(report, PredictionReport) for report in reports)
    X, Y = (torch.from_numpy(ids) for ids in trainer.held_out)
    with torch.no_grad():
        logits = trainer.model(X.unsqueeze(1))[0][:, 0]
    asked = Y != UNKNOWN
    assert 0.05 < asked.float().mean() < 0.3
    expected = (logits.argmax(dim=-1)[asked] == Y[asked]).float().mean()
    last = epochs_of(reports)[-1]
    assert last.held_out_accuracy == pytest.approx(float(expected))
    nats = F.cross_entropy(logits[asked], Y[asked])
    assert last.held_out_perplexity == pytest.approx(math.exp(float(nats)), rel=1e-5)
    assert all(report.held_out_accuracy is None for report in epochs_of(run(make_config())))


def test_what_stands_between_two_equal_characters_is_restored_with_both_directions_alone() -> None:
    """The first of a pair is known from the second alone; where both are masked, nobody knows."""
    rng = random.Random(3)  # noqa: S311  a fixed sample, not a secret
    text = "".join(rng.choice(("ab", "cd", "ef")) for _ in range(600))
    shares: dict[bool, float] = {}
    for bidirectional in (True, False):
        config = make_config(
            task="restore", bidirectional=bidirectional, implementation="fused", hidden_size=16, batch_size=8,
            num_steps=20, epochs=40, optimizer="adam", learning_rate=0.02, clip=1.0,
        )  # fmt: skip
        last = epochs_of(run(config, Corpus("pairs", text[:1000], text[1000:])))[-1]
        assert last.held_out_accuracy is not None
        shares[bidirectional] = last.held_out_accuracy
    assert shares[True] > 0.83
    assert shares[False] < 0.72


CUT = {"predict_every": 1, "predict_length": 40, "prefixes": ("ab", "c", "fed"), "epochs": 2}


def test_a_run_may_be_cut_between_any_two_reports() -> None:
    """This includes the reports of an epoch's end; each time, another trainer goes on from the checkpoint."""
    config, corpus = make_config(**CUT), make_corpus(held_out=random_text(2500))
    expected = Trainer(config, corpus).advance(10**9)
    reports: list[Report] = []
    trainer = Trainer(config, corpus)
    while not trainer.finished:
        while not (told := trainer.piece()):
            pass
        reports += told
        checkpoint, trainer = trainer.checkpoint(), Trainer(config, corpus)
        trainer.restore(checkpoint)
    assert reports == expected


def test_the_end_of_an_epoch_is_done_in_small_pieces() -> None:
    """A checkpoint made in the middle belongs to the last report, and what comes after that is done again."""
    config, corpus = make_config(**CUT), make_corpus(held_out=random_text(2500))
    whole = Trainer(config, corpus)
    expected = whole.advance(whole.steps_per_epoch)
    trainer = Trainer(config, corpus)
    pieces = []
    while not trainer.has_reached(trainer.steps_per_epoch):
        checkpoint = trainer.checkpoint()
        pieces.append(trainer.piece())
        other = Trainer(config, corpus)
        other.restore(checkpoint)
        told = sum(map(len, pieces[:-1]))
        assert other.advance(trainer.steps_per_epoch - other.step) == expected[told:]
    assert [report for piece in pieces for report in piece] == expected
    silent = [not piece for piece in pieces]
    assert silent == [False] * 4 + [True] * 3 + [False] + [True, True, False] * 3


def test_large_models_and_vocabularies_are_evaluated_in_smaller_parts() -> None:
    """The logits of a part stay below 32 MB, and it takes about a second at most; the sum is the same."""
    ids = np.random.default_rng(0).integers(0, 6, 3001)
    model = LanguageModel(ModelConfig(hidden_size=8), 6)
    assert len(list(evaluation(model, ids[:-1], ids[1:]))) == 3
    expected = evaluate(model, ids)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "_EVALUATION_LOGITS", 6 * 100)
        assert [loss.characters for loss in evaluation(model, ids[:-1], ids[1:])] == [100] * 30
        assert evaluate(model, ids).nats == pytest.approx(expected.nats)
        patch.setattr(training, "_EVALUATION_WORK", 0)
        assert len(list(evaluation(model, ids[:49], ids[1:50]))) == 49


def test_a_run_counts_its_seconds_of_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """They include the time before it was resumed, because the host's time limit is for the whole run."""
    config, corpus = make_config(), make_corpus()
    first = Trainer(config, corpus)
    assert first.seconds == 0
    first.advance(3)
    second = Trainer(config, corpus)
    second.restore(first.checkpoint())
    assert second.seconds == first.seconds > 0
    second.advance(1)
    assert second.seconds > first.seconds


def test_a_checkpoint_is_not_changed_afterwards() -> None:
    """Neither further training nor a restored trainer writes into its arrays."""
    config = make_config(optimizer="adam", learning_rate=0.05)
    trainer = Trainer(config, make_corpus())
    trainer.advance(3)
    checkpoint = trainer.checkpoint()
    kept = {key: value.copy() for key, value in checkpoint.arrays.items()}
    sums = dict(checkpoint.meta["sums"])
    trainer.advance(3)
    other = Trainer(config, make_corpus())
    other.restore(checkpoint)
    other.advance(3)
    assert all((checkpoint.arrays[key] == value).all() for key, value in kept.items())
    assert checkpoint.meta["sums"] == sums
    assert checkpoint.meta["step"] == 3


def test_a_trainer_can_be_restored_to_an_earlier_step() -> None:
    """A trainer that is further on repeats the steps after the checkpoint."""
    trainer = Trainer(make_config(optimizer="adam", learning_rate=0.05), make_corpus())
    trainer.advance(2)
    checkpoint = trainer.checkpoint()
    first = trainer.advance(5)
    trainer.restore(checkpoint)
    assert trainer.step == 2
    assert trainer.advance(5) == first


def test_checkpoint_arrays_have_the_textbook_names() -> None:
    """A checkpoint's weights are those of the model, by the names of its `weights`."""
    trainer = Trainer(make_config(cell="lstm", implementation="torch"), make_corpus())
    trainer.advance(2)
    weights = trainer.checkpoint().weights()
    assert set(weights) == set(trainer.model.weights())
    for key, value in trainer.model.weights().items():
        assert (weights[key] == value.detach().numpy()).all()


@pytest.mark.parametrize(
    "changes",
    [{"hidden_size": 5}, {"cell": "lstm"}, {"num_layers": 2}, {"bidirectional": True}, {"batch_size": 3}],
    ids=str,
)
def test_restore_refuses_a_checkpoint_of_another_configuration(changes: dict[str, Any]) -> None:
    """The arrays do not fit, and an InputError says so at once, instead of an obscure error in the next step."""
    trainer = Trainer(make_config(), make_corpus())
    trainer.advance(2)
    other = Trainer(make_config(**changes), make_corpus())
    with pytest.raises(InputError, match="does not fit"):
        other.restore(trainer.checkpoint())


@pytest.mark.parametrize("missing", ["weights.W_hq", "state.0.0", "step", "sums", "failure"])
def test_restore_refuses_an_incomplete_checkpoint(missing: str) -> None:
    """Nothing that a run needs may be missing."""
    trainer = Trainer(make_config(), make_corpus())
    made = trainer.checkpoint()
    arrays = {key: value for key, value in made.arrays.items() if key != missing}
    meta = {key: value for key, value in made.meta.items() if key != missing}
    with pytest.raises(InputError, match="does not fit"):
        trainer.restore(Checkpoint(arrays, meta))


# --- Divergence ------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_a_diverging_run_ends_with_a_failure_report(seed: int) -> None:
    """With ReLU, SGD at a rate of 10,000 and no clipping, the reason names the step; the last weights are finite."""
    config = make_config(
        cell="rnn", activation="relu", hidden_size=8, num_steps=10, learning_rate=1e4, clip=0.0, epochs=30, seed=seed
    )
    corpus = make_corpus(92)
    trainer = Trainer(config, corpus)
    reports = trainer.advance(10**9)
    failure = reports[-1]
    assert isinstance(failure, FailureReport)
    assert [r for r in reports if isinstance(r, FailureReport)] == [failure]
    assert trainer.failure == failure
    assert trainer.finished
    assert trainer.advance(5) == []
    assert f"step {len(steps_of(reports)) + 1} " in failure.reason
    assert failure.step == len(steps_of(reports))
    assert all(math.isfinite(r.loss) and math.isfinite(r.norm_before) for r in steps_of(reports))

    complete = len(epochs_of(reports))
    assert failure.epoch == complete + 1
    assert f"end of epoch {complete} " in failure.reason
    before = Trainer(config, corpus)
    before.advance(complete * before.steps_per_epoch)
    kept = weights_of(trainer.model)
    assert all(value.isfinite().all() for value in kept.values())
    assert same(kept, weights_of(before.model))


def poison(trainer: Trainer) -> None:
    """Make the next loss NaN."""
    with torch.no_grad():
        trainer.model.b_q.fill_(math.nan)


def test_a_failure_in_a_later_epoch_keeps_the_last_complete_one() -> None:
    """The weights go back to the end of epoch 2, not to the start and not to the middle of epoch 3."""
    trainer = Trainer(make_config(epochs=5), make_corpus())
    trainer.advance(2 * trainer.steps_per_epoch)
    expected = weights_of(trainer.model)
    trainer.advance(2)
    poison(trainer)
    (failure,) = trainer.advance(10)
    assert isinstance(failure, FailureReport)
    assert (failure.step, failure.epoch) == (10, 3)
    assert "step 11 (epoch 3)" in failure.reason
    assert "nan" in failure.reason
    assert "end of epoch 2 are kept" in failure.reason
    assert same(weights_of(trainer.model), expected)


def test_a_restored_run_that_fails_keeps_the_same_weights() -> None:
    """This also holds if it was restored in the middle of the epoch that failed."""
    whole = Trainer(make_config(epochs=5), make_corpus())
    whole.advance(2 * whole.steps_per_epoch)
    expected = weights_of(whole.model)
    whole.advance(2)
    resumed = Trainer(make_config(epochs=5), make_corpus())
    resumed.restore(whole.checkpoint())
    poison(resumed)
    (failure,) = resumed.advance(1)
    assert isinstance(failure, FailureReport)
    assert "end of epoch 2 are kept" in failure.reason
    assert same(weights_of(resumed.model), expected)


# A tanh network whose numbers stay finite, however large its steps are.
WILD = {"cell": "rnn", "hidden_size": 16, "learning_rate": 30.0, "clip": 0.0, "epochs": 4}


def test_a_run_that_ends_far_above_a_uniform_guess_has_diverged() -> None:
    """All numbers stay finite, but the last report says that it diverged, and the fresh weights are restored."""
    trainer = Trainer(make_config(**WILD), make_corpus())
    fresh = weights_of(trainer.model)
    reports = trainer.advance(10**9)
    failure, V = reports[-1], len(trainer.corpus.vocabulary)
    assert isinstance(failure, FailureReport)
    assert trainer.failure == failure
    assert len(steps_of(reports)) == trainer.total_steps == failure.step
    assert all(math.isfinite(r.loss) for r in steps_of(reports))
    last = epochs_of(reports)[-1].perplexity
    assert 1000 * V < last < math.inf
    assert f"in the last epoch (4) the perplexity is {last:.3g}, more than 1,000 times the {V} of" in failure.reason
    assert "end of epoch 0 are kept" in failure.reason
    assert same(weights_of(trainer.model), fresh)
    assert not [r for r in reports if isinstance(r, PredictionReport) and r.epoch == 4]


def test_an_infinite_perplexity_at_the_end_is_reported_as_such() -> None:
    """This holds even if the mean loss is finite."""
    reports = run(make_config(**WILD | {"learning_rate": 10_000.0}))
    assert epochs_of(reports)[-1].perplexity == math.inf
    assert isinstance(reports[-1], FailureReport)
    assert "the perplexity is ∞, more than" in reports[-1].reason


@pytest.mark.parametrize(
    ("reached", "diverged"),
    [(1.0, False), (8.0, False), (7999.0, False), (8001.0, True), (math.inf, True), (math.nan, True)],
)
def test_a_thousand_times_a_uniform_guess_is_the_limit(reached: float, diverged: bool) -> None:
    """It is far above where any training that learns begins or ends."""
    assert has_diverged(reached, 8) is diverged


def spoil(trainer: Trainer) -> dict[str, Tensor]:
    """Set weights that make the next epoch's perplexity infinite while numbers stay finite. Returns the old ones."""
    before = weights_of(trainer.model)
    with torch.no_grad():
        trainer.model.b_q.copy_(torch.linspace(0, 1e5, len(trainer.model.b_q)))
    return before


def test_a_training_that_recovers_has_not_diverged() -> None:
    """An infinite perplexity in the middle does not end it, because only the last epoch counts."""
    trainer = Trainer(make_config(epochs=4, clip=0.01), make_corpus())
    reports = trainer.advance(trainer.steps_per_epoch)
    before = spoil(trainer)
    reports += trainer.advance(trainer.steps_per_epoch)
    trainer.model.load_weights(before)
    reports += trainer.advance(10**9)
    assert [epoch.perplexity == math.inf for epoch in epochs_of(reports)] == [False, True, False, False]
    assert trainer.failure is None
    assert len(steps_of(reports)) == trainer.total_steps


@pytest.mark.parametrize("resumed_at", [None, 0, 1])
def test_the_weights_kept_are_those_of_the_last_good_epoch(resumed_at: int | None) -> None:
    """Epoch 2 ends at an infinite perplexity and epoch 3 fails: epoch 1 is kept, even after a resume in between."""
    config, corpus = make_config(epochs=5, clip=0.01), make_corpus()
    trainer = Trainer(config, corpus)
    trainer.advance(trainer.steps_per_epoch)
    good = spoil(trainer)
    trainer.advance(trainer.steps_per_epoch + (resumed_at or 0))
    if resumed_at is not None:
        made = trainer.checkpoint()
        trainer = Trainer(config, corpus)
        trainer.restore(Checkpoint(made.arrays, json.loads(json.dumps(made.meta))))
    poison(trainer)
    (failure,) = trainer.advance(10)
    assert isinstance(failure, FailureReport)
    assert "(epoch 3)" in failure.reason
    assert "end of epoch 1 are kept" in failure.reason
    assert same(weights_of(trainer.model), good)


def test_a_run_can_be_resumed_from_a_checkpoint_of_an_earlier_version() -> None:
    """It does not say which epoch was the last good one, so it is taken to be the last."""
    trainer = Trainer(make_config(epochs=5), make_corpus())
    trainer.advance(2 * trainer.steps_per_epoch + 1)
    made = trainer.checkpoint()
    other = Trainer(make_config(epochs=5), make_corpus())
    other.restore(Checkpoint(made.arrays, {key: value for key, value in made.meta.items() if key != "good_epoch"}))
    assert other.checkpoint().meta == made.meta


def test_a_failure_survives_a_checkpoint() -> None:
    """A run that failed is still a failed run after it is restored."""
    trainer = Trainer(make_config(), make_corpus())
    trainer.advance(5)
    poison(trainer)
    trainer.advance(1)
    made = trainer.checkpoint()
    other = Trainer(make_config(), make_corpus())
    other.restore(Checkpoint(made.arrays, json.loads(json.dumps(made.meta))))
    assert other.failure == trainer.failure
    assert other.finished
    assert other.advance(3) == []


def test_the_advice_after_a_failure_fits_the_settings() -> None:
    """It names the threshold if clipping is on; if clipping is off, it does not advise lowering a threshold of 0."""
    reasons = {}
    for clip in (0.0, 0.5):
        trainer = Trainer(make_config(clip=clip, learning_rate=0.25), make_corpus())
        poison(trainer)
        (failure,) = trainer.advance(1)
        assert isinstance(failure, FailureReport)
        reasons[clip] = failure.reason
    assert "0.25" in reasons[0.0]
    assert "0.25" in reasons[0.5]
    assert "0.5" in reasons[0.5]
    assert "threshold (0;" not in reasons[0.0]


# --- Held-out text ---------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_evaluation_is_the_sum_over_characters_by_hand(
    cell: CellName, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is computed character by character from a zero state, without unknown ones; the chunk size does not matter."""
    monkeypatch.setattr(training, "_EVALUATION_STEPS", chunk)
    model = LanguageModel(ModelConfig(cell=cell, hidden_size=4, num_layers=2, initialisation="uniform"), 6).double()
    ids = np.array([0, 3, UNKNOWN, 2, 2, 5, UNKNOWN, UNKNOWN, 1, 4])
    nats, characters = 0.0, 0
    state = model.initial_state(1)
    for now, following in pairwise(ids):
        logits, state = model(torch.tensor([[int(now)]]), state)
        if following != UNKNOWN:
            nats -= torch.log_softmax(logits[0, 0].detach(), dim=-1)[following].item()
            characters += 1
    loss = evaluate(model, ids)
    assert loss.characters == characters == 6
    assert loss.nats == pytest.approx(nats, rel=1e-12)


def test_held_out_perplexity_of_an_epoch_is_that_of_its_weights() -> None:
    """It is scored after the epoch's last step, over the known held-out characters, whose share is also reported."""
    trainer = Trainer(make_config(), make_corpus())
    report = trainer.advance(trainer.steps_per_epoch)[-1]
    assert isinstance(report, EpochReport)
    loss = evaluate(trainer.model, np.array([0, 1, UNKNOWN, 2, 5, UNKNOWN, 4, 3, 2, 1, 0]))
    assert loss.characters == 8
    assert report.held_out_perplexity == perplexity(loss.nats, loss.characters)
    assert report.known_share == pytest.approx(9 / 11)


@pytest.mark.parametrize("held_out", ["", "a"])
def test_without_held_out_text_there_is_no_held_out_perplexity(held_out: str) -> None:
    """There is nothing to predict in a text of no characters or one."""
    for epoch in epochs_of(run(make_config(epochs=1), make_corpus(held_out=held_out))):
        assert (epoch.held_out_perplexity, epoch.known_share) == (None, None)


def test_a_held_out_text_without_known_characters_has_no_perplexity() -> None:
    """Nothing was scored, so no number may be shown for it, and the share says why."""
    (epoch,) = epochs_of(run(make_config(epochs=1), make_corpus(held_out="xyzxyz")))
    assert epoch.held_out_perplexity is None
    assert epoch.known_share == 0.0


def test_evaluation_has_no_side_effects() -> None:
    """It changes neither weights nor gradients nor the carried state."""
    trainer = Trainer(make_config(), make_corpus())
    trainer.advance(2)
    before = weights_of(trainer.model)
    gradients = {key: value.clone() for key, value in trainer.model.gradients().items()}
    evaluate(trainer.model, trainer.corpus.vocabulary.encode(trainer.corpus.held_out))
    assert same(weights_of(trainer.model), before)
    assert same(trainer.model.gradients(), gradients)


# --- Refusals --------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampling", ["sequential", "random"])
def test_a_text_too_short_for_a_batch_is_refused(sampling: Sampling) -> None:
    """The message has the number of characters needed, and that number is enough."""
    needed = characters_needed(sampling, B, T)
    config = make_config(sampling=sampling, epochs=1)
    with pytest.raises(InputError, match=f"has {needed - 1} characters.*needs at least {needed}\\."):
        Trainer(config, make_corpus(needed - 1))
    assert Trainer(config, make_corpus(needed)).total_steps == 1


def test_a_model_with_too_many_parameters_is_refused() -> None:
    """It is refused before any memory is allocated for it."""
    config = make_config(hidden_size=4096, num_layers=8, cell="lstm", bidirectional=True)
    with pytest.raises(InputError, match="allowed: at most 50,000,000"):
        Trainer(config, make_corpus())


def test_an_absent_device_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message lists the devices there are, and `auto` uses the best of them."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(InputError, match=r"device cuda is not available here; allowed: auto, cpu$"):
        Trainer(make_config(device="cuda"), make_corpus())
    assert training.resolve_device("auto") == training.resolve_device("cpu") == torch.device("cpu")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert training.resolve_device("auto") == torch.device("mps")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert training.resolve_device("auto") == torch.device("cuda")


def test_train_learns_a_text_by_heart() -> None:
    """On a text that repeats itself, perplexity falls from that of a guess to nearly 1."""
    corpus = split("abcdef" * 12, held_out_chars=6)
    config = make_config(optimizer="adam", learning_rate=0.05, epochs=40, clip=1.0, hidden_size=5, predict_every=40)
    reports = run(config, corpus)
    curve = [r.perplexity for r in epochs_of(reports)]
    assert 4 < curve[0] < 7
    assert curve[-1] < 1.1
    held_out = epochs_of(reports)[-1].held_out_perplexity
    assert held_out is not None
    assert held_out < 1.3
    prediction = reports[-1]
    assert isinstance(prediction, PredictionReport)
    assert prediction.text == "abcdefab"
