"""Figures as the browser receives them."""

from __future__ import annotations

import json
from typing import Any

from rnnviz.ui.charts import Chart, pack


def packed(figure: Any) -> dict[str, Any]:
    """A figure as the browser receives it."""
    return dict(json.loads(pack(Chart(figure, "chart", "", 300))))
