// The shards: a cell each, by state and lag, a legend that shows one kind alone, the one that is chosen in words, and
// those that are not well as a table.

import { fillTable, find, keep, make, setAttribute, setText, show } from "./dom.js";
import { deafWord } from "./state.js";
import { count, counted, duration } from "./text.js";

const BEHIND = 1000, FAR_BEHIND = 30000; // ms that the oldest event of a shard has waited
const LISTED = 12;

// What a cell looks like; style.css has a shape and a colour for each.
const KINDS = [
  ["up", "Connected"], ["behind", "Behind"], ["far", "Far behind"], ["coming", "On its way"],
  ["down", "Disconnected"], ["off", "Offline"],
];

export function kindOf(shard) {
  switch (shard.state) {
    case "Connected": return shard.oldest >= FAR_BEHIND ? "far" : shard.oldest >= BEHIND ? "behind" : "up";
    case "Disconnected": return "down";
    case "Offline": return "off";
    default: return "coming";
  }
}

// Rows as objects, by the names that the snapshot gives its columns.
export function shardsOf(snapshot) {
  return snapshot.sets.flatMap((set, place) => set.shards.map((row) => {
    const shard = Object.fromEntries(snapshot.columns.map((name, i) => [name, row[i]]));
    shard.state = snapshot.states[shard.state] ?? "Offline";
    shard.total = set.total;
    shard.key = `${set.total}.${shard.shardId}`;
    shard.next = place > 0;
    shard.kind = kindOf(shard);
    shard.deaf = place > 0 ? null : deafWord(snapshot.status.deaf, shard.shardId);
    return shard;
  }));
}

function stateOf(shard) {
  return shard.state + (shard.kind === "behind" ? ", behind" : shard.kind === "far" ? ", far behind" : "")
    + (shard.deaf ? `, deaf: ${shard.deaf}` : "");
}

function words(shard) {
  const parts = [
    `Shard ${shard.shardId}${shard.next ? ` of ${shard.total}` : ""}`,
    stateOf(shard),
    `worker ${shard.workerId}`,
    shard.rtt >= 0 ? `heartbeat ${duration(shard.rtt)}` : "no heartbeat yet",
    counted(shard.guilds, "guild"),
    shard.queued > 0 ? `${counted(shard.queued, "event")} waiting, the oldest ${duration(shard.oldest)}` : "nothing waits",
  ];
  if (shard.reconnects > 0)
    parts.push(counted(shard.reconnects, "reconnect") + (shard.closeCode ? `, last close ${shard.closeCode}` : ""));
  return parts.join(" · ");
}

export class Shards {
  #grid = find("grid");
  #list = [];
  #chosen = null; // key
  #pointed = null;
  #only = null; // kind

  constructor(reconnect) {
    this.#grid.addEventListener("keydown", (event) => this.#onKey(event));
    this.#grid.addEventListener("focus", () => this.#choose(this.#chosen ?? this.#list[0]?.key));
    this.#grid.addEventListener("click", (event) => this.#choose(event.target.dataset?.key ?? this.#chosen));
    this.#grid.addEventListener("pointerover", (event) => this.#point(event.target.dataset?.key ?? null));
    this.#grid.addEventListener("pointerleave", () => this.#point(null));
    find("reconnect").addEventListener("click", () => {
      const shard = this.#find(this.#chosen);
      if (shard) reconnect(shard.shardId);
    });
    find("legend").append(...KINDS.map(([kind, name]) => {
      const button = make("button", { type: "button", "data-kind": kind, "aria-pressed": "false" },
        make("i", { class: "cell", "data-kind": kind, "aria-hidden": "true" }), make("span", null, name), make("b"));
      button.addEventListener("click", () => this.#showOnly(this.#only === kind ? null : kind));
      return button;
    }));
  }

  draw(snapshot) {
    this.#list = shardsOf(snapshot);
    keep(this.#grid, this.#list, (shard) => shard.key,
      (shard) => make("div", { role: "option", class: "cell", id: "shard-" + shard.key, "data-key": shard.key }),
      (cell, shard) => {
        const word = stateOf(shard);
        if (cell.kind === shard.kind && cell.word === word) return;
        cell.kind = shard.kind;
        cell.word = word;
        cell.dataset.kind = shard.kind;
        setAttribute(cell, "data-deaf", shard.deaf);
        cell.setAttribute("aria-label", `${shard.shardId} ${word}`);
      });
    this.#drawLegend();
    this.#drawDetail();
    this.#drawUnwell();
  }

  #find(key) {
    return key === null ? undefined : this.#list.find((shard) => shard.key === key);
  }

  #drawLegend() {
    for (const button of find("legend").children) {
      const n = this.#list.reduce((sum, shard) => sum + (shard.kind === button.dataset.kind), 0);
      setText(button.lastChild, count(n));
      setAttribute(button, "data-none", n === 0 ? "" : null);
    }
  }

  #drawDetail() {
    const shard = this.#find(this.#pointed) ?? this.#find(this.#chosen);
    const chosen = this.#find(this.#chosen);
    if (shard) setText(find("detail"), words(shard));
    find("detail").classList.toggle("quiet", !shard);
    show(find("reconnect"), chosen !== undefined && !chosen.next);
    if (chosen) setText(find("reconnect"), `Reconnect shard ${chosen.shardId}`);
  }

  #drawUnwell() {
    const age = (shard) => Math.round(shard.oldest / 5000); // so that rows do not jump about
    const order = { down: 0, off: 1, up: 2, far: 3, coming: 4, behind: 5 };
    const unwell = this.#list.filter((shard) => shard.kind !== "up" || shard.deaf)
      .sort((a, b) => order[a.kind] - order[b.kind] || age(b) - age(a) || a.shardId - b.shardId);
    const table = find("unwell");
    show(table, unwell.length > 0);
    setText(table.caption, unwell.length > LISTED ? `Not well: ${LISTED} of ${count(unwell.length)}` : "Not well");
    fillTable(table, unwell.slice(0, LISTED), (shard) => shard.key, [
      { text: (shard) => shard.next ? `${shard.shardId} of ${shard.total}` : shard.shardId },
      { text: stateOf, state: (shard) => shard.deaf ? "far" : shard.kind },
      { text: (shard) => shard.workerId, kind: "n wide" },
      { text: (shard) => count(shard.queued), kind: "n" },
      { text: (shard) => shard.oldest > 0 ? duration(shard.oldest) : "–", kind: "n" },
      { text: (shard) => count(shard.reconnects), kind: "n wide" },
      { text: (shard) => shard.closeCode || "–", kind: "wide" },
    ]);
  }

  #showOnly(kind) {
    this.#only = kind;
    setAttribute(this.#grid, "data-only", kind);
    for (const button of find("legend").children)
      button.setAttribute("aria-pressed", String(button.dataset.kind === kind));
  }

  #point(key) {
    this.#pointed = key;
    this.#drawDetail();
  }

  #choose(key) {
    if (key === undefined) return;
    const before = this.#chosen === null ? null : find("shard-" + this.#chosen);
    const cell = key === null ? null : find("shard-" + key);
    before?.removeAttribute("aria-selected");
    cell?.setAttribute("aria-selected", "true");
    cell?.scrollIntoView({ block: "nearest" });
    this.#chosen = key;
    setAttribute(this.#grid, "aria-activedescendant", cell?.id);
    this.#drawDetail();
  }

  // How many cells stand in a row.
  #columns() {
    const cells = this.#grid.children;
    let n = 1;
    while (n < cells.length && cells[n].offsetTop === cells[0].offsetTop) n++;
    return n;
  }

  #onKey(event) {
    const at = this.#list.findIndex((shard) => shard.key === this.#chosen), last = this.#list.length - 1;
    const steps = {
      ArrowRight: () => at + 1, ArrowLeft: () => at - 1,
      ArrowDown: () => at + this.#columns(), ArrowUp: () => at - this.#columns(),
      PageDown: () => at + 10 * this.#columns(), PageUp: () => at - 10 * this.#columns(),
      Home: () => 0, End: () => last,
    };
    if (event.key === "Enter" || event.key === " ") find("reconnect").focus();
    else if (!steps[event.key]) return;
    else this.#choose(this.#list[Math.max(0, Math.min(last, steps[event.key]()))]?.key);
    event.preventDefault();
  }
}
