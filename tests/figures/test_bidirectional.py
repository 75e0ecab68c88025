"""Pictures of the bidirectional chapter: what each frame shows is what was recorded and measured."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import pytest
import torch

from rnnviz.analysis.leak import Leak
from rnnviz.config import ModelConfig
from rnnviz.figures.bidirectional import leak_figures, passes_figures
from rnnviz.nn.future import leak
from rnnviz.nn.model import LanguageModel
from rnnviz.text.corpora import Vocabulary
from tests.helpers import TEXT, make_reading

T = len(TEXT)


def measured(*, bidirectional: bool) -> Leak:
    vocabulary = Vocabulary("abcdefgh")
    config = ModelConfig(hidden_size=4, bidirectional=bidirectional, initialisation="uniform")
    return leak(LanguageModel(config, 8, torch.Generator().manual_seed(1)), vocabulary, "hagfedbbacdbcae")


def test_both_heatmaps_are_the_concatenated_state() -> None:
    """Row by row the units of both passes, numbered as in [H forward, H backward]."""
    trace = make_reading("lstm", bidirectional=True).trace
    figure = passes_figures(trace)[0]
    go.Figure(figure)  # raises for what Plotly would not draw
    H = np.concatenate([trace.signal("H", direction=d) for d in ("forward", "backward")], axis=1)
    rows = [zip(cells["customdata"][:, 0], cells["z"], strict=True) for cells in figure["data"]]
    for unit, values in (row for half in rows for row in half):
        np.testing.assert_array_equal(values, H[:, unit])
    assert sorted(int(u) for cells in figure["data"] for u in cells["customdata"][:, 0]) == list(range(H.shape[1]))


def test_each_pass_covers_what_it_has_not_read() -> None:
    """Forward from its step on, backward up to it; the frame holds the columns that both have reached."""
    for s, figure in enumerate(passes_figures(make_reading("gru-after", bidirectional=True).trace), start=1):
        ahead, behind, forward, backward, complete = figure["layout"]["shapes"]
        assert (ahead["x0"], ahead["x1"]) == (s - 0.5, T - 0.5)
        assert (behind["x0"], behind["x1"]) == (-0.5, T - s - 0.5)
        assert (forward["x0"] + 0.5, backward["x0"] + 0.5) == (s - 1, T - s)
        assert complete["visible"] == (2 * s > T)
        if complete["visible"]:
            assert complete["x1"] - complete["x0"] == 2 * s - T


def test_the_way_leads_from_the_answer_to_its_prediction() -> None:
    """And carries the gradients that were measured on it; the bars are those of all characters."""
    both, one = measured(bidirectional=True), measured(bidirectional=False)
    for t, figure in enumerate(leak_figures(both, one)):
        go.Figure(figure)  # raises for what Plotly would not draw
        (path,) = [trace for trace in figure["data"] if trace.get("name") == "the way of the answer"]
        assert (round(path["x"][0]), round(path["x"][-1])) == (t + 1, t)
        past, future, alone = [trace for trace in figure["data"] if trace["type"] == "bar"]
        np.testing.assert_array_equal(past["y"][: t + 1], both.by_input[t, : t + 1])
        np.testing.assert_array_equal(future["y"][t + 1 :], both.by_input[t, t + 1 :])
        assert np.isnan(past["y"][t + 1 :]).all()
        assert np.isnan(future["y"][: t + 1]).all()
        np.testing.assert_array_equal(alone["y"], one.by_input[t])
        zeros = figure["data"][-1]
        assert np.round(zeros["x"]).tolist() == list(range(t + 1, len(both.text)))
        first, end = figure["layout"]["xaxis"]["range"]
        assert first < t < t + 1 < end
        assert end - first == pytest.approx(12)


def test_a_short_text_fills_the_picture() -> None:
    """Of three characters there are two predictions, and no more columns."""
    short = Leak("abc", *(np.full((2, 3), 0.1), np.zeros((2, 3)), np.full(2, 0.5), np.full(2, 0.5)))
    figures = leak_figures(short, short)
    assert len(figures) == 2
    assert figures[0]["layout"]["xaxis"]["range"] == [-0.5, 2.5]
