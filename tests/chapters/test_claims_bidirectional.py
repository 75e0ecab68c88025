"""What the Bidirectional page says, computed from the models that ship."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rnnviz.analysis.leak import shipped_leakage
from rnnviz.analysis.reading import Reading
from rnnviz.analysis.restoring import DIRECTIONS, SEEDS, restoring_config, shipped_restored
from rnnviz.cells import cell_of
from rnnviz.chapters.bidirectional.cheat import variants
from rnnviz.i18n import LANGUAGES
from rnnviz.nn.training import train
from rnnviz.runs.folder import Run
from rnnviz.runs.reports import EpochReport, PredictionReport
from rnnviz.text.corpora import DATA, corpus_of, one_hot
from rnnviz.text.ngram import fit_ngrams
from rnnviz.text.sampling import MASKED_SHARE
from tests.chapters.helpers import epochs_of, refers_to, run_code, said

RUNS = {language: Run.open(DATA / f"bidirectional-{language}") for language in LANGUAGES}


def test_the_perplexity_falls_to_1_and_on_the_tales_also_where_it_was_not_trained() -> None:
    """In both runs that ship; held out, on the tales."""
    said("bidirectional", "cheat", en="Its perplexity falls to 1", zh="它的困惑度降到 1")
    said("bidirectional", "cheat_try", en="On the tales, look at the held-out curve", zh="在故事文本上看留出部分的曲线")
    assert all(epochs_of(run)[-1].perplexity < 1.03 for run in RUNS.values())
    held_out = epochs_of(RUNS["en"])[-1].held_out_perplexity
    assert held_out is not None
    assert held_out < 1.1


def test_it_writes_the_last_but_one_character_for_ever() -> None:
    """As the lesson quotes it, language by language."""
    said("bidirectional", "cheat_why", en="the new character is the last but one", zh="新字符就是倒数第二个字符")
    said(
        "bidirectional",
        "cheat_why",
        en="*ididid* on the tales, 我们我们我们 on the lyrics",
        zh="在故事上写出 *ididid*，在歌词上写出我们我们我们",
    )
    for language, quoted in (("en", "ididid"), ("zh", "我们我们我们")):
        written = [r for r in RUNS[language].reports() if isinstance(r, PredictionReport)]
        last = [r.text for r in written if r.epoch == written[-1].epoch]
        assert any(quoted in text for text in last)
        assert all(text[-8:-2] == text[-6:] for text in last)


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_a_pass_whose_update_gate_is_held_at_1_knows_nothing(direction: str) -> None:
    """Its state stays 0; and at step 0 of training no gate is near 0 or 1, as the page asks to find."""
    said("bidirectional", "cell_why", en="keeps this 0 to the end", zh="把这个 0 一直保持到最后")
    said("bidirectional", "cell_try", en="open, closed, or in between", zh="开着、关着，还是介于两者之间")
    refers_to("bidirectional", "cell_try", "Play", "backward")
    for run in RUNS.values():
        recorded, fresh = run.recording(), run.load_checkpoint(0).weights()
        assert recorded is not None
        reading = Reading.of(recorded, fresh, run.corpus.vocabulary, 1, direction)
        cell, zero = cell_of(recorded), np.zeros(reading.hidden_size, np.float32)
        H = held = zero
        for X in one_hot(run.corpus.vocabulary.encode(recorded.text), len(run.corpus.vocabulary)):
            gates = cell.open(X, (held,), reading.weights) | {"Z": np.ones_like(zero)}
            held = cell.update(X, (held,), reading.weights, gates)["H"]
            assert (held == 0).all()
            step = cell.step(X, (H,), reading.weights)
            assert all(((step[gate] > 0.2) & (step[gate] < 0.8)).all() for gate in cell.gates)
            H = step["H"]


@pytest.mark.slow
@pytest.mark.parametrize("cell", ["lstm", "rnn"])
def test_no_cell_resists(cell: str) -> None:
    """The page's own small trainings copy as well: held out, far below what any n-gram model reaches."""
    said("bidirectional", "cheat_try", en="Train an LSTM or a plain RNN", zh="训练一个 LSTM 或普通的 RNN")
    config = variants()[cell][1].with_settings({"corpus": "tales-en", "predict_every": 0})
    corpus = corpus_of(config)
    *_others, last = [report for report in train(config, corpus) if isinstance(report, EpochReport)]
    assert last.held_out_perplexity is not None
    assert last.held_out_perplexity < fit_ngrams(corpus.training).perplexities(corpus.held_out).min() / 2


def test_with_the_future_masked_it_is_worse_than_counting_characters() -> None:
    """On the held-out tales; and far worse than with it on both texts."""
    said("bidirectional", "leak_why", en="worse than counting single characters", zh="还不如数单个字符的频率")
    corpus = RUNS["en"].corpus
    for run in RUNS.values():
        shipped = shipped_leakage(run)
        assert shipped is not None
        assert shipped.scores.masked > 5 * shipped.scores.read
    shipped = shipped_leakage(RUNS["en"])
    assert shipped is not None
    assert shipped.scores.masked > fit_ngrams(corpus.training).perplexities(corpus.held_out)[0]


def test_every_answer_leaks_and_none_into_a_model_of_one_direction() -> None:
    """Some less than others, as the page asks to find one."""
    said("bidirectional", "leak_try", en="some bars are exactly 0", zh="有些柱子恰好是 0")
    refers_to("bidirectional", "leak_why", "the future masked")
    for language, run in RUNS.items():
        both, one = (shipped_leakage(each) for each in (run, Run.open(DATA / f"gru-{language}")))
        assert both is not None
        assert one is not None
        assert (both.leak.answers > 0).all()
        assert both.leak.answers.max() > 100 * both.leak.answers.min()
        assert (np.triu(one.leak.by_input, 1) == 0).all()


def test_the_summary_of_the_backward_pass_stands_first_in_torch() -> None:
    """`output[0]` and `h_n` have read the whole text backward, `output[-1]` the last character alone."""
    said("bidirectional", "mistaken", "`output[-1]`")
    rnn = torch.nn.GRU(3, 4, bidirectional=True)
    X = torch.randn(6, 1, 3, generator=torch.Generator().manual_seed(0))
    output, h_n = rnn(X)
    torch.testing.assert_close(output[0, :, 4:], h_n[1])
    torch.testing.assert_close(output[-1, :, 4:], rnn(X[-1:])[0][0, :, 4:])


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_code_runs_and_the_two_perplexities_are_far_apart(language: str) -> None:
    """Twenty epochs of the quick preset."""
    names = run_code("bidirectional", "code", language)
    assert names["read"] < 1.2
    assert names["masked"] > 10


def test_the_page_speaks_of_what_is_on_it() -> None:
    """By its label, in every language."""
    refers_to("bidirectional", "passes_try", "Play")
    said("bidirectional", "mistaken", en="marked *future read*", zh="标着“已读未来”")


def test_two_passes_restore_more_than_one_with_as_many_parameters() -> None:
    """The medians that the lesson names, of the seeds, steps and characters that it names; no two seeds overlap."""
    both, one = said(
        "bidirectional",
        "restore_why",
        en="# with both directions and # with one",
        zh="双向 #，单向 #；",
    )
    sizes = [
        restoring_config(name).model.parameter_count(len(corpus_of(restoring_config(name)).vocabulary))
        for name in DIRECTIONS
    ]
    assert sizes == [both, one]
    assert both == pytest.approx(one, rel=0.01)
    shares = said(
        "bidirectional",
        "restore_why",
        en="restore # % (# to #) and # % (# to #)",
        zh="双向还原 # %（# 到 #），单向还原 # %（# 到 #）",
    )
    restored = shipped_restored()
    ranges = [restored[name].last for name in DIRECTIONS]
    expected = [share for low, middle, high in ranges for share in (middle, low, high)]
    assert [round(100 * share, 1) for share in expected] == shares
    assert restored["both"].last[0] > restored["one"].last[2]


def test_the_curves_that_ship_are_of_the_trainings_described() -> None:
    """Their steps, characters and seeds; and the lyrics have as many different characters as the lesson says."""
    (steps,) = said("bidirectional", "restore_shipped", en="# steps with Adam", zh="用 Adam 训练 # 步")
    (characters,) = said("bidirectional", "restore_shipped", en="on # characters", zh="英文故事的 # 个字符")
    (seeds,) = said("bidirectional", "restore_shipped", en="with # seeds", zh="# 个随机种子")
    for restored in shipped_restored().values():
        assert restored.step[-1] == steps
        assert len(restored.accuracy) == seeds == len(SEEDS)
    assert restoring_config("both").max_chars == characters
    lyrics = corpus_of(restoring_config("both", "lyrics-zh"))
    sizes = said(
        "bidirectional", "restore_why", en="# different characters in #,", zh="# 种不同的字符，而训练部分总共只有 # 个"
    )
    assert sizes == [len(lyrics.vocabulary), len(lyrics.training)]
    (masked,) = said("bidirectional", "restore_why", en="# of 100 characters", zh="100 个字符中有 # 个")
    assert masked == 100 * MASKED_SHARE
