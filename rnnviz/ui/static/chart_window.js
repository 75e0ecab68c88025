// The window of a chart: title, caption and background of its picture, its files, and its numbers as a table.

import { PAPERS, csvOf, pageOf, pictureOf, pixelsOf, save, tableOf } from "./chart_files.js";

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function button(text, act, className) {
  const made = element("button", className, text);
  made.type = "button";
  made.addEventListener("click", act);
  return made;
}

function labelled(label, control, className) {
  const root = element("label", className, label);
  root.append(control);
  return root;
}

// The background of the picture, at first that of the page.
function papers(words, dark) {
  const group = element("fieldset");
  group.append(element("legend", "", words.background));
  for (const paper of Object.keys(PAPERS)) {
    const choice = Object.assign(element("input"), { type: "radio", name: "chart-paper", value: paper });
    choice.checked = dark === (paper === "dark");
    const label = element("label");
    label.append(choice, words[paper]);
    group.append(label);
  }
  return group;
}

function inCell(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "";
  if (typeof value !== "number") return value;
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  const text = Number.isInteger(value) ? value.toLocaleString("en") : String(Number(value.toPrecision(4)));
  return text.replace("-", "−");
}

function tableElement(columns) {
  const table = element("table");
  const head = table.createTHead().insertRow();
  for (const [title] of columns) head.append(Object.assign(element("th", "", title), { scope: "col" }));
  const body = table.createTBody();
  for (let i = 0; i < columns[0][1].length; i++) {
    const row = body.insertRow();
    for (const [, values] of columns) row.append(element("td", typeof values[i], inCell(values[i])));
  }
  return table;
}

export function openWindow(chart, words) {
  const { name } = chart;
  const columns = tableOf(chart.drawn);
  const title = Object.assign(element("input"), { value: chart.title.textContent || document.title });
  const caption = Object.assign(element("textarea"), {
    value: chart.caption.textContent || chart.plot.getAttribute("aria-label"),
    rows: 3,
  });
  const paper = papers(words, getComputedStyle(chart.plot).colorScheme === "dark");
  const asked = () => ({
    title: title.value.trim(),
    caption: caption.value.trim(),
    paper: paper.querySelector(":checked").value,
  });
  const files = element("div", "chart-files");
  files.append(
    button("PNG", async () => save(`${name}.png`, await pixelsOf(await pictureOf(chart, asked())), "image/png")),
    button("SVG", async () => save(`${name}.svg`, (await pictureOf(chart, asked())).source, "image/svg+xml")),
    button("HTML", async () => save(`${name}.html`, await pageOf(chart, asked()), "text/html")),
    button("CSV", () => save(`${name}.csv`, csvOf(columns), "text/csv"))
  );
  const table = element("div", "chart-table");
  table.tabIndex = 0; // so that the keyboard scrolls it
  table.append(tableElement(columns));
  const dialog = element("dialog", "chart-window");
  const close = button("✕", () => dialog.close(), "chart-close");
  close.setAttribute("aria-label", words.close);
  dialog.setAttribute("aria-label", words.files);
  dialog.append(close, labelled(words.title, title), labelled(words.caption, caption), paper, files, table);
  dialog.addEventListener("keydown", (event) => event.stopPropagation()); // disable the page's shortcuts
  dialog.addEventListener("close", () => dialog.remove());
  chart.root.append(dialog);
  dialog.showModal();
}
