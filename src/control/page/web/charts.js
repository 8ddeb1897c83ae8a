// The last hour: small charts of the points that the gateway keeps, one every ten seconds, with what it says now as
// their end.

import { find, make, setAttribute, setText } from "./dom.js";
import { bytes, count, duration, percent, rate } from "./text.js";

const WIDTH = 360, HEIGHT = 56; // units of the drawing, which is stretched
const HOUR = 3600000, LEAST = 120000; // ms that a chart shows
const KEPT = 360;

// The counters' growth a second between two points; null where the gateway has started in between, or was not there.
function growth(points, name, every) {
  return points.map((point, i) => {
    const before = points[i - 1];
    const time = before ? point.at - before.at : 0;
    if (!before || time <= 0 || time > 3 * every || point[name] < before[name]) return null;
    return (point[name] - before[name]) * 1000 / time;
  });
}

function plain(points, name) {
  return points.map((point) => point[name]);
}

// A line: its values at the points, and now (what figuresOf() in state.js says).
const CHARTS = [
  { title: "Events a second", text: rate, lines: [
    { name: "received", of: (points, every) => growth(points, "received", every), now: (now) => now.received },
    { name: "delivered", of: (points, every) => growth(points, "delivered", every), now: (now) => now.delivered }] },
  { title: "Events waiting", text: count, lines: [
    { name: "waiting", of: (points) => plain(points, "queued"), now: (now) => now.queued }] },
  { title: "Oldest event waiting", text: duration, lines: [
    { name: "oldest", of: (points) => plain(points, "oldest"), now: (now) => now.oldest }] },
  { title: "Shards connected", text: count, most: (points, now) => Math.max(now.shards, ...plain(points, "shards")),
    lines: [{ name: "connected", of: (points) => plain(points, "up"), now: (now) => now.up }] },
  { title: "Processor, of one core", text: percent, lines: [
    { name: "processor", now: (now) => now.cpu,
      of: (points, every) => growth(points, "cpu", every).map((n) => n === null ? null : n / 10) }] },
  { title: "Memory", text: bytes, lines: [
    { name: "memory", of: (points) => plain(points, "memory"), now: (now) => now.memory }] },
];

// The path of a line; a value that is not known breaks it.
export function pathOf(values, x, most) {
  let path = "", pen = "M";
  values.forEach((value, i) => {
    if (value === null) {
      pen = "M";
      return;
    }
    path += `${pen}${x[i].toFixed(1)} ${(HEIGHT - 1 - (value / most) * (HEIGHT - 3)).toFixed(1)}`;
    pen = "L";
  });
  return path;
}

function known(values) {
  return values.filter((value) => value !== null);
}

function svg(tag, attributes) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

function makeChart(chart) {
  const drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" });
  drawing.append(...chart.lines.map((line, i) => svg("path", { class: `line line-${i + 1}` })));
  const names = chart.lines.length > 1
    ? chart.lines.map((line, i) => make("span", { class: `key key-${i + 1}` }, line.name)) : [];
  return make("figure", null,
    make("figcaption", null, make("span", null, chart.title), ...names, make("b")),
    drawing, make("div", { class: "axis quiet" }, make("span"), make("span"), make("span", null, "now")));
}

export class Charts {
  #points = [];
  #every = 10000;
  #figures;

  constructor() {
    this.#figures = CHARTS.map(makeChart);
    find("charts").append(...this.#figures);
  }

  // All points, or one more.
  take(history, whole) {
    const points = history.points.map((row) => Object.fromEntries(history.columns.map((name, i) => [name, row[i]])));
    this.#every = history.every;
    this.#points = (whole ? points : this.#points.concat(points)).slice(-KEPT);
  }

  draw(now) {
    const first = this.#points[0]?.at ?? now.at;
    const span = Math.min(HOUR, Math.max(LEAST, now.at - first));
    const points = this.#points.filter((point) => point.at >= now.at - span && point.at <= now.at);
    const x = [...points, now].map((point) => WIDTH - (now.at - point.at) * WIDTH / span);
    CHARTS.forEach((chart, i) => this.#drawOne(chart, this.#figures[i], points, now, x, span));
  }

  #drawOne(chart, figure, points, at, x, span) {
    const [caption, drawing, axis] = figure.children;
    const lines = chart.lines.map((line) => [...line.of(points, this.#every), line.now(at)]);
    const highest = Math.max(0, ...lines.flatMap(known));
    const most = chart.most ? chart.most(points, at) : highest;
    lines.forEach((values, k) => setAttribute(drawing.children[k], "d", pathOf(values, x, most || 1)));
    const now = lines[0].at(-1);
    setText(caption.lastChild, chart.text(now));
    setText(axis.children[0], `${duration(span)} ago`);
    setText(axis.children[1], `highest ${chart.text(highest)}`);
    setAttribute(drawing, "aria-label", `${chart.title}: now ${chart.text(now)}, highest ${chart.text(highest)}`);
  }
}
