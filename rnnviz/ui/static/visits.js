// Which chapters and runs this browser has seen. It is kept in the browser alone, and shown on the home page.

const CHAPTERS = "rnnviz-chapters";
const RUNS = "rnnviz-runs";
const MOST_RUNS = 8;

function kept(key) {
  try {
    const values = JSON.parse(localStorage.getItem(key));
    return Array.isArray(values) ? values : [];
  } catch {
    return []; // there is no storage, or something else is in it
  }
}

function keep(key, values) {
  try {
    localStorage.setItem(key, JSON.stringify(values));
  } catch {}
}

export function noteVisit() {
  const chapters = kept(CHAPTERS);
  if (!chapters.includes(location.pathname)) keep(CHAPTERS, [...chapters, location.pathname]);
  const run = new URLSearchParams(location.search).get("run");
  if (/^[0-9a-f]{20}$/.test(run ?? "")) noteRun({ run, path: location.pathname });
  mark(chapters);
  for (const place of document.querySelectorAll(".own-runs:not([data-filled])")) fill(place);
}

function noteRun({ run, path }) {
  const runs = kept(RUNS);
  if (runs.some((known) => known.run === run)) return;
  keep(RUNS, [{ run, path, time: Date.now() }, ...runs].slice(0, MOST_RUNS));
}

function mark(chapters) {
  /** @type {NodeListOf<HTMLAnchorElement>} */
  const links = document.querySelectorAll('[class*="st-key-card-"] a:not([data-visited])');
  for (const link of links) {
    if (chapters.includes(link.pathname)) link.dataset.visited = "";
  }
}

// The runs as links, named by their page and the time at which they were first seen here.
function fill(place) {
  place.dataset.filled = "";
  /** @type {NodeListOf<HTMLAnchorElement>} */
  const pages = document.querySelectorAll('[data-testid="stSidebarNavLink"]');
  /** @type {Intl.DateTimeFormatOptions} */
  const told = { dateStyle: "medium", timeStyle: "short" };
  const links = kept(RUNS).map(({ run, path, time }) => {
    const link = document.createElement("a");
    link.href = `${path}?run=${run}`;
    const page = [...pages].find((known) => known.pathname === path)?.lastElementChild.textContent ?? path;
    link.textContent = `${page} · ${new Date(time).toLocaleString(document.documentElement.lang, told)}`;
    return link;
  });
  place.querySelector(".own-runs-links").replaceChildren(...links);
  place.hidden = links.length === 0;
}
