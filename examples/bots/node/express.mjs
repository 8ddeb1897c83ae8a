// An event handler in Node with express 5, in a copy of this folder:
//
//   npm install express
//   PORT=8081 EVENT_HANDLER_SECRET_KEY=... node express.mjs
//
// It remembers in memory what it has handled. That drops what comes twice because the gateway or the connection broke,
// but not what a bot was killed over after it was done with it and before it said so: enough where doing a thing twice
// does no harm, and plain.mjs shows how to do better. What it does is in handle.mjs.

import express from "express";
import { LIMIT, accept, isAllowed } from "./delivery.mjs";
import { handle } from "./handle.mjs";

const positions = new Map();
let stopping = false;

const app = express();

// Before the body is read: who has no secret does not get to send megabytes.
app.use((request, response, next) => {
  if (!isAllowed(request.headers.authorization)) {
    response.set("Connection", "close").sendStatus(401);
    return;
  }
  next();
});

app.use(express.json({ limit: LIMIT })); // by default 100 KB, which large guilds exceed: 413

app.post("/", async (request, response) => {
  const status = await accept(request.body, positions, handle);
  if (stopping) {
    response.set("Connection", "close");
  }
  response.sendStatus(status);
});

const server = app.listen(process.env.PORT || 8081, process.env.HOST || "127.0.0.1", (problem) => {
  if (problem) {
    throw problem;
  }
  const { address, port } = server.address();
  console.log(`Waiting for events on http://${address}:${port}`);
});
server.keepAliveTimeout = 65_000; // longer than the pauses between events, usually

// No new requests; those under way are answered, then the process ends. The gateway keeps what comes meanwhile.
for (const signal of ["SIGTERM", "SIGINT"]) {
  process.once(signal, () => {
    stopping = true;
    server.close();
    server.closeIdleConnections();
  });
}
