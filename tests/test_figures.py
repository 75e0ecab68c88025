"""Figures show the numbers they were given, on the scales that were promised, in the reader's language."""

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

from rnnviz import figures
from rnnviz.figures import COLOURS, MAX_POINTS, Order, decimate, gates_page, unit_order, visible
from rnnviz.i18n import translator
from rnnviz.live import pack
from rnnviz.recording import Trace
from rnnviz.reports import EpochReport, GlobalNorms, StepReport
from rnnviz.signals import CELL_SIGNALS, SIGNALS, CellName, equation

V, EPOCHS, THETA, STEPS_PER_EPOCH = 40, 10, 0.05, 4
PERPLEXITIES = [30.0, 12.5, 55.0, 3.25]
HELD_OUT = [31.0, 20.0, 18.5, 24.0]
TEXT = "a b\na\t分 b"
rng = np.random.default_rng(0)


def perplexity_figure(*arguments: Any) -> go.Figure:
    """As Plotly's classes take it, which raise ValueError for what Plotly would not draw."""
    return go.Figure(figures.perplexity_figure(*arguments))


def gradient_norm_figure(reports: list[StepReport], *arguments: Any) -> go.Figure:
    return go.Figure(figures.gradient_norm_figure(GlobalNorms.of(reports), *arguments))


def gates_figure(*arguments: Any, **options: Any) -> go.Figure:
    return go.Figure(figures.gates_figure(*arguments, **options))


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
        f"{name}.{signal}": rng.uniform(SIGNALS[signal].low, SIGNALS[signal].high, (len(TEXT), h)).astype(np.float32)
        for name in names
        for signal in CELL_SIGNALS[cell]
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
    """Training and held-out, epoch by epoch."""
    lines = by_name(perplexity_figure(epochs(), V, EPOCHS))
    for name, values in (("training", PERPLEXITIES), ("held-out", HELD_OUT)):
        assert list(lines[name].x) == [1, 2, 3, 4]
        assert list(lines[name].y) == values


def test_a_uniform_guess_is_a_line_at_v() -> None:
    """Across the whole run, from before the first report on."""
    for reports in ([], epochs()):
        line = by_name(perplexity_figure(reports, 1027, EPOCHS))["uniform, V = 1,027"]
        assert list(line.x) == [0, EPOCHS]
        assert list(line.y) == [1027, 1027]
        assert line.line.dash == "dash"


def test_perplexity_is_on_a_logarithmic_axis_from_1() -> None:
    """1 is the best there is; every value has its place below the upper end, V as well."""
    low, high = limits(perplexity_figure(epochs(), V, EPOCHS))
    assert low == pytest.approx(1)
    assert high > max(PERPLEXITIES) > V
    assert limits(perplexity_figure([], V, EPOCHS))[1] > V
    x = perplexity_figure(epochs(), V, EPOCHS).layout.xaxis.range
    assert x[0] == 0
    assert EPOCHS <= x[1] < EPOCHS * 1.1


def test_what_was_not_held_out_has_no_line() -> None:
    """Neither a line nor an entry in the legend."""
    assert list(by_name(perplexity_figure(epochs(None), V, EPOCHS))) == ["uniform, V = 40", "training"]


def test_infinite_perplexities_are_left_out() -> None:
    """The other points stay where they are, and the axis stays finite."""
    reports = epochs()
    reports[1] = replace(reports[1], perplexity=math.inf, held_out_perplexity=None)
    figure = perplexity_figure(reports, V, EPOCHS)
    lines = by_name(figure)
    assert (list(lines["training"].x), list(lines["training"].y)) == ([1, 3, 4], [30.0, 55.0, 3.25])
    assert (list(lines["held-out"].x), list(lines["held-out"].y)) == ([1, 3, 4], [31.0, 18.5, 24.0])
    assert np.isfinite(limits(figure)).all()


# Gradient norm


def test_norms_are_those_of_the_reports() -> None:
    """Before and after clipping, at every step, in epochs."""
    reports = steps()
    lines = by_name(gradient_norm_figure(reports, THETA, STEPS_PER_EPOCH, EPOCHS))
    for name in ("before", "after"):
        assert list(lines[name].x) == [r.step / STEPS_PER_EPOCH for r in reports]
    assert list(lines["before"].y) == [r.norm_before for r in reports]
    assert list(lines["after"].y) == [r.norm_after for r in reports]


def test_theta_is_a_line_where_there_is_one() -> None:
    """Across the whole run; without clipping there is none."""
    line = by_name(gradient_norm_figure(steps(), THETA, STEPS_PER_EPOCH, EPOCHS))["θ = 0.05"]
    assert list(line.x) == [0, EPOCHS]
    assert list(line.y) == [THETA, THETA]
    assert list(by_name(gradient_norm_figure(steps(), 0.0, STEPS_PER_EPOCH, EPOCHS))) == ["before", "after"]


@pytest.mark.parametrize("theta", [0.0, 1e-6, THETA, 100.0])
@pytest.mark.parametrize("count", [0, 1, 12])
def test_norms_are_on_a_logarithmic_axis(theta: float, count: int) -> None:
    """Every positive value is within it, θ too; a norm of zero does not break it."""
    reports = [replace(r, norm_after=min(r.norm_before, theta or math.inf)) for r in steps(count)]
    zero = StepReport(13, 1, 0.0, 10, 0.0, 0.0, {})
    low, high = limits(gradient_norm_figure([*reports, zero], theta, STEPS_PER_EPOCH, EPOCHS))
    values = [v for r in reports for v in (r.norm_before, r.norm_after)] + ([theta] if theta else [])
    assert 0 < low < high < math.inf
    assert all(low < value < high for value in values)


@pytest.mark.parametrize("norm", [1e300, math.inf, math.nan])
def test_an_exploding_gradient_is_drawn_as_far_as_it_goes(norm: float) -> None:
    """One step's norm beyond all bounds takes neither the others nor the axis with it, and travels as valid JSON."""
    reports = [*steps(), StepReport(13, 1, 1.0, 10, norm, THETA, {})]
    plain = figures.gradient_norm_figure(GlobalNorms.of(reports), THETA, STEPS_PER_EPOCH, EPOCHS)
    assert all(math.isfinite(limit) for limit in plain["layout"]["yaxis"]["range"])
    (before,) = (line for line in packed(plain)["data"] if line["name"] == "before")
    np.testing.assert_array_equal(numbers(before["y"]), [r.norm_before for r in reports])


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
    """At most so many of its points, in order, with both ends and both extremes; a short one is unchanged."""
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
    """Each value stands at its unit and its step, whatever the order of the units."""
    trace = make_trace(cell)
    for name in CELL_SIGNALS[cell]:
        (heatmap,) = gates_figure(trace, name, order=order).data
        values = trace.signal(name)
        assert heatmap.z.shape == (5, len(TEXT))
        units = [int(label) for label in heatmap.y]
        assert sorted(units) == list(range(5))
        for row, unit in enumerate(units):
            np.testing.assert_array_equal(heatmap.z[row], values[:, unit])


def test_a_layer_and_a_direction_can_be_chosen() -> None:
    """The heatmap is of that one and of no other."""
    trace = make_trace("lstm", 2, ("forward", "backward"))
    for layer, direction in product((1, 2), ("forward", "backward")):
        (heatmap,) = gates_figure(trace, "F", layer, direction, "index").data
        np.testing.assert_array_equal(heatmap.z, trace.signals[f"layer{layer}.{direction}.F"].T)


@pytest.mark.parametrize(
    ("name", "layer", "direction"), [("I", 1, "forward"), ("Z", 2, "forward"), ("Z", 1, "backward")]
)
def test_what_was_not_recorded_is_a_key_error(name: str, layer: int, direction: str) -> None:
    """A GRU has no input gate; this one has one layer and one direction."""
    with pytest.raises(KeyError):
        gates_figure(make_trace(), name, layer, direction)


def test_units_by_mean_stand_from_high_to_low() -> None:
    """The most active one first."""
    values = np.array([[0.1, 0.9, 0.5], [0.3, 0.7, 0.5]], dtype=np.float32)
    assert list(unit_order(values, "mean")) == [1, 2, 0]
    assert list(unit_order(values, "index")) == [0, 1, 2]


@pytest.mark.parametrize("name", SIGNALS)
def test_colours_have_the_fixed_range_of_the_signal(name: str) -> None:
    """Not the range of what happened to be recorded, so that two pictures compare; states diverge around 0."""
    cell = next(cell for cell, names in CELL_SIGNALS.items() if name in names)
    trace = make_trace(cell)
    faint = replace(trace, signals={key: values * 0.01 for key, values in trace.signals.items()})
    for each in (trace, faint):
        (heatmap,) = gates_figure(each, name).data
        assert (heatmap.zmin, heatmap.zmax) == (SIGNALS[name].low, SIGNALS[name].high)
    assert (heatmap.zmin == -heatmap.zmax) is not SIGNALS[name].is_gate
    (other,) = gates_figure(make_trace(), "Z").data
    assert (heatmap.colorscale == other.colorscale) is SIGNALS[name].is_gate


@pytest.mark.parametrize("cell", get_args(CellName))
def test_hovering_tells_step_unit_value_and_equation(cell: CellName) -> None:
    """The number and the formula that it came from stand together."""
    for reset, activation in (("before", "tanh"), ("after", "relu")):
        trace = replace(make_trace(cell), reset=reset, activation=activation)
        for name in CELL_SIGNALS[cell]:
            template = gates_figure(trace, name).data[0].hovertemplate
            assert equation(cell, name, reset, activation) in template
            assert f"{SIGNALS[name].symbol} = %{{z:.3f}}" in template
            assert "%{x}" in template
            assert "%{y}" in template


def test_every_column_is_a_category_of_its_own() -> None:
    """The same character twice is two columns: labels tell the step, ticks the character."""
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
    """A character that leaves no ink has a sign; all others are themselves."""
    assert visible("a b\n\t分") == ["a", "␣", "b", "↵", "⇥", "分"]
    assert visible("") == []


def test_a_single_character_is_a_picture_too() -> None:
    """One step, one unit: orders and axes still work."""
    trace = Trace("a", "rnn", "after", "tanh", {"layer1.forward.H": np.array([[0.5]], dtype=np.float32)})
    for order in get_args(Order):
        assert gates_figure(trace, "H", order=order).data[0].z.tolist() == [[0.5]]


def test_a_page_tells_its_heatmaps_apart() -> None:
    """Every row says which signal it is, and of which layer and direction where there are several."""
    for trace in (make_trace("lstm"), make_trace("gru", 2, ("forward", "backward"))):
        html = gates_page(trace)
        start = html.index("[", html.rindex("Plotly.newPlot("))
        data, end = json.JSONDecoder().raw_decode(html, start)
        layout = json.JSONDecoder().raw_decode(html, html.index("{", end))[0]
        titles = [annotation["text"] for annotation in layout["annotations"]]
        assert len(set(titles)) == len(titles) == len(data) == len(trace.signals)


# All figures


def marked(message: str) -> str:
    """A translation that shows what went through it; placeholders stay."""
    return f"«{message}»"


def texts_of(figure: go.Figure) -> list[str]:
    """Every text of a figure that a reader sees: titles, names, what hovering tells."""
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
    """Titles, legends and what hovering tells have all been through the translation."""
    for figure in every_figure(marked):
        assert all("«" in text for text in texts_of(figure))


def test_figures_speak_chinese() -> None:
    """With our own catalogue, and with numbers and placeholders unharmed."""
    english, chinese = every_figure(), every_figure(translator("zh"))
    for before, after in zip(english, chinese, strict=True):
        for old, new in zip(texts_of(before), texts_of(after), strict=True):
            assert any("\u4e00" <= c <= "\u9fff" for c in new) or new == old == "θ = 0.05"
            assert sorted(part.split("}")[0] for part in old.split("%{")[1:]) == sorted(
                part.split("}")[0] for part in new.split("%{")[1:]
            )


def test_a_figure_brings_neither_background_nor_font_colour() -> None:
    """Both come from the page, light or dark."""
    for figure in every_figure():
        layout = figure.layout
        assert (layout.paper_bgcolor, layout.plot_bgcolor, layout.font.color) == (None, None, None)


def test_measurements_keep_their_colours() -> None:
    """The same thing has the same colour on every page, and no two things share one."""
    assert len(set(COLOURS.values())) == len(COLOURS)
    perplexity, norms = every_figure()[:2]
    assert [trace.line.color for trace in perplexity.data] == [
        COLOURS[name] for name in ("reference", "training", "held_out")
    ]
    assert [trace.line.color for trace in norms.data] == [COLOURS[name] for name in ("reference", "before", "after")]


# Packing for the live chart


def packed(figure: Any) -> dict[str, Any]:
    """A figure as the browser gets it."""
    return dict(json.loads(pack(figure, name="chart", description="", height=300)))


def unpacked(packed: dict[str, Any]) -> NDArray[np.float64]:
    """What live_charts.js makes of it."""
    shares = np.frombuffer(base64.b64decode(packed["data"]), dtype="<u2").reshape(packed["shape"])
    return packed["low"] + shares * ((packed["high"] - packed["low"]) / 65535)


@pytest.mark.parametrize("name", ["Z", "H", "C"])
def test_packed_values_come_back_within_a_step(name: str) -> None:
    """A 65,535th of the colour scale, which no eye sees; both ends are exact."""
    trace = make_trace("lstm" if name == "C" else "gru")
    signal = SIGNALS[name]
    trace.signal(name)[0, :2] = signal.low, signal.high
    figure = gates_figure(trace, name, order="index")
    values = unpacked(packed(figure)["data"][0]["z"]["packed"])
    assert values.shape == (5, len(TEXT))
    assert np.abs(values - trace.signal(name).T).max() <= (signal.high - signal.low) / 65535
    assert values[0, 0] == signal.low
    assert values[1, 0] == pytest.approx(signal.high)


def test_values_beyond_the_scale_saturate() -> None:
    """A memory cell may leave it; then it has the colour of the end."""
    trace = make_trace("lstm")
    trace.signal("C")[:, 0] = 7.5
    trace.signal("C")[:, 1] = -7.5
    values = unpacked(packed(gates_figure(trace, "C", order="index"))["data"][0]["z"]["packed"])
    assert values[0] == pytest.approx([2.0] * len(TEXT))
    assert values[1] == pytest.approx([-2.0] * len(TEXT))


def test_packing_leaves_all_else_as_it_is() -> None:
    """Lines, names and axes; only the template, which the page replaces, is left out."""
    for figure in every_figure():
        travelling, plain = packed(figure), json.loads(figure.to_json())
        assert "template" not in travelling["layout"]
        plain["layout"].pop("template")
        assert travelling["layout"] == plain["layout"]
        for ours, theirs in zip(travelling["data"], plain["data"], strict=True):
            assert {k: v for k, v in ours.items() if k != "z"} == {k: v for k, v in theirs.items() if k != "z"}


def test_a_plain_figure_travels_as_the_one_that_plotly_checked() -> None:
    """The figures that move are dictionaries; what arrives is the same."""
    for plain in (
        figures.perplexity_figure(epochs(), V, EPOCHS),
        figures.gradient_norm_figure(GlobalNorms.of(steps()), THETA, STEPS_PER_EPOCH, EPOCHS),
        figures.gates_figure(make_trace(), "Z"),
        figures.gates_figure(make_trace(), "H"),
    ):
        ours, theirs = packed(plain), packed(go.Figure(plain))
        assert ours["layout"] == theirs["layout"]
        for mine, checked in zip(ours["data"], theirs["data"], strict=True):
            assert mine.keys() == checked.keys()
            for name, value in mine.items():
                if name in {"x", "y"}:
                    np.testing.assert_allclose(numbers(value), numbers(checked[name]))
                elif name != "colorscale":
                    assert value == checked[name]
                else:
                    assert [tuple(stop) for stop in value] == [tuple(stop) for stop in checked[name]]


def numbers(values: Any) -> NDArray[np.float64]:
    """What plotly.js reads: a list, or an array in base64. The characters of an axis count as nothing."""
    if isinstance(values, dict):
        return np.frombuffer(base64.b64decode(values["bdata"]), dtype=values["dtype"]).astype(np.float64)
    return np.array([value if isinstance(value, float | int) else 0 for value in values], dtype=np.float64)


def test_a_diverged_recording_travels_with_its_gaps() -> None:
    """Cells that are not numbers keep the heatmap from being packed in steps; they arrive as they are."""
    trace = make_trace()
    trace.signal("H")[0, 0] = np.nan
    (heatmap,) = packed(figures.gates_figure(trace, "H", order="index"))["data"]
    values = numbers(heatmap["z"]).reshape([int(size) for size in heatmap["z"]["shape"].split(",")])
    np.testing.assert_array_equal(values, trace.signal("H").T)


def test_a_packed_heatmap_is_small() -> None:
    """Two bytes a value: 64 units by 48 characters, twice a second, to thirty viewers."""
    values = rng.uniform(0, 1, (48, 64)).astype(np.float32)
    trace = Trace("a" * 48, "gru", "after", "tanh", {"layer1.forward.Z": values})
    plain = figures.gates_figure(trace, "Z")
    assert len(pack(plain, name="gates", description="", height=440)) < 48 * 64 * 2 * 4 / 3 + 6000
