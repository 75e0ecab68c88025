"""Pictures of the Deep chapter: the numbers that they draw, and axes on which layers compare."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import pytest

from rnnviz.analysis.deep import COST_LAYERS, COST_PARAMETERS, Cost, Dropped, LayerStudy
from rnnviz.figures.deep import LAYER_COLOURS, cost_figure, depth_colours, dropout_figure, layers_figure, reach_figure
from rnnviz.i18n import translator
from tests.helpers import TEXT, make_reading

STEPS, NAMES = (0, 1, 4, 20), ("F", "H", "C")


def make_study(layers: int, norms: int = 20) -> LayerStudy:
    rng = np.random.default_rng(layers)
    quantiles = {name: np.sort(rng.random((len(STEPS), layers, 5)), axis=-1) for name in NAMES}
    return LayerStudy(
        cell="lstm",
        steps=STEPS,
        quantiles=quantiles | {"C": 30 * quantiles["C"]},
        differences=rng.random((len(STEPS), layers)),
        reach=10.0 ** -rng.integers(0, 9, (len(STEPS), layers, 7)),
        norm_steps=np.arange(1, norms + 1),
        norms=rng.random((norms, layers)),
    )


@pytest.mark.parametrize("layers", [1, 2, 3, 4])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_column_for_each_layer_on_the_same_axes(layers: int, name: str, language: str) -> None:
    """Medians, differences and norms are the study's; each row has one range; gates have theirs from 0 to 1."""
    study = make_study(layers)
    figure = layers_figure(study, name, translator(language))
    go.Figure(figure)  # Plotly accepts it
    lines = [trace for trace in figure["data"] if trace["hoverinfo" if "hoverinfo" in trace else "mode"] != "skip"]
    assert len(lines) == 3 * layers
    for i in range(layers):
        signal, differences, norms = (
            next(t for t in lines if t["yaxis"] == f"y{row * layers + i + 1}".removesuffix("1" if row + i == 0 else ""))
            for row in range(3)
        )
        np.testing.assert_array_equal(signal["y"], study.quantiles[name][:, i, 2])
        np.testing.assert_array_equal(differences["y"], study.differences[:, i])
        np.testing.assert_array_equal(norms["y"], study.norms[:, i])
        assert signal["x"][0] > 0  # step 0 has a place on a log axis
    for row in range(3):
        axes = [figure["layout"][f"yaxis{row * layers + i + 1 if row + i else ''}"] for i in range(layers)]
        assert len({tuple(axis["range"]) for axis in axes}) == 1
        assert [axis["showticklabels"] for axis in axes] == [True] + [False] * (layers - 1)
    low, high = figure["layout"]["yaxis"]["range"]
    assert (low, high) == {"F": (-0.03, 1.03), "H": (-1.06, 1.06)}.get(name, (-high, high))
    assert high >= study.quantiles[name].max()
    titles = [note["text"] for note in figure["layout"]["annotations"]]
    assert titles[-1] == (f"<b>layer {layers}</b>" if language == "en" else f"<b>第 {layers} 层</b>")


def test_a_run_that_has_told_of_no_step_yet_has_a_picture() -> None:
    """Its first checkpoint is there before its first step."""
    go.Figure(layers_figure(make_study(2, norms=0), "F"))


@pytest.mark.parametrize("layers", [1, 4])
def test_each_layers_gradient_is_a_line_on_one_axis_for_all_checkpoints(layers: int) -> None:
    """Nothing that is above 0 is off the axis, at whatever checkpoint."""
    study = make_study(layers)
    for k in range(len(STEPS)):
        figure = reach_figure(study, k)
        go.Figure(figure)
        for i, line in enumerate(figure["data"]):
            np.testing.assert_array_equal(line["y"], study.reach[k, i])
            assert line["line"]["color"] == LAYER_COLOURS[i]
        low, high = figure["layout"]["yaxis"]["range"]
        assert low < np.log10(study.reach.min()) <= np.log10(study.reach.max()) < high


def test_every_depth_has_a_colour_of_its_own() -> None:
    """Up to four."""
    assert len(set(depth_colours(["1", "2", "3", "4"]).values())) == 4


def test_dropped_values_leave_a_gap_and_predictions_none() -> None:
    """Both heatmaps have the same rows; below them stand both chances."""
    reading = make_reading("lstm", num_layers=2)
    handed = reading.outputs(1) * (np.arange(6) % 2)
    chances = np.full(len(TEXT) - 1, 0.25, np.float32)
    figure = dropout_figure(reading, Dropped((handed,), reading.log_probabilities()), (chances, 2 * chances))
    go.Figure(figure)
    training, prediction, first, second = figure["data"]
    units = [int(unit) for unit in training["y"]]
    assert training["y"] == prediction["y"]
    np.testing.assert_array_equal(prediction["z"], reading.outputs(1).T[units])
    for row, unit in zip(training["z"], units, strict=True):
        assert np.isnan(row).all() == (unit % 2 == 0)
    np.testing.assert_array_equal(first["y"], chances)
    np.testing.assert_array_equal(second["y"], 2 * chances)


def test_costs_are_drawn_by_their_number_of_parameters() -> None:
    """Time and memory of each, in milliseconds and MiB; while it is measured, what is there already."""
    costs = [
        Cost(layers, 8, parameters + layers, layers / 1000, 2**20 * layers, "here")
        for parameters in COST_PARAMETERS
        for layers in COST_LAYERS
    ]
    figure = cost_figure(costs)
    go.Figure(figure)
    for trace in figure["data"]:
        assert trace["x"] == trace["y"] == list(COST_LAYERS)
    assert [len(trace["x"]) for trace in cost_figure(costs[:5])["data"]] == [4, 4, 1, 1, 0, 0]
