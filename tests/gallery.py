"""`make gallery`: every page as it is, photographed in both languages, light and dark, into docs/gallery.md."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, Page, sync_playwright

from tests.browser_setup import find_browser
from tests.test_browser import ARGUMENTS, ROOT, Server

WIDTH, LEAST, MOST = 1280, 900, 1500
LANGUAGES = ("en", "zh")
THEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
PICTURES = ROOT / "docs" / "gallery"


def photograph(browser: Browser, url: str, name: str, language: str, theme: Literal["light", "dark"]) -> Path:
    """One page, as far down as one looks at first."""
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


def settle(page: Page) -> None:
    """Until the title and every chart in sight are drawn and nothing runs any more."""
    page.get_by_role("heading", level=1).wait_for(timeout=60_000)
    page.wait_for_function(
        """() => !document.querySelector('[data-testid=stStatusWidget], [data-testid=stSkeleton]') &&
          [...document.querySelectorAll('.live-chart[aria-label]')].every((c) => c.querySelector('.plot-container'))""",
        timeout=60_000,
    )
    page.wait_for_timeout(1500)


def main() -> None:
    """Photograph every page and write the gallery."""
    from rnnviz.ui.frame import PAGES

    path = find_browser()
    if not path:
        sys.exit("no Chromium: run `python -m tests.browser_setup`")
    PICTURES.mkdir(exist_ok=True)
    lines = [
        "# Gallery",
        "",
        "Every page as `make gallery` found it: 1280 wide, in both languages, light and dark.",
        "",
    ]
    with tempfile.TemporaryDirectory() as home, sync_playwright() as playwright:
        server = Server(Path(home))
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        for info in PAGES:
            if info.name == "status":
                continue  # the host's own, and empty here
            lines += [f"## {info.title}", "", "| English | 中文 |", "|---|---|"]
            for theme in THEMES:
                files = [photograph(browser, server.url, info.name, language, theme) for language in LANGUAGES]
                cells = [f"![{info.title}, {theme}](gallery/{file.name})" for file in files]
                lines.append(f"| {' | '.join(cells)} |")
                print(info.name, theme)
            lines.append("")
        browser.close()
        server.close()
    (ROOT / "docs" / "gallery.md").write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
