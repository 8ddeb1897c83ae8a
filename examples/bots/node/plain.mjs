// An event handler in Node, without a framework:
//
//   PORT=8081 EVENT_HANDLER_SECRET_KEY=... node examples/bots/node/plain.mjs
//
// It remembers in files what it has handled, one a shard, in the directory POSITIONS. So an event is not handled
// twice either when the bot was killed after it was done with it and before it said so. What it does is in handle.mjs.

import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { LIMIT, accept, isAllowed } from "./delivery.mjs";
import { handle } from "./handle.mjs";

class PositionFiles {
  #known = new Map();
  #folder;

  constructor(folder) {
    mkdirSync(folder, { recursive: true });
    this.#folder = folder;
  }

  get(shard) {
    if (!this.#known.has(shard)) {
      this.#known.set(shard, this.#read(shard));
    }
    return this.#known.get(shard);
  }

  // A file that takes the place of the old one is never half written, whenever the process dies.
  set(shard, position) {
    this.#known.set(shard, position);
    const path = `${this.#folder}/${Number(shard)}`;
    writeFileSync(`${path}.new`, JSON.stringify(position));
    renameSync(`${path}.new`, path);
  }

  #read(shard) {
    try {
      return JSON.parse(readFileSync(`${this.#folder}/${Number(shard)}`, "utf8"));
    } catch (problem) {
      if (problem.code === "ENOENT") {
        return undefined;
      }
      throw problem;
    }
  }
}

const positions = new PositionFiles(process.env.POSITIONS || "positions");
let stopping = false;

async function answer(request) {
  if (!isAllowed(request.headers.authorization)) {
    return 401;
  }
  const chunks = [];
  let size = 0;
  for await (const chunk of request) {
    size += chunk.length;
    if (size > LIMIT) {
      return 413;
    }
    chunks.push(chunk);
  }
  let body;
  try {
    body = JSON.parse(Buffer.concat(chunks));
  } catch {
    return 400;
  }
  return accept(body, positions, handle);
}

const server = createServer(async (request, response) => {
  let status;
  try {
    status = await answer(request);
  } catch (problem) {
    console.error(problem);
    status = 500; // the gateway sends it again
  }
  // A request that was refused before it was read leaves its body in the connection.
  const headers = stopping || status === 401 || status === 413 ? { Connection: "close" } : {};
  response.writeHead(status, headers).end();
});

// Longer than the pauses between events, usually: an idle connection is kept rather than made anew.
server.keepAliveTimeout = 65_000;
server.listen(process.env.PORT || 8081, process.env.HOST || "127.0.0.1", () => {
  const { address, port } = server.address();
  console.log(`Waiting for events on http://${address}:${port}`);
});

// No new requests; those under way are answered, then the process ends. The gateway keeps what comes meanwhile.
for (const signal of ["SIGTERM", "SIGINT"]) {
  process.once(signal, () => {
    stopping = true;
    server.close();
    server.closeIdleConnections();
  });
}
