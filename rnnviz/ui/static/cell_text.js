// Numbers, formulas and elements as shown on the page. All text is set as textContent: characters of
// users are never read as HTML.

const SVG = "http://www.w3.org/2000/svg";

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
const fill = (template, values) => template.replace(/\{(\w+)\}/g, (_, name) => values[name]);
const minus = (text) => text.replace("-", "−");
const short = (value) =>
  value === undefined ? "…" : minus(value.toFixed(Math.abs(value) < 10 ? 2 : 1).replace(/^-(0\.00)$/, "$1"));
const exact = (value) => (value === undefined ? "…" : minus(value === 0 ? "0" : value.toPrecision(3)));
const percent = (value) =>
  value < 0.0005 ? "< 0.1 %" : (value >= 0.0995 ? `${Math.round(100 * value)}` : (100 * value).toFixed(1)) + " %";

// At most so many characters of a label, the last of them an ellipsis where it has more.
const cut = (label, most) => {
  const characters = [...label];
  return characters.length > most ? characters.slice(0, most - 1).join("") + "…" : label;
};

// The number of a layer, as it stands above a letter: ⁽²⁾.
const superscript = (layer) => `⁽${[...String(layer)].map((digit) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[digit]).join("")}⁾`;

function html(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function svg(name, attributes = {}, text) {
  const made = document.createElementNS(SVG, name);
  for (const key in attributes) made.setAttribute(key, attributes[key]);
  if (text !== undefined) made.textContent = text;
  return made;
}

// A formula in pieces: letters with their subscripts, and the signs between them.
function pieces(text) {
  return [...text.matchAll(/([A-Z]\u0303?)(ₜ₋₁|ₜ)|([Wb])_(\w+)|([^A-Zb]+|.)/gu)].map(([, letter, time, weight, index, rest]) =>
    letter ? { base: letter, below: time === "ₜ" ? "t" : "t−1" } : weight ? { base: weight, below: index } : { text: rest }
  );
}

function writeHtml(place, text) {
  for (const { base, below, text: plain } of pieces(text)) {
    if (plain !== undefined) place.append(plain);
    else place.append(html("i", "", base), html("sub", "", below));
  }
}

function writeSvg(place, text) {
  let lowered = false;
  const put = (content, attributes) => {
    if (lowered) attributes.dy = "-0.28em";
    place.append(svg("tspan", attributes, content));
    lowered = false;
  };
  for (const { base, below, text: plain } of pieces(text)) {
    if (plain !== undefined) {
      put(plain, {});
      continue;
    }
    put(base, { class: "cv-letter" });
    place.append(svg("tspan", { class: "cv-below", dy: "0.28em" }, below));
    lowered = true;
  }
}

function setText(place, text) {
  if (place.textContent !== text) place.textContent = text;
}

function luminance(colour) {
  const [r, g, b] = colour.map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
