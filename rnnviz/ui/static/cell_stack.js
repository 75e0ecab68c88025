// Below the drawing: the hidden states of all layers over the text, the last layer on top. What a layer knows goes up to
// the next one at the same step, and to the right to its own next step.

class Stack {
  constructor(view) {
    this.view = view;
    this.root = html("div", "cv-stack");
    this.root.setAttribute("role", "group");
    this.root.setAttribute("aria-label", view.words.stack);
    const { rows, layer, whole } = view.packed.stack;
    this.chosen = whole ? null : layer; // the one whose cell is enlarged
    this.rows = rows.map(({ order }, i) => this.row(i + 1, order));
    this.letters = html("div", "cv-stack-letters");
    this.letters.append(...view.packed.text.map((character) => html("span", "", character)));
    this.root.append(...this.rows.map(({ line }) => line).reverse(), this.letters);
  }

  row(layer, order) {
    const { view } = this;
    const line = html("div", "cv-stack-row");
    const name = html("button", "cv-stack-name", `H${superscript(layer)}`);
    name.type = "button";
    name.title = fill(view.words.layer, { n: layer });
    name.setAttribute("aria-pressed", layer === this.chosen);
    name.addEventListener("click", () => this.choose(layer));
    const frame = html("div", "cv-stack-frame");
    const canvas = html("canvas");
    [canvas.width, canvas.height] = [view.recording.length, order.length];
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", fill(view.words.layer, { n: layer }));
    const unread = html("div", "cv-stack-unread");
    const arrow = html("div", "cv-stack-up");
    frame.append(canvas, unread, arrow);
    frame.addEventListener("click", (event) => {
      view.go(this.at(frame, event, order).t);
      this.choose(layer);
    });
    frame.addEventListener("pointermove", (event) => this.point(layer, frame, event, order));
    frame.addEventListener("pointerleave", () => view.tell(null));
    line.classList.toggle("cv-stack-chosen", layer === this.chosen);
    line.append(name, frame);
    return { line, canvas, order, unread, arrow };
  }

  choose(layer) {
    if (layer !== this.chosen) this.view.chooseLayer?.(String(layer));
  }

  at(frame, event, order) {
    const { left, top, width, height } = frame.getBoundingClientRect();
    const share = (value, count) => clamp(Math.floor(value * count), 0, count - 1);
    const t = share((event.clientX - left) / width, this.view.recording.length);
    return { t, unit: order[share((event.clientY - top) / height, order.length)] };
  }

  // What is below the pointer, in the line that tells of all that is pointed at.
  point(layer, frame, event, order) {
    const { view } = this;
    const { t, unit } = this.at(frame, event, order);
    const value = view.recording.states()[layer - 1][t][unit];
    const symbol = html("b", "", `H${superscript(layer)}`);
    symbol.style.color = view.colourOf("H");
    const [where, of] = [fill(view.words.layer, { n: layer }), fill(view.words.unit_number, { number: unit })];
    view.readout.classList.remove("cv-idle");
    view.readout.replaceChildren(symbol, ` · ${where} · ${t + 1}  ${view.packed.text[t]} · ${of}: `, html("b", "cv-number", exact(value)));
  }

  draw() {
    const { view } = this;
    const states = view.recording.states();
    const share = 100 / view.recording.length;
    for (const [i, row] of this.rows.entries()) {
      if (row.values !== states[i]) this.paint(row, states[i]);
      row.unread.style.left = `${share * (view.t + 1)}%`;
      row.arrow.style.left = `${share * (view.t + 0.5)}%`;
    }
    for (const [t, letter] of [...this.letters.children].entries()) letter.classList.toggle("cv-stack-here", t === view.t);
  }

  paint(row, values) {
    row.values = values;
    const { width, height } = row.canvas;
    const context = row.canvas.getContext("2d");
    const image = context.createImageData(width, height);
    const scale = this.view.scaleOf("H");
    for (let t = 0; t < width; t++) {
      for (let i = 0; i < height; i++) image.data.set([...scale(values[t][row.order[i]]), 255], 4 * (i * width + t));
    }
    context.putImageData(image, 0, 0);
  }
}
