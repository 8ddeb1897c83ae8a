"""An event handler in Python with aiohttp (Debian: python3-aiohttp, pip: aiohttp).

  PORT=8081 EVENT_HANDLER_SECRET_KEY=... python3 examples/bots/python/bot.py

It keeps in a database (BOT_DATABASE) what it has accepted and how far it has come in each shard, both changed in one
transaction: nothing is handled twice, whoever dies. An event is accepted as soon as it is in the database, and handled
afterwards, so that slow work holds nobody up; what was not handled when the bot ended is handled at its next start.
"""

import asyncio
import hmac
import json
import os
import socket
import sqlite3
import traceback

from aiohttp import ClientError, ClientSession, ClientTimeout, web

LIMIT = 32 * 1024 * 1024  # the GUILD_CREATE of a large guild has some megabytes; aiohttp's own limit is one
REST = os.environ.get("REST_URL") or "https://discord.com/api/v10"
SECRET = os.environ.get("EVENT_HANDLER_SECRET_KEY", "").encode()
HEADERS = {"User-Agent": "DiscordBot (https://example.com/my-bot, 1.0)"}

AUTOCOMPLETE = 4
ALREADY_ANSWERED = 40060

db = sqlite3.connect(os.environ.get("BOT_DATABASE") or "bot.sqlite", isolation_level=None)
db.executescript("""
  PRAGMA journal_mode = WAL;
  PRAGMA synchronous = NORMAL; -- outlives this process, as the gateway's own log does; for power cuts: FULL
  CREATE TABLE IF NOT EXISTS positions (shard INTEGER PRIMARY KEY, epoch INTEGER NOT NULL, s INTEGER NOT NULL);
  CREATE TABLE IF NOT EXISTS inbox (id INTEGER PRIMARY KEY, urgent INTEGER NOT NULL, event TEXT NOT NULL);
""")


# ---- accepting ----

def is_repeat(event):
    """(epoch, s) of a shard only grows: moves the shard's position on, and what does not move it has come before.

    The Idempotency-Key has the same three numbers; of a list it names the first and the last, and after a crash the
    same events may come in other lists. (With interaction.express interactions come out of turn: keep their keys.) What
    is late comes behind others of its shard, and is seldom a repeat.
    """
    if event.get("late"):
        return False
    moved = db.execute(
        "INSERT INTO positions VALUES (?, ?, ?) ON CONFLICT (shard) DO UPDATE"
        " SET epoch = excluded.epoch, s = excluded.s WHERE (excluded.epoch, excluded.s) > (epoch, s)",
        (event["shardId"], event["epoch"], event["message"]["s"])).rowcount
    return moved == 0


def keep(events, arrived):
    db.execute("BEGIN")
    with db:
        for event in events:
            message = event.get("message")
            if not message or not is_repeat(event):
                urgent = bool(message) and message["t"] == "INTERACTION_CREATE"
                db.execute("INSERT INTO inbox (urgent, event) VALUES (?, ?)", (urgent, json.dumps(event)))
    arrived.set()


async def receive(request):
    if SECRET and not hmac.compare_digest(request.headers.get("Authorization", "").encode(), SECRET):
        raise web.HTTPUnauthorized()
    try:
        body = await request.json()
    except ValueError:
        raise web.HTTPBadRequest()
    keep(body if isinstance(body, list) else [body], request.app["arrived"])
    return web.Response(status=204)


# ---- handling ----

async def handle(event, rest):
    shard = event["shardId"]
    if "gap" in event:
        gap = event["gap"]
        print(f"shard {shard} has lost {gap.get('count', 'an unknown number of')} events: {gap['reason']}", flush=True)
    if "message" not in event:  # a marker: of a gap, or of guilds that have gone over to another shard
        return
    message = event["message"]
    data = message["d"] if isinstance(message["d"], dict) else {}
    print(f"shard {shard} #{message['s']} {message['t']} {data.get('guild_id') or data.get('id') or ''}", flush=True)
    if message["t"] == "INTERACTION_CREATE":
        await answer(rest, data, event.get("deferred"))


async def answer(rest, interaction, deferred):
    """Once the gateway has deferred an interaction, what is left is to edit that answer.

    It may have done so while the event was on its way here; then Discord refuses the first answer with
    ALREADY_ANSWERED.
    """
    token, data = interaction["token"], interaction["data"]
    callback = f"/interactions/{interaction['id']}/{token}/callback"
    if interaction["type"] == AUTOCOMPLETE:
        await call(rest, "POST", callback, {"type": 8, "data": {"choices": []}})
        return
    message = {"content": f"You have used {data.get('name') or data.get('custom_id')}."}
    if not deferred:
        code = await call(rest, "POST", callback, {"type": 4, "data": message})
        if code != ALREADY_ANSWERED:
            return
    await call(rest, "PATCH", f"/webhooks/{interaction['application_id']}/{token}/messages/@original", message)


async def call(rest, method, path, body):
    """The code of an error that is final, or None; what may pass raises ClientError, and is tried again.

    Interactions need no bot token, and their own must not be logged.
    """
    async with rest.request(method, REST + path, json=body) as response:
        text = await response.text()
        if response.status < 300:
            return None
        what = f"{method} {path.split('/')[1]}: {response.status} {text[:200]}"
        if response.status == 429 or response.status >= 500:
            raise ClientError(what)
        code = json.loads(text).get("code") if text.startswith("{") else response.status
        if code != ALREADY_ANSWERED:
            print(what, flush=True)
        return code


async def work(app):
    """Handles what was accepted: interactions first, which cannot wait, the rest in order."""
    async with ClientSession(headers=HEADERS, timeout=ClientTimeout(total=5)) as rest:
        while True:
            row = db.execute("SELECT id, event FROM inbox ORDER BY urgent DESC, id LIMIT 1").fetchone()
            if row is None:
                app["arrived"].clear()
                await app["arrived"].wait()
                continue
            try:
                await handle(json.loads(row[1]), rest)
            except (ClientError, asyncio.TimeoutError) as problem:
                print(f"trying again in a second: {problem}", flush=True)
                await asyncio.sleep(1)
                continue
            except Exception:  # a fault of the bot's own: trying again would not help, and would hold up the rest
                traceback.print_exc()
            db.execute("DELETE FROM inbox WHERE id = ?", (row[0],))


async def worker(app):
    app["arrived"] = asyncio.Event()
    task = asyncio.create_task(work(app))
    print("Waiting for events on http://%s:%d" % app["address"], flush=True)
    yield
    task.cancel()  # what it was at stays in the inbox


def main():
    listening = socket.create_server((os.environ.get("HOST") or "127.0.0.1", int(os.environ.get("PORT") or 8081)))
    app = web.Application(client_max_size=LIMIT)
    app["address"] = listening.getsockname()
    app.router.add_post("/", receive)
    app.cleanup_ctx.append(worker)
    # On SIGTERM: no new requests, those under way are answered, then it ends. The gateway keeps what comes meanwhile.
    web.run_app(app, sock=listening, print=None, keepalive_timeout=65, shutdown_timeout=10, access_log=None)


main()
