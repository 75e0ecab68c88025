// The row of buttons above a chart: zoom for the keyboard, and the window with its table and files.

import { openWindow } from "./chart_window.js";

const ICONS = {
  zoom_in: "M10 4a6 6 0 1 0 0 12a6 6 0 1 0 0-12M14.5 14.5L20 20M10 7.5v5M7.5 10h5",
  zoom_out: "M10 4a6 6 0 1 0 0 12a6 6 0 1 0 0-12M14.5 14.5L20 20M7.5 10h5",
  zoom_reset: "M4 9V4h5M20 9V4h-5M4 15v5h5M20 15v5h-5",
  files: "M4 5h16v14H4zM4 10h16M4 14.5h16M10 5v14",
};
const all = new Set();
let words = {};

// Set the names of the buttons in the reader's language.
export function speak(given) {
  words = given;
  for (const tools of all) tools.label();
}

function icon(path) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  const drawn = document.createElementNS("http://www.w3.org/2000/svg", "path");
  drawn.setAttribute("d", path);
  svg.append(drawn);
  return svg;
}

// One stop for the Tab key; arrow keys move from button to button.
export class Tools {
  constructor(chart) {
    this.chart = chart;
    this.root = document.createElement("div");
    this.root.className = "chart-tools";
    this.root.setAttribute("role", "toolbar");
    const actions = {
      zoom_in: () => zoom(chart, 0.5),
      zoom_out: () => zoom(chart, 2),
      zoom_reset: () => resetZoom(chart),
      files: () => openWindow(chart, words),
    };
    this.buttons = Object.entries(actions).map(([name, act]) => this.button(name, act));
    this.root.append(...this.buttons);
    this.root.addEventListener("keydown", (event) => this.walk(event));
    this.stop(this.buttons.at(-1)); // the one that exists on every device
    all.add(this);
  }

  button(name, act) {
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.name = name;
    button.append(icon(ICONS[name]));
    button.addEventListener("click", act);
    return button;
  }

  label() {
    this.root.setAttribute("aria-label", this.chart.title.textContent || words.tools || "");
    for (const button of this.buttons) {
      button.title = words[button.dataset.name] ?? "";
      button.setAttribute("aria-label", button.title);
    }
  }

  // Set where the Tab key stops.
  stop(button) {
    for (const other of this.buttons) other.tabIndex = other === button ? 0 : -1;
  }

  walk(event) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    event.stopPropagation(); // the page's own shortcuts use the same keys
    const shown = this.buttons.filter((button) => button.offsetParent);
    const here = shown.indexOf(/** @type {HTMLButtonElement} */ (document.activeElement));
    const next = shown.at((here + step) % shown.length);
    this.stop(next);
    next.focus();
  }

  remove() {
    all.delete(this);
  }
}

function axes(plot) {
  return Object.entries(plot._fullLayout ?? {}).filter(([name, axis]) => /^[xy]axis\d*$/.test(name) && !axis.fixedrange);
}

function zoom({ plot }, factor) {
  const ranges = axes(plot).map(([name, { range }]) => {
    const [middle, half] = [(range[0] + range[1]) / 2, ((range[1] - range[0]) / 2) * factor];
    return [`${name}.range`, [middle - half, middle + half]];
  });
  window.Plotly.relayout(plot, Object.fromEntries(ranges));
}

async function resetZoom(chart) {
  const ranges = axes(chart.plot).map(([name]) => {
    const { range, autorange } = chart.drawn.layout[name] ?? {};
    return range ? [`${name}.range`, [...range]] : [`${name}.autorange`, autorange ?? true];
  });
  await window.Plotly.relayout(chart.plot, Object.fromEntries(ranges));
  chart.zoom = {};
}
