// Takes the events from Tidegate and gives them to the bot.

import { createHash, timingSafeEqual } from "node:crypto";
import { createServer } from "node:http";
import { bot } from "./bot.js";

const { EVENT_HANDLER_SECRET_KEY, EVENT_HANDLER_URL } = process.env;
const BODY_MAX = 32 * 1024 * 1024; // GUILD_CREATE of a very large guild

// An event comes again when the bot has died, or the connection has broken, before it was acknowledged. (epoch, s) of
// a shard only grows.
const newest = new Map();

function isRepeat({ shardId, epoch, payload }) {
  const before = newest.get(shardId);
  if (before && (epoch < before.epoch || (epoch === before.epoch && payload.s <= before.s))) return true;
  newest.set(shardId, { epoch, s: payload.s });
  return false;
}

function handle(event) {
  const { payload, shardId } = event;
  if (!payload) return; // a marker: of a gap, or of guilds that have gone over to another shard
  bot.events.raw?.(payload, shardId);
  if (!payload.t || isRepeat(event)) return;
  if (event.deferred) return handleDeferred(payload.d, shardId);
  return bot.handlers[payload.t]?.(bot, payload, shardId);
}

// The bot was late or away, and Tidegate has deferred the interaction in its place: a callback would be refused, but
// a follow-up takes the place of "is thinking...".
function handleDeferred(d, shardId) {
  const interaction = bot.transformers.interaction(bot, { interaction: d, shardId });
  interaction.acknowledged = true;
  return bot.events.interactionCreate?.(interaction);
}

const digest = (text = "") => createHash("sha256").update(text).digest();
const secret = digest(EVENT_HANDLER_SECRET_KEY);

async function read(request) {
  const chunks = [];
  let length = 0;
  for await (const chunk of request) {
    length += chunk.length;
    if (length <= BODY_MAX) chunks.push(chunk); // the rest has to be read, too, to be answered
  }
  return length <= BODY_MAX ? Buffer.concat(chunks).toString() : undefined;
}

const server = createServer(async (request, response) => {
  if (!timingSafeEqual(digest(request.headers.authorization), secret)) return response.writeHead(401).end();
  const body = await read(request);
  if (body === undefined) return response.writeHead(413).end();
  // What the bot does with it is not waited for: members that it asks for come as an event, behind this one. Nor is
  // an error of the bot a reason to have the event again: it would fail as before.
  try {
    handle(JSON.parse(body));
  } catch (error) {
    bot.logger.error(error);
  }
  response.writeHead(204).end();
});

process.on("unhandledRejection", (error) => bot.logger.error(error));
process.on("SIGTERM", () => {
  server.close(() => process.exit(0));
  server.closeIdleConnections();
});

const { hostname, port } = new URL(EVENT_HANDLER_URL);
server.listen(port, hostname, () => console.log(`the bot listens on ${hostname}:${port}`));
