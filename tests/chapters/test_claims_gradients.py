"""What the Gradients page says about its shipped studies and maps is computed from them."""

from __future__ import annotations

import math
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
import torch

from rnnviz.analysis.experiments import (
    CELLS,
    MAPS,
    THETAS,
    UNROLLED,
    learning_rates,
    map_cells,
    shipped_map,
    shipped_study,
    shipped_unrolled,
    study_config,
)
from rnnviz.analysis.gradient_study import Lag, Study, geometric_mean
from rnnviz.analysis.unrolled import Unrolled, unroll
from rnnviz.cells import CellName
from rnnviz.chapters.gradients.clipping import _THETAS as SLIDER
from rnnviz.config import ModelConfig
from rnnviz.i18n import LANGUAGES
from rnnviz.nn.gradients import gradient_by_lag
from rnnviz.nn.model import LanguageModel
from rnnviz.nn.training import Trainer
from rnnviz.runs.reports import EpochReport, StepReport
from rnnviz.text.corpora import read, split
from rnnviz.text.sampling import starts_per_epoch
from tests.chapters.helpers import refers_to, run_code, said

ONE = 1 + 1e-4  # the studies are kept in single precision
TELLING: dict[CellName, str] = {"rnn": "W_hh", "gru": "W_hh", "lstm": "W_hc"}  # the matrix that the page opens on
SGD_MAPS = ("rnn-sgd", "gru-sgd", "lstm-sgd")


@cache
def study(cell: CellName) -> Study:
    return shipped_study(cell)


def measured(lag: Lag) -> np.ndarray:
    """The thick line: the geometric mean over the windows."""
    return geometric_mean(lag.H)


def growth(lag: Lag) -> float:
    """The gradient that is left at the greatest lag, as a multiple of that at lag 0."""
    mean = measured(lag)
    return float(mean[-1] / mean[0])


# The models that ship


def test_the_three_models_are_what_the_page_says() -> None:
    """Hidden units, steps, threshold and characters are as stated; the models differ only in the cell."""
    hidden, characters = said(
        "gradients",
        "shipped",
        en="# hidden units … # characters of English tales",
        zh="# 个隐藏单元，在 # 个字符的英文故事上",
    )
    (steps,) = said("gradients", "shipped", en="for # steps with Adam", zh="用 Adam 训练了 # 步")
    (theta,) = said("gradients", "shipped", "θ = #")
    for cell in CELLS:
        config = study_config(cell)
        assert (config.model.hidden_size, config.clip, config.max_chars) == (hidden, theta, characters)
        assert (config.corpus, config.optimizer) == ("tales-en", "adam")
        assert study(cell).steps[-1] == steps
        assert config.with_settings({"cell": "rnn"}) == study_config("rnn")


# Unrolled


def words() -> list[Unrolled]:
    weights, vocabulary = shipped_unrolled()
    return [unroll(weights, vocabulary.encode(word)) for word in ("rivers", "lamp", "keeper", "light")]


def test_the_unrolled_network_has_as_many_units_as_the_page_says() -> None:
    """It is also an RNN, as the page says."""
    (units,) = said("gradients", "unrolled", en="An RNN of # units", zh="# 个单元的 RNN")
    assert (UNROLLED.model.cell, UNROLLED.model.hidden_size) == ("rnn", units)
    assert all(u.W_hh.shape == (units, units) for u in words())


def test_three_numbers_bound_what_is_carried_back() -> None:
    """They are the length of dH_t, the largest entry of phi' and the largest singular value of W_hh."""
    said("gradients", "unrolled_why", en="the product of the three bounds", zh="三者之积是传回来的部分")
    for u in words():
        np.testing.assert_allclose(u.slope, 1 - u.H[1:] ** 2)
        np.testing.assert_allclose(u.dH[:-1], u.own[:-1] + u.carried[1:])
        bound = np.linalg.norm(u.dH, axis=1) * u.slope.max(axis=1) * np.linalg.norm(u.W_hh, 2)
        assert (np.linalg.norm(u.carried, axis=1) <= bound).all()


def test_a_sum_over_steps_can_be_smaller_than_one_of_its_terms() -> None:
    """The gradient of W_hh for one of these words is an example; for all of them, step 1 adds nothing."""
    said(
        "gradients", "unrolled_why", en="can be smaller than that of a term. Step 1 adds nothing", zh="第 1 步没有贡献"
    )
    norms = [(np.linalg.norm(u.dW.sum(axis=0)), np.linalg.norm(u.dW, axis=(1, 2))) for u in words()]
    assert any(total < terms.max() for total, terms in norms)
    assert all(terms[0] == 0 for _total, terms in norms)


# Against the lag


def test_both_bounds_hold_for_every_window() -> None:
    """At every checkpoint and scale of the RNN, the norm is below both bounds, and the first below the second."""
    said("gradients", "reach_why", en="both bounds must hold for every window", zh="两个上界对每个窗口都必然成立")
    said("gradients", "scale_why", en="hold at every $s$", zh="对每个 $s$ 都成立")
    for lag in (*study("rnn").by_step, *study("rnn").by_scale):
        bound, sigma_bound = lag.bound, lag.sigma_bound()
        assert bound is not None
        assert sigma_bound is not None
        assert (bound * ONE >= lag.H).all()
        assert (bound <= sigma_bound * ONE).all()


def test_a_largest_singular_value_above_1_is_not_sufficient_for_exploding() -> None:
    """The RNN's is above 1 throughout training, and its gradient still shrinks; a value below 1 makes it vanish."""
    said("gradients", "reach_why", en="necessary for exploding, not sufficient", zh="必要条件，不是充分条件")
    said("gradients", "spectrum_why", en="need not explode when eigenvalues lie outside", zh="梯度也不一定爆炸")
    trained = study("rnn").by_step[-1]
    assert (trained.sigma or 0) > 1
    assert abs(study("rnn").spectrum.eigenvalues["W_hh"][-1, 0]) > 1
    assert growth(trained) < 0.1
    small = study("rnn").by_scale[0]
    assert (small.sigma or 2) < 1
    assert growth(small) < 1e-6


def test_the_greatest_lag_is_the_one_that_the_lesson_names() -> None:
    """The lines of the three cells end at the lag at which they are to be compared."""
    (lag,) = said("gradients", "reach_try", en="before you compare them at lag #", zh="再比较间隔 # 处的值")
    assert all(each.H.shape[1] == lag + 1 for cell in CELLS for each in study(cell).by_step)


def test_the_bound_by_sigma_is_twenty_powers_of_ten_too_high() -> None:
    """At lag 39 of the shipped RNN, the first of the two inequalities loses more than the second."""
    said("gradients", "reach_try", en="at lag 39, … more than twenty powers of ten", zh="间隔 39 处，…二十多个数量级")
    lag = study("rnn").by_step[-1]
    sigma_bound = lag.sigma_bound()
    assert lag.bound is not None
    assert sigma_bound is not None
    first, second = (geometric_mean(norms)[39] for norms in (lag.bound, sigma_bound))
    assert second / measured(lag)[39] > 1e20
    assert first / measured(lag)[39] > 10 * second / first > 10


def test_training_changes_the_reach_of_every_cell() -> None:
    """Far more of the gradient reaches the greatest lag after training than before."""
    said("gradients", "reach_try", en="What has training done to the reach", zh="训练怎样改变了每种单元的传播距离")
    for cell in CELLS:
        assert growth(study(cell).by_step[-1]) > 10 * growth(study(cell).by_step[0])


def test_a_constant_forget_gate_lets_its_power_through() -> None:
    """If all weights into the gates are zero, F is sigma(b_f) at every step."""
    said("gradients", "reach_why", r"$\sigma(b_f)^{T-t}$")
    model = LanguageModel(ModelConfig(cell="lstm", hidden_size=3), 4)
    with torch.no_grad():
        for name, weights in model.weights().items():
            if name.startswith("layer1.forward.W_"):
                weights.zero_()
        model.weights()["layer1.forward.b_f"].fill_(2.0)
    ids = torch.tensor([0, 1, 2, 3, 0, 1, 2])
    direct = gradient_by_lag(model, ids[:-1, None], ids[1:, None]).direct
    assert direct is not None
    np.testing.assert_allclose(direct[0] / direct[0, 0], (1 / (1 + math.exp(-2))) ** np.arange(6), rtol=1e-5)


def beside_direct(lag: Lag) -> tuple[np.ndarray, np.ndarray]:
    """The measured norm and that through the gates alone, from lag 1 on: dC for the LSTM, dH for the GRU."""
    assert lag.direct is not None
    return (lag.H if lag.C is None else lag.C)[:, 1:], lag.direct[:, 1:]


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_other_paths_add_to_the_direct_one_or_cancel_part_of_it(cell: CellName) -> None:
    """After training the mean is larger at every lag from 1 on; earlier it is smaller in some windows."""
    said(
        "gradients",
        "reach_why",
        en="larger at every lag from 1 on; earlier in training it is smaller in some windows",
        zh="从间隔 1 起，实测梯度的平均值都更大；在训练的较早阶段，有些窗口的实测梯度更小",
    )
    total, direct = beside_direct(study(cell).by_step[-1])
    assert (geometric_mean(total) > geometric_mean(direct)).all()
    earlier = [beside_direct(lag) for lag in study(cell).by_step[:-1]]
    assert any((total < direct).any() for total, direct in earlier)


def test_the_lstm_reaches_less_far_than_the_plain_rnn() -> None:
    """This is so at lag 39 of the shipped models."""
    said(
        "gradients",
        "reach_why",
        en="the LSTM has a smaller gradient at lag 39 than the plain RNN",
        zh="LSTM 在间隔 39 处的梯度小于普通的 RNN",
    )
    assert measured(study("lstm").by_step[-1])[39] < measured(study("rnn").by_step[-1])[39]


# The spectrum


def test_the_largest_eigenvalue_of_a_random_matrix() -> None:
    """It is 1/sqrt(3) in the limit, and larger for the matrices shown, which differ from each other."""
    limit, h, mean = said(
        "gradients",
        "spectrum_try",
        en=r"1/\sqrt 3\approx #$; with $h=#$ it is # on average",
        zh=r"1/\sqrt 3\approx #$；$h=#$ 时平均为 #",
    )
    assert limit == round(1 / math.sqrt(3), 2)
    size = int(h)
    W = np.random.default_rng(0).uniform(-1, 1, (1000, size, size)) / math.sqrt(size)
    radius = np.abs(np.linalg.eigvals(W)).max(axis=1)
    assert radius.mean() == pytest.approx(mean, abs=0.005)
    for cell in CELLS:
        for eigenvalues in study(cell).spectrum.eigenvalues.values():
            assert eigenvalues.shape[1] == h
            assert abs(abs(eigenvalues[0, 0]) - mean) < 4 * radius.std()


@pytest.mark.parametrize("cell", CELLS)
def test_an_eigenvalue_leaves_the_unit_circle(cell: CellName) -> None:
    """All lie inside at step 0, and some outside after training."""
    said(
        "gradients",
        "spectrum_try",
        en="At which step does the first eigenvalue leave",
        zh="第几步有特征值第一次离开单位圆",
    )
    largest = np.abs(study(cell).spectrum.eigenvalues[TELLING[cell]][:, 0])
    assert largest[0] < 1 < largest[-1]


def test_the_gradient_does_not_reach_farther_at_once() -> None:
    """In the RNN, less arrives at the checkpoint where the first eigenvalue is outside than at the one before."""
    refers_to("gradients", "spectrum_try", "Against the lag")
    outside = np.abs(study("rnn").spectrum.eigenvalues["W_hh"][:, 0]) > 1
    k = int(outside.argmax())
    assert measured(study("rnn").by_step[k])[-1] < measured(study("rnn").by_step[k - 1])[-1]


def test_no_eigenvalue_exceeds_the_largest_singular_value() -> None:
    """One can be above 1 while the other is below, as before the RNN's training."""
    said("gradients", "spectrum_why", r"$\lvert\lambda\rvert_{\max}\le\sigma_{\max}$")
    for cell in CELLS:
        spectrum = study(cell).spectrum
        for name in spectrum.names:
            assert (np.abs(spectrum.eigenvalues[name][:, 0]) <= spectrum.singular_values[name][:, 0] * ONE).all()
    start = study("rnn").spectrum
    assert abs(start.eigenvalues["W_hh"][0, 0]) < 1 < start.singular_values["W_hh"][0, 0]


def test_both_are_equal_for_a_normal_matrix_and_agree_over_many_steps() -> None:
    """Tested with a symmetric and an orthogonal matrix, and with powers of the unrolled RNN's matrix."""
    said("gradients", "spectrum_why", en="such as a symmetric or an orthogonal one", zh="例如对称矩阵、正交矩阵")
    W = words()[0].W_hh
    for normal in (W + W.T, np.linalg.qr(W)[0]):
        assert np.abs(np.linalg.eigvals(normal)).max() == pytest.approx(np.linalg.norm(normal, 2))
    per_step = [np.linalg.norm(np.linalg.matrix_power(W, n), 2) ** (1 / n) for n in (1, 10, 100, 1000)]
    assert all(later < earlier for earlier, later in pairwise(per_step))
    assert per_step[-1] == pytest.approx(np.abs(np.linalg.eigvals(W)).max(), rel=0.01)


# Scaled


def test_scaling_the_matrix_scales_its_singular_values() -> None:
    """Checked for sigma_max of the RNN's matrix at every scale."""
    said("gradients", "scale", r"\sigma\to s\sigma")
    trained = study("rnn").by_step[-1].sigma
    assert trained is not None
    scaled = np.array([lag.sigma for lag in study("rnn").by_scale], dtype=np.float64)
    np.testing.assert_allclose(scaled, trained * np.array(study("rnn").scales), rtol=1e-5)


@pytest.mark.parametrize("cell", CELLS)
def test_the_gradient_neither_vanishes_nor_explodes_at_a_scale_above_1(cell: CellName) -> None:
    """The first eigenvalue crosses the unit circle at a smaller scale."""
    said("gradients", "scale_try", en="Why is it smaller than the one before", zh="为什么它比前一个小")
    grown = np.array([growth(lag) for lag in study(cell).by_scale])
    steady = study(cell).scales[int((grown > 1).argmax())]
    assert grown[study(cell).scales.index(1.0)] < 1 < grown[-1]
    assert 1 / abs(study(cell).spectrum.eigenvalues[TELLING[cell]][-1, 0]) < 1 < steady


def test_one_cell_is_clearly_the_least_sensitive_to_the_scale() -> None:
    """Between the ends of the slider the LSTM's gradient changes by the fewest powers of ten."""
    said("gradients", "scale_try", en="the least sensitive", zh="最不敏感")
    powers = {cell: np.ptp([math.log10(growth(lag)) for lag in study(cell).by_scale]) for cell in CELLS}
    first, second, _third = sorted(powers, key=powers.__getitem__)
    assert first == "lstm"
    assert powers[second] > powers[first] + 2


def test_a_small_scale_gives_a_straight_line_and_a_large_one_grows_out_of_proportion() -> None:
    """On the RNN's log axis; its mean factors per step are those in the text."""
    s, larger, factor, raised = said(
        "gradients",
        "scale_why",
        en="From $s=#$ to $s=#$ … from # to #",
        zh="从 $s=#$ 到 $s=#$，…从 # 增加到 #",
    )
    scales, lags = study("rnn").scales, study("rnn").by_scale
    mean = {scale: growth(lag) ** (1 / 39) for scale, lag in zip(scales, lags, strict=True)}
    assert mean[s] == pytest.approx(factor, abs=0.005)
    assert mean[larger] == pytest.approx(raised, abs=0.005)
    assert raised / factor < larger / s / 2
    line = np.log(measured(lags[0]))
    assert np.corrcoef(np.arange(len(line)), line)[0, 1] < -0.99
    assert (np.diff(line) < 0).all()


# Clipping


def test_three_thresholds_of_the_slider_clip_nearly_all_some_and_few_steps() -> None:
    """One parameter makes up most of the norm, over all steps and at the step with the largest norm."""
    thetas = said("gradients", "clipping_try", en="at θ = #, at # and at #,", zh="θ = #、# 和 # 时")
    assert {f"{theta:g}" for theta in thetas} <= set(SLIDER)
    norms = study("rnn").norms
    nearly_all, some, few = ((norms.total() > theta).mean() for theta in thetas)
    assert nearly_all > 0.9
    assert 0.2 < some < 0.8
    assert 0 < few < 0.1
    for squares in ((norms.values**2).sum(axis=0), norms.values[norms.total().argmax()] ** 2):
        assert norms.names[squares.argmax()] == "W_hh"
        assert squares.max() > 0.5 * squares.sum()


def test_clipping_by_the_global_norm_keeps_the_direction_and_each_alone_does_not() -> None:
    """Checked at the step with the largest norm and the threshold that the page opens with."""
    refers_to("gradients", "clipping_try", "after, by the global norm", "each alone")
    norms, theta = study("rnn").norms, study_config("rnn").clip
    at = int(norms.total().argmax())
    together, alone = norms.clipped(theta)[at] / norms.values[at], norms.clipped_singly(theta)[at] / norms.values[at]
    np.testing.assert_allclose(together, theta / norms.total()[at])
    assert alone.min() < 0.9
    assert alone.max() == 1


def test_after_clipping_no_norm_is_above_theta() -> None:
    """This holds for any threshold on the slider; before clipping, the shipped runs exceed their own threshold."""
    said(
        "gradients",
        "clipping_why",
        en="The norm *before* may be above θ; the norm *after* never is",
        zh="裁剪前的范数可以超过 θ，裁剪后不会",
    )
    for cell in CELLS:
        norms = study(cell).norms
        assert norms.total().max() > study_config(cell).clip
        for theta in (float(theta) for theta in SLIDER if theta != "0"):
            after = np.sqrt((norms.clipped(theta) ** 2).sum(axis=1))
            assert after.max() <= theta * ONE


def test_without_clipping_the_norm_of_the_fast_rnn_explodes() -> None:
    """With SGD at the text's learning rate and threshold, it learns with clipping and ends worse than V without."""
    (rate,) = said("gradients", "clipping_try", en="SGD and η = #", zh="SGD、η = #")
    (theta,) = said("gradients", "clipping_try", en="η = 10 at θ = #", zh="先用 θ = # 训练 SGD")
    assert f"{theta:g}" in SLIDER
    config = study_config("rnn").with_settings({"optimizer": "sgd", "learning_rate": rate})
    corpus = split(read(config.corpus), config.corpus, max_chars=config.max_chars)
    largest, perplexity = {}, {}
    for clip in (theta, 0.0):
        reports = list(Trainer(config.with_settings({"clip": clip}), corpus).advance(120))
        largest[clip] = max(report.norm_before for report in reports if isinstance(report, StepReport))
        perplexity[clip] = [report.perplexity for report in reports if isinstance(report, EpochReport)]
    assert largest[0.0] > 10 * largest[theta]
    assert perplexity[theta][-1] < len(corpus.vocabulary) / 2
    assert max(perplexity[0.0]) > len(corpus.vocabulary)


# The map


def test_every_cell_of_a_map_is_the_training_that_the_page_describes() -> None:
    """Steps, units and characters are as stated; all start from the same weights; a cross ended worse than it began."""
    (steps,) = said("gradients", "map", en="a training of # steps", zh="开始的 # 步训练")
    units, characters = said(
        "gradients", "map_why", en="# hidden units on # characters", zh="# 个隐藏单元，在 # 个字符上"
    )
    for name, config in MAPS.items():
        per_epoch = starts_per_epoch(config.sampling, config.max_chars, config.batch_size, config.num_steps)
        assert (config.epochs * per_epoch, config.model.hidden_size, config.max_chars) == (steps, units, characters)
        cells = shipped_map(name)
        assert len(cells) == len(map_cells(name))
        assert len({cell.start for cell in cells}) == 1
        assert any(cell.diverged for cell in cells)
        assert all(cell.diverged == (not cell.end <= cell.start) for cell in cells)


def rows(name: str) -> dict[float, list[tuple[float, float, bool]]]:
    """For each threshold of a shipped map: learning rate, perplexity at the end, and whether it diverged."""
    configs, cells = map_cells(name), shipped_map(name)
    return {
        theta: [
            (config.learning_rate, cell.end, cell.diverged)
            for config, cell in zip(configs, cells, strict=True)
            if config.clip == theta
        ]
        for theta in THETAS
    }


def largest_converging(row: list[tuple[float, float, bool]]) -> float:
    return max(rate for rate, _end, diverged in row if not diverged)


@pytest.mark.parametrize("name", SGD_MAPS)
def test_where_every_step_is_clipped_only_the_product_matters(name: str) -> None:
    """The largest product of learning rate and threshold that converges is within the limits in the text."""
    theta, low, high = said(
        "gradients",
        "map_why",
        en="for θ up to #, the largest product that still converges is between about # and #",
        zh="当 θ 不超过 # 时，仍然收敛的最大乘积约在 # 到 # 之间",
    )
    products = {t: t * largest_converging(row) for t, row in rows(name).items() if 0 < t <= theta}
    assert len(products) == 4
    assert all(0.9 * low <= product <= high for product in products.values())
    tenth, whole = rows(name)[0.01], rows(name)[0.1]
    for (rate, end, _), (smaller, same, _) in zip(tenth[2:6], whole, strict=False):
        assert rate == pytest.approx(10 * smaller, rel=0.02)
        assert end == pytest.approx(same, rel=0.1)


@pytest.mark.parametrize("name", SGD_MAPS)
def test_with_a_high_threshold_nothing_is_clipped_and_the_border_is_vertical(name: str) -> None:
    """A threshold of 3 and none give the same perplexities below the border, and the same border to within a column."""
    said("gradients", "map_why", en="nothing is clipped, and the border is vertical", zh="不再有裁剪，边界是竖直的")
    high, off = rows(name)[3.0], rows(name)[0.0]
    columns = learning_rates(name)
    edges = [columns.index(largest_converging(row)) for row in (high, off)]
    assert abs(edges[0] - edges[1]) <= 1
    for (_, end, _), (_, same, _) in list(zip(high, off, strict=True))[: min(edges)]:
        assert end == pytest.approx(same, rel=0.01)


def test_adams_border_is_nearly_vertical() -> None:
    """Over all thresholds it moves by at most one column, while that of each map of SGD moves by at least two."""
    said("gradients", "map_why", en="the border is nearly vertical", zh="边界近乎竖直")
    moved = {}
    for name in MAPS:
        edges = [learning_rates(name).index(largest_converging(row)) for row in rows(name).values()]
        moved[name] = max(edges) - min(edges)
    assert moved.pop("rnn-adam") <= 1
    assert min(moved.values()) >= 2


# The code


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_code_measures_a_norm_for_each_lag(language: str) -> None:
    """There are as many as characters read, on both of the LSTM's lines."""
    lag = run_code("gradients", "code", language)["lag"]
    length = len("The lighthouse stood on the cliff") - 1
    assert lag.H[0].shape == lag.direct[0].shape == (length,)
