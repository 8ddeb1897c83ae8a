"""A consumer of Tidegate's streams in Redis, in Python (Debian: python3-redis, pip: redis).

  REDIS_URL=redis://127.0.0.1:6379 GROUP=bot python3 consumer.py

All processes of a GROUP share the shards. A shard belongs to one of them at a time, by a lease in Redis, and is worked
on in order; what a process has left undone when it died is done by the next one before anything newer. Each shard has a
thread here, and a connection.
"""

import json
import os
import random
import signal
import socket
import threading
import time
import traceback

import redis

URL = os.environ.get("REDIS_URL") or "redis://127.0.0.1:6379"
PREFIX = os.environ.get("PREFIX") or "tidegate"
GROUP = os.environ.get("GROUP") or "bot"
LEASE = int(os.environ.get("LEASE") or 15000)  # ms until the shards of a process that died go to others
ME = f"{socket.gethostname()}-{os.getpid()}-{time.time_ns():x}"

STREAMS = f"{PREFIX}:streams"  # Tidegate's: the keys of all streams
MEMBERS = f"{PREFIX}:{GROUP}:members"
DONE = f"{PREFIX}:{GROUP}:done"  # the last id of each stream that is done
COUNTS = f"{PREFIX}:{GROUP}:counts"


# ---- what the bot does ----

def handle(shard, epoch, s, entry):
    """Each event once; again only when its process died in the middle, or what it raised three times."""
    data = json.loads(entry["d"])
    if entry.get("marker") == "gap":
        count = data.get("count", "an unknown number of")
        print(f"shard {shard} has lost {count} events: {data['reason']}", flush=True)
    if "marker" not in entry:  # or it is of a gap, or of guilds that have gone over to another shard
        print(f"shard {shard} #{s} {entry['t']} {entry['g']}", flush=True)


# ---- what has to happen in Redis at one blow ----

RENEW = """if redis.call("GET", KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call("PEXPIRE", KEYS[1], ARGV[2])"""

FREE = """if redis.call("GET", KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call("DEL", KEYS[1])"""

# What an event changes in Redis belongs in here: it is done exactly once. Here events are counted by their type.
FINISH = """if redis.call("GET", KEYS[1]) ~= ARGV[1] then return 0 end
redis.call("HSET", KEYS[3], KEYS[2], ARGV[3])
redis.call("HINCRBY", KEYS[4], ARGV[4], 1)
redis.call("XACK", KEYS[2], ARGV[2], ARGV[3])
return 1"""


# ---- connections ----

stop = threading.Event()


def with_redis(name, goes_on, work):
    """Runs work with a connection until it returns, and anew whenever that fails: Redis restarts, or is away."""
    delay = 0.1
    while goes_on():
        began = time.monotonic()
        connection = redis.Redis.from_url(URL, decode_responses=True, socket_timeout=10, socket_connect_timeout=5)
        # What the library makes of it differs between its versions.
        connection.set_response_callback("XAUTOCLAIM", lambda reply, **options: reply)
        try:
            return work(connection)
        except redis.RedisError as problem:
            print(f"{name}: {problem}", flush=True)
            if time.monotonic() - began > 10:
                delay = 0.1
            stop.wait(delay * random.uniform(0.5, 1))
            delay = min(2 * delay, 10)
        finally:
            connection.connection_pool.disconnect()


# ---- a shard of this process ----

def position(entry_id):
    epoch, s = entry_id.split("-")
    return int(epoch), int(s)


class Lane(threading.Thread):
    def __init__(self, stream, until):
        super().__init__(name=stream)
        self.stream = stream
        self.lease = f"{stream}:{GROUP}:lease"
        self.until = until
        self.given = False  # it is to go to another process, or has
        self.start()

    def is_mine(self):
        """By this process's own clock: after it was stopped, or Redis was away, somebody else may be at this shard."""
        return not stop.is_set() and not self.given and time.monotonic() < self.until

    def run(self):
        print(f"takes {self.stream}", flush=True)
        with_redis(self.stream, self.is_mine, self.work)
        print(f"leaves {self.stream}", flush=True)

    def renew(self, connection):
        until = time.monotonic() + LEASE / 1000
        if connection.eval(RENEW, 1, self.lease, ME, LEASE):
            self.until = until
        else:
            self.given = True

    def work(self, connection):
        try:
            connection.xgroup_create(self.stream, GROUP, "0", mkstream=True)
        except redis.ResponseError as problem:
            if not str(problem).startswith("BUSYGROUP"):
                raise
        self.done = position(connection.hget(DONE, self.stream) or "0-0")
        self.behind = True
        while self.is_mine():
            for entry_id, entry in self.unfinished(connection) if self.behind else self.fresh(connection):
                if not self.is_mine() or not self.take(connection, entry_id, entry):
                    break
        connection.eval(FREE, 1, self.lease, ME)

    def unfinished(self, connection):
        """What was read, by whomever, and is not acknowledged: the oldest first."""
        reply = connection.execute_command("XAUTOCLAIM", self.stream, GROUP, ME, 0, "0-0", "COUNT", 64)
        self.behind = reply[0] != "0-0" or len(reply[1]) > 0
        for entry in reply[1]:
            if entry:  # else it has been trimmed
                yield entry[0], dict(zip(entry[1][::2], entry[1][1::2]))

    def fresh(self, connection):
        reply = connection.xreadgroup(GROUP, ME, {self.stream: ">"}, count=64, block=1000)
        if not reply:
            return []
        # Whoever had this shard before may have read until just now: that comes first.
        entries = reply[0][1]
        oldest = connection.xpending_range(self.stream, GROUP, "-", "+", 1)
        self.behind = not oldest or oldest[0]["message_id"] != entries[0][0]
        return [] if self.behind else entries

    def take(self, connection, entry_id, entry):
        """False: the shard is another's, who does it as well."""
        if position(entry_id) <= self.done:
            connection.xack(self.stream, GROUP, entry_id)  # a repeat
            return True
        if not attempt(*position(entry_id), entry):
            return False
        finished = connection.eval(FINISH, 4, self.lease, self.stream, DONE, COUNTS,
                                   ME, GROUP, entry_id, entry.get("t") or entry["marker"])
        self.done = position(entry_id)
        self.given = self.given or not finished
        return not self.given


def attempt(epoch, s, entry):
    """What fails by a fault of the bot's own would fail for ever, and hold up the rest.

    False: this process ends before.
    """
    for tries in range(1, 4):
        if stop.is_set():
            break
        try:
            handle(entry["shard"], epoch, s, entry)
            return True
        except Exception:
            print(f"{entry['key']}, try {tries} of 3:", flush=True)
            traceback.print_exc()
            stop.wait(0.5 * tries)
    return not stop.is_set()


# ---- who has which shard ----

lanes = {}


def share(connection):
    """Each process has as many shards as any other, or one more."""
    while not stop.is_set():
        seconds, micros = connection.time()
        now = seconds * 1000 + micros // 1000
        connection.zadd(MEMBERS, {ME: now})
        connection.zremrangebyscore(MEMBERS, 0, now - LEASE)
        streams = sorted(connection.smembers(STREAMS))
        most = -(-len(streams) // connection.zcard(MEMBERS))
        for stream in [stream for stream, lane in lanes.items() if not lane.is_alive()]:
            del lanes[stream]
        for lane in lanes.values():
            lane.renew(connection)
        for lane in [lane for lane in lanes.values() if not lane.given][most:]:
            lane.given = True
        for stream in streams:
            if len(lanes) < most and stream not in lanes:
                until = time.monotonic() + LEASE / 1000
                if connection.set(f"{stream}:{GROUP}:lease", ME, nx=True, px=LEASE):
                    lanes[stream] = Lane(stream, until)
        stop.wait(LEASE / 5000)
    connection.zrem(MEMBERS, ME)


def main():
    # The event that is being worked on is finished; what comes behind it is the next one's.
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: stop.set())
    with_redis("shares", lambda: not stop.is_set(), share)
    for lane in lanes.values():
        lane.join()


main()
