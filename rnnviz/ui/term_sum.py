"""A sum with the numbers of its terms, which the browser follows along a slider."""

from __future__ import annotations

import json
from collections.abc import Sequence

from rnnviz.figures.language_model import Line
from rnnviz.ui.charts import Slider
from rnnviz.ui.components import component

_HTML = '<div class="term-sum" role="group"></div>'


def term_sum(
    steps: Sequence[Sequence[Line] | str], colours: Sequence[str], lit: int | None, slider: Slider, *, key: str
) -> None:
    """Show the sum at the slider's value: the total and a line for each term, or words where there is no sum.

    `colours` mark the terms as their bars are marked; that of the total is not drawn. With `lit`, that line is framed
    and only it keeps its colour. KaTeX would make 600 elements of each of up to 200 sums, most of them never seen.
    """
    sums = {"steps": steps, "colours": colours, "lit": lit, "slider": slider.key}
    component("term_sum", _HTML)(data=json.dumps(sums, ensure_ascii=False).encode(), key=key, height="content")
