#pragma once

/* Who a request of the admin API is about: "shard": 3, "shards": [0, 1],
 * "shards": "all", "connection": 17; none of them: all. With "total": 8 only
 * those of so many shards; without it, of any number of them. */

#include "fake_discord/gateway/conn.h"
#include "fake_discord/gateway/session.h"

struct tg_fake_target {
  bool all;             /* nothing narrows it */
  bool any_shard;       /* nothing but perhaps `total` does */
  int64_t connection; /* -1: not by connection */
  const json_t *shards; /* array; borrowed from the request */
  int64_t shard;        /* -1: not by one shard */
  int64_t total;        /* -1: of any number of shards */
};

bool tg_fake_target_parse(const json_t *request, struct tg_fake_target *target, struct tg_error *error);
bool tg_fake_target_has_shard(const struct tg_fake_target *target, int shard_id, int total);
bool tg_fake_target_has_conn(const struct tg_fake_target *target, const struct tg_fake_conn *conn);

/* The keys above and `keys` are all that `request` may have; ends with NULL. */
bool tg_fake_check_keys(const json_t *request, const char *const *keys, struct tg_error *error);
