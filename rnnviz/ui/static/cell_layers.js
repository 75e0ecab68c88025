// The whole network: the cell of every layer over that of the layer below. The H of a layer goes up, where it is what the
// next layer reads, and to the right to the layer's own next step.

const BAND = { top: 84, height: 344 }; // the part of a cell's drawing that a layer shows
const ROOM = { above: 64, each: 112, below: 24 }; // on the stage: above the layers, for each of them, and below
const SIDE = 84; // beside a layer's cell, where its H rises
const RISE = 34;
const FEED_Y = 398; // at which it comes to what the next layer reads
const SMALLEST = 14.5 / 16; // of a letter on the screen, as a share of the root's font
const LAST_ARRIVES = 5.85; // of the six phases of a step, in which the layers move one after the other

class LayerDrawing extends CellDrawing {
  view;
  layer;
  letter = 0; // the size of letters, in pixels of the drawing

  constructor(view, layer) {
    super();
    const { packed, recording, cell, words, scales, root } = view;
    Object.assign(this, { view, layer, packed, recording, cell, words, scales, root, unit: null });
    this.place = html("button", "cv-layer");
    this.place.type = "button";
    this.place.setAttribute("aria-label", fill(words.enlarge, { n: layer }));
    this.place.title = fill(words.enlarge, { n: layer });
    this.canvas = html("canvas", "cv-canvas");
    this.svg = svg("svg", { class: "cv-svg" });
    this.place.append(this.canvas, this.svg);
    this.place.addEventListener("click", () => view.chooseLayer?.(String(layer)));
  }

  // What the layer below hands over is in the order of that layer's units.
  orderOf(name) {
    const { rows } = this.packed.stack;
    return rows[this.layer - (name === "below" ? 2 : 1)].order;
  }

  scaleOf(name) {
    return super.scaleOf(name === "below" || name === "handed" ? "H" : name);
  }

  arrange() {
    if (!this.fit(this.place, BAND.top, BAND.height)) return;
    this.letter = (SMALLEST * parseFloat(getComputedStyle(document.documentElement).fontSize)) / this.scale;
    this.svg.style.setProperty("--letter", `${this.letter}px`);
    this.layout = placesOf(this.cell, this.width, SIDE);
    for (const wire of this.layout.wires) wire.chip = undefined;
    const { places } = this.layout;
    places.handed = { kind: "input", out: places.H.out };
    if (this.layer > 1) {
      places.below = { kind: "input", out: [0, 1] };
      places.X = { ...places.X, out: [1, 1.8] };
    }
    this.borders = lanes(this.orderOf("H"), null, 0);
    this.buildCell();
    this.buildName();
    this.shown = null;
  }

  moreWires() {
    const { cellWidth, output, x } = this.layout;
    const rise = cellWidth + RISE;
    const { layers } = this.view;
    const top = BAND.top + layers.above(this.layer) / layers.share;
    const end = this.layer === layers.count ? [[this.width, top]] : [];
    const up = { ...this.branch("up", [[rise, output.from], [rise, top], ...end]), source: "handed" };
    if (this.layer === 1) return [up];
    const points = [[rise, BAND.top + BAND.height], [rise, FEED_Y], [x[0], FEED_Y]];
    return [up, { source: "below", target: "X", width: TAP, cut: 0, before: 0, points }];
  }

  // A box with a signal's letter, or with the curve of the function.
  box(group, { at: [x, y], width }, { name, op }) {
    const height = Math.max(40, 1.28 * this.letter);
    group.append(svg("rect", { x: x - width / 2, y: y - height / 2, width, height, rx: 7 }));
    const letter = this.packed.signals[name]?.symbol.replace("ₜ", "");
    if (letter) group.append(svg("text", { x, y, dy: "0.38em", class: "cv-letter" }, letter));
    else if (op === "tanh") group.append(svg("path", { d: `M${x - 22} ${y + 10}C${x} ${y + 10} ${x} ${y - 10} ${x + 22} ${y - 10}` }));
  }

  buildTile(x, y) {
    const tile = this.group("cv-tile");
    tile.style.setProperty("--colour", this.colourOf("X"));
    const half = 0.62 * this.letter;
    this.tile = svg("text", { x, y, dy: "0.35em", class: "cv-character" });
    if (this.layer === 1) tile.append(svg("rect", { x: x - half, y: y - half, width: 2 * half, height: 2 * half, rx: 5 }), this.tile);
    else tile.append(svg("circle", { cx: x, cy: y, r: 9 }));
  }

  buildName() {
    const name = svg("text", { x: 8, y: 216, class: "cv-layer-name" }, fill(this.words.layer, { n: this.layer }));
    this.group("cv-names").append(name);
  }

  // Draw a step at a phase of the layer's own; nothing where that is what stands there.
  show(t, phase) {
    this.recording = this.view.recording;
    const signals = this.recording.layers()[this.layer - 1];
    const { shown } = this;
    if (!this.layout || (shown?.t === t && shown.phase === phase && shown.signals === signals)) return;
    if (shown?.t !== t || shown.signals !== signals) this.columns.clear();
    this.shown = { t, phase, signals };
    Object.assign(this, { t, phase, now: this.at(t), before: this.at(Math.max(t - 1, 0)) });
    this.drawWires();
    this.drawChips();
  }

  // Everything on the wires at step t.
  at(t) {
    const { recording, layer } = this;
    const { signals } = this.shown;
    const given = { X: 0, below: recording.fed(layer, t), handed: recording.fed(layer + 1, t), ...recording.before(t, signals) };
    for (const name in signals) given[name] = signals[name][t];
    return interpret(this.cell.wiring, given);
  }
}

class Layers {
  constructor(view) {
    this.view = view;
    this.count = view.packed.stack.rows.length;
    const { above, each, below } = ROOM;
    this.height = Math.max(above + this.count * each + below, 360);
    this.share = each / BAND.height; // of a layer's drawing to the stage's
    this.output = { at: above + 4, bars: above + 56 };
    this.drawings = view.packed.stack.rows.map((_, i) => new LayerDrawing(view, i + 1));
    for (const { place, layer } of this.drawings) {
      place.style.top = `${(100 * (above + (this.count - layer) * each)) / this.height}%`;
      place.style.height = `${(100 * each) / this.height}%`;
    }
    this.places = this.drawings.map(({ place }) => place).reverse();
  }

  // How far below the top of its band a layer's H leaves it: the last one's goes to the prediction.
  above(layer) {
    return layer === this.count ? this.output.at + 13 - ROOM.above : 0;
  }

  arrange() {
    for (const drawing of this.drawings) {
      drawing.place.style.width = `${(100 * (this.view.width - STAGE.panel)) / this.view.width}%`;
      drawing.arrange();
    }
  }

  // The layers move one after the other, as each reads what the one below has made.
  draw() {
    const { t, phase } = this.view;
    for (const drawing of this.drawings) {
      drawing.show(t, clamp(phase * this.count - (drawing.layer - 1) * PHASES, 0, PHASES));
    }
  }
}
