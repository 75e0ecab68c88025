"""The recurrent modules of any torch model: what they computed in one call, and language models taken over from torch.

Forward hooks catch what the modules read and return, for one call only. Our equations replay it in double precision
on the CPU, over the modules' own weights, and must come to the same outputs and states.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from rnnviz.analysis.module_signals import ModuleSignals
from rnnviz.analysis.own_model import find_language_model
from rnnviz.cells import Cell, Signals, State, Weights, find_cell, unpack_trained
from rnnviz.errors import InputError
from rnnviz.nn.layers import last_state, scan
from rnnviz.nn.model import LanguageModel

Module = nn.Module
Layers = nn.RNN | nn.GRU | nn.LSTM
Cells = nn.RNNCell | nn.GRUCell | nn.LSTMCell
_TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5, torch.float16: 0.02, torch.bfloat16: 0.1}
_NAMES = "nn.RNN, nn.GRU, nn.LSTM, nn.RNNCell, nn.GRUCell and nn.LSTMCell"


@dataclass(frozen=True)
class _Call:
    """What a module was given and returned, time first, on the CPU in double precision.

    X is (T, B, d) and H (T, B, D h), zeros behind the end of a sequence. `before` and `after` are the state: for each
    of its parts (layers times directions, B, h). `tolerance` is the largest relative difference that the module's
    precision explains.
    """

    X: Tensor
    H: Tensor
    lengths: Tensor
    before: State
    after: State
    tolerance: float

    def continues(self, earlier: _Call) -> bool:
        """Whether this call goes on from where an earlier one ended, as in the loop of a decoder."""
        one_direction = earlier.after[0].shape[-1] == earlier.H.shape[-1]
        return (
            one_direction
            and bool((earlier.lengths == len(earlier.X)).all())
            and all(map(torch.equal, self.before, earlier.after))
        )


def replay(model: nn.Module, *inputs: Any, **kwargs: Any) -> dict[str, ModuleSignals]:
    """Call `model(*inputs, **kwargs)` once, and return the signals of all its recurrent modules; see `trace_module`."""
    modules: dict[str, Layers | Cells] = {
        name or type(module).__name__: module
        for name, module in model.named_modules()
        if isinstance(module, Layers | Cells)
    }
    if not modules:
        raise InputError("{model} has no recurrent module; known are {names}", model=type(model).__name__, names=_NAMES)
    calls: dict[str, list[tuple[_Call, ModuleSignals]]] = {name: [] for name in modules}

    def catch(name: str, module: Layers | Cells, args: Any, kwargs: Any, output: Any) -> None:
        calls[name].append(_replay(name, module, args, kwargs, output))

    with ExitStack() as hooks:
        for name, module in modules.items():
            hooks.callback(module.register_forward_hook(partial(catch, name), with_kwargs=True).remove)
        model(*inputs, **kwargs)
    if not any(calls.values()):
        raise InputError(
            "the model called none of its recurrent modules ({names}), or called their forward directly",
            names=", ".join(modules),
        )
    sequences = [
        replace(sequence, name=name if i == 1 else f"{name}#{i}")
        for name, made in calls.items()
        for i, sequence in enumerate(_joined(made), start=1)
    ]
    return {sequence.name: sequence for sequence in sequences}


def _joined(calls: list[tuple[_Call, ModuleSignals]]) -> list[ModuleSignals]:
    """The calls of a module as sequences: those that continue one another are one, its steps those of all."""
    sequences: list[list[tuple[_Call, ModuleSignals]]] = []
    for call, signals in calls:
        going_on = next((sequence for sequence in sequences if call.continues(sequence[-1][0])), None)
        if going_on is None:
            sequences.append([(call, signals)])
        else:
            going_on.append((call, signals))
    return [_in_a_row([signals for _, signals in sequence]) for sequence in sequences]


def _in_a_row(parts: list[ModuleSignals]) -> ModuleSignals:
    first = parts[0]
    return replace(
        first,
        signals={name: np.concatenate([part.signals[name] for part in parts]) for name in first.signals},
        inputs=np.concatenate([part.inputs for part in parts]),
        lengths=tuple(map(sum, zip(*(part.lengths for part in parts), strict=True))),
        largest_difference=max(part.largest_difference for part in parts),
    )


@torch.no_grad()
def _replay(name: str, module: Layers | Cells, args: Any, kwargs: Any, output: Any) -> tuple[_Call, ModuleSignals]:
    """One call of a module, and the signals that our equations find for it.

    Raises InputError where they do not lead to the module's own output and state.
    """
    layers = getattr(module, "num_layers", 1)
    if isinstance(module, Layers) and module.training and module.dropout and layers > 1:
        raise InputError(
            "{name} is in training mode and drops out what its layers hand on, at random inside torch, so it cannot "
            "be replayed; call model.eval() first",
            name=name,
        )
    cell, call = _cell(module), _caught(module, args, kwargs, output)
    X, differences = call.X, []
    signals: dict[str, Tensor] = {}
    weights: dict[str, Tensor] = {}
    initial: dict[str, Tensor] = {}
    directions = ("forward", "backward")[: 2 if getattr(module, "bidirectional", False) else 1]
    for i in range(layers):
        hidden = []
        for direction in directions:
            at, key = len(signals) // len(cell.equations), f"layer{i + 1}.{direction}"
            backward = direction == "backward"
            W = _weights(cell, module, f"_l{i}" if isinstance(module, Layers) else "", "_reverse" if backward else "")
            before = tuple(S[at] for S in call.before)
            own = scan(cell, X, before, W, backward=backward, lengths=call.lengths)
            ended = last_state(cell, own, backward=backward)
            differences += [_difference(S, told[at]) for S, told in zip(ended, call.after, strict=True)]
            hidden.append(own["H"])
            signals |= {f"{key}.{signal}": own[signal] for signal in cell.equations}
            weights |= {f"{key}.{weight}": value for weight, value in W.items()}
            initial |= {f"{key}.{state}": S for state, S in zip(cell.state, before, strict=True)}
        X = torch.cat(hidden, dim=-1)
    beyond = (torch.arange(len(X)).unsqueeze(1) >= call.lengths).unsqueeze(-1)
    largest = max(_difference(X.masked_fill(beyond, 0), call.H), *differences)
    if largest > call.tolerance:
        raise InputError(
            "the equations differ from what {name} returned by {difference:.1e}; allowed in its precision: "
            "{tolerance:.0e}. Its class computes something else, or rounding has grown over many steps: then "
            "model.double() helps",
            name=name,
            difference=largest,
            tolerance=call.tolerance,
        )
    exact = call.tolerance == _TOLERANCE[torch.float64]
    to_array = partial(_array, exact=exact)
    return call, ModuleSignals(
        name=name,
        module=repr(module),
        record=cell,
        signals={key: to_array(value.masked_fill(beyond, torch.nan)) for key, value in signals.items()},
        inputs=to_array(call.X),
        initial={key: to_array(value) for key, value in initial.items()},
        weights={key: to_array(value) for key, value in weights.items()},
        lengths=tuple(call.lengths.tolist()),
        largest_difference=largest,
    )


def _array(value: Tensor, *, exact: bool) -> NDArray[Any]:
    array: NDArray[Any] = value.to(torch.float64 if exact else torch.float32).numpy()
    return array


def _caught(module: Layers | Cells, args: Any, kwargs: Any, output: Any) -> _Call:
    """A call in one form, however it was made."""
    given, state = _given(*args, **kwargs)
    if isinstance(module, Layers):
        returned, after = output
        swapped = module.batch_first
    else:  # a cell reads one step
        after = output
        returned = output[0] if isinstance(output, tuple) else output
        given, returned, swapped = given.unsqueeze(0), returned.unsqueeze(0), False
    own = _as_state(after, module)
    if isinstance(given, PackedSequence):
        X, lengths = pad_packed_sequence(_widened(given))
        H, _ = pad_packed_sequence(_widened(returned))
        kinds = [given.data.dtype, returned.data.dtype]
    else:
        X, H = (_with_batch(_double(tensor), swapped) for tensor in (given, returned))
        lengths = torch.full((X.shape[1],), len(X))
        kinds = [given.dtype, returned.dtype]
    before = tuple(map(torch.zeros_like, own)) if state is None else _as_state(state, module)
    kinds += [parameter.dtype for parameter in module.parameters()]
    tolerance = max(_TOLERANCE.get(kind, 0.0) for kind in kinds)
    if returned.data.is_cuda and torch.backends.cudnn.allow_tf32 and tolerance == _TOLERANCE[torch.float32]:
        tolerance = _TOLERANCE[torch.float16]  # TF32 has the same ten bits
    return _Call(X, H, lengths, before, own, tolerance)


def _given(input: Tensor | PackedSequence, hx: Any = None) -> tuple[Any, Any]:
    """The arguments of every recurrent module's forward."""
    return input, hx


def _double(tensor: Tensor) -> Tensor:
    """A copy in double precision on the CPU, since a model may write into the tensor later."""
    return tensor.detach().to("cpu", copy=True).double()


def _widened(packed: PackedSequence) -> PackedSequence:
    indices = (packed.sorted_indices, packed.unsorted_indices)
    return PackedSequence(_double(packed.data), packed.batch_sizes, *(i if i is None else i.cpu() for i in indices))


def _with_batch(tensor: Tensor, batch_first: bool = False) -> Tensor:
    """Time first, with a batch dimension."""
    if tensor.dim() == 2:
        return tensor.unsqueeze(1)
    return tensor.transpose(0, 1) if batch_first else tensor


def _as_state(state: Any, module: Layers | Cells) -> State:
    """A state as the cell has it: for each part (layers times directions, B, h)."""
    parts = state if isinstance(state, tuple) else (state,)
    if isinstance(module, Cells):
        parts = tuple(part.unsqueeze(0) for part in parts)
    return tuple(_with_batch(_double(part)) for part in parts)


def _cell(module: Layers | Cells) -> Cell:
    """The equations that a module computes."""
    if isinstance(module, nn.LSTM | nn.LSTMCell):
        return _projected(find_cell("lstm")) if getattr(module, "proj_size", 0) else find_cell("lstm")
    if isinstance(module, nn.GRU | nn.GRUCell):
        return find_cell("gru", "after-bias")
    return find_cell("rnn", activation="relu" if module.nonlinearity == "relu" else "tanh")


def _projected(cell: Cell) -> Cell:
    """The LSTM with a projected hidden state, H_t = (O_t * tanh(C_t)) W_hp (Sak et al. 2014)."""

    def update(X: Any, state: State, W: Weights, gates: Signals) -> Signals:
        signals = cell.update(X, state, W, gates)
        return {**signals, "H": signals["H"] @ W["W_hp"]}

    return replace(cell, update=update)


def _weights(cell: Cell, module: nn.Module, layer: str, reverse: str) -> dict[str, Tensor]:
    """A layer's and direction's weights by their textbook names, and W_hp (h, proj_size) of a projection."""

    def parameter(kind: str) -> Tensor:
        return _double(getattr(module, f"{kind}{layer}{reverse}"))

    W_x, W_h = parameter("weight_ih"), parameter("weight_hh")
    biases = [parameter(kind) if module.bias else W_x.new_zeros(len(W_x)) for kind in ("bias_ih", "bias_hh")]
    weights: dict[str, Tensor] = unpack_trained(cell, W_x, W_h, *biases)
    return weights | ({"W_hp": parameter("weight_hr").T} if getattr(module, "proj_size", 0) else {})


def _difference(ours: Tensor, own: Tensor) -> float:
    """The largest difference, relative to the largest of `own` where that is above 1; 0 where there are no numbers.

    NaN differs from NaN by 0.
    """
    ours, own = ours.nan_to_num(), own.nan_to_num()
    return float((ours - own).abs().max() / own.abs().max().clamp(min=1)) if own.numel() else 0.0


def from_torch(module_or_state_dict: Module | Mapping[str, Tensor]) -> LanguageModel:
    """A character model of torch as one of ours: an embedding or none, an nn.RNN, nn.GRU or nn.LSTM, a linear layer.

    The parts are found by their shapes. The vocabulary stays in the order of the model's ids, while ours sort theirs. A
    module is only looked at, not called: what its forward does besides cannot be seen. Of an nn.RNN in a state dict,
    which does not tell, the activation is taken to be tanh. Raises InputError with what was expected and what is there.
    """
    module = module_or_state_dict if isinstance(module_or_state_dict, nn.Module) else None
    state = module.state_dict() if module else dict(module_or_state_dict)  # type: ignore[arg-type]
    own = [m for m in module.modules() if isinstance(m, nn.RNN)] if module else []
    arrays = {name: _double(value).numpy() for name, value in state.items()}
    config, weights = find_language_model(arrays, "relu" if own and own[0].nonlinearity == "relu" else "tanh")
    model = LanguageModel(config, len(weights["b_q"]))
    if all(value.dtype == torch.float64 for value in state.values()):
        model = model.double()
    model.load_weights({name: torch.from_numpy(value) for name, value in weights.items()})
    return model
