// Plotly charts that are updated in place: no flicker, and zoom and hover survive.
//
// `data` has charts as charts.py packs them, each a figure in Plotly's JSON with its texts; the slider
// that chooses among their frames; and as long as there is more to come, the address to ask for
// it. plotly.js is loaded once per page from the address in `data-plotly`. Colours and fonts come from
// Streamlit's theme, read at every drawing. Users' text reaches Plotly only as axis labels, one
// character each.

import { paintFirst } from "./chart_first_frame.js";
import { Multiples } from "./chart_multiples.js";
import { Slider, frameOf } from "./chart_slider.js";
import { Tools, speak } from "./chart_tools.js";
import { LEAST_TEXT, onWall, projected } from "./chart_wall.js";
import { setLanguage } from "./page.js";

const leastSign = () => (projected() ? LEAST_TEXT : 11); // pixels of the signs in a grid; if there is less room, the chart scrolls
const COARSE = matchMedia("(pointer: coarse)");
const places = new WeakMap(); // the state of each component
let loading = null;

function loadPlotly(address) {
  loading ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = address;
    script.onload = () => resolve(window.Plotly);
    script.onerror = () => reject(new Error("plotly.js could not be loaded from " + address));
    document.head.appendChild(script);
  });
  return loading;
}

// Have the browser fetch a script that it will run later; until the first charts are painted, running it would delay them.
function fetchEarly(address) {
  document.head.append(Object.assign(document.createElement("link"), { rel: "preload", as: "script", href: address }));
}

function pageColours(host) {
  const style = getComputedStyle(host);
  const read = (name, otherwise) => style.getPropertyValue("--st-" + name).trim() || otherwise;
  return {
    background: read("background-color", "#fff"),
    text: read("text-color", "#31333f"),
    grid: read("border-color", "rgba(128,128,128,0.25)"),
    font: read("font", "sans-serif"),
  };
}

function themed(layout, { background, text, grid, font }, revision) {
  const axis = { gridcolor: grid, linecolor: grid, zerolinecolor: grid, automargin: true };
  // Plotly writes a zoom into the array that it gets, so it gets a copy.
  const withAxis = (own) => ({ ...axis, ...own, ...(own?.range && { range: [...own.range] }) });
  return {
    ...layout,
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: font, color: text, size: 13 },
    hoverlabel: { bgcolor: background, bordercolor: grid, font: { family: font, color: text, size: 13 }, align: "left" },
    ...Object.fromEntries(
      ["xaxis", "yaxis", ...Object.keys(layout).filter((key) => /^[xy]axis\d+$/.test(key))].map((key) => [key, withAxis(layout[key])])
    ),
    ...(COARSE.matches && { dragmode: false }), // a finger scrolls the page
    uirevision: revision, // a zoom belongs to what is shown: it stays until another run is
    autosize: true,
    template: undefined,
  };
}

// As many of the characters below a heatmap as fit side by side: every one, every second, and so on.
function thinned(layout, width) {
  const characters = layout.meta?.characters;
  if (!characters) return layout;
  const room = Math.max(width - 130, 60);
  const every = Math.max(1, Math.ceil((characters.length * 14) / room));
  const positions = characters.map((_, t) => t).filter((t) => t % every === 0);
  return {
    ...layout,
    xaxis: { ...layout.xaxis, tickvals: positions, ticktext: positions.map((t) => characters[t]) },
  };
}

// A grid of cells (`meta.columns` by `meta.rows`) has its signs as large as the cells allow: each
// trace's signs fill the share `meta.share` of a cell.
function fitted(figure, plot) {
  const { meta, margin } = figure.layout;
  if (!meta?.columns) return figure.data;
  const width = (plot.clientWidth - margin.l - margin.r) / meta.columns;
  const height = (plot.clientHeight - margin.t - margin.b) / meta.rows;
  return figure.data.map((trace) => {
    if (!trace.meta?.share) return trace;
    const size = Math.min(width, height, 34) * trace.meta.share;
    return trace.textfont
      ? { ...trace, textfont: { ...trace.textfont, size: Math.max(size, leastSign()) } }
      : { ...trace, marker: { ...trace.marker, size: Math.max(size, 4) } };
  });
}

// A grid is at least as wide as its signs need; on a narrower page its frame scrolls.
function widen(chart, { data, layout: { meta, margin } }) {
  const shares = data.filter((trace) => trace.textfont && trace.meta?.share).map((trace) => trace.meta.share);
  const needed = meta?.columns && shares.length ? (meta.columns * leastSign()) / Math.min(...shares) + margin.l + margin.r : 0;
  chart.plot.style.minWidth = needed ? Math.ceil(needed) + "px" : "";
}

// If the cells of a grid have partners `meta.partner` columns away, pointing at a cell frames both.
function frame(chart, point) {
  for (const rect of chart.plot.querySelectorAll(".partner")) rect.remove();
  const distance = chart.drawn?.layout.meta?.partner;
  if (!distance || !point) return;
  const other = point.x < distance ? point.x + distance : point.x - distance;
  for (const x of [point.x, other]) {
    const rect = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    const [left, right] = [x - 0.5, x + 0.5].map((edge) => point.xaxis.l2p(edge));
    const [top, bottom] = [point.y - 0.5, point.y + 0.5].map((edge) => point.yaxis.l2p(edge));
    const box = { x: left, y: top, width: right - left, height: bottom - top, fill: "none", "stroke-width": 3 };
    for (const [name, value] of Object.entries(box)) rect.setAttribute(name, value);
    rect.setAttribute("class", "partner");
    rect.style.stroke = getComputedStyle(chart.plot).getPropertyValue("--st-text-color");
    rect.style.pointerEvents = "none";
    chart.plot.querySelector(".overplot .xy").appendChild(rect);
  }
}

// A line chart's axes grow with its data, so uirevision alone would lose a zoom: it keeps what the
// visitor did only as long as the figure's own ranges stay the same. The zoomed ranges are kept here.
function zoomed(layout, chart) {
  const result = { ...layout };
  for (const [axis, range] of Object.entries(chart.zoom)) {
    if (layout[axis]?.range) result[axis] = { ...layout[axis], range: [...range] };
  }
  return result;
}

function noteZoom(chart, event) {
  const full = chart.drawn?.layout.xaxis?.range;
  if (!full) return;
  for (const axis of ["xaxis", "yaxis"]) {
    if (axis + ".range[0]" in event) chart.zoom[axis] = [event[axis + ".range[0]"], event[axis + ".range[1]"]];
    if (axis + ".range" in event) chart.zoom[axis] = [...event[axis + ".range"]];
  }
  const x = chart.zoom.xaxis;
  const wasReset = event["xaxis.autorange"] || event["yaxis.autorange"];
  const coversAll = x && "xaxis.range[0]" in event && x[0] <= full[0] + 1e-9 && x[1] >= full[1] - 1e-9;
  if (wasReset || coversAll) chart.zoom = {};
}

// Drawing closes the hover box; sending a pointer event at the same place opens it again.
function restoreHover(chart) {
  const { pointer, plot } = chart;
  if (!pointer) return;
  const under = document.elementFromPoint(pointer.x, pointer.y);
  if (under && plot.contains(under)) {
    under.dispatchEvent(new MouseEvent("mousemove", { clientX: pointer.x, clientY: pointer.y, bubbles: true }));
  }
}

// The figure as it is drawn: zoomed, in the size of its place, in the theme's colours.
function rendered(chart, figure, colours) {
  const layout = thinned(themed(zoomed(figure.layout, chart), colours, chart.revision), chart.plot.clientWidth);
  const data = fitted(figure, chart.plot);
  return projected() ? onWall({ data, layout }) : { data, layout };
}

// When what stands in the page now has been painted; at once, where nobody sees it.
function nextFrame() {
  return new Promise((resolve) => {
    requestAnimationFrame(() => setTimeout(resolve));
    setTimeout(resolve, document.hidden ? 0 : 1000); // a window that is covered may have no frames either
  });
}

let turn = Promise.resolve();

// Drawings take turns, each in a task of its own, so that the browser can answer and paint between them.
function nextTurn() {
  turn = turn.then(() => new Promise((resolve) => setTimeout(resolve)));
  return turn;
}

// Whether two frames of a chart differ in their shapes alone, which Plotly can move without drawing the rest again.
function moveShapesOnly(one, other) {
  const within = ({ patch: { data, revision, layout = {} } }) =>
    !data && !revision && Object.keys(layout).every((key) => key === "shapes");
  return one && one !== other && one.packed === other.packed && [one, other].every(within);
}

async function draw(chart) {
  if (chart.drawing) return; // the drawing under way picks up the newest figure when it ends
  chart.drawing = true;
  try {
    if (!window.Plotly) {
      await null; // the charts beside it are made first, so that it has its width
      const colours = pageColours(chart.plot);
      paintFirst(chart.plot, rendered(chart, chart.pending, colours), colours.grid);
      await nextFrame();
    }
    const Plotly = await loadPlotly(chart.address);
    await nextTurn();
    while (chart.pending && !chart.held && chart.plot.isConnected) {
      const figure = chart.pending;
      chart.pending = null;
      const { data, layout } = rendered(chart, figure, pageColours(chart.plot));
      const [stale, drawn] = [chart.stale, chart.drawn];
      chart.stale = false;
      if (!stale && moveShapesOnly(drawn, figure)) await Plotly.relayout(chart.plot, { shapes: layout.shapes });
      else await Plotly.react(chart.plot, data, layout, { displayModeBar: false, showTips: false, responsive: true });
      chart.plot.querySelector(".first-frame")?.remove();
      if (!chart.drawn) {
        chart.plot.on("plotly_relayout", (event) => noteZoom(chart, event));
        chart.plot.on("plotly_hover", (event) => frame(chart, event.points[0]));
        chart.plot.on("plotly_unhover", () => frame(chart, null));
      }
      chart.drawn = figure;
      frame(chart, null);
      chart.plot.dataset.drawings = String(Number(chart.plot.dataset.drawings ?? 0) + 1);
      restoreHover(chart);
      await nextTurn();
    }
  } catch (error) {
    chart.plot.textContent = String(error.message ?? error);
  } finally {
    chart.drawing = false;
  }
}

// A drawing during a drag would undo it, so wait until the button is up and Plotly has zoomed.
function hold(chart) {
  chart.held = true;
  const release = () => {
    chart.held = false;
    draw(chart);
  };
  window.addEventListener("mouseup", () => setTimeout(release, 100), { capture: true, once: true });
}

function element(tag, className) {
  const made = document.createElement(tag);
  made.className = className;
  return made;
}

function create(place, address, name) {
  const root = document.createElement("figure");
  const title = document.createElement("figcaption");
  const frame = element("div", "chart-frame");
  const plot = element("div", "live-chart");
  const caption = element("p", "chart-caption");
  plot.dataset.name = name;
  plot.setAttribute("role", "img");
  frame.append(plot);
  const chart = { address, name, root, title, plot, caption, pending: null, drawn: null, drawing: false, held: false, stale: false };
  Object.assign(chart, { pointer: null, zoom: {}, size: "" });
  chart.render = (colours) => rendered(chart, chart.drawn, { ...pageColours(plot), ...colours });
  chart.tools = new Tools(chart);
  root.append(title, chart.tools.root, frame, caption);
  place.append(root);
  plot.addEventListener("mousemove", (event) => {
    if (event.isTrusted) chart.pointer = { x: event.clientX, y: event.clientY };
  });
  plot.addEventListener("mouseleave", () => (chart.pointer = null));
  plot.addEventListener("mousedown", () => hold(chart), { capture: true });
  const redraw = () => {
    chart.stale = true;
    if (chart.drawn && !chart.pending) chart.pending = chart.drawn;
    draw(chart);
  };
  chart.resize = new ResizeObserver(() => {
    const size = `${plot.clientWidth} ${plot.clientHeight}`;
    if (chart.size !== size) {
      chart.size = size;
      redraw();
    }
    reachable(chart);
  });
  chart.resize.observe(plot);
  // A change of theme changes the variables, not the data.
  chart.colours = setInterval(() => {
    const colour = getComputedStyle(plot).getPropertyValue("--st-text-color");
    if (chart.colour !== undefined && chart.colour !== colour) redraw();
    chart.colour = colour;
  }, 500);
  return chart;
}

// Areas that scroll sideways can be focused with the keyboard, whose arrows then scroll them.
function reachable({ plot }) {
  const { scrollWidth, clientWidth } = plot.parentElement;
  if (scrollWidth > clientWidth + 1) plot.tabIndex = 0;
  else plot.removeAttribute("tabindex");
}

// W_hh in a title gets its index as a subscript.
function writeTitle(place, text) {
  place.replaceChildren();
  for (const [, plain, symbol, index] of text.matchAll(/(.*?)(?:([A-Z])_(\w+)|$)/g)) {
    place.append(plain, symbol ?? "");
    if (index) place.append(Object.assign(document.createElement("sub"), { textContent: index }));
  }
}

// Show the frame at this place of a packed chart.
function update(chart, packed, at) {
  const { title, caption, description, revision, height, table, data, layout } = frameOf(packed, at);
  if (chart.revision !== revision) chart.zoom = {};
  chart.revision = revision;
  writeTitle(chart.title, title);
  chart.caption.textContent = caption;
  chart.plot.style.setProperty("--height", height + "px");
  chart.plot.setAttribute("aria-label", description);
  chart.tools.label();
  chart.pending = { data, layout, table, packed, patch: packed.frames?.[at] ?? {} };
  widen(chart, chart.pending);
  draw(chart);
}

function remove(chart) {
  chart.resize.disconnect();
  clearInterval(chart.colours);
  chart.tools.remove();
  window.Plotly?.purge(chart.plot);
  chart.root.remove();
}

function display(place, { charts, sliders = [], version, source, every }) {
  if (source && source === place.source && version === place.version) return; // this chart arrived both ways
  slide(place, sliders);
  for (const [name, chart] of place.charts) {
    if (charts.some((packed) => packed.name === name)) continue;
    remove(chart);
    place.charts.delete(name);
  }
  Object.assign(place, { packed: charts, version, source, every });
  choose(place);
}

// A slider keeps its place in the page as long as there is one with its key.
function slide(place, sliders) {
  for (const [key, slider] of place.sliders) {
    if (sliders.some((it) => it.key === key)) continue;
    slider.remove();
    place.sliders.delete(key);
  }
  for (const given of sliders) {
    const { key } = given;
    if (!place.sliders.has(key)) {
      const slider = new Slider(place.element, () => choose(place), (value) => place.moved(key, value));
      place.sliders.set(key, slider);
    }
    place.sliders.get(key).show(given);
  }
  place.order = sliders.map(({ key }) => place.sliders.get(key));
}

// Show the frame at which the sliders stand of every chart that has frames, and the other charts as they are.
function choose(place) {
  const at = place.order.reduce((index, slider) => index * slider.values.length + slider.at, 0);
  for (const packed of place.packed) {
    const { name } = packed;
    if (!place.charts.has(name)) place.charts.set(name, create(place.element, place.address, name));
    update(place.charts.get(name), packed, at);
  }
  const last = place.order.at(-1);
  if (last?.multiples) {
    place.multiples ??= new Multiples(place.element);
    place.multiples.show(last, place.packed[0], at - last.at);
  } else {
    place.multiples?.remove();
    place.multiples = null;
  }
}

// Whether an answer is our server's. A proxy that passes only Streamlit's own addresses says 404, or sends a page.
function isServed(answer) {
  const type = answer.headers.get("content-type") ?? "";
  return answer.status !== 404 && !(answer.status === 200 && !type.startsWith("application/json"));
}

// Ask for newer charts as long as there may be any, out of step with the rest of the class.
function follow(place) {
  clearTimeout(place.timer);
  if (!place.every) return;
  place.timer = setTimeout(async () => {
    const { source, version } = place;
    try {
      const answer = document.hidden ? null : await fetch(source + "&version=" + version);
      if (answer && !isServed(answer)) {
        place.every = null;
        place.unserved();
        return;
      }
      // Meanwhile Streamlit may have shown something newer, or another run.
      if (answer?.status === 200 && place.source === source && place.version === version) {
        display(place, await answer.json());
        if (place.source !== source) place.turn(); // the run halts or goes on, so the buttons have to change as well
      }
    } catch {} // the server is away, as Streamlit reports; it may come back
    if (places.has(place.parent)) follow(place);
  }, place.every * 1000 * (0.85 + 0.3 * Math.random()));
}

function newPlace(parent, element, address) {
  return { parent, element, address, charts: new Map(), sliders: new Map(), order: [], multiples: null, told: {} };
}

export function show({ data, parentElement, setStateValue, setTriggerValue }) {
  const element = parentElement.querySelector(".live-charts");
  const address = element.dataset.plotly;
  const place = places.get(parentElement) ?? newPlace(parentElement, element, address);
  places.set(parentElement, place);
  place.turn = () => setTriggerValue("turned", true);
  place.unserved = () => setTriggerValue("unserved", true);
  place.moved = (key, value) => {
    place.told = { ...place.told, [key]: value };
    setStateValue("moved", place.told); // sent along with every later request
  };
  const message = JSON.parse(new TextDecoder().decode(data));
  if (message.expected) fetchEarly(address);
  if (message.words) {
    setLanguage(message.language);
    speak(message.words);
  }
  display(place, message);
  follow(place);
  return () => {
    clearTimeout(place.timer);
    place.charts.forEach(remove);
    for (const slider of place.sliders.values()) slider.remove();
    place.multiples?.remove();
    places.delete(parentElement);
  };
}
