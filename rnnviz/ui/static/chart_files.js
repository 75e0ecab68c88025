// A chart as files: a picture, a page, a table.

// The page's own colours in both themes, as .streamlit/config.toml has them.
export const PAPERS = {
  light: { background: "#FFFFFF", text: "#1F2933", grid: "#D5DCE3" },
  dark: { background: "#12161C", text: "#E6EAEE", grid: "#36414D" },
};
const EDGE = 20; // pixels around title and caption of a picture
const LINE = 20;

// The numbers of a chart, as titles and columns: those that came with it, or otherwise what is drawn.
export function tableOf({ table, data, layout }) {
  if (table) return table.map(([title, values]) => [title, numbers(values)]);
  const across = layout.xaxis.title.text;
  const up = layout.yaxis.title.text;
  const heatmap = data.find((trace) => trace.type === "heatmap");
  return heatmap ? cells(heatmap, across, up) : points(data, across, up);
}

// One row for each place on the x axis of a heatmap, one column for each place on the y axis.
function cells({ x, y, z }, across, down) {
  const values = numbers(z);
  return [[across, x], ...y.map((name, i) => [`${down} ${name}`, values.slice(i * x.length, (i + 1) * x.length)])];
}

// One row for each point of each line.
function points(data, across, up) {
  const rows = data.flatMap(({ name, x, y }) => {
    const heights = numbers(y);
    return Array.from(numbers(x), (at, i) => [name, at, heights[i]]);
  });
  return ["", across, up].map((title, column) => [title, rows.map((row) => row[column])]);
}

const KINDS = { f4: Float32Array, f8: Float64Array, i1: Int8Array, u1: Uint8Array, i2: Int16Array, u2: Uint16Array, i4: Int32Array };

// A list, or an array as Python writes it; numbers of single precision get the seven digits that they have.
function numbers(values) {
  if (!values.bdata) return values;
  const bytes = Uint8Array.from(atob(values.bdata), (c) => c.charCodeAt(0));
  const array = new KINDS[values.dtype](bytes.buffer);
  return values.dtype === "f4" ? Float64Array.from(array, (v) => Number(v.toPrecision(7))) : array;
}

// The table as CSV; the mark at the beginning tells spreadsheets that it is UTF-8.
export function csvOf(columns) {
  const quoted = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const cell = (value) => quoted(harmless(String(Number.isNaN(value) ? "" : (value ?? ""))));
  const rows = Array.from(columns[0][1], (_, i) => columns.map(([, values]) => values[i]));
  const lines = [columns.map(([title]) => title), ...rows].map((row) => row.map(cell).join(","));
  return "\ufeff" + lines.join("\r\n") + "\r\n";
}

// Put an apostrophe before what a spreadsheet would take for a formula: a visitor's text must not run there.
// A number stays a number, and a single character, such as one of the text that a model reads, is not a formula.
function harmless(text) {
  return text.length > 1 && "=+-@\t\r".includes(text[0]) && Number.isNaN(Number(text)) ? `'${text}` : text;
}

// Break a text into lines that fit into a width: words stay whole, Chinese may break anywhere.
function wrapped(text, font, width) {
  const pen = document.createElement("canvas").getContext("2d");
  pen.font = font;
  const lines = [];
  for (const paragraph of text.split("\n")) {
    let line = "";
    for (const word of paragraph.match(/[\u2e80-\uffef]|[^\s\u2e80-\uffef]+|\s+/g) ?? []) {
      if (line && pen.measureText(line + word).width > width) {
        lines.push(line);
        line = "";
      }
      line += line ? word : word.trimStart();
    }
    lines.push(line);
  }
  return lines;
}

function svg(tag, attributes, text = "") {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.textContent = text;
  return made;
}

// The chart as it is drawn, on its own background, with its title above and its caption below.
export async function pictureOf(chart, { title, caption, paper }) {
  const { clientWidth: width, clientHeight } = chart.plot;
  const { data, layout } = chart.render(PAPERS[paper]);
  const { background, text } = PAPERS[paper];
  const lines = caption ? wrapped(caption, `14px ${layout.font.family}`, width - 2 * EDGE) : [];
  const above = title ? 48 : EDGE;
  const below = above + clientHeight + EDGE;
  const height = below + lines.length * LINE;
  const figure = { data, layout: { ...layout, autosize: false } };
  const drawn = await window.Plotly.toImage(figure, { format: "svg", width, height: clientHeight, imageDataOnly: true });
  const inner = new DOMParser().parseFromString(drawn, "image/svg+xml").documentElement;
  inner.setAttribute("y", String(above));
  const picture = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}` });
  const style = { x: EDGE, fill: text, "font-family": layout.font.family };
  picture.append(svg("rect", { width, height, fill: background }), inner);
  picture.append(svg("text", { ...style, y: 30, "font-size": 18, "font-weight": 600 }, title));
  picture.append(...lines.map((line, i) => svg("text", { ...style, y: below + i * LINE, "font-size": 14 }, line)));
  return { width, height, source: new XMLSerializer().serializeToString(picture) };
}

// A picture as pixels, with two for each of the page's in both directions.
export async function pixelsOf({ width, height, source }) {
  const address = URL.createObjectURL(new Blob([source], { type: "image/svg+xml" }));
  const image = Object.assign(new Image(), { src: address });
  await image.decode();
  URL.revokeObjectURL(address);
  const canvas = Object.assign(document.createElement("canvas"), { width: 2 * width, height: 2 * height });
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}

const escaped = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");

// A page that needs no network, and responds to the pointer like the chart here.
export async function pageOf(chart, { title, caption, paper }) {
  const { data, layout } = chart.render(PAPERS[paper]);
  const { background, text } = PAPERS[paper];
  const plotly = await (await fetch(chart.address)).text();
  const figure = JSON.stringify([data, layout], (_, value) => (ArrayBuffer.isView(value) ? [.../** @type {Float64Array} */ (value)] : value));
  return `<!DOCTYPE html>
<html lang="${document.documentElement.lang}">
<meta charset="utf-8">
<title>${escaped(title)}</title>
<body style="font-family: sans-serif; background: ${background}; color: ${text}">
<h1>${escaped(title)}</h1>
<div id="chart" style="height: ${chart.plot.clientHeight}px"></div>
<p>${escaped(caption)}</p>
<script>${plotly}</script>
<script>Plotly.newPlot("chart", ...${figure.replaceAll("<", "\\u003c")}, { responsive: true });</script>
`;
}

export function save(name, content, type) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([content], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
