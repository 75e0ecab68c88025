"""The app in a real Chromium: what a visitor does, and what the page then shows."""

from __future__ import annotations

import base64
import csv
import io
import itertools
import json
import re
import secrets
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import psutil
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Browser, Page, Route, expect

from rnnviz.cells import CellName, find_cell
from rnnviz.config import ModelConfig, TrainConfig
from rnnviz.i18n import translator
from rnnviz.nn.execution import Execution
from rnnviz.nn.training import Trainer
from rnnviz.runs.folder import Run, Status
from rnnviz.text.corpora import DATA, read, split
from rnnviz.ui.frame import heading
from tests.browser.helpers import SMALL, Server, chart, curve, go, progress, train, visit, wait_until
from tests.helpers import FORMULAS

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]
CHINESE = "春天的雨落在河面上，小船慢慢地靠岸。老人收起渔网，说今天的鱼不多，可是风很好。" * 40


def drawn(page: Page, key: str) -> int:
    """How often a chart has been drawn."""
    return int(chart(page, key).get_attribute("data-drawings") or 0)


def open_page(page: Page, address: str) -> None:
    page.goto(address)
    expect(chart(page, "gates").locator(".plot-container")).to_be_visible(timeout=60_000)


def axis_ranges(page: Page, key: str) -> list[float]:
    script = """(key) => {
      const layout = document.querySelector(`.live-chart[data-name=${key}]`)._fullLayout;
      return [...layout.xaxis.range, ...layout.yaxis.range];
    }"""
    return list(page.evaluate(script, key))


def plot_area(page: Page, key: str) -> dict[str, float]:
    """The place of a chart's plotting area; for the moment in which Plotly redraws it, there is none."""
    script = """(key) => {
      const area = document.querySelector(`.live-chart[data-name=${key}] .nsewdrag`)?.getBoundingClientRect();
      return area && area.width > 0 ? {x: area.x, y: area.y} : null;
    }"""
    return dict(page.wait_for_function(script, arg=key).json_value())


def expect_no_training(page: Page) -> None:
    """The button is disabled and stays so; for a moment the browser may still have the last run's button beside it."""
    button = page.get_by_role("button", name="Train", exact=True)
    expect(button.first).to_be_visible()
    expect(button.and_(page.locator(":enabled"))).to_have_count(0)


# Every width that the sidebar has had since its first paint.
NOTE_WIDTHS = """
  window.widths = [];
  const note = () => {
    const width = document.querySelector("[data-testid=stSidebar]")?.getBoundingClientRect().width;
    if (width && window.widths.at(-1) !== width) window.widths.push(width);
    requestAnimationFrame(note);
  };
  note();
"""


def test_cold_deep_link_trains_pauses_survives_a_refresh_resumes_and_stops(
    browser: Browser, page: Page, tmp_path: Path
) -> None:
    """On a server that has served nothing yet, a deep link leads to a training, and nothing moves when it opens."""
    cold = Server(tmp_path)
    page.add_init_script(NOTE_WIDTHS)
    try:
        page.goto(f"{cold.url}/train?preset=quick&corpus=lyrics-zh&epochs=2000&units=mean")
        expect(page.get_by_role("heading", name="Train", level=1)).to_be_visible(timeout=60_000)
        expect(page.get_by_role("link", name="Home")).to_be_visible()
        expect(chart(page, "perplexity").locator(".plot-container")).to_be_visible()
        assert page.evaluate("window.widths") == [230]
        assert "units=mean" in page.url
        train(page)
        expect(progress(page)).to_contain_text("Training", timeout=60_000)
        wait_until(lambda: len(curve(page, "perplexity", "training")) >= 6)
        values = curve(page, "perplexity", "training")
        assert values[5] < values[0] / 2

        page.get_by_role("button", name="Pause").click()
        expect(page.get_by_role("button", name="Resume")).to_be_visible()
        expect(progress(page)).to_contain_text("Paused")
        page.wait_for_timeout(2000)  # the task under way ends first, and may still report something
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
    """Drag a rectangle, again if a redraw undid it, as may happen on a busy machine. Returns the ranges."""
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


def test_zoom_and_hover_box_survive_updates(page: Page, server: Server) -> None:
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
    """The address of a run shows it to others while it goes on, and its own visitor finds it after leaving the page."""
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
    go(page, "Home")
    go(page, "Train")
    expect(progress(page)).to_contain_text("Training")
    page.wait_for_url(re.compile(f"run={run[1]}"))
    page.get_by_role("button", name="Stop").click()
    expect(progress(page)).to_contain_text("Stopped")


def test_curves_move_where_a_proxy_does_not_pass_their_address(browser: Browser, server: Server) -> None:
    """The browser asks for them once; from then on they come with the page's own updates."""
    visitor = browser.new_page(locale="en-US")
    asked: list[str] = []

    def refuse(route: Route) -> None:
        asked.append(route.request.url)
        route.fulfill(status=404)

    visitor.route("**/app/newest/**", refuse)
    open_page(visitor, f"{server.url}/train?epochs=100000&{SMALL}")
    with visitor.expect_request("**/app/newest/**"):
        train(visitor)
    reached = len(curve(visitor, "perplexity", "training"))
    wait_until(lambda: len(curve(visitor, "perplexity", "training")) > reached + 1)
    visitor.get_by_role("button", name="Stop").click()
    expect(visitor.get_by_role("button", name="Resume")).to_be_visible()
    assert len(asked) == 1
    visitor.close()


def test_both_languages_come_from_browser_picker_and_address(browser: Browser, server: Server) -> None:
    """A Chinese browser, the picker and ?lang=zh all lead to Chinese, which survives a change of page."""
    for visitor in visit(browser, locale="zh-TW"):
        visitor.goto(f"{server.url}/train")
        expect(visitor.get_by_role("heading", name="训练", level=1)).to_be_visible(timeout=60_000)
        for label in ("困惑度", "梯度范数", "模型写出的文字", "更新门"):
            expect(visitor.get_by_text(label).filter(visible=True).first).to_be_visible()
    for visitor in visit(browser, locale="de-DE"):
        visitor.goto(f"{server.url}/?lang=zh")
        expect(visitor.get_by_role("heading", level=1)).to_have_text(heading("home", translator("zh")))
        visitor.get_by_role("link", name="训练").first.click()
        expect(visitor.get_by_role("heading", name="训练", level=1)).to_be_visible()
        visitor.wait_for_url(re.compile("lang=zh"))
        visitor.get_by_role("radio", name="English").or_(visitor.get_by_role("button", name="English")).click()
        expect(visitor.get_by_role("heading", name="Train", level=1)).to_be_visible()
        assert "lang=" not in visitor.url


def upload(page: Page, name: str, data: bytes) -> None:
    page.locator("input[type=file]").set_input_files([])
    page.locator("input[type=file]").set_input_files({"name": name, "mimeType": "", "buffer": data})


def zipped(*texts: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for i, text in enumerate(texts):
            archive.writestr(f"text{i}.txt", text)
    return buffer.getvalue()


def test_a_gb18030_file_and_a_zip_can_be_uploaded_and_trained_on(page: Page, server: Server) -> None:
    """A text in GB18030 and one in a zip are decoded correctly."""
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
    (b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 20, "encoding of the file is not recognized"),
    (zipped(b"one text " * 200, b"another " * 200), "holds 2 texts"),
    (zipped(b" a" * 15_000_000), "larger than 20,971,520 bytes unpacked"),
    (b"PK\x03\x04" + b"nothing" * 50, "zip cannot be read"),
)


def test_each_invalid_upload_shows_what_is_wrong(page: Page, server: Server) -> None:
    """One file after the other is refused with its reason, and the button stays disabled."""
    page.goto(f"{server.url}/train?corpus=upload&{SMALL}")
    page.locator("input[type=file]").wait_for(state="attached", timeout=60_000)
    for data, message in BAD_UPLOADS:
        upload(page, {b"PK": "text.zip", b"\x89P": "picture.png"}.get(data[:2], "text.txt"), data)
        expect(page.get_by_test_id("stAlert").filter(has_text=message)).to_be_visible()
        expect_no_training(page)


def test_pasted_text_and_settings_survive_a_reload_another_page_and_language(page: Page, server: Server) -> None:
    """An empty box says why nothing can be trained; what a visitor types is used at once, and is not lost."""
    open_page(page, f"{server.url}/train?corpus=paste&hidden_size=12")
    expect(page.get_by_text("The box is empty")).to_be_visible()
    expect_no_training(page)
    box = page.get_by_role("textbox", name="Your text")
    box.fill("the cat sat on the mat. " * 60)
    expect(page.get_by_text("of them different")).to_be_visible()
    expect(page.get_by_role("button", name="Train", exact=True)).to_be_enabled()
    page.reload()
    expect(page.get_by_text("of them different")).to_be_visible(timeout=60_000)
    expect(box).to_have_value(re.compile("^the cat sat"))
    go(page, "Home")
    go(page, "Train")
    expect(page.get_by_role("textbox", name="Your text")).to_have_value(re.compile("^the cat sat"))
    page.get_by_role("radio", name="中文").or_(page.get_by_role("button", name="中文")).click()
    expect(page.get_by_role("textbox", name="你的文本")).to_have_value(re.compile("^the cat sat"))
    expect(page.get_by_role("spinbutton", name="隐藏单元数")).to_have_value("12")


def test_choosing_a_preset_sets_every_setting(page: Page, server: Server) -> None:
    """A preset replaces all settings by its own, and the address names it."""
    open_page(page, f"{server.url}/train?hidden_size=12")
    page.get_by_text("Change", exact=True).click()
    expect(page.get_by_role("spinbutton", name="Hidden units")).to_have_value("12")
    page.get_by_role("combobox", name="Model and settings").click()
    page.get_by_role("option", name="LSTM from scratch, SGD").click()
    expect(page.get_by_role("spinbutton", name="Hidden units")).to_have_value("256")
    expect(page.get_by_role("spinbutton", name="Learning rate")).to_have_value("100")
    page.wait_for_url(re.compile("preset=lstm-scratch"))
    assert "hidden_size" not in page.url


def test_contradictory_settings_are_explained_before_the_button(page: Page, server: Server) -> None:
    """torch with the reset gate before the product cannot be trained, and the page says why."""
    open_page(page, f"{server.url}/train?reset=before&implementation=torch")
    expect(page.get_by_test_id("stAlert").filter(has_text="reset gate after the matrix product")).to_be_visible()
    expect_no_training(page)


def test_a_diverging_run_says_so(page: Page, server: Server) -> None:
    """A run whose numbers stop being finite ends as failed, with a message, and keeps its curves."""
    open_page(
        page,
        f"{server.url}/train?cell=rnn&activation=relu&optimizer=sgd&learning_rate=10000&clip=0&epochs=50&{SMALL}",
    )
    train(page)
    expect(page.get_by_test_id("stAlert").filter(has_text="The training diverged")).to_be_visible(timeout=60_000)
    expect(progress(page)).to_contain_text("Failed")


def test_an_absurd_perplexity_is_a_divergence_and_the_page_says_what_clipping_would_have_done(
    page: Page, server: Server
) -> None:
    """A run whose numbers stay finite to the end is not called finished."""
    open_page(page, f"{server.url}/train?cell=rnn&optimizer=sgd&learning_rate=100&clip=0&epochs=5&{SMALL}")
    train(page)
    alert = page.get_by_test_id("stAlert").filter(has_text="The training diverged: in the last epoch (5)")
    expect(alert).to_be_visible(timeout=60_000)
    expect(progress(page)).to_contain_text("Failed")
    expect(page.get_by_text("With θ = 0.01 no step would have been longer than ηθ = 1.")).to_be_visible()


def recorded(home: Path, cell: CellName, name: str, values: NDArray[np.float32]) -> str:
    """The id of a finished run whose newest recording has these values of one signal, (T, h)."""
    config = TrainConfig(
        ModelConfig(cell=cell, hidden_size=values.shape[1], activation="relu", implementation="scratch"),
        corpus="sums",
        max_chars=500,
        epochs=1,
        batch_size=2,
        num_steps=10,
        probe="1+2=3"[: len(values)],
    )
    corpus = split(read("sums"), "sums", max_chars=500)
    run = Run.create(config, corpus, home / "runs" / secrets.token_hex(10))
    execution = Execution.start(run, Trainer(config, corpus))
    execution.advance(5)
    trace = execution.trace(config.probe)
    run.save_recording(replace(trace, signals={**trace.signals, f"layer1.forward.{name}": values}))
    run.set_status(Status("finished"))
    return run.id


VALUES = np.array([[-15.9409, 0.00123456, 2.0], [8.72963, -0.5, 123.456], [0.0, 1.25e-5, 1.0]], dtype=np.float32)
SHOWN = [["-15.9", "0.00123", "2.00"], ["8.73", "-0.500", "123"], ["0.00", "0.0000125", "1.00"]]


@pytest.mark.parametrize(("cell", "name", "symbol"), [("lstm", "C", "Cₜ"), ("rnn", "H", "Hₜ"), ("gru", "Z", "Zₜ")])
def test_pointing_at_a_heatmap_cell_shows_the_recorded_value(
    page: Page, server: Server, cell: CellName, name: str, symbol: str
) -> None:
    """It has three digits, even beyond the ends of the colours, which the bar marks if a signal has no bounds."""
    run_id = recorded(server.home, cell, name, VALUES)
    open_page(page, f"{server.url}/train?run={run_id}&signal={name}&units=index")
    bar = chart(page, "gates").locator(".colorbar")
    expect(bar).to_contain_text(symbol)
    assert [end in (bar.text_content() or "") for end in ("≤ −20", "≥ 20")] == [name != "Z"] * 2
    chart(page, "gates").scroll_into_view_if_needed()
    script = """([t, unit]) => {
      const plot = document.querySelector(".live-chart[data-name=gates]");
      const { xaxis, yaxis } = plot._fullLayout;
      const box = plot.getBoundingClientRect();
      return [box.left + xaxis._offset + xaxis.c2p(t), box.top + yaxis._offset + yaxis.c2p(unit)];
    }"""
    equation = find_cell(cell, "after", "relu").equations[name]
    for t, unit in itertools.product(range(3), range(3)):
        page.mouse.move(*page.evaluate(script, [t, unit]))
        box = page.locator(".live-chart[data-name=gates] .hovertext")
        expect(box).to_contain_text(f"{symbol} = {SHOWN[t][unit]}{equation}")


def test_an_unknown_run_is_reported(page: Page, server: Server) -> None:
    """An address with a run that does not exist shows a message and the shipped run."""
    open_page(page, f"{server.url}/train?run={'0' * 20}")
    expect(page.get_by_test_id("stAlert")).to_have_text(re.compile("There is no run 0{20}$"))


def test_downloads_contain_the_run(page: Page, server: Server) -> None:
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


def test_a_chart_is_saved_with_the_title_caption_and_background_chosen(page: Page, server: Server) -> None:
    """The gates, for instance, are saved as pixels and as SVG. Their table and its CSV have a row per character."""
    open_page(page, f"{server.url}/train?units=index")
    page.locator("figure").filter(has=chart(page, "gates")).get_by_role("button", name="Table and files").click()
    window = page.get_by_role("dialog")
    window.get_by_label("Title").fill("Gates <of> a GRU & 门")
    window.get_by_label("Caption").fill("What it reads")
    window.get_by_role("radio", name="Dark").check()

    def saved(kind: str) -> bytes:
        with page.expect_download() as download:
            window.get_by_role("button", name=kind, exact=True).click()
        return Path(download.value.path()).read_bytes()

    picture = ElementTree.fromstring(saved("SVG"))  # noqa: S314  made by the app
    texts = [text.text for text in picture.findall("{http://www.w3.org/2000/svg}text")]
    assert texts == ["Gates <of> a GRU & 门", "What it reads"]
    paper = picture.find("{http://www.w3.org/2000/svg}rect")
    assert paper is not None
    assert paper.get("fill") == "#12161C"
    assert (paper.get("width"), paper.get("height")) == (picture.get("width"), picture.get("height"))
    script = """async (data) => {
      const image = await createImageBitmap(await (await fetch("data:image/png;base64," + data)).blob());
      const pen = new OffscreenCanvas(image.width, image.height).getContext("2d");
      pen.drawImage(image, 0, 0);
      return [image.width, image.height, ...pen.getImageData(2, 2, 1, 1).data];
    }"""
    width, height, *corner = page.evaluate(script, base64.b64encode(saved("PNG")).decode())
    assert corner == [0x12, 0x16, 0x1C, 255]
    assert (width, height) == (2 * int(picture.get("width", 0)), 2 * int(picture.get("height", 0)))

    trace = Run.open(DATA / "example-en").recording()
    assert trace is not None
    titles, *rows = csv.reader(io.StringIO(saved("CSV").decode("utf-8-sig")))
    assert len(titles) == 1 + trace.signal("Z").shape[1]
    assert len(rows) == len(trace.text) == window.locator("tbody tr").count()
    values = np.array([row[1:] for row in rows], dtype=np.float32)
    np.testing.assert_allclose(values, trace.signal("Z"), rtol=1e-6)


def test_a_visitors_text_is_not_a_formula_in_the_browsers_csv(page: Page, server: Server) -> None:
    """Its cells get an apostrophe, like those in the tables that the server writes."""
    open_page(page, f"{server.url}/train")
    script = """async (cells) => {
      const address = document.querySelector(".live-charts").dataset.module;
      const { csvOf } = await import(new URL("chart_files.js", new URL(address, document.baseURI)));
      return csvOf([["text", cells]]);
    }"""
    cells = [*FORMULAS, "-1.5", "=", "a=b"]
    rows = csv.reader(io.StringIO(page.evaluate(script, cells).removeprefix("\ufeff"), newline=""))
    assert [row[0] for row in rows] == ["text", *(f"'{text}" for text in FORMULAS), "-1.5", "=", "a=b"]


def test_a_phone_shows_one_column_without_sideways_scrolling(browser: Browser, server: Server) -> None:
    """At 390 pixels nothing is cut off, and each chart stands below its title.

    The characters below the heatmap are thinned out and do not overlap.
    """
    over_titles = """() => [...document.querySelectorAll(".live-charts figure")].filter((figure) => {
      const [title, frame] = ["figcaption", ".chart-frame"].map((part) => figure.querySelector(part));
      return frame.getBoundingClientRect().top < title.getBoundingClientRect().bottom;
    }).map((figure) => figure.textContent)"""
    for phone in visit(browser, viewport={"width": 390, "height": 844}):
        open_page(phone, f"{server.url}/train")
        assert phone.evaluate("document.documentElement.scrollWidth") <= 390
        assert phone.evaluate(over_titles) == []
        boxes = (
            chart(phone, "gates")
            .locator(".xtick text")
            .evaluate_all("ticks => ticks.map((t) => t.getBoundingClientRect()).map((r) => [r.left, r.right])")
        )
        assert len(boxes) > 5
        assert all(right <= left + 1 for (_, right), (left, _) in itertools.pairwise(boxes))


def scrolled(page: Page) -> float:
    """How many pixels of the page are scrolled out of sight at the top."""
    return float(page.evaluate("document.querySelector('[data-testid=stMain]').scrollTop"))


def test_a_finger_on_a_chart_scrolls_the_page(browser: Browser, server: Server) -> None:
    """It does not zoom into the chart, and no button of the chart covers its legend."""
    for phone in visit(browser, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True):
        open_page(phone, f"{server.url}/train")
        plot = chart(phone, "perplexity")
        plot.scroll_into_view_if_needed()
        ranges, box = axis_ranges(phone, "perplexity"), plot.bounding_box()
        assert box
        before = scrolled(phone)
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] * 0.7
        finger = phone.context.new_cdp_session(phone)
        finger.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]})
        for moved in range(12, 150, 12):
            finger.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [{"x": x, "y": y - moved}]})
        finger.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        wait_until(lambda phone=phone, before=before: scrolled(phone) > before + 50, 10)
        assert axis_ranges(phone, "perplexity") == ranges
        figure = phone.locator("figure").filter(has=plot)
        place = (
            "(f) => [f.querySelector('.chart-tools'), f.querySelector('.legend')].map((e) => e.getBoundingClientRect())"
        )
        tools, legend = figure.evaluate(place)  # both in one moment: the page may still be scrolling
        assert tools["bottom"] <= legend["top"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_charts_take_the_colours_of_the_theme(browser: Browser, server: Server, scheme: Any) -> None:
    """Labels are light on a dark page, and dark on a light one."""
    for visitor in visit(browser, color_scheme=scheme):
        open_page(visitor, f"{server.url}/train")
        colour = visitor.evaluate("document.querySelector('.live-chart[data-name=perplexity]')._fullLayout.font.color")
        red = int(re.sub("[^0-9a-fA-F]", "", colour)[:2], 16)
        assert (red > 128) == (scheme == "dark")
