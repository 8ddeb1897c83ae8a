#pragma once

/* Privileged intents that may be done without (optional_intents). Discord answers
 * 4014 to an IDENTIFY with one that is not switched on for the bot, or whose
 * yearly review has lapsed; it does not say which. Then GET /applications/@me is
 * asked which are allowed, and all shards identify without those that are not;
 * where that is not to be had, or does not explain it, without all optional ones
 * at once: each further guess would cost an identify of the day's.
 *
 * What IDENTIFY is to do without stands in the rows of the shard table, where the
 * workers read it; what the session of a shard was made without stands there, too,
 * and outlives the gateway as the session does. Sessions that run go on.
 *
 *     4014 -> refused: true, the shard is `again` told to identify in a moment
 *                      false, the gateway cannot go on
 *
 * After a day, and after a restart, IDENTIFY has all of them again. After a reload,
 * too, as far as Discord says that they are allowed; then shards also get new
 * sessions. The log says once an hour what shards do without. */

#include "manager/env.h"

struct tg_optional_intents;

struct tg_optional_events {
  /* The shard, whose session is gone, is to identify. */
  void (*again)(void *ctx, struct tg_managed_shard *shard);
  /* The shard is to end its session, and to identify. */
  void (*renew)(void *ctx, struct tg_managed_shard *shard);
};

struct tg_optional_intents *tg_optional_new(const struct tg_manager_env *env,
                                            const struct tg_optional_events *events, void *ctx);
/* The shards are known: the first IDENTIFYs ask for all. */
void tg_optional_begin(struct tg_optional_intents *optional);
/* So are those of a second set: they do without what the others do without. */
void tg_optional_begin_next(struct tg_optional_intents *optional);
/* Nothing is asked any more. */
void tg_optional_end(struct tg_optional_intents *optional);
void tg_optional_free(struct tg_optional_intents *optional);

/* Discord has closed the shard with 4014; `intents`: those it had identified with.
 * False: none of them is optional. */
bool tg_optional_refused(struct tg_optional_intents *optional, struct tg_managed_shard *shard,
                         uint64_t intents);

/* From time to time, while all shards were up once. */
void tg_optional_look(struct tg_optional_intents *optional, tg_ms now);

/* Asks which are allowed now. The next IDENTIFY asks for these again, and shards that
 * lack them get new sessions, one after another. */
void tg_optional_reloaded(struct tg_optional_intents *optional);

/* ms until they are asked for again; -1: none is left out now. */
tg_ms tg_optional_retry_in(const struct tg_optional_intents *optional);
uint64_t tg_optional_withheld(const struct tg_optional_intents *optional);

/* Those of `intents` that sessions were made without, and how many shards have such a session. */
uint64_t tg_optional_missing(const struct tg_shard_set *shards, uint64_t intents, int *count);
