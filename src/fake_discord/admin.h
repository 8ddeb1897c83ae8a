#pragma once

/* The admin API: JSON over plain HTTP, on a listener of its own. Keys that are
 * not listed are refused with 400, and so are wrong values; where nobody was
 * there to be acted on the answer is 409. Errors are {"error": "what and why"}.
 *
 * WHO: "shard": 3, "shards": [0, 1] or "all", "connection": 17; none: all. "total": 8 narrows it to
 * sessions (and connections) that identified with so many shards. Sessions of any numbers of shards may be
 * there at once; a guild's events go to all that it belongs to, with the same d.
 *
 * GET /state[?only=name,name]
 *   now, counters, session_start_limit {total, remaining, reset_after,
 *   max_concurrency, token_reset}, connections (live), sessions, guilds (count),
 *   faults (rules that wait), and the lists of journal.h: handshakes, identifies,
 *   resumes, closes, heartbeats_missed, commands, callbacks, webhooks, rest,
 *   sessions_lost, voices_dropped, closed_connections, violations. "at" is ms since the start.
 *   counters.identifies_by_total has those that were accepted, {"8": 8}; counters.closes_by_code the Close
 *   frames, {"client": {"1000": 4}, "server": {"4010": 1}}.
 *
 * GET /sent[?shard=N]
 *   {events, pending, unwanted, guilds: [{id, shard, first, last, count}],
 *   sessions: [{session_id, shard, total, first, last, count, written, sequence}],
 *   shards: [{shard, first, last, count, pending, sessions: those of the shard}],
 *   repeats: [{event, guild, user, count}]}. Shards are those of the `shards` setting at start, except in
 *   `sessions`, which has all. `pending` is what POST /emit still has to make; `written` is the last numbered
 *   event that left for a connection; `repeats` are what POST /emit "repeat" and repeat_rate have made.
 *
 * GET /guilds[?shard=N]   [{id, shard, voice}]; voice: {channel_id, session_id}, where the bot is in one
 * GET /settings, POST /settings {"name": value, ...}   settings.h
 *
 * POST /emit
 *   {"count": 100, "size": 1400, "rate": 50, "guild": "id", WHO}
 *       numbered MESSAGE_CREATE, `count` for each shard (or for one guild);
 *       without rate as fast as they are taken, else so many a second and shard.
 *       "total" says which shards are meant; all who see a guild get its messages
 *   {"event": "TYPING_START", "d": {...}, "guild": "id", "t": "JSON", "count": 1, WHO}
 *       one event, or several that are equal; without shards and guild by d.guild_id, if there is one.
 *       Shard 0, of each total, is where events without a guild belong. "t": what it says in the place of
 *       its name, as JSON text
 *   {"repeat": "PRESENCE_UPDATE" | "VOICE_STATE_UPDATE" | "TYPING_START", "guild": "id", "user": 0,
 *    "count": 1}
 *       equal events, counted (emit/repeats.h)
 *   {"text": "{\"op\":99}", WHO}
 *       one gateway message as it stands
 *   {"kind": "available" | "joined" | "stub" | "outage" | "left", "guild": "id", "bytes": n, "shard": n}
 *       GUILD_CREATE or GUILD_DELETE; "joined" without guild: a new one. With "total", "available", "stub"
 *       and "outage" are for sessions of so many shards alone, also for those to come; while a guild is
 *       out for them, they get nothing else of it
 *   {"interaction": 2, "count": 1, "guild": "id", "dm": true, "skew": ms, "shard": n}
 *       answers with their ids and tokens
 *
 * POST /fault {"do": ACTION, ..., WHO}
 *   done to live connections at once.
 * POST /fault {"at": POINT, "do": ACTION, ..., "count": 1 | "all", "skip": 0, "shard": n}
 *   done when it comes to that. POINT: accept (TCP), upgrade, hello (in its
 *   place), identify (in place of READY), resume (in place of the replay),
 *   heartbeat (in place of op 11), rest (with "route": "/gateway/bot", a part of
 *   the path). `shard` works where it is known: identify, resume, heartbeat.
 *   So does `total`. "then": "continue" | "instead" says whether what usually comes follows.
 *
 *   ACTION:
 *     close {code: 4000, reason}, rst, fin   with "session": "keep" | "kill" (close: by code)
 *     half_open {writes}                     does not read any more, nor write unless `writes`; TCP stays
 *     withhold {replay}                      no HELLO, READY, RESUMED, op 11; replay: all but RESUMED
 *     delay {ms, replay}                     at upgrade, rest, hello, identify, resume
 *     hang                                   at accept, upgrade, rest: no answer, ever
 *     status {status, headers, body, html, retry_after}   at upgrade, rest: that answer
 *     reconnect                              op 7
 *     invalid_session {resumable, session}   op 9; false kills the session unless session is "keep"
 *     heartbeat_request {times}              op 1
 *     message {text}                         a gateway message as it stands
 *     bytes {hex, text}                      bytes into the socket, no frame
 *     frame {opcode, fin, rsv, masked, payload}   one WebSocket frame
 *     ping {payload, times}                  with `times`, " 1", " 2", ... stand behind the payload
 *     wire {wire: {dribble, split, split_walk, fragment, pings, flush_inside, masked, rsv}}
 *                                            wire.h; lasts
 *     corrupt {times}, truncate {times}      the next messages: wrong bytes; half of the JSON text
 *     withhold_acks {times, dispatches}      lasts; dispatches: true withholds events as well
 *   now only:
 *     duplicate {times}, skip {times}        the last events again; numbers that no event has
 *     deafen {event, heals}                  the session gets no such events any more, without event none but
 *                                            READY and RESUMED; heals: until it is resumed, else as long as
 * it lives outage {guilds, times, stays}          GUILD_DELETE, and GUILD_CREATE again big_guild {bytes:
 * 20971520}            one GUILD_CREATE kill_session                           sessions of WHO; their
 * connections stay reset_token {code: 4004}               as after too many identifies clear all rules, what
 * lasts on connections, POST /pace and /differ
 *
 * POST /pace, GET /pace                        gateway/pace.h
 * POST /differ, GET /differ                    emit/differ.h
 * POST /bulk, GET /bulk, GET /bulk/recording   bulk.h
 *
 * POST /reset {"what": ["history", "faults", "settings", "sessions", "numbers"]}
 *   No body: all of them. "sessions" also cuts all connections, forgets identify
 *   buckets, a reset token, what happened to guilds, and what was still to be
 *   emitted; "settings" are again as at the start. */

#include "fake_discord/wire/http.h"

void tg_fake_admin(struct tg_fake *fake, struct tg_fake_http *http, const struct tg_fake_request *request);
