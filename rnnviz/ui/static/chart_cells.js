// A heatmap's numbers as the pixels of a small picture.

const KINDS = {
  ...{ i1: Int8Array, i2: Int16Array, i4: Int32Array, u1: Uint8Array, u1c: Uint8ClampedArray, u2: Uint16Array, u4: Uint32Array },
  ...{ f4: Float32Array, f8: Float64Array },
};
const COLOURS = 256;
const scales = new Map(); // the colours of each scale, by its JSON

// Numbers as charts.py or Plotly packs them.
export function unpacked(values) {
  if (!values?.bdata) return values ?? [];
  return new KINDS[values.dtype](Uint8Array.from(atob(values.bdata), (character) => character.charCodeAt(0)).buffer);
}

function coloursOf(scale) {
  const name = JSON.stringify(scale);
  if (!scales.has(name)) {
    const pen = new OffscreenCanvas(COLOURS, 1).getContext("2d", { willReadFrequently: true });
    const gradient = pen.createLinearGradient(0, 0, COLOURS, 0);
    for (const [share, colour] of scale) gradient.addColorStop(share, colour);
    pen.fillStyle = gradient;
    pen.fillRect(0, 0, COLOURS, 1);
    scales.set(name, new Uint32Array(pen.getImageData(0, 0, COLOURS, 1).data.buffer));
  }
  return scales.get(name);
}

export function shapeOf(z) {
  return z.shape.split(",").map(Number);
}

// A matrix as charts.py packs it; one that holds NaN leaves those cells transparent.
export function paintCells(canvas, { z, zmin, zmax, colorscale }) {
  const [rows, columns] = shapeOf(z);
  const values = unpacked(z);
  const colours = coloursOf(colorscale);
  const pixels = new Uint32Array(rows * columns);
  for (let i = 0; i < pixels.length; i++) {
    const share = (values[i] - zmin) / (zmax - zmin);
    pixels[i] = colours[Math.max(0, Math.min(COLOURS - 1, Math.floor(share * COLOURS)))] ?? 0;
  }
  Object.assign(canvas, { width: columns, height: rows });
  canvas.getContext("2d").putImageData(new ImageData(new Uint8ClampedArray(pixels.buffer), columns, rows), 0, 0);
}
