// The cell at work: controls and equations around the drawing, moving from step to step, input, levers, descriptions.

const CALM = matchMedia("(prefers-reduced-motion: reduce)");
const SPEEDS = [0.25, 0.5, 1, 2, 4];
const PHASE_MS = 120;
const ICONS = {
  start: "M5 4h2.5v12H5zM16 4v12L8.5 10z",
  back: "M13 4v12L5 10z",
  play: "M6 3.5v13l10.5-6.5z",
  pause: "M5.5 4h3.5v12H5.5zM11 4h3.5v12H11z",
  next: "M7 4v12l8-6z",
};

class CellView extends CellDrawing {
  chooseLayer; // called with the number of a layer, or with "all"

  constructor(root) {
    super();
    this.root = root;
    this.t = 0;
    this.unit = 0;
    this.phase = PHASES;
    this.speed = 2;
    this.playing = false;
    this.lit = null;
    this.selection = null; // units and steps for the levers
    this.listeners = new AbortController();
    const { signal } = this.listeners;
    document.addEventListener("keydown", (event) => this.onKey(event), { signal });
    root.addEventListener("focusin", (event) => this.light(event.target.closest("[data-node]")), { signal });
    root.addEventListener("focusout", () => this.light(null), { signal });
    this.resizing = new ResizeObserver(() => this.packed && this.arrange());
  }

  remove() {
    this.listeners.abort();
    clearTimeout(this.remembering);
    this.resizing.disconnect();
    cancelAnimationFrame(this.frame);
    this.playing = false;
  }

  // A new reading keeps the unit, and the step if the text is the same; the address counts for the first reading.
  // `want` asks for the checkpoints that were kept.
  show(packed, want) {
    const first = !this.packed;
    this.want = want;
    if (!first && packed.revision === this.packed.revision) {
      if (packed.kept.arrays && !this.packed.kept.arrays) {
        this.packed.kept = packed.kept;
        this.look(this.asked);
      }
      return;
    }
    const sameText = !first && packed.text.join("") === this.packed.text.join("");
    if (sameText && this.takes(packed)) {
      this.replace(packed);
      return;
    }
    this.play(false);
    this.selection = null;
    this.packed = packed;
    this.words = packed.words;
    this.cell = packed.cell;
    this.recording = new Recording(packed);
    const asked = new URLSearchParams(location.search);
    const levers = first && asked.has("held") && !packed.stack?.whole;
    const held = levers ? heldFromText(asked.get("held"), this.cell.gates, this.recording.size) : packed.held;
    if (held && packed.weights) this.recording.hold(held);
    const number = (name, otherwise) => (/^\d+$/.test(asked.get(name) ?? "") ? Number(asked.get(name)) : otherwise);
    if (first) {
      this.t = number("t", Math.min(packed.t ?? 0, this.recording.length - 1));
      this.unit = number("unit", packed.unit);
      this.tint = asked.get("signal");
      const step = packed.kept.steps.indexOf(number("step", -1));
      this.asked = step < 0 ? null : step;
    } else if (!sameText) this.t = 0;
    this.t = clamp(this.t, 0, this.recording.length - 1);
    this.unit = clamp(this.unit, 0, this.recording.size - 1);
    this.phase = PHASES;
    if (!(this.tint in packed.signals)) this.tint = this.cell.state.at(-1);
    if (!first) this.asked = null;
    this.scales = Object.fromEntries(Object.entries(packed.scales).map(([kind, scale]) => [kind, colourScale(scale)]));
    this.build();
    if (this.asked !== null) this.look(this.asked);
    if (first && packed.playing && !asked.has("t") && !CALM.matches) this.play(true);
  }

  // Whether a reading differs from the one shown only in its numbers.
  takes(packed) {
    const frame = ({ cell, words, signals, weights, stack }) =>
      JSON.stringify([cell, words, Object.keys(signals), !weights, stack?.layer, stack?.whole, stack?.rows.length]);
    return frame(packed) === frame(this.packed) && packed.order.length === this.recording.size;
  }

  // Show newer numbers of the same model and text; step, unit, order, levers (if the server names none), and playing
  // are kept.
  replace(packed) {
    const held = (packed.weights && packed.held) ?? this.recording.held;
    this.packed = { ...packed, order: this.packed.order };
    this.recording = new Recording(this.packed);
    this.recording.hold(held);
    this.asked = null;
    this.drawKept();
    this.refresh();
  }

  // ---- building ----

  build() {
    this.root.replaceChildren();
    this.stage = html("div", "cv-stage");
    this.stage.tabIndex = 0;
    this.stage.setAttribute("role", "group");
    this.stage.setAttribute("aria-label", this.words.stage);
    this.canvas = html("canvas", "cv-canvas");
    this.svg = svg("svg", { class: "cv-svg" });
    this.lever = html("div", "cv-lever");
    this.lever.hidden = true;
    this.layers = this.packed.stack?.whole ? new Layers(this) : null;
    this.root.classList.toggle("cv-whole", this.layers !== null);
    if (this.layers) this.root.style.setProperty("--units", this.layers.height);
    this.stage.append(this.canvas, this.svg, ...(this.layers?.places ?? []), this.lever);
    const frame = html("div", "cv-frame");
    frame.append(this.stage);
    this.said = html("div", "cv-said");
    this.said.setAttribute("aria-live", "polite");
    const controls = this.buildControls();
    this.readout = html("div", "cv-readout");
    this.stack = this.packed.stack && new Stack(this);
    // with a stack the controls, among which the layers are chosen, are above the drawing
    const first = this.stack ? [controls, frame] : [frame, controls];
    const states = this.stack ? [this.stack.root] : [];
    const details = this.layers ? [] : this.buildDetails();
    this.root.append(...first, this.buildKept(), this.readout, ...states, ...details, this.said);
    this.listen();
    this.arrange();
    this.resizing.disconnect();
    this.resizing.observe(frame);
    this.tell(null);
    this.say();
  }

  // Below the drawing of one cell: its equations, and its signals over the whole text.
  buildDetails() {
    this.heatmaps = new Heatmaps(this);
    return [this.buildEquations(), this.heatmaps.root];
  }

  buildControls() {
    const bar = html("div", "cv-controls");
    const button = (name, icon, act) => {
      const made = html("button", "cv-button");
      made.type = "button";
      made.setAttribute("aria-label", name);
      made.title = name;
      const picture = svg("svg", { viewBox: "0 0 20 20", "aria-hidden": "true" });
      picture.append(svg("path", { d: ICONS[icon] }));
      made.append(picture);
      made.addEventListener("click", act);
      return made;
    };
    const { words } = this;
    this.playButton = button(words.play, "play", () => this.play(!this.playing));
    this.playButton.classList.add("cv-play");
    this.banner = html("div", "cv-banner");
    bar.append(
      button(words.start, "start", () => this.go(0)),
      button(words.back, "back", () => this.go(this.t - 1)),
      this.playButton,
      button(words.next, "next", () => this.stepOn()),
      this.buildSpeed(),
      ...(this.packed.stack?.rows.length > 1 ? [this.buildLayers()] : []),
      ...(this.layers ? [] : [this.buildUnit(), ...this.buildFirstLever()]),
      this.banner
    );
    return bar;
  }

  buildSpeed() {
    const label = html("label", "cv-speed");
    const range = html("input");
    Object.assign(range, { type: "range", min: 0, max: SPEEDS.length - 1, step: 1, value: SPEEDS.indexOf(this.speed) });
    range.setAttribute("aria-label", this.words.speed);
    const shown = html("span", "cv-number");
    const update = () => {
      this.speed = SPEEDS[range.value];
      shown.textContent = fill(this.words.per_second, { n: this.speed });
    };
    range.addEventListener("input", update);
    update();
    label.append(range, shown);
    return label;
  }

  // Buttons for all layers together and for the cell of each.
  buildLayers() {
    const { rows, layer, whole } = this.packed.stack;
    const group = html("div", "cv-choice");
    group.setAttribute("role", "group");
    group.setAttribute("aria-label", this.words.layers);
    const offer = (name, text, label, shown) => {
      const made = html("button", "", text);
      made.type = "button";
      made.title = label;
      made.setAttribute("aria-label", label);
      made.setAttribute("aria-pressed", shown);
      made.addEventListener("click", () => shown || this.chooseLayer?.(name));
      group.append(made);
    };
    offer("all", this.words.all_layers, this.words.all_layers, whole);
    for (let n = 1; n <= rows.length; n++) offer(String(n), String(n), fill(this.words.layer, { n }), !whole && n === layer);
    return group;
  }

  buildUnit() {
    const label = html("label", "cv-unit");
    const input = html("input");
    this.unitInput = input;
    Object.assign(input, { type: "number", min: 0, max: this.recording.size - 1 });
    input.addEventListener("change", () => this.choose(clamp(Math.round(Number(input.value)) || 0, 0, this.recording.size - 1)));
    label.append(html("span", "", this.words.unit), input);
    return label;
  }

  // The lever to pull first, in sight: it holds a gate where the state no longer follows the text.
  buildFirstLever() {
    const [gate, value] = this.cell.lever ?? [];
    if (!gate || !this.recording.W) return [];
    const label = this.packed.signals[gate].label;
    this.firstLever = html("button", "cv-first", fill(this.words.hold_at, { gate: label, value }));
    this.firstLever.type = "button";
    this.firstLever.addEventListener("click", () => this.hold({ ...this.recording.held, [gate]: { value, unit: null } }));
    return [this.firstLever];
  }

  // A slider over the kept checkpoints, whose weights compute the text anew.
  buildKept() {
    this.kept = html("label", "cv-kept");
    this.keptRange = html("input");
    this.keptRange.type = "range";
    this.keptRange.setAttribute("aria-label", this.words.training_step);
    this.keptRange.addEventListener("input", () => {
      const at = Number(this.keptRange.value);
      this.look(at < this.packed.kept.steps.length ? at : null);
    });
    this.keptStep = html("output", "cv-number");
    this.kept.append(html("span", "", this.words.training_step), this.keptRange, this.keptStep);
    this.drawKept();
    return this.kept;
  }

  drawKept() {
    const { steps, last } = this.packed.kept;
    this.kept.hidden = !steps.length;
    const at = this.asked ?? steps.length;
    Object.assign(this.keptRange, { min: 0, max: steps.length, step: 1, value: at });
    setText(this.keptStep, (steps[at] ?? last ?? "").toLocaleString("en"));
    this.keptRange.setAttribute("aria-valuetext", this.keptStep.textContent);
  }

  // Show a kept checkpoint, or with null the reading itself; ask for the checkpoints if they are not here yet.
  look(at) {
    this.asked = at;
    this.drawKept();
    if (at !== null && !this.packed.kept.arrays) {
      this.want?.();
      return;
    }
    this.recording.look(at);
    this.refresh();
    if (!this.playing) this.say();
  }

  // One equation per signal; its terms are buttons, and below it are the numbers of the chosen unit.
  buildEquations() {
    const place = html("div", "cv-equations");
    this.numbers = [];
    this.equals = {};
    for (const name of this.cell.wiring.map((node) => node.name).filter((node) => node in this.packed.signals)) {
      const equation = html("div", "cv-equation");
      const [symbols, numbers] = [html("div", "cv-symbols"), html("div", "cv-numbers")];
      const tree = this.cell.expressions[name];
      symbols.append(this.term({ node: name, text: this.symbolOf(name) }), " = ");
      symbols.append(...tree.parts.map((part) => this.term(part)));
      this.equals[name] = html("span", "", " = ");
      numbers.append(this.number({ node: name }), this.equals[name]);
      this.numbersOf(tree.parts, numbers);
      equation.append(symbols, numbers);
      place.append(equation);
    }
    return place;
  }

  term(part) {
    if (typeof part === "string") {
      const plain = html("span");
      writeHtml(plain, part);
      return plain;
    }
    const leaf = part.text !== undefined;
    const made = html(leaf && part.node ? "button" : "span", leaf && part.node ? "cv-term" : "cv-group");
    this.mark(made, part);
    if (leaf) writeHtml(made, part.text);
    else made.append(...part.parts.map((inner) => this.term(inner)));
    return made;
  }

  number(part) {
    if (typeof part === "string") return html("span", "", part.replace("⊙", "×"));
    const whole = part.parts === undefined || part.closed;
    const made = html("span", whole ? "cv-number" : "cv-group");
    this.mark(made, part);
    if (whole) this.numbers.push({ made, part });
    else this.numbersOf(part.parts, made);
    return made;
  }

  // A number depends on the sign before it: plus and minus become one, and a negative factor is put in brackets.
  numbersOf(parts, place) {
    let sign = null;
    for (const part of parts) {
      const made = this.number(part);
      place.append(made);
      const last = this.numbers.at(-1);
      if (typeof part === "string") sign = made;
      else if (sign && last.made === made) last.sign = sign;
    }
  }

  // What is highlighted together: a sum A_. is inside the box of its function.
  mark(made, { node, weight }) {
    const name = this.cell.wiring.find((other) => other.inputs[0] === node && node.startsWith("A_"))?.name ?? node;
    if (!name) return;
    made.dataset.node = name;
    if (weight) made.dataset.weight = weight;
    if (made.type) made.type = "button";
    made.style.setProperty("--colour", this.colourOf(name));
  }

  // ---- moving ----

  go(t) {
    this.play(false);
    this.jump(t);
  }

  jump(t) {
    this.t = clamp(t, 0, this.recording.length - 1);
    this.phase = this.stop = PHASES;
    this.refresh();
    this.offset = this.restOffset();
    this.draw();
    this.say();
  }

  // Go to the next step; one that is still under way is finished first, so that no press is lost.
  stepOn() {
    if (this.t >= this.recording.length - 1) {
      if (this.phase < PHASES) this.run(PHASES);
      return;
    }
    this.t += 1;
    this.phase = 0;
    this.run(PHASES);
  }

  phaseOn() {
    if (this.phase >= PHASES) {
      if (this.t >= this.recording.length - 1) return;
      this.t += 1;
      this.phase = 0;
      this.run(1);
    } else this.run(Math.min(Math.floor(this.stop ?? this.phase) + 1, PHASES));
  }

  // Run the step up to a phase.
  run(stop) {
    this.stop = stop;
    if (CALM.matches) {
      this.phase = stop;
      this.offset = this.restOffset();
    }
    this.refresh();
    if (stop >= PHASES && !this.playing) this.say();
    this.animate();
  }

  animate() {
    if (this.frame) return;
    let last = performance.now();
    const tick = (now) => {
      this.frame = null;
      const passed = Math.min(now - last, 100);
      last = now;
      if (this.advance(passed)) this.frame = requestAnimationFrame(tick);
    };
    this.frame = requestAnimationFrame(tick);
  }

  // Draw one frame; returns whether there is another.
  advance(passed) {
    const stepMs = 1000 / this.speed;
    const phaseMs = this.playing ? clamp(stepMs / PHASES, 20, 420) : PHASE_MS;
    this.phase = Math.min(this.phase + passed / phaseMs, this.stop ?? PHASES);
    const rest = this.restOffset();
    this.offset += (rest - this.offset) * Math.min(1, passed / 90);
    if (Math.abs(rest - this.offset) < 0.01) this.offset = rest;
    if (this.playing && this.phase >= PHASES) {
      this.waited = (this.waited ?? 0) + passed;
      if (this.waited >= stepMs - phaseMs * PHASES) {
        this.waited = 0;
        const last = this.t >= this.recording.length - 1;
        if (last && !this.packed.playing) this.play(false);
        else {
          this.t = last ? 0 : this.t + 1;
          this.phase = 0;
          this.stop = PHASES;
          this.refresh();
        }
      }
    }
    this.draw();
    return this.playing || this.phase < (this.stop ?? PHASES) || this.offset !== rest;
  }

  play(on) {
    if (on === this.playing) return;
    this.playing = on;
    if (on && this.t >= this.recording.length - 1 && this.phase >= PHASES) this.t = 0;
    this.stop = PHASES;
    this.waited = Infinity;
    const name = on ? this.words.pause : this.words.play;
    this.playButton.setAttribute("aria-label", name);
    this.playButton.title = name;
    this.playButton.querySelector("path").setAttribute("d", ICONS[on ? "pause" : "play"]);
    if (on) this.animate();
    else {
      this.remember();
      this.say();
    }
  }

  choose(unit, tint) {
    this.unit = unit;
    if (tint) this.tint = tint;
    this.refresh();
    if (!this.playing) this.say();
  }

  // Hold gates, or with none release all, and read the text again at once.
  hold(held) {
    this.recording.hold(held);
    this.refresh();
    this.say();
  }

  // Put step, unit and what the levers hold into the address, without an entry in the history; a browser allows a few
  // changes per second. What the server says is held is in the address already. While the view plays, it is at no step.
  remember() {
    clearTimeout(this.remembering);
    if (!this.packed.address) return;
    this.remembering = setTimeout(() => {
      if (!this.root.isConnected) return;
      const address = new URL(location.href);
      const held = saidAsText(this.recording.held);
      const step = this.asked === null ? null : this.packed.kept.steps[this.asked];
      const stands = { t: this.t, unit: this.unit, signal: this.tint === this.cell.state.at(-1) ? null : this.tint, step };
      const now = { ...(this.playing ? {} : stands), held: held === saidAsText(this.packed.held ?? {}) ? null : held };
      for (const [name, value] of Object.entries(now)) {
        if (value === null) address.searchParams.delete(name);
        else address.searchParams.set(name, String(value));
      }
      if (address.href !== location.href) history.replaceState(history.state, "", address);
    }, 150);
  }

  // ---- input ----

  listen() {
    const { svg: stage, root } = this;
    stage.addEventListener("pointermove", (event) => this.onMove(event));
    stage.addEventListener("pointerdown", (event) => this.onDown(event));
    stage.addEventListener("pointerup", () => (this.dragged = null));
    stage.addEventListener("click", (event) => this.onClick(event));
    stage.addEventListener("pointerleave", () => this.light(null));
    const equations = root.querySelector(".cv-equations");
    equations?.addEventListener("mouseover", (event) => this.light(event.target.closest("[data-node]")));
    equations?.addEventListener("mouseleave", () => this.light(null));
  }

  position(event) {
    const bounds = this.svg.getBoundingClientRect();
    return [((event.clientX - bounds.left) * this.width) / bounds.width, ((event.clientY - bounds.top) * this.height) / bounds.height];
  }

  onMove(event) {
    if (this.dragged) {
      this.scrub(event);
      return;
    }
    const target = event.target.closest("[data-node]");
    this.light(target, target?.wire ? this.laneAt(event, target.wire) : undefined);
  }

  laneAt(event, wire) {
    if (wire.source === "X") return undefined;
    const { side } = nearest(wire.path, ...this.position(event));
    const share = clamp(side / wire.width + 0.5, 0, 0.9999);
    return this.packed.order[Math.max(0, this.borders.findLastIndex((border) => border <= share))];
  }

  onDown(event) {
    const area = event.target.dataset.drag;
    if (!area) return;
    this.svg.setPointerCapture(event.pointerId);
    this.dragged = { area, offset: this.offset };
    this.play(false);
    this.scrub(event);
  }

  scrub(event) {
    const [x] = this.position(event);
    const { area, offset } = this.dragged;
    const t = area === "strip" ? offset + x / this.spacing : ((x - PLOTS.left) / (this.width - PLOTS.left)) * this.recording.length;
    const step = clamp(Math.floor(t), 0, this.recording.length - 1);
    this.t = step;
    this.phase = this.stop = PHASES;
    this.refresh();
    if (area === "plots") this.offset = this.restOffset();
    this.draw();
  }

  onClick(event) {
    const target = event.target.closest("[data-node]");
    if (target?.wire && target.wire.source !== "X") {
      const own = target.dataset.node.replace("_before", "");
      this.choose(this.laneAt(event, target.wire), own in this.packed.signals ? own : undefined);
    } else if (target?.getAttribute("role") === "button") this.openLever(target.dataset.node);
    else if (!target) this.lever.hidden = true;
  }

  onKey(event) {
    if (event.defaultPrevented || event.ctrlKey || event.altKey || event.metaKey || !this.root.isConnected) return;
    const active = document.activeElement;
    const inside = this.root.contains(active);
    const typing = active?.closest?.("input, textarea, select, [contenteditable], [role=radio], [role=tab], [role=option], [role=slider]");
    if (typing) return;
    const free = inside || active === document.body || active === null;
    const act = this.keyAction(event, inside && active === this.stage, free);
    if (!act) return;
    event.preventDefault();
    act();
  }

  keyAction({ key, shiftKey, target }, onStage, free) {
    if (key === "Escape" && !this.lever.hidden) return () => (this.lever.hidden = true);
    if (!free) return null;
    const gate = target.getAttribute?.("role") === "button" && target.dataset.node;
    if (gate && (key === "Enter" || key === " ")) return () => this.openLever(gate);
    if (key === "ArrowRight") return () => { this.play(false); shiftKey ? this.phaseOn() : this.stepOn(); };
    if (key === "ArrowLeft") return () => this.go(this.phase < PHASES ? this.t : this.t - 1);
    if (key === " " && target.tagName !== "BUTTON" && this.inSight()) return () => this.play(!this.playing);
    if (!this.root.contains(document.activeElement)) return null;
    if (key === "Home") return () => this.go(0);
    if (key === "End") return () => this.go(this.recording.length - 1);
    const by = { ArrowUp: -1, ArrowDown: 1 }[key];
    const { order } = this.packed;
    return by && onStage ? () => this.choose(order[clamp(order.indexOf(this.unit) + by, 0, order.length - 1)]) : null;
  }

  // Whether the stage is on the screen; if not, Space scrolls the page as usual.
  inSight() {
    const { top, bottom } = this.stage.getBoundingClientRect();
    return bottom > 0 && top < window.innerHeight;
  }

  // ---- levers ----

  openLever(gate) {
    const { words, lever, recording } = this;
    const signal = this.packed.signals[gate];
    const before = recording.held[gate];
    const range = html("input");
    Object.assign(range, { type: "range", min: 0, max: 1, step: 0.01, value: before?.value ?? recording.signals[gate][this.t][this.unit] });
    range.setAttribute("aria-label", fill(words.hold, { gate: signal.label }));
    const shown = html("span", "cv-number", short(Number(range.value)));
    const one = this.checkbox(words.only_unit, before?.unit != null && !Array.isArray(before.unit));
    const some = this.selection && this.checkbox(this.selectedInWords(), true);
    const act = () => {
      shown.textContent = short(Number(range.value));
      const whom = some?.box.checked ? this.selected() : { unit: one.box.checked ? this.unit : null };
      this.hold({ ...recording.held, [gate]: { value: Number(range.value), ...whom } });
    };
    range.addEventListener("input", act);
    for (const [chosen, other] of [[one, some], [some, one]]) {
      chosen?.box.addEventListener("change", () => {
        if (other && chosen.box.checked) other.box.checked = false;
        act();
      });
    }
    const release = html("button", "cv-release", words.release);
    release.type = "button";
    release.addEventListener("click", () => {
      const { [gate]: _, ...others } = recording.held;
      this.hold(others);
      lever.hidden = true;
    });
    const title = html("div", "cv-lever-title", signal.label);
    const line = html("div", "cv-lever-line");
    line.append(range, shown);
    lever.replaceChildren(title, line, one.label, ...(some ? [some.label] : []), release);
    const [x, y] = this.layout.places[gate].at;
    lever.style.left = `${(100 * x) / this.width}%`;
    lever.style.top = `${(100 * (y - 24)) / STAGE.height}%`;
    lever.style.setProperty("--colour", signal.colour);
    lever.hidden = false;
    this.light(null);
    range.focus({ preventScroll: true });
  }

  checkbox(text, checked) {
    const box = Object.assign(html("input"), { type: "checkbox", checked });
    const label = html("label", "cv-only");
    label.append(box, html("span", "", text));
    return { box, label };
  }

  // What is selected, as the recording holds it: null for all units, steps from 1.
  selected() {
    const { units, first, last } = this.selection;
    return { unit: units.length < this.recording.size ? units : null, first: first + 1, last: last + 1 };
  }

  selectedInWords() {
    const { units, first, last } = this.selection;
    return fill(this.words.only_selected, { units: units.length, first: first + 1, last: last + 1 });
  }

  // ---- descriptions ----

  // Highlight everything that is the same value as a wire, a box or a term; `unit` is the one below the pointer.
  light(target, unit) {
    if (!this.lever.hidden) target = null;
    const name = target?.dataset.node ?? null;
    if (name === null && this.lit === null) return;
    const changed = name !== this.lit;
    this.lit = name;
    this.pointed = target && { name, unit, weight: target.dataset.weight };
    if (changed) {
      this.root.classList.toggle("cv-lighting", name !== null);
      for (const marked of this.root.querySelectorAll("[data-node]")) {
        marked.classList.toggle("cv-lit", marked.dataset.node === name);
      }
      this.draw();
    }
    this.tell(this.pointed);
  }

  // Describe what is pointed at: its symbol, its meaning, its formula and its value.
  tell(pointed) {
    this.readout.replaceChildren();
    this.readout.classList.toggle("cv-idle", !pointed);
    if (!pointed) {
      const asked = this.layers ? this.words.enlarge_one : this.words.point;
      this.readout.append(asked, html("span", "cv-hint", this.words.keys));
      return;
    }
    const { name } = pointed;
    const unit = pointed.unit ?? this.unit;
    const symbol = html("b");
    writeHtml(symbol, this.symbolOf(name));
    symbol.style.color = this.colourOf(name);
    const meaning = this.packed.signals[name]?.label ?? this.words.meanings[name] ?? "";
    this.readout.append(symbol, ` · ${meaning}`);
    if (name === "X") {
      if (!(this.packed.stack?.layer > 1)) this.readout.append(` · ${this.packed.text[this.t]}`);
      return;
    }
    const formula = this.cell.expressions[name];
    if (formula && name in this.packed.signals) {
      this.readout.append(" · ");
      writeHtml(this.readout, `${this.symbolOf(name)} = ${this.flat(formula)}`);
    }
    const values = this.arrived(name) ? this.now : this.before;
    this.readout.append(` · ${fill(this.words.unit_number, { number: unit })}: `, html("b", "cv-number", exact(values[name]?.[unit])));
  }

  // The step in one sentence, for readers who cannot see it.
  say() {
    const { signals, text } = this.packed;
    const values = this.recording.values(this.t);
    const { characters, probabilities, truth, surprise } = this.recording.prediction(this.t) ?? { truth: null };
    const told = Object.keys(signals).map((name) => `${signals[name].label} ${short(values[name][this.unit])}`);
    const sentence = fill(this.layers ? this.words.said_whole : this.words.said, {
      t: this.t + 1, length: text.length, character: text[this.t], unit: this.unit, values: told.join(", "),
      guess: characters?.[0], chance: characters && percent(probabilities[0]),
    });
    const said = this.writesAfter(this.t) ? this.words.said_drawn : this.words.said_true;
    const after = truth === null ? "" : " " + fill(said, { truth, surprise: short(surprise) });
    setText(this.said, sentence + after);
  }
}

const cellViews = new WeakMap();

// Holds in the form that parse_holds() in surgery.py reads: Z=0.5@3,17:1-20.
function saidAsText(held) {
  const parts = Object.entries(held).map(([gate, { value, unit, first, last }]) => {
    const units = unit === null ? "" : `@${[unit].flat().join(",")}`;
    return `${gate}=${Number(value.toFixed(6))}${units}${first || last ? `:${first ?? 1}-${last ?? ""}` : ""}`;
  });
  return parts.join(";");
}

// What a text of that form holds; what it says of no gate or unit of this cell is left out.
function heldFromText(text, gates, units) {
  const said = text.split(";").map((part) => /^(\w+)=([01](?:\.\d+)?)(?:@(\d+(?:,\d+)*))?(?::(\d+)-(\d*))?$/.exec(part));
  const whole = ([, gate, value, whom]) => gates.includes(gate) && value <= 1 && (whom ?? "").split(",").every((unit) => unit < units);
  const holds = said.filter((part) => part && whole(part)).map(([, gate, value, whom, first, last]) => {
    const numbers = whom?.split(",").map(Number) ?? [null];
    const span = first ? { first: Number(first), last: last ? Number(last) : null } : {};
    return [gate, { value: Number(value), unit: numbers.length > 1 ? numbers : numbers[0], ...span }];
  });
  return Object.fromEntries(holds);
}

// Show a packed reading in a place, or put a newer one into the view that stands there. It calls `want` for the
// checkpoints that were kept; where `operate` is given, a button beside the levers calls it with what is held, and
// a click on another layer of the stack calls `choose` with its number, or with "all".
function showCell(place, packed, { want = undefined, operate = undefined, choose = undefined } = {}) {
  const view = cellViews.get(place) ?? new CellView(place);
  cellViews.set(place, view);
  place.cellView = view;
  view.operate = operate;
  view.chooseLayer = choose;
  view.show(packed, want);
  return () => {
    view.remove();
    cellViews.delete(place);
  };
}
