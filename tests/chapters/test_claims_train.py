"""What the Train page says about the run that it shows, its presets and its curves is true of them."""

from __future__ import annotations

import math
from itertools import groupby

import numpy as np
import pytest

from rnnviz.config import PRESETS, ModelConfig, TrainConfig
from rnnviz.i18n import LANGUAGES
from rnnviz.nn.execution import load_model
from rnnviz.nn.model import LanguageModel
from rnnviz.nn.tracing import trace
from rnnviz.nn.training import Trainer, evaluate, perplexity
from rnnviz.runs.folder import BEST, Run
from rnnviz.runs.reports import PredictionReport, StepReport, best_held_out
from rnnviz.text.corpora import DATA, Corpus, read, split
from rnnviz.text.quotation import quoted_from
from tests.chapters.helpers import OWN_TEXT, check_example, epochs_of, refers_to, run_code, said, shipped_example


def corpus_of(name: str, config: TrainConfig) -> Corpus:
    return split(read(name), name, max_chars=config.max_chars)


def test_the_example_is_the_run_that_ships() -> None:
    """Hidden units, characters and text are as stated in each language; the run is the quick preset."""
    check_example("train")
    quick = PRESETS["quick"].config
    for language in LANGUAGES:
        config = shipped_example(language).config
        assert (config.epochs, config.batch_size, config.num_steps) == (quick.epochs, quick.batch_size, quick.num_steps)
        assert (config.optimizer, config.learning_rate, config.clip) == ("adam", quick.learning_rate, quick.clip)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_best_epochs_weights_ship_with_the_example(language: str) -> None:
    """They have the held-out perplexity that its curve marks, but for the rounding to half precision."""
    run = shipped_example(language)
    best = best_held_out(epochs_of(run))
    assert best is not None
    loss = evaluate(load_model(run, BEST), run.corpus.vocabulary.encode(run.corpus.held_out))
    assert perplexity(loss.nats, loss.characters) == pytest.approx(best.held_out_perplexity, rel=1e-3)
    last = epochs_of(run)[-1].held_out_perplexity
    assert last is not None
    assert last > 1.01 * perplexity(loss.nats, loss.characters)


# What the curves mean


def test_the_mean_of_exponentials_is_not_the_perplexity() -> None:
    """In the first epoch of the English example it is larger; all nats over all characters give what is reported."""
    wrong, right = said(
        "train",
        "curves",
        en="In the first epoch of the example run on\nEnglish tales it would be # instead of #",
        zh="以随附的英文童话那次训练为例，第一个周期会算成 #，正确的是 #",
    )
    reports = shipped_example("en").reports()
    steps = [report for report in reports if isinstance(report, StepReport) and report.epoch == 1]
    losses, characters = np.array([step.loss for step in steps]), np.array([step.characters for step in steps])
    assert np.exp(losses).mean() == pytest.approx(wrong, abs=0.05)
    assert perplexity(float(losses @ characters), int(characters.sum())) == pytest.approx(right, abs=0.05)
    assert epochs_of(shipped_example("en"))[0].perplexity == pytest.approx(right, abs=0.05)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_run_quotes_more_after_its_best_held_out_epoch(language: str) -> None:
    """The last text of the example is quoted from the training text to a larger share than the first one."""
    said("train", "curves", en="what it writes quotes more and more of it", zh="写出的文字里引文也越来越多")
    run = shipped_example(language)
    texts = [report.text for report in run.reports() if isinstance(report, PredictionReport)]
    shares = [quoted_from(run.corpus.training, text).share for text in texts]
    assert shares[-1] > shares[0]
    assert shares[-1] > 0.5


# What to try


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_held_out_curve_of_the_quick_preset_turns_up(language: str) -> None:
    """It does so at an epoch in between, while the training curve goes on falling."""
    said("train", "try", en="At which epoch does the held-out curve turn up", zh="留出集的曲线从第几个迭代周期开始回升")
    epochs = epochs_of(shipped_example(language))
    held_out = np.array([epoch.held_out_perplexity for epoch in epochs], dtype=float)
    at = int(held_out.argmin())
    assert 0 < at < len(epochs) / 2
    assert held_out[-1] > 1.5 * held_out[at]
    assert epochs[-1].perplexity < epochs[at].perplexity / 2


def test_the_longest_step_of_the_scratch_preset() -> None:
    """Its learning rate and its threshold are those in the text, and their product is 1."""
    refers_to("train", "try", "GRU from scratch, SGD", "Balanced brackets")
    (rate,) = said("train", "try", en="its learning rate is #", zh="它的学习率是 #")
    (theta,) = said("train", "try", en="(θ = #)", zh="（θ = #）")
    config = PRESETS["gru-scratch"].config
    assert (config.optimizer, config.learning_rate, config.clip) == ("sgd", rate, theta)
    assert rate * theta == 1


@pytest.mark.parametrize("language", LANGUAGES)
def test_without_clipping_the_loss_of_that_preset_explodes(language: str) -> None:
    """Within a few steps, on the text of the language, it is ten times what a uniform guess costs."""
    said("train", "try", en="Set θ to 0 and keep that learning rate", zh="把 θ 设为 0，学习率仍是 100")
    config = PRESETS["gru-scratch"].config.with_settings({"clip": 0.0, "device": "cpu", "predict_every": 0})
    corpus = corpus_of(OWN_TEXT[language][0], config)
    reports = Trainer(config, corpus).advance(6)
    losses = [report.loss for report in reports if isinstance(report, StepReport)]
    assert max(losses) > 10 * math.log(len(corpus.vocabulary))


def test_a_unit_tells_whether_a_bracket_is_open() -> None:
    """A unit of the quick preset, trained on brackets, is high or low over held-out text while one is open."""
    said(
        "train",
        "try",
        en="a unit whose hidden state tells whether a bracket is open",
        zh="它的隐状态能说明有没有尚未闭合的括号",
    )
    config = PRESETS["quick"].config.with_settings({"device": "cpu", "predict_every": 0})
    corpus = corpus_of("brackets", config)
    trainer = Trainer(config, corpus)
    trainer.advance(trainer.total_steps)
    H = trace(trainer.model, corpus.vocabulary, corpus.held_out).signal("H")
    depth = np.cumsum([(character in "([{") - (character in ")]}") for character in corpus.held_out])
    depth -= depth.min()  # the held-out part may begin inside a bracket
    inside, outside = H[depth > 0], H[depth == 0]
    higher = (inside[:, None] > outside).mean(axis=(0, 1))  # how often, of two characters, the one inside is higher
    assert np.maximum(higher, 1 - higher).max() > 0.9


# The curves


@pytest.mark.parametrize("language", LANGUAGES)
def test_perplexity_is_all_nats_over_all_characters_and_exp_once(language: str) -> None:
    """It is recomputed for each epoch from the losses of its steps."""
    said(
        "train",
        "curves",
        en="divided by all its characters, with `exp` applied once",
        zh="除以字符总数，最后只取一次 `exp`",
    )
    run = shipped_example(language)
    steps = [report for report in run.reports() if isinstance(report, StepReport)]
    for (_number, of_epoch), epoch in zip(groupby(steps, lambda step: step.epoch), epochs_of(run), strict=True):
        totals = [(step.loss * step.characters, step.characters) for step in of_epoch]
        nats, characters = np.sum(totals, axis=0)
        assert epoch.perplexity == pytest.approx(math.exp(nats / characters), rel=1e-6)


def test_perplexity_is_1_for_certainty_and_v_for_a_uniform_guess() -> None:
    """A model that is confident and wrong does worse than guessing."""
    said(
        "train",
        "curves",
        en="always gives the true character the probability 1, $V$ for one",
        zh="总是以概率 1 猜中时为 1；在词典的 $V$ 个字符中均匀猜测时为 $V$",
    )
    said("train", "curves", en="confident and wrong does worse than\nguessing", zh="很有把握地猜错比均匀猜测更糟")
    V, N = 50, 10
    assert perplexity(0.0, N) == 1
    assert perplexity(N * math.log(V), N) == pytest.approx(V)
    sure = 0.9
    assert perplexity(-N * math.log((1 - sure) / (V - 1)), N) > V


def test_held_out_text_follows_and_only_known_characters_are_scored() -> None:
    """This holds in the text itself and in what a model scores."""
    said("train", "curves", en="follows the training part in the text", zh="紧接训练部分之后")
    said("train", "curves", en="that the vocabulary lacks are not scored", zh="词典里没有的字符不计分")
    config = PRESETS["quick"].config
    lacking = {}
    for name, _label in OWN_TEXT.values():
        corpus = corpus_of(name, config)
        assert corpus.training + corpus.held_out in read(name).replace("\n", " ")
        model = LanguageModel(ModelConfig(hidden_size=2), len(corpus.vocabulary))
        scored = evaluate(model, corpus.vocabulary.encode(corpus.held_out)).characters
        assert scored == sum(character in corpus.vocabulary for character in corpus.held_out[1:])
        lacking[name] = len(corpus.held_out) - 1 - scored
    assert lacking["lyrics-zh"] > 0


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_norm_before_may_exceed_theta_and_the_norm_after_never_does(language: str) -> None:
    """Checked in the run shown; it is the norm over all parameters together."""
    said(
        "train",
        "curves",
        en="The norm before may exceed θ; the norm after never does",
        zh="裁剪前可以超过 θ，裁剪后不会",
    )
    run = shipped_example(language)
    steps = [report for report in run.reports() if isinstance(report, StepReport)]
    assert max(step.norm_before for step in steps) > run.config.clip
    assert max(step.norm_after for step in steps) <= run.config.clip * (1 + 1e-6)
    for step in steps[::50]:
        assert step.norm_before == pytest.approx(math.hypot(*step.norms.values()), rel=1e-5)


def test_gates_lie_in_0_to_1_and_states_in_minus_1_to_1_except_with_relu() -> None:
    """Checked in the recordings that ship; a memory cell whose gates stay open grows with every step."""
    said(
        "train",
        "curves",
        en="Gates lie between 0 and 1, hidden states between −1 and 1, except with ReLU",
        zh="门的取值在 0 到 1 之间，隐状态在 −1 到 1 之间，但用 ReLU 时没有上界",
    )
    said("train", "curves", en="memory cell has none either", zh="记忆细胞也没有界限")
    for language in LANGUAGES:
        recording = shipped_example(language).recording()
        assert recording is not None
        assert all(0 <= recording.signal(gate).min() <= recording.signal(gate).max() <= 1 for gate in "RZ")
        assert np.abs(recording.signal("H")).max() <= 1
    relu = Run.open(DATA / "tiny-relu").recording()
    assert relu is not None
    assert relu.signal("H").max() > 2
    corpus = split("ab" * 20, held_out_chars=0)
    model = LanguageModel(ModelConfig(cell="lstm", hidden_size=1), 2)
    for gate in "ifc":
        model.weights()[f"layer1.forward.b_{gate}"].data.fill_(10.0)
    C = trace(model, corpus.vocabulary, corpus.training).signal("C")
    assert C[-1, 0] == pytest.approx(len(corpus.training), rel=0.01)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_code_trains_an_epoch_and_records_the_update_gate(language: str) -> None:
    """The result is an array of the shape in the comment."""
    names = run_code("train", "code", language)
    assert names["reports"][-1].epoch == 1
    shape = said("train", "code", en="shape (#, #)", zh="形状为 (#, #)")
    assert list(names["trace"].signal("Z").shape) == shape
