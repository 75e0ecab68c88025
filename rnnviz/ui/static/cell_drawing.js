// The stage: the drawing of a step, built from the wiring and filled with numbers.
//
// A step has six phases, in which values run along the wires. `t` is the step under way and `phase`, from 0 to
// 6, its progress: parts that have not been reached yet show the step before. At rest the phase is 6.
//
// Where all layers of a network are on the stage, each is a drawing of its own (cell_layers.js); the strip, the
// prediction and the legend are this one's.

const LEGEND_Y = 399;
const LEVER = 12; // half the height of the lever in a gate's box
const RESULT = 5.5; // when the prediction begins to appear

class CellDrawing {
  // Set by CellView: a packed reading, the view's place in it, and the view's own elements.
  packed;
  recording;
  cell;
  words;
  scales;
  t;
  unit;
  phase;
  tint;
  lit;
  pointed;
  operate;
  root;
  stage;
  canvas;
  svg;
  heatmaps;
  stack;
  layers;
  equals;
  numbers;
  banner;
  unitInput;

  // Called when the drawing is touched or has changed.
  hold(_held) {}
  tell(_node) {}
  remember() {}

  scaleOf(name) {
    return this.scales[this.cell.scales[name]];
  }

  // The colour of a node's text: that of its signal, or of the signal it is made of.
  colourOf(name) {
    const { signals, colours } = this.packed;
    const candidate = "C_tilde" in signals ? "C_tilde" : "H_tilde";
    const kept = this.cell.state.at(-1);
    const like = { opposite: "Z", kept, written: candidate, reset: candidate, product: candidate, squashed: "C" };
    const own = name.replace("_before", "");
    return signals[own]?.colour ?? signals[like[name]]?.colour ?? (name === "X" ? colours.input : "currentColor");
  }

  // The units of a node's ribbons from one side to the other.
  orderOf(_name) {
    return this.packed.order;
  }

  symbolOf(name) {
    const inputs = { X: "Xₜ", H_before: "Hₜ₋₁", C_before: "Cₜ₋₁" };
    return inputs[name] ?? this.packed.signals[name]?.symbol ?? this.flat(this.cell.expressions[name]);
  }

  flat(tree) {
    return tree.text ?? tree.parts.map((part) => (typeof part === "string" ? part : this.flat(part))).join("");
  }

  // ---- building, again for every size ----

  arrange() {
    this.height = this.layers?.height ?? STAGE.height;
    if (!this.fit(this.stage, 0, this.height)) return;
    this.layout = placesOf(this.cell, this.width, this.packed.output ? undefined : this.width / 11);
    if (this.layers) this.layout.output = this.layers.output;
    this.buildStrip();
    if (this.layers) this.layers.arrange();
    else this.buildCell();
    this.buildLegend();
    this.buildPanel();
    if (!this.layers) this.buildPlots();
    this.refresh();
  }

  // Size the canvas and the drawing to a place, which shows a part of this height; false where it has no size yet.
  fit(place, top, height) {
    const bounds = place.getBoundingClientRect();
    if (!bounds.width || !bounds.height) return false;
    this.top = top;
    this.scale = bounds.height / height;
    this.width = bounds.width / this.scale;
    this.ratio = this.scale * Math.min(window.devicePixelRatio || 1, 2);
    [this.canvas.width, this.canvas.height] = [Math.round(this.width * this.ratio), Math.round(height * this.ratio)];
    this.svg.setAttribute("viewBox", `0 ${top} ${this.width} ${height}`);
    this.svg.replaceChildren();
    this.columns = new Map();
    return true;
  }

  buildCell() {
    this.buildWires();
    this.buildNodes();
  }

  group(className) {
    const made = svg("g", { class: className });
    this.svg.append(made);
    return made;
  }

  buildStrip() {
    const { top } = STRIP;
    this.inWords = this.packed.text.some((label) => [...label].length > 2);
    const cell = this.inWords ? STRIP.word : STRIP.character;
    this.spacing = cell;
    const written = this.packed.written ?? Infinity;
    this.visibleCount = this.width / cell;
    const clip = svg("clipPath", { id: "cv-strip-clip" });
    clip.append(svg("rect", { x: 0, y: 0, width: this.width, height: STRIP.height + 2 }));
    const strip = this.group("cv-strip");
    strip.setAttribute("clip-path", "url(#cv-strip-clip)");
    this.moving = svg("g");
    strip.append(clip, this.moving);
    this.letters = this.packed.text.map((label, i) => {
      const x = i * cell;
      const rect = svg("rect", { x: x + 1, y: top + 2, width: cell - 2, height: 38, rx: 4 });
      const text = svg("text", { x: x + cell / 2, y: top + 29, class: "cv-character" }, cut(label, 7));
      this.moving.append(rect, text);
      if (i >= written) this.moving.append(svg("rect", { x: x + 1, y: top + 42, width: cell - 2, height: 3, class: "cv-written" }));
      if (i === written) this.moving.append(svg("text", { x: x + 1, y: top + 58, class: "cv-small cv-writes" }, this.words.writes));
      if (i % 10 === 9 && !(i >= written && i < written + 8)) this.moving.append(svg("text", { x: x + cell / 2, y: top + 57, class: "cv-small" }, i + 1));
      return { rect, text };
    });
    this.here = svg("rect", { y: top + 1, width: cell, height: 40, rx: 5, class: "cv-here" });
    this.moving.append(this.here);
    strip.append(svg("rect", { x: 0, y: 0, width: this.width, height: STRIP.height, class: "cv-catch", "data-drag": "strip" }));
    this.offset = this.restOffset();
  }

  restOffset() {
    const over = Math.max(0, this.recording.length - this.visibleCount);
    return clamp(this.t - 0.42 * this.visibleCount, 0, over);
  }

  buildWires() {
    this.wires = [...this.layout.wires, ...this.moreWires()].map((wire) => this.laid(wire));
    const hits = this.group("cv-hits");
    for (const wire of this.wires) {
      const line = svg("path", { d: svgPath(wire.path.line), "stroke-width": Math.max(wire.width, 16), "data-node": wire.source });
      line.dataset.target = wire.target;
      line.wire = wire;
      hits.append(line);
    }
    const lines = this.group("cv-lines");
    this.inputs = this.wires.filter((wire) => wire.source === "X").map((wire) => {
      const made = ["cv-x-halo", "cv-x-old", "cv-x-new"].map((name) => svg("path", { d: svgPath(wire.path.line), class: name, "data-node": "X" }));
      lines.append(...made);
      return { wire, made };
    });
    lines.style.setProperty("--colour", this.colourOf("X"));
    this.arrows(lines);
    this.chips = this.wires.filter((wire) => wire.chip).map((wire) => this.chip(wire));
  }

  // From H down to the prediction.
  moreWires() {
    if (!this.packed.output) return [];
    const { output } = this.layout;
    const panelX = this.width - STAGE.panel / 2;
    return [this.branch("P", [[panelX, output.from], [panelX, output.at > output.from ? output.at : output.at + 26]])];
  }

  // A wire that leaves that of H to the next step.
  branch(target, points) {
    const H = this.layout.wires.find((wire) => wire.source === "H" && wire.target === "");
    const before = nearest(ribbonPath(H.points, H.width), ...points[0]).along;
    return { source: "H", target, width: TAP, cut: RAIL / 2, points, before };
  }

  // Where the drawing of a wire begins: not on the rail or the bus that it leaves, but at its border.
  laid(wire) {
    const { points, width, from = 0, cut = 0 } = wire;
    const before = wire.before ?? (from ? ribbonPath(points.slice(0, from + 1), width).length : 0);
    return { ...wire, path: ribbonPath(points.slice(from), width), before, begin: cut };
  }

  arrows(place) {
    for (const { source, target, points, width } of this.wires) {
      if (target !== "") continue;
      const [x, y] = points.at(-1);
      place.append(svg("path", { d: `M${x - 13} ${y - width / 2 - 3}L${x} ${y}L${x - 13} ${y + width / 2 + 3}L${x + 2} ${y + width / 2 + 3}V${y - width / 2 - 3}Z`, class: "cv-arrow", "data-node": source }));
    }
  }

  chip(wire) {
    const [x, y] = wire.chip;
    const group = this.group("cv-chip");
    group.dataset.node = wire.source;
    group.style.setProperty("--colour", this.colourOf(wire.source));
    group.append(svg("rect", { x: x - 31, y: y - 12, width: 62, height: 24, rx: 12 }));
    const number = svg("text", { x, y: y + 6.2, class: "cv-value" });
    group.append(number);
    const beside = { above: [0, -wire.width / 2 - 9], below: [0, wire.width / 2 + 18], left: [-37, 5], right: [37, 5], before: [31, -wire.width / 2 - 9] }[wire.symbol];
    if (beside) {
      const anchor = { left: "end", before: "end", right: "start" }[wire.symbol] ?? "middle";
      const symbol = svg("text", { x: x + beside[0], y: y + beside[1], class: "cv-symbol", "text-anchor": anchor });
      writeSvg(symbol, this.symbolOf(wire.source));
      group.append(symbol);
    }
    return { wire, number, at: wire.before + nearest(wire.path, x, y).along };
  }

  buildNodes() {
    const ops = Object.fromEntries(this.cell.wiring.map((node) => [node.name, node]));
    this.boxes = {};
    for (const [name, place] of Object.entries(this.layout.places)) {
      if (place.kind === "input") continue;
      const group = this.group(`cv-node cv-${place.kind}`);
      group.dataset.node = name;
      group.style.setProperty("--colour", this.colourOf(name));
      if (place.kind === "circle") this.circle(group, place, ops[name].op);
      else this.box(group, place, ops[name]);
      this.boxes[name] = group;
    }
    const [x, y] = this.layout.x;
    this.buildTile(x, y);
  }

  buildTile(x, y) {
    const tile = this.group("cv-tile");
    tile.dataset.node = "X";
    tile.style.setProperty("--colour", this.colourOf("X"));
    const half = this.packed.stack?.layer > 1 ? 26 : this.inWords ? 46 : 16;
    this.tile = svg("text", { x, y: y + 7, class: "cv-character" });
    tile.append(svg("rect", { x: x - half, y: y - 14, width: 2 * half, height: 28, rx: 5 }), this.tile);
    const symbol = svg("text", { x: x + half + 8, y: y + 7, class: "cv-symbol" });
    writeSvg(symbol, this.symbolOf("X"));
    tile.append(symbol);
  }

  circle(group, { at: [x, y] }, op) {
    group.append(svg("circle", { cx: x, cy: y, r: 15 }));
    const lines = { times: `M${x - 6} ${y - 6}L${x + 6} ${y + 6}M${x - 6} ${y + 6}L${x + 6} ${y - 6}`, plus: `M${x - 8} ${y}H${x + 8}M${x} ${y - 8}V${y + 8}` };
    if (lines[op]) group.append(svg("path", { d: lines[op] }));
    else group.append(svg("text", { x, y: y + 5.5, class: "cv-sign" }, "1−"));
  }

  box(group, { at: [x, y], width, height }, { name, op, weights }) {
    group.append(svg("rect", { x: x - width / 2, y: y - height / 2, width, height, rx: 7 }));
    const gate = this.cell.gates.includes(name) && this.recording.W;
    const label = this.words.boxes[name];
    const text = svg("text", { x, y: y + 5.5, class: "cv-box-text" });
    if (op === "affine" && !label) writeSvg(text, weights[0]);
    else {
      const letter = { sigma: "σ", tanh: "tanh", relu: "ReLU" }[op] ?? "";
      text.append(svg("tspan", { class: op === "sigma" ? "cv-letter" : "" }, letter));
      if (label) text.append(svg("tspan", { dx: 6 }, label));
    }
    group.append(text);
    if (!gate) return;
    group.setAttribute("tabindex", "0");
    group.setAttribute("role", "button");
    group.setAttribute("aria-label", fill(this.words.hold, { gate: this.packed.signals[name].label }));
    text.setAttribute("x", x - 7);
    const right = x + width / 2 - 12;
    group.knob = svg("circle", { cx: right, r: 5, class: "cv-knob" });
    group.append(svg("path", { d: `M${right} ${y - LEVER}v${2 * LEVER}`, class: "cv-slot" }), group.knob);
  }

  // The legend of the lanes' colours: each scale that the cell uses, from its lowest value to its highest.
  buildLegend() {
    const { scales } = this.packed;
    const place = this.group("cv-legend");
    const drawn = new Set(this.layout.wires.map((wire) => this.cell.scales[wire.source]));
    const { gates, states, others } = this.words;
    const middle = this.layers ? this.height - 9 : LEGEND_Y;
    let x = this.layers ? 0 : this.layout.x[0] + 72;
    for (const [kind, name] of Object.entries({ gate: gates, state: states, wide: others })) {
      if (!drawn.has(kind)) continue;
      const { low, high, colours } = scales[kind];
      const gradient = svg("linearGradient", { id: `cv-scale-${kind}` });
      gradient.append(...colours.map(([offset, colour]) => svg("stop", { offset, "stop-color": colour })));
      const write = (at, anchor, text) => place.append(svg("text", { x: at, y: middle + 5, class: "cv-small", "text-anchor": anchor }, text));
      write(x + 44, "end", name);
      write(x + 74, "end", minus(`${low}`));
      place.append(gradient, svg("rect", { x: x + 80, y: middle - 5, width: 62, height: 10, fill: `url(#cv-scale-${kind})` }));
      write(x + 148, "start", `${high}`);
      x += 168;
    }
  }

  buildPanel() {
    if (!this.packed.output) return;
    const { output } = this.layout;
    const [left, right] = [this.width - STAGE.panel, this.width - 4];
    const box = this.group("cv-node cv-box");
    box.dataset.node = "H";
    box.style.setProperty("--colour", this.packed.colours.output);
    box.append(svg("rect", { x: left, y: output.at, width: right - left, height: 26, rx: 7 }));
    const text = svg("text", { x: (left + right) / 2, y: output.at + 18, class: "cv-box-text" });
    writeSvg(text, this.words.above || "softmax(Hₜ W_hq + b_q)");
    box.append(text);
    const panel = this.group("cv-panel");
    this.expected = svg("text", { x: left, y: output.bars + 2, class: "cv-label" });
    panel.append(this.expected);
    this.rows = Array.from({ length: 6 }, (_, i) => {
      const y = output.bars + 12 + 27 * i;
      const place = { x: left + 32, y: y + 4, height: 18, rx: 3 };
      const [track, bar] = [svg("rect", { ...place, width: right - left - 86, class: "cv-track" }), svg("rect", place)];
      const row = { bar, track, name: svg("text", { x: left + 13, y: y + 20, class: "cv-character" }), share: svg("text", { x: right, y: y + 19, class: "cv-share" }) };
      panel.append(track, bar, row.name, row.share);
      return row;
    });
    this.barWidth = right - left - 86;
    this.surprise = svg("text", { x: left, y: output.bars + 194, class: "cv-label" });
    panel.append(this.surprise);
  }

  // The chosen unit over the whole text: states above, gates below.
  buildPlots() {
    const { left, rows } = PLOTS;
    const place = this.group("cv-plots");
    const { gates, state } = this.cell;
    const shown = [state.slice(-1), gates.filter((gate) => gate !== "O")].filter((names) => names.length);
    const tall = shown.length === 1 ? [{ top: rows[0].top, height: 88 }] : rows;
    this.plots = shown.map((names, i) => {
      const row = tall[i];
      place.append(svg("rect", { x: left, y: row.top, width: this.width - left, height: row.height, class: "cv-plot" }));
      if (i === 0) place.append(svg("line", { x1: left, x2: this.width, y1: row.top + row.height / 2, y2: row.top + row.height / 2, class: "cv-zero" }));
      const lines = names.map((name, k) => {
        const line = svg("path", { class: "cv-line", "data-node": name });
        line.style.setProperty("--colour", this.colourOf(name));
        const label = svg("text", { x: left - 8, y: row.top + (row.height * (k + 1)) / (names.length + 1) + 5, class: "cv-symbol", "text-anchor": "end", "data-node": name });
        label.style.setProperty("--colour", this.colourOf(name));
        writeSvg(label, this.symbolOf(name));
        place.append(line, label);
        return { name, line };
      });
      return { ...row, lines };
    });
    this.plotted = svg("text", { x: this.width - 8, y: rows[0].top + 15, class: "cv-small", "text-anchor": "end" });
    this.cursor = svg("rect", { y: rows[0].top, height: 88, class: "cv-cursor" });
    place.append(this.plotted, this.cursor);
    place.append(svg("rect", { x: left, y: rows[0].top, width: this.width - left, height: 88, class: "cv-catch", "data-drag": "plots" }));
  }

  // ---- drawing ----

  // How far the value of a node has come along its wires; 0 before it starts, Infinity when it has arrived.
  reached(name) {
    if (this.phase >= PHASES) return Infinity;
    const { out } = this.layout.places[name];
    if (this.phase <= out[0]) return 0;
    if (this.phase >= out[1]) return Infinity;
    const length = Math.max(...this.wires.filter((wire) => wire.source === name).map((wire) => wire.before + wire.path.length));
    return ((this.phase - out[0]) / (out[1] - out[0])) * length;
  }

  arrived(name) {
    const place = this.layout.places[name] ?? this.layout.places[this.cell.wiring.find((node) => node.inputs[0] === name)?.name];
    return !place || this.phase >= (place.out[0] + place.out[1]) / 2;
  }

  // Draw everything that depends on the step, the unit or the values.
  refresh() {
    this.columns.clear();
    this.borders = lanes(this.packed.order, this.unit, 0.11);
    this.drawStrip();
    this.drawHeld();
    if (!this.layers) {
      this.drawPlots();
      this.unitInput.value = this.unit;
      this.heatmaps.draw();
    }
    this.stack?.draw();
    this.draw();
    if (this.pointed) this.tell(this.pointed);
    this.remember();
  }

  // Draw everything that moves within a step. React takes the view off the page before it calls for its removal; what
  // comes in between (a frame, a lost focus) finds no style to draw with.
  draw() {
    if (!this.root.isConnected) return;
    this.now = this.recording.values(this.t);
    this.last = this.recording.values(Math.max(this.t - 1, 0));
    this.before = this.t > 0 ? this.last : this.now;
    if (this.layers) this.layers.draw();
    else this.drawCell();
    this.drawPanel();
    this.moving.setAttribute("transform", `translate(${-this.offset * this.spacing} 0)`);
  }

  drawCell() {
    this.drawWires();
    this.drawChips();
    this.drawNumbers();
  }

  column(name, width, old) {
    const key = `${name} ${width} ${old ? this.t - 1 : this.t}`;
    if (!this.columns.has(key)) {
      if (this.columns.size > 200) this.columns.clear();
      const values = (old ? this.before : this.now)[name];
      const rows = Math.max(2, Math.round(width * this.ratio));
      this.columns.set(key, values && columnOf(values, this.orderOf(name), this.unit, this.borders, this.scaleOf(name), rows, this.outline));
    }
    return this.columns.get(key);
  }

  drawWires() {
    const context = this.canvas.getContext("2d");
    const style = getComputedStyle(this.root);
    const ink = style.color;
    this.outline = rgb(ink);
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    context.setTransform(this.ratio, 0, 0, this.ratio, 0, -this.top * this.ratio);
    for (const wire of this.wires) {
      if (wire.source === "X") continue;
      const { path, width, begin, before, source } = wire;
      const [fresh, old] = [this.column(source, width, false), this.column(source, width, true)];
      if (!fresh) continue;
      context.globalAlpha = this.lit && this.lit !== source ? 0.3 : 1;
      const front = clamp(this.reached(source) - before, begin, path.length);
      drawRibbon(context, path, width, fresh, begin, front);
      if (front < path.length) drawRibbon(context, path, width, old, front, path.length);
      if (front > begin && front < path.length) drawFront(context, path, width, front, ink);
    }
    context.globalAlpha = 1;
    this.drawInputs();
  }

  drawInputs() {
    const reached = this.reached("X");
    for (const { wire, made } of this.inputs) {
      const front = clamp(reached, 0, wire.path.length);
      made[2].setAttribute("stroke-dasharray", `${front} ${wire.path.length + 10}`);
    }
    const { stack, text } = this.packed;
    this.tile.textContent = stack?.layer > 1 ? `H${superscript(stack.layer - 1)}` : cut(text[this.t], 7);
  }

  drawChips() {
    for (const { wire, number, at } of this.chips) {
      const values = this.reached(wire.source) >= at ? this.now : this.before;
      setText(number, short(values[wire.source]?.[this.unit]));
    }
    for (const name in this.boxes) {
      const { out, at } = this.layout.places[name];
      this.boxes[name].classList.toggle("cv-busy", this.phase >= out[0] - 1 && this.phase < out[0]);
      const value = (this.arrived(name) ? this.now : this.before)[name]?.[this.unit];
      this.boxes[name].knob?.setAttribute("cy", at[1] + LEVER * (1 - 2 * value));
    }
  }

  drawNumbers() {
    for (const { made, part, sign } of this.numbers) {
      const text = short(this.valueOf(part));
      const negative = text.startsWith("−");
      const [added, factor] = [/^ [+−] $/.test(sign?.textContent), sign?.textContent.includes("×")];
      if (added) setText(sign, negative ? " − " : " + ");
      setText(made, negative && added ? text.slice(1) : negative && factor ? `(${text})` : text);
      made.classList.toggle("cv-stale", Boolean(part.node) && !this.arrived(part.node));
    }
  }

  // The number of a term for the chosen unit: of a node, of a node times a matrix, or of a bias.
  valueOf({ node, weight }) {
    const { W } = this.recording;
    const values = !node || this.arrived(node) ? this.now : this.before;
    if (!weight) return values[node]?.[this.unit];
    if (!W) return undefined;
    if (!node) return W[weight][this.unit];
    const x = values[node];
    if (typeof x === "number") return x < 0 ? 0 : W[weight][x][this.unit];
    return x.reduce((sum, v, i) => sum + v * W[weight][i][this.unit], 0);
  }

  drawPanel() {
    if (!this.packed.output) return;
    const begin = this.layers ? LAST_ARRIVES : RESULT;
    const share = clamp((this.phase - begin) / (PHASES - begin), 0, 1);
    const fresh = this.recording.prediction(this.t);
    const shown = share > 0 || this.t === 0 ? fresh : this.recording.prediction(this.t - 1);
    const old = this.t > 0 && share < 1 ? this.recording.prediction(this.t - 1) : shown;
    const at = shown.characters.indexOf(shown.truth);
    setText(this.expected, this.writesAfter(shown === fresh ? this.t : this.t - 1) ? this.words.drawn : this.words.expected);
    const { colours } = this.packed;
    this.rows.forEach((row, i) => {
      const extra = i === 5 && at < 0 && shown.truth !== null;
      const there = i < shown.characters.length || extra;
      const value = extra ? shown.chance : shown.probabilities[i] ?? 0;
      const from = extra ? value : old.probabilities[i] ?? 0;
      const moving = shown === fresh ? from + (value - from) * share : value;
      const isTrue = extra || i === at;
      setText(row.name, there ? (extra ? shown.truth : shown.characters[i]) : "");
      setText(row.share, there ? percent(value) : "");
      row.track.style.visibility = there ? "visible" : "hidden";
      row.bar.setAttribute("width", there ? Math.max(1.5, this.barWidth * moving) : 0);
      row.bar.setAttribute("fill", isTrue ? colours.true : colours.output);
      row.name.classList.toggle("cv-true", isTrue);
      row.share.classList.toggle("cv-true", isTrue);
    });
    const surprise = shown.truth === null ? "" : fill(this.words.surprise, { value: short(shown.surprise) });
    setText(this.surprise, surprise);
  }

  // Whether the character after this step is the model's own.
  writesAfter(t) {
    return t + 1 >= (this.packed.written ?? Infinity);
  }

  drawStrip() {
    const scale = this.scaleOf(this.tint);
    const values = this.recording.signals[this.tint];
    this.letters.forEach(({ rect, text }, i) => {
      const read = i <= this.t;
      rect.classList.toggle("cv-unread", !read);
      text.classList.toggle("cv-unread", !read);
      if (!read || this.layers) {
        rect.style.fill = text.style.fill = "";
        return;
      }
      const colour = scale(values[i][this.unit]);
      rect.style.fill = `rgb(${colour.map(Math.round)})`;
      text.style.fill = luminance(colour) > 0.36 ? "#101418" : "#fff";
    });
    this.here.setAttribute("x", this.t * this.spacing);
    this.here.scrolled = null;
  }

  drawPlots() {
    const T = this.recording.length;
    const step = (this.width - PLOTS.left) / T;
    for (const [i, { top, height, lines }] of this.plots.entries()) {
      for (const { name, line } of lines) {
        const values = this.recording.signals[name].map((row) => row[this.unit]);
        const most = i === 0 ? Math.max(1, ...values.map(Math.abs)) : 1;
        const low = i === 0 ? -most : 0;
        const y = (v) => top + height - 2 - ((height - 4) * (v - low)) / (most - low);
        line.setAttribute("d", svgPath(values.map((v, t) => [PLOTS.left + (t + 0.5) * step, y(v)])));
      }
    }
    setText(this.plotted, fill(this.words.unit_number, { number: this.unit }));
    this.cursor.setAttribute("x", PLOTS.left + this.t * step);
    this.cursor.setAttribute("width", Math.max(step, 2));
  }

  drawHeld() {
    const { held } = this.recording;
    const names = Object.keys(held);
    this.root.classList.toggle("cv-operated", names.length > 0);
    for (const name in this.boxes) this.boxes[name].classList.toggle("cv-held", name in held);
    for (const name in this.equals) {
      const unequal = name in held && this.recording.holds(name, this.t) && [held[name].unit ?? this.unit].flat().includes(this.unit);
      setText(this.equals[name], unequal ? " ≠ " : " = ");
      this.equals[name].classList.toggle("cv-unequal", unequal);
    }
    this.banner.replaceChildren();
    if (!names.length) return;
    const told = names.map((name) => {
      const { value, unit, first, last } = held[name];
      const symbol = this.packed.signals[name].symbol.replace("ₜ", "");
      const units = [unit].flat();
      const whose = unit === null ? this.words.held_all : units.length > 3 ? this.words.held_several : this.words.held_one;
      const span = first || last ? fill(this.words.held_span, { first: first ?? 1, last: last ?? this.recording.length }) : "";
      return fill(whose, { symbol, value: short(value), unit: units.join(", "), count: units.length }) + span;
    });
    const release = html("button", "cv-release", this.words.release_all);
    release.type = "button";
    release.addEventListener("click", () => this.hold({}));
    if (this.packed.output) { // where nothing is predicted, nothing surprises
      const [before, after] = [this.recording.surpriseAsRecorded(), this.recording.meanSurprise()].map(short);
      told.push(fill(this.words.effect, { before, after }));
    }
    this.banner.append(html("span", "", told.join(" · ")), release);
    if (!this.operate) return;
    const write = html("button", "cv-release", this.words.write);
    write.type = "button";
    write.addEventListener("click", () => this.operate(saidAsText(held)));
    this.banner.append(write);
  }
}
