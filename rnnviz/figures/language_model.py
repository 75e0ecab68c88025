"""Pictures of n-gram models: the chain rule, the orders compared, and the numbers that went into a bar."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from rnnviz.figures.kit import COLOURS, LEGEND, Drawn, Figure, character_axis, subscript, visible
from rnnviz.i18n import Translate, quantity, times_power
from rnnviz.text.ngram import Chain

Array = NDArray[np.float64]
# A symbol and what it equals, in which _{…} stands below the line.
Line = tuple[str, str]
# One colour for each P_k, from 1/V to the longest context. They differ for the three common kinds of
# colour blindness, and have a contrast of 3:1 on a white and on a dark page (tests assert both).
ORDER_COLOURS = ("#5A636A", "#0B54EA", "#1E8CEC", "#249DAA", "#426F2A", "#998611", "#D27571")
_FADED = 0.3
_CANDIDATES = 12
_CEILINGS = (0.01, 0.03, 0.1, 0.3)  # ends of the probability axis where all bars are below; 1 otherwise


def scientific(nats: float) -> str:
    """exp(nats) in three digits, even where it is too small for a float: 1.23 × 10⁻⁴⁰⁰."""
    power = nats / np.log(10)
    if power > -4:
        return quantity(float(np.exp(nats)))
    exponent = int(np.floor(power))
    mantissa = f"{10 ** (power - exponent):.2f}"
    return times_power("1.00", exponent + 1) if mantissa == "10.00" else times_power(mantissa, exponent)


def contexts(text: str, order: int) -> list[str]:
    """The context that a model of this order sees before each character of a text, with visible spaces."""
    characters = visible(text)
    return ["".join(characters[max(0, t - order + 1) : t]) for t in range(len(text))]


def chain_figure(
    chain: Chain, vocab_size: int, t: int | None = None, lit: int | None = None, translate: Translate = str
) -> Figure:
    """P(x_t | …) of every character, stacked from its terms λ_k P_k; below it the running sum log P(x_1 … x_t).

    Step `t` and the terms of order `lit` are highlighted.
    """
    _ = translate
    characters = visible(chain.text)
    x = [f"{i}  {character}" for i, character in enumerate(characters, start=1)]
    traces: list[Drawn] = [
        {
            "type": "bar",
            "x": x,
            "y": np.where(chain.scored, chain.terms[:, k], np.nan),
            "name": term_name(k),
            "marker": {"color": ORDER_COLOURS[k], "line": {"width": 0}},
            "opacity": 1 if lit in (None, k) else _FADED,
            "hovertext": _bar_hovers(chain, k, _),
            "hovertemplate": "%{hovertext}<extra></extra>",
        }
        for k in range(chain.order + 1)
    ]
    traces += (lines := _running(chain, x, vocab_size, _))
    lowest = min(float(line["y"].min()) for line in lines) or -1.0
    if not chain.scored.all():
        traces.append(_unknown_marks(chain, x, _))
    layout = {
        "barmode": "stack",
        "bargap": 0.2,
        "hovermode": "closest",
        "showlegend": True,
        "margin": {"l": 56, "r": 12, "t": 8, "b": 40},
        "legend": {**LEGEND, "traceorder": "normal", "itemsizing": "trace"},
        "xaxis": character_axis(
            characters, _("character xₜ"), type="category", anchor="y2", range=[-0.6, len(x) - 0.4]
        ),
        "yaxis": {
            "title": {"text": "P(xₜ | …)"},
            "range": [0, _ceiling(chain) * 1.02],
            "domain": [0.42, 1],
            "zeroline": False,
        },
        "yaxis2": {
            "title": {"text": _("log P, nats")},
            "domain": [0, 0.34],
            "range": [1.05 * lowest, 0],
            "nticks": 5,
            "zeroline": False,
        },
        "meta": {"characters": characters},
    }
    figure = {"data": traces, "layout": layout}
    return figure if t is None else at_step(figure, t)


def at_step(figure: Figure, t: int) -> Figure:
    """The same picture of a chain with step t highlighted."""
    return {**figure, "layout": {**figure["layout"], "shapes": [_band(t - 0.5, t + 0.5)]}}


def _band(left: float, right: float) -> dict[str, Any]:
    """A grey stripe behind the highlighted step; `add_vrect` makes the same but takes ten times as long."""
    return {
        "type": "rect",
        "yref": "paper",
        "x0": left,
        "x1": right,
        "y0": 0,
        "y1": 1,
        "fillcolor": "rgba(128,136,144,0.2)",
        "line": {"width": 0},
        "layer": "below",
    }


def _ceiling(chain: Chain) -> float:
    highest = float(np.nanmax(chain.probabilities, initial=0))
    return next((ceiling for ceiling in _CEILINGS if highest <= ceiling), 1)


def _bar_hovers(chain: Chain, k: int, _: Translate) -> list[str]:
    """The hover text of one segment of each bar: character, context, term, sum."""
    term = "λ₀ · 1/V" if k == 0 else f"λ{subscript(k)} P{subscript(k)}"
    return [
        "<br>".join(
            (
                _("step {t}: {character} after {context}").format(
                    t=t, character=escape(character), context=escape(context) or "–"
                ),
                f"{term} = {quantity(value)}",
                f"P(xₜ | …) = {quantity(P)}",
            )
        )
        for t, (character, context, value, P) in enumerate(
            zip(visible(chain.text), contexts(chain.text, k), chain.terms[:, k], chain.terms.sum(axis=1), strict=True),
            start=1,
        )
    ]


def _running(chain: Chain, x: list[str], vocab_size: int, _: Translate) -> list[Drawn]:
    """log P(x_1 … x_t) of the model and of a uniform guess."""
    uniform = np.cumsum(chain.scored) * -np.log(vocab_size)
    lines = (
        (_("uniform guess"), uniform, COLOURS["reference"], "dash"),
        (f"log P, n = {chain.order}", chain.log_probabilities, COLOURS["held_out"], "solid"),
    )
    return [
        {
            "type": "scatter",
            "x": x,
            "y": y,
            "yaxis": "y2",
            "name": name,
            "mode": "lines" if len(x) > 1 else "markers",
            "line": {"color": colour, "width": 2.2, "dash": dash},
            "hovertext": [
                f"{name}<br>" + _("P of the first {t} characters: {P}").format(t=t, P=scientific(float(value)))
                for t, value in enumerate(y, start=1)
            ],
            "hovertemplate": "%{hovertext}<br>log P = %{y:,.4~g}<extra></extra>",
        }
        for name, y, colour, dash in lines
    ]


def _unknown_marks(chain: Chain, x: list[str], _: Translate) -> Drawn:
    """A cross where a character is not scored."""
    unknown = np.flatnonzero(~chain.scored)
    return {
        "type": "scatter",
        "x": [x[i] for i in unknown],
        "y": np.full(len(unknown), 0.03 * _ceiling(chain)),
        "mode": "markers",
        "showlegend": False,
        "marker": {"symbol": "x", "size": 9, "color": COLOURS["reference"]},
        "hovertemplate": "%{x}<extra>" + _("not in the vocabulary: not scored") + "</extra>",
    }


def next_character_figure(P: Array, characters: str, actual: str | None, translate: Translate = str) -> Figure:
    """The likeliest next characters, and among them, highlighted, the one that came."""
    _ = translate
    chosen = np.argsort(-P, kind="stable")[:_CANDIDATES].tolist()
    if actual and actual in characters and (came := characters.index(actual)) not in chosen:
        chosen[-1] = came
    shown = [visible(characters[i])[0] for i in chosen]
    bars = {
        "type": "bar",
        "x": list(range(len(chosen))),
        "y": P[chosen],
        "marker": {"color": [COLOURS["held_out" if characters[i] == actual else "reference"] for i in chosen]},
        "hovertext": [f"{escape(name)}: {quantity(float(P[i]))}" for name, i in zip(shown, chosen, strict=True)],
        "hovertemplate": "%{hovertext}<extra></extra>",
    }
    layout = {
        "margin": {"l": 56, "r": 12, "t": 8, "b": 40},
        "bargap": 0.25,
        "hovermode": "closest",
        "xaxis": character_axis(shown, _("what may come next, the likeliest first"), zeroline=False),
        "yaxis": {"title": {"text": "P(x | …)"}, "rangemode": "tozero", "nticks": 6, "zeroline": False},
    }
    return {"data": [bars], "layout": layout}


def orders_figure(
    training: Array, held_out: Array, vocab_size: int, chosen: int, translate: Translate = str
) -> go.Figure:
    """Perplexity against n on a log axis: training, held-out, and V, what a uniform guess gets."""
    _ = translate
    n = np.arange(1, len(training) + 1)
    figure = go.Figure()
    _dashed(figure, n, np.full(len(n), vocab_size), _("uniform, V = {size:,}").format(size=vocab_size), "left")
    lines = [(_("training"), training, COLOURS["training"])]
    if np.isfinite(held_out).all():
        lines.append((_("held-out"), held_out, COLOURS["held_out"]))
    for (name, y, colour), side in zip(lines, _apart([float(y[-1]) for _n, y, _c in lines]), strict=True):
        _direct(figure, n, y, name, colour, side, _("n = %{x}: perplexity %{y:,.3~g}"))
    values = np.concatenate([y for _n, y, _c in lines] + [[vocab_size]])
    _orders_layout(figure, n, chosen, _("perplexity"), (1.0, float(values.max()) * 1.5))
    return figure


def growth_figure(
    possible: Sequence[int], seen: Sequence[int], length: int, chosen: int, translate: Translate = str
) -> go.Figure:
    """The number of possible n-grams and of those that a text of `length` characters has, on a log axis."""
    _ = translate
    n = np.arange(1, len(possible) + 1)
    figure = go.Figure()
    crosses_left = float(np.log(length) / np.log(possible[0])) < n.mean()
    reference = _("characters of the text: {length:,}").format(length=length)
    _dashed(figure, n, np.full(len(n), length), reference, "right" if crosses_left else "left")
    hover = _("n = %{x}: %{hovertext} different n-grams")
    for name, counts, colour, side in (
        (_("possible, Vⁿ"), possible, ORDER_COLOURS[6], "bottom"),
        (_("seen"), seen, COLOURS["training"], "top"),
    ):
        y = np.array([count or np.nan for count in counts], dtype=np.float64)
        _direct(figure, n, y, name, colour, side, hover, [f"{count:,}" for count in counts])
    _orders_layout(
        figure,
        n,
        chosen,
        _("different n-grams"),
        (max(float(min(seen)), 1) / 3, max(float(possible[-1]), length) * 3),
    )
    return figure


def _apart(ends: Sequence[float]) -> list[str]:
    """The anchors of labels beside the ends of two lines: one label grows upward and the other downward."""
    return ["top" if end == min(ends) else "bottom" for end in ends]


def _direct(
    figure: go.Figure,
    n: NDArray[Any],
    y: Array,
    name: str,
    colour: str,
    side: str,
    hover: str,
    texts: Sequence[str] | None = None,
) -> None:
    """A line over the orders with its name at its right end; it ends before the orders that have no value."""
    n, y = n[np.isfinite(y)], y[np.isfinite(y)]
    figure.add_scatter(
        x=n,
        y=y,
        name=name,
        mode="lines+markers",
        line={"color": colour, "width": 2.4},
        marker={"size": 7},
        hovertext=texts,
        hovertemplate=hover + "<extra>" + name + "</extra>",
    )
    figure.add_annotation(
        x=n[-1],
        y=float(np.log10(y[-1])),
        text=name,
        showarrow=False,
        xanchor="left",
        xshift=10,
        yanchor=side,
    )


def _dashed(figure: go.Figure, n: NDArray[Any], y: NDArray[Any], name: str, side: str) -> None:
    """A horizontal reference with its name above one of its ends."""
    figure.add_scatter(
        x=[n[0] - 0.4, n[-1] + 0.4],
        y=y[[0, -1]],
        mode="lines",
        name=name,
        line={"color": COLOURS["reference"], "width": 1.8, "dash": "dash"},
        hoverinfo="skip",
    )
    end = n[0] - 0.4 if side == "left" else n[-1] + 0.4
    figure.add_annotation(x=end, y=float(np.log10(y[0])), text=name, showarrow=False, xanchor=side, yanchor="bottom")


def _orders_layout(figure: go.Figure, n: NDArray[Any], chosen: int, y: str, limits: tuple[float, float]) -> None:
    wide = limits[1] > 1e8 * limits[0]
    figure.update_layout(
        margin={"l": 56, "r": 92, "t": 8, "b": 40},
        hovermode="closest",
        showlegend=False,
        shapes=[_band(chosen - 0.3, chosen + 0.3)],
        xaxis={"title": {"text": "n"}, "range": [n[0] - 0.4, n[-1] + 0.4], "dtick": 1, "zeroline": False},
        yaxis={
            "title": {"text": y},
            "type": "log",
            "range": [float(np.log10(limit)) for limit in limits],
            "exponentformat": "power",
            "tickformat": "" if wide else ",~r",
            "dtick": 3 if wide else "D2" if limits[1] < 1e3 * limits[0] else 1,
            "zeroline": False,
        },
    )


def step_sum(chain: Chain, t: int) -> list[Line]:
    """P(x_t | …) = Σ λ_k P_k at step t (from 0): the total, and a line for each term from the longest context on."""
    total = (f"P(x_{{{t + 1}}} | …)", f"Σ_{{k}} λ_{{k}} P_{{k}} = {quantity(float(chain.terms[t].sum()))}")
    lines = [total]
    for k in range(chain.order, -1, -1):
        weight, term = float(chain.weights[k]), float(chain.terms[t, k])
        product = f"{quantity(weight)} × {quantity(term / weight)} = {quantity(term)}"
        lines.append((_term_symbol(k, t, int(chain.reach[t])), product))
    return lines


def _term_symbol(k: int, t: int, reach: int) -> str:
    """λ_k P_k at step t (from 0), with its context as indices of characters, or the shorter one that replaces it."""
    if k == 0:
        return "λ_{0} / V"
    if k > reach:
        return f"λ_{{{k}}} (P_{{{k}}} = P_{{{reach}}})"
    first, last = t - k + 2, t
    given = "" if k == 1 else f" | x_{{{last}}}" if k == 2 else f" | x_{{{first}:{last}}}"
    return f"λ_{{{k}}} P_{{{k}}}(x_{{{t + 1}}}{given})"


def term_name(k: int) -> str:
    """P_k as a name beside a picture."""
    return "1/V" if k == 0 else f"P{subscript(k)}"
