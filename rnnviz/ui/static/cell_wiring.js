// The cell's computation in the browser: the same graph that cells.py describes, over the same numbers.

// Unpack what packed_array() made: rows of float32.
function unpackArray({ data, shape }) {
  const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
  const values = new Float32Array(bytes.buffer);
  if (shape.length === 1) return values;
  const [rows, columns] = shape;
  return Array.from({ length: rows }, (_, i) => values.subarray(i * columns, (i + 1) * columns));
}

const unpackAll = (arrays) => Object.fromEntries(Object.entries(arrays).map(([name, array]) => [name, unpackArray(array)]));

// x W of a vector and a matrix, or the row that a one-hot vector selects; nothing if the row is −1.
function product(x, W) {
  const out = new Float64Array(W[0].length);
  if (typeof x === "number") {
    if (x >= 0) out.set(W[x]);
    return out;
  }
  for (let i = 0; i < x.length; i++) {
    const [factor, row] = [x[i], W[i]];
    if (factor !== 0) for (let j = 0; j < out.length; j++) out[j] += factor * row[j];
  }
  return out;
}

function affine(inputs, weights, W) {
  const terms = weights.map((name, i) => (i >= inputs.length ? W[name] : name ? product(inputs[i], W[name]) : inputs[i]));
  return terms[0].map((_, j) => terms.reduce((sum, term) => sum + term[j], 0));
}

const OPERATIONS = {
  sigma: (a) => a.map((v) => 1 / (1 + Math.exp(-v))),
  tanh: (a) => a.map(Math.tanh),
  relu: (a) => a.map((v) => Math.max(v, 0)),
  times: (a, b) => a.map((v, j) => v * b[j]),
  plus: (a, b) => a.map((v, j) => v + b[j]),
  "one-minus": (a) => a.map((v) => 1 - v),
};

// Every value of the graph by its node's name. Given values are not computed; X is the number of a row of
// the W_x. Without weights, the values of affine nodes are unknown, and so is everything that needs them.
function interpret(wiring, given, W) {
  const values = { ...given };
  for (const { name, op, inputs, weights } of wiring) {
    const known = inputs.map((input) => values[input]);
    if (name in values || known.includes(undefined)) continue;
    if (op === "affine") {
      if (W) values[name] = affine(known, weights, W);
    } else {
      values[name] = OPERATIONS[op](...known.map((v) => Float64Array.from(v)));
    }
  }
  return values;
}

// A packed reading: its signals as recorded or, while gates are held, as the network then computes them.
class Recording {
  W; // the weights of the cell
  below; // what the layer below hands over, in a later layer
  lower; // the signals of the layers below
  above; // the weights of the layers above, the nearest first

  constructor(packed) {
    this.packed = packed;
    this.cell = packed.cell;
    this.length = packed.text.length;
    const values = Object.entries(packed.signals).map(([name, signal]) => [name, signal.values]);
    this.recorded = unpackAll(Object.fromEntries(values));
    this.signals = this.recorded;
    this.size = packed.order.length;
    const { weights, output, stack } = packed;
    this.rows = stack?.rows.map(({ signals }) => unpackAll(signals)); // of each layer its H, or all its signals
    this.own = {
      W: weights && unpackAll(weights.arrays),
      below: weights?.inputs && unpackArray(weights.inputs),
      lower: this.rows?.slice(0, stack.layer - 1) ?? [],
      above: (weights?.above ?? []).map(unpackAll),
    };
    Object.assign(this, this.own);
    this.at = null; // the kept checkpoint that computes the text, or null for the recording itself
    this.computed = new Map(); // the values of each of them
    this.output = output && Object.fromEntries(
      ["probabilities", "chance", "surprise"].map((name) => [name, unpackArray(output[name])])
    );
    this.zeros = new Float32Array(this.size);
    this.start = unpackAll(packed.start ?? {}); // the state before the first step, where it is not zero
    this.held = {}; // gate -> {value, unit, first, last}: a unit, a list of them, or null for all; steps from 1, all without
    this.cache = new Map();
  }

  // Everything on the wires at step t.
  values(t) {
    if (!this.cache.has(t)) {
      if (this.cache.size > 8) this.cache.clear();
      const given = this.inputs(t, this.signals);
      for (const name in this.signals) given[name] = this.signals[name][t];
      this.cache.set(t, interpret(this.cell.wiring, given, this.W));
    }
    return this.cache.get(t);
  }

  inputs(t, signals) {
    return { X: this.W ? (this.below ?? this.packed.weights.rows)[t] : 0, ...this.before(t, signals) };
  }

  // The states that the step before leaves.
  before(t, signals) {
    const left = (name) => (t > 0 ? signals[name][t - 1] : this.start[name] ?? this.zeros);
    return Object.fromEntries(this.cell.state.map((name) => [`${name}_before`, left(name)]));
  }

  // Hold gates at values and read the whole text again; with none held, return to the recording.
  hold(held) {
    this.held = held;
    this.cache.clear();
    if (Object.keys(held).length) this.signals = this.operated();
    else this.signals = this.at === null ? this.recorded : this.computed.get(this.at) ?? this.operated();
    if (this.at !== null && !Object.keys(held).length) this.computed.set(this.at, this.signals);
  }

  // Read the text with the weights of a kept checkpoint, or with null return to the recording.
  look(at) {
    this.at = at;
    Object.assign(this, at === null ? this.own : this.kept(at));
    this.hold(this.held);
  }

  // The weights of a kept checkpoint from this layer upward, and what the layers below make of the text with theirs.
  kept(at) {
    const weights = this.packed.kept.arrays[at].map(unpackAll);
    const layer = this.packed.stack?.layer ?? 1;
    const { layers, handed } = this.climb(weights.slice(0, layer - 1), this.packed.weights.rows);
    return { W: weights[layer - 1], below: layer > 1 ? handed : undefined, lower: layers, above: weights.slice(layer) };
  }

  // The signals of every layer, the lowest first: while gates are held, the layers above the cell follow it.
  layers() {
    return this.rows && this.signals === this.recorded ? this.rows : this.follow().layers;
  }

  // The hidden states of every layer.
  states() {
    return this.layers().map(({ H }) => H);
  }

  // What a layer reads at step t: what the layer below hands over, nothing in the first.
  fed(layer, t) {
    const states = this.states().slice(0, layer - 1).map((rows) => rows[t]);
    return this.packed.stack.residual && states.length ? states.reduce((a, b) => a.map((v, j) => v + b[j])) : states.at(-1);
  }

  // The signals of every layer as they now are, and what the last one hands over.
  follow() {
    if (this.followed?.signals !== this.signals) {
      const read = this.below ?? this.packed.weights.rows;
      const { layers, handed } = this.climb(this.above, this.handedOn(this.signals.H, read));
      this.followed = { signals: this.signals, layers: [...this.lower, this.signals, ...layers], handed };
    }
    return this.followed;
  }

  // The signals of layers with these weights, one over the other, and what the last one hands over.
  climb(weights, read) {
    const layers = [];
    for (const W of weights) {
      const own = this.read((t, signals) => interpret(this.cell.wiring, { X: read[t], ...this.before(t, signals) }, W));
      layers.push(own);
      read = this.handedOn(own.H, read);
    }
    return { layers, handed: read };
  }

  // What a layer that read X makes of its states: a residual layer but the first adds its input.
  handedOn(H, X) {
    return this.packed.stack?.residual && typeof X[0] !== "number" ? H.map((row, t) => row.map((v, j) => v + X[t][j])) : H;
  }

  operated() {
    return this.read((t, signals) => this.step(this.inputs(t, signals), t));
  }

  // All signals over the text, by a function that computes a step from those before it.
  read(step) {
    const signals = Object.fromEntries(Object.keys(this.recorded).map((name) => [name, []]));
    for (let t = 0; t < this.length; t++) {
      const values = step(t, signals);
      for (const name in signals) signals[name].push(values[name]);
    }
    return signals;
  }

  // Whether a gate that is held is so at this step: steps are counted from 1 in what is held.
  holds(gate, t) {
    const { first, last } = this.held[gate];
    return t + 1 >= (first ?? 1) && t + 1 <= (last ?? this.length);
  }

  step(given, t) {
    const { wiring } = this.cell;
    for (const gate in this.held) {
      if (!this.holds(gate, t)) continue;
      const { value, unit } = this.held[gate];
      const known = interpret(wiring.slice(0, wiring.findIndex((node) => node.name === gate) + 1), given, this.W);
      given[gate] = known[gate].map((own, j) => (unit === null || [unit].flat().includes(j) ? value : own));
    }
    return interpret(wiring, given, this.W);
  }

  // The mean surprise over the text, as it now is and as it was recorded, in nats.
  meanSurprise() {
    return meanOf(this.scored().map((t) => this.prediction(t).surprise));
  }

  surpriseAsRecorded() {
    return meanOf(this.scored().map((t) => this.output.surprise[t]));
  }

  // The steps after which the text has a character that the model knows.
  scored() {
    return [...this.packed.output.true.keys()].filter((t) => this.packed.output.true[t] !== null);
  }

  // The prediction after step t: the likeliest characters, the true one, its probability and surprise. Null for a cell
  // on vectors, which predicts nothing.
  prediction(t) {
    const { output, weights } = this.packed;
    if (!output) return null;
    const truth = output.true[t];
    if (this.signals === this.recorded) {
      const { probabilities, chance, surprise } = this.output;
      const characters = output.characters[t];
      return { characters, probabilities: probabilities[t], truth, chance: chance[t], surprise: surprise[t] };
    }
    const P = softmax(affine([this.follow().handed[t]], ["W_hq", "b_q"], this.W));
    const best = [...P.keys()].sort((a, b) => P[b] - P[a] || a - b).slice(0, output.characters[t].length);
    const chance = truth === null ? 0 : P[weights.characters.indexOf(truth)];
    return {
      characters: best.map((i) => weights.characters[i]),
      probabilities: best.map((i) => P[i]),
      truth,
      chance,
      surprise: truth === null ? 0 : -Math.log(chance),
    };
  }
}

const meanOf = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

function softmax(logits) {
  const top = logits.reduce((a, b) => Math.max(a, b));
  const powers = logits.map((v) => Math.exp(v - top));
  const sum = powers.reduce((a, b) => a + b);
  return powers.map((v) => v / sum);
}
