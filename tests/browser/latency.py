"""`make latency`: how long a step takes to draw in Chromium, and how regular the frames are while a text plays."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
from playwright.sync_api import Page, sync_playwright

from tests.browser.helpers import ARGUMENTS, Server
from tests.browser.setup import find_browser

VIEW = "document.querySelector('.cell-view').cellView"
STEPS = f"""() => Array.from({{ length: 100 }}, (_, t) => {{
  const view = {VIEW}, began = performance.now();
  view.jump(t % view.recording.length);
  return performance.now() - began;
}})"""
FRAMES = f"""() => new Promise((resolve) => {{
  const frames = [], end = performance.now() + 5000;
  let last = performance.now();
  const tick = (now) => {{
    frames.push(now - last);
    last = now;
    if (now < end) requestAnimationFrame(tick);
    else resolve(frames.slice(2));
  }};
  {VIEW}.jump(0);
  {VIEW}.play(true);
  requestAnimationFrame(tick);
}})"""
KEY = """(key) => new Promise((resolve) => {
  const equation = document.querySelector(".linked-equation, [class*=st-key-by-]");
  const before = equation.innerText;
  const began = performance.now();
  document.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true }));
  const look = () => {
    const changed = equation.innerText !== before || performance.now() - began > 3000;
    if (changed) setTimeout(() => resolve(performance.now() - began)); // after this frame is drawn
    else requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
})"""


STEPPED = {
    "rnn": "rnn?lang=en&t=0",
    "unrolled": "gradients?lang=en&word=seashores&at=0",
    "language model": "language_model?lang=en&t=0",
}


def tell(what: str, milliseconds: list[float]) -> None:
    """Print the median, the 95th percentile and the maximum."""
    middle, high, worst = np.percentile(milliseconds, (50, 95, 100))
    print(f"{what:42} median {middle:6.1f} ms   95 % {high:6.1f} ms   worst {worst:6.1f} ms")


def measure(page: Page, url: str) -> None:
    """Measure both cells and the stack of three, and then, from the key to the numbers, a step on the pages where one
    steps along a text."""
    for name in ("gru", "lstm", "deep"):
        page.goto(f"{url}/{name}?lang=en")
        page.locator(".cv-stage svg text").first.wait_for(timeout=60_000)
        page.wait_for_timeout(2000)
        tell(f"{name}: a step, computed and drawn", page.evaluate(STEPS))
        tell(f"{name}: a frame while it plays", page.evaluate(FRAMES))
    for name, address in STEPPED.items():
        page.goto(f"{url}/{address}")
        page.locator(".chart-slider output").filter(visible=True).first.wait_for(timeout=60_000)
        page.wait_for_timeout(3000)
        keys = ["ArrowRight" if n // 7 % 2 == 0 else "ArrowLeft" for n in range(42)]
        tell(f"{name}: from the key to the new equation", [page.evaluate(KEY, key) for key in keys])


def main() -> None:
    """Start an app and measure it."""
    path = find_browser()
    if not path:
        sys.exit("no Chromium: run `python -m tests.browser.setup`")
    with tempfile.TemporaryDirectory() as home, sync_playwright() as playwright:
        server = Server(Path(home))
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        measure(browser.new_page(viewport={"width": 1280, "height": 1000}), server.url)
        browser.close()
        server.close()


if __name__ == "__main__":
    main()
