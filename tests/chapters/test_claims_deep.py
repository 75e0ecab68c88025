"""What the Deep page says, computed from the models and curves that ship."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from rnnviz.analysis.deep import (
    COST_PARAMETERS,
    cost_sizes,
    lag_of_share,
    read_with_dropout,
    shipped_costs,
    shipped_study,
    units_for,
)
from rnnviz.analysis.holding import perplexity_of, true_probabilities
from rnnviz.analysis.published import EXPERIMENTS, MARKS
from rnnviz.analysis.reading import every_layer
from rnnviz.analysis.shipped_reproduction import shipped
from rnnviz.analysis.side_by_side import STARTS, frequency_perplexity, left_at, shipped_curves, start_config
from rnnviz.chapters.deep.start import NOTES, notes_curves
from rnnviz.config import ModelConfig
from rnnviz.i18n import LANGUAGES
from rnnviz.nn.bench import Setting
from rnnviz.nn.deep import differences_of
from rnnviz.nn.tracing import record
from rnnviz.nn.training import Trainer
from rnnviz.runs.folder import Run
from rnnviz.text.corpora import DATA, corpus_in, corpus_of
from tests.chapters.helpers import refers_to, run_code, said

BOTH = pytest.mark.parametrize("language", LANGUAGES)


@BOTH
def test_the_higher_a_layer_the_stronger_its_colours(language: str) -> None:
    """Beyond the value named: less than a twentieth in layer 1, about two fifths in layer 3."""
    (limit,) = said(
        "deep",
        "stack_why",
        en="less than a twentieth of the values in layer 1 is beyond ±#, and about two fifths in layer 3",
        zh="第 1 层超出 ±# 的值不到二十分之一，第 3 层约有五分之二",
    )
    recording = Run.open(DATA / f"deep-{language}").recording()
    assert recording is not None
    strong = [float((np.abs(recording.signal("H", layer)) > limit).mean()) for layer in (1, 2, 3)]
    assert strong[0] < 1 / 20
    assert strong == sorted(strong)
    assert strong[2] == pytest.approx(0.4, abs=0.05)
    assert run_code("deep", "code", language)["strong"] == pytest.approx(strong, abs=1e-6)


@BOTH
def test_the_gradient_is_largest_on_top_at_first_and_at_the_bottom_in_the_end(language: str) -> None:
    """In the first ten steps, and in the last twenty."""
    said("deep", "training_try", en="in the first ten steps", zh="前十步")
    said(
        "deep",
        "training_why",
        en="largest in the last layer and smallest in layer 1. At the end it is the other way round",
        zh="在最后一层最大，在第 1 层最小。到训练结束时，随应用附带的两个模型都反了过来",
    )
    norms = shipped_study(language).norms
    first, last = norms[:10].mean(axis=0), np.median(norms[-20:], axis=0)
    assert (np.diff(first) > 0).all()
    assert (np.diff(last) < 0).all()


@BOTH
def test_differences_weaken_from_layer_to_layer_and_shrink_before_they_grow(language: str) -> None:
    """At first each layer has less than the one below; the least comes later, and the end is far above."""
    said("deep", "training_why", en="they shrink even further", zh="还会先变得更小")
    differences = shipped_study(language).differences
    assert (np.diff(differences[0]) < 0).all()
    assert (differences.min(axis=0) < 0.6 * differences[0]).all()
    assert (differences[-1] > 5 * differences[0]).all()


@BOTH
def test_lower_layers_look_further_back_at_every_checkpoint(language: str) -> None:
    """Nine tenths of the gradient lie within fewer characters, or as few, the higher the layer; fewer at the end."""
    said(
        "deep",
        "reach_why",
        en="fewer characters the higher the layer is",
        zh="层越高，梯度的十分之九就落在越少的字符之内",
    )
    lags = lag_of_share(shipped_study(language).reach, 0.9)
    assert (np.diff(lags, axis=1) <= 0).all()
    assert (np.diff(lags[-1]) < 0).all()


@BOTH
def test_the_lines_fall_fastest_while_the_network_knows_frequencies_alone(language: str) -> None:
    """Where the reach is shortest the differences of the last layer have not yet grown to what they began with."""
    study = shipped_study(language)
    shortest = int(lag_of_share(study.reach, 0.9).sum(axis=1).argmin())
    assert 0 < shortest < len(study.steps) - 1
    assert study.differences[shortest, -1] < study.differences[0, -1]


@BOTH
def test_deep_networks_wait_where_only_frequencies_are_known(language: str) -> None:
    """Each further layer waits longer: about twice on the tales, and longer on the lyrics."""
    hidden, steps, characters = said(
        "deep",
        "start_shipped",
        en="# hidden units, # steps with Adam on # characters",
        zh="# 个隐藏单元，用 Adam 训练 # 步，# 个字符",
    )
    config, curves = start_config("1", corpus_in(language)), shipped_curves(f"start-{language}")
    assert (config.model.hidden_size, config.optimizer, config.max_chars) == (hidden, "adam", characters)
    assert tuple(curves) == tuple(STARTS)
    assert all(curve.step[-1] == steps for curve in curves.values())
    plateau = frequency_perplexity(corpus_of(config).training)
    left = [left_at(curve, plateau) or np.inf for curve in curves.values()]
    factors = np.divide(left[1:3], left[:2])
    assert np.isfinite(factors).all()
    if language == "en":
        np.testing.assert_allclose(factors, 2, atol=0.2)
    else:
        assert (factors > 2.2).all()
        assert curves["3"].perplexity[-1] > 0.8 * plateau
    waiting = curves["3"].perplexity[curves["3"].step < 0.5 * left[2]][4:]
    np.testing.assert_allclose(waiting, plateau, rtol=0.04)


@BOTH
def test_one_layer_learns_the_same_sooner(language: str) -> None:
    """At the last step the perplexities are in the order of the depths."""
    said("deep", "mistaken", en="the network of one layer learns the same sooner", zh="一层的网络更早学会同样的东西")
    curves = shipped_curves(f"start-{language}")
    last = [curves[layers].perplexity[-1] for layers in ("1", "2", "3")]
    assert last == sorted(last)


@BOTH
def test_residuals_end_the_wait(language: str) -> None:
    """Three layers leave the plateau no later than one, and are the best of all at the last step, but not held-out."""
    said(
        "deep",
        "start_why",
        en="the residual network of three layers leaves the dashed line before the network of one layer does, and ends "
        "with the lowest training perplexity",
        zh="三层的残差网络比一层的更早离开虚线，最后的训练困惑度也最低",
    )
    curves = shipped_curves(f"start-{language}")
    plateau = frequency_perplexity(corpus_of(start_config("1", corpus_in(language))).training)
    left = {name: left_at(curve, plateau) for name, curve in curves.items()}
    assert left["3-residual"] is not None
    assert left["3-residual"] < (left["1"] or 0)
    assert curves["3-residual"].perplexity[-1] == min(curve.perplexity[-1] for curve in curves.values())
    said("deep", "start_why", en="it ends with the highest: it has learned", zh="它最后的困惑度却最高：它把")
    assert curves["3-residual"].held_out[-1] == max(curve.held_out[-1] for curve in curves.values())


@BOTH
def test_with_residuals_the_differences_grow_upward_from_the_first_step(language: str) -> None:
    """What the last layer hands over differs more from text to text than what the first one does."""
    said("deep", "start_why", en="nothing of the differences is lost on the way up", zh="差别在向上的路上一点也不会丢")
    config = start_config("3-residual", corpus_in(language))
    trainer = Trainer(config, corpus_of(config))
    X, _Y = trainer._batch(0, 0)
    signals = record(trainer.model, X)
    handed = torch.stack([signals[f"layer{i}.forward.H"] for i in (1, 2, 3)]).cumsum(0)
    spread = handed.std(dim=2).mean(dim=(1, 2))
    assert float(spread[2]) > 0.95 * float(spread[0])


def test_dropping_more_costs_more() -> None:
    """On the models that ship, which were trained without: the perplexity rises with the share that is dropped."""
    said("deep", "dropout_why", en="were trained without dropout", zh="训练时没有用暂退法")
    for language in LANGUAGES:
        run = Run.open(DATA / f"deep-{language}")
        recording = run.recording()
        assert recording is not None
        assert run.config.model.dropout == 0
        layers = every_layer(recording, run.load_checkpoint().weights(), run.corpus.vocabulary)
        costs = [
            np.mean(
                [
                    perplexity_of(true_probabilities(layers[0], read_with_dropout(layers, share, seed).log_P))
                    for seed in range(8)
                ]
            )
            for share in (0.0, 0.2, 0.5, 0.8)
        ]
        assert costs == sorted(costs)
        assert costs[2] > 1.5 * costs[0]


@BOTH
def test_each_layer_hands_on_less_than_a_quarter_of_the_differences(language: str) -> None:
    """At the first step of the three networks that the page trains; their gradients weaken alike on the way down."""
    values = said(
        "deep",
        "start_why",
        en="about # apart in layer 1, # in layer 2 and # in layer 3: each layer hands on less than a quarter",
        zh="在第 1 层相差约 #，在第 2 层 #，在第 3 层 #：每一层传上去的不到它收到的四分之一",
    )
    config = start_config("3", corpus_in(language))
    trainer = Trainer(config, corpus_of(config))
    X, Y = trainer._batch(0, 0)
    differences = differences_of(trainer.model, X)
    np.testing.assert_allclose(differences, values, rtol=0.1)
    assert (differences[1:] < differences[:-1] / 4).all()
    trainer.model.loss_and_gradients(X, Y, trainer.state)
    norms = trainer.model.gradient_norms()
    of_layers = [np.hypot.reduce([n for k, n in norms.items() if k.startswith(f"layer{i}.")]) for i in (1, 2, 3)]
    assert of_layers[0] < of_layers[1] / 3 < of_layers[2] / 9


def test_questions_are_called_by_their_labels() -> None:
    """What one question says of another finds it on the page."""
    refers_to("deep", "reach_try", "Why it starts slower")
    refers_to("deep", "start_try", "Layer by layer")
    refers_to("deep", "stack_try", "forget gate", "output gate")


def test_depth_costs_small_networks_more_time_and_all_of_them_memory() -> None:
    """In the measurement that ships: at about equal parameters, of the rows and characters that the page names."""
    rows, characters = said("deep", "cost", en="# rows of # characters", zh="# 行、每行 # 个字符")
    setting = Setting("cost")
    assert (rows, characters) == (setting.B, setting.T)
    said(
        "deep",
        "cost_why",
        en="depth costs a small network several times the time, and a large one far less",
        zh="深度让小网络慢几倍，对大网络却少得多",
    )
    costs = shipped_costs()
    assert [{"layers": c.layers, "units": c.units} for c in costs] == cost_sizes()
    assert all(cost.machine == costs[0].machine for cost in costs)
    factors = []
    for k, parameters in enumerate(COST_PARAMETERS):
        line = costs[4 * k : 4 * k + 4]
        np.testing.assert_allclose([cost.parameters for cost in line], parameters, rtol=0.03)
        assert [cost.bytes for cost in line] == sorted(cost.bytes for cost in line)
        factors.append(line[-1].seconds / line[0].seconds)
    assert factors[0] > 2.5
    assert factors == sorted(factors, reverse=True)
    assert factors[-1] < 1.5


def test_four_layers_have_less_than_half_the_units_each_and_more_in_all() -> None:
    """At equal parameters; a layer that reads another one of h units has 8 h^2 of them and a few more."""
    said(
        "deep",
        "cost_why",
        en="a little less than half as many units each, and more than one and a half times as many together",
        zh="每层的单元略少于一层时的一半，合起来却超过一倍半",
    )
    (factor,) = said("deep", "cost_why", en="about $#h^2$ parameters", zh="约有 $#h^2$ 个参数")
    two, one = (ModelConfig(cell="lstm", hidden_size=100, num_layers=n).parameter_count(60) for n in (2, 1))
    assert two - one == pytest.approx(factor * 100**2, rel=0.01)
    for parameters in COST_PARAMETERS[1:]:
        one, four = (units_for(layers, parameters) for layers in (1, 4))
        assert 0.4 < four / one < 0.5
        assert 4 * four > 1.5 * one


def test_the_lecture_notes_two_layers_do_twice_the_work() -> None:
    """Of their hidden units and characters: the multiplications of a step, as counted for the benchmark."""
    (units,) = said("deep", "cost_why", en="both layers had # units", zh="两层都是 # 个单元")
    one, two = (Setting("notes", V=1027, h=int(units), layers=layers).flops("lstm") for layers in (1, 2))
    assert two / one == pytest.approx(2, abs=0.05)


def test_the_lecture_notes_setting_is_trained_and_their_figures_are_theirs() -> None:
    """One layer and two differ in nothing else; the numbers of the notes are those that they recorded."""
    units, steps, rows, characters = said(
        "deep",
        "start_notes",
        en="LSTMs of # hidden units…# steps, # rows, # characters",
        zh="# 个隐藏单元…# 个时间步，批量 #，# 个字符",
    )
    configs = [EXPERIMENTS[name].config() for name in NOTES.values()]
    for layers, config in enumerate(configs, start=1):
        assert config == configs[0].with_settings({"num_layers": layers})
        assert (config.model.hidden_size, config.num_steps, config.batch_size) == (units, steps, rows)
        assert (config.optimizer, config.learning_rate, config.max_chars) == ("adam", 0.01, characters)
    epoch, two, one = said(
        "deep",
        "start_notes",
        en="at epoch # they recorded # with two layers and # with one",
        zh="第 # 个迭代周期，两层 #，一层 #",
    )
    assert epoch == MARKS[0]
    assert [round(EXPERIMENTS[NOTES[n]].perplexity[0], digits) for n, digits in (("2", 1), ("1", 2))] == [two, one]


def test_in_the_notes_setting_two_layers_start_slower_as_well() -> None:
    """On our lyrics, with every seed; by the first epoch that the notes print they have almost caught up."""
    early, late = said(
        "deep",
        "start_notes",
        en="at epoch # its perplexity is more than twice that of one layer, and at epoch # it has almost caught up",
        zh="第 # 个迭代周期，两层的困惑度是一层的两倍多；到第 # 个迭代周期，两层的已几乎追上一层的",
    )
    assert late == MARKS[0]
    results = {result.experiment.name: result for result in shipped("notes").results}
    one, two = (results[NOTES[n]].outcomes for n in ("1", "2"))
    assert len(one) == len(two) == 3
    for epoch, least, most in ((int(early), 2, math.inf), (int(late), 1, 1.3)):
        spread = [b.perplexity(epoch) / a.perplexity(epoch) for a, b in zip(one, two, strict=True)]  # type: ignore[operator]
        assert all(least < times < most for times in spread)
    assert [len(curve.step) for curve in notes_curves().values()] == [MARKS[-1]] * 2
