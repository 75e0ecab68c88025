"""Which models the Deep page shows, and how it trains others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rnnviz.analysis.deep import BETWEEN, DEPTHS, deep_config
from rnnviz.runs.folder import Run
from rnnviz.ui.controls import pick
from rnnviz.ui.forms import small_training
from rnnviz.ui.frame import Frame

MOST_LAYERS = 4


def shipped_models(frame: Frame) -> dict[str, str]:
    """The runs in `data/` that the page opens on, the reader's language first."""
    _ = frame.translate
    tales, lyrics = {"deep-en": _("Tales, 3 layers")}, {"deep-zh": _("Song lyrics, 3 layers")}
    return lyrics | tales if frame.language == "zh" else tales | lyrics


def train(frame: Frame) -> Run | None:
    """Train a network of one to four layers, with what stands between them; returns the visitor's own."""
    variants = {layers: (layers, deep_config(layers)) for layers in DEPTHS}
    return small_training(
        frame, frame.translate("Layers"), variants, lambda row: _choose_between(frame, row), default="3"
    )


def _choose_between(frame: Frame, row: Any) -> Mapping[str, Any]:
    """What stands between the layers: nothing, residual connections, dropout, or both."""
    _ = frame.translate
    names = {
        "plain": _("nothing"),
        "residual": _("residual"),
        "dropout": _("dropout {share}").format(share=f"{BETWEEN['dropout']['dropout']:g}"),
        "both": _("both"),
    }
    return BETWEEN[pick(row, _("Between layers"), tuple(names), "between", names.__getitem__)]
