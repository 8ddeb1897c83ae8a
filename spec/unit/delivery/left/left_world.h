#pragma once

/* A cluster's host from which shards go to others; with a disk that is full, and processes that die. Include
 * it once. */

#include "unit/delivery/left/clustered_world.h"

#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

/* --- a disk that is full, and a process that dies ------------------------------------------- */

static bool disk_is_full;
static int writes_to_live = -1; /* so many are done, and then the process dies; -1: it does not */
static bool dies_behind;        /* the last of these, before anybody knows that it is done */

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t at)
{
  if (disk_is_full) {
    errno = ENOSPC;
    return -1;
  }
  if (writes_to_live == 0)
    _exit(9);
  writes_to_live -= writes_to_live > 0;
  ssize_t done = syscall(SYS_pwrite64, fd, bytes, length, at);
  if (writes_to_live == 0 && dies_behind)
    _exit(9);
  return done;
}

/* --- what is asked -------------------------------------------------------------------------- */

static struct {
  int count;
  char code[TG_ERROR_CODE_SIZE];
} left_done, filled;

static inline void on_left(void *ctx, const struct tg_error *error)
{
  (void)ctx;
  left_done.count++;
  snprintf(left_done.code, sizeof left_done.code, "%s", error ? error->code : "");
}

static inline void on_filled(void *ctx, const struct tg_error *error)
{
  (void)ctx;
  filled.count++;
  snprintf(filled.code, sizeof filled.code, "%s", error ? error->code : "");
}

/* As the manager does: first of all the lease is not this host's any more. */
static inline void leave(int shard_id)
{
  take_lease(shard_id);
  tg_delivery_leave(delivery, shard_id, on_left, NULL);
  advance(0);
}

static inline void left(int shard_id)
{
  int before = left_done.count;
  leave(shard_id);
  for (int i = 0; i < 1000 && left_done.count == before; i++)
    advance(0);
  assert_int_equal(left_done.count, before + 1);
  assert_string_equal(left_done.code, "");
  end_turn();
}

static inline void fill(int shard_id, uint64_t from, uint64_t to)
{
  const struct tg_hole hole = {{7, from}, {7, to}};
  tg_delivery_fill(delivery, shard_id, &hole, on_filled, NULL);
  advance(0);
}

/* It is this host's again, from there on. */
static inline void come_back(int shard_id, uint64_t sequence)
{
  hold(shard_id, INT64_MAX);
  tg_delivery_adopt_session(delivery, shard_id, 7, sequence);
  tg_delivery_go_on(delivery, shard_id);
  next_sequence[shard_id] = sequence;
}

static inline void receive(int shard_id, int count)
{
  for (int i = 0; i < count; i++)
    deliver(shard_id, "TYPING_START", "{}");
  end_turn();
}

static inline void take(const char *key)
{
  answer(expect_key(key), 204);
  advance(0);
}

static inline void take_late(int from, int to)
{
  char key[32];
  for (int i = from; i <= to; i++) {
    snprintf(key, sizeof key, "3.7.%d", i);
    int post = expect_key(key);
    assert_non_null(strstr(posts[post].body, ",\"late\":true}"));
    answer(post, 204);
    advance(0);
  }
}

/* In batches. */
static inline void take_all_late(uint64_t from, uint64_t to)
{
  for (uint64_t next = from; next <= to;) {
    unsigned long long first, last;
    int post = the_open_post();
    int count = sscanf(posts[post].key, "3.7.%llu-%llu", &first, &last);
    assert_true(count >= 1);
    assert_int_equal(first, next);
    for (const char *at = posts[post].body; (at = strstr(at, ",\"late\":true}")); at++)
      next++;
    assert_int_equal(next, (count == 2 ? last : first) + 1);
    answer(post, 204);
    advance(0);
  }
}

static inline int begin_left(void **state)
{
  begin_cluster(state);
  memset(&left_done, 0, sizeof left_done);
  memset(&filled, 0, sizeof filled);
  disk_is_full = false;
  writes_to_live = -1;
  return 0;
}

#define LEFT(test) cmocka_unit_test_setup_teardown(test, begin_left, end_logged)
