// A figure as it is drawn for the last row: projector.css enlarges a chart as a whole, so these are pixels of the chart.

export const LEAST_TEXT = 13;
const LEAST_LINE = 1.8;
const TEXT_BEFORE = 11; // the smallest text of the figures, for which their right margins are made

export const projected = () => getComputedStyle(document.documentElement).getPropertyValue("--projected") !== "";

export function onWall({ data, layout }) {
  const { margin } = layout;
  return {
    data: legible(data),
    layout: { ...legible(layout), ...(margin && { margin: { ...margin, r: (margin.r * LEAST_TEXT) / TEXT_BEFORE } }) },
  };
}

// The same with no smaller fonts and no thinner lines; a line of no width stays away.
function legible(part) {
  if (Array.isArray(part)) return part[0]?.constructor === Object ? part.map(legible) : part;
  if (part?.constructor !== Object) return part;
  return Object.fromEntries(Object.entries(part).map(([name, value]) => [name, enlarged(name, legible(value))]));
}

function enlarged(name, value) {
  if (/font$/.test(name) && value.size < LEAST_TEXT) return { ...value, size: LEAST_TEXT };
  if (name === "line" && value.width > 0 && value.width < LEAST_LINE) return { ...value, width: LEAST_LINE };
  return value;
}
