// A consumer of Tidegate's streams in Redis, in Node (npm: redis):
//
//   REDIS_URL=redis://127.0.0.1:6379 GROUP=bot node consumer.mjs
//
// All processes of a GROUP share the shards. A shard belongs to one of them at a time, by a lease in Redis, and is
// worked on in order; what a process has left undone when it died is done by the next one before anything newer.

import { hostname } from "node:os";
import { setTimeout as wait } from "node:timers/promises";
import { createClient } from "redis";

const PREFIX = process.env.PREFIX || "tidegate";
const GROUP = process.env.GROUP || "bot";
const LEASE = Number(process.env.LEASE || 15_000); // ms until the shards of a process that died go to others
const ME = `${hostname()}-${process.pid}-${Date.now().toString(36)}`;

const STREAMS = `${PREFIX}:streams`; // Tidegate's: the keys of all streams
const MEMBERS = `${PREFIX}:${GROUP}:members`;
const DONE = `${PREFIX}:${GROUP}:done`; // the last id of each stream that is done
const COUNTS = `${PREFIX}:${GROUP}:counts`;

// ---- what the bot does ----

// Each event once; again only when its process died in the middle, or what it threw three times.
async function handle({ shard, s, t, guild, data, marker }) {
  if (marker === "gap") {
    console.log(`shard ${shard} has lost ${data.count ?? "an unknown number of"} events: ${data.reason}`);
  }
  if (!marker) { // or it is of a gap, or of guilds that have gone over to another shard
    console.log(`shard ${shard} #${s} ${t} ${guild}`);
  }
}

function eventOf({ id, message: { t, g, d, shard, marker, guildCreate, deferred } }) {
  const [epoch, s] = id.split("-").map(Number);
  return { shard, epoch, s, t, guild: g, data: JSON.parse(d), marker, guildCreate, deferred: deferred === "1" };
}

// ---- what has to happen in Redis at one blow ----

const RENEW = `if redis.call("GET", KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call("PEXPIRE", KEYS[1], ARGV[2])`;

const FREE = `if redis.call("GET", KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call("DEL", KEYS[1])`;

// What an event changes in Redis belongs in here: it is done exactly once. Here events are counted by their type.
const FINISH = `if redis.call("GET", KEYS[1]) ~= ARGV[1] then return 0 end
redis.call("HSET", KEYS[3], KEYS[2], ARGV[3])
redis.call("HINCRBY", KEYS[4], ARGV[4], 1)
redis.call("XACK", KEYS[2], ARGV[2], ARGV[3])
return 1`;

// ---- connections ----

const stop = new AbortController();

function pause(ms) {
  return wait(ms, undefined, { signal: stop.signal }).catch(() => {});
}

// Runs `work` with a connection until it returns, and anew whenever that fails: Redis restarts, or is away.
async function withRedis(name, goesOn, work) {
  for (let delay = 100; goesOn(); delay = Math.min(2 * delay, 10_000)) {
    const began = performance.now();
    const redis = createClient({
      url: process.env.REDIS_URL || "redis://127.0.0.1:6379",
      socket: { reconnectStrategy: false, connectTimeout: 5000, socketTimeout: 10_000 },
    });
    redis.on("error", () => {}); // the commands tell
    try {
      await redis.connect();
      return await work(redis);
    } catch (problem) {
      if (performance.now() - began > 10_000) {
        delay = 100;
      }
      console.error(`${name}: ${problem.message || problem}`);
      await pause(delay * (0.5 + Math.random() / 2));
    } finally {
      if (redis.isOpen) {
        redis.destroy();
      }
    }
  }
}

// ---- a shard of this process ----

function isNewer(id, than) {
  const [epoch, s] = id.split("-").map(Number);
  const [thanEpoch, thanS] = than.split("-").map(Number);
  return epoch > thanEpoch || (epoch === thanEpoch && s > thanS);
}

class Lane {
  given = false; // it is to go to another process, or has

  constructor(stream, until) {
    this.stream = stream;
    this.lease = `${stream}:${GROUP}:lease`;
    this.until = until;
    this.ended = this.run();
  }

  // By this process's own clock: after it was stopped, or Redis was away, somebody else may be at this shard.
  isMine = () => !stop.signal.aborted && !this.given && performance.now() < this.until;

  async run() {
    console.log(`takes ${this.stream}`);
    await withRedis(this.stream, this.isMine, (redis) => this.work(redis));
    console.log(`leaves ${this.stream}`);
  }

  async renew(redis) {
    const until = performance.now() + LEASE;
    if (await redis.eval(RENEW, { keys: [this.lease], arguments: [ME, String(LEASE)] })) {
      this.until = until;
    } else {
      this.given = true;
    }
  }

  async work(redis) {
    await redis.xGroupCreate(this.stream, GROUP, "0", { MKSTREAM: true }).catch((problem) => {
      if (!problem.message.startsWith("BUSYGROUP")) {
        throw problem;
      }
    });
    this.done = (await redis.hGet(DONE, this.stream)) ?? "0-0";
    this.behind = true;
    while (this.isMine()) {
      for (const entry of this.behind ? await this.unfinished(redis) : await this.fresh(redis)) {
        if (!this.isMine() || !(await this.take(redis, entry))) {
          break;
        }
      }
    }
    await redis.eval(FREE, { keys: [this.lease], arguments: [ME] });
  }

  // What was read, by whomever, and is not acknowledged: the oldest first.
  async unfinished(redis) {
    const { nextId, messages } = await redis.xAutoClaim(this.stream, GROUP, ME, 0, "0-0", { COUNT: 64 });
    this.behind = messages.length > 0 || nextId !== "0-0";
    return messages.filter((entry) => entry); // of which some may have been trimmed
  }

  async fresh(redis) {
    const reply = await redis.xReadGroup(GROUP, ME, { key: this.stream, id: ">" }, { COUNT: 64, BLOCK: 1000 });
    if (!reply) {
      return [];
    }
    // Whoever had this shard before may have read until just now: that comes first.
    const entries = reply[0].messages;
    const [oldest] = await redis.xPendingRange(this.stream, GROUP, "-", "+", 1);
    this.behind = oldest?.id !== entries[0].id;
    return this.behind ? [] : entries;
  }

  // False: the shard is another's, who does it as well.
  async take(redis, entry) {
    if (!isNewer(entry.id, this.done)) {
      await redis.xAck(this.stream, GROUP, entry.id); // a repeat
      return true;
    }
    if (!(await attempt(entry))) {
      return false;
    }
    const finished = await redis.eval(FINISH, {
      keys: [this.lease, this.stream, DONE, COUNTS],
      arguments: [ME, GROUP, entry.id, entry.message.t ?? entry.message.marker],
    });
    this.done = entry.id;
    this.given ||= !finished;
    return !this.given;
  }
}

// What fails by a fault of the bot's own would fail for ever, and hold up the rest. False: this process ends
// before.
async function attempt(entry) {
  for (let tries = 1; tries <= 3 && !stop.signal.aborted; tries++) {
    try {
      await handle(eventOf(entry));
      return true;
    } catch (problem) {
      console.error(`${entry.message.key}, try ${tries} of 3:`, problem);
      await pause(500 * tries);
    }
  }
  return !stop.signal.aborted;
}

// ---- who has which shard ----

const lanes = new Map();

// Each process has as many shards as any other, or one more.
async function share(redis) {
  while (!stop.signal.aborted) {
    const [seconds, micros] = (await redis.sendCommand(["TIME"])).map(Number);
    const now = seconds * 1000 + Math.floor(micros / 1000);
    await redis.zAdd(MEMBERS, { score: now, value: ME });
    await redis.zRemRangeByScore(MEMBERS, 0, now - LEASE);
    const streams = await redis.sMembers(STREAMS);
    const most = Math.ceil(streams.length / (await redis.zCard(MEMBERS)));
    for (const lane of lanes.values()) {
      await lane.renew(redis);
    }
    const mine = [...lanes.values()].filter((lane) => !lane.given);
    for (const lane of mine.slice(most)) {
      lane.given = true;
    }
    for (const stream of streams.sort()) {
      if (lanes.size < most && !lanes.has(stream)) {
        await claim(redis, stream);
      }
    }
    await pause(LEASE / 5);
  }
  await redis.zRem(MEMBERS, ME);
}

async function claim(redis, stream) {
  const until = performance.now() + LEASE;
  const claimed = await redis.sendCommand(["SET", `${stream}:${GROUP}:lease`, ME, "NX", "PX", String(LEASE)]);
  if (claimed) {
    const lane = new Lane(stream, until);
    lanes.set(stream, lane);
    lane.ended.finally(() => lanes.delete(stream));
  }
}

// The event that is being worked on is finished; what comes behind it is the next one's.
for (const signal of ["SIGINT", "SIGTERM"]) {
  process.once(signal, () => stop.abort());
}
await withRedis("shares", () => !stop.signal.aborted, share);
await Promise.all([...lanes.values()].map((lane) => lane.ended));
