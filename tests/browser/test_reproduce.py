"""The Reproduce page in Chromium: its table stands whole on the first screen, and all of it fits a phone."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from rnnviz.analysis.published import NOTES
from tests.browser.helpers import Server, chart

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]


def test_the_first_screen_has_the_whole_table_and_a_phone_fits(page: Page, server: Server) -> None:
    """It begins in the first 300 pixels; wide tables scroll within themselves; the report can be downloaded."""
    page.set_viewport_size({"width": 1280, "height": 800})
    page.goto(f"{server.url}/reproduce?lang=zh")
    expect(page.locator(".reproduction tbody")).to_have_count(len(NOTES.experiments), timeout=60_000)
    expect(chart(page, "gru").locator(".plot-container")).to_be_visible(timeout=60_000)
    box = page.locator(".reproduction").bounding_box()
    assert box is not None
    assert box["y"] < 300
    assert box["y"] + box["height"] < 800
    with page.expect_download() as download:
        page.locator(".st-key-report-notes button").click()
    assert download.value.suggested_filename == "reproduction-notes.zip"
    page.set_viewport_size({"width": 390, "height": 900})
    page.wait_for_function("document.documentElement.scrollWidth <= 390")
    assert page.locator(".reproduction").evaluate("(table) => table.scrollWidth > table.clientWidth")
