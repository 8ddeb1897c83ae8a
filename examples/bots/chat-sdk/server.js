// The webhook on a server of one's own.

import { createServer } from "node:http";
import { handleWebhook } from "./webhook.js";

const { EVENT_HANDLER_URL } = process.env;
const BODY_MAX = 1024 * 1024;
const { hostname, port, pathname } = new URL(EVENT_HANDLER_URL);

async function read(incoming) {
  const chunks = [];
  let length = 0;
  for await (const chunk of incoming) {
    length += chunk.length;
    if (length <= BODY_MAX) chunks.push(chunk); // the rest has to be read, too, to be answered
  }
  return length <= BODY_MAX ? Buffer.concat(chunks) : undefined;
}

async function answer(incoming) {
  const body = await read(incoming);
  if (incoming.method !== "POST" || new URL(incoming.url, EVENT_HANDLER_URL).pathname !== pathname) {
    return new Response(null, { status: 404 });
  }
  if (body === undefined) return new Response(null, { status: 413 });
  return handleWebhook(new Request(EVENT_HANDLER_URL, { method: "POST", headers: incoming.headers, body }));
}

const server = createServer(async (incoming, outgoing) => {
  const response = await answer(incoming).catch((error) => {
    console.error(error);
    return new Response(null, { status: 500 });
  });
  outgoing.writeHead(response.status, Object.fromEntries(response.headers));
  outgoing.end(Buffer.from(await response.arrayBuffer()));
});

process.on("SIGTERM", () => {
  server.close(() => process.exit(0));
  server.closeIdleConnections();
});

server.listen(port, hostname, () => console.log(`the bot listens at ${EVENT_HANDLER_URL}`));
