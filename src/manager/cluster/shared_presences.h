#pragma once

/* The presences that scripts and people have set, of the whole bot and of single shards, as all hosts of the
 * cluster have them: kept in Redis (scripts/presences.lua), told to each host when one changes, and read when
 * the link comes up. So a shard that moves keeps its own. They end when all hosts have. */

#include "manager/cluster/link.h"
#include "manager/reply.h"

struct tg_shared_presences;

/* A presence has changed: d of op 3; NULL: as configured, or as the whole bot. `shard_id` TG_ALL_SHARDS: of
 * the whole bot, and of each shard. Borrowed. */
typedef void tg_presence_changed(void *ctx, int shard_id, const json_t *presence);

struct tg_shared_presences *tg_shared_presences_new(const char *host, tg_presence_changed *changed,
                                                    void *ctx);
/* Who waits is told "stopping". The link may be gone from then on. */
void tg_shared_presences_end(struct tg_shared_presences *shared);
/* After the end of the link. */
void tg_shared_presences_free(struct tg_shared_presences *shared);

/* The link is up (again); it is borrowed until the end. */
void tg_shared_presences_up(struct tg_shared_presences *shared, struct tg_redis_link *link);
/* An entry of this host's stream. False: it is about something else. */
bool tg_shared_presences_heard(struct tg_shared_presences *shared, const char *word, const char *body,
                               size_t length);

/* For another program in this one's place; and there, before the link is up. */
json_t *tg_shared_presences_hand_over(const struct tg_shared_presences *shared);
void tg_shared_presences_take_over(struct tg_shared_presences *shared, const json_t *handed);

/* Tells all that there is as changes: whoever keeps them has begun. */
void tg_shared_presences_tell(struct tg_shared_presences *shared);

/* Replies true when all hosts are told, which then change it: this one, too; or "redis_away", "too_large",
 * "stopping". Borrows `presence`. */
void tg_shared_presences_set(struct tg_shared_presences *shared, int shard_id, const json_t *presence,
                             tg_manager_reply *reply, void *ctx);
