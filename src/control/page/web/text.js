// Figures as people read them. Pure: its spec runs without a browser.

const whole = new Intl.NumberFormat("en");

export function count(n) {
  return n === null || n === undefined ? "–" : whole.format(n);
}

// 1 shard, 2 shards
export function counted(n, one, many = one + "s") {
  return `${count(n)} ${n === 1 ? one : many}`;
}

// A second: few of them are worth a digit more.
export function rate(n) {
  if (n === null || n === undefined) return "–";
  if (n === 0) return "0";
  if (n < 0.05) return "<0.1";
  return n < 10 ? n.toFixed(1) : whole.format(Math.round(n));
}

const SIZES = ["B", "KiB", "MiB", "GiB", "TiB"];

export function bytes(n) {
  if (n === null || n === undefined) return "–";
  let at = 0;
  while (n >= 1024 && at < SIZES.length - 1) {
    n /= 1024;
    at++;
  }
  return `${at === 0 || n >= 100 ? Math.round(n) : n.toFixed(1)} ${SIZES[at]}`;
}

// Milliseconds, in the two largest units.
export function duration(ms) {
  if (ms === null || ms === undefined) return "–";
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 10000) return `${(Math.floor(ms / 100) / 10).toFixed(1)} s`;
  const seconds = Math.floor(ms / 1000);
  const parts = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const first = parts.findIndex(([size]) => seconds >= size);
  const [size, unit] = parts[first];
  const text = `${Math.floor(seconds / size)} ${unit}`;
  const next = parts[first + 1];
  const rest = next ? Math.floor((seconds % size) / next[0]) : 0;
  return rest > 0 ? `${text} ${rest} ${next[1]}` : text;
}

export function percent(part) {
  return part === null || part === undefined ? "–" : `${part < 10 ? part.toFixed(1) : Math.round(part)} %`;
}

function two(n) {
  return String(n).padStart(2, "0");
}

// The time of day; of another day that, too.
export function time(at, now = Date.now()) {
  const date = new Date(at);
  const clock = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
  const same = new Date(now).toDateString() === date.toDateString();
  return same ? clock : `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ${clock}`;
}

// 1, 2, 3 and 17 more
export function some(list, most) {
  const more = list.length - most;
  return list.slice(0, most).join(", ") + (more > 0 ? ` and ${count(more)} more` : "");
}
