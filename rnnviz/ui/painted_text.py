"""A text on the colours of a unit, or with some of its characters marked: a component that wraps like text."""

from __future__ import annotations

import json
from collections.abc import Sequence

from rnnviz.figures.kit import visible
from rnnviz.ui.components import component

_HTML = '<div class="painted-text" role="group" tabindex="0"></div>'


def painted_text(
    text: str,
    *,
    key: str,
    label: str,
    colours: Sequence[tuple[str, str]] | None = None,
    titles: Sequence[str] | None = None,
    marks: Sequence[bool] | None = None,
    plain_spaces: bool = False,
) -> None:
    """Show a text; each character may have a background and ink of its own, a title, and a mark.

    Spaces are shown as ␣, unless `plain_spaces` are wanted.
    """
    characters = [c if c == " " and plain_spaces else shown for c, shown in zip(text, visible(text), strict=True)]
    shown = {"label": label, "characters": characters, "colours": colours, "titles": titles, "marks": marks}
    component("painted_text", _HTML)(data=json.dumps(shown).encode(), key=key, height="content")
