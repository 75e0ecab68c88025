"""Recurrent modules of any torch model, traced: against torch itself, over a grid of all its options."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

import rnnviz
from rnnviz.errors import InputError
from rnnviz.figures.module_trace import ModuleTrace
from rnnviz.nn.modules import replay

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
T, B, D, UNITS = 6, 3, 4, 5
KINDS: dict[str, Callable[..., nn.RNNBase]] = {
    "RNN": nn.RNN,
    "ReLU": lambda *sizes, **options: nn.RNN(*sizes, nonlinearity="relu", **options),
    "GRU": nn.GRU,
    "LSTM": nn.LSTM,
    "LSTM, proj_size": lambda *sizes, **options: nn.LSTM(*sizes, proj_size=2, **options),
}
CELLS: dict[str, Callable[..., nn.RNNCellBase]] = {
    "RNNCell": nn.RNNCell,
    "ReLU": lambda d, h, **options: nn.RNNCell(d, h, nonlinearity="relu", **options),
    "GRUCell": nn.GRUCell,
    "LSTMCell": nn.LSTMCell,
}
# layers, both directions, biases, a given state: each value with each of the others
OPTIONS = ((1, False, True, False), (1, True, False, True), (2, True, True, False), (2, False, False, True))
INPUTS = ("time first", "batch first", "no batch", "packed, unequal lengths", "packed, batch first, unsorted")
EXACT = {torch.float64: 1e-12, torch.float32: 1e-5}


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def make_inputs(module: nn.RNNBase, axes: str, dtype: torch.dtype, *, with_state: bool) -> tuple[Any, ...]:
    """An input in the form named, and a random state if asked for."""
    X = torch.randn(T, D, dtype=dtype) if axes == "no batch" else torch.randn(T, B, D, dtype=dtype)
    if module.batch_first:
        X = X.transpose(0, 1)
    x: Any = X
    if axes.startswith("packed"):
        lengths = torch.tensor([2, T, 1] if "unsorted" in axes else [T, 2, 1])
        x = pack_padded_sequence(X, lengths, batch_first=module.batch_first, enforce_sorted="unsorted" not in axes)
    if not with_state:
        return (x,)
    rows, batch = module.num_layers * (1 + module.bidirectional), () if axes == "no batch" else (B,)
    sizes = (module.proj_size or UNITS, UNITS) if isinstance(module, nn.LSTM) else (UNITS,)
    state = tuple(torch.randn(rows, *batch, size, dtype=dtype) for size in sizes)
    return x, state if len(state) == 2 else state[0]


def padded(output: Any, module: nn.RNNBase) -> Any:
    """A module's output as (T, B, D h)."""
    if isinstance(output, PackedSequence):
        return pad_packed_sequence(output)[0]
    if output.dim() == 2:
        return output.unsqueeze(1)
    return output.transpose(0, 1) if module.batch_first else output


def check(module: nn.RNNBase, trace: ModuleTrace, inputs: tuple[Any, ...], tolerance: float) -> None:
    """The hidden states are torch's output, NaN behind the end of a sequence, and the gates lie in their range."""
    with torch.no_grad():
        output = padded(module(*inputs)[0], module).double().numpy()
    directions = ("forward", "backward")[: 1 + module.bidirectional]
    ours = np.concatenate([trace.signal("H", module.num_layers, direction) for direction in directions], axis=-1)
    for b, length in enumerate(trace.lengths):
        np.testing.assert_allclose(ours[:length, b], output[:length, b], rtol=tolerance, atol=tolerance)
        assert np.isnan(ours[length:, b]).all()
    assert trace.largest_difference <= tolerance
    assert len(trace.signals) == module.num_layers * len(directions) * len(trace.record.equations)
    for gate in trace.record.gates:
        values = trace.signal(gate, module.num_layers)
        assert (np.nanmin(values) >= 0) & (np.nanmax(values) <= 1)


@pytest.mark.parametrize("axes", INPUTS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_option_of_torchs_layers(kind: str, axes: str, record_property: Callable[[str, object], None]) -> None:
    """The signals lead to torch's outputs, in both precisions; the largest difference of the grid is recorded."""
    largest = dict.fromkeys(EXACT, 0.0)
    for (layers, both, bias, with_state), dtype in product(OPTIONS, EXACT):
        options = {"num_layers": layers, "bidirectional": both, "bias": bias, "dropout": 0.5 if layers > 1 else 0.0}
        module = KINDS[kind](D, UNITS, batch_first="batch first" in axes, **options).to(dtype).eval()
        inputs = make_inputs(module, axes, dtype, with_state=with_state)
        (trace,) = rnnviz.trace_module(module, *inputs).values()
        check(module, trace, inputs, EXACT[dtype])
        assert trace.signal("H").dtype == (np.float64 if dtype == torch.float64 else np.float32)
        largest[dtype] = max(largest[dtype], trace.largest_difference)
    for dtype, difference in largest.items():
        record_property(str(dtype).removeprefix("torch."), f"{difference:.1e}")


@pytest.mark.parametrize("kind", CELLS)
def test_every_option_of_torchs_cells(kind: str, record_property: Callable[[str, object], None]) -> None:
    """A cell that is called once is a sequence of one step."""
    for bias, batch, with_state, dtype in product((False, True), ((), (B,)), (False, True), EXACT):
        module = CELLS[kind](D, UNITS, bias=bias).to(dtype)
        state = torch.randn(2, *batch, UNITS, dtype=dtype)
        hx: Any = tuple(state) if kind == "LSTMCell" else state[0]
        inputs = (torch.randn(*batch, D, dtype=dtype), *((hx,) if with_state else ()))
        (trace,) = rnnviz.trace_module(module, *inputs).values()
        with torch.no_grad():
            output = module(*inputs)
        H = output[0] if kind == "LSTMCell" else output
        np.testing.assert_allclose(trace.signal("H"), H.view(1, -1, UNITS), rtol=EXACT[dtype], atol=EXACT[dtype])
        record_property(str(dtype).removeprefix("torch."), f"{trace.largest_difference:.1e}")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("kind", KINDS)
def test_half_precision(kind: str, dtype: torch.dtype) -> None:
    """It is replayed in double precision, and differs from the module by no more than its rounding."""
    module = KINDS[kind](D, UNITS, num_layers=2, bidirectional=True).to(dtype).eval()
    inputs = make_inputs(module, "time first", dtype, with_state=True)
    (trace,) = rnnviz.trace_module(module, *inputs).values()
    check(module, trace, inputs, 0.02 if dtype == torch.float16 else 0.1)
    assert trace.largest_difference > 1e-5


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize(("dtype", "tf32"), [(torch.float64, True), (torch.float32, True), (torch.float32, False)])
@pytest.mark.parametrize("axes", ["time first", "packed, batch first, unsorted"])
@pytest.mark.parametrize("kind", KINDS)
def test_cuda(kind: str, axes: str, dtype: torch.dtype, tf32: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The module computes on the device, the replay on the CPU. With TF32, torch's default, float32 has ten bits."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", tf32)
    module = KINDS[kind](D, UNITS, num_layers=2, bidirectional=True, batch_first="batch first" in axes)
    (x,) = make_inputs(module, axes, dtype, with_state=False)
    (trace,) = rnnviz.trace_module(module.to("cuda", dtype).eval(), x.to("cuda")).values()
    assert trace.largest_difference <= (0.02 if tf32 and dtype == torch.float32 else EXACT[dtype])


def test_dropout_between_layers_cannot_be_replayed_in_training_mode() -> None:
    """The error names the module and what to do; without dropout, training mode does not matter."""
    model = nn.ModuleDict({"encoder": nn.GRU(D, UNITS, 2, dropout=0.5)})
    model.forward = model["encoder"].__call__
    with pytest.raises(InputError, match=r"encoder is in training mode .* model\.eval\(\)"):
        rnnviz.trace_module(model, torch.randn(T, B, D))
    assert rnnviz.trace_module(nn.GRU(D, UNITS, 2).train(), torch.randn(T, B, D))


# The models of users


def test_the_readme_opens_the_gates_of_any_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its example runs, and its numbers are true."""
    monkeypatch.chdir(tmp_path)
    readme = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")
    (code,) = [block for block in re.findall(r"```python\n(.*?)```", readme, re.DOTALL) if "trace_module" in block]
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102  our own README
    assert names["forget"].shape == (10, 1, 32)
    assert names["heatmap"].layout.xaxis.ticktext[0] == "the"
    assert names["page"].exists()
    assert names["lstm"].largest_difference < 1e-6


class Classifier(nn.Module):
    """Words to classes, as in many tutorials."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(20, D)
        self.lstm = nn.LSTM(D, UNITS, 2, batch_first=True, bidirectional=True, dropout=0.2)
        self.fc = nn.Linear(2 * UNITS, 3)

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        packed = pack_padded_sequence(self.embedding(ids), lengths, batch_first=True, enforce_sorted=False)
        _, (h, _c) = self.lstm(packed)
        scores: Tensor = self.fc(torch.cat([h[-2], h[-1]], -1))
        return scores


class Translator(nn.Module):
    """An encoder and a decoder that reads what it has written, one step a call."""

    def __init__(self, cell: str) -> None:
        super().__init__()
        self.encoder = nn.GRU(D, UNITS, batch_first=True)
        self.decoder = nn.GRUCell(D, UNITS) if cell == "cell" else nn.GRU(D, UNITS, batch_first=True)
        self.out = nn.Linear(UNITS, D)

    def forward(self, X: Tensor, steps: int) -> Tensor:
        _, h = self.encoder(X)
        x, written = X.new_zeros(len(X), D), []
        for _ in range(steps):
            if isinstance(self.decoder, nn.GRUCell):
                h = self.decoder(x, h if h.dim() == 2 else h[0])
                x = self.out(h)
            else:
                out, h = self.decoder(x.unsqueeze(1), h)
                x = self.out(out[:, 0])
            written.append(x)
        return torch.stack(written)


def test_a_classifier() -> None:
    """The gates of both layers and directions of an embedded, packed batch, under the module's name."""
    model, lengths = Classifier().eval(), torch.tensor([3, 6, 4])
    traces = rnnviz.trace_module(model, torch.randint(20, (3, 6)), lengths=lengths)
    assert list(traces) == ["lstm"]
    trace = traces["lstm"]
    assert trace.lengths == (3, 6, 4)
    assert trace.signal("forget gate", layer=2, direction="backward").shape == (6, 3, UNITS)
    assert trace.largest_difference <= 1e-5


@pytest.mark.parametrize("cell", ["cell", "layer"])
def test_an_encoder_and_a_decoder(cell: str) -> None:
    """The decoder's calls, one a step, are one sequence; it begins with the state at which the encoder ended."""
    model = Translator(cell).double()
    traces = rnnviz.trace_module(model, torch.randn(B, T, D, dtype=torch.float64), steps=7)
    assert list(traces) == ["encoder", "decoder"]
    encoder, decoder = traces["encoder"].signal("H"), traces["decoder"]
    assert decoder.signal("Z").shape == (7, B, UNITS)
    assert decoder.lengths == (7,) * B
    np.testing.assert_allclose(decoder.initial["layer1.forward.H"], encoder[-1], atol=1e-12)
    Z, H, candidate = (decoder.signal(name) for name in ("Z", "H", "H_tilde"))
    np.testing.assert_allclose(H[1:], Z[1:] * H[:-1] + (1 - Z[1:]) * candidate[1:], atol=1e-12)


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.LSTM(D, UNITS)
        self.unused = nn.GRU(D, UNITS)

    def forward(self, X: Tensor, Y: Tensor) -> None:
        _, state = self.shared(X)
        self.shared(Y)
        self.shared(X, state)


def test_calls_that_do_not_continue_one_another_are_sequences_of_their_own() -> None:
    """The third call goes on from the first; the second starts anew; a module that is not called has no trace."""
    X, Y = torch.randn(T, B, D), torch.randn(2, B, D)
    traces = rnnviz.trace_module(Twice(), X, Y)
    assert {name: trace.lengths for name, trace in traces.items()} == {"shared": (2 * T,) * B, "shared#2": (2,) * B}
    np.testing.assert_array_equal(traces["shared"].inputs, torch.cat([X, X]))


class Nested(nn.Module):
    """Random layers, one after the other, in modules of modules."""

    def __init__(self, parts: list[tuple[str, int, int, bool]], depth: int) -> None:
        super().__init__()
        d, self.parts = D, nn.ModuleList()
        for kind, units, layers, both in parts:
            module: nn.Module = KINDS[kind](d, units, num_layers=layers, bidirectional=both)
            for _ in range(depth):
                module = nn.Sequential(module)
            self.parts.append(module)
            d = (2 if kind == "LSTM, proj_size" else units) * (1 + both)

    def forward(self, X: Tensor) -> Tensor:
        for part in self.parts:
            X, _ = part(X)
        return X


PARTS = st.tuples(st.sampled_from(list(KINDS)), st.integers(3, 6), st.integers(1, 2), st.booleans())


@settings(max_examples=25, deadline=None)
@given(parts=st.lists(PARTS, min_size=1, max_size=3), depth=st.integers(0, 3), T=st.integers(1, 5), B=st.integers(1, 3))
def test_random_nested_modules(parts: list[tuple[str, int, int, bool]], depth: int, T: int, B: int) -> None:
    """Every recurrent module is found under its name, and the last one's hidden states are the model's output."""
    model, X = Nested(parts, depth).double(), torch.randn(T, B, D, dtype=torch.float64)
    traces = rnnviz.trace_module(model, X)
    assert list(traces) == [f"parts.{i}" + ".0" * depth for i in range(len(parts))]
    last, (_, _, layers, both) = list(traces.values())[-1], parts[-1]
    directions = ("forward", "backward")[: 1 + both]
    H = np.concatenate([last.signal("H", layers, direction) for direction in directions], axis=-1)
    np.testing.assert_allclose(H, model(X).detach(), atol=1e-12)


# Nothing stays behind, and nothing wrong passes


class Failing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.RNN(D, UNITS)

    def forward(self, X: Tensor) -> None:
        self.rnn(X)
        raise ZeroDivisionError


class Other(nn.GRU):
    """Computes something else than a GRU."""

    def forward(self, input: Any, hx: Tensor | None = None) -> Any:
        output, h = super().forward(input, hx)
        return output + 1e-3, h


@pytest.mark.parametrize(
    ("model", "error"), [(Failing(), ZeroDivisionError), (nn.Sequential(Other(D, UNITS)), InputError)]
)
def test_hooks_are_gone_after_an_exception(model: nn.Module, error: type[Exception]) -> None:
    """Whether the model fails or the comparison."""
    with pytest.raises(error):
        rnnviz.trace_module(model, torch.randn(T, B, D))
    assert not any(module._forward_hooks or module._forward_hooks_with_kwargs for module in model.modules())


def test_hooks_are_gone_after_a_trace_and_others_stay() -> None:
    """A user's own hooks are still called, during the trace and after it."""
    model, called = nn.LSTM(D, UNITS), []
    model.register_forward_hook(lambda *_: called.append(1))
    rnnviz.trace_module(model, torch.randn(T, B, D))
    model(torch.randn(T, B, D))
    assert (len(called), len(model._forward_hooks)) == (2, 1)


def test_what_differs_is_refused() -> None:
    """A class of torch's that computes something else, with the difference and what is allowed."""
    with pytest.raises(InputError, match=r"differ from what Other returned by 1\.0e-03; .* 1e-05"):
        rnnviz.trace_module(Other(D, UNITS), torch.randn(T, B, D))


@pytest.mark.parametrize(
    ("model", "reason"),
    [(nn.Linear(D, 2), "Linear has no recurrent module"), (nn.ModuleList([nn.GRU(D, UNITS)]), "called none")],
)
def test_models_without_a_recurrent_call_are_refused(model: nn.Module, reason: str) -> None:
    """The error says what is known."""
    model.__class__ = type(type(model).__name__, (type(model),), {"forward": lambda self, X: X})
    with pytest.raises(InputError, match=reason):
        rnnviz.trace_module(model, torch.randn(T, B, D))


def test_a_model_may_write_into_what_it_gave() -> None:
    """The trace has the numbers of the call, not what the model did with the tensors later."""

    class Overwriting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gru = nn.GRU(D, UNITS)

        def forward(self, X: Tensor) -> None:
            self.gru(X)
            X.zero_()

    X = torch.randn(T, B, D, dtype=torch.float64)
    kept = X.clone()
    (trace,) = replay(Overwriting().double(), X).values()
    np.testing.assert_array_equal(trace.inputs, kept)


def test_nan_can_be_looked_at() -> None:
    """A NaN in the input is one in the signals from its step on, and no error: that is what one wants to see."""
    X = torch.randn(T, 1, D)
    X[3, 0, 0] = torch.nan
    (trace,) = rnnviz.trace_module(nn.LSTM(D, UNITS), X).values()
    assert np.isnan(trace.signal("C")).any(axis=(1, 2)).tolist() == [False] * 3 + [True] * 3


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_may_be_empty(kind: str) -> None:
    """As torch allows it: the trace has signals of no sequence, and its table can be shown."""
    (trace,) = rnnviz.trace_module(KINDS[kind](D, UNITS, bidirectional=True), torch.randn(T, 0, D)).values()
    assert trace.signal("H").shape[:2] == (T, 0)
    assert trace.largest_difference == 0
    assert trace._repr_html_().count("<tr>") == 1 + len(trace.signals)
    with pytest.raises(InputError, match="batch is 0; allowed"):
        trace.figure("H")


# The trace


def traced(kind: str = "GRU", **options: Any) -> ModuleTrace:
    module = KINDS[kind](D, UNITS, **options).double()
    (trace,) = rnnviz.trace_module(module, *make_inputs(module, "time first", torch.float64, with_state=True)).values()
    return trace


def test_signals_have_symbols_and_names() -> None:
    """All three ways to write a signal are the same array; the error lists those that are there."""
    trace = traced()
    assert trace.signal("Z") is trace.signal("Zₜ") is trace.signal("update gate")
    with pytest.raises(InputError, match=r"GRU has no signal 'forget gate' .* it has layer1\.forward\.R"):
        trace.signal("forget gate")
    with pytest.raises(InputError, match="layer 2"):
        trace.signal("Z", layer=2)


def test_z_keeps_as_in_torch() -> None:
    """With a large bias of torch's update gate Z is 1, and the state does not change."""
    module = nn.GRU(D, UNITS).double()
    with torch.no_grad():
        dict(module.named_parameters())["bias_ih_l0"][UNITS : 2 * UNITS] = 50
    h = torch.randn(1, B, UNITS, dtype=torch.float64)
    (trace,) = rnnviz.trace_module(module, torch.randn(T, B, D, dtype=torch.float64), h).values()
    np.testing.assert_allclose(trace.signal("Z"), 1)
    np.testing.assert_allclose(trace.signal("H"), h.expand(T, B, UNITS))


@pytest.mark.parametrize("direction", ["forward", "backward"])
@pytest.mark.parametrize("layer", [1, 2])
def test_every_number_of_a_unit_at_a_step(direction: str, layer: int) -> None:
    """Those that are signals are the traced ones, at the first step with the state that was given, and at others."""
    trace = traced("LSTM", num_layers=2, bidirectional=True)
    for t in (0, 2, T - 1):
        values = trace.cell(t, 3, batch=1, layer=layer, direction=direction)
        for name in trace.record.equations:
            assert values[name] == trace.signal(name, layer, direction)[t, 1, 3]
        np.testing.assert_allclose(values["kept"] + values["written"], values["C"])
    first = trace.cell(0 if direction == "forward" else T - 1, 3, batch=1, layer=layer, direction=direction)
    assert first["C_before"] == trace.initial[f"layer{layer}.{direction}.C"][1, 3]


@pytest.mark.parametrize(("where", "reason"), [((T, 0), "t is 6; allowed: 0 to 5"), ((0, -1), "unit is -1")])
def test_numbers_that_are_not_there(where: tuple[int, int], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        traced().cell(*where)


def test_a_figure_of_one_sequence() -> None:
    """Its rows are the units, its columns the steps of that sequence alone, with the labels that were given."""
    module = nn.GRU(D, UNITS).double()
    X = pack_padded_sequence(torch.randn(T, 2, D, dtype=torch.float64), torch.tensor([T, 2]))
    (trace,) = rnnviz.trace_module(module, X).values()
    figure = trace.figure("update gate", batch=1, labels=["the", "end"], order="index")
    np.testing.assert_array_equal(figure.data[0].z, trace.signal("Z")[:2, 1].T)
    assert figure.layout.xaxis.ticktext == ("the", "end")
    assert trace.figure("Z", labels=[f"w{t}" for t in range(T)], batch=1).layout.xaxis.ticktext == ("w0", "w1")
    with pytest.raises(InputError, match="3 labels for the 2 steps"):
        trace.figure("Z", batch=1, labels=["a", "b", "c"])
    with pytest.raises(InputError, match="batch is 2; allowed: 0 to 1"):
        trace.figure("Z", batch=2)


def test_a_projected_lstm_cannot_be_drawn_but_has_signals(tmp_path: Path) -> None:
    """The error says why and what can be used; heatmaps can."""
    trace = traced("LSTM, proj_size")
    with pytest.raises(InputError, match=r"proj_size.*signal and figure"):
        trace.html(tmp_path / "cell.html")
    assert not list(tmp_path.iterdir())
    assert trace.figure("H").data[0].z.shape == (2, T)
    assert trace.figure("F").data[0].z.shape == (UNITS, T)


def test_a_page_of_the_cell(tmp_path: Path) -> None:
    """It has the signals and labels; in the browser test it is played. What cannot be written is told."""
    path = traced("LSTM").html(tmp_path / "cell.html", labels=["<b>", "of", "a", "b", "c", "d"])
    page = path.read_text(encoding="utf-8")
    assert '"output": null' in page
    assert "\\u003cb>" in page
    with pytest.raises(InputError, match="cannot be written"):
        traced("LSTM").html(tmp_path / "none" / "cell.html")
    long = rnnviz.trace_module(nn.GRU(1, 1), torch.zeros(2001, 1, 1))["GRU"]
    with pytest.raises(InputError, match="allowed: at most 2,000"):
        long.html(tmp_path / "long.html")


def test_a_notebook_shows_a_table() -> None:
    """Every signal with its range, escaped; the short form has the largest difference."""
    trace = traced()
    shown = trace._repr_html_()
    assert all(f"<td>{key}</td>" in shown for key in trace.signals)
    assert "keeps the old state, as in torch" in shown
    assert "largest difference" in repr(trace)
    assert "array(" not in repr(trace)
