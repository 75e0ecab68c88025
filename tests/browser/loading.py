"""`make loading`: how soon pages show their first picture, what they load for it, and how smoothly a run is shown.

`python -m tests.browser.loading ADDRESS …` measures servers that are already running, in turn, so that two versions
of the app meet the machine in the same state.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.browser.helpers import ARGUMENTS, Server, stop_if_going
from tests.browser.setup import find_browser

PAGES = ("home", "train", "gru")
PARTS = {
    "document": re.compile(r"/\w*(\?|$)"),
    "plotly.js": re.compile(r"/app/static/plotly"),
    "our scripts": re.compile(r"/app/static/"),
    "Streamlit": re.compile(""),
}
DATA = "data"  # what comes over the websocket; the scripts of some of our components are in it
NETWORKS = {"": None, " at 20 Mbit/s": 20e6}  # as fast as the machine, and as in a full classroom
ROUND_TRIP = 20  # ms, where a network is imitated
WATCHED_SECONDS = 8

# Before everything else on a page: what moves while it loads, and when its first picture is there.
WATCH = """{
  const seen = (window.loading = { shift: 0, pictured: null });
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) if (!entry.hadRecentInput) seen.shift += entry.value;
  }).observe({ type: "layout-shift", buffered: true });
  const look = () => {
    const pictures = ".cv-chip, .cv-stack-row, .first-frame, .live-chart[data-drawings]";
    if (!document.querySelector(pictures)) requestAnimationFrame(look);
    else setTimeout(() => (seen.pictured = performance.now())); // after this frame is drawn
  };
  look();
}"""
# From the press of Train to the first point of the new run's curves, and to its first heatmap.
PRESS = """() => new Promise((resolve) => {
  const times = {}, began = performance.now();
  const kinds = {
    point: (trace) => trace.hoverinfo !== "skip" && trace.x?.length,
    gates: (trace) => trace.type === "heatmap",
  };
  const shown = (kind) => {
    const run = new URLSearchParams(location.search).get("run");
    const plots = [...document.querySelectorAll(".live-chart")].filter((plot) => plot._fullLayout?.uirevision === run);
    return plots.some((plot) => plot._fullData.some(kinds[kind]));
  };
  const look = () => {
    for (const kind in kinds) if (!(kind in times) && shown(kind)) times[kind] = performance.now() - began;
    if (Object.keys(times).length === 2 || performance.now() - began > 30000) resolve(times);
    else requestAnimationFrame(look);
  };
  [...document.querySelectorAll("[data-testid=stMain] button")].find((b) => b.textContent.endsWith("Train")).click();
  requestAnimationFrame(look);
})"""
FRAMES = """(milliseconds) => new Promise((resolve) => {
  const frames = [], tasks = [0];
  const observer = new PerformanceObserver((list) => tasks.push(...list.getEntries().map((entry) => entry.duration)));
  observer.observe({ type: "longtask" });
  const began = performance.now();
  let last = began;
  const tick = (now) => {
    frames.push(now - last);
    last = now;
    if (now - began < milliseconds) requestAnimationFrame(tick);
    else setTimeout(() => {
      const rate = (frames.length * 1000) / (now - began);
      resolve({ rate, frame: Math.max(...frames), task: Math.max(...tasks) });
    });
  };
  requestAnimationFrame(tick);
})"""


@dataclass
class Loaded:
    """What a visit has loaded, in bytes and requests for each of the parts."""

    transferred: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    decoded: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    requests: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    def watch(self, context: BrowserContext, page: Page, bits_per_second: float | None) -> None:
        """Count from now on what the page loads, over a network of this speed."""
        part_of: dict[str, str] = {}
        client = context.new_cdp_session(page)

        def answered(event: dict[str, Any]) -> None:
            path = re.sub(r"^\w+://[^/]+", "", event["response"]["url"])
            part = next(name for name, pattern in PARTS.items() if pattern.match(path))
            part_of[event["requestId"]] = part
            self.requests[part] += not event["response"].get("fromDiskCache", False)

        def decoded(event: dict[str, Any]) -> None:
            self.decoded[part_of.get(event["requestId"], "Streamlit")] += event["dataLength"]

        def ended(event: dict[str, Any]) -> None:
            self.transferred[part_of.get(event["requestId"], "Streamlit")] += event["encodedDataLength"]

        def received(event: dict[str, Any]) -> None:
            size = len(event["response"]["payloadData"]) * 3 / 4  # in base64
            self.requests[DATA] += 1
            self.transferred[DATA] += size
            self.decoded[DATA] += size

        client.on("Network.responseReceived", answered)
        client.on("Network.dataReceived", decoded)
        client.on("Network.loadingFinished", ended)
        client.on("Network.webSocketFrameReceived", received)
        client.send("Network.enable")
        if bits_per_second:
            speed = {"downloadThroughput": bits_per_second / 8, "uploadThroughput": bits_per_second / 8}
            client.send("Network.emulateNetworkConditions", {"offline": False, "latency": ROUND_TRIP, **speed})


Figures = dict[str, list[float]]


@dataclass
class Visit:
    """Milliseconds to the first picture, the main thread's processor time for it, how far the layout shifted."""

    pictured: float
    processor: float
    shift: float
    loaded: Loaded


def visit(context: BrowserContext, url: str, name: str, speed: float | None) -> Visit:
    """Open a page, and wait until it is at rest."""
    page, loaded = context.new_page(), Loaded()
    client = context.new_cdp_session(page)
    client.send("Performance.enable", {"timeDomain": "threadTicks"})
    page.add_init_script(WATCH)
    loaded.watch(context, page, speed)
    page.goto(f"{url}/{'' if name == 'home' else name}?lang=en")
    page.wait_for_function("window.loading?.pictured", timeout=120_000)
    spent = {metric["name"]: metric["value"] for metric in client.send("Performance.getMetrics")["metrics"]}
    page.wait_for_timeout(1500)
    seen = page.evaluate("window.loading")
    page.close()
    return Visit(seen["pictured"], 1000 * spent["TaskDuration"], seen["shift"], loaded)


def measure_loading(browser: Browser, url: str, name: str, figures: Figures) -> None:
    """Visit a page with an empty cache and then again, on each of the networks."""
    for network, speed in NETWORKS.items():
        context = browser.new_context(viewport={"width": 1280, "height": 800})
        for cache in ("empty", "filled"):
            seen = visit(context, url, name, speed)
            figures[f"{name}: first picture, cache {cache}{network}, ms"].append(seen.pictured)
            if not network:
                loaded = seen.loaded
                figures[f"{name}: main thread's processor, cache {cache}, ms"].append(seen.processor)
                figures[f"{name}: layout shift, cache {cache}"].append(seen.shift)
                for part in (*PARTS, DATA):
                    what = f"{name}: {part}, cache {cache}"
                    figures[f"{what}, kB transferred"].append(loaded.transferred[part] / 1000)
                    figures[f"{what}, kB decoded"].append(loaded.decoded[part] / 1000)
                    figures[f"{what}, requests"].append(loaded.requests[part])
        context.close()


def measure_training(browser: Browser, url: str, figures: Figures) -> None:
    """Train with the default settings, and watch."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.add_init_script(WATCH)
    page.goto(f"{url}/train?lang=en")
    page.wait_for_function("window.loading?.pictured", timeout=120_000)
    page.wait_for_timeout(3000)
    for what, milliseconds in page.evaluate(PRESS).items():
        figures[f"train: from the press to the first {what}, ms"].append(milliseconds)
    smooth = page.evaluate(FRAMES, WATCHED_SECONDS * 1000)
    figures["train: frames per second"].append(smooth["rate"])
    figures["train: longest frame, ms"].append(smooth["frame"])
    figures["train: longest task above 50 ms, ms"].append(smooth["task"])
    stop_if_going(page)
    page.wait_for_function(
        "![...document.querySelectorAll('button')].some((b) => b.textContent.endsWith('Stop'))", timeout=60_000
    )
    context.close()


def tell(urls: Sequence[str], figures: Sequence[Figures]) -> None:
    """Print the median, and in brackets the least and the most, for each of the servers."""
    print(f"{'':52}" + "".join(f"{url.removeprefix('http://'):>32}" for url in urls))
    for name in figures[0]:
        if any(any(of[name]) for of in figures):
            told = (f"{median(of[name]):12,.4g} ({min(of[name]):,.4g} … {max(of[name]):,.4g})" for of in figures)
            print(f"{name:52}" + "".join(f"{text:>32}" for text in told))
    print("load of the machine in the last 1, 5 and 15 minutes:", *(f"{load:.1f}" for load in os.getloadavg()))


def main() -> None:
    """Measure the servers whose addresses are given, or start one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("addresses", nargs="*", metavar="ADDRESS")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pages", nargs="+", default=PAGES, metavar="PAGE")
    options = parser.parse_args()
    path = find_browser()
    if not path:
        sys.exit("no Chromium: run `python -m tests.browser.setup`")
    with ExitStack() as stack:
        urls = [address.rstrip("/") for address in options.addresses]
        if not urls:
            home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            urls = [stack.enter_context(closing(Server(home))).url]
        playwright = stack.enter_context(sync_playwright())
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        figures: list[Figures] = [defaultdict(list) for _ in urls]
        for url in urls:
            measure_training(browser, url, defaultdict(list))  # so that the server is warm
        for _ in range(options.rounds):
            for url, of in zip(urls, figures, strict=True):
                for name in options.pages:
                    measure_loading(browser, url, name, of)
                measure_training(browser, url, of)
        browser.close()
        tell(urls, figures)


if __name__ == "__main__":
    main()
