// A chart as it is seen while plotly.js is still on its way: its lines and heatmaps, from the same numbers and on the
// same axes, without signs. Plotly's drawing takes its place.

import { paint } from "./chart_multiples.js";

const KINDS = {
  ...{ i1: Int8Array, i2: Int16Array, i4: Int32Array, u1: Uint8Array, u1c: Uint8ClampedArray, u2: Uint16Array, u4: Uint32Array },
  ...{ f4: Float32Array, f8: Float64Array },
};
const SCALE = 72; // pixels beside a heatmap that Plotly's scale takes, about
const DASHES = { dash: [7, 4], dot: [2, 3] };

// Numbers as charts.py or Plotly packs them.
function unpacked(values) {
  if (!values?.bdata) return values ?? [];
  return new KINDS[values.dtype](Uint8Array.from(atob(values.bdata), (character) => character.charCodeAt(0)).buffer);
}

// Where a number stands between the ends of an axis, as a share; null where the chart leaves the range to Plotly.
function placing(/** @type {any} */ axis) {
  if (!axis?.range) return null;
  const { type, range: [first, last] } = axis;
  return (value) => ((type === "log" ? Math.log10(value) : value) - first) / (last - first);
}

function line(pen, /** @type {any} */ { x, y, line: look }, acrossOf, downOf) {
  const [xs, ys] = [unpacked(x), unpacked(y)];
  pen.strokeStyle = look?.color ?? "gray";
  pen.lineWidth = look?.width ?? 2;
  pen.setLineDash(DASHES[look?.dash] ?? []);
  pen.beginPath();
  for (let i = 0, drawing = false; i < ys.length; i++) {
    const [left, top] = [acrossOf(xs[i]), downOf(ys[i])];
    const finite = Number.isFinite(left) && Number.isFinite(top);
    if (finite) pen[drawing ? "lineTo" : "moveTo"](left, top);
    drawing = finite;
  }
  pen.stroke();
}

export function paintFirst(plot, { data, layout }, frameColour) {
  if (layout.xaxis?.domain || layout.yaxis?.domain) return; // several pictures in one
  const axes = [placing(layout.xaxis), placing(layout.yaxis)];
  const matrix = data.find(({ type, z }) => type === "heatmap" && z?.shape && z.dtype === "f4");
  const lines = data.filter(({ type = "scatter", mode, xaxis = "x", yaxis = "y" }) =>
    type === "scatter" && mode?.includes("lines") && xaxis === "x" && yaxis === "y");
  if (!matrix && !(lines.length && axes.every(Boolean))) return;
  const canvas = document.createElement("canvas");
  canvas.className = "first-frame";
  const [width, height] = [plot.clientWidth, plot.clientHeight];
  const { l = 0, r: margin = 0, t = 0, b = 0 } = layout.margin ?? {};
  const r = margin + (matrix?.colorbar ? SCALE : 0);
  const [across, down] = [width - l - r, height - t - b];
  const sharp = window.devicePixelRatio;
  Object.assign(canvas, { width: width * sharp, height: height * sharp });
  const pen = canvas.getContext("2d");
  pen.scale(sharp, sharp);
  if (matrix) {
    const cells = document.createElement("canvas");
    paint(cells, matrix);
    pen.imageSmoothingEnabled = false;
    if (layout.yaxis?.autorange !== "reversed") {
      pen.translate(0, t + height - b);
      pen.scale(1, -1);
    }
    pen.drawImage(cells, l, t, across, down);
    pen.resetTransform();
    pen.scale(sharp, sharp);
  } else {
    pen.save();
    pen.beginPath();
    pen.rect(l, t, across, down);
    pen.clip();
    const [right, up] = axes;
    for (const trace of lines) line(pen, trace, (x) => l + right(x) * across, (y) => t + (1 - up(y)) * down);
    pen.restore();
  }
  pen.strokeStyle = frameColour;
  pen.lineWidth = 1;
  pen.strokeRect(l, t, across, down);
  plot.append(canvas);
}
