// Ribbons: a wire drawn as all its units side by side, each lane in the colour of its value.

const ARC_STEPS = 9;

// A polyline with round corners, as short straight segments, each with its distance along the wire.
function ribbonPath(points, width) {
  const radius = width / 2 + 8;
  const line = [points[0]];
  for (let i = 1; i < points.length - 1; i++) line.push(...corner(points[i - 1], points[i], points[i + 1], radius));
  line.push(points.at(-1));
  const segments = [];
  let start = 0;
  for (let i = 1; i < line.length; i++) {
    const [[x0, y0], [x1, y1]] = [line[i - 1], line[i]];
    const length = Math.hypot(x1 - x0, y1 - y0);
    if (length < 1e-6) continue;
    segments.push({ x: x0, y: y0, dx: (x1 - x0) / length, dy: (y1 - y0) / length, length, start });
    start += length;
  }
  return { segments, length: start, line };
}

function corner([ax, ay], [bx, by], [cx, cy], radius) {
  const [before, after] = [Math.hypot(bx - ax, by - ay), Math.hypot(cx - bx, cy - by)];
  const r = Math.min(radius, before / 2, after / 2);
  const [ux, uy, vx, vy] = [(bx - ax) / before, (by - ay) / before, (cx - bx) / after, (cy - by) / after];
  const [ox, oy] = [bx + r * (vx - ux), by + r * (vy - uy)]; // the centre of the quarter circle
  return Array.from({ length: ARC_STEPS + 1 }, (_, k) => {
    const angle = ((Math.PI / 2) * k) / ARC_STEPS;
    const [c, s] = [Math.cos(angle), Math.sin(angle)];
    return [ox - r * vx * c + r * ux * s, oy - r * vy * c + r * uy * s];
  });
}

// The distance of a point along a path, and to its side.
function nearest(path, x, y) {
  let best = { distance: Infinity, along: 0, side: 0 };
  for (const { x: x0, y: y0, dx, dy, length, start } of path.segments) {
    const along = Math.max(0, Math.min(length, (x - x0) * dx + (y - y0) * dy));
    const distance = Math.hypot(x - x0 - along * dx, y - y0 - along * dy);
    const side = (y - y0) * dx - (x - x0) * dy;
    if (distance < best.distance) best = { distance, along: start + along, side };
  }
  return best;
}

// How the units share a ribbon's width: the borders of their lanes from 0 to 1; the chosen lane is always visible.
function lanes(order, chosen, least) {
  const h = order.length;
  const wide = Math.max(1 / h, Math.min(least, 0.5));
  const other = h > 1 ? (1 - wide) / (h - 1) : 1;
  const borders = [0];
  for (const unit of order) borders.push(borders.at(-1) + (unit === chosen ? wide : other));
  return borders;
}

// A column of pixels with the colours of a vector; a pixel with several lanes shows their mean.
function columnOf(values, order, chosen, borders, scale, rows, outline) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [1, rows];
  const context = canvas.getContext("2d");
  const image = context.createImageData(1, rows);
  let lane = 0;
  for (let row = 0; row < rows; row++) {
    const [from, to] = [row / rows, (row + 1) / rows];
    while (lane < order.length - 1 && borders[lane + 1] <= from) lane++;
    const sum = [0, 0, 0];
    for (let i = lane; i < order.length && borders[i] < to; i++) {
      const share = (Math.min(to, borders[i + 1]) - Math.max(from, borders[i])) * rows;
      const colour = scale(values[order[i]]);
      for (let c = 0; c < 3; c++) sum[c] += share * colour[c];
    }
    image.data.set([...sum, 255], 4 * row);
  }
  const k = order.indexOf(chosen);
  for (const edge of [Math.round(borders[k] * rows) - 1, Math.round(borders[k + 1] * rows)]) {
    if (edge >= 0 && edge < rows) image.data.set([...outline, 255], 4 * edge);
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

// The part of a ribbon from one place along it to another.
function drawRibbon(context, path, width, column, from, to) {
  for (const { x, y, dx, dy, length, start } of path.segments) {
    const [a, b] = [Math.max(from - start, 0), Math.min(to - start, length)];
    if (b <= a) continue;
    const overlap = length < width ? 1.8 : 0.3; // the slices of a corner leave no gap on its outer side
    context.save();
    context.transform(dx, dy, -dy, dx, x, y);
    context.drawImage(column, 0, 0, 1, column.height, a - (a === 0 ? overlap : 0), -width / 2, b - a + overlap + (a === 0 ? overlap : 0), width);
    context.restore();
  }
}

// A line across a ribbon where new values arrive.
function drawFront(context, path, width, at, colour) {
  const segment = path.segments.find(({ start, length }) => at >= start && at <= start + length);
  if (!segment) return;
  const { x, y, dx, dy, start } = segment;
  context.save();
  context.transform(dx, dy, -dy, dx, x, y);
  context.fillStyle = colour;
  context.fillRect(at - start - 1, -width / 2 - 2, 2.5, width + 4);
  context.restore();
}

const svgPath = (line) => "M" + line.map(([x, y]) => `${x.toFixed(2)} ${y.toFixed(2)}`).join("L");

// A colour scale from CSS colours at places from 0 to 1: a function from a number to red, green and blue.
function colourScale({ low, high, colours }) {
  const places = colours.map(([place]) => place);
  const stops = colours.map(([, colour]) => rgb(colour));
  return (value) => {
    const place = Math.max(0, Math.min(1, (value - low) / (high - low)));
    const i = Math.max(0, places.findIndex((other) => other >= place) - 1);
    const share = (place - places[i]) / (places[i + 1] - places[i]);
    return stops[i].map((v, c) => v + share * (stops[i + 1][c] - v));
  };
}

function rgb(colour) {
  if (colour.startsWith("#")) return [1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16));
  return colour.match(/[\d.]+/g).slice(0, 3).map(Number);
}
