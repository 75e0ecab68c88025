"""Backpropagation through time by hand: every cell's forward and backward pass, with all gates kept.

The forward pass leaves every signal of every step on a tape, because the backward pass reads them
there; nothing has to be computed again to be shown. The gates' weights are packed side by side, so a
step has one product with W_h, and the input's part of all steps is computed at once; in the
first layer by looking up rows of W_x, since a one-hot vector times a matrix is a row of it.

In the backward pass, each local derivative that does not depend on the future is
computed for all steps at once (`Q` below); for each step it remains to multiply the adjoint
into it and to carry the result one step back. The weights' gradients are one product over all
steps. Everything is time first, (T, B, ...), with h hidden units and G gates.

Buffers are allocated once per shape and reused: a tape is valid until the same layer's
next forward pass of the same shape.
"""
