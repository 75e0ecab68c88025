// Plotly charts that are updated in place: no flicker, and zoom and hover survive.
//
// `data` has charts as live.py packs them: each a figure in Plotly's JSON, in which every heatmap's
// `z` is in 16-bit steps, and what is said about it; and while there is more to come the address
// to ask for it. plotly.js is loaded once a page from the address in `data-plotly`. Colours and fonts come from Streamlit's theme, read at every
// drawing. The text of users reaches Plotly as axis labels only, one character each.

const places = new WeakMap(); // what stands in each component
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

function unpack(packed) {
  const bytes = Uint8Array.from(atob(packed.data), (c) => c.charCodeAt(0));
  const steps = new Uint16Array(bytes.buffer);
  const scale = (packed.high - packed.low) / 65535;
  const [rows, columns] = packed.shape;
  return Array.from({ length: rows }, (_, i) =>
    Float32Array.from(steps.subarray(i * columns, (i + 1) * columns), (v) => packed.low + v * scale)
  );
}

function themed(layout, host, revision) {
  const style = getComputedStyle(host);
  const read = (name, otherwise) => style.getPropertyValue("--st-" + name).trim() || otherwise;
  const grid = read("border-color", "rgba(128,128,128,0.25)");
  const axis = { gridcolor: grid, linecolor: grid, zerolinecolor: grid, automargin: true };
  // Plotly writes a zoom into the array it was given, so it gets one of its own.
  const withAxis = (own) => ({ ...axis, ...own, ...(own?.range && { range: [...own.range] }) });
  return {
    ...layout,
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: read("font", "sans-serif"), color: read("text-color", "#31333f"), size: 13 },
    hoverlabel: {
      bgcolor: read("background-color", "#fff"),
      bordercolor: grid,
      font: { family: read("font", "sans-serif"), color: read("text-color", "#31333f"), size: 13 },
      align: "left",
    },
    ...Object.fromEntries(
      ["xaxis", "yaxis", ...Object.keys(layout).filter((key) => /^[xy]axis\d+$/.test(key))].map((key) => [key, withAxis(layout[key])])
    ),
    modebar: { bgcolor: "rgba(0,0,0,0)", color: read("gray-text-color", "#808890"), activecolor: read("primary-color", "#2a6496") },
    uirevision: revision, // zoom belongs to what is shown: it stays until another run is
    autosize: true,
    template: undefined,
  };
}

// As many of the characters below a heatmap as fit side by side: every one, every second, …
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
// trace's fill the share `meta.share` of one.
function fitted(figure, plot) {
  const { meta, margin } = figure.layout;
  if (!meta?.columns) return figure.data;
  const width = (plot.clientWidth - margin.l - margin.r) / meta.columns;
  const height = (plot.clientHeight - margin.t - margin.b) / meta.rows;
  return figure.data.map((trace) => {
    if (!trace.meta?.share) return trace;
    const size = Math.max(Math.min(width, height, 34) * trace.meta.share, 4);
    return trace.mode === "text"
      ? { ...trace, textfont: { ...trace.textfont, size } }
      : { ...trace, marker: { ...trace.marker, size } };
  });
}

// In a grid whose cells have partners `meta.partner` columns away, both are framed while the pointer is on one.
function frame(chart, point) {
  chart.plot.querySelectorAll(".partner").forEach((rect) => rect.remove());
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

// A line chart's axes grow with its data, so uirevision alone would drop a zoom: it keeps what the
// visitor did only while the figure's own ranges stay the same. The zoomed ranges are kept here.
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

// Drawing closes the hover box; moving the pointer where it already is opens it again.
function restoreHover(chart) {
  const { pointer, plot } = chart;
  if (!pointer) return;
  const under = document.elementFromPoint(pointer.x, pointer.y);
  if (under && plot.contains(under)) {
    under.dispatchEvent(new MouseEvent("mousemove", { clientX: pointer.x, clientY: pointer.y, bubbles: true }));
  }
}

async function draw(chart) {
  if (chart.drawing) return; // the drawing under way picks up the newest figure when it ends
  chart.drawing = true;
  try {
    const Plotly = await loadPlotly(chart.address);
    while (chart.pending && !chart.held && chart.plot.isConnected) {
      const figure = chart.pending;
      chart.pending = null;
      const own = zoomed(figure.layout, chart);
      const layout = thinned(themed(own, chart.plot, chart.revision), chart.plot.clientWidth);
      await Plotly.react(chart.plot, fitted(figure, chart.plot), layout, {
        displaylogo: false,
        responsive: true,
        modeBarButtons: [["toImage", "zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d"]],
        toImageButtonOptions: { format: "png", scale: 2, filename: chart.name },
      });
      if (!chart.drawn) {
        chart.plot.on("plotly_relayout", (event) => noteZoom(chart, event));
        chart.plot.on("plotly_hover", (event) => frame(chart, event.points[0]));
        chart.plot.on("plotly_unhover", () => frame(chart, null));
      }
      chart.drawn = figure;
      frame(chart, null);
      chart.plot.dataset.drawings = String(Number(chart.plot.dataset.drawings ?? 0) + 1);
      restoreHover(chart);
    }
  } catch (error) {
    chart.plot.textContent = String(error.message ?? error);
  } finally {
    chart.drawing = false;
  }
}

// A drawing in the middle of a drag would undo it: none until the button is up and Plotly has zoomed.
function hold(chart) {
  chart.held = true;
  const release = () => {
    chart.held = false;
    draw(chart);
  };
  window.addEventListener("mouseup", () => setTimeout(release, 100), { capture: true, once: true });
}

function create(place, address, name) {
  const figure = document.createElement("figure");
  const title = document.createElement("figcaption");
  const plot = document.createElement("div");
  plot.className = "live-chart";
  plot.dataset.name = name;
  plot.setAttribute("role", "img");
  figure.append(title, plot);
  place.append(figure);
  const chart = { address, name, title, plot, pending: null, drawn: null, drawing: false, held: false };
  Object.assign(chart, { pointer: null, zoom: {} });
  plot.addEventListener("mousemove", (event) => {
    if (event.isTrusted) chart.pointer = { x: event.clientX, y: event.clientY };
  });
  plot.addEventListener("mouseleave", () => (chart.pointer = null));
  plot.addEventListener("mousedown", () => hold(chart), { capture: true });
  const redraw = () => {
    if (chart.drawn && !chart.pending) chart.pending = chart.drawn;
    draw(chart);
  };
  chart.resize = new ResizeObserver(() => {
    if (chart.width !== plot.clientWidth) {
      chart.width = plot.clientWidth;
      redraw();
    }
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

function update(chart, { title, description, revision, height, data, layout }) {
  for (const trace of data) {
    if (trace.z?.packed) trace.z = unpack(trace.z.packed);
  }
  if (chart.revision !== revision) chart.zoom = {};
  chart.revision = revision;
  chart.title.textContent = title;
  chart.plot.style.height = height + "px";
  chart.plot.setAttribute("aria-label", description);
  chart.pending = { data, layout };
  draw(chart);
}

function remove(chart) {
  chart.resize.disconnect();
  clearInterval(chart.colours);
  window.Plotly?.purge(chart.plot);
  chart.plot.parentElement.remove();
}

function show(place, { charts, version, source, every }) {
  const { element, address } = place;
  if (source && source === place.source && version === place.version) return; // it came both ways
  for (const packed of charts) {
    const { name } = packed;
    if (!place.charts.has(name)) place.charts.set(name, create(element, address, name));
    update(place.charts.get(name), packed);
  }
  Object.assign(place, { version, source, every });
}

// Ask for what is new, not in step with the rest of the class, until there is no more to come.
function follow(place) {
  clearTimeout(place.timer);
  if (!place.every) return;
  place.timer = setTimeout(async () => {
    const { source, version } = place;
    try {
      const answer = document.hidden ? null : await fetch(source + "&version=" + version);
      // While it was under way Streamlit may have shown something newer, or another run.
      if (answer?.status === 200 && place.source === source && place.version === version) {
        show(place, await answer.json());
        if (!place.every) place.end();
      }
    } catch {} // the server is away, as Streamlit says; it may come back
    if (places.has(place.parent)) follow(place);
  }, place.every * 1000 * (0.85 + 0.3 * Math.random()));
}

export default function ({ data, parentElement, setTriggerValue }) {
  const element = parentElement.querySelector(".live-charts");
  const address = element.dataset.plotly;
  loadPlotly(address).catch(() => {}); // a chart that needs it will say so
  const place = places.get(parentElement) ?? { parent: parentElement, element, address, charts: new Map() };
  places.set(parentElement, place);
  place.end = () => setTriggerValue("ended", true);
  show(place, JSON.parse(new TextDecoder().decode(data)));
  follow(place);
  return () => {
    clearTimeout(place.timer);
    place.charts.forEach(remove);
    places.delete(parentElement);
  };
}
