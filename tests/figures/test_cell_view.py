"""The data that the browser receives of a cell at work: formulas from the wiring, recorded numbers, predictions."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from rnnviz.analysis.reading import every_layer
from rnnviz.cells import all_cells, cell_of
from rnnviz.config import ModelConfig
from rnnviz.figures.cell_view import MAX_BYTES, cell_page, cell_words, expression, flatten, pack_cell, pack_checkpoints
from rnnviz.i18n import translator
from rnnviz.signals import SIGNALS
from tests.helpers import CELLS, CONFIGS, TEXT, VOCABULARY, make_reading


def unpack(packed: dict[str, Any]) -> np.ndarray:
    return np.frombuffer(base64.b64decode(packed["data"]), "<f4").reshape(packed["shape"])


@CELLS
def test_the_formulas_of_the_wiring_are_the_equations(name: str) -> None:
    """They agree letter by letter: the equations below the drawing come from the graph, and match the cell's record."""
    cell = cell_of(ModelConfig(**CONFIGS[name]))
    for signal, equation in cell.equations.items():
        assert f"{SIGNALS[signal].symbol} = {flatten(expression(cell, signal))}" == equation


@CELLS
def test_every_number_is_the_recorded_one(name: str) -> None:
    """Signals and the weights that a step needs arrive bit for bit; of W_x. only the rows that the text reads."""
    reading = make_reading(name)
    packed = json.loads(json.dumps(pack_cell(reading), allow_nan=False))
    for signal in cell_of(reading.trace).equations:
        np.testing.assert_array_equal(unpack(packed["signals"][signal]["values"]), reading.trace.signal(signal))
    rows = packed["weights"]["rows"]
    ids = VOCABULARY.encode(TEXT)
    assert [row == -1 for row in rows] == [character == "?" for character in TEXT]
    for weight, array in packed["weights"]["arrays"].items():
        w = unpack(array)
        if weight.startswith("W_x"):
            for row, i in zip(rows, ids, strict=True):
                assert row == -1 or np.array_equal(w[row], reading.weights[weight][i])
        else:
            np.testing.assert_array_equal(w, reading.weights[weight])
    assert sorted(packed["order"]) == list(range(6))


@CELLS
def test_the_predictions_are_the_models(name: str) -> None:
    """They are the five likeliest characters in order, the true one, its probability, and its surprise in nats."""
    reading = make_reading(name)
    output = pack_cell(reading)["output"]
    H, W = torch.from_numpy(reading.trace.signal("H")), reading.weights
    P = F.softmax(H @ torch.from_numpy(W["W_hq"]) + torch.from_numpy(W["b_q"]), -1).numpy()
    for t, following in enumerate(TEXT[1:] + "?"):
        best = [VOCABULARY.encode(c)[0] for c in output["characters"][t]]
        np.testing.assert_allclose(unpack(output["probabilities"])[t], P[t][best], rtol=1e-5)
        assert P[t][best].tolist() == sorted(P[t], reverse=True)[:5]
        if following == "?":
            assert output["true"][t] is None
        else:
            assert output["true"][t] == following
            chance = P[t][VOCABULARY.encode(following)[0]]
            assert unpack(output["chance"])[t] == pytest.approx(chance, rel=1e-5)
            assert unpack(output["surprise"])[t] == pytest.approx(-np.log(chance), rel=1e-4)


@pytest.mark.parametrize(("units", "levers"), [(64, True), (256, False)])
def test_two_hundred_characters_fit(units: int, levers: bool) -> None:
    """An LSTM with a Chinese vocabulary stays below the limit; weights that do not fit are left out."""
    text = "".join(chr(0x4E00 + i) for i in range(200))
    packed = pack_cell(make_reading("lstm", text, units))
    assert len(json.dumps(packed)) <= MAX_BYTES
    assert (packed["weights"] is not None) == levers


def test_as_many_checkpoints_are_offered_as_may_be_sent() -> None:
    """The first is among them; their weights arrive bit for bit; a model without levers has none."""
    reading = make_reading("gru-after")
    kept = pack_cell(reading, steps=range(40), last=50)["kept"]
    assert (kept["steps"][0], len(kept["steps"]), kept["last"], kept["arrays"]) == (0, 12, 50, None)
    ((arrays,),) = pack_checkpoints(
        reading, [{**reading.weights, **{f"layer1.forward.{k}": w for k, w in reading.weights.items()}}]
    )
    assert arrays == pack_cell(reading)["weights"]["arrays"]
    large = pack_cell(make_reading("lstm", "".join(chr(0x4E00 + i) for i in range(200)), 64), steps=range(40), last=50)
    sent = len(json.dumps(large["weights"])) * len(large["kept"]["steps"])
    assert 0 < sent <= MAX_BYTES
    assert pack_cell(make_reading("gru-after", num_layers=2), steps=range(40), last=50)["kept"]["steps"] == []


def test_levers_need_a_model_of_one_layer() -> None:
    """The output of several layers depends on more than this cell."""
    assert pack_cell(make_reading("gru-after", num_layers=2))["weights"] is None


@pytest.mark.parametrize("layer", [1, 2])
@pytest.mark.parametrize("direction", ["forward", "backward"])
@CELLS
def test_one_of_two_directions_is_packed_in_the_order_in_which_it_reads(name: str, direction: str, layer: int) -> None:
    """Its equations over the inputs and weights sent come to the signals sent, those of the network's own pass.

    Nothing is predicted, and the output's weights are not sent; checkpoints are there for the first layer.
    """
    reading = make_reading(name, layer=layer, direction=direction, num_layers=2, bidirectional=True)
    packed = json.loads(json.dumps(pack_cell(reading, steps=[5], last=9), allow_nan=False))
    turn = -1 if direction == "backward" else 1
    assert "".join(packed["text"]) == TEXT[::turn]
    assert packed["output"] is None
    assert direction in packed["words"]["said"].lower()
    sent = {key: unpack(signal["values"]) for key, signal in packed["signals"].items()}
    arrays = {key: unpack(array) for key, array in packed["weights"]["arrays"].items()}
    assert arrays.keys().isdisjoint({"W_hq", "b_q"})
    rows = packed["weights"]["rows"]
    read = np.eye(max(rows) + 2, dtype=np.float32)[rows][:, :-1]  # of an unknown character nothing is read
    X = read if layer == 1 else unpack(packed["weights"]["inputs"])
    cell = cell_of(reading.trace)
    before = tuple(np.zeros(reading.hidden_size, np.float32) for _ in cell.state)
    for t, x in enumerate(X):
        step = cell.step(x, before, arrays)
        for key, values in step.items():
            np.testing.assert_allclose(sent[key][t], values, atol=1e-5)
            assert (sent[key] == reading.trace.signal(key, layer, direction)[::turn]).all()
        before = tuple(step[key] for key in cell.state)
    assert packed["kept"]["steps"] == ([5] if layer == 1 else [])
    if layer == 1:
        full = {f"layer1.{direction}.{key}": w for key, w in reading.weights.items()}
        ((kept,),) = pack_checkpoints(reading, [full | dict(reading.weights)])
        assert kept == packed["weights"]["arrays"]
    else:
        assert "layer 1" in packed["words"]["meanings"]["X"]


@pytest.mark.parametrize("layer", [1, 2, 3])
def test_a_cell_of_a_stack_has_what_it_reads_and_what_stands_above_it(layer: int) -> None:
    """The states of all layers, the weights of its own and of those above, and of a later layer the inputs."""
    first = make_reading("lstm", num_layers=3)
    weights = {f"layer{i}.forward.{k}": w + i for i in (1, 2, 3) for k, w in first.weights.items()}
    layers = every_layer(first.trace, weights | dict(first.weights), VOCABULARY)
    packed = json.loads(json.dumps(pack_cell(layers[layer - 1], layers=layers), allow_nan=False))
    assert packed["stack"]["layer"] == layer
    for i, row in enumerate(packed["stack"]["rows"], start=1):
        np.testing.assert_array_equal(unpack(row["signals"]["H"]), first.trace.signal("H", i))
        assert sorted(row["order"]) == list(range(6))
    np.testing.assert_array_equal(unpack(packed["signals"]["F"]["values"]), first.trace.signal("F", layer))
    own, above = packed["weights"]["arrays"], packed["weights"]["above"]
    for arrays, reading in zip([own, *above], layers[layer - 1 :], strict=True):
        np.testing.assert_array_equal(unpack(arrays["W_hf"]), reading.weights["W_hf"])
    if layer > 1:
        np.testing.assert_array_equal(unpack(packed["weights"]["inputs"]), first.trace.signal("H", layer - 1))
        np.testing.assert_array_equal(unpack(own["W_xf"]), layers[layer - 1].weights["W_xf"])
    else:
        assert len(packed["weights"]["rows"]) == len(TEXT)
    words = packed["words"]
    assert (words["above"], words["expected"]) == {
        1: ("to layer 2", "prediction of layer 3"),
        2: ("to layer 3", "prediction of layer 3"),
        3: ("", "next character"),
    }[layer]
    assert words["meanings"]["X"] == (
        "input, one-hot" if layer == 1 else f"input: the hidden state of layer {layer - 1}"
    )
    assert packed["kept"]["steps"] == []


def test_the_view_opens_at_a_unit_that_changes() -> None:
    """A text of one character can also be shown."""
    reading = make_reading("gru-after", "abcdefghijklmnopqrstuvwxyz" * 2)
    packed = pack_cell(reading)
    assert reading.trace.signal("H")[:, packed["unit"]].std() > 0.05
    assert abs(reading.trace.signal("Z")[packed["t"], packed["unit"]] - 0.5) < 0.2
    assert pack_cell(make_reading("lstm", "ab"))["t"] == 1


def test_a_page_keeps_the_text_of_users_out_of_its_html() -> None:
    """Text that looks like the end of a script is data, and arrives unchanged."""
    packed = pack_cell(make_reading("gru-after"))
    page = cell_page(packed, "</title></script><script>", "zh")
    data = page.split('id="data">')[1].split("</script>")[0]
    assert "".join(json.loads(data)["packed"]["text"]) == TEXT
    assert page.count("</script>") == 2
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")


@pytest.mark.parametrize("cell", all_cells(), ids=lambda cell: cell.name)
def test_the_view_speaks_the_readers_language(cell: Any) -> None:
    """Every text differs between the languages, and has the same placeholders."""

    def words(language: str) -> dict[str, str]:
        said = cell_words(cell, translator(language))
        return {
            key: value
            for group in (said, said["boxes"], said["meanings"])
            for key, value in group.items()
            if isinstance(value, str)
        }

    english, chinese = words("en"), words("zh")
    assert [key for key in english if english[key] == chinese[key]] == []


def test_all_cells_of_a_stack_have_every_signal_and_a_checkpoint_every_layer() -> None:
    """The signals of one cell are not sent three times where it alone is drawn; output weights are sent once."""
    first = make_reading("lstm", num_layers=3)
    weights = {f"layer{i}.forward.{k}": w + i for i in (1, 2, 3) for k, w in first.weights.items()}
    weights |= first.weights
    layers = every_layer(first.trace, weights, VOCABULARY)
    packed = pack_cell(layers[0], layers=layers, whole=True, steps=range(3), last=9)
    assert packed["stack"]["whole"]
    for i, row in enumerate(packed["stack"]["rows"], start=1):
        assert row["signals"].keys() == packed["signals"].keys()
        np.testing.assert_array_equal(unpack(row["signals"]["O"]), first.trace.signal("O", i))
    assert packed["kept"]["steps"] == [0, 1, 2]
    assert packed["words"]["above"] == ""
    for layer in (1, 3):
        ((*arrays,),) = pack_checkpoints(layers[layer - 1], [weights])
        assert [("W_hq" in each) for each in arrays] == [n == layer for n in (1, 2, 3)]
        for each, reading in zip(arrays, layers, strict=True):
            np.testing.assert_array_equal(unpack(each["W_hf"]), reading.weights["W_hf"])
