// The frames of a heatmap as small pictures side by side, on the scales of the large one. A click on one, or Enter,
// chooses it, as a slider would: the picture is already in the browser.

import { frameOf } from "./chart_slider.js";

const COLOURS = 256;
const scales = new Map(); // the colours of each scale, by its JSON

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

// A matrix as charts.py packs it; one that holds NaN leaves those cells transparent.
export function paint(canvas, { z, zmin, zmax, colorscale }) {
  const [rows, columns] = z.shape.split(",").map(Number);
  const bytes = Uint8Array.from(atob(z.bdata), (character) => character.charCodeAt(0));
  const values = new Float32Array(bytes.buffer);
  const colours = coloursOf(colorscale);
  const pixels = new Uint32Array(rows * columns);
  for (let i = 0; i < pixels.length; i++) {
    const share = (values[i] - zmin) / (zmax - zmin);
    pixels[i] = colours[Math.max(0, Math.min(COLOURS - 1, Math.floor(share * COLOURS)))] ?? 0;
  }
  Object.assign(canvas, { width: columns, height: rows });
  canvas.getContext("2d").putImageData(new ImageData(new Uint8ClampedArray(pixels.buffer), columns, rows), 0, 0);
}

export class Multiples {
  constructor(place) {
    this.root = document.createElement("div");
    this.root.className = "chart-multiples";
    this.root.setAttribute("role", "group");
    this.buttons = [];
    place.append(this.root);
  }

  // The frames from `first` on belong to the values of the slider, which stands at one of them.
  show(slider, packed, first) {
    this.root.setAttribute("aria-label", slider.label.textContent);
    while (this.buttons.length > slider.values.length) this.buttons.pop().remove();
    slider.values.forEach((_, i) => {
      this.buttons[i] ??= this.add(() => slider.move(i));
      const button = this.buttons[i];
      button.firstChild.textContent = slider.names[i];
      button.setAttribute("aria-pressed", String(i === slider.at));
      paint(button.lastChild, frameOf(packed, first + i).data[0]);
    });
  }

  add(choose) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(document.createElement("span"), document.createElement("canvas"));
    button.addEventListener("click", choose);
    this.root.append(button);
    return button;
  }

  remove() {
    this.root.remove();
  }
}
