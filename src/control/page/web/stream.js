// The line to the gateway: server-sent events of GET live, read with fetch(), for an EventSource cannot send the
// secret. It comes back by itself, and is let go while nobody sees the page.

const SILENCE = 6000; // ms: a snapshot is due every second
const WAITS = [500, 1000, 2000, 3000, 5000]; // ms between tries

// Calls `on` with each event of the text so far, and returns what of it has not ended yet.
export function takeEvents(text, on) {
  let end;
  while ((end = text.indexOf("\n\n")) >= 0) {
    let name = "message", data = "";
    for (const line of text.slice(0, end).split("\n")) {
      if (line.startsWith("event: ")) name = line.slice(7);
      else if (line.startsWith("data: ")) data += line.slice(6);
    }
    text = text.slice(end + 2);
    on(name, JSON.parse(data));
  }
  return text;
}

export class Refused extends Error {
  constructor(status, body) {
    super(body?.error ?? `the gateway answered ${status}`);
    this.status = status;
    this.body = body;
  }
}

export class Line {
  #secret = null; // in no storage: it goes with the tab
  #wait = null;
  #abort = null;
  #tries = 0;

  // on: event(name, data), state(word, text), refused(text): the secret is wanted, or was wrong.
  constructor(on) {
    this.on = on;
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) this.#leave("paused", "paused while nobody looks");
      else if (!this.#abort) this.open();
    });
  }

  setSecret(secret) {
    this.#secret = secret;
    this.#tries = 0;
  }

  #headers() {
    return this.#secret === null ? {} : { Authorization: this.#secret };
  }

  #leave(word, text) {
    clearTimeout(this.#wait);
    this.#abort?.abort();
    this.#abort = null;
    this.on.state(word, text);
  }

  async open() {
    clearTimeout(this.#wait);
    const abort = this.#abort = new AbortController();
    let problem = "the gateway has ended the connection";
    try {
      await this.#read(abort);
    } catch (error) {
      if (error.status === 401) {
        this.#abort = null;
        this.on.refused(this.#secret === null ? "" : "That is not the secret.");
        return;
      }
      problem = error instanceof Refused ? error.message : "the gateway does not answer";
    }
    if (this.#abort !== abort) return; // let go of on purpose
    this.#abort = null;
    const wait = WAITS[Math.min(this.#tries++, WAITS.length - 1)];
    this.on.state("down", `${problem}: trying again`);
    this.#wait = setTimeout(() => this.open(), wait * (0.75 + Math.random() / 2));
  }

  async #read(abort) {
    let watchdog = setTimeout(() => abort.abort(), SILENCE);
    try {
      const response = await fetch("live", { headers: this.#headers(), cache: "no-store", signal: abort.signal });
      if (!response.ok) throw new Refused(response.status, await response.json().catch(() => null));
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let text = "";
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        clearTimeout(watchdog);
        watchdog = setTimeout(() => abort.abort(), SILENCE);
        this.#tries = 0;
        text = takeEvents(text + value, (name, data) => {
          this.on.state("live", "live");
          this.on.event(name, data);
        });
      }
    } finally {
      clearTimeout(watchdog);
    }
  }

  async #ask(path, options) {
    const response = await fetch(path, { cache: "no-store", ...options });
    const body = await response.json().catch(() => null);
    if (!response.ok) throw new Refused(response.status, body);
    return body;
  }

  // A question, or a command with what belongs to it: the answer's JSON, or an error with what the gateway says.
  get(path) {
    return this.#ask(path, { headers: this.#headers() });
  }

  post(path, value) {
    const body = value && JSON.stringify(value);
    return this.#ask(path, {
      method: "POST", body, headers: { ...this.#headers(), ...(body && { "Content-Type": "application/json" }) },
    });
  }
}
