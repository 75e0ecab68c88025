"""What is painted in Chromium while plotly.js is still on its way, compared with what Plotly draws afterwards."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Browser, Locator, Route, expect

from tests.browser.helpers import Server, chart, visit, wait_until

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]
# Lines, heatmaps, nodes with arrows, two heatmaps below covers, and bars upon each other above lines.
PICTURES = {
    "train": ("perplexity", "gradient_norm", "gates"),
    "language_model": ("chain",),
    "sequences": ("vectors",),
    "gradients": ("unrolled",),
    "bidirectional": ("passes",),
}
THIN = ("perplexity",)  # its lines are thinner than the squares that are compared
SQUARE = 16  # pixels: Plotly makes room for labels, so what it draws may stand a few pixels aside


def size(place: Locator) -> tuple[float, float]:
    """Width and height in pixels."""
    box = place.bounding_box()
    assert box is not None
    return box["width"], box["height"]


def hues(place: Locator) -> NDArray[np.float64]:
    """How far each square's mean colour is from grey, in red, green and blue; text is grey."""
    with Image.open(io.BytesIO(place.screenshot())) as picture:
        columns, rows = picture.width // SQUARE, picture.height // SQUARE
        squares = picture.convert("RGB").resize((columns, rows), Image.Resampling.BOX)
    colours: NDArray[np.float64] = np.asarray(squares, dtype=np.float64)
    grey: NDArray[np.float64] = colours.mean(axis=2, keepdims=True)
    return colours - grey


def likeness(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """The correlation of two pictures' hues."""
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


@pytest.mark.parametrize("name", PICTURES)
def test_a_chart_is_painted_as_plotly_draws_it(browser: Browser, server: Server, name: str) -> None:
    """The painting has the same colours at the same places, and none of it is left when Plotly has drawn."""
    held: list[Route] = []
    for page in visit(browser, viewport={"width": 1280, "height": 800}):
        page.route("**/plotly-*.js", lambda route: held.append(route))  # noqa: PLW0108  it cannot call a built-in
        page.goto(f"{server.url}/{name}?lang=en")
        charts = {picture: chart(page, picture) for picture in PICTURES[name]}
        for place in charts.values():
            expect(place.locator(".first-frame")).to_be_visible(timeout=60_000)
        assert page.evaluate("window.Plotly === undefined")
        painted: dict[str, Any] = {
            picture: (size(place.locator(".first-frame")), hues(place)) for picture, place in charts.items()
        }
        wait_until(lambda: bool(held))
        for route in held:
            route.continue_()
        for picture, place in charts.items():
            expect(place.locator(".plot-container")).to_be_visible(timeout=60_000)
            expect(place.locator(".first-frame")).to_have_count(0)
            painted_size, painted_hues = painted[picture]
            assert size(place.locator(".plot-container")) == painted_size
            assert np.abs(painted_hues).max() > 10, f"{picture} is painted without a colour"
            if picture not in THIN:
                assert likeness(painted_hues, hues(place)) > 0.75, picture
