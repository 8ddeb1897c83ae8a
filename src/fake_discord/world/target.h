#pragma once

/* Who a request of the admin API is about: "shard": 3, "shards": [0, 1],
 * "shards": "all", "connection": 17; none of them: all. */

#include "fake_discord/gateway/conn.h"
#include "fake_discord/gateway/session.h"

struct tg_fake_target {
  bool all;
  int64_t connection; /* -1: not by connection */
  const json_t *shards; /* array; borrowed from the request */
  int64_t shard;        /* -1: not by one shard */
};

bool tg_fake_target_parse(const json_t *request, struct tg_fake_target *target, struct tg_error *error);
bool tg_fake_target_has_shard(const struct tg_fake_target *target, int shard_id);
bool tg_fake_target_has_conn(const struct tg_fake_target *target, const struct tg_fake_conn *conn);

/* The keys above and `keys` are all that `request` may have; ends with NULL. */
bool tg_fake_check_keys(const json_t *request, const char *const *keys, struct tg_error *error);
