// What every page needs besides its charts: its language, and help for the keyboard and screen readers.

import "./lecture.js";
import { noteVisit } from "./visits.js";

// A formula or code wider than its place scrolls, so it must be possible to focus it without a pointer.
function makeReachable(/** @type {HTMLElement} */ target) {
  if (target.scrollWidth > target.clientWidth || target.scrollHeight > target.clientHeight) target.tabIndex = 0;
  else target.removeAttribute("tabindex");
}

const sizes = new ResizeObserver((entries) => {
  for (const { target } of entries) makeReachable(/** @type {HTMLElement} */ (target));
});
const rewritten = new Set(); // places whose text has changed, perhaps without changing their size

let waiting = false;

function look() {
  waiting = false;
  noteVisit();
  rewritten.forEach(makeReachable);
  rewritten.clear();
  for (const place of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll(":is(.katex-display, [data-testid=stCode] pre):not([data-seen])"))) {
    place.dataset.seen = "";
    sizes.observe(place);
  }
  // Streamlit gives its own place for files no role, but a name.
  for (const place of document.querySelectorAll('[data-testid="stFileUploaderDropzone"][role="presentation"]')) {
    place.setAttribute("role", "group");
    // In a narrow column its button shows a picture alone.
    const button = place.querySelector("button");
    button?.setAttribute("aria-label", `${button.textContent.trim()} ${place.getAttribute("aria-label")}`);
  }
}

new MutationObserver((changes) => {
  for (const { target } of changes) {
    const place = (target instanceof Element ? target : target.parentElement)?.closest("[data-seen]");
    if (place) rewritten.add(place);
  }
  if (!waiting) requestAnimationFrame(look);
  waiting = true;
}).observe(document.body, { childList: true, characterData: true, subtree: true });
look(); // the page may be complete already
addEventListener("pagehide", noteVisit); // the address may have changed after everything else

// A form that opens over the page closes when something else on the page is pressed, and by Escape.
const closeForm = (inside) => {
  const form = document.querySelector(".st-key-training-bar details[open]");
  if (form && !inside(form)) /** @type {HTMLElement} */ (form.querySelector("summary")).click();
};

document.addEventListener("pointerdown", ({ target }) => {
  const place = /** @type {Element} */ (target);
  if (place.closest("[data-testid=stMain]")) closeForm((form) => form.contains(place));
});

document.addEventListener("keydown", ({ key }) => {
  if (key === "Escape") closeForm(() => document.querySelector("[role=listbox]"));
});

export function setLanguage(language) {
  document.documentElement.lang = language;
}
