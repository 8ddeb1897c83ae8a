// The gateway as a whole: its head, its figures, what needs attention, identifies, the script, a resharding.

import { find, keep, make, setAttribute, setText, show } from "./dom.js";
import { bytes, count, counted, duration, percent, rate, some } from "./text.js";

const LATE = 30000; // ms that an event may wait before it needs attention

const DEAF = {
  suspected: "its turn comes", asking: "Discord is asked something that it has to answer",
  reconnecting: "it gets another connection", listening: "it is listened whether they come again",
};

// What a shard that seems deaf is at: null, or a word of DEAF. Pure.
export function deafWord(deaf, shardId) {
  return deaf.shard?.shardId === shardId ? deaf.shard.step : deaf.suspects.includes(shardId) ? "suspected" : null;
}

// Of now, a sentence each. Pure.
function deafNow({ shard, suspects, vanished, outage }) {
  const list = [];
  if (shard)
    list.push(`Shard ${shard.shardId} seems deaf: no ${shard.event ?? "events"} for ${duration(shard.silent)}; ${DEAF[shard.step]}.`);
  if (suspects.length > 0)
    list.push(`${suspects.length === 1 ? "Another shard seems" : "Other shards seem"} deaf: ${some(suspects, 10)}.`);
  if (outage) list.push("Many shards get far fewer events than usual: that looks like an outage of Discord, and none is touched.");
  if (vanished.length > 0) list.push(`No shard gets these any more: ${vanished.join(", ")}.`);
  return list;
}

// What somebody should look at, each {key, text, bad}. Pure.
export function problemsOf(snapshot, shards, rates) {
  const { status } = snapshot, list = [];
  const add = (key, text, bad = true) => list.push({ key, text, bad });
  if (status.phase === "stopping") add("stopping", "The gateway is stopping.");
  if (status.waiting)
    add("waiting", `The start waits${status.waiting.left !== null ? ` for ${duration(status.waiting.left)}` : ""}: `
      + status.waiting.reason);
  const away = shards.filter((shard) => !shard.next && shard.state !== "Connected");
  if (away.length > 0 && status.phase === "starting")
    add("shards", `${count(status.progress.ready)} of ${count(status.progress.total)} shards are up`
      + (status.progress.eta === null ? "." : `, about ${duration(status.progress.eta)} left.`), false);
  else if (away.length > 0)
    add("shards", `${counted(away.length, "shard is", "shards are")} not connected: `
      + `${some(away.map((shard) => shard.shardId), 10)}.`);
  for (const handler of status.handlers)
    if (handler.state === "down")
      add("handler " + handler.url, `The event handler ${handler.url} `
        + (handler.since === null ? "is down." : `has been down for ${duration(handler.since)}.`));
  for (const sink of status.sinks) {
    if (sink.up === false && sink.name !== "bot") add("sink " + sink.name, `The sink ${sink.name} is down.`);
    if (sink.queued.age >= LATE)
      add("late " + sink.name, `${counted(sink.queued.events, "event waits", "events wait")} for ${sink.name}, `
        + `the oldest for ${duration(sink.queued.age)}.`);
    if (rates.rate("dropped " + sink.name) > 0) add("drops " + sink.name, `Events for ${sink.name} are being dropped.`);
  }
  for (const worker of status.workers) {
    if (worker.state === "restarting" || (worker.state === "stopped" && status.phase === "ready"))
      add("worker " + worker.workerId, `Worker ${worker.workerId} is ${worker.state}.`);
    if (worker.switchedOff.length > 0)
      add("off " + worker.workerId, `The script of worker ${worker.workerId} is at its memory limit: `
        + `${worker.switchedOff.join(", ")} switched off until a reload.`);
  }
  if (status.reloads.last?.problem) add("reload", "The last reload failed; the script before it goes on. See Script.");
  if (status.upgrade.last?.result === "failed")
    add("upgrade", `The last upgrade failed, and version ${status.version} goes on. See Program.`, false);
  if (status.identify.heldBack) add("identify", "No identifies are left but the reserve: only resumes go out.");
  if (status.intents?.missing.length > 0)
    add("intents", `${counted(status.intents.shards, "session does", "sessions do")} without ${status.intents.missing.join(", ")}.`);
  for (const text of deafNow(status.deaf)) add("deaf " + text.split(":")[0], text);
  if (status.deadLetters.letters > 0)
    add("dead", `${counted(status.deadLetters.letters, "event was", "events were")} refused for good. See Dead letters.`, false);
  if (status.leftSinks.length > 0)
    add("left", `Sinks that are not configured any more have left events: `
      + `${status.leftSinks.map((sink) => sink.name).join(", ")}.`, false);
  if (status.cluster && !status.cluster.engine?.up) add("cluster", "The Redis of the cluster does not answer.");
  return list;
}

export function drawProblems(problems) {
  const list = problems.length > 0 ? problems : [{ key: "none", text: "All is well.", bad: null }];
  keep(find("problems"), list, (problem) => problem.key, () => make("li"), (item, problem) => {
    setText(item, problem.text);
    setAttribute(item, "data-state", problem.bad === null ? "up" : problem.bad ? "down" : "coming");
  });
}

export function drawHead(status) {
  const state = { ready: "up", starting: "coming", stopping: "down" }[status.phase] ?? "off";
  setText(find("phase"), status.phase);
  setAttribute(find("phase"), "data-state", state === "up" && !status.ready ? "far" : state);
  setText(find("about"), `${status.version} · up ${duration(status.uptime)} · script ${status.generation}`);
  setText(find("where"), location.host);
}

// Sums over all of the gateway. Pure.
export function figuresOf(snapshot, rates) {
  const { status, processes } = snapshot;
  const used = processes.map((process) => rates.rate("cpu " + process.worker));
  return {
    at: snapshot.at,
    up: status.progress.ready,
    shards: status.progress.total,
    received: rates.rate("received"),
    delivered: rates.rate("delivered"),
    queued: status.sinks.reduce((sum, sink) => sum + sink.queued.events, 0),
    oldest: Math.max(0, ...status.sinks.map((sink) => sink.queued.age ?? 0)),
    cpu: used.includes(null) ? null : used.reduce((sum, n) => sum + n, 0) / 10,
    memory: processes.reduce((sum, process) => sum + process.memory, 0),
  };
}

export function drawFigures(snapshot, now) {
  const { status } = snapshot, { queued, oldest, cpu, memory } = now;
  const figures = [
    ["Shards connected", count(now.up), `of ${count(now.shards)}`],
    ["Guilds", count(status.guilds), ""],
    ["Events received", rate(now.received), "a second"],
    ["Delivered to the bot", rate(now.delivered), "a second"],
    ["Events waiting", count(queued), queued > 0 && oldest > 0 ? `oldest ${duration(oldest)}` : "none"],
    ["Identifies left", count(status.identify.remaining), status.identify.total === null ? "" : `of ${count(status.identify.total)}`],
    ["Processor", percent(cpu), "of one core"],
    ["Memory", bytes(memory), counted(snapshot.processes.length, "process", "processes")],
  ];
  keep(find("figures"), figures, ([name]) => name,
    ([name]) => make("div", null, make("dt", null, name), make("dd", null, make("b"), make("span"))),
    (item, [, value, more]) => {
      setText(item.lastChild.firstChild, value);
      setText(item.lastChild.lastChild, more);
    });
}

function fillMeter(meter, part, mark) {
  meter.firstElementChild.style.inlineSize = `${(part * 100).toFixed(1)}%`;
  meter.lastElementChild.style.insetInlineStart = `${(mark * 100).toFixed(1)}%`;
  show(meter.lastElementChild, mark > 0);
}

export function drawIdentify(identify) {
  const { total, remaining, reserve } = identify;
  setText(find("identify"), total === null ? "Not known yet."
    : `${count(remaining)} of ${count(total)} left` + (identify.resetAfter > 0 ? `, all again in ${duration(identify.resetAfter)}` : ""));
  fillMeter(find("budget"), total ? remaining / total : 0, total ? reserve / total : 0);
  setText(find("identify-more"), total === null ? ""
    : `${count(reserve)} kept in reserve · ${count(identify.maxConcurrency)} at a time · `
      + (identify.heldBack ? "held back: only resumes go out" : counted(identify.waiting, "shard waits", "shards wait")));
}

export function drawScript(status) {
  const { done, failed, last } = status.reloads;
  const parts = [`Generation ${status.generation}`, `${counted(done, "reload")} done, ${count(failed)} failed`];
  if (last) parts.push(`the last one ${last.problem ? "failed" : "took effect"} ${duration(last.age)} ago`);
  setText(find("script"), parts.join(" · "));
  setText(find("traceback"), last?.problem ?? "");
  show(find("traceback"), Boolean(last?.problem));
}

export function drawDeaf(deaf) {
  const { resumes, identifies, heard, givenUp, questions } = deaf, now = deafNow(deaf);
  show(find("deaf"), now.length > 0 || resumes + identifies + heard + givenUp > 0);
  setText(find("deaf-said"), now.length > 0 ? now.join(" ") : "All shards hear.");
  setText(find("deaf-more"), `${count(resumes)} resumed, ${count(identifies)} with a new session · `
    + `${count(heard)} hear again, ${count(givenUp)} given up · `
    + `${counted(questions.answered + questions.unanswered, "question")} to Discord, ${count(questions.unanswered)} unanswered`);
}

export function drawProgram({ version, since, done, failed, last, state, to, replaced, workers, waitsFor }) {
  const parts = [`Version ${version}, for ${duration(since)}`, `${counted(done, "upgrade")} done, ${count(failed)} failed`];
  if (state !== "idle")
    parts.push(`one to ${to ?? "another version"} is under way: ${state}, ${count(replaced)} of ${counted(workers, "worker")} replaced`
      + (waitsFor ? `, waits for ${waitsFor}` : ""));
  else if (last)
    parts.push(`the last one, from ${last.from} to ${last.to ?? "another version"}, ${last.problem ? "failed" : "took effect"} `
      + `${duration(last.ago)} ago` + (last.problem ? `: ${last.problem}` : ""));
  setText(find("program"), parts.join(" · "));
}

export function drawResharding(resharding) {
  show(find("resharding"), Boolean(resharding));
  if (!resharding) return;
  const { from, to, classes, byState, up, eta, waitsFor, everywhere } = resharding;
  const settled = everywhere?.settled ?? byState.settled ?? 0;
  setText(find("resharding-said"), `From ${count(from)} to ${counted(to, "shard")}: ${resharding.phase}`
    + (eta === null ? "" : `, about ${duration(eta)} left`));
  fillMeter(find("classes"), classes > 0 ? settled / classes : 0, 0);
  const states = Object.entries(byState).map(([state, n]) => `${count(n)} ${state}`).join(", ");
  const shared = everywhere && ` · on all hosts, of ${counted(classes, "class", "classes")}: `
    + Object.entries(everywhere).map(([step, n]) => `${count(n)} ${step}`).join(", ");
  setText(find("resharding-more"), `${count(up)} of the new shards are up${shared ? " here" : ""} · classes: `
    + (states || "none yet") + (shared || "") + (waitsFor ? ` · waits for ${waitsFor}` : ""));
}
