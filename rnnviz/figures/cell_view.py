"""A cell at work on a text, packed for the browser, which draws and plays it without the server. No Streamlit here.

`static/cell_view.js` reads what `pack_cell` returns. The drawing and the equations below it both come from
the wiring in the cell's record, so neither can differ from what the code computes.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnviz.analysis.reading import Reading, every_layer
from rnnviz.cells import Cell, Node, Op, cell_of
from rnnviz.errors import InputError
from rnnviz.figures.kit import COLOURS, DIVERGING, SATURATION, SEQUENTIAL, UNBOUNDED, visible
from rnnviz.i18n import Translate
from rnnviz.runs.recording import Array, order_by_similarity
from rnnviz.signals import SIGNALS

MAX_BYTES = 2_000_000
MAX_CHECKPOINTS = 12
MAX_CHARACTERS = 2_000
MAX_NUMBERS = 2_000_000
CELL_PLACE = '<div class="cell-view"><div class="cv-stage"></div><div class="cv-rest"></div></div>'
_LIKELIEST = 5
_FIRST_SCREEN = range(8, 30)
_STATIC = Path(__file__).resolve().parent.parent / "ui" / "static"
_PARTS = ("wiring", "places", "ribbons", "text", "drawing", "heatmap", "stack", "layers", "view")
# The gate to hold first, and the value at which the state no longer follows the text.
_LEVERS: dict[str, tuple[str, int]] = {"gru": ("Z", 1), "mingru": ("Z", 1), "lstm": ("F", 0)}
_INPUTS = {"X": "Xₜ", "H_before": "Hₜ₋₁", "C_before": "Cₜ₋₁"}
_OUTPUT = ("W_hq", "b_q")
_FUNCTIONS = {"sigma": "σ", "tanh": "tanh", "relu": "ReLU"}

Expression = dict[str, Any]
"""A formula as a tree: `parts` are strings and expressions. A leaf has its `text`. What has a number of its own
names it: the `node`, or a product of the node with a `weight`, or the weight alone. `closed` is set where the
number stands for the whole, as 0.08 does for (1 − 0.92)."""


def pack_cell(
    reading: Reading,
    translate: Translate = str,
    *,
    revision: str = "",
    steps: Sequence[int] = (),
    last: int | None = None,
    layers: Sequence[Reading] = (),
    whole: bool = False,
    written: int | None = None,
) -> dict[str, Any]:
    """A reading as one dictionary for JSON: the wiring, every signal, the predictions, and the weights for levers.

    `steps` are those of the checkpoints kept before the `last`; where the weights are there, a slider covers as many of
    them as may be sent. Their weights come from `pack_checkpoints`.

    Numbers are sent as the float32 that was recorded. A view keeps its place as long as `revision` is the same.
    The weights are left out where they would exceed MAX_BYTES, and for models of several layers of one direction,
    whose output depends on more than this cell.

    Of two directions one is drawn, in the order in which it reads: backward, from the text's end. Nothing is predicted
    beside it, because a prediction needs the states of both; its own states need no more than its weights and inputs.
    The slider is there for its first layer, whose inputs are the same at every checkpoint.

    From the character `written` on, the first being 0, the text is what the model wrote itself.

    With `layers`, the readings of all layers of a network of one direction, the lowest first, the view shows their
    hidden states below the cell. The weights are then there for each layer. With `whole` it shows the cells of all of
    them, small and without numbers, one over the other; the reading is then that of the first.
    """
    trace, cell, turn = reading.trace, cell_of(reading.trace), _turn(reading)
    values = {name: trace.signal(name, reading.layer, reading.direction)[turn] for name in cell.equations}
    words = cell_words(cell, translate) | (_words_of_one(reading, translate) if _is_one_of_two(reading) else {})
    packed = _pack(cell, visible(trace.text[turn]), values, words, translate) | {
        "revision": revision,
        "written": written,
        "output": None if _is_one_of_two(reading) else _output(reading),
        "kept": {"steps": [], "last": last, "arrays": None},
    }
    if layers:
        packed["stack"] = _stack(reading.layer, layers, whole=whole)
        packed["words"] = packed["words"] | _stack_words(layers[-1] if whole else reading, translate)
    if layers or trace.num_layers == 1 or _is_one_of_two(reading):
        weights = _weights(reading) | {"above": [_arrays(above) for above in layers[reading.layer :]]}
        packed["weights"] = _if_it_fits(packed, weights)
    if packed["weights"] and (reading.layer == 1 or layers):
        count = min(len(steps), MAX_CHECKPOINTS, MAX_BYTES // len(json.dumps(packed["weights"])))
        packed["kept"]["steps"] = [steps[int(i)] for i in np.linspace(0, len(steps), count, endpoint=False)]
    return packed


def pack_sequence(
    cell: Cell,
    labels: Sequence[str],
    values: Mapping[str, Array],
    X: Array,
    before: Mapping[str, Array],
    weights: Mapping[str, Array],
    translate: Translate = str,
) -> dict[str, Any]:
    """The same for a cell that read vectors, such as one in another model: nothing is predicted here.

    `labels` name the T steps, `values` are the signals (T, h) and X the inputs (T, d), both in the order in which they
    were read; `before` is the state (h,) before the first step. The weights are left out where they would exceed
    MAX_BYTES. Raises InputError for more numbers than a browser should draw.
    """
    check_size(cell, values["H"].shape[1], len(labels))
    words = cell_words(cell, translate)
    words["meanings"]["X"] = translate("input vector")
    words["said"] = translate("Step {t} of {length} reads {character}. Unit {unit}: {values}.")
    packed = _pack(cell, visible(labels), values, words, translate) | {
        "output": None,
        "start": {name: packed_array(state) for name, state in before.items()},
    }
    arrays = {name: packed_array(w) for name, w in weights.items()}
    packed["weights"] = _if_it_fits(packed, {"inputs": packed_array(X), "arrays": arrays})
    return packed


def _is_one_of_two(reading: Reading) -> bool:
    """Whether the reading is of a direction beside which there is another."""
    return len(reading.trace.directions) > 1


def _turn(reading: Reading) -> slice:
    """The steps in the order in which the direction reads them."""
    return slice(None, None, -1 if reading.direction == "backward" else 1)


def _words_of_one(reading: Reading, translate: Translate) -> dict[str, Any]:
    """What the view says of the cell of one direction, by the words that it replaces."""
    _ = translate
    said = {
        "forward": _("Forward, step {t} of {length} reads {character}. Unit {unit}: {values}."),
        "backward": _("Backward, step {t} of {length} reads {character}. Unit {unit}: {values}."),
    }[reading.direction]
    if reading.layer == 1:
        return {"said": said}
    meanings = cell_words(cell_of(reading.trace), translate)["meanings"]
    below = _("input: the hidden states of layer {n}, both directions").format(n=reading.layer - 1)
    return {"said": said, "meanings": meanings | {"X": below}}


def _pack(
    cell: Cell, labels: list[str], values: Mapping[str, Array], words: Mapping[str, Any], translate: Translate
) -> dict[str, Any]:
    """What every view needs: the wiring, the signals, and how to draw them. There are no weights and no checkpoints."""
    return {
        "revision": "",
        "text": labels,
        "cell": _cell(cell),
        "order": order_by_similarity(values[cell.state[-1]]).tolist(),
        **_start(cell, values),
        "signals": {name: _signal(cell, name, array, translate) for name, array in values.items()},
        "scales": {
            "gate": {"low": 0, "high": 1, "colours": SEQUENTIAL},
            "state": {"low": -1, "high": 1, "colours": DIVERGING},
            "wide": {"low": -SATURATION, "high": SATURATION, "colours": UNBOUNDED},
        },
        "colours": {"input": COLOURS["training"], "output": COLOURS["before"], "true": COLOURS["after"]},
        "words": words,
        "weights": None,
        "kept": {"steps": [], "last": None, "arrays": None},
    }


def _if_it_fits(packed: Mapping[str, Any], weights: dict[str, Any]) -> dict[str, Any] | None:
    return weights if len(json.dumps(packed)) + len(json.dumps(weights)) <= MAX_BYTES else None


def _stack(layer: int, layers: Sequence[Reading], *, whole: bool) -> dict[str, Any]:
    """The hidden states of every layer, or with `whole` all signals, each with its own order of units; `layer` is the
    one whose cell is drawn."""
    names = tuple(cell_of(layers[0].trace).equations) if whole else ("H",)
    rows = [
        {
            "signals": {name: packed_array(each.trace.signal(name, each.layer)) for name in names},
            "order": order_by_similarity(each.trace.signal("H", each.layer)).tolist(),
        }
        for each in layers
    ]
    return {"layer": layer, "whole": whole, "rows": rows, "residual": layers[0].trace.residual}


def _stack_words(reading: Reading, translate: Translate) -> dict[str, Any]:
    """What the view says of a cell that is one of several, by the words that it replaces."""
    _ = translate
    layer, last = reading.layer, reading.trace.num_layers
    words = cell_words(cell_of(reading.trace), translate)
    said = {
        "stack": _("The hidden states of all layers over the text, the last layer on top."),
        "layer": _("layer {n}"),
        "layers": _("Layer"),
        "all_layers": _("all layers"),
        "enlarge": _("Enlarge the cell of layer {n}"),
        "enlarge_one": _("Click a layer to enlarge its cell, with its numbers and equations."),
        "said_whole": _(
            "Step {t} of {length} reads {character}. The likeliest next character is {guess} with {chance}."
        ),
        "above": _("to layer {n}").format(n=layer + 1) if layer < last else "",
    }
    if reading.trace.residual and layer > 1:
        said["above"] = f"Hₜ + Xₜ {said['above']}" if layer < last else "softmax((Hₜ+Xₜ) W_hq+b_q)"
    if layer > 1:
        below = _("input: the hidden state of layer {n}").format(n=layer - 1)
        said["meanings"] = words["meanings"] | {"X": below}
    if layer < last:
        said["expected"] = _("prediction of layer {n}").format(n=last)
    return said


def pack_checkpoints(reading: Reading, checkpoints: Iterable[Mapping[str, NDArray[Any]]]) -> list[list[dict[str, Any]]]:
    """The `kept.arrays` of a packed reading: the weights of each checkpoint, layer by layer, as far as the text needs
    them. The output layer's are with those of the layer that reads.

    With them the browser computes every signal that each checkpoint would have had.
    """
    return [_every_layer(reading, weights) for weights in checkpoints]


def _every_layer(reading: Reading, weights: Mapping[str, NDArray[Any]]) -> list[dict[str, Any]]:
    if _is_one_of_two(reading):
        own = Reading.of(reading.trace, weights, reading.vocabulary, reading.layer, reading.direction)
        return [_arrays(own, _rows(own)[0])]
    packed = []
    for each in every_layer(reading.trace, weights, reading.vocabulary):
        arrays = _arrays(each, _rows(each)[0] if each.layer == 1 else slice(None))
        packed.append({k: w for k, w in arrays.items() if each.layer == reading.layer or k not in _OUTPUT})
    return packed


def check_size(cell: Cell, units: int, length: int) -> None:
    """Raises InputError where the page of a cell reading so many characters would be too large for a browser."""
    if length > MAX_CHARACTERS:
        raise InputError(
            "the text has {length:,} characters; allowed: at most {limit:,}", length=length, limit=MAX_CHARACTERS
        )
    numbers = length * units * len(cell.equations)
    if numbers > MAX_NUMBERS:
        raise InputError(
            "{length:,} characters by {units:,} units are {numbers:,} numbers; allowed on a page: at most {limit:,}",
            length=length,
            units=units,
            numbers=numbers,
            limit=MAX_NUMBERS,
        )


def cell_words(cell: Cell, translate: Translate) -> dict[str, Any]:
    """All texts of the view in the reader's language; the browser fills in the {names} in braces."""
    _ = translate
    named = cell.gates or cell.state
    boxes = {name: _(SIGNALS[name].label) for name in named} | {"H_tilde": _("candidate"), "C_tilde": _("candidate")}
    return {
        "stage": _(
            "The cell at work. Left and right step, Shift with right goes one phase, up and down choose a unit."
        ),
        "play": _("Play"),
        "pause": _("Pause"),
        "start": _("To the start"),
        "back": _("Back"),
        "next": _("Next"),
        "speed": _("Steps a second"),
        "per_second": _("{n} steps/s"),
        "unit": _("Unit"),
        "unit_number": _("unit {number}"),
        "keys": _("← → step · Shift → one phase · Space plays"),
        "point": _("Point at a wire, a box or a term; click a lane to choose its unit."),
        "expected": _("next character"),
        "signal": _("Signal"),
        "all_signals": _("All signals"),
        "heatmap": _("units down, characters across; a click chooses both"),
        "training_step": _("Training step"),
        "gates": _("gates"),
        "states": _("states"),
        "others": _("others"),
        "surprise": _("surprise {value} nats"),
        "hold": _("Hold the {gate}"),
        "hold_at": _("Hold the {gate} at {value}"),
        "effect": _("mean surprise {before} → {after} nats"),
        "writes": _("it writes on"),
        "drawn": _("next character, drawn"),
        "said_drawn": _("It wrote {truth}, a surprise of {surprise} nats."),
        "held_all": _("{symbol} held at {value} for all units"),
        "held_one": _("{symbol} held at {value} for unit {unit}"),
        "held_several": _("{symbol} held at {value} for {count} units"),
        "held_span": _(" at steps {first} to {last}"),
        "only_unit": _("only the chosen unit"),
        "only_selected": _("only the {units} selected units at steps {first} to {last}"),
        "select": _("Drag with Shift to select units and steps for the gates’ levers."),
        "release": _("Release"),
        "release_all": _("Release all"),
        "write": _("Write with this"),
        "said": _(
            "Step {t} of {length} reads {character}. Unit {unit}: {values}. "
            "The likeliest next character is {guess} with {chance}."
        ),
        "said_true": _("The true one is {truth}, a surprise of {surprise} nats."),
        "boxes": boxes,
        "meanings": {
            "X": _("input, one-hot"),
            "H_before": _("hidden state one step before"),
            "C_before": _("memory cell one step before"),
            "kept": _("what is kept of the old"),
            "opposite": _("share of the new"),
            "written": _("what is written anew"),
            "product": _("what the old state adds"),
            "reset": _("what the reset gate lets through"),
            "squashed": _("memory cell, squeezed between −1 and 1"),
        },
    }


def cell_script() -> str:
    """The component's JavaScript, all parts in one; `showCell(place, packed)` is its entry point."""
    return "\n".join((_STATIC / f"cell_{part}.js").read_text(encoding="utf-8") for part in _PARTS)


def cell_style() -> str:
    return (_STATIC / "cell_view.css").read_text(encoding="utf-8")


def cell_page(packed: Mapping[str, Any], title: str = "rnnviz", language: str = "en") -> str:
    """The cell at work as a standalone HTML page, which plays from a file without a server or a network."""
    data = json.dumps({"title": title, "packed": packed}, allow_nan=False).replace("<", "\\u003c")
    page = (_STATIC / "cell_page.html").read_text(encoding="utf-8")
    parts = {"LANGUAGE": language, "PLACE": CELL_PLACE, "/* STYLE */": cell_style(), "/* SCRIPT */": cell_script()}
    for name, part in parts.items():
        page = page.replace(name, part)
    return page.replace("DATA", data)  # last, so that nothing in the text is taken for a name


def expression(cell: Cell, name: str) -> Expression:
    """The formula of a node; that of a signal is the right side of its equation, in terms of the signals before it."""
    nodes = {node.name: node for node in cell.wiring}
    return {"node": name, "parts": _parts(nodes, nodes[name])}


def flatten(tree: Expression) -> str:
    """A formula as text."""
    return tree["text"] if "text" in tree else "".join(p if isinstance(p, str) else flatten(p) for p in tree["parts"])


def _parts(nodes: Mapping[str, Node], node: Node) -> list[str | Expression]:
    if node.op == "affine":
        terms = [_term(nodes, *pair) for pair in zip(node.inputs, node.weights, strict=False)]
        terms += [{"weight": bias, "text": bias} for bias in node.weights[len(node.inputs) :]]
        return _between(" + ", terms)
    inputs = [_operand(nodes, name, node.op) for name in node.inputs]
    if node.op in _FUNCTIONS:
        return [f"{_FUNCTIONS[node.op]}(", *inputs, ")"]
    return ["1 − ", *inputs] if node.op == "one-minus" else _between({"times": " ⊙ ", "plus": " + "}[node.op], inputs)


def _operand(nodes: Mapping[str, Node], name: str, op: str) -> Expression:
    """An input of a node: a signal by its symbol, another node by its formula, in brackets inside a product."""
    if name in _INPUTS or name in SIGNALS:
        return {"node": name, "text": _INPUTS.get(name) or SIGNALS[name].symbol}
    parts = _parts(nodes, nodes[name])
    if op == "times" and nodes[name].op in ("affine", "plus", "one-minus"):
        return {"node": name, "closed": True, "parts": ["(", *parts, ")"]}
    return {"node": name, "parts": parts}


def _term(nodes: Mapping[str, Node], name: str, weight: str) -> Expression:
    """A summand of an affine node: an input times a matrix, or the input alone."""
    if not weight:
        return _operand(nodes, name, "plus")
    factor = _operand(nodes, name, "times")
    inner = factor["text"] if "text" in factor else f"({flatten(factor)})"
    return {"node": name, "weight": weight, "text": f"{inner} {weight}"}


def _between(sign: str, terms: list[Expression]) -> list[str | Expression]:
    return [part for term in terms for part in (sign, term)][1:]


def _cell(cell: Cell) -> dict[str, Any]:
    """The parts of a cell's record that the browser needs."""
    return {
        "name": cell.name,
        "label": cell.label,
        "gates": list(cell.gates),
        "state": list(cell.state),
        "main": cell.main,
        "lever": _LEVERS.get(cell.name),
        "wiring": [asdict(node) for node in cell.wiring],
        "expressions": {node.name: expression(cell, node.name) for node in cell.wiring},
        "scales": _scales(cell),
    }


def _scales(cell: Cell) -> dict[str, str]:
    """The colour scale that the values of each node need; a product needs the widest of its factors' scales."""
    width = ("gate", "state", "wide")
    scales = {name: "wide" if name in cell.unbounded else "state" for name in cell.state}
    scales |= {f"{name}_before": scale for name, scale in scales.items()}
    of_op: dict[Op, str] = {"affine": "wide", "relu": "wide", "tanh": "state", "sigma": "gate", "one-minus": "gate"}
    for node in cell.wiring:
        widest = max((scales.get(name, "wide") for name in node.inputs), key=width.index)
        scales.setdefault(node.name, of_op.get(node.op, widest))
    return scales


def _start(cell: Cell, values: Mapping[str, Array]) -> dict[str, int]:
    """Where the view opens: at a unit whose state varies and whose gate is often half open, at a step where it is."""
    half_open = values[cell.main] * (1 - values[cell.main]) if cell.gates else np.abs(values["H"])
    unit = int((values["H"].std(axis=0) * half_open.mean(axis=0)).argmax())
    begin = min(_FIRST_SCREEN.start, len(half_open) - 1)
    return {"t": begin + int(half_open[begin : _FIRST_SCREEN.stop, unit].argmax()), "unit": unit}


def _signal(cell: Cell, name: str, values: Array, translate: Translate) -> dict[str, Any]:
    signal = SIGNALS[name]
    return {
        "symbol": signal.symbol,
        "label": translate(signal.label),
        "colour": signal.colour,
        "gate": name in cell.gates,
        "values": packed_array(values),
    }


def _output(reading: Reading) -> dict[str, Any]:
    """The likeliest next characters at every step, the true one, its probability and its surprise in nats.

    `true` is null where there is no next character or the model does not know it; its numbers are 0 there.
    """
    log_P, characters = reading.log_probabilities(), visible(reading.vocabulary.characters)
    best = np.argsort(-log_P, axis=1, kind="stable")[:, :_LIKELIEST]
    following = np.append(reading.vocabulary.encode(reading.trace.text)[1:], -1)
    known, rows = following >= 0, np.arange(len(log_P))
    of_true = np.where(known, log_P[rows, following], 0)
    return {
        "characters": [[characters[i] for i in row] for row in best],
        "probabilities": packed_array(np.exp(np.take_along_axis(log_P, best, axis=1))),
        "true": [characters[i] if i >= 0 else None for i in following],
        "chance": packed_array(np.where(known, np.exp(of_true), 0)),
        "surprise": packed_array(-of_true),
    }


def _weights(reading: Reading) -> dict[str, Any]:
    """The weights that a step needs. In the first layer, W_x. have only the rows that the text reads, and `rows` has
    the row of each step. In a later layer `inputs` has what the layer below handed over."""
    read, rows = _rows(reading)
    packed = {"rows": rows.tolist(), "characters": visible(reading.vocabulary.characters)}
    if reading.layer > 1:
        inputs = packed_array(reading.outputs(reading.layer - 1)[_turn(reading)])
        return packed | {"inputs": inputs, "arrays": _arrays(reading)}
    return packed | {"arrays": _arrays(reading, read)}


def _rows(reading: Reading) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Which rows of the W_x. the text reads, and which of these each step takes; −1 for an unknown character."""
    ids = reading.vocabulary.encode(reading.trace.text)[_turn(reading)]
    read = np.unique(ids[ids >= 0])
    return read, np.where(ids >= 0, np.searchsorted(read, ids), -1)


def _arrays(reading: Reading, read: NDArray[np.intp] | slice = slice(None)) -> dict[str, Any]:
    needed = {k: w for k, w in reading.weights.items() if not (_is_one_of_two(reading) and k in _OUTPUT)}
    return {name: packed_array(w[read] if name.startswith("W_x") else w) for name, w in needed.items()}


def packed_array(values: NDArray[Any]) -> dict[str, Any]:
    """An array as little-endian float32 in base64, with its shape."""
    return {"data": base64.b64encode(values.astype("<f4").tobytes()).decode("ascii"), "shape": list(values.shape)}
