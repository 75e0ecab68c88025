"""Figures show the given numbers, on the promised scales, in the reader's language."""

from __future__ import annotations

import base64
import json
import math
from dataclasses import replace
from itertools import product
from typing import Any, get_args

import numpy as np
import plotly.graph_objects as go
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from plotly.colors import unlabel_rgb

from rnnviz.cells import Activation, CellName, Reset, all_cells, cell_of, find_cell
from rnnviz.figures import curves, gates
from rnnviz.figures.gates import Order, gates_page, unit_order
from rnnviz.figures.kit import COLOURS, MAX_POINTS, SATURATION, decimate, visible
from rnnviz.figures.references import spread
from rnnviz.i18n import translator
from rnnviz.runs.recording import Trace
from rnnviz.runs.reports import EpochReport, GlobalNorms, StepReport
from rnnviz.signals import SIGNALS
from rnnviz.text.ngram import References
from rnnviz.ui.charts import Chart, pack
from tests.figures.helpers import packed
from tests.helpers import patched

V, EPOCHS, THETA, STEPS_PER_EPOCH = 40, 10, 0.05, 4
PERPLEXITIES = [30.0, 12.5, 55.0, 3.25]
HELD_OUT = [31.0, 20.0, 18.5, 24.0]
TEXT = "a b\na\t分 b"
rng = np.random.default_rng(0)


def perplexity_figure(*arguments: Any, **options: Any) -> go.Figure:
    """The figure as Plotly's classes take it, which raise ValueError for what Plotly would not draw."""
    return go.Figure(curves.perplexity_figure(*arguments, **options))


def gradient_norm_figure(reports: list[StepReport], *arguments: Any) -> go.Figure:
    return go.Figure(curves.gradient_norm_figure(GlobalNorms.of(reports), *arguments))


def gates_figure(*arguments: Any, **options: Any) -> go.Figure:
    return go.Figure(gates.gates_figure(*arguments, **options))


def epochs(held_out: list[float] | None = HELD_OUT) -> list[EpochReport]:
    return [
        EpochReport(4 * n, n, p, None if held_out is None else held_out[n - 1], 1.0, 0.5, 0.05, 1000.0, 0.5)
        for n, p in enumerate(PERPLEXITIES, start=1)
    ]


def steps(count: int = 12) -> list[StepReport]:
    norms = rng.lognormal(-3, 1, count)
    return [StepReport(n, 1, 1.5, 10, float(g), float(min(g, THETA)), {}) for n, g in enumerate(norms, start=1)]


def make_trace(
    cell: CellName = "gru", layers: int = 1, directions: tuple[str, ...] = ("forward",), h: int = 5
) -> Trace:
    names = [f"layer{i}.{d}" for i, d in product(range(1, layers + 1), directions)]
    signals = {
        f"{name}.{signal}": rng.uniform(
            max(SIGNALS[signal].low, -9), min(SIGNALS[signal].high, 9), (len(TEXT), h)
        ).astype(np.float32)
        for name in names
        for signal in find_cell(cell).equations
    }
    return Trace(TEXT, cell, "after", "tanh", signals)


def by_name(figure: go.Figure) -> dict[str, Any]:
    names = [trace.name for trace in figure.data]
    assert len(set(names)) == len(names)
    return dict(zip(names, figure.data, strict=True))


def limits(figure: go.Figure) -> tuple[float, float]:
    """The ends of a logarithmic axis, as values."""
    assert figure.layout.yaxis.type == "log"
    low, high = figure.layout.yaxis.range
    return 10**low, 10**high


# Perplexity


def test_perplexities_are_those_of_the_reports() -> None:
    """They are those of training and held-out, epoch by epoch."""
    lines = by_name(perplexity_figure(epochs(), V, EPOCHS))
    for name, values in (("training", PERPLEXITIES), ("held-out", HELD_OUT)):
        assert list(lines[name].x) == [1, 2, 3, 4]
        assert list(lines[name].y) == values


def test_a_uniform_guess_is_a_line_at_v() -> None:
    """It runs across the whole run, from before the first report."""
    for reports in ([], epochs()):
        line = by_name(perplexity_figure(reports, 1027, EPOCHS))["uniform, V = 1,027"]
        assert list(line.x) == [0, EPOCHS]
        assert list(line.y) == [1027, 1027]
        assert line.line.dash == "dash"


REFERENCES = References(V, 33.0, {2: 19.25, 3: 18.5, 4: 18.75, 5: 21.0}, 100)


def test_the_n_gram_models_are_lines_where_text_is_held_out() -> None:
    """Each is at its perplexity, across the whole run; there is none without held-out text that could be scored."""
    lines = by_name(perplexity_figure(epochs(), V, EPOCHS, references=REFERENCES))
    expected = {"unigram": 33.0, "2-gram": 19.25, "3-gram": 18.5, "4-gram": 18.75, "5-gram": 21.0}
    assert {name: line.y[0] for name, line in lines.items() if name in expected} == expected
    for name in expected:
        assert list(lines[name].x) == [0, EPOCHS]
        assert lines[name].y[0] == lines[name].y[1]
    assert not by_name(perplexity_figure(epochs(None), V, EPOCHS, references=REFERENCES)).keys() & expected.keys()
    unscored = References(V, math.nan, dict.fromkeys((2, 3, 4, 5), math.nan), 0)
    assert not by_name(perplexity_figure(epochs(), V, EPOCHS, references=unscored)).keys() & expected.keys()


@pytest.mark.parametrize("language", ["en", "zh"])
def test_lines_have_labels_at_their_ends_that_do_not_touch(language: str) -> None:
    """Name and value, in the lines' order, in the margin that is kept for them, and not in the legend."""
    figure = perplexity_figure(epochs(), V, EPOCHS, translator(language), references=REFERENCES)
    labels = [note for note in figure.layout.annotations if note.xref == "paper"]
    names = ["3-gram 18.5", "4-gram 18.8", "2-gram 19.2", "5-gram 21.0", "unigram 33.0", "uniform 40"]
    if language == "en":
        assert [label.text for label in labels] == names
    low, high = figure.layout.yaxis.range
    places = np.array([label.y for label in labels])
    assert (np.diff(places) >= 0.1099 * (high - low)).all()
    assert low < places[0]
    assert places[-1] < high
    assert max(len(label.text) for label in labels) * 5 < figure.layout.margin.r < 110
    assert [line.name for line in figure.data if line.showlegend is not False] == [
        line.name for line in figure.data[-2:]
    ]


@given(st.lists(st.floats(0, 1), max_size=8), st.floats(0, 0.2))
def test_labels_are_moved_apart_and_no_further(places: list[float], gap: float) -> None:
    """Neighbours end at least the gap apart, in their order; those that were far enough from all stay."""
    before = np.array(sorted(places))
    after = spread(before, gap)
    assert (np.diff(after) >= gap - 1e-12).all()
    if (np.diff(before) >= gap).all():
        np.testing.assert_allclose(after, before, atol=1e-12)


@pytest.mark.parametrize(("total", "side"), [(EPOCHS, "left"), (4, "right")])
def test_the_best_held_out_epoch_is_marked(total: int, side: str) -> None:
    """A line leads from the axis to the curve's first lowest point; its label stands on the side with more room."""
    layout = perplexity_figure(epochs(), V, total).layout
    (line,) = layout.shapes
    assert (line.x0, line.x1, line.y0, line.y1) == (3, 3, 1, 18.5)
    (label,) = (note for note in layout.annotations if note.xref != "paper")
    assert (label.text, label.x, label.xanchor) == ("best held-out: 18.5 in epoch 3", 3, side)
    equal = perplexity_figure(epochs([31.0, 18.5, 18.5, 24.0]), V, EPOCHS).layout
    assert equal.shapes[0].x0 == 2
    for held_out in (None, [math.inf] * 4):
        assert not perplexity_figure(epochs(held_out), V, EPOCHS).layout.shapes


def test_perplexity_is_on_a_logarithmic_axis_from_1() -> None:
    """1 is the best possible value; every value, including V, is below the upper end."""
    low, high = limits(perplexity_figure(epochs(), V, EPOCHS))
    assert low == pytest.approx(1)
    assert high > max(PERPLEXITIES) > V
    assert limits(perplexity_figure([], V, EPOCHS))[1] > V
    x = perplexity_figure(epochs(), V, EPOCHS).layout.xaxis.range
    assert x[0] == 0
    assert EPOCHS <= x[1] < EPOCHS * 1.1


def test_without_held_out_text_there_is_no_line() -> None:
    """There is no entry in the legend either."""
    assert list(by_name(perplexity_figure(epochs(None), V, EPOCHS))) == ["uniform, V = 40", "training"]


def test_the_curves_of_a_model_that_reads_ahead_are_named_so() -> None:
    """Both of them; the uniform guess has read nothing."""
    names = [line.name for line in perplexity_figure(epochs(), V, EPOCHS, reads_ahead=True).data]
    assert sum("future read" in name for name in names) == 2
    assert not any("future" in line.name for line in perplexity_figure(epochs(), V, EPOCHS).data)


def test_infinite_perplexities_are_left_out() -> None:
    """The other points stay where they are, and the axis stays finite."""
    reports = epochs()
    reports[1] = replace(reports[1], perplexity=math.inf, held_out_perplexity=None)
    figure = perplexity_figure(reports, V, EPOCHS)
    lines = by_name(figure)
    assert (list(lines["training"].x), list(lines["training"].y)) == ([1, 3, 4], [30.0, 55.0, 3.25])
    assert (list(lines["held-out"].x), list(lines["held-out"].y)) == ([1, 3, 4], [31.0, 18.5, 24.0])
    assert np.isfinite(limits(figure)).all()


@pytest.mark.parametrize("worst", [3e9, 1e106, 1.7e308])
def test_an_absurd_perplexity_keeps_the_axis_readable(worst: float) -> None:
    """Its ticks are some powers of ten, not numbers with a hundred zeros; usual perplexities have their digits."""
    axis = perplexity_figure([*epochs(), replace(epochs()[0], epoch=5, perplexity=worst)], V, EPOCHS).layout.yaxis
    assert (axis.tickformat, axis.exponentformat) == (None, "power")
    assert 4 < (axis.range[1] - axis.range[0]) / axis.dtick < 9
    assert all(math.isfinite(end) for end in axis.range)
    usual = perplexity_figure(epochs(), V, EPOCHS).layout.yaxis
    assert (usual.tickformat, usual.dtick) == (",~r", "D2")


# Gradient norm


def test_norms_are_those_of_the_reports() -> None:
    """They are those before and after clipping, at every step, in epochs."""
    reports = steps()
    lines = by_name(gradient_norm_figure(reports, THETA, STEPS_PER_EPOCH, EPOCHS))
    for name in ("before", "after"):
        assert list(lines[name].x) == [r.step / STEPS_PER_EPOCH for r in reports]
    assert list(lines["before"].y) == [r.norm_before for r in reports]
    assert list(lines["after"].y) == [r.norm_after for r in reports]


def test_theta_is_a_line_if_there_is_one() -> None:
    """It crosses the whole run; without clipping there is none."""
    line = by_name(gradient_norm_figure(steps(), THETA, STEPS_PER_EPOCH, EPOCHS))["θ = 0.05"]
    assert list(line.x) == [0, EPOCHS]
    assert list(line.y) == [THETA, THETA]
    assert list(by_name(gradient_norm_figure(steps(), 0.0, STEPS_PER_EPOCH, EPOCHS))) == ["before", "after"]


@pytest.mark.parametrize("theta", [0.0, 1e-6, THETA, 100.0])
@pytest.mark.parametrize("count", [0, 1, 12])
def test_norms_are_on_a_logarithmic_axis(theta: float, count: int) -> None:
    """Every positive value is within it, and so is θ; a norm of zero does not break it."""
    reports = [replace(r, norm_after=min(r.norm_before, theta or math.inf)) for r in steps(count)]
    zero = StepReport(13, 1, 0.0, 10, 0.0, 0.0, {})
    low, high = limits(gradient_norm_figure([*reports, zero], theta, STEPS_PER_EPOCH, EPOCHS))
    values = [v for r in reports for v in (r.norm_before, r.norm_after)] + ([theta] if theta else [])
    assert 0 < low < high < math.inf
    assert all(low < value < high for value in values)


@pytest.mark.parametrize("norm", [1e300, math.inf, math.nan])
def test_an_exploding_gradient_keeps_the_axis_readable(norm: float) -> None:
    """One step's enormous norm spoils neither the other steps nor the axis, and is sent as valid JSON."""
    reports = [*steps(), StepReport(13, 1, 1.0, 10, norm, THETA, {})]
    plain = curves.gradient_norm_figure(GlobalNorms.of(reports), THETA, STEPS_PER_EPOCH, EPOCHS)
    assert all(math.isfinite(limit) for limit in plain["layout"]["yaxis"]["range"])
    (before,) = (line for line in packed(plain)["data"] if line["name"] == "before")
    np.testing.assert_array_equal(numbers(before["y"]), [r.norm_before for r in reports])


@pytest.mark.parametrize(("language", "word"), [("en", "held-out"), ("zh", "留出集")])
def test_held_out_curves_are_dotted_in_the_colour_of_their_training_curve(language: str, word: str) -> None:
    """Without what is not finite; the legend has one entry for all of them, and the axis has room for them."""
    steps, training = np.array([1, 2, 3]), np.array([9.0, 5.0, 2.0])
    held_out = {"a": np.array([np.nan, 300.0, np.inf]), "b": np.full(3, np.nan)}
    looks = {"a": (steps, training, "#123456", 2.6), "b": (steps, training, "#654321", 2.6)}
    figure = go.Figure(curves.compared_figure(looks, 3, "y", {}, translator(language), held_out=held_out))
    _a, _b, dotted, legend = figure.data
    assert (list(dotted.x), list(dotted.y)) == ([2], [300.0])
    assert (dotted.line.color, dotted.line.dash, dotted.legendgroup) == ("#123456", "dot", "a")
    assert dotted.name == translator(language)(", ").join(("a", word))
    assert (legend.name, legend.showlegend, dotted.showlegend) == (word, True, False)
    assert 10 ** figure.layout.yaxis.range[1] > 300
    assert len(curves.compared_figure(looks, 3, "y", {}, held_out={"b": held_out["b"]})["data"]) == 2


def test_references_are_thin_lines_with_labels_beside_the_axis() -> None:
    """The axis has room for them, and the legend does not name them; without any, there is no label."""
    looks = {"a": (np.array([1, 2]), np.array([9.0, 2.0]), "#123456", 2.6)}
    levels = {"uniform": 40, "2-gram": 12.34}
    drawn = curves.compared_figure(looks, 2, "y", {"guess": 20.0}, references=levels)
    figure = go.Figure(drawn)
    uniform, counted, guess, _a = figure.data
    assert (list(uniform.y), list(counted.y), list(counted.x)) == ([40, 40], [12.34, 12.34], [0, 2])
    assert [line.showlegend for line in (uniform, counted, guess)] == [False, False, None]
    assert counted.line.width < guess.line.width
    assert [label.text for label in figure.layout.annotations] == ["2-gram 12.3", "uniform 40"]
    assert 10 ** figure.layout.yaxis.range[1] > 40
    assert figure.layout.margin.r > 60
    assert not curves.compared_figure(looks, 2, "y", {})["layout"]["annotations"]


def test_a_long_run_keeps_its_extremes() -> None:
    """Thousands of steps become a few hundred points, the highest and the lowest norm among them."""
    reports = steps(5000)
    lines = by_name(gradient_norm_figure(reports, THETA, STEPS_PER_EPOCH, EPOCHS))
    norms = [r.norm_before for r in reports]
    for name in ("before", "after"):
        assert 100 < len(lines[name].x) <= MAX_POINTS
    assert max(lines["before"].y) == max(norms)
    assert min(lines["before"].y) == min(norms)


lines_of_points = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=300)


@given(lines_of_points, st.integers(4, 100))
def test_a_decimated_line_looks_like_the_whole(values: list[float], limit: int) -> None:
    """It has at most so many points, in order, with both ends and both extremes; a short line is unchanged."""
    x, y = np.arange(len(values)), np.array(values)
    few_x, few_y = decimate(x, y, limit)
    assert len(few_x) == len(few_y) <= max(limit, 1)
    assert (np.diff(few_x) > 0).all()
    np.testing.assert_array_equal(few_y, y[few_x])
    assert (few_x[0], few_x[-1]) == (0, len(values) - 1)
    assert (few_y.min(), few_y.max()) == (y.min(), y.max())
    if len(values) <= limit:
        np.testing.assert_array_equal(few_x, x)


def test_a_spike_anywhere_survives() -> None:
    """One step among thousands at which the gradient exploded is what a viewer looks for."""
    x = np.arange(4000)
    for at in (0, 1, 777, 2000, 3999):
        y = np.ones(4000)
        y[at] = 50
        assert at in decimate(x, y)[0]


# Gates


@pytest.mark.parametrize("cell", get_args(CellName))
@pytest.mark.parametrize("order", get_args(Order))
def test_units_are_rows_and_characters_are_columns(cell: CellName, order: Order) -> None:
    """Each value is at its unit and its step, whatever the order of the units."""
    trace = make_trace(cell)
    for name in find_cell(cell).equations:
        (heatmap,) = gates_figure(trace, name, order=order).data
        values = trace.signal(name)
        assert heatmap.z.shape == (5, len(TEXT))
        units = [int(label) for label in heatmap.y]
        assert sorted(units) == list(range(5))
        for row, unit in enumerate(units):
            np.testing.assert_array_equal(heatmap.z[row], values[:, unit])


def test_a_layer_and_a_direction_can_be_chosen() -> None:
    """The heatmap shows exactly that one."""
    trace = make_trace("lstm", 2, ("forward", "backward"))
    for layer, direction in product((1, 2), ("forward", "backward")):
        (heatmap,) = gates_figure(trace, "F", layer, direction, "index").data
        np.testing.assert_array_equal(heatmap.z, trace.signals[f"layer{layer}.{direction}.F"].T)
        assert ("Hₜ₊₁" if direction == "backward" else "Hₜ₋₁") in heatmap.hovertemplate


@pytest.mark.parametrize(
    ("name", "layer", "direction"), [("I", 1, "forward"), ("Z", 2, "forward"), ("Z", 1, "backward")]
)
def test_a_signal_that_was_not_recorded_raises_a_key_error(name: str, layer: int, direction: str) -> None:
    """A GRU has no input gate, and this one has one layer and one direction."""
    with pytest.raises(KeyError):
        gates_figure(make_trace(), name, layer, direction)


def test_units_by_mean_are_ordered_from_high_to_low() -> None:
    """The most active unit comes first."""
    values = np.array([[0.1, 0.9, 0.5], [0.3, 0.7, 0.5]], dtype=np.float32)
    assert list(unit_order(values, "mean")) == [1, 2, 0]
    assert list(unit_order(values, "index")) == [0, 1, 2]


@pytest.mark.parametrize("name", SIGNALS)
def test_colours_have_the_fixed_range_of_the_signal(name: str) -> None:
    """They do not depend on the recorded range, so that pictures can be compared; states diverge around 0."""
    cell = next(cell.name for cell in all_cells() if name in cell.equations)
    trace = make_trace(cell)
    bounds = (SIGNALS[name].low, SIGNALS[name].high) if name != "C" else (-SATURATION, SATURATION)
    for factor in (1, 0.01, 10):
        changed = replace(trace, signals={key: values * factor for key, values in trace.signals.items()})
        (heatmap,) = gates_figure(changed, name).data
        assert (heatmap.zmin, heatmap.zmax) == bounds
    assert (heatmap.zmin == -heatmap.zmax) is not SIGNALS[name].is_gate
    (other,) = gates_figure(make_trace(), "Z").data
    assert (heatmap.colorscale == other.colorscale) is SIGNALS[name].is_gate


UNBOUNDED: tuple[tuple[CellName, str], ...] = (("lstm", "C"), ("rnn", "H"))


@pytest.mark.parametrize(("cell", "name"), UNBOUNDED)
def test_the_colour_bar_says_where_colours_saturate(cell: CellName, name: str) -> None:
    """The memory cell and a ReLU state have no bounds: the ends of their bar stand for all values beyond."""
    (heatmap,) = gates_figure(replace(make_trace(cell), activation="relu"), name).data
    ends = dict(zip(heatmap.colorbar.tickvals, heatmap.colorbar.ticktext, strict=True))
    assert (heatmap.zmin, heatmap.zmax) == (-20, 20)
    assert (ends[-20], ends[0], ends[20]) == ("≤ −20", "0", "≥ 20")


def test_a_bounded_signal_has_a_bar_without_such_ends() -> None:
    """Examples are a gate, a tanh state, and an LSTM's hidden state, whatever its unused activation is."""
    for trace, name in (
        (make_trace("gru"), "Z"),
        (make_trace("rnn"), "H"),
        (replace(make_trace("lstm"), activation="relu"), "H"),
    ):
        (heatmap,) = gates_figure(trace, name).data
        assert heatmap.zmax == 1
        assert heatmap.colorbar.ticktext is None


def colour_at(scale: Any, share: float) -> NDArray[np.float64]:
    """The red, green and blue of a colour scale, between its stops as Plotly draws them."""
    places, colours = zip(*scale, strict=True)
    channels = np.array([unlabel_rgb(colour) for colour in colours]).T
    return np.array([np.interp(share, places, channel) for channel in channels])


def test_colours_without_bounds_distinguish_small_and_large_values() -> None:
    """They are those of the diverging scale, stretched by arsinh: 1 is about as far from 0 as 20 from 8."""
    (bounded,), (free,) = (gates_figure(make_trace("lstm"), name).data for name in ("H", "C"))
    assert (np.diff([place for place, _colour in free.colorscale]) > 0).all()
    for value in (-20, -5, -1, -0.1, 0, 0.1, 1, 5, 20):
        share = (1 + math.asinh(value) / math.asinh(20)) / 2
        shown, meant = colour_at(free.colorscale, (value + 20) / 40), colour_at(bounded.colorscale, share)
        assert np.abs(shown - meant).max() < 8


@pytest.mark.parametrize("cell", get_args(CellName))
def test_hover_text_has_step_unit_value_and_equation(cell: CellName) -> None:
    """The number is shown together with the formula that it came from."""
    variants: list[tuple[Reset, Activation]] = [("before", "tanh"), ("after", "relu")]
    for reset, activation in variants:
        trace = replace(make_trace(cell), reset=reset, activation=activation)
        for name in find_cell(cell).equations:
            template = gates_figure(trace, name).data[0].hovertemplate
            assert cell_of(trace).equations[name] in template
            assert f"{SIGNALS[name].symbol} = %{{z:.3g}}" in template
            assert "%{x}" in template
            assert "%{y}" in template


def test_every_column_is_its_own_category() -> None:
    """The same character twice makes two columns: labels have the step, ticks the character."""
    figure = gates_figure(make_trace(), "Z")
    labels = list(figure.data[0].x)
    assert len(set(labels)) == len(TEXT)
    assert [label.split() for label in labels] == [[str(t), c] for t, c in enumerate(visible(TEXT), start=1)]
    axis = figure.layout.xaxis
    assert axis.type == "category"
    assert list(axis.tickvals) == list(range(len(TEXT)))
    assert list(axis.ticktext) == ["a", "␣", "b", "↵", "a", "⇥", "分", "␣", "b"]
    assert figure.layout.yaxis.type == "category"
    assert list(figure.layout.meta["characters"]) == list(axis.ticktext)


def test_white_space_is_visible() -> None:
    """A character without ink is shown as a sign; all others are shown as they are."""
    assert visible("a b\r\n\t分") == ["a", "␣", "b", "␍", "↵", "⇥", "分"]
    assert visible("") == []


def test_a_single_character_can_be_drawn() -> None:
    """With one step and one unit, orders and axes still work."""
    trace = Trace("a", "rnn", "after", "tanh", {"layer1.forward.H": np.array([[0.5]], dtype=np.float32)})
    for order in get_args(Order):
        assert gates_figure(trace, "H", order=order).data[0].z.tolist() == [[0.5]]


def test_a_page_labels_its_heatmaps() -> None:
    """Every row says which signal it shows, and which layer and direction if there are several."""
    for trace in (make_trace("lstm"), make_trace("gru", 2, ("forward", "backward"))):
        html = gates_page(trace)
        start = html.index("[", html.rindex("Plotly.newPlot("))
        data, end = json.JSONDecoder().raw_decode(html, start)
        layout = json.JSONDecoder().raw_decode(html, html.index("{", end))[0]
        titles = [annotation["text"] for annotation in layout["annotations"]]
        assert len(set(titles)) == len(titles) == len(data) == len(trace.signals)


# All figures


def marked(message: str) -> str:
    """A translation that marks what went through it; placeholders are kept."""
    return f"«{message}»"


def texts_of(figure: go.Figure) -> list[str]:
    """Every text of a figure that a reader sees: titles, names, hover texts."""
    values = json.loads(figure.to_json())
    layout = values["layout"]
    found = [layout["xaxis"]["title"]["text"], layout["yaxis"]["title"]["text"]]
    for trace in values["data"]:
        found += [trace[key] for key in ("name", "hovertemplate") if key in trace]
    return found


def every_figure(translate: Any = str) -> list[go.Figure]:
    return [
        perplexity_figure(epochs(), V, EPOCHS, translate),
        gradient_norm_figure(steps(), THETA, STEPS_PER_EPOCH, EPOCHS, translate),
        gates_figure(make_trace(), "Z", translate=translate),
    ]


def test_every_text_of_a_figure_is_translated() -> None:
    """Titles, legends and hover texts have all been through the translation."""
    for figure in every_figure(marked):
        assert all("«" in text for text in texts_of(figure))


def test_figures_can_be_chinese() -> None:
    """They use our own catalogue, and leave numbers and placeholders unharmed."""
    english, chinese = every_figure(), every_figure(translator("zh"))
    for before, after in zip(english, chinese, strict=True):
        for old, new in zip(texts_of(before), texts_of(after), strict=True):
            assert any("\u4e00" <= c <= "\u9fff" for c in new) or new == old == "θ = 0.05"
            assert sorted(part.split("}")[0] for part in old.split("%{")[1:]) == sorted(
                part.split("}")[0] for part in new.split("%{")[1:]
            )


def test_a_figure_sets_neither_background_nor_font_colour() -> None:
    """Both come from the page, light or dark."""
    for figure in every_figure():
        layout = figure.layout
        assert (layout.paper_bgcolor, layout.plot_bgcolor, layout.font.color) == (None, None, None)


def test_measurements_keep_their_colours() -> None:
    """The same quantity has the same colour on every page, and no two quantities share one."""
    assert len(set(COLOURS.values())) == len(COLOURS)
    perplexity, norms = every_figure()[:2]
    assert [trace.line.color for trace in perplexity.data] == [
        COLOURS[name] for name in ("reference", "training", "held_out")
    ]
    assert [trace.line.color for trace in norms.data] == [COLOURS[name] for name in ("reference", "before", "after")]


# Packing for the live chart


def test_frames_are_sent_as_differences_and_restored() -> None:
    """Numbers, texts, growing lists, and keys that come and go are restored; what stays the same is sent once."""
    x = np.arange(1000.0)
    figures: list[dict[str, Any]] = [
        {"data": [{"x": x, "y": x * k}], "layout": {"shapes": [{"x0": k}] * k, "title": {"text": f"{k}"}}}
        for k in range(3)
    ]
    figures[2]["layout"]["meta"] = {"characters": ["a"]}
    frames = [
        Chart(figure, "chart", f"{k}", 300, table={"y": x[:3] * k, "k": ["a", "b", str(k)]})
        for k, figure in enumerate(figures)
    ]
    first = json.loads(pack(*frames))
    patches = first.pop("frames")
    assert patches[0] == {}
    for frame, patch in zip(frames, patches, strict=True):
        ours, plain = patched(first, patch), json.loads(pack(frame))
        assert {k: v for k, v in ours["layout"].items() if v is not None} == plain.pop("layout")
        assert {k: v for k, v in ours.items() if k != "layout"} == plain
    assert len(pack(*frames)) < 4.5 * 1000 * 8 * 4 / 3


def test_a_table_has_numbers_that_json_lacks() -> None:
    """Infinite and missing values keep their places; lists of anything else stay lists."""
    chart = Chart({"data": [], "layout": {}}, "chart", "", 300, table={"v": [1.0, math.inf, math.nan], "w": [1, None]})
    (_v, values), (_w, others) = json.loads(pack(chart))["table"]
    np.testing.assert_array_equal(np.frombuffer(base64.b64decode(values["bdata"])), [1, math.inf, math.nan])
    assert others == [1, None]


@pytest.mark.parametrize(("cell", "name"), [("gru", "Z"), ("gru", "H"), *UNBOUNDED])
def test_heatmaps_arrive_with_the_recorded_values(cell: CellName, name: str) -> None:
    """Every value arrives, even beyond the colour scale or close to 0, because pointing at a cell shows it."""
    trace = replace(make_trace(cell), activation="relu")
    trace.signal(name)[:2, 0] = 31.25, 1.25e-5
    for figure in (gates.gates_figure(trace, name, order="index"), gates_figure(trace, name, order="index")):
        z = packed(figure)["data"][0]["z"]
        assert z["shape"] == f"5, {len(TEXT)}"
        np.testing.assert_array_equal(numbers(z).reshape(5, -1), trace.signal(name).T)


def test_packing_leaves_everything_else_unchanged() -> None:
    """Lines, names and axes are kept; only the template, which the page replaces, is left out."""
    for figure in every_figure():
        travelling, plain = packed(figure), json.loads(figure.to_json())
        assert "template" not in travelling["layout"]
        plain["layout"].pop("template")
        assert travelling["layout"] == plain["layout"]
        assert travelling["data"] == plain["data"]


def test_a_plain_figure_is_sent_like_one_that_plotly_checked() -> None:
    """Live figures are dictionaries, but the same data arrives."""
    for plain in (
        curves.perplexity_figure(epochs(), V, EPOCHS),
        curves.gradient_norm_figure(GlobalNorms.of(steps()), THETA, STEPS_PER_EPOCH, EPOCHS),
        gates.gates_figure(make_trace(), "Z"),
        gates.gates_figure(make_trace(), "H"),
    ):
        ours, theirs = packed(plain), packed(go.Figure(plain))
        assert ours["layout"] == theirs["layout"]
        for mine, checked in zip(ours["data"], theirs["data"], strict=True):
            assert mine.keys() == checked.keys()
            for name, value in mine.items():
                if name in {"x", "y", "z"}:
                    np.testing.assert_allclose(numbers(value), numbers(checked[name]))
                elif name != "colorscale":
                    assert value == checked[name]
                else:
                    assert [tuple(stop) for stop in value] == [tuple(stop) for stop in checked[name]]


def numbers(values: Any) -> NDArray[np.float64]:
    """The numbers that plotly.js reads: a list, or an array in base64. The characters of an axis count as nothing."""
    if isinstance(values, dict):
        return np.frombuffer(base64.b64decode(values["bdata"]), dtype=values["dtype"]).astype(np.float64)
    return np.array([value if isinstance(value, float | int) else 0 for value in values], dtype=np.float64)


def test_a_diverged_recording_is_sent_with_its_gaps() -> None:
    """Cells that are NaN arrive as NaN."""
    trace = make_trace()
    trace.signal("H")[0, 0] = np.nan
    (heatmap,) = packed(gates.gates_figure(trace, "H", order="index"))["data"]
    values = numbers(heatmap["z"]).reshape([int(size) for size in heatmap["z"]["shape"].split(",")])
    np.testing.assert_array_equal(values, trace.signal("H").T)


def test_a_packed_heatmap_is_small() -> None:
    """It has four bytes per value: 64 units by 48 characters, twice a second, for thirty viewers."""
    values = rng.uniform(0, 1, (48, 64)).astype(np.float32)
    trace = Trace("a" * 48, "gru", "after", "tanh", {"layer1.forward.Z": values})
    plain = gates.gates_figure(trace, "Z")
    assert len(pack(Chart(plain, "gates", "", 440))) < 48 * 64 * 4 * 4 / 3 + 6000
