// A chart as it is seen while plotly.js is still on its way: heatmaps, bars, lines, points, areas and arrows, from the
// same numbers and on the same axes, without text. Plotly's drawing takes its place.

import { paintCells, shapeOf, unpacked } from "./chart_cells.js";

const SCALE = 72; // pixels beside a heatmap that Plotly's scale takes, about
const LEGEND = 44; // and those that its legend takes above a chart
const DASHES = { dash: [7, 4], dot: [2, 3] };

/** @typedef {any} Part a part of a figure, as in Plotly's JSON */
/** @typedef {{ at: (value: any) => number, start: number, length: number, visible: boolean }} Axis in pixels */

// What a trace says of its i-th bar or point: one value for all, or one for each.
const each = (given, i) => (typeof given === "object" ? unpacked(given)[i] : given);
const colourOf = (/** @type {Part} */ marker, i) => {
  const colour = each(marker?.color, i);
  return typeof colour === "string" ? colour : "gray";
};

// A heatmap of our own colours whose cells are numbered or named, not at places of their own.
function isMatrix(/** @type {Part} */ { type, x, y, z, colorscale }) {
  const counted = [x, y].every((names) => !names || typeof names[0] === "string");
  return type === "heatmap" && z?.shape && Array.isArray(colorscale) && counted;
}

// The names on an axis stand in the order in which they first come in its traces.
function placesOfNames(/** @type {Part[]} */ traces, letter) {
  const places = new Map();
  for (const { [letter]: values } of traces) {
    if (!Array.isArray(values)) continue;
    for (const value of values) if (typeof value === "string" && !places.has(value)) places.set(value, places.size);
  }
  return places;
}

// The axis with this name on a side of `length` pixels from `start`; null where Plotly chooses its range.
/** @returns {Axis | null} */
function axisOf(/** @type {Part} */ { data, layout }, name, start, length) {
  const letter = name[0];
  const axis = layout[letter + "axis" + name.slice(1)] ?? {};
  const traces = data.filter((/** @type {Part} */ trace) => (trace[letter + "axis"] ?? letter) === name);
  const matrix = traces.find(isMatrix);
  const cells = matrix && shapeOf(matrix.z)[letter === "x" ? 1 : 0];
  const ends = axis.autorange === "reversed" ? [cells - 0.5, -0.5] : [-0.5, cells - 0.5];
  const range = axis.range ?? (cells && ends);
  if (!range || axis.scaleanchor) return null;
  const [[first, last], [from, to]] = [range, axis.domain ?? [0, 1]];
  const [own, size] = [start + length * from, length * (to - from)];
  const places = placesOfNames(traces, letter);
  const number = axis.type === "log" ? Math.log10 : (value) => places.get(value) ?? value ?? NaN;
  const at = (value) => own + (size * (number(value) - first)) / (last - first);
  return { at, start: own, length: size, visible: axis.visible !== false };
}

function drawMatrix(pen, /** @type {Part} */ trace, x, y) {
  const cells = document.createElement("canvas");
  paintCells(cells, trace);
  const [left, top] = [x.at(-0.5), y.at(-0.5)];
  pen.save();
  pen.imageSmoothingEnabled = false;
  pen.translate(left, top); // where the axis has the first row, above or below
  pen.scale((x.at(cells.width - 0.5) - left) / cells.width, (y.at(cells.height - 0.5) - top) / cells.height);
  pen.drawImage(cells, 0, 0);
  pen.restore();
}

function drawBars(pen, /** @type {Part} */ trace, x, y, gap, heights) {
  const [xs, ys, width] = [unpacked(trace.x), unpacked(trace.y), (1 - gap) * Math.abs(x.at(1) - x.at(0))];
  for (let i = 0; i < ys.length; i++) {
    if (!Number.isFinite(ys[i])) continue;
    const base = heights.get(xs[i]) ?? 0;
    heights.set(xs[i], base + ys[i]);
    pen.fillStyle = colourOf(trace.marker, i);
    pen.fillRect(x.at(xs[i]) - width / 2, y.at(base), width, y.at(base + ys[i]) - y.at(base));
  }
}

function drawLine(pen, /** @type {Part} */ trace, x, y) {
  const [xs, ys] = [unpacked(trace.x), unpacked(trace.y)];
  style(pen, trace.line);
  pen.beginPath();
  for (let i = 0, drawing = false; i < ys.length; i++) {
    const [left, top] = [x.at(xs[i]), y.at(ys[i])];
    const finite = Number.isFinite(left) && Number.isFinite(top);
    if (finite) pen[drawing ? "lineTo" : "moveTo"](left, top);
    drawing = finite;
  }
  pen.stroke();
}

function drawPoints(pen, /** @type {Part} */ trace, x, y) {
  const [xs, ys] = [unpacked(trace.x), unpacked(trace.y)];
  for (let i = 0; i < ys.length; i++) {
    pen.fillStyle = colourOf(trace.marker, i);
    pen.beginPath();
    pen.arc(x.at(xs[i]), y.at(ys[i]), (each(trace.marker?.size, i) ?? 6) / 2, 0, 2 * Math.PI);
    pen.fill();
  }
}

function drawShape(pen, /** @type {Part} */ { type, x0, x1, y0, y1, fillcolor, line, opacity = 1 }, right, up) {
  const [left, top, width, height] = [right(x0), up(y0), right(x1) - right(x0), up(y1) - up(y0)];
  pen.globalAlpha = opacity;
  pen.beginPath();
  if (type === "rect") pen.rect(left, top, width, height);
  else if (type === "line") {
    pen.moveTo(left, top);
    pen.lineTo(left + width, top + height);
  }
  if (fillcolor) {
    pen.fillStyle = fillcolor;
    pen.fill();
  }
  if (line?.width && line.color) {
    style(pen, line);
    pen.stroke();
  }
  pen.globalAlpha = 1;
}

function drawArrow(pen, /** @type {Part} */ { x, y, ax, ay, arrowcolor, arrowwidth, opacity }, right, up) {
  const line = { color: arrowcolor, width: arrowwidth };
  drawShape(pen, { type: "line", x0: ax, y0: ay, x1: x, y1: y, line, opacity }, right, up);
}

function style(pen, /** @type {Part} */ line) {
  pen.strokeStyle = line?.color ?? "gray";
  pen.lineWidth = line?.width ?? 2;
  pen.setLineDash(DASHES[line?.dash] ?? []);
}

const isBar = (/** @type {Part} */ { type }) => type === "bar";
const isScatter = (/** @type {Part} */ { type = "scatter", mode }, what) => type === "scatter" && mode?.includes(what);
const LAYERS = [
  { has: isMatrix, draw: drawMatrix },
  { has: isBar, draw: drawBars },
  { has: (trace) => isScatter(trace, "lines"), draw: drawLine },
  { has: (trace) => isScatter(trace, "markers"), draw: drawPoints },
];

// Where the picture and its axes stand in a place of this size.
function frameOf(/** @type {Part} */ figure, width, height) {
  const { data, layout } = figure;
  const { l = 0, r = 0, t: top = 0, b = 0 } = layout.margin ?? {};
  const t = layout.legend?.y > 1 && layout.showlegend !== false ? Math.max(top, LEGEND) : top;
  const scaled = data.some(({ colorbar, showscale }) => colorbar && showscale !== false);
  const across = { start: l, length: width - l - r - (scaled ? SCALE : 0) };
  const whole = { x: across, y: { start: height - b, length: t + b - height } };
  const axes = new Map();
  const axis = (name) => {
    const { start, length } = whole[name[0]];
    if (!axes.has(name)) axes.set(name, axisOf(figure, name, start, length));
    return axes.get(name);
  };
  // The function from a shape's coordinate to pixels: it is in shares of the picture or of an axis, or in an axis's values.
  const along = (letter, ref = letter) => {
    const own = ref === "paper" ? whole[letter] : axis(ref.replace(" domain", ""));
    return own && (ref === "paper" || ref.endsWith(" domain") ? (share) => own.start + own.length * share : own.at);
  };
  return { axis, along };
}

export function paintFirst(plot, /** @type {Part} */ figure, frameColour) {
  const { data, layout } = figure;
  const { axis, along } = frameOf(figure, plot.clientWidth, plot.clientHeight);
  const pair = (/** @type {Part} */ { xaxis = "x", yaxis = "y" }) => [axis(xaxis), axis(yaxis)];
  const grouped = layout.barmode !== "stack" && data.filter(isBar).length > 1; // bars side by side are left to Plotly
  const isShown = (/** @type {Part} */ trace) =>
    (trace.visible ?? true) === true && !(grouped && isBar(trace)) && LAYERS.some(({ has }) => has(trace));
  const shown = data.filter((trace) => isShown(trace) && pair(trace).every(Boolean));
  if (!shown.length) return;
  const canvas = document.createElement("canvas");
  canvas.className = "first-frame";
  canvas.width = plot.clientWidth * devicePixelRatio;
  canvas.height = plot.clientHeight * devicePixelRatio;
  const pen = canvas.getContext("2d");
  pen.scale(devicePixelRatio, devicePixelRatio);
  const drawShapes = (below) => {
    for (const shape of layout.shapes ?? []) {
      const [right, up] = [along("x", shape.xref), along("y", shape.yref)];
      const now = (shape.layer === "below") === below && (shape.visible ?? true);
      if (now && right && up) drawShape(pen, shape, right, up);
    }
  };

  drawShapes(true);
  for (const { has, draw } of LAYERS) {
    const heights = new Map(); // of the bars so far, which stand on each other
    for (const trace of shown.filter(has)) {
      const [x, y] = pair(trace);
      pen.save();
      pen.globalAlpha = trace.opacity ?? 1;
      pen.beginPath();
      pen.rect(x.start, y.start, x.length, y.length);
      pen.clip();
      draw(pen, trace, x, y, layout.bargap ?? 0.2, heights);
      pen.restore();
    }
  }
  style(pen, { color: frameColour, width: 1 });
  for (const [x, y] of shown.map(pair)) {
    if (x.visible && y.visible) pen.strokeRect(x.start, y.start, x.length, y.length);
  }
  drawShapes(false);
  const [right, up] = [along("x"), along("y")];
  for (const arrow of layout.annotations ?? []) {
    if (arrow.axref === "x" && arrow.ayref === "y" && right && up) drawArrow(pen, arrow, right, up);
  }
  plot.append(canvas);
}
