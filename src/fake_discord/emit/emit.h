#pragma once

/* Events on demand: numbered messages (by count, or so many a second), any
 * single event, text as it stands, guilds that come and go, interactions.
 *
 * A numbered message tells in d.nonce which guild it is of and its running
 * number there; guild and shard numbers are also at the start of its content
 * (payloads.h). The shard is that of the `shards` setting at start, whatever
 * shard counts clients identify with. A number is only given to an event that
 * goes into at least one session's log: while a guild has no session at all,
 * emission waits. While sessions are merely disconnected it goes on. */

#include "base/error.h"
#include "fake_discord/fake.h"
#include "fake_discord/world/event.h"

#include <jansson.h>

struct tg_fake_emitter *tg_fake_emitter_new(struct tg_fake *fake);
void tg_fake_emitter_free(struct tg_fake *fake);

/* Something changed that emission may wait for. */
void tg_fake_emit_kick(struct tg_fake *fake);

/* Drops what is still to be emitted; `numbers`: all numbers begin at 1 again. */
void tg_fake_emitter_reset(struct tg_fake *fake, bool numbers);

/* POST /emit (admin.h). NULL: `error` says why; code "none" when nobody was there to get it. */
json_t *tg_fake_emit(struct tg_fake *fake, const json_t *request, struct tg_error *error);

/* GET /sent; shard -1: all. */
json_t *tg_fake_sent(struct tg_fake *fake, int shard);

/* Puts the event into the logs of all sessions that see the guild (those of `total` shards alone; -1: all).
 * Returns how many. */
int tg_fake_dispatch_to_guild(struct tg_fake *fake, uint64_t guild_id, int64_t total,
                              struct tg_fake_event *event);
