"""A server, a browser and a page for tests that drive the app."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.browser.helpers import ARGUMENTS, Server, visit
from tests.browser.setup import find_browser


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The app, with the status page in its navigation. It is shared by all tests of a process, as it starts slowly."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RNNVIZ_STATUS", "1")
        running = Server(tmp_path_factory.mktemp("home"))
    try:
        yield running
    finally:
        running.close()


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    path = find_browser()
    assert path, "no Chromium: run `python -m tests.browser.setup`"
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A fresh visitor with an English browser, 1280 wide; the test fails if the page logs an error of its own."""
    yield from visit(browser)


expect.set_options(timeout=30_000)  # on two shared cores drawing is slow
