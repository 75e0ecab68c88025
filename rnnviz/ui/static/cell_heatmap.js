// Below the cell: signals over the whole text, units down and characters across, with the view's step and unit.

const TICKS = 10;

class Heatmaps {
  constructor(view) {
    this.view = view;
    this.all = false;
    this.root = html("div", "cv-heat");
    this.head = html("div", "cv-heat-head");
    this.maps = html("div", "cv-heat-maps");
    this.root.append(this.head, this.maps);
    this.buildHead();
    this.build();
  }

  buildHead() {
    const { words, packed } = this.view;
    this.select = html("select");
    this.select.setAttribute("aria-label", words.signal);
    for (const [name, { symbol, label }] of Object.entries(packed.signals)) {
      const option = html("option", "", `${symbol} ${label}`);
      option.value = name;
      this.select.append(option);
    }
    this.select.addEventListener("change", () => this.view.choose(this.view.unit, this.select.value));
    const every = html("label", "cv-only");
    const box = html("input");
    box.type = "checkbox";
    box.addEventListener("change", () => {
      this.all = box.checked;
      this.build();
      this.draw();
    });
    every.append(box, html("span", "", words.all_signals));
    this.head.append(this.select, every);
    if (packed.weights) this.head.append(html("span", "cv-select", words.select));
  }

  // One map of the chosen signal, or a small one of each.
  build() {
    this.maps.classList.toggle("cv-several", this.all);
    this.shown = (this.all ? Object.keys(this.view.packed.signals) : [null]).map((name) => this.map(name));
    this.maps.replaceChildren(...this.shown.map(({ figure }) => figure));
  }

  map(name) {
    const { recording } = this.view;
    const figure = html("figure", "cv-map");
    const title = html("figcaption");
    const frame = html("div", "cv-map-frame");
    const canvas = html("canvas");
    [canvas.width, canvas.height] = [recording.length, recording.size];
    const [cursor, row, chosen] = [html("div", "cv-map-step"), html("div", "cv-map-unit"), html("div", "cv-map-selection")];
    frame.append(canvas, row, cursor, chosen);
    figure.append(title, frame);
    if (!this.all) figure.append(this.ticks());
    const map = { name, figure, title, canvas, cursor, row, chosen };
    frame.addEventListener("pointerdown", (event) => {
      frame.setPointerCapture(event.pointerId);
      this.from = event.shiftKey && this.view.packed.weights ? this.at(map, event) : null;
      this.drag(map, event);
    });
    frame.addEventListener("pointermove", (event) => (event.buttons ? this.drag(map, event) : this.point(map, event)));
    frame.addEventListener("pointerleave", () => this.view.tell(null));
    return map;
  }

  ticks() {
    const { length } = this.view.recording;
    const line = html("div", "cv-map-ticks");
    for (let t = TICKS - 1; t < length; t += TICKS) {
      const tick = html("span", "", t + 1);
      tick.style.left = `${(100 * (t + 0.5)) / length}%`;
      line.append(tick);
    }
    return line;
  }

  at({ canvas }, event) {
    const { recording, packed } = this.view;
    const { left, top, width, height } = canvas.getBoundingClientRect();
    const share = (value, count) => clamp(Math.floor(value * count), 0, count - 1);
    const unit = packed.order[share((event.clientY - top) / height, recording.size)];
    return { t: share((event.clientX - left) / width, recording.length), unit };
  }

  // With Shift a drag selects units and steps for the levers; without, a click chooses one of each.
  drag(map, event) {
    if (this.from) this.selectTo(this.at(map, event));
    else {
      this.view.selection = null;
      this.go(map, event);
    }
  }

  selectTo(to) {
    const { order } = this.view.packed;
    const sorted = (a, b) => (a < b ? [a, b] : [b, a]);
    const [first, last] = sorted(this.from.t, to.t);
    const [top, bottom] = sorted(order.indexOf(this.from.unit), order.indexOf(to.unit));
    this.view.selection = { first, last, top, bottom, units: order.slice(top, bottom + 1).sort((a, b) => a - b) };
    this.view.play(false);
    this.draw();
  }

  go(map, event) {
    const { t, unit } = this.at(map, event);
    this.view.play(false);
    this.view.unit = unit;
    if (map.name) this.view.tint = map.name;
    this.view.jump(t);
  }

  // Describe what is below the pointer, in the line for everything that is pointed at.
  point(map, event) {
    const { view } = this;
    const { t, unit } = this.at(map, event);
    const name = map.name ?? view.tint;
    const { label } = view.packed.signals[name];
    const symbol = html("b");
    writeHtml(symbol, view.symbolOf(name));
    symbol.style.color = view.colourOf(name);
    const where = ` · ${label} · ${t + 1}  ${view.packed.text[t]} · ${fill(view.words.unit_number, { number: unit })}: `;
    view.readout.classList.remove("cv-idle");
    view.readout.replaceChildren(symbol, where, html("b", "cv-number", exact(view.recording.signals[name][t][unit])));
  }

  draw() {
    const { view } = this;
    const { recording, packed, tint, unit, t } = view;
    this.select.value = tint;
    for (const map of this.shown) {
      const name = map.name ?? tint;
      const values = recording.signals[name];
      if (map.values !== values || map.order !== packed.order) this.paint(map, name, values);
      const place = packed.order.indexOf(unit);
      map.cursor.style.left = `${(100 * t) / recording.length}%`;
      map.cursor.style.width = `${100 / recording.length}%`;
      map.row.style.top = `${(100 * place) / recording.size}%`;
      map.row.style.height = `${100 / recording.size}%`;
      this.drawSelection(map.chosen);
    }
  }

  drawSelection(place) {
    const { selection, recording } = this.view;
    place.hidden = !selection;
    if (!selection) return;
    const { first, last, top, bottom } = selection;
    const percent = (count, of) => `${(100 * count) / of}%`;
    place.style.left = percent(first, recording.length);
    place.style.width = percent(last - first + 1, recording.length);
    place.style.top = percent(top, recording.size);
    place.style.height = percent(bottom - top + 1, recording.size);
  }

  paint(map, name, values) {
    const { view } = this;
    Object.assign(map, { values, order: view.packed.order });
    map.title.replaceChildren();
    writeHtml(map.title, view.symbolOf(name));
    map.title.append(` ${view.packed.signals[name].label}`);
    const { width, height } = map.canvas;
    const context = map.canvas.getContext("2d");
    const image = context.createImageData(width, height);
    const scale = view.scaleOf(name);
    for (let t = 0; t < width; t++) {
      for (let i = 0; i < height; i++) image.data.set([...scale(values[t][map.order[i]]), 255], 4 * (i * width + t));
    }
    context.putImageData(image, 0, 0);
    map.canvas.setAttribute("role", "img");
    map.canvas.setAttribute("aria-label", `${view.packed.signals[name].label}: ${view.words.heatmap}`);
  }
}
