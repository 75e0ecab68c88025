"""The LSTM with gates held at values: what it writes then, and the effect on perplexity."""

from __future__ import annotations

from rnnviz.ui.frame import Frame
from rnnviz.ui.reading import shipped_models
from rnnviz.ui.run_view import chosen_run
from rnnviz.ui.surgery import show_surgery


def surgery(frame: Frame) -> None:
    """The cell with gates held, and the same text with them and without."""
    show_surgery(
        frame,
        "lstm",
        shipped_models(frame, "lstm") | {"lstm-brackets": frame.translate("Brackets, 64 units")},
        chosen_run(frame),
    )
