// What any server in front of a bot has to do with a request of the gateway's.

import { createHash, timingSafeEqual } from "node:crypto";

// The GUILD_CREATE of a large guild has some megabytes.
export const LIMIT = 32 * 1024 * 1024;

const secret = process.env.EVENT_HANDLER_SECRET_KEY;
const digest = (text) => createHash("sha256").update(text).digest();

// Compares digests, since the time that takes tells nothing of the secret, nor of its length. Without a secret, listen
// where nobody else can connect.
export function isAllowed(authorization) {
  return !secret || timingSafeEqual(digest(authorization ?? ""), digest(secret));
}

// Thrown by a bot that cannot do it now: the event comes again until it can.
export class TryAgain extends Error {}

const lanes = new Map();

// Takes the body of a request, decoded: an event, or a list with event_handler.batch. `positions` has get(shard) and
// set(shard, [epoch, s]), as a Map has. Resolves to the status of the answer when all of it is handled. What the gateway
// has given up waiting for comes again while it is still worked on, so each shard has one thing done at a time.
export function accept(body, positions, handle) {
  const events = Array.isArray(body) ? body : [body];
  const shard = events[0].shardId;
  const answered = (lanes.get(shard) ?? Promise.resolve()).then(() => work(events, positions, handle));
  lanes.set(shard, answered);
  return answered;
}

async function work(events, positions, handle) {
  for (const event of events) {
    if (isRepeat(event, positions)) {
      continue;
    }
    try {
      await handle(event);
    } catch (problem) {
      console.error(problem);
      return problem instanceof TryAgain ? 503 : 422; // a fault of the bot's own: tried thrice, then a dead letter
    }
    if (event.message && !event.late) {
      positions.set(event.shardId, [event.epoch, event.message.s]);
    }
  }
  return 204;
}

// (epoch, s) of a shard only grows. The Idempotency-Key has the same three numbers; of a list it names the first and
// the last, and after a crash the same events may come in other lists, so each is looked at by itself. (With
// interaction.express interactions come out of turn: remember the keys of those.) What is late comes behind others of its
// shard, and is seldom a repeat.
function isRepeat(event, positions) {
  const [epoch, s] = positions.get(event.shardId) ?? [0, 0];
  return event.message && !event.late && (event.epoch < epoch || (event.epoch === epoch && event.message.s <= s));
}
