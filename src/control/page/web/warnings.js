// The last warnings and errors of all processes, newest first.

import { find, keep, make, setText, show } from "./dom.js";
import { time } from "./text.js";

const NAMES = { warn: "warning", error: "error" };

function from(warning) {
  const process = warning.worker === null ? "manager" : `worker ${warning.worker}`;
  return warning.shard === null ? process : `${process}, shard ${warning.shard}`;
}

// What stands behind the first line (a traceback) is folded in.
function makeText(text) {
  const end = text.indexOf("\n");
  if (end < 0) return make("span", { class: "text" }, text);
  return make("details", { class: "text" }, make("summary", null, text.slice(0, end)), make("pre", null, text.slice(end + 1)));
}

export function drawWarnings(warnings) {
  show(find("no-warnings"), warnings.length === 0);
  keep(find("warnings"), warnings, (warning) => [warning.at, warning.worker, warning.shard, warning.text].join(" "),
    (warning) => make("li", null,
      make("time", { datetime: new Date(warning.at).toISOString() }),
      make("span", { class: "level", "data-state": warning.level === "error" ? "down" : "far" }, NAMES[warning.level]),
      make("span", { class: "from quiet" }, from(warning)),
      makeText(warning.text)),
    (item, warning) => setText(item.firstChild, time(warning.at)));
}
