"""Visits in Chromium: the language changed on every page, Back and Forward, one run in two tabs, a pasted text."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, WebSocketRoute, expect

from rnnviz.i18n import LANGUAGES, translator
from rnnviz.runs.folder import Run
from rnnviz.ui.frame import PAGES, heading
from tests.browser.helpers import (
    ADDRESSES,
    SMALL,
    Server,
    arrived,
    curve,
    formulas,
    go,
    progress,
    train,
    visit,
    wait_until,
)

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]


# Everything that a visitor reads on what can be chosen or pressed, and which choices are made.
READ = """() => [
  ...[...document.querySelectorAll("[data-testid=stMain] [data-testid=stWidgetLabel]")].map((e) => e.innerText),
  ...[...document.querySelectorAll("[data-testid=stMain] [data-testid=stSelectbox] input")].map((e) => e.value),
  ...[...document.querySelectorAll("[data-testid=stMain] [data-testid=stSelectbox] [data-baseweb=select]")]
    .map((e) => e.innerText),
  ...[...document.querySelectorAll("[data-testid=stMain] [data-testid=stButtonGroup] :is(button, [role=radio])")]
    .map((e) => e.innerText + (e.matches("[aria-checked=true], [aria-pressed=true]") ? "*" : "")),
  ...[...document.querySelectorAll(".chart-tools button, .chart-slider label")].map((e) => e.title || e.innerText),
].map((text) => text.trim()).filter(Boolean)"""


# The script has ended, and every chart or the cell is drawn; the status page has only numbers.
SETTLED = """() => {
  const charts = [...document.querySelectorAll(".live-chart[aria-label]")];
  return document.querySelector("[data-test-script-state=notRunning]") &&
    (charts.length > 0 || document.querySelector(".cell-view svg") ||
      (location.pathname === "/status" && document.querySelector("[data-testid=stMetric]"))) &&
    charts.every((chart) => chart.querySelector(".plot-container"));
}"""


# Where the first picture of the page's main part begins and ends, in pixels from the top of the window.
FIRST_PICTURE = """() => {
  const pictures = "[data-testid=stMain] :is(.cv-stage, .live-chart[aria-label], .linked-equation, .reproduction)";
  const { top, bottom } = document.querySelector(pictures).getBoundingClientRect();
  return [top, bottom];
}"""


def switch(page: Page, name: str, title: str) -> None:
    """Choose a language, and wait until the page is shown in it."""
    page.get_by_role("radio", name=name).or_(page.get_by_role("button", name=name)).click()
    settled(page, title)


def settled(page: Page, title: str) -> None:
    expect(page.get_by_role("heading", level=1)).to_have_text(title, timeout=60_000)
    page.wait_for_function(SETTLED, timeout=60_000)
    expect(page.get_by_test_id("stException")).to_have_count(0)


def read(page: Page) -> list[str]:
    """The texts on the page once nothing is added any more."""
    before: list[str] | None = None
    now: list[str] = page.evaluate(READ)
    while now != before:
        page.wait_for_timeout(500)
        before, now = now, page.evaluate(READ)
    return now


def left_in_english(texts: list[str]) -> list[str]:
    """Those that have a translation; names such as GRU are the same in both languages."""
    bare = [text.removesuffix("*") for text in texts]
    return [text for text in bare if translator("zh")(text) != text and not text.isupper()]


def in_chinese(page: Page) -> bool:
    return any(re.search("[一-鿿]", text) for text in page.evaluate(READ))


def name_of(address: str) -> str:
    return re.split(r"[/?]", address)[1] or "home"


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_chapter_opens_on_its_picture(browser: Browser, server: Server, language: str) -> None:
    """At 1280 by 800 it begins within the first 300 pixels, and all of it is seen without scrolling."""
    for page in visit(browser, reduced_motion="reduce", viewport={"width": 1280, "height": 800}):
        for info in PAGES:
            if info.name in ("home", "status"):
                continue
            page.goto(f"{server.url}/{info.name}?lang={language}")
            settled(page, translator(language)(info.title))
            top, bottom = page.evaluate(FIRST_PICTURE)
            assert top <= 300, info.name
            assert bottom <= 800, info.name


def unfold(page: Page) -> None:
    """Open everything that is folded away, also inside what is folded away."""
    closed = page.locator("[data-testid=stMain] details:not([open]) > summary")
    while closed.count():
        closed.evaluate_all("all => all.forEach((summary) => summary.click())")
        page.wait_for_timeout(100)
    page.wait_for_function(SETTLED, timeout=60_000)


def barriers(page: Page) -> list[str]:
    """The problems that axe-core finds on the page."""
    found = Axe().run(page).response["violations"]
    return [f"{rule['id']}: {node['html'][:200]} {node['failureSummary']}" for rule in found for node in rule["nodes"]]


@pytest.mark.parametrize("address", ADDRESSES)
def test_every_page_changes_its_language_and_back_and_is_accessible(
    browser: Browser, server: Server, address: str
) -> None:
    """Change from Chinese (dark) to English (light) and back to Chinese, with everything unfolded.

    There is no exception, no label in the wrong language and no problem for axe-core, and every choice is kept.
    """
    title, chinese = (heading(name_of(address), translator(language)) for language in ("en", "zh"))
    for page in visit(browser, color_scheme="dark"):
        page.goto(f"{server.url}{address}{'&' if '?' in address else '?'}lang=zh")
        settled(page, chinese)
        unfold(page)
        before = read(page)
        assert left_in_english(before) == []
        assert barriers(page) == []
        page.emulate_media(color_scheme="light")
        switch(page, "English", title)
        wait_until(lambda page=page: not in_chinese(page), 20)
        unfold(page)
        assert barriers(page) == []
        switch(page, "中文", chinese)
        unfold(page)
        wait_until(lambda page=page, before=before: page.evaluate(READ) == before, 20)


def test_code_whose_lines_have_become_long_can_be_focused(page: Page, server: Server) -> None:
    """Its place scrolls, though it has kept its size; so it does where a language has longer comments."""
    page.goto(f"{server.url}/sequences?lang=en")
    settled(page, "Sequences")
    unfold(page)
    code = page.locator("[data-testid=stCode] pre[data-seen]").first
    expect(code).to_be_visible()
    code.evaluate("(pre) => (pre.querySelector('code').lastChild.textContent = 'x'.repeat(400))")
    expect(code).to_have_attribute("tabindex", "0")
    code.evaluate("(pre) => (pre.querySelector('code').lastChild.textContent = 'x')")
    expect(code).not_to_have_attribute("tabindex", "0")


def test_every_page_is_among_the_addresses() -> None:
    """Because of this, the test above also opens pages that are added later."""
    assert {name_of(address) for address in ADDRESSES} == {info.name for info in PAGES}


def test_the_language_changes_while_a_run_goes_on(page: Page, server: Server) -> None:
    """Each change is followed by the fragments' own requests, which still carry the other language's labels."""
    page.goto(f"{server.url}/train?lang=zh&epochs=5000&{SMALL}")
    settled(page, "训练")
    train(page, "训练")
    expect(progress(page)).to_contain_text("训练中")
    for name, title, state in (("English", "Train", "Training"), ("中文", "训练", "训练中")) * 2:
        switch(page, name, title)
        expect(progress(page)).to_contain_text(state)
        line = "training" if name == "English" else translator("zh")("training")
        count = len(curve(page, "perplexity", line))
        wait_until(lambda line=line, count=count: len(curve(page, "perplexity", line)) > count)
        expect(page.get_by_test_id("stException")).to_have_count(0)
    switch(page, "English", "Train")
    page.get_by_role("button", name="Stop").click()
    expect(progress(page)).to_contain_text("Stopped")


def test_an_uploaders_texts_are_in_the_readers_language(page: Page, server: Server) -> None:
    """Streamlit's own are English and are replaced by ours."""
    script = """() => ["Dropzone] button p", "DropzoneInstructions] span"].map((part) =>
      getComputedStyle(document.querySelector("[data-testid=stFileUploader" + part), "::after").content)"""
    for language, words in (("zh", ["选择文件", "最大 20 MB"]), ("en", ["Choose a file", "at most 20 MB"])):
        page.goto(f"{server.url}/train?corpus=upload&lang={language}")
        page.get_by_test_id("stFileUploader").wait_for(timeout=60_000)
        wait_until(lambda words=words: page.evaluate(script) == [f'"{word}"' for word in words], 20)


def test_a_file_that_the_browser_refuses_is_reported_in_the_readers_language(
    page: Page, server: Server, tmp_path: Path
) -> None:
    """Streamlit itself says so only in English, in a tooltip."""
    large = tmp_path / "large.txt"
    with large.open("wb") as file:
        file.truncate(21 * 2**20)
    script = """() => [".st-key-file", "[data-testid=stFileChip] [role=alert]"].map((part) =>
      getComputedStyle(document.querySelector(part), "::after").content)"""
    for language, words in (
        ("zh", "这个文件无法上传：文件最大 20 MB。"),
        ("en", "This file could not be uploaded. A file may have at most 20 MB."),
    ):
        page.goto(f"{server.url}/train?corpus=upload&lang={language}")
        box = page.locator("input[type=file]")
        box.wait_for(state="attached", timeout=60_000)
        box.set_input_files(large)
        page.locator("[data-testid=stFileChip][aria-invalid=true]").wait_for()
        assert page.evaluate(script) == [f'"{words}"'] * 2


# Back and Forward


def step(page: Page) -> str:
    """The time step at which the slider is."""
    return page.locator(".chart-slider output").first.inner_text()


def test_back_leads_to_the_page_before_and_forward_to_the_last_step(page: Page, server: Server) -> None:
    """Ten steps are not ten pages, and a page gone back to is as its address says, not as another was left."""
    page.goto(f"{server.url}/train?hidden_size=12&sampling=random")
    arrived(page, "Train")
    go(page, "RNN")
    wait_until(lambda: step(page).startswith("6 "), 20)
    for t in range(6, 16):
        page.keyboard.press("ArrowRight")
        page.wait_for_url(re.compile(rf"/rnn\?.*t={t}\b"))
    page.go_back()
    arrived(page, "Train")
    wait_until(lambda: {"hidden_size=12", "sampling=random"} <= set(page.url.split("?")[1].split("&")), 20)
    page.get_by_text("Change", exact=True).click()
    expect(page.get_by_role("spinbutton", name="Hidden units")).to_have_value("12")
    page.go_forward()
    arrived(page, "RNN")
    page.wait_for_url(re.compile(r"/rnn\?.*t=15"))
    wait_until(lambda: step(page).startswith("16 "), 20)

    go(page, "Home")
    go(page, "RNN")  # as it was left, until it is stepped on
    wait_until(lambda: step(page).startswith("16 "), 20)
    page.keyboard.press("ArrowRight")
    page.wait_for_url(re.compile(r"t=16\b"))
    page.go_back()
    arrived(page, "Home")
    page.go_back()
    arrived(page, "RNN")
    wait_until(lambda: step(page).startswith("16 ") and "t=15" in page.url, 20)


def test_a_late_answer_does_not_disturb_the_page_gone_back_to(page: Page, server: Server) -> None:
    """A step is not answered yet when Back is pressed; the answer's address is not that of the page before."""
    page.goto(f"{server.url}/train?hidden_size=12")
    arrived(page, "Train")
    go(page, "RNN")
    wait_until(lambda: step(page).startswith("6 "), 20)
    page.keyboard.press("ArrowRight")
    page.wait_for_timeout(610)  # the slider is at rest, and the server has just been told
    page.go_back()
    arrived(page, "Train")
    page.wait_for_timeout(1000)
    expect(page.get_by_role("heading", level=1)).to_have_text("Train")
    wait_until(lambda: set(page.url.split("?")[1].split("&")) == {"hidden_size=12", "corpus=tales-en"}, 20)


def test_a_typed_address_shows_its_settings(page: Page, server: Server) -> None:
    """This also works for the page on which the visitor is, and Back leads to what was there."""
    page.goto(f"{server.url}/rnn?t=9")
    arrived(page, "RNN")
    wait_until(lambda: step(page).startswith("10 "), 20)
    page.goto(f"{server.url}/rnn?t=3&model=tiny-relu")
    wait_until(lambda: step(page).startswith("4 "), 60)
    expect(page.locator(".linked-equation .lines")).to_contain_text("ReLU(")
    page.go_back()
    wait_until(lambda: step(page).startswith("10 "), 60)
    expect(page.locator(".linked-equation .lines")).to_contain_text("tanh(")


@pytest.mark.parametrize(
    ("address", "first"),
    [
        ("rnn?t=abc", "6 "),
        ("rnn?t=9999", "6 "),
        ("language_model?t=-1", "5 "),
        ("gradients?at=5", "5 "),
        ("gradients?at=²", "5 "),
    ],
)
def test_where_the_text_lacks_the_step_the_page_opens_on_its_own(
    page: Page, server: Server, address: str, first: str
) -> None:
    """Nonsense in the address does no harm: slider and equation are at the step that the page opens on without it."""
    page.goto(f"{server.url}/{address}")
    slider = page.locator(".chart-slider output").filter(visible=True)
    expect(slider).to_have_text(re.compile(f"^{first}"), timeout=60_000)
    t = int(first)
    if address.startswith("rnn"):
        expect(page.locator(".linked-equation")).to_have_attribute("aria-label", re.compile(rf"Step {t} reads"))
    elif address.startswith("language"):
        expect(page.locator(".term-sum")).to_contain_text(f"P(x{t} | …)")
    else:
        wait_until(lambda: f"{{dH_{{{t}}}}}_" in page.evaluate(formulas("at")), 20)
    assert page.get_by_test_id("stAlert").count() == 0


def test_a_slider_works_together_with_other_settings(page: Page, server: Server) -> None:
    """The address has both, although one is chosen before the server has answered the other, and a run uses both."""
    held: list[str | bytes] = []
    slow = False

    def connect(browser: WebSocketRoute) -> None:
        browser.connect_to_server().on_message(lambda answer: held.append(answer) if slow else browser.send(answer))
        streams.append(browser)

    streams: list[WebSocketRoute] = []
    page.route_web_socket(re.compile("_stcore/stream"), connect)
    page.goto(f"{server.url}/gradients?tab=clipping&variant=lstm")
    arrived(page, "Gradients")
    slow = True
    page.get_by_role("slider", name="Threshold θ").press("ArrowRight")
    page.wait_for_url(re.compile("theta=1\\b"))
    page.wait_for_timeout(500)  # the slider's request is done, and its answer is on the way
    page.get_by_role("radio", name="RNN, SGD").or_(page.get_by_role("button", name="RNN, SGD")).click()
    slow = False
    for answer in held:
        streams[-1].send(answer)
    page.wait_for_url(re.compile("variant=rnn-sgd"))
    arrived(page, "Gradients")
    assert {"tab=clipping", "theta=1", "variant=rnn-sgd"} <= set(page.url.split("?")[1].split("&"))
    train(page)
    run = Run.open(server.home / "runs" / page.url.split("run=")[1][:20])
    assert (run.config.clip, run.config.optimizer) == (1, "sgd")


# One run in two tabs


def test_a_tab_follows_what_another_does_with_a_run(browser: Browser, page: Page, server: Server) -> None:
    """A run paused in one tab is shown as paused in the other, and likewise when resumed; the buttons change too."""
    page.goto(f"{server.url}/train?epochs=5000&{SMALL}")
    arrived(page, "Train")
    train(page)
    expect(progress(page)).to_contain_text("Training")
    page.get_by_role("button", name="Pause").click()
    expect(progress(page)).to_contain_text("Paused")
    for other in visit(browser):
        other.goto(page.url)
        expect(progress(other)).to_contain_text("Paused", timeout=60_000)
        page.get_by_role("button", name="Resume").click()
        expect(progress(other)).to_contain_text("Training", timeout=8_000)
        expect(other.get_by_role("button", name="Pause")).to_be_visible()
        other.get_by_role("button", name="Pause").click()
        expect(progress(page)).to_contain_text("Paused", timeout=8_000)
        expect(page.get_by_role("button", name="Resume")).to_be_visible()
        page.get_by_role("button", name="Stop").click()
        expect(progress(other)).to_contain_text("Stopped", timeout=8_000)
        expect(other.get_by_role("button", name="Stop")).to_have_count(0)


# The visitor's own text


def test_the_first_click_after_pasting_trains(page: Page, server: Server) -> None:
    """A long text is used without leaving the box, the page says how much of it counts, and one click is enough."""
    page.goto(f"{server.url}/train?corpus=paste&epochs=2&batch_size=4&num_steps=10&hidden_size=8")
    arrived(page, "Train")
    page.get_by_role("textbox", name="Your text").click()
    page.keyboard.insert_text("the cat sat on the mat. " * 6250)
    expect(page.get_by_text("4,400 of your text’s 150,000 characters are used")).to_be_visible()
    button = page.get_by_test_id("stMain").get_by_role("button", name="Train", exact=True)
    expect(button).to_be_enabled()
    place = button.bounding_box()
    assert place
    page.mouse.click(place["x"] + place["width"] / 2, place["y"] + place["height"] / 2)
    page.wait_for_url(re.compile("run=[0-9a-f]{20}"))
    expect(progress(page)).to_contain_text("Finished", timeout=60_000)
