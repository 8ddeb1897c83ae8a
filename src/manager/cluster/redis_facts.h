#pragma once

/* What a Redis says of itself (INFO), and whether a cluster may meet there. Pure. */

#include "base/error.h"
#include "base/json_scan.h"

#include <stdbool.h>

enum { TG_RUN_ID_SIZE = 64, TG_POLICY_SIZE = 32 };

/* Empty: it does not say so. */
struct tg_redis_facts {
  char run_id[TG_RUN_ID_SIZE]; /* another one with each process */
  char policy[TG_POLICY_SIZE]; /* what goes when its memory is full */
  bool is_replica;
};

/* `info`: text of INFO; .at NULL: none. */
void tg_redis_facts_read(struct tg_span info, struct tg_redis_facts *facts);

/* `name` of the Redis. False: "readonly", "eviction", or "protocol" when it has no run id. */
bool tg_redis_facts_check(const struct tg_redis_facts *facts, const char *name, struct tg_error *error);

/* It evicts, but nothing of the cluster. */
bool tg_redis_facts_are_doubtful(const struct tg_redis_facts *facts);
