// Keys for a lecture. They are single letters, so they work in the projector view alone.

const PICTURES = ".live-charts figure, .cell-view, .linked-equation, .reproduction";
const TYPING = "input:not([type=range], [type=radio], [type=checkbox]), textarea, select, dialog, [contenteditable]";
const ACTS = { n: () => turn(1), b: () => turn(-1), p: play, f: alone, q: send };

// To the chapter after this one or before it, as the navigation lists them.
function turn(by) {
  const links = [.../** @type {NodeListOf<HTMLAnchorElement>} */ (document.querySelectorAll("[data-testid=stSidebarNavLink]"))];
  const here = links.findIndex((link) => link.pathname === location.pathname);
  links[here + by]?.click();
}

// Of those that are on the screen, the one nearest to its middle.
function inSight(selector) {
  const middle = innerHeight / 2;
  const places = [...document.querySelectorAll(selector)].map((element) => ({ element, box: element.getBoundingClientRect() }));
  const away = ({ box }) => Math.max(box.top - middle, middle - box.bottom, 0);
  const seen = places.filter(({ box }) => box.height && box.bottom > 0 && box.top < innerHeight);
  return seen.sort((a, b) => away(a) - away(b))[0]?.element;
}

function play() {
  inSight(".cv-play, .chart-play")?.click();
}

function alone() {
  if (document.fullscreenElement) document.exitFullscreen();
  else inSight(PICTURES)?.requestFullscreen();
}

function send() {
  /** @type {HTMLElement} */ (document.querySelector(".send-open"))?.click();
}

document.addEventListener("keydown", (event) => {
  const { key, target, ctrlKey, altKey, metaKey, defaultPrevented } = event;
  const projected = getComputedStyle(document.documentElement).getPropertyValue("--projected");
  const act = ACTS[key.toLowerCase()];
  if (!act || !projected || defaultPrevented || ctrlKey || altKey || metaKey) return;
  if (/** @type {Element} */ (target).closest?.(TYPING)) return;
  event.preventDefault();
  act();
});
