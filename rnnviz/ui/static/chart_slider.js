// A slider that chooses one of the frames that charts have, while it is dragged and without the server.
// Groups of charts that name the same slider follow it; one of them shows it. The address has the chosen
// value, and the page remembers it.

const OWN_ARROWS = "input, textarea, select, dialog, [contenteditable], [role=toolbar], [role=radiogroup], [role=listbox]";
const PACE = 350; // milliseconds between two changes of the address: browsers allow about a hundred in 30 s
const AT_ONCE = 12; // changes that need not wait, after a pause
const REST = 600; // milliseconds without a move after which a slider is at rest
const BEAT = 250; // milliseconds between two steps while it plays
const remembered = new Map(); // the last choice, by the slider's key
const all = new Set();
let count = 0;

// A frame is the chart with the changes that charts.py's `_difference` has found: an object says what becomes
// of its keys, and a list holds a new value. Plotly writes into what it gets, so each frame is a copy.
export function frameOf({ frames, ...chart }, at) {
  return frames ? patched(structuredClone(chart), frames[at]) : chart;
}

function patched(base, patch) {
  if (Array.isArray(patch)) return patch[0];
  const result = base ?? {};
  for (const [key, change] of Object.entries(patch)) result[key] = patched(result[key], change);
  return result;
}

function element(tag, className) {
  const made = document.createElement(tag);
  made.className = className;
  return made;
}

export class Slider {
  key;
  values;
  names;
  start; // the index of the value that is left out of the address
  steps; // whether the arrow keys of the page move it
  inBrowser; // whether the server need not hear of a move before the slider is at rest
  shown; // whether it is drawn, or follows one elsewhere
  multiples; // whether the frames are shown as small pictures, which choose instead of it
  words; // the names of the button that plays it, while it stands and while it plays

  // `choose` is called with the index of a frame whenever another is chosen, and `told` with its value when it
  // is in the address.
  constructor(place, choose, told) {
    this.choose = choose;
    this.told = told;
    this.credit = AT_ONCE; // how many changes of the address may still be made at once
    this.settled = 0;
    this.playing = null;
    this.page = location.pathname;
    this.root = element("div", "chart-slider");
    this.label = element("label", "");
    this.value = element("output", "");
    this.input = element("input", "");
    this.input.type = "range";
    this.input.min = 0;
    this.input.id = this.label.htmlFor = `chart-slider-${count++}`;
    this.value.htmlFor = this.input.id;
    this.buttons = [-1, 1].map((by) => this.button(by));
    const [back, next] = this.buttons;
    this.playButton = element("button", "chart-play");
    this.playButton.type = "button";
    this.playButton.addEventListener("click", () => this.play(!this.playing));
    this.style = element("style", "");
    this.root.append(back, next, this.playButton, this.label, this.value, this.input, this.style);
    place.prepend(this.root);
    this.input.addEventListener("input", () => this.move(this.at));
    // The page's own shortcuts use the arrow keys; here they belong to the slider.
    this.input.addEventListener("keydown", (event) => event.stopPropagation());
    this.back = () => {
      this.follow(this.placeOf(this.inAddress()) ?? this.start);
      this.report();
    };
    this.walk = (event) => this.step(event);
    window.addEventListener("popstate", this.back);
    document.addEventListener("keydown", this.walk);
    all.add(this);
  }

  button(by) {
    const button = element("button", "");
    button.type = "button";
    button.addEventListener("click", () => this.move(this.at + by));
    return button;
  }

  get at() {
    return Number(this.input.value);
  }

  inAddress() {
    return new URLSearchParams(location.search).get(this.key);
  }

  // The index of the first of these values that the slider has.
  placeOf(...wanted) {
    return wanted.map((value) => this.values.indexOf(value)).find((at) => at >= 0);
  }

  // The slider stays where it is, or starts at the address's value, or at the one it had last.
  show({ key, label, values, names, default: start, steps, play, in_browser: inBrowser, multiples, shown }) {
    const stays = this.key === key ? this.values[this.at] : null;
    if (stays === null) this.halt();
    Object.assign(this, { key, values, names, start, inBrowser, multiples, steps: steps && shown, words: play, shown });
    this.root.dataset.key = key;
    this.root.classList.toggle("plays", Boolean(play));
    this.playButton.hidden = !play;
    this.sayPlay();
    this.root.hidden = !shown || multiples;
    this.label.textContent = label;
    this.buttons.forEach((button, i) => {
      button.hidden = !steps;
      button.textContent = steps?.[i];
    });
    this.input.max = values.length - 1;
    const known = this.placeOf(stays, this.inAddress());
    this.input.value = known ?? this.placeOf(remembered.get(key)) ?? start;
    this.tell();
    if (known === undefined && this.at !== start && shown) this.settle();
  }

  // The visitor has chosen another value.
  move(at) {
    if (at < 0 || at >= this.values.length) return;
    this.halt();
    this.turnTo(at);
    this.settle();
  }

  turnTo(at) {
    for (const slider of all) if (slider.key === this.key) slider.follow(at);
  }

  // Step by step to the end, from the beginning where it stands at the end. The address follows when it halts.
  play(on) {
    if (!on) {
      this.halt();
      this.settle();
      return;
    }
    const last = this.values.length - 1;
    if (this.at === last) this.turnTo(0);
    this.playing = setInterval(() => {
      if (this.at < last) this.turnTo(this.at + 1);
      if (this.at === last) this.play(false);
    }, BEAT);
    this.sayPlay();
  }

  halt() {
    clearInterval(this.playing);
    this.playing = null;
    this.sayPlay();
  }

  sayPlay() {
    this.playButton.textContent = this.words?.[this.playing ? 1 : 0];
  }

  follow(at) {
    this.input.value = at;
    this.tell();
    this.choose(this.at);
  }

  step(event) {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const modified = event.ctrlKey || event.altKey || event.metaKey || event.shiftKey;
    if (!by || modified || !this.steps || event.target.closest?.(OWN_ARROWS)) return;
    event.preventDefault();
    this.move(this.at + by);
  }

  tell() {
    remembered.set(this.key, this.values[this.at]);
    this.value.textContent = this.names[this.at];
    this.input.setAttribute("aria-valuetext", this.names[this.at]);
    this.input.style.setProperty("--share", `${(100 * this.at) / Math.max(this.names.length - 1, 1)}%`);
    this.buttons[0].disabled = this.at === 0;
    this.buttons[1].disabled = this.at === this.names.length - 1;
    if (this.shown) this.spread();
  }

  // Of the blocks that the server has drawn for each value (`by_step` in controls.py) this value's is shown,
  // and the page's other scripts hear of it.
  spread() {
    const markdown = ':is([data-testid="stMarkdownContainer"], [data-testid="stCaptionContainer"])';
    this.style.textContent = `.st-key-by-${this.key} ${markdown} > :nth-child(${this.at + 1}) { display: block; }`;
    document.dispatchEvent(new CustomEvent("slider", { detail: { key: this.key, at: this.at } }));
  }

  // The address follows at once, and while the slider is dragged or a key held from time to time.
  settle() {
    clearTimeout(this.timer);
    const now = performance.now();
    this.credit = Math.min(this.credit + (now - this.settled) / PACE, this.inBrowser ? AT_ONCE : 1);
    this.settled = now;
    if (this.credit >= 1) {
      this.credit -= 1;
      this.keep();
    } else this.timer = setTimeout(() => this.settle(), PACE * (1 - this.credit));
  }

  keep() {
    if (location.pathname !== this.page) return; // the visitor has left the page that this slider is on
    const address = new URL(location.href);
    if (this.at === this.start) address.searchParams.delete(this.key);
    else address.searchParams.set(this.key, this.values[this.at]);
    history.replaceState(history.state, "", address);
    clearTimeout(this.rest);
    if (this.inBrowser) this.rest = setTimeout(() => this.report(), REST);
    else this.report();
  }

  report() {
    if (location.pathname === this.page) this.told(this.values[this.at]);
  }

  remove() {
    clearTimeout(this.timer);
    clearTimeout(this.rest);
    clearInterval(this.playing);
    window.removeEventListener("popstate", this.back);
    document.removeEventListener("keydown", this.walk);
    all.delete(this);
    this.root.remove();
  }
}
