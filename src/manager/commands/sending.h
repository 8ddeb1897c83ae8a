#pragma once

/* Commands on their way to the worker of their shard. They wait for a worker
 * that is not up and a shard that is not started; and when the worker dies
 * before it has said that a command was sent, that one goes out again, once:
 * one that kills its worker must not do so for ever. */

#include "manager/env.h"
#include "manager/workers/workers.h"
#include "shard/shard.h"

struct tg_sendings;

struct tg_send_options {
  tg_ms timeout;
  enum tg_send_priority priority;
  tg_ms forward_until; /* replies by events are wanted until then; 0: they are not */
};

/* All is borrowed. */
struct tg_sendings *tg_sendings_new(const struct tg_manager_env *env, struct tg_workers *workers);
/* Ends those that no worker has; the others are answered by it, or by the end of
 * its line. */
void tg_sendings_stop(struct tg_sendings *sendings);
/* The shards of that set are about to be no more: the same, of what waits for them. */
void tg_sendings_set_over(struct tg_sendings *sendings, const struct tg_shard_set *set);
/* The shard has gone to another host: so does what waits for it here. */
void tg_sendings_left(struct tg_sendings *sendings, const struct tg_managed_shard *shard);
/* After the end of the workers. */
void tg_sendings_free(struct tg_sendings *sendings);

/* Replies when the command was sent, or could not be in time. Steals `payload`. */
void tg_send_command(struct tg_sendings *sendings, const struct tg_managed_shard *shard, json_t *payload,
                     const struct tg_send_options *options, tg_manager_reply *reply, void *ctx);

/* The worker of the shard has it now: what waits for that goes. */
void tg_sendings_go(struct tg_sendings *sendings, const struct tg_managed_shard *shard);
