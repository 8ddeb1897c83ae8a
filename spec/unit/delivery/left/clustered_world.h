#pragma once

/* The world of a host of a cluster: with logs, rows that have leases, and processes that take over from one
 * another. Include it once. */

#include "delivery/delivery_internal.h"

#include "unit/delivery/logged_world.h"

/* The manager's part of the rows. */
static inline void hold(int shard_id, tg_ms until)
{
  atomic_store(&rows[shard_id].fence, 1);
  atomic_store(&rows[shard_id].lease_until, until);
}

static inline void take_lease(int shard_id)
{
  atomic_store(&rows[shard_id].fence, 0);
  atomic_store(&rows[shard_id].lease_until, 0);
}

static inline void begin_clustered_process(void)
{
  struct tg_delivery_options options = {
      .clustered = true,
      .config = &config,
      .hooks = &hooks,
      .table = (struct tg_shard_table *)rows,
      .http = (struct tg_http *)rows,
  };
  delivery = tg_delivery_new(&options);
}

/* All shards are this host's for long. */
static inline int begin_cluster(void **state)
{
  begin_world(state);
  config.queue.disk_bytes = 64 << 20;
  config.interaction.grace = 1500;
  config.rest.url = (char *)"https://discord.com/api/v10";
  tg_delivery_free(delivery);
  run_closes();
  for (int i = 0; i < 16; i++)
    hold(i, INT64_MAX);
  begin_clustered_process();
  open_log();
  for (int i = 0; i < 16; i++)
    tg_delivery_new_session(delivery, i, 7);
  return 0;
}

static inline void restart_clustered(void)
{
  end_process();
  begin_clustered_process();
  open_log();
}

/* The open request with that key; -1: there is none. */
static inline int open_key(const char *key)
{
  for (int i = 0; i < post_count; i++)
    if (posts[i].open && strcmp(posts[i].key, key) == 0)
      return i;
  return -1;
}

static inline int expect_key(const char *key)
{
  int post = open_key(key);
  if (post < 0)
    fail_msg("%s is not in flight", key);
  return post;
}

#define CLUSTERED(test) cmocka_unit_test_setup_teardown(test, begin_cluster, end_logged)
