// From counters to rates: the differences of a snapshot to one some seconds before. Pure: its spec runs without a
// browser.

const SPAN = 5000; // ms: a rate of one second would tremble

// push(at, counters) of {name: n}; rate(name) is a second, or null while nothing can be said.
export class Rates {
  #list = [];

  push(at, counters) {
    const last = this.#list.at(-1);
    // The gateway has started again, or its clock was set: what was before is no measure.
    if (last && (at <= last.at || Object.entries(counters).some(([name, n]) => n < (last.counters[name] ?? 0))))
      this.#list = [];
    this.#list.push({ at, counters });
    while (this.#list.length > 2 && this.#list[1].at <= at - SPAN) this.#list.shift();
  }

  clear() {
    this.#list = [];
  }

  rate(name) {
    const first = this.#list[0], last = this.#list.at(-1);
    if (!first || first === last) return null;
    return ((last.counters[name] ?? 0) - (first.counters[name] ?? 0)) * 1000 / (last.at - first.at);
  }
}

// The counters of a snapshot, under names of one kind each.
export function countersOf(snapshot) {
  const counters = { received: 0, filtered: 0, delivered: 0 };
  for (const [type, [received, filtered, delivered]] of Object.entries(snapshot.events)) {
    counters.received += received;
    counters.filtered += filtered;
    counters.delivered += delivered;
    counters["received " + type] = received;
    counters["filtered " + type] = filtered;
    counters["delivered " + type] = delivered;
  }
  for (const sink of snapshot.status.sinks) {
    counters["sink " + sink.name] = sink.delivered;
    counters["dropped " + sink.name] = sink.dropped;
  }
  for (const handler of snapshot.status.handlers)
    counters["handler " + handler.url] = Object.values(handler.requests).reduce((sum, n) => sum + n, 0);
  for (const process of snapshot.processes) counters["cpu " + process.worker] = process.cpu;
  return counters;
}
