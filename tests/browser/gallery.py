"""`make gallery` photographs every page in both languages, light and dark, and writes docs/gallery.md."""

from __future__ import annotations

import io
import sys
import tempfile
from itertools import product
from pathlib import Path
from typing import Literal

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from tests.browser.helpers import ARGUMENTS, ROOT, Server
from tests.browser.setup import find_browser

WIDTH, LEAST, MOST = 1280, 900, 1500
ANIMATED_STEPS, PHASES = 6, 6
LANGUAGES = ("en", "zh")
THEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
PICTURES = ROOT / "docs" / "gallery"
CARDS = ROOT / "rnnviz" / "ui" / "static" / "chapters"
CARD_WIDTH, CARD_SHAPE = 400, 16 / 9
# Where a chapter's first picture is not the one that tells most.
OPENED_ON = {"gradients": "tab=reach", "deep": "tab=start"}


def photograph(browser: Browser, url: str, name: str, language: str, theme: Literal["light", "dark"]) -> Path:
    """Take a screenshot of the upper part of a page."""
    context = browser.new_context(viewport={"width": WIDTH, "height": LEAST}, color_scheme=theme)
    page = context.new_page()
    page.goto(f"{url}/{'' if name == 'home' else name}?lang={language}")
    settle(page)
    height = page.evaluate("document.querySelector('[data-testid=stMain]').scrollHeight")
    page.set_viewport_size({"width": WIDTH, "height": min(max(LEAST, height), MOST)})
    settle(page)
    path = PICTURES / f"{name}-{language}-{theme}.jpg"
    page.screenshot(path=path, type="jpeg", quality=82)
    context.close()
    return path


def project(browser: Browser, url: str, name: str) -> Path:
    """Take a screenshot of a page as it is on the wall of a lecture room."""
    context = browser.new_context(viewport={"width": 1920, "height": 1080}, reduced_motion="reduce")
    page = context.new_page()
    page.goto(f"{url}/{'' if name == 'home' else name}?lang=en&view=projector&{OPENED_ON.get(name, 't=12')}")
    settle(page)
    path = PICTURES / f"{name}-projector.jpg"
    page.screenshot(path=path, type="jpeg", quality=82)
    context.close()
    return path


def settle(page: Page) -> None:
    """Wait until the title and every visible chart are drawn and nothing runs any more."""
    page.get_by_role("heading", level=1).wait_for(timeout=60_000)
    page.wait_for_function(
        """() => !document.querySelector('[data-testid=stStatusWidget], [data-testid=stSkeleton]') &&
          [...document.querySelectorAll('.live-chart[aria-label]')].every((c) => c.querySelector('.plot-container'))""",
        timeout=60_000,
    )
    page.wait_for_timeout(1500)


def animate(browser: Browser, url: str) -> Path:
    """Record the LSTM's cell reading a few characters, as an animated picture."""
    page = browser.new_page(viewport={"width": WIDTH, "height": LEAST}, reduced_motion="reduce")
    page.goto(f"{url}/lstm?lang=en&t=3")
    settle(page)
    stage = page.locator(".cv-stage")
    frames = []
    for _ in range(ANIMATED_STEPS):
        for _ in range(PHASES):
            page.keyboard.press("Shift+ArrowRight")
            page.wait_for_timeout(60)
            frames.append(Image.open(io.BytesIO(stage.screenshot())).convert("RGB"))
    page.close()
    path = PICTURES / "lstm.webp"
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=220, loop=0, quality=55, method=4)
    return path


def picture_of_chapter(browser: Browser, url: str, name: str, language: str, theme: Literal["light", "dark"]) -> None:
    """A chapter's first picture, small, as the cards of the home page show it."""
    page = browser.new_page(viewport={"width": WIDTH, "height": LEAST}, color_scheme=theme, reduced_motion="reduce")
    page.goto(f"{url}/{name}?lang={language}&{OPENED_ON.get(name, 't=12')}")
    settle(page)
    shot = (
        page.get_by_test_id("stMain")
        .locator(".cv-stage, .live-chart, .linked-equation, .reproduction")
        .first.screenshot()
    )
    page.close()
    picture = Image.open(io.BytesIO(shot)).convert("RGB")
    picture = picture.crop((0, 0, picture.width, min(picture.height, round(picture.width / CARD_SHAPE))))
    picture.thumbnail((CARD_WIDTH, CARD_WIDTH))
    picture.save(CARDS / f"{name}-{language}-{theme}.webp", quality=70, method=6)


def main() -> None:
    """Photograph every page and write the gallery."""
    from rnnviz.ui.frame import PAGES

    path = find_browser()
    if not path:
        sys.exit("no Chromium: run `python -m tests.browser.setup`")
    PICTURES.mkdir(exist_ok=True)
    lines = [
        "# Gallery",
        "",
        "Screenshots of every page, taken by `make gallery`: 1280 pixels wide, in both languages, light and dark, "
        "and in the projector view.",
        "",
    ]
    with tempfile.TemporaryDirectory() as home, sync_playwright() as playwright:
        server = Server(Path(home))
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        print(animate(browser, server.url))
        CARDS.mkdir(exist_ok=True)
        for info in PAGES:
            if info.name not in ("home", "status"):  # before home itself is photographed: it shows them
                for language, theme in product(LANGUAGES, THEMES):
                    picture_of_chapter(browser, server.url, info.name, language, theme)
        for info in PAGES:
            if info.name == "status":
                continue  # only for the host, and empty here
            lines += [f"## {info.title}", "", "| English | 中文 |", "|---|---|"]
            for theme in THEMES:
                files = [photograph(browser, server.url, info.name, language, theme) for language in LANGUAGES]
                cells = [f"![{info.title}, {theme}](gallery/{file.name})" for file in files]
                lines.append(f"| {' | '.join(cells)} |")
                print(info.name, theme)
            wall = project(browser, server.url, info.name)
            lines += ["", f"![{info.title}, projector view](gallery/{wall.name})", ""]
        browser.close()
        server.close()
    (ROOT / "docs" / "gallery.md").write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
