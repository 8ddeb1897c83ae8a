#pragma once

/* Commands to shards that other hosts of the cluster have, and to who leads it. Whoever has a shard is asked
 * of Redis; the call (a method of gateway.manager, and its arguments as they came) goes into that host's
 * stream, is done there by the default of the method, for an override of the script has run where it was
 * called, and its answer comes back in the stream of who has asked.
 *
 *     elsewhere -> "command" -> the other host -> default -> "answer" -> reply
 *
 * A call waits while no host has the shard, or Redis is away, as one waits for a worker that is down. Each
 * has an id, by which Redis knows whether somebody has begun it: so it is done once or not at all, also when
 * who was asked has died, or has just given the shard away, and it is asked again of who has the shard by
 * then. Where nobody can tell, the error says so. Answers may be larger than an entry: they come in parts,
 * each when the one before has been read. */

#include "manager/cluster/link.h"
#include "manager/env.h"

struct tg_post_office;

/* `env` is borrowed; `host`: name of this one. */
struct tg_post_office *tg_post_new(const struct tg_manager_env *env, const char *host);
/* Answers all that wait with "stopping". The link may be gone from then on. */
void tg_post_end(struct tg_post_office *office);
/* After the end of the link, and of all calls. */
void tg_post_free(struct tg_post_office *office);

/* The link is up (again); it is borrowed until tg_post_end(). */
void tg_post_up(struct tg_post_office *office, struct tg_redis_link *link);
/* Whether no other host waits for what is done here. */
bool tg_post_at_rest(const struct tg_post_office *office);
/* An entry of this host's stream. False: it is not for this office. */
bool tg_post_heard(struct tg_post_office *office, const char *word, const char *body, size_t length);

/* True: the shard is another host's, which is asked; it has `patience` ms for that, as the method itself has
 * them, and `reply` tells its answer, or "no_holder", "redis_away", "timeout", "too_large", "queue_full",
 * "stopping". False: it is to be done here. `office` NULL: there is no cluster. */
bool tg_post_elsewhere(struct tg_post_office *office, const struct tg_managed_shard *shard,
                       enum tg_method method, const json_t *args, tg_ms patience, tg_manager_reply *reply,
                       void *ctx);
/* True: the host that leads the cluster is asked, as above, which may be this one. False: it is to be done
 * here, as there is no cluster, or as this host was asked for it because it leads. */
bool tg_post_to_leader(struct tg_post_office *office, enum tg_method method, const json_t *args,
                       tg_ms patience, tg_manager_reply *reply, void *ctx);
/* What is called now came here because Redis says that this host has it. `office` may be NULL. */
bool tg_post_asks(const struct tg_post_office *office);
