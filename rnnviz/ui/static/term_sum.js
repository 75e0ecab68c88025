// A sum with the numbers of its terms at each value of a slider elsewhere on the page, which says where it stands.
// The data come from term_sum.py. All text is set as textContent.

const sums = new WeakMap(); // what each place shows, and how it follows the slider

function element(tag, className, text = "") {
  return Object.assign(document.createElement(tag), { className, textContent: text });
}

// Text in which _{…} stands below the line.
function written(className, text) {
  const place = element("span", className);
  for (const [, plain, index] of text.matchAll(/(.*?)(?:_\{(.*?)\}|$)/g)) {
    place.append(plain);
    if (index) place.append(element("sub", "", index));
  }
  return place;
}

function show(root, { steps, colours, lit }, at) {
  const step = steps[at];
  if (step === undefined) return; // the slider is that of a longer text, which will arrive
  if (typeof step === "string") {
    root.replaceChildren(element("p", "", step));
    return;
  }
  const lines = step.map(([symbol, numbers], i) => {
    const kind = i === 0 ? "term-total" : lit === i ? "term-lit" : lit === null ? "" : "term-unlit";
    const square = element("span", `term-square ${kind}`);
    square.style.setProperty("--colour", colours[i]);
    return [square, written("term-symbol", symbol), element("span", "", "="), written(kind, numbers)];
  });
  root.replaceChildren(...lines.flat());
}

export default function ({ data, parentElement }) {
  const root = parentElement.querySelector(".term-sum");
  const sum = JSON.parse(new TextDecoder().decode(data));
  if (!sums.has(root)) {
    const follow = (/** @type {CustomEvent} */ { detail }) => {
      const { shown } = sums.get(root);
      if (detail.key === shown.slider) show(root, shown, detail.at);
    };
    sums.set(root, { follow });
    document.addEventListener("slider", follow);
  }
  const { follow } = sums.get(root);
  sums.set(root, { follow, shown: sum });
  /** @type {HTMLInputElement} */
  const slider = document.querySelector(`.chart-slider[data-key="${sum.slider}"]:not([hidden]) input`);
  if (slider) show(root, sum, Number(slider.value));
  return () => {
    document.removeEventListener("slider", follow);
    sums.delete(root);
  };
}
