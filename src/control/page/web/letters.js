// Dead letters: the newest of them, as GET dead says when the status says that something has changed; delivering them
// again, and removing them.

import { fillTable, find, make, setAttribute, setText, show } from "./dom.js";
import { bytes, count, counted, duration } from "./text.js";

const LISTED = 20;

// What became of a retry, in words. Pure.
export function outcomeOf(answer) {
  const { letters, delivered, masked, problems } = answer;
  const left = [[answer.refused, "refused again"], [answer.failed, "could not be delivered"], [answer.untried, "not tried"]]
    .filter(([n]) => n > 0).map(([n, words]) => `${count(n)} ${words}`);
  let text = letters === 0 ? "There are no such letters" : `${count(delivered)} of ${counted(letters, "letter")} delivered`;
  if (left.length > 0) text += `, ${left.join(", ")}`;
  if (problems.length > 0) text += `: ${problems[0].reason}`;
  if (masked > 0) text += `. ${count(masked)} went out without their tokens, which letters do not keep`;
  return { text: `${text}.`, bad: left.length > 0 };
}

let answer = null; // of the question that is open

function settle(yes) {
  const dialog = find("sure"), told = answer;
  answer = null;
  if (dialog.open) dialog.close();
  told?.(yes);
}

// Asks by a dialog, which has the keyboard meanwhile; Escape is no.
function isSure(text) {
  setText(find("sure-said"), text);
  find("sure").showModal();
  return new Promise((resolve) => { answer = resolve; });
}

export class Letters {
  #line;
  #say;
  #list = [];
  #count = 0; // of all, also those that are not listed
  #shown = null; // what of the status the list is of
  #busy = false;
  #running = false;

  // say(text, bad)
  constructor(line, say) {
    this.#line = line;
    this.#say = say;
    find("retry-all").addEventListener("click", () => this.#retry({ all: true }));
    find("purge-all").addEventListener("click", () => this.#purge({ all: true },
      `Remove ${this.#count === 1 ? "the dead letter" : `all ${count(this.#count)} dead letters`} for good?`));
    find("letters").addEventListener("click", (event) => {
      const { n, does } = event.target.closest("button")?.dataset ?? {};
      if (does === "retry") this.#retry({ numbers: [Number(n)] });
      else if (does === "purge") this.#purge({ numbers: [Number(n)] }, `Remove letter ${n} for good?`);
    });
    find("sure-no").addEventListener("click", () => settle(false));
    find("sure-yes").addEventListener("click", () => settle(true));
    find("sure").addEventListener("close", ({ target }) => { // comes late: the next question may be open
      if (!target.open) settle(false);
    });
  }

  draw({ deadLetters: dead }) {
    const any = dead.letters > 0 || dead.retry !== null;
    this.#count = dead.letters;
    if (!any) this.#list = [];
    this.#drawList(any);
    show(find("dead"), any);
    setText(find("dead-said"), `${counted(dead.letters, "letter")}, ${bytes(dead.bytes)}`
      + (dead.letters > LISTED ? ` · the newest ${LISTED}` : "")
      + (dead.retry === null ? "" : ` · being sent again: ${count(dead.retry.done)} of ${count(dead.retry.letters)} done`));
    this.#running = dead.retry !== null;
    this.#drawBusy();
    const key = [dead.letters, dead.bytes, dead.newest].join();
    if (key !== this.#shown) {
      this.#shown = key;
      if (any) this.#load();
    }
  }

  // What has the focus stays where it is, and is only not heeded.
  #drawBusy() {
    for (const button of find("dead").querySelectorAll("button"))
      setAttribute(button, "aria-disabled", this.#busy || this.#running ? "true" : null);
  }

  async #load() {
    const key = this.#shown;
    try {
      this.#list = (await this.#line.get(`dead?limit=${LISTED}`)).letters;
      this.#drawList(true);
      this.#drawBusy();
    } catch {
      if (this.#shown === key) this.#shown = null; // with the next snapshot
    }
  }

  #drawList(any) {
    const rows = find("letters").tBodies[0].rows;
    const { does } = document.activeElement.dataset;
    const at = [...rows].indexOf(document.activeElement.closest("#letters tbody tr"));
    const now = Date.now();
    fillTable(find("letters"), this.#list, (letter) => letter.n, [
      { text: (letter) => letter.n },
      { text: (letter) => letter.t || "–" },
      { text: (letter) => letter.shard, kind: "n wide" },
      { text: (letter) => letter.sink ?? "bot", kind: "wide" },
      { text: (letter) => duration(now - letter.at), kind: "n wide" },
      { text: (letter) => letter.status || "–", kind: "n" },
      { text: (letter) => letter.answer, kind: "url wide" },
      { text: () => "", kind: "n", draw: (cell, letter) => {
        if (cell.firstElementChild) return;
        const button = (does, name, label) =>
          make("button", { type: "button", "data-n": letter.n, "data-does": does, "aria-label": label }, name);
        cell.append(button("retry", "Deliver again", `Deliver letter ${letter.n} again`),
          button("purge", "Remove", `Remove letter ${letter.n}`));
      } },
    ]);
    if (at < 0 || document.activeElement.closest("#letters")) return;
    const next = rows[Math.min(at, rows.length - 1)]?.querySelector(`[data-does="${does}"]`);
    (next ?? find(any ? `${does}-all` : "main")).focus(); // its row is gone
  }

  // act() returns what there is to say, {text, bad}.
  async #while(act) {
    this.#busy = true;
    this.#drawBusy();
    try {
      const { text, bad } = await act();
      this.#say(text, bad);
    } catch (error) {
      this.#say(error.message, true);
    }
    this.#busy = false;
    this.#drawBusy();
    this.#load();
  }

  async #retry(which) {
    if (this.#busy || this.#running) return;
    this.#say("Dead letters are being delivered again.", false);
    await this.#while(async () => outcomeOf(await this.#line.post("dead/retry", which)));
  }

  async #purge(which, question) {
    if (this.#busy || this.#running || !await isSure(`${question} What is removed cannot be delivered any more.`)) return;
    await this.#while(async () => {
      const { removed } = await this.#line.post("dead/purge", which);
      return { text: `${counted(removed, "letter is", "letters are")} removed.`, bad: false };
    });
  }
}
