"""Pictures of gradients show what was measured."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest

from rnnviz.analysis.experiments import (
    CELLS,
    THETAS,
    MapCell,
    learning_rates,
    shipped_map,
    shipped_study,
    shipped_unrolled,
)
from rnnviz.analysis.gradient_study import Norms, geometric_mean
from rnnviz.analysis.unrolled import Unrolled, unroll
from rnnviz.figures.gradients import clipping, reach, scale, spectrum, unrolled
from rnnviz.figures.gradients.learning_map import border, map_figure
from rnnviz.figures.gradients.reach import common_range
from tests.figures.helpers import packed

WORD = "rivers"


@pytest.fixture(scope="module")
def u() -> Unrolled:
    weights, vocabulary = shipped_unrolled()
    return unroll(weights, vocabulary.encode(WORD))


def checked(function: Callable[..., Any]) -> Callable[..., go.Figure]:
    """Wrap a function that makes a dictionary, so that Plotly's classes check what it returns."""
    return lambda *arguments: go.Figure(function(*arguments))


lag_figure, scale_figure = checked(reach.lag_figure), checked(scale.scale_figure)
plane_figure, growth_figure = checked(spectrum.plane_figure), checked(spectrum.growth_figure)
clipping_figure = checked(clipping.clipping_figure)
parameters_figure = checked(clipping.parameters_figure)
unrolled_figure, product_figure = checked(unrolled.unrolled_figure), checked(unrolled.product_figure)
contributions_figure = checked(unrolled.contributions_figure)


def line(figure: go.Figure, name: str) -> go.Scatter:
    (found,) = [trace for trace in figure.data if trace.name == name]
    return found


def test_the_network_has_a_node_per_character_and_its_numbers(u: Unrolled) -> None:
    """It has H_0 to H_5, five losses, every character, and the norms of the steps that the gradient has reached."""
    figure = unrolled_figure(u, WORD, 3)
    states, losses = figure.data
    assert len(states.x) == 6
    assert len(losses.x) == 5
    texts = [annotation.text for annotation in figure.layout.annotations]
    assert [text for text in texts if len(text) == 1] == list(WORD[:-1])
    shown = [float(text) for text in texts if re.fullmatch(r"[\d.]+", text)]
    np.testing.assert_allclose(shown, np.linalg.norm(u.dH, axis=1)[2:], rtol=0.006)
    assert len(set(states.marker.color[3:])) == 1
    assert states.marker.color[2] != states.marker.color[3]


def test_the_product_is_drawn_factor_by_factor(u: Unrolled) -> None:
    """The rows are dH_t, phi', dA_t, W_hh^T, dA_t W_hh^T, the step's own loss, and dH_{t-1}, which is their sum."""
    rows = [np.asarray(trace.z) for trace in product_figure(u, 4).data]
    np.testing.assert_allclose(rows[0] * rows[1], rows[2])
    np.testing.assert_allclose(rows[2] @ rows[3], rows[4])
    np.testing.assert_allclose(rows[4] + rows[5], rows[6])
    np.testing.assert_allclose(rows[6][0], u.dH[2])
    first = [np.asarray(trace.z) for trace in product_figure(u, 1).data]
    assert not first[5].any()  # H_0 predicts nothing


def test_the_terms_and_their_sum_are_drawn(u: Unrolled) -> None:
    """Bars are the norms of single terms; the line ends at the norm of the whole gradient."""
    bars, total = contributions_figure(u, WORD, 1).data
    np.testing.assert_allclose(bars.y, np.linalg.norm(u.dW, axis=(1, 2)))
    assert total.y[0] == pytest.approx(np.linalg.norm(u.dW.sum(axis=0)))
    assert len(contributions_figure(u, WORD, 4).data[1].x) == 2


@pytest.mark.parametrize("cell", CELLS)
def test_the_mean_of_the_windows_is_the_thick_line(cell: str) -> None:
    """It comes with the bounds for the RNN, and with the path through the gates for the others."""
    lag = shipped_study(cell).by_step[-1]  # type: ignore[arg-type]
    figure = lag_figure(lag, cell, common_range([lag], 100))
    np.testing.assert_allclose(line(figure, "‖dL<sub>T</sub>/dH<sub>t</sub>‖").y, geometric_mean(lag.H))
    names = [trace.name for trace in figure.data]
    assert ("bound step by step" in names) is (cell == "rnn")
    assert {"gru": "∏ Z alone", "lstm": "∏ F alone"}.get(cell, names[0]) in names
    assert sum(name.startswith("window") for name in names) == len(lag.H)


def test_the_chosen_scale_is_highlighted() -> None:
    """Every scale is drawn faintly; figures of two scales differ in nothing else, so a slider has little to send."""
    study = shipped_study("rnn")
    figure = scale_figure(study, 3, (1e-9, 1e9))
    faint = [trace for trace in figure.data if trace.name.startswith("s = ")]
    assert len(faint) == len(study.scales)
    assert faint == list(scale_figure(study, 7, (1e-9, 1e9)).data[: len(faint)])
    np.testing.assert_allclose(figure.data[-1].y, geometric_mean(study.by_scale[3].H))


def test_the_plane_has_every_eigenvalue_once() -> None:
    """Each is inside or outside the unit circle, and its size is in the hover text."""
    values = np.array([0.5 + 0.5j, 2.0 + 0.0j, -1.5j])
    circle, sigma, inside, outside = plane_figure(values, 3.0, 4.0).data
    np.testing.assert_allclose(np.hypot(circle.x, circle.y), 1)
    np.testing.assert_allclose(np.hypot(sigma.x, sigma.y), 3)
    assert (len(inside.x), len(outside.x)) == (1, 2)
    assert sorted(outside.customdata) == [1.5, 2.0]


def test_growth_has_all_checkpoints() -> None:
    """Step 0 is included, on a log axis."""
    study = shipped_study("gru")
    figure = growth_figure(study.steps, study.spectrum, "W_hz", 2)
    top = line(figure, "σ<sub>max</sub>")
    assert list(top.customdata) == list(study.steps)
    np.testing.assert_allclose(top.y, study.spectrum.singular_values["W_hz"][:, 0])


def test_clipping_cuts_norms_above_the_threshold() -> None:
    """All together are cut to theta, and one parameter by the same factor."""
    norms = Norms(np.array([1, 2]), ("W_hh", "b_h"), np.array([[3.0, 4.0], [0.3, 0.4]]))
    figure = clipping_figure(norms, 1.0, None)
    assert line(figure, "before").y.tolist() == pytest.approx([5, 0.5])
    assert line(figure, "after").y.tolist() == pytest.approx([1, 0.5])
    assert line(clipping_figure(norms, 1.0, "W_hh"), "after").y.tolist() == pytest.approx([0.6, 0.3])
    step = parameters_figure(norms, 1.0, 0)
    assert line(step, "after, by the global norm").x.tolist() == pytest.approx([0.6, 0.8])
    assert line(step, "each alone").x.tolist() == [1, 1]
    clipping_figure(norms, 0.0, None)
    parameters_figure(norms, 0.0, 1)


def test_an_unfinished_map_has_gaps_and_a_border() -> None:
    """Cells not computed yet are empty and have no border; diverged cells are crosses; a full map has them all."""
    cells = [MapCell(40, 10), MapCell(40, 80), MapCell(40, np.inf)]
    figure = map_figure(cells, (0.1, 0.0), (1.0, 10.0), 40)
    heat, crosses, edge = figure.data
    assert np.isfinite(heat.z).tolist() == [[True, False], [False, False]]
    assert list(zip(crosses.x, crosses.y, strict=True)) == [(1, 0), (0, 1)]
    assert [v for v in edge.x if v is not None] == [0.5, 0.5, -0.5, 0.5]
    assert packed(figure)["data"][0]["z"]["dtype"] == "f8"
    rectangle = map_figure([MapCell(40, 2.0 + i) for i in range(6)], (0.1, 0.0), (1.0, 10.0, 100.0), 40)
    np.testing.assert_allclose(10 ** rectangle.data[0].z, [[2, 3, 4], [5, 6, 7]])  # thresholds down, rates across
    whole = map_figure(shipped_map("rnn-sgd"), THETAS, learning_rates("rnn-sgd"), 40)
    assert len(whole.data[1].x) == sum(cell.diverged for cell in shipped_map("rnn-sgd"))
    assert map_figure([], THETAS, learning_rates("rnn-adam"), 40).data[1].x.size == 0


def test_the_border_runs_only_between_known_cells() -> None:
    """There is one edge between two cells that differ, and none beside a cell that is not known."""
    diverged = np.array([[False, True]])
    assert border(diverged, np.array([[True, True]])) == ([0.5, 0.5, None], [-0.5, 0.5, None])
    assert border(diverged, np.array([[True, False]])) == ([], [])
