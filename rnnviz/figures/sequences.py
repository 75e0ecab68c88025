"""Pictures of the way from a text to mini-batches. No Streamlit, no torch.

Every picture here is a grid of cells with a character in each. `layout.meta` tells the page how
many cells there are, and a trace's `meta.share` how much of a cell its signs fill, so that signs
grow and shrink with the page.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from plotly.colors import sample_colorscale, unlabel_rgb

from rnnviz.figures.kit import COLOURS, LEGEND, MONOSPACE, Drawn, Figure, visible
from rnnviz.i18n import Translate
from rnnviz.text.corpora import UNKNOWN, Vocabulary, one_hot
from rnnviz.text.sampling import Coverage, Indices

ColourBy = Literal["batch", "row"]
COLUMNS = 32  # characters per line of the painted text
ROW_HEIGHT = 28
_SHADES = 64  # more than the eye can distinguish
_SCALE = "Viridis"  # from what is read first to what is read last; without grey, which means "not read"
_STEP_SCALE = "Plasma"  # time steps are not mini-batches
_GREY, _FAINT, _NOTHING = "rgba(128,136,144,0.32)", "rgba(128,136,144,0.14)", "rgba(0,0,0,0)"
_HOT, _CHANGED = "#0B6FA8", "#B5432B"
_DARK, _LIGHT = "#000000", "#FFFFFF"
_EDGE = {"width": 1.5, "color": _DARK}
_HEADERS = 4  # rows above the one-hot vectors: as typed, cleaned, index, and one left free


def vectors_height(vocab_size: int) -> int:
    """The height in pixels of the picture of `vectors_figure`."""
    return 64 + (vocab_size + _HEADERS) * (ROW_HEIGHT if vocab_size <= 16 else 18)


def vectors_figure(
    typed: str, cleaned: str, ids: Indices, vocabulary: Vocabulary, translate: Translate = str
) -> Figure:
    """A text on its way to vectors, one column per time step: as typed, cleaned, as an index, as a one-hot vector.

    The three have the same length. A character that the vocabulary lacks has the index -1 and
    the zero vector.
    """
    _ = translate
    T, V = len(ids), len(vocabulary)
    X = one_hot(ids, V).T  # the picture shows a vector as a column
    names, before, after = visible(vocabulary.characters), visible(typed), visible(cleaned)
    indices = [str(i) if i != UNKNOWN else "−1" for i in ids]
    changed = np.array([a != b for a, b in zip(typed, cleaned, strict=True)])
    kinds = np.zeros((V + _HEADERS, T))  # 0 nothing, 1 a zero, 2 a changed character, 3 a one
    kinds[:2, changed] = 2
    kinds[_HEADERS:] = np.where(X, 3, 1)
    title = [_("t = {t}: {character}").format(t=t, character=c) for t, c in enumerate(after, start=1)]
    steps = [
        _("typed {before}<br>cleaned {after}<br>index {index}").format(before=b, after=a, index=i)
        for b, a, i in zip(before, after, indices, strict=True)
    ]
    hover = [[f"t = {t}<br>{step}" for t, step in enumerate(steps, start=1)]] * _HEADERS + [
        [
            f"{title[t]}<br>"
            + _("component {index}, {character}: {value}").format(index=j, character=name, value=value)
            for t, value in enumerate(X[j].astype(int))
        ]
        for j, name in enumerate(names)
    ]
    traces = [_cells(kinds / 3, _steps((_NOTHING, _FAINT, _CHANGED, _HOT)), hover=hover)]
    for row, signs in enumerate((before, after, indices)):
        for chosen, colour in ((~changed | (row == 2), None), (changed & (row < 2), _LIGHT)):
            at = np.flatnonzero(chosen)
            share = 0.62 if row < 2 else 0.5
            traces.append(_signs(at, np.full(len(at), row), [signs[t] for t in at], colour, share=share))
    j, t = np.nonzero(X)
    traces.append(_signs(t, j + _HEADERS, ["1"] * len(t), _LIGHT))
    labels = [_("typed"), _("cleaned"), _("index"), "", *(f"{name} {j}" for j, name in enumerate(names))]
    every = 1 + (V - 1) // 30
    shown = [*range(_HEADERS - 1), *range(_HEADERS, V + _HEADERS, every)]
    return _grid(
        traces,
        T,
        V + _HEADERS,
        {"l": 74, "r": 8, "t": 8, "b": 44},
        xaxis=_time_axis(range(T), range(1, T + 1), 12, _("time step t")),
        yaxis={"tickvals": shown, "ticktext": [labels[row] for row in shown], "tickfont": _mono(13)},
    )


def painting_height(length: int) -> int:
    """The height in pixels of the picture of `painting_figure`."""
    return 104 + (1 + (length - 1) // COLUMNS) * ROW_HEIGHT


def painting_figures(
    text: str,
    coverage: Coverage,
    batches: Iterable[int],
    *,
    carried: bool,
    colour_by: ColourBy = "batch",
    translate: Translate = str,
) -> list[Figure]:
    """An epoch's mini-batches painted on their text: one figure for each of `batches`, with that batch outlined.

    Colours go by mini-batch or by row. Characters that are not read are grey: struck through once if
    they are targets, twice if they are never seen. A sign at the first character of each window tells
    whether its state is `carried` over from the mini-batch before or fresh.
    """
    _ = translate
    signs, read = np.array(visible(text), dtype=object), np.flatnonzero(coverage.is_input)
    numbers = coverage.batch if colour_by == "batch" else coverage.row
    count = int(numbers.max()) + 1
    shades = _shades(min(count, _SHADES))
    shade_of = np.arange(count) * len(shades) // count
    lines = 1 + (len(text) - 1) // COLUMNS
    kinds = np.zeros(lines * COLUMNS)  # 0 beyond the text, 1 not read, 2 and more the shades
    kinds[: len(text)] = np.where(coverage.is_input, shade_of[numbers] + 2, 1)
    scale = _steps((_NOTHING, _GREY, *shades))
    traces = [_cells(kinds.reshape(lines, COLUMNS) / (len(shades) + 1), scale)]
    where = _("position {p} of the text").format(p="%{customdata[0]:,d}")
    hover = "<br>".join(
        (
            "%{text}",
            where,
            _("mini-batch {k}, row {i}, t = {t}").format(
                k="%{customdata[1]:,d}", i="%{customdata[2]}", t="%{customdata[3]}"
            ),
        )
    )
    inks = _inks(shades)[shade_of[numbers[read]]]
    for ink in (_DARK, _LIGHT):  # Plotly is slow with a colour for every character
        at = read[inks == ink]
        data = np.stack([at, coverage.batch[at], coverage.row[at], coverage.step[at]], axis=1) + 1
        traces.append(_signs(*_place(at), list(signs[at]), ink, data=data, hover=hover))
    traces += _unread(signs, coverage.only_target, "line-ne-open", _("only a target"), where)
    traces += _unread(signs, coverage.never_seen, "x-thin-open", _("never seen"), where)
    above = [*_states(coverage, carried, _), _colour_bar(shades, count)]
    # in a tall picture the bar's own title would stand among the ticks
    title = {"text": _("mini-batch") if colour_by == "batch" else _("row"), "font": {"size": 14}, "showarrow": False}
    below = {"x": 0.5, "y": 0, "xref": "paper", "yref": "paper", "yanchor": "top", "yshift": -38}
    painted = _grid(
        traces,
        COLUMNS,
        lines,
        {"l": 8, "r": 8, "t": 44, "b": 60},
        showlegend=True,
        legend={**LEGEND, "y": 1},
        annotations=[title | below],
    )
    outlines = (_outline(coverage, k, _("mini-batch {k:,}").format(k=k + 1)) for k in batches)
    return [{**painted, "data": [*traces, *outline, *above]} for outline in outlines]


def windows_height(batch_size: int) -> int:
    """The height in pixels of the picture of `windows_figure`."""
    return 90 + batch_size * ROW_HEIGHT


def windows_figure(X: Indices, Y: Indices, vocabulary: Vocabulary, translate: Translate = str) -> Figure:
    """X and Y of a mini-batch, both of shape (T, B), side by side with a row for each of the B rows.

    A character of the text has the same colour in both, so that the shift by one can be seen. Pointing at
    a cell in one of them marks its partner in the other.
    """
    _ = translate
    T, B = X.shape
    shades = _shades(T + 1, _STEP_SCALE)
    row, t = (grid.ravel() for grid in np.mgrid[:B, :T])
    kinds = np.zeros((B, 2 * T + 1))  # one column is left free between the two
    kinds[:, :T] = np.arange(T) + 1
    kinds[:, T + 1 :] = np.arange(T) + 2
    traces = [_cells(kinds / (T + 1), _steps((_NOTHING, *shades)))]
    inputs, targets = (_characters(ids.T.ravel(), vocabulary) for ids in (X, Y))
    data = np.stack([row + 1, t + 1, X.T.ravel(), Y.T.ravel(), inputs, targets], axis=1)
    hover = "<br>".join(
        (
            _("row {i}, t = {t}").format(i="%{customdata[0]}", t="%{customdata[1]}"),
            _("X: {character}, index {index}").format(character="%{customdata[4]}", index="%{customdata[2]}"),
            _("Y: {character}, index {index}").format(character="%{customdata[5]}", index="%{customdata[3]}"),
        )
    )
    for name, signs, offset in (("X", inputs, 0), ("Y", targets, T + 1)):
        inks = _inks(shades)[t + (name == "Y")]
        for ink in (_DARK, _LIGHT):
            at = inks == ink
            traces.append(_signs((t + offset)[at], row[at], list(signs[at]), ink, data=data[at], hover=hover))
    above = {"y": 1, "yref": "paper", "showarrow": False, "xanchor": "left", "yanchor": "bottom"}
    steps = [*range(1, T + 1)]
    shown = [*range(0, B, 1 + (B - 1) // 16)]
    return _grid(
        traces,
        2 * T + 1,
        B,
        {"l": 40, "r": 8, "t": 30, "b": 44},
        partner=T + 1,
        xaxis=_time_axis([*range(T), *range(T + 1, 2 * T + 1)], steps * 2, 10, _("time step t")),
        yaxis={"tickvals": shown, "ticktext": [str(i + 1) for i in shown], "title": {"text": _("row")}},
        annotations=[{"text": f"<b>{name}</b>", "x": x - 0.5} | above for name, x in (("X", 0), ("Y", T + 1))],
    )


def _characters(ids: Indices, vocabulary: Vocabulary) -> NDArray[np.object_]:
    return np.array(visible(vocabulary.decode(ids)), dtype=object)


def _place(positions: Indices) -> tuple[Indices, Indices]:
    """Column and line of positions in the painted text."""
    return positions % COLUMNS, positions // COLUMNS


def _mono(size: int) -> dict[str, Any]:
    return {"family": MONOSPACE, "size": size}


def _shades(count: int, scale: str = _SCALE) -> list[str]:
    shades: list[str] = sample_colorscale(scale, [n / max(count - 1, 1) for n in range(count)])
    return shades


def _steps(colours: tuple[str, ...]) -> list[tuple[float, str]]:
    """A colour scale with one flat step around each of n / (count - 1)."""
    edges = (np.arange(len(colours) + 1) - 0.5) / (len(colours) - 1)
    bounds = edges.clip(0, 1)
    return [(float(edge), colour) for n, colour in enumerate(colours) for edge in bounds[n : n + 2]]


def _inks(shades: list[str]) -> NDArray[np.str_]:
    """Black or white, whichever stands out more on each colour."""
    linear = (np.array([unlabel_rgb(shade) for shade in shades]) / 255) ** 2.2
    return np.where(linear @ np.array([0.2126, 0.7152, 0.0722]) > 0.18, _DARK, _LIGHT)


def _cells(z: NDArray[np.float64], scale: list[tuple[float, str]], hover: list[list[str]] | None = None) -> Drawn:
    told = {"hoverinfo": "skip"} if hover is None else {"text": hover, "hovertemplate": "%{text}<extra></extra>"}
    colours = {"zmin": 0, "zmax": 1, "colorscale": scale, "showscale": False}
    return {"type": "heatmap", "z": z, "xgap": 1, "ygap": 1, **colours, **told}


def _signs(
    x: Indices,
    y: Indices,
    signs: list[str],
    colour: str | None,
    *,
    data: NDArray[Any] | None = None,
    hover: str = "",
    share: float = 0.62,
) -> Drawn:
    """Characters in cells; without a colour they take the page's."""
    font = _mono(13) | ({} if colour is None else {"color": colour})
    told = {"hovertemplate": hover + "<extra></extra>", "customdata": data} if hover else {"hoverinfo": "skip"}
    places = {"x": x, "y": y, "text": signs, "mode": "text", "textfont": font}
    return {"type": "scatter", **places, "showlegend": False, "meta": {"share": share}, **told}


def _marks(x: Any, y: Any, symbol: str, size: int, colour: str, line: dict[str, Any], **more: Any) -> Drawn:
    marker = {"symbol": symbol, "size": size, "color": colour, "line": line}
    return {"type": "scatter", "x": x, "y": y, "mode": "markers", "marker": marker, **more}


def _unread(signs: Any, chosen: NDArray[np.bool_], symbol: str, name: str, where: str) -> list[Drawn]:
    """Characters that are not an input in this epoch, struck through by a symbol."""
    at = np.flatnonzero(chosen)
    if not len(at):
        return []
    x, y = _place(at)
    struck = _marks(
        x,
        y,
        symbol,
        16,
        COLOURS["reference"],
        {"width": 1.6, "color": COLOURS["reference"]},
        name=f"{name}: {len(at):,}",
        text=list(signs[at]),
        customdata=(at + 1)[:, None],
        hovertemplate="%{text}<br>" + where + "<br>" + name + "<extra></extra>",
        meta={"share": 0.7},
    )
    return [_signs(x, y, list(signs[at]), None), struck]


def _outline(coverage: Coverage, batch: int, name: str) -> list[Drawn]:
    """A frame around each window of a mini-batch: a white line inside a dark one, visible on every colour."""
    x: list[float | None] = []
    y: list[float | None] = []
    at = np.flatnonzero(coverage.batch == batch)
    pieces = np.split(at, np.flatnonzero((np.diff(coverage.row[at]) != 0) | (at[1:] % COLUMNS == 0)) + 1)
    for piece in pieces:
        left, right, line = piece[0] % COLUMNS - 0.5, piece[-1] % COLUMNS + 0.5, piece[0] // COLUMNS
        x += [left, right, right, left, left, None]
        y += [line - 0.5, line - 0.5, line + 0.5, line + 0.5, line - 0.5, None]
    path = {"type": "scatter", "x": x, "y": y, "mode": "lines", "hoverinfo": "skip", "showlegend": False}
    lines = [path | {"line": {"color": colour, "width": width}} for colour, width in ((_DARK, 5), (_LIGHT, 2))]
    return [*lines, _marks([None], [None], "square", 12, _LIGHT, _EDGE, hoverinfo="skip", name=name)]


def _states(coverage: Coverage, carried: bool, _: Translate) -> list[Drawn]:
    """A sign at the first character of every window: whether its state is carried over or fresh."""
    first = np.flatnonzero(coverage.step == 0)
    continued = (coverage.batch[first] > 0) & carried
    kinds = (
        (~continued, "circle", _("fresh state"), _("row {i}: mini-batch {k} begins with a fresh state")),
        (
            continued,
            "triangle-right",
            _("state carried over"),
            _("row {i}: mini-batch {before} ends, mini-batch {k} begins; the state is carried over"),
        ),
    )
    traces = []
    for chosen, symbol, name, sentence in kinds:
        at = first[chosen]
        x, y = _place(at)
        told = {
            "customdata": np.stack([coverage.row[at] + 1, coverage.batch[at] + 1, coverage.batch[at]], axis=1),
            "hovertemplate": sentence.format(
                i="%{customdata[0]}", k="%{customdata[1]:,d}", before="%{customdata[2]:,d}"
            )
            + "<extra></extra>",
        }
        if len(at):
            traces.append(_marks(x - 0.5, y, symbol, 10, _LIGHT, _EDGE, name=name, meta={"share": 0.42}, **told))
    return traces


def _colour_bar(shades: list[str], count: int) -> Drawn:
    """The colour bar below the text, which maps colours to numbers."""
    place = {"orientation": "h", "thickness": 10, "outlinewidth": 0, "y": 0, "yanchor": "top", "len": 1}
    marker = {
        "color": [1],
        "cmin": 0.5,
        "cmax": count + 0.5,
        "colorscale": [((n + side) / len(shades), shade) for n, shade in enumerate(shades) for side in (0, 1)],
        "showscale": True,
        "colorbar": {**place, "tickvals": [*range(1, count + 1, 1 + (count - 1) // 10)]},
    }
    unseen = {"x": [None], "y": [None], "mode": "markers", "showlegend": False, "hoverinfo": "skip"}
    return {"type": "scatter", **unseen, "marker": marker}


def _time_axis(at: Sequence[int], steps: Sequence[int], most: int, title: str) -> dict[str, Any]:
    """Time steps below the columns, some `most` of them."""
    every = 1 + (len(steps) - 1) // most
    shown = [(x, str(t)) for x, t in zip(at, steps, strict=True) if (t - 1) % every == 0]
    return {
        "tickvals": [x for x, _t in shown],
        "ticktext": [t for _x, t in shown],
        "tickangle": 0,
        "title": {"text": title},
    }


def _grid(
    traces: list[Drawn],
    columns: int,
    rows: int,
    margin: dict[str, int],
    *,
    partner: int = 0,
    xaxis: dict[str, Any] | None = None,
    yaxis: dict[str, Any] | None = None,
    **layout: Any,
) -> Figure:
    """A figure with a grid of cells and the given axes."""
    plain = {"showgrid": False, "zeroline": False, "ticks": ""}
    described = {
        "margin": margin,
        "hovermode": "closest",
        "showlegend": False,
        "xaxis": {**plain, "visible": xaxis is not None, "range": [-0.6, columns - 0.4], **(xaxis or {})},
        "yaxis": {**plain, "visible": yaxis is not None, "range": [rows - 0.4, -0.6], **(yaxis or {})},
        "meta": {"columns": columns, "rows": rows, "partner": partner},
        **layout,
    }
    return {"data": traces, "layout": described}
