"""All gates of the recurrent modules in any torch model, in one line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rnnviz.figures.module_trace import ModuleTrace

if TYPE_CHECKING:
    from rnnviz.nn.modules import Module


def trace_module(model: Module, *inputs: Any, **kwargs: Any) -> dict[str, ModuleTrace]:
    """Call `model(*inputs, **kwargs)` once, and return every signal of every recurrent module in it.

    The modules are nn.RNN, nn.GRU, nn.LSTM and their cells, wherever they are in the model; the keys are their names
    in `model.named_modules()`, or the name of the class if the model is such a module itself. What a module was given
    is caught by a forward hook, which is gone when the call has ended, in whatever way. Our equations then replay it
    over the module's own weights.

    A module that is called several times has one trace for each sequence that it read: a call that starts from the
    state at which an earlier one ended goes on with its sequence, as in the loop of a decoder, and each other call
    begins a new one. The second has the key `name#2`, and so on. A module that was not called has none.

    Signs and names differ between frameworks. Z near 1 keeps the old state, as in torch and Keras; in Chung et al.
    (2014) it is one minus this. torch calls H_tilde n, and C_tilde g. An LSTM with `proj_size` has all its signals
    but no drawing of its cell, since its hidden state has other units than its gates.

    Raises InputError where there is no recurrent module or none was called; where a module drops out what its layers
    hand on, because it is in training mode; and where the replay differs from the module's own output or state by
    more than 1e-12 in float64, 1e-5 in float32, 0.02 in float16, or 0.1 in bfloat16, relative to the largest value
    where that is above 1. On CUDA float32 has float16's 0.02 as long as torch.backends.cudnn.allow_tf32 is True,
    which it is by default, because cuDNN then multiplies with ten bits.
    """
    from rnnviz.nn.modules import replay

    return {name: ModuleTrace(**vars(signals)) for name, signals in replay(model, *inputs, **kwargs).items()}
