"""The app in a browser: starting it, finding its parts, and waiting for them."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from rnnviz.i18n import SOURCE, translator
from rnnviz.load_test import App
from rnnviz.ui.frame import PAGES, heading

ROOT = Path(__file__).resolve().parents[2]
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# Every page and part of one; choices open to the visitor differ from their defaults.
ADDRESSES = (
    "/?t=5&signal=Z",
    "/language_model?lit=1&n=3",
    "/sequences",
    "/sequences?part=batches&kind=random&colour=row",
    "/rnn?model=tiny-relu&order=mean&unit=2",
    "/rnn?view=train&variant=relu",
    "/rnn?view=carry",
    "/gru?model=gru-en",
    "/lstm?model=lstm-en",
    "/deep?layer=2",
    "/deep?tab=training&signal=H",
    "/bidirectional?s=30",
    "/bidirectional?tab=cell&direction=backward",
    "/bidirectional?tab=leak&model=bidirectional-zh",
    "/bidirectional?tab=restore",
    "/train?preset=lstm-scratch&cell=rnn&sampling=random&units=index&signal=R",
    "/gradients?at=1",
    "/gradients?tab=reach",
    "/gradients?tab=spectrum&cell=gru",
    "/gradients?tab=scale&cell=lstm",
    "/gradients?tab=clipping&theta=0&variant=lstm&norm=W_hh",
    "/gradients?tab=map&map=rnn-adam",
    "/reproduce?again=4",
    "/status",
)
SMALL = "hidden_size=8&batch_size=4&num_steps=10&max_chars=1000&predict_every=2"


class Server(App):
    """The app on its own port, with its own home folder."""

    def __init__(self, home: Path) -> None:
        super().__init__(home, workers=2)
        self.home = home
        self.url = f"http://127.0.0.1:{self.port}"
        try:
            self.wait()
        except BaseException:
            self.close()
            raise


_free: dict[tuple[Browser, str], list[BrowserContext]] = {}


def visit(browser: Browser, **options: Any) -> Iterator[Page]:
    """A visitor whose browser has cached nothing but the app's files, which every page would otherwise load again."""
    options = {"viewport": {"width": 1280, "height": 1000}, "locale": "en-US", **options}
    free = _free.setdefault((browser, json.dumps(options)), [])
    context = free.pop() if free else browser.new_context(**options)
    context.set_default_timeout(30_000)
    errors: list[str] = []
    visitor = context.new_page()
    visitor.on("pageerror", lambda error: errors.append(str(error)))
    # Streamlit itself first looks for its health below the page's address, and gets a 404.
    visitor.on(
        "console",
        lambda m: (
            errors.append(f"{m.text} {m.location['url']}")
            if m.type == "error" and not re.search(r"/\w+/_stcore/", m.location["url"])
            else None
        ),
    )
    yield visitor
    if visitor.url.startswith("http"):
        visitor.evaluate("localStorage.clear()")
    visitor.close()
    context.clear_cookies()
    free.append(context)
    assert not errors, f"the browser reported {errors}"


def heading_of(title: str) -> str:
    """What stands at the top of the page that has this title in the navigation."""
    return heading(next(info.name for info in PAGES if info.title == title), translator(SOURCE))


def go(page: Page, title: str) -> None:
    """To another page, by the navigation."""
    page.get_by_test_id("stSidebarNav").get_by_role("link", name=title, exact=True).click()
    arrived(page, title)


def arrived(page: Page, title: str) -> None:
    """Wait until a page is there, in English, and its script has ended."""
    expect(page.get_by_role("heading", level=1)).to_have_text(heading_of(title), timeout=60_000)
    expect(page.locator("[data-test-script-state=notRunning]")).to_be_visible(timeout=60_000)


def chart(page: Page, key: str) -> Locator:
    return page.locator(f".live-chart[data-name={key}]")


def progress(page: Page) -> Locator:
    return page.get_by_test_id("stProgress")


def train(page: Page, name: str = "Train") -> None:
    page.get_by_test_id("stMain").get_by_role("button", name=name, exact=True).click()
    page.wait_for_url(re.compile("run=[0-9a-f]{20}"))


def line_of(key: str, name: str) -> str:
    """The expression that reads the values of one line as the browser has drawn them."""
    chart = f"document.querySelector('.live-chart[data-name={key}]')"
    return f"Array.from({chart}?._fullData?.find((trace) => trace.name === {json.dumps(name)})?.y ?? [])"


def chart_label(key: str) -> str:
    """The expression that reads what a chart says of itself in words."""
    return f"document.querySelector('.live-chart[data-name={key}]').getAttribute('aria-label')"


def curve(page: Page, key: str, name: str) -> list[float]:
    return [float(value) for value in page.evaluate(line_of(key, name))]


def note(page: Page, expression: str) -> None:
    """Keep each new value of an expression in `window.noted` from now on, because a slow test may miss some.

    A run on a chapter's page lasts seconds, and on a busy machine a test may look only after its end. The value null
    is not kept.
    """
    script = """(expression) => {
      const read = new Function(`return ${expression};`);
      window.noted = [];
      setInterval(() => {
        const value = JSON.stringify(read());
        if (value !== "null" && value !== JSON.stringify(window.noted.at(-1))) window.noted.push(JSON.parse(value));
      }, 20);
    }"""
    page.evaluate(script, expression)


def noted(page: Page) -> list[Any]:
    return list(page.evaluate("window.noted"))


def frames_sent(page: Page) -> list[Any]:
    """A list that grows by every message which the page sends to the server from now on."""
    sent: list[Any] = []
    page.on("websocket", lambda socket: socket.on("framesent", lambda frame: sent.append(frame)))  # noqa: PLW0108  Playwright marks what it is given
    return sent


def stop_if_going(page: Page) -> None:
    """Press Stop if it is there, in the same moment as looking for it, since a run may end between the two."""
    page.evaluate(
        "[...document.querySelectorAll('button')].find((button) => button.textContent.endsWith('Stop'))?.click()"
    )


def press(page: Page, key: str) -> None:
    """Press a key once the page has the slider that the key moves; before that, nothing reacts to it."""
    expect(page.locator(".chart-slider output").first).not_to_be_empty(timeout=60_000)
    page.keyboard.press(key)


def messages(page: Page) -> list[str | bytes]:
    """What the page sends over its websocket from now on; call it before the page is opened."""
    sent: list[str | bytes] = []
    page.on("websocket", lambda socket: socket.on("framesent", lambda frame: sent.append(frame)))  # noqa: PLW0108  Playwright marks what it is given
    return sent


def wait_for_quiet(page: Page, sent: list[str | bytes]) -> None:
    """Wait until the script has run and the page has sent nothing for two seconds."""
    count = -1
    while count != len(sent):
        count = len(sent)
        expect(page.locator("[data-test-script-state=notRunning]")).to_be_visible(timeout=60_000)
        page.wait_for_timeout(2000)


def step_through(page: Page, key: str, walk: Sequence[tuple[str, int]], look: str) -> list[tuple[int, str | None, Any]]:
    """Press keys, each so many milliseconds after the one before, in the browser: no round trip slows them down.

    Each press gives where the slider of this key then stands, what the address says, and the value of an expression,
    all before the next frame is drawn.
    """
    script = """({ key, walk, look }) => new Promise((resolve) => {
      const seen = [];
      const read = new Function(`return ${look};`);
      const press = () => {
        document.dispatchEvent(new KeyboardEvent("keydown", { key: walk[seen.length][0], bubbles: true }));
        const slider = document.querySelector(`.chart-slider[data-key=${key}]:not([hidden]) input`);
        seen.push([Number(slider.value), new URLSearchParams(location.search).get(key), read()]);
        if (seen.length < walk.length) setTimeout(press, walk[seen.length][1]);
        else resolve(seen);
      };
      press();
    })"""
    return [tuple(seen) for seen in page.evaluate(script, {"key": key, "walk": walk, "look": look})]


def formulas(key: str) -> str:
    """The expression that reads the LaTeX of the formulas shown where the slider of this key stands."""
    shown = f"[...document.querySelectorAll('.st-key-by-{key} .katex-display')].filter((e) => e.checkVisibility())"
    return f"{shown}.map((e) => e.querySelector('annotation').textContent).join('\\n')"


def wait_until(condition: Any, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)
