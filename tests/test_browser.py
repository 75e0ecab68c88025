"""The app in a real Chromium: what a visitor does, and what the page then shows."""

from __future__ import annotations

import io
import itertools
import json
import re
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect, sync_playwright

from rnnviz.load import App
from tests.browser_setup import find_browser

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

ROOT = Path(__file__).resolve().parent.parent
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
expect.set_options(timeout=30_000)  # two shared cores draw slowly
SMALL = "hidden_size=8&batch_size=4&num_steps=10&max_chars=1000&predict_every=2"
CHINESE = "春天的雨落在河面上，小船慢慢地靠岸。老人收起渔网，说今天的鱼不多，可是风很好。" * 40


class Server(App):
    """The app on a port of its own, with a home folder of its own."""

    def __init__(self, home: Path) -> None:
        super().__init__(home, workers=2)
        self.home = home
        self.url = f"http://127.0.0.1:{self.port}"
        self.wait()


_free: dict[tuple[Browser, str], list[BrowserContext]] = {}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(tmp_path_factory.mktemp("home"))
    yield running
    running.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = find_browser()
    assert path, "no Chromium: run `python -m tests.browser_setup`"
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A fresh visitor with an English browser, 1280 wide; the page may not log an error of its own."""
    yield from visit(browser)


def visit(browser: Browser, **options: Any) -> Iterator[Page]:
    """A visitor with nothing remembered but the files of the app, which every page would load anew."""
    options = {"viewport": {"width": 1280, "height": 1000}, "locale": "en-US", **options}
    free = _free.setdefault((browser, json.dumps(options)), [])
    context = free.pop() if free else browser.new_context(**options)
    context.set_default_timeout(30_000)
    errors: list[str] = []
    visitor = context.new_page()
    visitor.on("pageerror", lambda error: errors.append(str(error)))
    # Streamlit itself asks for its health below the page's address first, and gets a 404.
    visitor.on(
        "console",
        lambda m: (
            errors.append(m.text) if m.type == "error" and not re.search(r"/\w+/_stcore/", m.location["url"]) else None
        ),
    )
    yield visitor
    if visitor.url.startswith("http"):
        visitor.evaluate("localStorage.clear()")
    visitor.close()
    context.clear_cookies()
    free.append(context)
    assert errors == []


def chart(page: Page, key: str) -> Locator:
    return page.locator(f".live-chart[data-name={key}]")


def drawn(page: Page, key: str) -> int:
    """How often a chart has been drawn."""
    return int(chart(page, key).get_attribute("data-drawings") or 0)


def open_page(page: Page, address: str) -> None:
    page.goto(address)
    expect(chart(page, "gates").locator(".plot-container")).to_be_visible(timeout=60_000)


def progress(page: Page) -> Locator:
    return page.get_by_test_id("stProgress")


def train(page: Page, name: str = "Train") -> None:
    page.get_by_test_id("stMain").get_by_role("button", name=name, exact=True).click()
    page.wait_for_url(re.compile("run=[0-9a-f]{20}"))


def curve(page: Page, key: str, name: str) -> list[float]:
    """The values of one line as the browser has drawn them."""
    script = """([key, name]) => {
      const plot = document.querySelector(`.live-chart[data-name=${key}]`);
      const line = (plot?._fullData ?? []).find((trace) => trace.name === name);
      return line ? Array.from(line.y) : [];
    }"""
    return [float(value) for value in page.evaluate(script, [key, name])]


def axis_ranges(page: Page, key: str) -> list[float]:
    script = """(key) => {
      const layout = document.querySelector(`.live-chart[data-name=${key}]`)._fullLayout;
      return [...layout.xaxis.range, ...layout.yaxis.range];
    }"""
    return list(page.evaluate(script, key))


def plot_area(page: Page, key: str) -> dict[str, float]:
    """Where a chart's plotting area stands; there is none for the moment in which Plotly draws it anew."""
    script = """(key) => {
      const area = document.querySelector(`.live-chart[data-name=${key}] .nsewdrag`)?.getBoundingClientRect();
      return area && area.width > 0 ? {x: area.x, y: area.y} : null;
    }"""
    return dict(page.wait_for_function(script, arg=key).json_value())


def expect_no_training(page: Page) -> None:
    """The button is there and stays off; for a moment the browser may have the last run's beside it."""
    button = page.get_by_role("button", name="Train", exact=True)
    expect(button.first).to_be_visible()
    expect(button.and_(page.locator(":enabled"))).to_have_count(0)


def press(page: Page, key: str) -> None:
    """Press a key once the page has arrived, and the button that it stands for listens: nobody hears it before."""
    expect(page.locator("[data-test-script-state=notRunning]")).to_be_visible(timeout=60_000)
    page.wait_for_function("() => window.hotkeys?.getAllKeyCodes().length > 0")  # the library that Streamlit uses
    page.keyboard.press(key)


def wait_until(condition: Any, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


def test_cold_deep_link_trains_pauses_survives_a_refresh_resumes_and_stops(
    browser: Browser, page: Page, tmp_path: Path
) -> None:
    """On a server that has served nothing yet, a deep link leads to a whole training of the quick preset."""
    cold = Server(tmp_path)
    try:
        page.goto(f"{cold.url}/train?preset=quick&units=mean")
        expect(page.get_by_role("heading", name="Train", level=1)).to_be_visible(timeout=60_000)
        expect(page.get_by_role("link", name="Home")).to_be_visible()
        expect(chart(page, "perplexity").locator(".plot-container")).to_be_visible()
        assert "units=mean" in page.url
        train(page)
        expect(progress(page)).to_contain_text("Training", timeout=60_000)
        wait_until(lambda: len(curve(page, "perplexity", "training")) >= 6)
        values = curve(page, "perplexity", "training")
        assert values[5] < values[0] / 2

        page.get_by_role("button", name="Pause").click()
        expect(page.get_by_role("button", name="Resume")).to_be_visible()
        expect(progress(page)).to_contain_text("Paused")
        page.wait_for_timeout(2000)  # the task under way ends first, and may tell something yet
        reached = progress(page).inner_text()
        address = page.url
        page.reload()
        expect(progress(page)).to_contain_text("Paused", timeout=60_000)
        assert page.url == address
        assert progress(page).inner_text() == reached

        page.get_by_role("button", name="Resume").click()
        expect(progress(page)).to_contain_text("Training")
        before = len(curve(page, "perplexity", "training"))
        wait_until(lambda: len(curve(page, "perplexity", "training")) > before + 1)
        page.get_by_role("button", name="Stop").click()
        expect(progress(page)).to_contain_text("Stopped")
        expect(page.get_by_role("button", name="Pause")).to_have_count(0)
        (run,) = (tmp_path / "runs").iterdir()
        assert json.loads((run / "status.json").read_text())["state"] == "stopped"
    finally:
        page.goto("about:blank")
        family = psutil.Process(cold.process.pid).children(recursive=True)
        cold.close()
    wait_until(lambda: all(not process.is_running() for process in family), 20)


def zoom(page: Page, key: str) -> list[float]:
    """Drag a rectangle; again where the drag fell into a drawing, which on a busy machine may undo it. The ranges."""
    for _ in range(3):
        area = plot_area(page, key)
        page.mouse.move(area["x"] + 20, area["y"] + 20)
        page.mouse.down()
        page.mouse.move(area["x"] + 150, area["y"] + 150, steps=5)
        page.mouse.up()
        page.wait_for_timeout(500)
        zoomed, before = axis_ranges(page, key), drawn(page, key)
        wait_until(lambda before=before: drawn(page, key) > before)
        if axis_ranges(page, key) == zoomed:
            break
    return zoomed


def test_zoom_and_hover_survive_updates(page: Page, server: Server) -> None:
    """While a run goes on, a zoomed chart stays zoomed and the hover box stays open."""
    open_page(page, f"{server.url}/train?epochs=5000&{SMALL}")
    train(page)
    wait_until(lambda: len(curve(page, "gradient_norm", "before")) > 3)
    zoomed = zoom(page, "gradient_norm")
    chart(page, "gates").scroll_into_view_if_needed()
    heatmap = plot_area(page, "gates")
    page.mouse.move(heatmap["x"] + 200, heatmap["y"] + 100)
    expect(page.locator(".live-chart[data-name=gates] .hovertext")).to_contain_text("σ(Xₜ W_xz")
    first = drawn(page, "gates"), drawn(page, "gradient_norm")
    open_looks = 0
    looks = 0
    while (drawn(page, "gates") < first[0] + 3 or drawn(page, "gradient_norm") < first[1] + 3) and looks < 600:
        looks += 1
        open_looks += page.locator(".live-chart[data-name=gates] .hovertext").count() > 0
        page.wait_for_timeout(50)
    assert drawn(page, "gates") >= first[0] + 3
    assert open_looks == looks
    assert axis_ranges(page, "gradient_norm") == zoomed
    page.get_by_role("button", name="Stop").click()
    expect(progress(page)).to_contain_text("Stopped")


def test_another_browser_sees_the_same_run_live_and_leaving_keeps_it(
    browser: Browser, page: Page, server: Server
) -> None:
    """The address of a run shows it to others while it goes on; its own visitor finds it after another page."""
    open_page(page, f"{server.url}/train?epochs=5000&{SMALL}")
    train(page)
    expect(progress(page)).to_contain_text("Training")
    run = re.search("run=([0-9a-f]+)", page.url)
    assert run
    for other in visit(browser, locale="zh-CN"):
        open_page(other, f"{server.url}/train?run={run[1]}")
        expect(progress(other)).to_contain_text("训练中")
        before = drawn(other, "perplexity")
        wait_until(lambda other=other, before=before: drawn(other, "perplexity") > before + 2)
        for _ in range(3):
            with other.expect_response(lambda answer: "/app/newest/" in answer.url and answer.status == 200):
                pass
    page.get_by_role("link", name="Home").click()
    expect(page.get_by_role("heading", name="Home", level=1)).to_be_visible()
    page.get_by_role("link", name="Train", exact=True).click()
    expect(progress(page)).to_contain_text("Training")
    page.wait_for_url(re.compile(f"run={run[1]}"))
    page.get_by_role("button", name="Stop").click()
    expect(progress(page)).to_contain_text("Stopped")


def test_both_languages_from_browser_picker_and_address(browser: Browser, server: Server) -> None:
    """Chinese comes with a Chinese browser, with the picker and with ?lang=zh, and survives a change of page."""
    for visitor in visit(browser, locale="zh-TW"):
        visitor.goto(f"{server.url}/train")
        expect(visitor.get_by_role("heading", name="训练", level=1)).to_be_visible(timeout=60_000)
        for label in ("困惑度", "梯度范数", "模型写出的文字", "更新门"):
            expect(visitor.get_by_text(label).first).to_be_visible()
    for visitor in visit(browser, locale="de-DE"):
        visitor.goto(f"{server.url}/?lang=zh")
        expect(visitor.get_by_role("heading", name="首页", level=1)).to_be_visible()
        visitor.get_by_role("link", name="训练").first.click()
        expect(visitor.get_by_role("heading", name="训练", level=1)).to_be_visible()
        visitor.wait_for_url(re.compile("lang=zh"))
        visitor.get_by_role("radio", name="English").or_(visitor.get_by_role("button", name="English")).click()
        expect(visitor.get_by_role("heading", name="Train", level=1)).to_be_visible()
        assert "lang=" not in visitor.url


def upload(page: Page, name: str, data: bytes) -> None:
    page.locator("input[type=file]").set_input_files({"name": name, "mimeType": "text/plain", "buffer": data})


def zipped(*texts: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for i, text in enumerate(texts):
            archive.writestr(f"text{i}.txt", text)
    return buffer.getvalue()


def test_a_gb18030_file_and_a_zip_can_be_uploaded_and_trained_on(page: Page, server: Server) -> None:
    """A text in GB18030 and one in a zip are read as the characters they hold."""
    open_page(page, f"{server.url}/train?corpus=upload&epochs=3&{SMALL}")
    expect_no_training(page)
    upload(page, "河.txt", CHINESE.encode("gb18030"))
    expect(page.get_by_text(f"1,000 characters to learn from, {len(set(CHINESE))} of them different")).to_be_visible()
    upload(page, "河.zip", zipped(CHINESE.encode()))
    expect(page.get_by_text(f"{len(set(CHINESE))} of them different")).to_be_visible()
    train(page)
    expect(progress(page)).to_contain_text("Finished", timeout=60_000)
    run = re.search("run=([0-9a-f]+)", page.url)
    assert run
    corpus = json.loads((server.home / "runs" / run[1] / "corpus.json").read_text())
    assert corpus["training"] == CHINESE[:1000]


def encrypted() -> bytes:
    """A zip whose entry says that it is encrypted, in both places where a zip says so."""
    data = bytearray(zipped(b"a text " * 200))
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    return bytes(data)


BAD_UPLOADS = (
    (encrypted(), "zip is encrypted"),
    (b"", "empty"),
    ("太短的文本".encode(), "needs at least 44"),
    (b"a" * 3000, "one character"),
    (b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 20, "not a text in UTF-8, UTF-16 or GB18030"),
    (zipped(b"one text " * 200, b"another " * 200), "holds 2 texts"),
    (zipped(b" a" * 15_000_000), "larger than 20,971,520 bytes unpacked"),
    (b"PK\x03\x04" + b"nothing" * 50, "zip cannot be read"),
)


def test_each_bad_upload_shows_what_is_wrong(page: Page, server: Server) -> None:
    """Files that cannot be used, one after the other: each is refused with its reason, and the button stays off."""
    page.goto(f"{server.url}/train?corpus=upload&{SMALL}")
    page.locator("input[type=file]").wait_for(state="attached", timeout=60_000)
    for data, message in BAD_UPLOADS:
        upload(page, "text.zip" if data[:2] == b"PK" else "text.txt", data)
        expect(page.get_by_test_id("stAlert").filter(has_text=message)).to_be_visible()
        expect_no_training(page)


def test_pasted_text_and_settings_survive_another_page_and_language(page: Page, server: Server) -> None:
    """What a visitor typed is still there after the home page and after switching the language."""
    open_page(page, f"{server.url}/train?corpus=paste&hidden_size=12")
    box = page.get_by_role("textbox", name="Your text")
    box.fill("the cat sat on the mat. " * 60)
    box.press("Control+Enter")
    expect(page.get_by_text("of them different")).to_be_visible()
    page.get_by_role("link", name="Home").click()
    expect(page.get_by_role("heading", name="Home", level=1)).to_be_visible()
    page.get_by_role("link", name="Train", exact=True).click()
    expect(page.get_by_role("textbox", name="Your text")).to_have_value(re.compile("^the cat sat"))
    page.get_by_role("radio", name="中文").or_(page.get_by_role("button", name="中文")).click()
    expect(page.get_by_role("textbox", name="你的文本")).to_have_value(re.compile("^the cat sat"))
    page.get_by_text("全部设置").click()
    expect(page.get_by_role("spinbutton", name="隐藏单元数")).to_have_value("12")


def test_choosing_a_preset_sets_every_setting(page: Page, server: Server) -> None:
    """A preset replaces all settings by its own, and the address names it."""
    open_page(page, f"{server.url}/train?hidden_size=12")
    page.get_by_text("All settings").click()
    expect(page.get_by_role("spinbutton", name="Hidden units")).to_have_value("12")
    page.get_by_role("combobox", name="Model and settings").click()
    page.get_by_role("option", name="LSTM from scratch, SGD").click()
    expect(page.get_by_role("spinbutton", name="Hidden units")).to_have_value("256")
    expect(page.get_by_role("spinbutton", name="Learning rate")).to_have_value("100")
    page.wait_for_url(re.compile("preset=lstm-scratch"))
    assert "hidden_size" not in page.url


def test_contradicting_settings_are_explained_before_the_button(page: Page, server: Server) -> None:
    """torch with the reset gate before the product cannot be trained, and the page says why."""
    open_page(page, f"{server.url}/train?reset=before&implementation=torch")
    expect(page.get_by_test_id("stAlert").filter(has_text="reset gate after the matrix product")).to_be_visible()
    expect_no_training(page)


def test_a_diverging_run_says_so(page: Page, server: Server) -> None:
    """A run whose numbers stop being finite ends as failed, in words, and keeps its curves."""
    open_page(
        page,
        f"{server.url}/train?cell=rnn&activation=relu&optimizer=sgd&learning_rate=10000&clip=0&epochs=50&{SMALL}",
    )
    train(page)
    expect(page.get_by_test_id("stAlert").filter(has_text="The training diverged")).to_be_visible(timeout=60_000)
    expect(progress(page)).to_contain_text("Failed")


def test_an_unknown_run_is_told(page: Page, server: Server) -> None:
    """An address with a run that does not exist shows a message and the shipped run."""
    open_page(page, f"{server.url}/train?run={'0' * 20}")
    expect(page.get_by_test_id("stAlert")).to_contain_text("not the folder of a run")


def test_downloads_hold_the_run(page: Page, server: Server) -> None:
    """The four downloads are the run's configuration, reports, checkpoint and recording."""
    open_page(page, f"{server.url}/train?epochs=2&{SMALL}")
    train(page)
    expect(progress(page)).to_contain_text("Finished", timeout=60_000)
    page.get_by_role("button", name="Download", exact=True).click()
    starts = {
        "Configuration (JSON)": b"{",
        "Reports (CSV)": b"\xef\xbb\xbfkind,step,epoch",
        "Checkpoint (safetensors)": None,
        "Recording (NumPy)": b"PK",
    }
    for name, start in starts.items():
        with page.expect_download() as download:
            page.get_by_role("button", name=name).click()
        data = Path(download.value.path()).read_bytes()
        assert len(data) > 100
        assert start is None or data.startswith(start)


@pytest.mark.parametrize("address", ["/", "/train"])
def test_a_phone_shows_one_column_without_sideways_scrolling(browser: Browser, server: Server, address: str) -> None:
    """At 390 pixels nothing is cut off, and the characters below the heatmap are thinned, not overlapping."""
    for phone in visit(browser, viewport={"width": 390, "height": 844}):
        open_page(phone, server.url + address)
        assert phone.evaluate("document.documentElement.scrollWidth") <= 390
        boxes = (
            chart(phone, "gates")
            .locator(".xtick text")
            .evaluate_all("ticks => ticks.map((t) => t.getBoundingClientRect()).map((r) => [r.left, r.right])")
        )
        assert len(boxes) > 5
        assert all(right <= left + 1 for (_, right), (left, _) in itertools.pairwise(boxes))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_charts_take_the_colours_of_the_theme(browser: Browser, server: Server, scheme: Any) -> None:
    """In the dark, labels are light, and the other way round."""
    for visitor in visit(browser, color_scheme=scheme):
        open_page(visitor, f"{server.url}/")
        colour = visitor.evaluate("document.querySelector('.live-chart[data-name=perplexity]')._fullLayout.font.color")
        red = int(re.sub("[^0-9a-fA-F]", "", colour)[:2], 16)
        assert (red > 128) == (scheme == "dark")
