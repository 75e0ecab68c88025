// Where the parts of each cell are drawn. What is drawn comes from the wiring: these tables only say where, so
// a node or an edge that is missing here is an error, and one that is only here is not drawn.
//
// The stage is 520 high and at least 890 wide; the cell's part of it is 700 wide and is stretched with the
// stage. Times are in phases of a step, of which there are six.

const STAGE = { width: 890, height: 520, cell: 700, panel: 176 };
const STRIP = { top: 0, height: 62, character: 24, word: 76 };
const PLOTS = { top: 424, left: 52, rows: [
  { top: 428, height: 38 },
  { top: 472, height: 46 },
] };
const PHASES = 6;
const RAIL = 34;
const BUS = 26;
const TAP = 22;

// at: the centre. kind: a box with its function, or a circle with its sign. out: when its value leaves it.
const box = (x, y, out, width = 120) => ({ kind: "box", at: [x, y], width, height: 40, out });
const circle = (x, y, out) => ({ kind: "circle", at: [x, y], width: 30, height: 30, out });
const input = (x, y) => ({ kind: "input", at: [x, y], width: 0, height: 0, out: [0, 1] });

// A wire: its points, its width, the place of its number and the side of its symbol. `from` leaves out what
// another wire of the same source has drawn: it starts at that point, `cut` after it, at the other's border.
const wire = (points, width, chip, symbol = "above", more = {}) => ({ points, width, chip, symbol, ...more });
const tap = (points, from, cut) => ({ points, width: TAP, from, cut });
const thin = (points) => ({ points, width: 4, from: 0 });

const GATE_Y = 300;
const BUS_Y = 366;
const X_Y = 337;
const TOP_Y = 108;

// H_before branches off the rail at the left, and runs along the bus to a box.
const down = (x, y) => [[0, TOP_Y], [26, TOP_Y], [26, BUS_Y], [x, BUS_Y], [x, y]];
const fromX = (x, to, y = GATE_Y + 20) => [[x, 390], [x, X_Y], [to, X_Y], [to, y]];

const MIX = (z, end) => ({
  places: {
    H_before: input(0, TOP_Y),
    Z: box(z, GATE_Y, [2, 2.8]),
    kept: circle(z, TOP_Y, [3, 4]),
    opposite: circle(z + 190, 174, [2.8, 3.2]),
    written: circle(end, 174, [4.2, 4.6]),
    H: circle(end, TOP_Y, [5, 5.5]),
  },
  wires: {
    "H_before>kept": wire([[0, TOP_Y], [z, TOP_Y]], RAIL, [86, TOP_Y]),
    "Z>kept": wire([[z, GATE_Y], [z, TOP_Y]], TAP, [z, 228], "left"),
    "Z>opposite": tap([[z, GATE_Y], [z, 174], [z + 190, 174]], 1, TAP / 2),
    "opposite>written": wire([[z + 190, 174], [end, 174]], TAP, [z + 300, 174]),
    "kept>H": wire([[z, TOP_Y], [end, TOP_Y]], RAIL, [z + 240, TOP_Y]),
    "written>H": wire([[end, 174], [end, TOP_Y]], TAP, [end + 50, 148], "none"),
    "H>": wire([[end, TOP_Y], ["edge", TOP_Y]], RAIL, [end + 84, TOP_Y]),
  },
  output: { at: 164, from: TOP_Y, bars: 226 },
});

function gru(before) {
  const mix = MIX(156, 652);
  const after = {
    places: { product: box(416, GATE_Y, [1.6, 2.4], 68) },
    wires: {
      "H_before>product": tap(down(416, GATE_Y + 20), 1, RAIL / 2),
      "product>reset": wire([[416, GATE_Y], [416, 236]], TAP, [462, 267], "none"),
    },
  };
  const paper = { places: {}, wires: { "H_before>reset": tap(down(416, 251), 1, RAIL / 2) } };
  const form = before ? paper : after;
  return {
    ...mix,
    x: [110, 398],
    places: {
      ...mix.places,
      ...form.places,
      X: input(110, 386),
      R: box(286, GATE_Y, [2, 2.8]),
      reset: circle(416, 236, [2.8, 3.2]),
      H_tilde: box(554, 236, [3.6, 4.2], 106),
    },
    wires: {
      ...mix.wires,
      ...form.wires,
      "H_before>R": tap(down(276, GATE_Y + 20), 3, TAP / 2),
      "H_before>Z": tap(down(146, GATE_Y + 20), 3, TAP / 2),
      "X>R": thin(fromX(110, 306)),
      "X>Z": thin(fromX(110, 176)),
      "X>H_tilde": thin(fromX(110, 554, 256)),
      "R>reset": wire([[286, GATE_Y], [286, 236], [416, 236]], TAP, [350, 236], "below"),
      "reset>H_tilde": wire([[416, 236], [554, 236]], TAP, [466, 236], "before"),
      "H_tilde>written": wire([[554, 236], [652, 236], [652, 174]], TAP, [652, 211], "right"),
    },
  };
}

function mingru() {
  const mix = MIX(156, 652);
  return {
    ...mix,
    x: [110, 398],
    places: { ...mix.places, X: input(110, 386), H_tilde: box(554, 236, [3.2, 4.2], 106) },
    wires: {
      ...mix.wires,
      "X>Z": thin(fromX(110, 156)),
      "X>H_tilde": thin(fromX(110, 554, 256)),
      "H_tilde>written": wire([[554, 236], [652, 236], [652, 174]], TAP, [652, 211], "right"),
    },
  };
}

function rnn() {
  return {
    places: { X: input(110, 386), H_before: input(0, BUS_Y), H: box(350, 236, [2.4, 5], 144) },
    wires: {
      "H_before>H": wire([[0, BUS_Y], [350, BUS_Y], [350, 236]], RAIL, [60, BUS_Y]),
      "X>H": thin(fromX(110, 385, 256)),
      "H>": wire([[350, 236], [350, TOP_Y], ["edge", TOP_Y]], RAIL, [560, TOP_Y]),
    },
    x: [110, 398],
    output: { at: 164, from: TOP_Y, bars: 214 },
  };
}

function lstm() {
  const bus = (x, y = GATE_Y + 20) => [[0, BUS_Y], [x, BUS_Y], [x, y]];
  return {
    places: {
      X: input(76, 386),
      H_before: input(0, BUS_Y),
      C_before: input(0, TOP_Y),
      F: box(118, GATE_Y, [2, 3], 116),
      I: box(238, GATE_Y, [2, 3], 116),
      C_tilde: box(358, GATE_Y, [2, 3], 116),
      O: box(482, GATE_Y, [2, 3], 116),
      kept: circle(118, TOP_Y, [3, 4]),
      written: circle(358, 188, [3.4, 4]),
      C: circle(358, TOP_Y, [4, 5]),
      squashed: box(610, 170, [5, 5.2], 76),
      H: circle(610, 240, [5.2, 5.6]),
    },
    wires: {
      "C_before>kept": wire([[0, TOP_Y], [118, TOP_Y]], RAIL, [50, TOP_Y]),
      "H_before>F": tap(bus(106), 1, BUS / 2),
      "H_before>I": tap(bus(226), 1, BUS / 2),
      "H_before>C_tilde": tap(bus(346), 1, BUS / 2),
      "H_before>O": wire(bus(470), BUS, [33, BUS_Y]),
      "X>F": thin(fromX(76, 138)),
      "X>I": thin(fromX(76, 260)),
      "X>C_tilde": thin(fromX(76, 380)),
      "X>O": thin(fromX(76, 504)),
      "F>kept": wire([[118, GATE_Y], [118, TOP_Y]], TAP, [118, 206], "left"),
      "I>written": wire([[238, GATE_Y], [238, 188], [358, 188]], TAP, [238, 238], "left"),
      "C_tilde>written": wire([[358, GATE_Y], [358, 188]], TAP, [358, 240], "left"),
      "written>C": wire([[358, 188], [358, TOP_Y]], TAP, [358, 149], "right"),
      "kept>C": wire([[118, TOP_Y], [358, TOP_Y]], RAIL, [238, TOP_Y]),
      "C>": wire([[358, TOP_Y], ["cell", TOP_Y]], RAIL, [490, TOP_Y]),
      "C>squashed": tap([[358, TOP_Y], [610, TOP_Y], [610, 170]], 1, RAIL / 2),
      "squashed>H": wire([[610, 170], [610, 240]], TAP, [610, 208], "none"),
      "O>H": wire([[482, GATE_Y], [482, 240], [610, 240]], TAP, [548, 240]),
      "H>": wire([[610, 240], [610, BUS_Y], ["edge", BUS_Y]], RAIL, [660, BUS_Y]),
    },
    x: [76, 398],
    output: { at: 304, from: BUS_Y, bars: 86 },
  };
}

// The wiring as it is drawn: a sum A_. and the function of it are one box; H and C also lead out.
function drawnEdges(cell) {
  const sums = new Map(cell.wiring.filter((node) => node.op === "affine").map((node) => [node.name, node]));
  const merged = new Map();
  for (const node of cell.wiring) {
    if (["sigma", "tanh", "relu"].includes(node.op) && sums.has(node.inputs[0])) merged.set(node.inputs[0], node.name);
  }
  const edges = cell.wiring.flatMap((node) =>
    node.inputs.filter((source) => !merged.has(source)).map((source) => [source, merged.get(node.name) ?? node.name])
  );
  return [...edges, ...cell.state.map((name) => [name, ""])];
}

// The places of a cell on a stage of a given width; x is stretched within the cell's part of it, beside which
// there is room for the prediction.
function placesOf(cell, width, beside = STAGE.width - STAGE.cell) {
  const before = cell.wiring.some((node) => node.name === "reset" && node.inputs.includes("H_before"));
  const layout = { rnn, gru: () => gru(before), mingru, lstm }[cell.name]();
  const cellWidth = width - beside;
  const x = (value) => (value === "edge" ? width : value === "cell" ? cellWidth : (value * cellWidth) / STAGE.cell);
  const point = ([px, py]) => [x(px), py];
  const places = Object.fromEntries(
    Object.entries(layout.places).map(([name, place]) => [name, { ...place, at: point(place.at) }])
  );
  const wires = drawnEdges(cell).map(([from, to]) => {
    const made = layout.wires[`${from}>${to}`];
    if (!made) throw new Error(`no place for the wire from ${from} to ${to || "the next step"}`);
    return { ...made, source: from, target: to, points: made.points.map(point), chip: made.chip && point(made.chip) };
  });
  return { ...layout, places, wires, x: point(layout.x), cellWidth };
}
