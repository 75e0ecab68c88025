"""The picture of the two reset gates shows the difference of their states."""

from __future__ import annotations

import numpy as np

from rnnviz.analysis.holding import with_reset
from rnnviz.figures.gru import reset_figure
from tests.helpers import TEXT, make_reading


def test_units_are_rows_and_characters_are_columns() -> None:
    """Each difference is at its unit and its step."""
    after = make_reading("gru-after")
    before = with_reset(after, "before")
    heatmap = reset_figure(after, before)["data"][0]
    difference = after.trace.signal("H") - before.trace.signal("H")
    assert np.abs(difference).max() > 0.01
    assert difference.shape == (len(TEXT), 6)
    np.testing.assert_array_equal(heatmap["z"], difference[:, list(map(int, heatmap["y"]))].T)
