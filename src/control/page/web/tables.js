// Sinks, event handlers, storms, events by type, processes, hosts: a table each.

import { fillTable, find, make, setText, show } from "./dom.js";
import { bytes, count, counted, duration, percent, rate } from "./text.js";

const TYPES = 12; // that are shown until somebody asks for all

export function drawSinks(status, rates) {
  fillTable(find("sinks"), status.sinks, (sink) => sink.name, [
    { text: (sink) => sink.name },
    { text: (sink) => sink.up === null ? "unused" : sink.up ? "up" : "down",
      state: (sink) => sink.up === null ? "off" : sink.up ? "up" : "down" },
    { text: (sink) => count(sink.queued.events), kind: "n" },
    { text: (sink) => sink.queued.age === null ? "–" : duration(sink.queued.age), kind: "n" },
    { text: (sink) => rate(rates.rate("sink " + sink.name)), kind: "n" },
    { text: (sink) => count(sink.retried), kind: "n wide" },
    { text: (sink) => count(sink.dropped), kind: "n wide" },
    { text: (sink) => count(sink.dead), kind: "n wide" },
    { text: (sink) => bytes(sink.logBytes), kind: "n wide" },
    { text: (sink) => sink.urls.length > 0 ? sink.urls.join(", ") : sink.kind, kind: "wide url" },
  ]);
}

// 1,204 delivered, 3 retry
function outcomes(requests) {
  const parts = Object.entries(requests).filter(([, n]) => n > 0).map(([name, n]) => `${count(n)} ${name.replace("_", " ")}`);
  return parts.length > 0 ? parts.join(", ") : "none yet";
}

export function drawHandlers(status, rates) {
  const table = find("handlers");
  show(table, status.handlers.length > 0);
  fillTable(table, status.handlers, (handler) => handler.url, [
    { text: (handler) => handler.url, kind: "url" },
    { text: (handler) => handler.state + (handler.since === null ? "" : ` for ${duration(handler.since)}`),
      state: (handler) => handler.state },
    { text: (handler) => count(handler.inFlight), kind: "n" },
    { text: (handler) => rate(rates.rate("handler " + handler.url)), kind: "n" },
    { text: (handler) => outcomes(handler.requests), kind: "wide" },
  ]);
}

// Only where there are rules, or were.
export function drawStorms({ setBy, rules }) {
  show(find("storms-there"), rules.length > 0);
  setText(find("storms-set"), setBy === "script" ? "rules of the script" : "");
  fillTable(find("storms"), rules, ({ rule }) => rule, [
    { text: ({ rule }) => rule },
    { text: ({ running }) => running > 0 ? `${count(running)} now` : "none",
      state: ({ running }) => running > 0 ? "far" : "off" },
    { text: ({ storms }) => count(storms), kind: "n wide" },
    { text: ({ dropped }) => count(dropped), kind: "n" },
    { text: ({ released }) => count(released), kind: "n" },
  ]);
}

export class Events {
  #all = false;
  #draw = () => {};

  constructor() {
    find("all-types").addEventListener("click", (event) => {
      this.#all = !this.#all;
      event.target.setAttribute("aria-expanded", String(this.#all));
      this.#draw();
    });
  }

  draw(snapshot, rates) {
    const rows = Object.entries(snapshot.events).map(([type, [received]]) => ({
      type, received,
      in: rates.rate("received " + type), filtered: rates.rate("filtered " + type), out: rates.rate("delivered " + type),
    }));
    // The busiest first; those of equal rate by what there was in all, so that rows do not jump about.
    rows.sort((a, b) => Math.round((b.in ?? 0) * 2) - Math.round((a.in ?? 0) * 2) || b.received - a.received);
    const most = Math.max(1e-9, ...rows.map((row) => row.in ?? 0));
    this.#draw = () => {
      const button = find("all-types");
      show(button, rows.length > TYPES);
      setText(button, this.#all ? `Only the ${TYPES} busiest` : `All ${counted(rows.length, "type")}`);
      fillTable(find("events"), this.#all ? rows : rows.slice(0, TYPES), (row) => row.type, [
        { text: (row) => row.type },
        { text: (row) => rate(row.in), kind: "n" },
        { text: () => "", kind: "bar wide", draw: (cell, row) => {
          cell.bar ??= cell.appendChild(make("i"));
          cell.bar.style.inlineSize = `${((row.in ?? 0) / most * 100).toFixed(1)}%`;
        } },
        { text: (row) => rate(row.filtered), kind: "n wide" },
        { text: (row) => rate(row.out), kind: "n" },
        { text: (row) => count(row.received), kind: "n wide" },
      ]);
    };
    this.#draw();
  }
}

export function drawProcesses(snapshot, rates) {
  const { status } = snapshot;
  const rows = snapshot.processes.map((process) => {
    const worker = status.workers.find(({ workerId }) => workerId === process.worker);
    return worker ? { ...process, ...worker, memory: process.memory, name: `worker ${worker.workerId}` }
      : { ...process, name: "manager", state: "running", pid: status.pid, generation: status.generation };
  });
  fillTable(find("workers"), rows, (row) => row.name, [
    { text: (row) => row.name },
    { text: (row) => row.state + (row.switchedOff?.length > 0 ? `, without ${row.switchedOff.join(", ")}` : ""),
      state: (row) => row.state !== "running" ? "down" : row.switchedOff?.length > 0 ? "far" : "up" },
    { text: (row) => count(row.shards), kind: "n" },
    { text: (row) => {
      const used = rates.rate("cpu " + row.worker);
      return percent(used === null ? null : used / 10);
    }, kind: "n" },
    { text: (row) => bytes(row.memory || null), kind: "n" },
    { text: (row) => bytes(row.lua), kind: "n wide" },
    { text: (row) => duration(row.lag), kind: "n wide" },
    { text: (row) => count(row.restarts), kind: "n wide" },
    { text: (row) => count(row.generation), kind: "n wide" },
    { text: (row) => row.pid ?? "–", kind: "n wide" },
  ]);
}

export function drawCluster(cluster) {
  show(find("cluster"), Boolean(cluster));
  if (!cluster) return;
  const { engine, shards, hosts = [] } = cluster;
  const parts = [`This host is ${cluster.host ?? "–"} of the cluster ${cluster.name ?? "–"}`,
    `its Redis ${engine?.up ? "answers" : "does not answer"}`,
    `it has ${count(shards?.held)} of ${count(shards?.total)} shards`];
  if (shards?.free > 0) parts.push(`${counted(shards.free, "shard")} of nobody`);
  if (cluster.holes > 0) parts.push(`${counted(cluster.holes, "range")} of events still to be delivered late`);
  if (cluster.leader) parts.push(`${cluster.leader} leads`);
  if (cluster.resharding) parts.push(`they go over to ${count(cluster.resharding.to)}`);
  setText(find("cluster-said"), parts.join(" · "));
  fillTable(find("hosts"), hosts, (host) => host.name, [
    { text: (host) => host.name },
    { text: (host) => host.alive === false ? "away" : host.draining ? "draining" : "up",
      state: (host) => host.alive === false ? "down" : host.draining ? "coming" : "up" },
    { text: (host) => count(host.shards), kind: "n" },
    { text: (host) => count(host.target), kind: "n wide" },
    { text: (host) => host.age === null ? "–" : `${duration(host.age)} ago`, kind: "n" },
  ]);
}
