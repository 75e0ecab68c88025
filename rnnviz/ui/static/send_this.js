// The address of exactly this view, to copy and as a code. It is the browser's own address, which has every step and
// choice, and the page's language. The size is left out: a projector's is not that of the devices in the room.

const LOCAL = /^(localhost|127\.|\[::1\])/;

function element(tag, more = {}) {
  return Object.assign(document.createElement(tag), more);
}

function addressOf(watch) {
  const address = new URL(location.href);
  const views = (address.searchParams.get("view") ?? "").split(".");
  const kept = views.filter((view) => view && view !== "projector" && view !== "watch");
  if (watch) kept.push("watch");
  if (kept.length) address.searchParams.set("view", kept.join("."));
  else address.searchParams.delete("view");
  address.searchParams.set("lang", document.documentElement.lang || "en");
  return address.href;
}

// In a page without https the browser copies only what is selected.
async function copy(field) {
  field.select();
  if (navigator.clipboard) await navigator.clipboard.writeText(field.value);
  else document.execCommand("copy");
}

function open(words) {
  const dialog = element("dialog", { className: "send-window" });
  dialog.setAttribute("aria-label", words.open);
  const close = element("button", { type: "button", className: "send-close", textContent: "✕" });
  close.setAttribute("aria-label", words.close);
  const code = element("img", { className: "send-code", alt: words.code });
  const long = element("p", { textContent: words.long, hidden: true });
  const field = element("input", { className: "send-address", readOnly: true });
  field.setAttribute("aria-label", words.address);
  const copying = element("button", { type: "button", className: "send-copy", textContent: words.copy });
  const box = element("input", { type: "checkbox", checked: /\bwatch\b/.test(new URLSearchParams(location.search).get("view") ?? "") });
  const watch = element("label", { className: "send-watch" });
  watch.append(box, words.watch);
  const here = element("p", { className: "send-here", textContent: words.here, hidden: !LOCAL.test(location.host) });
  const update = () => {
    field.value = addressOf(box.checked);
    copying.textContent = words.copy;
    code.hidden = long.hidden = false;
    long.hidden = true;
    code.src = new URL(`app/code?address=${encodeURIComponent(field.value)}`, document.baseURI).href;
  };
  code.addEventListener("error", () => ([code.hidden, long.hidden] = [true, false]));
  box.addEventListener("change", update);
  copying.addEventListener("click", async () => {
    await copy(field);
    copying.textContent = words.copied;
  });
  close.addEventListener("click", () => dialog.close());
  dialog.addEventListener("keydown", (event) => event.stopPropagation()); // the page's own shortcuts rest
  dialog.addEventListener("close", () => dialog.remove());
  const line = element("div", { className: "send-line" });
  line.append(field, copying);
  dialog.append(close, code, long, line, watch, here);
  update();
  document.body.append(dialog);
  dialog.showModal();
}

export default function ({ data, parentElement }) {
  const words = JSON.parse(new TextDecoder().decode(data));
  const button = parentElement.querySelector(".send-open");
  button.textContent = words.open;
  button.onclick = () => open(words);
}
