// Equations above, the matrices of their terms below. Pointing at a term, or focusing it, highlights its
// numbers; pointing at numbers highlights their terms. The data come from equation.py: an equation for each
// value of a slider elsewhere on the page, which says where it stands.
//
// New numbers go into the existing cells, so what is highlighted or focused stays so.
// All text is set as textContent: characters of users are never read as HTML.

const POSITIVE = "rgb(178, 24, 43)";
const NEGATIVE = "rgb(33, 102, 172)";
const WIDEST = 10; // the most columns that leave room for numbers
const boards = new WeakMap();

function element(tag, className, text) {
  const made = document.createElement(tag);
  made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

// "H_t−1 W_hh" with everything after an underscore as a subscript.
function writeSymbol(place, symbol) {
  symbol.split(" ").forEach((part, i) => {
    const [base, ...index] = part.split("_");
    place.append((i ? " " : "") + base);
    if (index.length) place.append(element("sub", "", index.join("_")));
  });
}

function inCell(value) {
  if (value === null) return "–";
  const size = Math.abs(value);
  const digits = Number.isInteger(value) && size < 1000 ? 0 : size < 10 ? (size < 1 ? 3 : 2) : size < 100 ? 1 : 0;
  return value.toFixed(digits).replace("-", "−");
}

function exact(value) {
  if (value === null) return "–";
  return (value === 0 ? "0" : value.toPrecision(3)).replace("-", "−");
}

// "unit 3" becomes 3 where space is short; the name of a character has no space.
const short = (name) => name.split(" ").at(-1);

class Board {
  constructor(root) {
    this.root = root;
    root.addEventListener("mouseover", (event) => this.light(event.target.closest("[data-term]")));
    root.addEventListener("mouseleave", () => this.light(this.focused()));
    root.addEventListener("focusin", (event) => this.light(event.target.closest("[data-term]")));
    root.addEventListener("focusout", () => this.light(null));
    this.follow = (/** @type {CustomEvent} */ { detail }) => detail.key === this.packed.slider && this.show(detail.at);
    document.addEventListener("slider", this.follow);
  }

  // The equation at every step; the slider that chooses one may not stand on the page yet.
  take(packed) {
    this.packed = packed;
    /** @type {HTMLInputElement} */
    const slider = document.querySelector(`.chart-slider[data-key="${packed.slider}"]:not([hidden]) input`);
    if (slider) this.show(Number(slider.value));
  }

  focused() {
    const active = document.activeElement;
    return this.root.contains(active) ? active.closest("[data-term]") : null;
  }

  show(at) {
    if (at >= this.packed.descriptions.length) return; // the slider is that of a longer text, which will arrive
    const equation = atStep(this.packed.equation, at);
    this.equation = equation;
    this.root.setAttribute("aria-label", this.packed.descriptions[at]);
    const shape = JSON.stringify([
      equation.lines,
      equation.panels,
      Object.values(equation.terms).map((t) => [t.symbol, t.label, t.rows.length, t.columns.length]),
    ]);
    if (shape !== this.shape) this.build();
    this.shape = shape;
    for (const fill of this.fills) fill();
    if (this.pointed || !this.readout.hasChildNodes()) this.tell(this.pointed);
  }

  // The fills put the numbers of the newest equation into the cells that are built here.
  build() {
    const focused = this.focused()?.getAttribute("data-term");
    this.fills = [];
    this.pointed = null;
    this.root.classList.remove("lit");
    this.readout = element("div", "readout");
    this.root.replaceChildren(this.lines(), this.panels(), this.readout);
    this.readout.setAttribute("aria-live", "polite");
    if (focused) this.root.querySelector(`button[data-term="${focused}"]`).focus({ preventScroll: true });
  }

  button(name) {
    const term = this.equation.terms[name];
    const button = element("button", "term");
    button.type = "button";
    button.dataset.term = name;
    button.style.setProperty("--colour", term.colour);
    writeSymbol(button, term.symbol);
    // It begins with the visible text, so that it can be called by voice.
    const size = `${term.rows.length} × ${term.columns.length}`;
    button.setAttribute("aria-label", `${button.textContent}: ${term.label}, ${size}`);
    return button;
  }

  lines() {
    const place = element("div", "lines");
    for (const line of this.equation.lines) {
      const row = element("div", "line");
      for (const token of line) {
        row.append(token in this.equation.terms ? this.button(token) : element("span", "", token));
      }
      place.append(row);
    }
    return place;
  }

  panels() {
    const place = element("div", "panels");
    for (const rows of this.equation.panels) place.append(this.panel(rows));
    return place;
  }

  // A grid: sign and symbol, the row's name, the factor's vector, and a column for each number.
  panel(rows) {
    const columns = Math.max(...rows.map((row) => this.equation.terms[row.term].columns.length));
    const narrow = columns > WIDEST;
    const panel = element("div", narrow ? "panel narrow" : "panel");
    panel.style.gridTemplateColumns = `auto auto var(--cell) repeat(${columns}, ${narrow ? "8px" : "var(--cell)"})`;
    if (!narrow) this.header(panel, rows[0].term);
    for (const row of rows) {
      if (row.factors) this.product(panel, row.factors, narrow);
      if (row.sign === "=") this.place(panel, element("div", "rule"), 4, columns);
      this.vector(panel, row);
    }
    return panel;
  }

  place(panel, child, column, span) {
    child.style.gridColumn = span ? `${column} / span ${span}` : String(column);
    panel.append(child);
    return child;
  }

  header(panel, name) {
    this.equation.terms[name].columns.forEach((_, j) => {
      const head = this.place(panel, element("div", "name"), 4 + j);
      this.fills.push(() => (head.textContent = short(this.equation.terms[name].columns[j])));
    });
  }

  // Matrices with many rows or columns are drawn without their numbers, which are shown on pointing.
  product(panel, [vector, matrix], narrow) {
    const { rows, columns } = this.equation.terms[matrix];
    const thin = narrow || rows.length > WIDEST;
    const above = (name, column, span) =>
      this.place(panel, element("div", "head"), column, span).append(this.button(name));
    above(vector, 3);
    above(matrix, 4, columns.length);
    rows.forEach((_, i) => {
      if (!thin) {
        const name = this.place(panel, element("div", "name row"), 2);
        this.fills.push(() => (name.textContent = short(this.equation.terms[matrix].rows[i])));
      }
      this.cell(panel, vector, 0, i, 3, thin).classList.add("vector");
      for (const j of columns.keys()) this.cell(panel, matrix, i, j, 4 + j, thin);
    });
  }

  vector(panel, { sign, term }) {
    const label = this.place(panel, element("div", "sign"), 1, 3);
    label.append(sign + " ", this.button(term));
    for (const j of this.equation.terms[term].columns.keys()) this.cell(panel, term, 0, j, 4 + j, false);
  }

  cell(panel, name, i, j, column, thin) {
    const cell = this.place(panel, element("div", thin ? "cell thin" : "cell"), column);
    cell.dataset.term = name;
    cell.setAttribute("aria-hidden", "true"); // the group's label and the table have the numbers
    Object.assign(cell, { i, j });
    this.fills.push(() => {
      const { values, limit } = this.equation.terms[name];
      const value = values[i][j];
      cell.textContent = inCell(value);
      cell.style.setProperty("--tint", value < 0 ? NEGATIVE : POSITIVE);
      cell.style.setProperty("--strength", `${Math.round(45 * Math.min(Math.abs(value ?? 0) / limit, 1))}%`);
    });
    return cell;
  }

  light(target) {
    this.pointed = target ?? null;
    this.root.classList.toggle("lit", Boolean(target));
    for (const marked of this.root.querySelectorAll("[data-term]")) {
      marked.classList.toggle("on", Boolean(target) && this.belongs(marked, target));
      marked.classList.toggle("pointed", marked === target && marked.classList.contains("cell"));
    }
    this.tell(target);
  }

  // A term highlights its numbers and what is made of it; a number highlights its term and what it is made of.
  belongs(marked, target) {
    const { terms } = this.equation;
    const [name, other] = [target.dataset.term, marked.dataset.term];
    if (other === name) return true;
    if (!marked.classList.contains("cell")) return terms[name].parts.includes(other);
    const [vector, matrix] = this.factors(name);
    if (target.classList.contains("cell") && vector) {
      return other === vector || (other === matrix && marked.j === target.j);
    }
    return terms[other].parts.includes(name);
  }

  // The vector and the matrix whose product a term is; nothing for other terms.
  factors(name) {
    return this.equation.panels.flat().find((row) => row.term === name)?.factors ?? [];
  }

  // Describe what is pointed at: the term, and for a cell its place, its value and how it was computed.
  tell(target) {
    this.readout.replaceChildren();
    this.readout.classList.toggle("hint", !target);
    if (!target) {
      this.readout.append(this.packed.hint);
      return;
    }
    const name = target.dataset.term;
    const term = this.equation.terms[name];
    writeSymbol(this.readout, term.symbol);
    this.readout.append(` · ${term.label}`);
    if (!target.classList.contains("cell")) {
      this.readout.append(` · ${term.rows.length} × ${term.columns.length}`);
      return;
    }
    const { i, j } = target;
    const where = [term.rows[i], term.columns[j]].filter(Boolean).join(" → ");
    this.readout.append(`${where ? " · " + where : ""} · ${this.sum(name, j)}${exact(term.values[i][j])}`);
  }

  sum(name, j) {
    const [vector, matrix] = this.factors(name).map((factor) => this.equation.terms[factor].values);
    if (!vector || vector[0].length > WIDEST) return "";
    return vector[0].map((v, i) => `${inCell(v)}·${inCell(matrix[i][j])}`).join(" + ") + " = ";
  }
}

// The equation at one step: what all steps have in common, with this step's own.
function atStep({ steps, terms, lines, panels }, at) {
  const merged = Object.entries(terms).map(([name, term]) => [name, { ...term, ...steps[at][name] }]);
  return { lines, panels, terms: Object.fromEntries(merged) };
}

export default function ({ data, parentElement }) {
  const root = parentElement.querySelector(".linked-equation");
  if (!boards.has(root)) boards.set(root, new Board(root));
  const board = boards.get(root);
  board.take(JSON.parse(new TextDecoder().decode(data)));
  return () => {
    document.removeEventListener("slider", board.follow);
    boards.delete(root);
  };
}
