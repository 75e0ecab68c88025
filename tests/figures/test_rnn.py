"""The chapter's pictures show the given numbers, on the promised scales."""

from __future__ import annotations

import base64
import math
from dataclasses import replace
from typing import get_args

import numpy as np
import plotly.graph_objects as go
import pytest

from rnnviz.figures.gates import Order, unit_order
from rnnviz.figures.kit import visible
from rnnviz.figures.rnn import LINE_LENGTH, growth_figure, reset_figure, state_figures, unit_figures
from rnnviz.i18n import translator
from rnnviz.runs.recording import Growth, Resets, Trace
from tests.figures.helpers import packed

rng = np.random.default_rng(0)
TEXT = "ab aaabbb aabb aaaaaaabbbbbbb"


def make_trace(text: str = TEXT, scale: float = 0.9) -> Trace:
    H = rng.uniform(-scale, scale, (len(text), 4)).astype(np.float32)
    return Trace(text, "rnn", "after", "tanh", {"layer1.forward.H": H})


@pytest.mark.parametrize("order", get_args(Order))
def test_the_state_has_a_fixed_scale_and_a_frame_around_the_step(order: Order) -> None:
    """The scale is -1 to 1 for tanh, units are in the order asked for, and the frame is at the step's column."""
    trace = make_trace()
    figures = state_figures(trace, order)
    assert len(figures) == len(TEXT)
    figure = go.Figure(figures[7])
    heatmap = figure.data[0]
    H = trace.signal("H")
    np.testing.assert_array_equal(heatmap.z, H.T[unit_order(H, order)])
    assert (heatmap.zmin, heatmap.zmax) == (-1, 1)
    (frame,) = figure.layout.shapes
    assert (frame.x0, frame.x1) == (6.5, 7.5)


@pytest.mark.parametrize("scale", [0.5, 7])
def test_a_relu_state_has_room_above_one(scale: float) -> None:
    """Both pictures have the same scale as every ReLU network, and show the recorded values."""
    trace = replace(make_trace(scale=scale), activation="relu")
    figures = state_figures(trace, "index")[0], unit_figures(trace, 1)[0]
    heatmaps = [go.Figure(figure).data[0] for figure in figures]
    for heatmap in heatmaps:
        assert (heatmap.zmin, heatmap.zmax) == (-20, 20)
        assert heatmap.colorscale == heatmaps[0].colorscale
        assert "Hₜ = %{z:.3g}" in heatmap.hovertemplate


@pytest.mark.parametrize("text", ["a", TEXT[:LINE_LENGTH], TEXT, TEXT * 5])
def test_the_painted_text_is_the_text(text: str) -> None:
    """It has every character once and in order, on the value of its step; the rest of the last line is empty."""
    trace = make_trace(text)
    heatmap = go.Figure(unit_figures(trace, 2)[-1]).data[0]
    assert [c for c in np.ravel(heatmap.text) if c] == visible(text)
    values = np.ravel(heatmap.z)
    np.testing.assert_array_equal(values[: len(text)], trace.signal("H")[:, 2])
    assert np.isnan(values[len(text) :]).all()
    assert np.shape(heatmap.z)[0] == math.ceil(len(text) / LINE_LENGTH)


def test_cells_without_a_value_stay_empty() -> None:
    """They are still empty after packing for the browser."""
    trace = make_trace()
    z = packed(unit_figures(trace, 0)[0])["data"][0]["z"]
    values = np.frombuffer(base64.b64decode(z["bdata"]), z["dtype"])
    assert np.isnan(values[len(TEXT) :]).all()
    np.testing.assert_array_equal(values[: len(TEXT)], trace.signal("H")[:, 0])


def test_forgetting_is_drawn_against_the_carried_line() -> None:
    """The measured points are on a log axis, and the carried perplexity is a line from the first to the last."""
    figure = reset_figure(Resets(1.2, {1: 1.6, 2: 1.7, 4: 1.5}), None)
    line, points = figure.data
    assert list(points.x) == [1, 2, 4]
    assert list(points.y) == [1.6, 1.7, 1.5]
    assert list(line.y) == [1.2, 1.2]
    assert figure.layout.yaxis.type == "log"
    assert any("1.20" in label.text for label in figure.layout.annotations)


def test_a_text_with_one_window_is_drawn() -> None:
    """Two characters leave windows of only one character."""
    assert list(reset_figure(Resets(1.2, {1: 1.6}), None).data[1].x) == [1]


def test_the_held_out_text_is_thin_and_dotted_beside_the_training_text() -> None:
    """It may be shorter, and then has fewer points; all of them are on the axis, and a label says what is dotted."""
    held_out = Resets(1.3, {1: 9.0, 2: 1.8})
    for language, said in (("en", "dotted: held-out"), ("zh", "点线：留出集")):
        figure = reset_figure(Resets(1.2, {1: 1.6, 2: 1.7, 4: 1.5}), held_out, translator(language))
        _line, points, carried, dotted = figure.data
        assert (list(dotted.x), list(dotted.y)) == ([1, 2], [9.0, 1.8])
        assert list(carried.y) == [1.3, 1.3]
        assert (dotted.line.dash, carried.line.dash) == ("dot", "dot")
        assert dotted.line.width < points.line.width
        assert said in [label.text for label in figure.layout.annotations]
        assert list(figure.layout.yaxis.tickvals) == [1.5, 2, 3, 5, 7, 10]


def test_the_references_of_the_held_out_text_are_beside_the_axis() -> None:
    """Each is a line across the picture, within the axis."""
    figure = reset_figure(Resets(1.2, {1: 1.6, 4: 1.5}), Resets(1.3, {1: 9.0}), str, {"uniform": 40, "2-gram": 6.25})
    uniform, counted = figure.data[:2]
    assert (list(uniform.x), list(uniform.y), list(counted.y)) == ([1, 4], [40, 40], [6.25, 6.25])
    assert [label.text for label in figure.layout.annotations][-2:] == ["2-gram 6.25", "uniform 40"]
    assert 10 ** figure.layout.yaxis.range[1] > 40


def test_growth_has_both_ways_in_both_pictures() -> None:
    """There are four lines with the measured numbers, labelled directly, in the reader's language."""
    growth = Growth({"detached": [5, 5, 5], "attached": [5, 9, 13]}, {"detached": [1, 1, 1], "attached": [1, 2, 3]}, {})
    figure = growth_figure(growth, translator("zh"))
    assert [list(line.y) for line in figure.data] == [[5, 5, 5], [5, 9, 13], [1, 1, 1], [1, 2, 3]]
    assert [label.text for label in figure.layout.annotations] == ["用 detach", "不用"]
