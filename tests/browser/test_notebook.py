"""The script of a notebook's pictures in a browser, with a model as anywidget hands it over, but without a notebook."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page

import rnnviz
from rnnviz import notebook
from rnnviz.runs.folder import Run
from rnnviz.text.corpora import DATA
from tests.browser.helpers import wait_until

# As anywidget does: the script is started alone, and then asked to draw. The test keeps what it changes later.
START = """async ({ esm, plotly, figures, widgets }) => {
  const began = performance.now();
  const script = await import(URL.createObjectURL(new Blob([esm], { type: "text/javascript" })));
  window.started = performance.now() - began;
  window.models = [];
  for (let i = 0; i < widgets; i++) {
    const state = { plotly, figures };
    const heard = new Set();
    window.models.push({
      set: (changed) => { state.figures = JSON.stringify(changed); for (const call of heard) call(); },
      get: (name) => state[name],
      on: (_event, call) => heard.add(call),
      off: (_event, call) => heard.delete(call),
    });
    const el = document.body.appendChild(document.createElement("section"));
    const drawn = script.default.render({ model: window.models[i], el });
    window.cleanups = [...(window.cleanups ?? []), drawn];
  }
}"""
# In the place of plotly.js: it is there after three seconds, and counts its starts.
SLOW = """
window.starts = (window.starts ?? 0) + 1;
await new Promise((resolve) => setTimeout(resolve, 3000));
window.Plotly = {
  react: (plot, data) => (plot.textContent += JSON.stringify(data)),
  purge: () => (window.purged = true),
};
"""
FIRST = '[{"data": [0], "layout": {"height": 200}}]'


@pytest.fixture
def pictures(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The widget of a run's pictures."""
    shown: list[Any] = []
    monkeypatch.setattr(notebook, "_display", shown.append)
    rnnviz.show(Run.open(DATA / "example-en"))
    return shown[0]


def test_pictures_that_come_late_are_the_newest(page: Page, pictures: Any) -> None:
    """The script is there at once, so anywidget hands on what is sent while plotly.js starts, which it does once.

    All of it but the newest figures is left out, and the place of a picture is kept free until then.
    """
    page.evaluate(START, {"esm": pictures._esm, "plotly": SLOW, "figures": FIRST, "widgets": 2})
    for t in (1, 2):
        page.evaluate("(t) => window.models[1].set([{ data: [t], layout: { height: 200 } }])", t)
    assert page.evaluate("window.started") < 1000
    places = page.locator("section > div")
    assert [box["height"] for place in places.all() if (box := place.bounding_box())] == [200, 200]
    assert places.all_text_contents() == ["", ""]
    wait_until(lambda: places.all_text_contents() == ["[0]", "[2]"])
    page.evaluate("window.models[0].set([{ data: [3], layout: { height: 200 } }])")
    wait_until(lambda: places.all_text_contents() == ["[0][3]", "[2]"])
    assert page.evaluate("window.starts") == 1
    page.evaluate("async () => (await window.cleanups[0])()")
    assert page.evaluate("window.purged")
    page.evaluate("window.models[0].set([{ data: [4], layout: { height: 200 } }])")
    page.wait_for_timeout(200)
    assert places.all_text_contents() == ["[0][3]", "[2]"]


def test_pictures_are_as_wide_as_the_notebook_and_keep_their_zoom(page: Page, pictures: Any) -> None:
    """Plotly itself draws them, after a change of the width as well; newer figures leave a zoom as it is."""
    state = {"esm": pictures._esm, "plotly": pictures.plotly, "figures": pictures.figures, "widgets": 1}
    page.evaluate(START, state)
    plots = page.locator(".js-plotly-plot")
    wait_until(lambda: plots.count() == 3)
    widths = "[...document.querySelectorAll('.js-plotly-plot')].map((plot) => Math.round(plot._fullLayout.width))"
    for width in (900, 700):
        page.evaluate("(width) => (document.querySelector('section').style.width = `${width}px`)", width)
        wait_until(lambda: page.evaluate(widths) == [width] * 3)  # noqa: B023  it is called at once
    assert [box["height"] for plot in plots.all() if (box := plot.bounding_box())] == [300, 260, 420]
    first = "document.querySelector('.js-plotly-plot')"
    whole = page.evaluate(f"{first}._fullLayout.xaxis.range")
    box = plots.first.locator(".nsewdrag").bounding_box()
    assert box
    page.mouse.move(box["x"] + 100, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + 300, box["y"] + 150, steps=5)
    page.mouse.up()
    wait_until(lambda: page.evaluate(f"{first}._fullLayout.xaxis.range") != whole)
    zoomed = page.evaluate(f"{first}._fullLayout.xaxis.range")
    page.evaluate(
        """() => {
          const figures = JSON.parse(window.models[0].get("figures"));
          figures[0].data[0].y = figures[0].data[0].y.map(() => 7);
          window.models[0].set(figures);
        }"""
    )
    wait_until(lambda: set(page.evaluate(f"[...{first}.data[0].y]")) == {7})
    assert page.evaluate(f"{first}._fullLayout.xaxis.range") == zoomed
