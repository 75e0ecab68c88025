"""The training loop against loops written out by hand, and its promise to be exactly repeatable."""

from __future__ import annotations

import json
import math
import random
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rnnviz import training
from rnnviz.config import ModelConfig, TrainConfig
from rnnviz.errors import InputError
from rnnviz.model import BatchLoss, LanguageModel
from rnnviz.reports import Checkpoint, EpochReport, FailureReport, PredictionReport, Report, StepReport
from rnnviz.sampling import characters_needed
from rnnviz.text import UNKNOWN, Corpus, split
from rnnviz.training import Trainer, clip_scale, evaluate, perplexity, train

B, T = 2, 5
LEARNABLE = "abcdef"


def random_text(length: int, seed: int = 0) -> str:
    rng = random.Random(seed)  # noqa: S311  a fixed sample, not a secret
    return "".join(rng.choice(LEARNABLE) for _ in range(length))


def make_corpus(length: int = 43, held_out: str = "abxcfyedcba") -> Corpus:
    """Four batches an epoch of 2 by 5 characters, and two held-out characters that training lacks."""
    return Corpus("test", random_text(length), held_out)


def make_config(**changes: object) -> TrainConfig:
    """A tiny GRU; `model` settings may be given beside those of the run."""
    settings = {"hidden_size": 4, "initialisation": "uniform", "implementation": "scratch"}
    settings |= {k: changes.pop(k) for k in list(changes) if k in ModelConfig.__dataclass_fields__}
    defaults = {"batch_size": B, "num_steps": T, "epochs": 3, "learning_rate": 0.5, "clip": 0.2, "device": "cpu"}
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
    """Equal names and equal values, bit for bit."""
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
    """w - lr min(theta / norm, 1) g for every weight, with and without clipping."""
    trainer = Trainer(make_config(clip=theta, learning_rate=0.3, implementation=implementation), make_corpus())
    before = weights_of(trainer.model)
    loss, gradients = raw_gradients(trainer)
    norm = global_norm(gradients)
    scale = min(theta / norm, 1.0) if theta else 1.0
    (report,) = trainer.advance(1)
    for key, value in trainer.model.weights().items():
        expected = before[key] - 0.3 * scale * gradients[key]
        torch.testing.assert_close(value.detach(), expected, rtol=0, atol=1e-7)
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
    """Three steps of m, v and their bias corrections (Kingma & Ba 2015), on clipped gradients."""
    config = make_config(optimizer="adam", learning_rate=0.01, clip=0.1, implementation=implementation)
    trainer = Trainer(config, make_corpus())
    m, v = {}, {}
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


# --- Clipping ---------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_clipping_shortens_the_gradient_and_keeps_its_direction(cell: str) -> None:
    """After the step the gradients in the model are the raw ones times one factor, of norm theta over all weights."""
    trainer = Trainer(make_config(cell=cell, clip=0.05), make_corpus())
    _, raw = raw_gradients(trainer)
    (report,) = trainer.advance(1)
    clipped = trainer.model.gradients()
    factor = 0.05 / global_norm(raw)
    assert factor < 0.9
    for key, value in clipped.items():
        torch.testing.assert_close(value, raw[key] * factor, rtol=1e-5, atol=1e-9)
    assert global_norm(clipped) == pytest.approx(0.05, rel=1e-6)
    assert report.norm_after == pytest.approx(global_norm(clipped), rel=1e-6)


@pytest.mark.parametrize("theta", [0.01, 0.1, 0.3, 1 / 3, 0.35, 0.4, 0.7])
def test_norm_after_never_exceeds_theta(theta: float) -> None:
    """Not even by rounding; a norm below theta is left as it is."""
    for report in steps_of(run(make_config(clip=theta, epochs=10, learning_rate=0.5))):
        assert report.norm_after <= theta
        if report.norm_before <= theta:
            assert report.norm_after == report.norm_before
        else:
            assert report.norm_after == pytest.approx(theta, rel=1e-12)


def test_a_run_may_clip_in_some_steps_and_not_in_others() -> None:
    """With a threshold in the middle of its norms both happen."""
    norms = [r.norm_before for r in steps_of(run(make_config(clip=0.0)))]
    steps = steps_of(run(make_config(clip=sorted(norms)[len(norms) // 2])))
    assert 0 < sum(r.norm_after < r.norm_before for r in steps) < len(steps)


def test_theta_of_zero_turns_clipping_off() -> None:
    """The norm after is the norm before in every step."""
    steps = steps_of(run(make_config(clip=0.0)))
    assert all(r.norm_after == r.norm_before > 0 for r in steps)


@given(norm=st.floats(0, 1e30), theta=st.floats(0, 1e9))
def test_clip_scale_is_the_notes_formula(norm: float, theta: float) -> None:
    """min(theta / norm, 1), and 1 for no threshold or no gradient."""
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
def test_the_same_seed_gives_the_same_reports(implementation: str, sampling: str, optimizer: str) -> None:
    """Bit for bit, from two trainers; another seed gives other numbers from the first step on."""
    config = make_config(
        implementation=implementation, sampling=sampling, optimizer=optimizer, cell="lstm", learning_rate=0.02
    )
    first, second, other = run(config), run(config), run(replace(config, seed=1))
    assert first == second
    assert steps_of(first)[0].loss != steps_of(other)[0].loss


def test_global_random_states_play_no_part() -> None:
    """What the rest of a program draws changes nothing."""
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


def test_reports_come_in_order() -> None:
    """A report for each step, one at the end of each epoch, then what the model writes where that is due."""
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


def test_prediction_can_be_turned_off_and_takes_the_corpus_prefixes_by_default() -> None:
    """0 never predicts; without prefixes of its own a run continues how the text begins."""
    assert not [r for r in run(make_config(predict_every=0)) if isinstance(r, PredictionReport)]
    written = [r for r in run(make_config(predict_every=1, prefixes=())) if isinstance(r, PredictionReport)]
    assert [r.prefix for r in written] == [random_text(43)[:4]] * 3


def test_a_prediction_is_what_the_weights_of_that_epoch_write() -> None:
    """The reported text is the greedy continuation by the model at the end of the epoch."""
    trainer = Trainer(make_config(predict_every=1, epochs=2), make_corpus())
    reports = trainer.advance(4)
    expected = training.predict(trainer.model, trainer.corpus.vocabulary, "ab", 6)
    assert reports[-1] == PredictionReport(4, 1, "ab", expected)


def test_epoch_perplexity_is_of_total_nats_over_total_characters() -> None:
    """exp once, of the sums; the mean of exp(batch loss) would be larger. Norms are means over the epoch's steps."""
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


def test_perplexity_of_totals() -> None:
    """1 at best, V for a uniform guess, infinite at worst and beyond what a float can hold."""
    assert perplexity(0.0, 10) == 1
    assert perplexity(10 * math.log(28), 10) == pytest.approx(28)
    assert perplexity(1e6, 10) == math.inf
    assert perplexity(math.inf, 10) == math.inf


# --- Mini-batches and the carried state ---------------------------------------------------------------


def by_hand(config: TrainConfig, corpus: Corpus, order: dict[int, list[list[int]]] | None = None) -> list[float]:
    """The mean losses of the notes' train_and_predict_rnn, written out: windows, state, clipping and SGD.

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
            model.zero_grad()
            loss.backward()
            norm = math.sqrt(sum(float((p.grad**2).sum()) for p in model.parameters()))
            with torch.no_grad():
                for p in model.parameters():
                    p.sub_(config.learning_rate * min(config.clip / norm, 1) * p.grad)
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
    """Losses equal those of a loop that zeroes the state before each batch; every epoch has an order of its own."""
    config = make_config(cell=cell, num_layers=2, epochs=3, sampling="random")
    corpus = make_corpus()
    trainer = Trainer(config, corpus)
    order = {epoch: trainer._epoch_starts(epoch).tolist() for epoch in range(3)}
    assert order[0] != order[1] != order[2] != order[0]
    ours = [r.loss for r in steps_of(run(config, corpus))]
    np.testing.assert_allclose(ours, by_hand(config, corpus, order), rtol=0, atol=2e-6)


def test_the_order_of_an_epoch_depends_on_the_seed_and_the_epoch_alone() -> None:
    """Not on what was trained before; every seed and every epoch has an order of its own."""
    orders = {}
    for seed in (0, 1):
        trainer = Trainer(make_config(sampling="random", seed=seed), make_corpus(200))
        fresh = [trainer._epoch_starts(epoch).tolist() for epoch in (0, 1)]
        trainer.advance(3)
        assert [trainer._epoch_starts(epoch).tolist() for epoch in (0, 1)] == fresh
        orders |= {(seed, epoch): str(order) for epoch, order in enumerate(fresh)}
    assert len(set(orders.values())) == 4


def test_the_state_matters_to_the_losses() -> None:
    """The two tests above would notice: with the state dropped, the second sequential batch has another loss."""
    trainer, dropped = Trainer(make_config(), make_corpus()), Trainer(make_config(), make_corpus())
    trainer.advance(1)
    dropped.advance(1)
    assert max(float(S.abs().max()) for layer in trainer.state for S in layer) > 0.01
    dropped.state = dropped.model.initial_state(B)
    assert abs(trainer.advance(1)[0].loss - dropped.advance(1)[0].loss) > 1e-5


# --- advance, checkpoint, restore --------------------------------------------------------------------

CUT_CONFIG = make_config(cell="gru", sampling="random", optimizer="adam", learning_rate=0.02, epochs=3)
CUT_REFERENCE: list[Report] = []


@settings(max_examples=15)
@given(st.lists(st.integers(0, 7), max_size=12))
def test_advance_cut_in_any_way_gives_the_same_reports(cuts: list[int]) -> None:
    """A run is a count of steps: how it is cut into calls never shows."""
    if not CUT_REFERENCE:
        CUT_REFERENCE.extend(Trainer(CUT_CONFIG, make_corpus()).advance(10**9))
    trainer = Trainer(CUT_CONFIG, make_corpus())
    reports = [report for n in cuts for report in trainer.advance(n)]
    reports += trainer.advance(10**9)
    assert reports == CUT_REFERENCE
    assert trainer.finished
    assert trainer.advance(5) == []


RESUMED = [
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
]


@pytest.mark.parametrize("changes", RESUMED, ids=lambda c: "-".join(str(v) for v in c.values()))
def test_a_restored_run_goes_on_bit_for_bit(changes: dict[str, object]) -> None:
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


def test_a_checkpoint_is_not_touched_by_what_comes_after() -> None:
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


def test_restore_goes_back_in_the_same_trainer() -> None:
    """A trainer that is further on repeats the steps after the checkpoint."""
    trainer = Trainer(make_config(optimizer="adam", learning_rate=0.05), make_corpus())
    trainer.advance(2)
    checkpoint = trainer.checkpoint()
    first = trainer.advance(5)
    trainer.restore(checkpoint)
    assert trainer.step == 2
    assert trainer.advance(5) == first


def test_checkpoint_arrays_carry_the_textbook_names() -> None:
    """A checkpoint's weights are the model's, by the names of its `weights`."""
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
def test_restore_refuses_a_checkpoint_of_another_configuration(changes: dict[str, object]) -> None:
    """The arrays do not fit, and an InputError says so at once, not an obscure error in the next step."""
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
    """ReLU, SGD with a rate of 10,000 and no clipping: the reason names the step; the weights left are finite."""
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
    """The next loss will not be a number."""
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
    """Also when it was restored in the middle of the epoch that failed."""
    whole = Trainer(make_config(epochs=5), make_corpus())
    whole.advance(2 * whole.steps_per_epoch)
    expected = weights_of(whole.model)
    whole.advance(2)
    resumed = Trainer(make_config(epochs=5), make_corpus())
    resumed.restore(whole.checkpoint())
    poison(resumed)
    (failure,) = resumed.advance(1)
    assert "end of epoch 2 are kept" in failure.reason
    assert same(weights_of(resumed.model), expected)


def test_a_failure_survives_a_checkpoint() -> None:
    """A run that failed has failed after it is restored, too."""
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
    """Where clipping is on, its threshold is named; where it is off, nobody is told to lower a threshold of 0."""
    reasons = {}
    for clip in (0.0, 0.5):
        trainer = Trainer(make_config(clip=clip, learning_rate=0.25), make_corpus())
        poison(trainer)
        (failure,) = trainer.advance(1)
        reasons[clip] = failure.reason
    assert "0.25" in reasons[0.0]
    assert "0.25" in reasons[0.5]
    assert "0.5" in reasons[0.5]
    assert "threshold (0;" not in reasons[0.0]


# --- Held-out text ---------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_evaluation_is_the_sum_over_characters_by_hand(cell: str, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """One character after the other from a zero state, unknown ones unscored; the inner chunks do not show."""
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
    """Scored after the epoch's last step, over the known held-out characters; their share is reported beside it."""
    trainer = Trainer(make_config(), make_corpus())
    report = trainer.advance(trainer.steps_per_epoch)[-1]
    assert isinstance(report, EpochReport)
    loss = evaluate(trainer.model, np.array([0, 1, UNKNOWN, 2, 5, UNKNOWN, 4, 3, 2, 1, 0]))
    assert loss.characters == 8
    assert report.held_out_perplexity == perplexity(loss.nats, loss.characters)
    assert report.known_share == pytest.approx(9 / 11)


@pytest.mark.parametrize("held_out", ["", "a"])
def test_nothing_held_out_gives_no_held_out_perplexity(held_out: str) -> None:
    """There is nothing to predict in a text of no or one character."""
    for epoch in epochs_of(run(make_config(epochs=1), make_corpus(held_out=held_out))):
        assert (epoch.held_out_perplexity, epoch.known_share) == (None, None)


def test_a_held_out_text_without_known_characters_has_no_perplexity() -> None:
    """Nothing was scored, so no number may be shown for it; the share says why."""
    (epoch,) = epochs_of(run(make_config(epochs=1), make_corpus(held_out="xyzxyz")))
    assert epoch.held_out_perplexity is None
    assert epoch.known_share == 0.0


def test_evaluation_changes_nothing() -> None:
    """Neither weights nor gradients nor the carried state notice an evaluation."""
    trainer = Trainer(make_config(), make_corpus())
    trainer.advance(2)
    before = weights_of(trainer.model)
    gradients = {key: value.clone() for key, value in trainer.model.gradients().items()}
    evaluate(trainer.model, trainer.held_out_ids)
    assert same(weights_of(trainer.model), before)
    assert same(trainer.model.gradients(), gradients)


# --- What is refused ---------------------------------------------------------------------------------


@pytest.mark.parametrize("sampling", ["sequential", "random"])
def test_a_text_too_short_for_a_batch_is_refused(sampling: str) -> None:
    """The message has the number of characters needed, and that number is enough."""
    needed = characters_needed(sampling, B, T)
    config = make_config(sampling=sampling, epochs=1)
    with pytest.raises(InputError, match=f"has {needed - 1} characters.*needs at least {needed}\\."):
        Trainer(config, make_corpus(needed - 1))
    assert Trainer(config, make_corpus(needed)).total_steps == 1


def test_a_model_with_too_many_parameters_is_refused() -> None:
    """Before any memory is taken for it."""
    config = make_config(hidden_size=4096, num_layers=8, cell="lstm", bidirectional=True)
    with pytest.raises(InputError, match="allowed: at most 50,000,000"):
        Trainer(config, make_corpus())


def test_an_absent_device_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message lists what there is; `auto` takes the best of it."""
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
    assert epochs_of(reports)[-1].held_out_perplexity < 1.3
    assert reports[-1].text == "abcdefab"
