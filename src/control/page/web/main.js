// The status page: what the gateway says at GET live, drawn as it comes. It knows nothing of its own.

import { Charts } from "./charts.js";
import { find, setAttribute, setText, show } from "./dom.js";
import { Letters } from "./letters.js";
import { Rates, countersOf } from "./rates.js";
import { Shards, shardsOf } from "./shards.js";
import {
  drawDeaf, drawFigures, drawHead, drawIdentify, drawProblems, drawProgram, drawResharding, drawScript, figuresOf,
  problemsOf,
} from "./state.js";
import { Line } from "./stream.js";
import { Events, drawCluster, drawHandlers, drawProcesses, drawSinks, drawStorms } from "./tables.js";
import { count, time } from "./text.js";
import { drawWarnings } from "./warnings.js";

const rates = new Rates();
const charts = new Charts();
const events = new Events();
const shards = new Shards((id) => act(`shards/${id}/reconnect`, () => `Shard ${id} is reconnecting.`));
let version = null, lastAt = null;

function say(text, bad = false) {
  setText(find("said"), text.charAt(0).toUpperCase() + text.slice(1));
  setAttribute(find("said"), "data-state", bad ? "down" : "up");
  show(find("said"), text !== "");
}

function drawSnapshot(snapshot) {
  const { status } = snapshot;
  rates.push(snapshot.at, countersOf(snapshot));
  const now = figuresOf(snapshot, rates);
  const problems = problemsOf(snapshot, shardsOf(snapshot), rates);
  show(find("ask"), false);
  show(find("main"), true);
  show(find("reload"), true);
  drawHead(status);
  drawProblems(problems);
  drawFigures(snapshot, now);
  charts.draw(now);
  shards.draw(snapshot);
  drawSinks(status, rates);
  drawHandlers(status, rates);
  letters.draw(status);
  events.draw(snapshot, rates);
  drawStorms(status.storm);
  drawProcesses(snapshot, rates);
  drawIdentify(status.identify);
  drawScript(status);
  drawDeaf(status.deaf);
  drawProgram(status.upgrade);
  drawResharding(status.resharding);
  drawCluster(status.cluster);
  lastAt = snapshot.at;
  const bad = problems.some((problem) => problem.bad);
  const title = `${bad ? "! " : ""}${count(status.progress.ready)}/${count(status.progress.total)} · Tidegate`;
  if (document.title !== title) document.title = title;
  if (version !== null && version !== status.version)
    say(`The gateway is version ${status.version} now, this page is from ${version}: load it again.`);
  version ??= status.version;
}

const line = new Line({
  event(name, data) {
    if (name === "snapshot") drawSnapshot(data);
    else if (name === "warnings") drawWarnings(data);
    else if (name === "history" || name === "point") charts.take(data, name === "history");
  },
  state(word, text) {
    document.documentElement.dataset.line = word;
    setAttribute(find("line"), "data-state", { live: "up", down: "down" }[word] ?? "coming");
    setText(find("line"), word === "live" || lastAt === null ? text : `${text} · as of ${time(lastAt)}`);
    find("reload").disabled = word !== "live";
  },
  refused(text) {
    ask(text);
  },
});

function ask(text) {
  show(find("ask"), true);
  show(find("main"), false);
  show(find("reload"), false);
  setText(find("ask-said"), text);
  setAttribute(find("line"), "data-state", "coming");
  setText(find("line"), "waits for the secret");
  find("secret").value = "";
  find("secret").focus();
}

const letters = new Letters(line, say);

async function act(path, done) {
  try {
    say(done(await line.post(path)));
  } catch (error) {
    say(error.body?.problem ? `${error.message}. See Script.` : error.message, true);
  }
}

find("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  line.setSecret(find("secret").value);
  find("secret").value = "";
  line.open();
});

find("reload").addEventListener("click", () => act("reload", ({ generation, needsRestart }) =>
  `Reloaded: the script is generation ${generation}.`
  + (needsRestart.length > 0 ? ` A restart is needed for ${needsRestart.join(", ")}.` : "")));

if (document.documentElement.dataset.secret === "yes") ask("");
else line.open();
