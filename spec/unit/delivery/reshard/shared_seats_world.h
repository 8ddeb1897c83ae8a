#pragma once

/* A host of a cluster while its bot goes over from one shard to two: its processes, and what they tell of the
 * class. Include it once. */

#include "unit/delivery/left/clustered_world.h"
#include "unit/delivery/reshard/seats_world.h"

#include <unistd.h>

static int old_side; /* of this host: sides change places with each change that it has been in */

static struct {
  int count;
  char state[16];
  bool through;
  char *file; /* the last one */
} told;

static inline void on_class(void *ctx, int number, const char *state, json_t *figures, const char *file)
{
  (void)ctx;
  assert_int_equal(number, 0);
  told.count++;
  snprintf(told.state, sizeof told.state, "%s", state);
  told.through = json_is_true(json_object_get(figures, "through"));
  if (!file[0])
    return;
  free(told.file);
  told.file = tg_strdup(file);
}

/* --- hosts ----------------------------------------------------------------------------------- */

static inline void hold_row(struct tg_shard_row *row, bool held)
{
  atomic_store(&row->fence, held ? 1 : 0);
  atomic_store(&row->lease_until, held ? INT64_MAX : 0);
}

static inline void take_seats(void)
{
  static const int numbers[] = {0};
  const struct tg_delivery_classes classes = {
      .from = 1, .to = 2, .old_side = old_side, .numbers = numbers, .count = 1};
  tg_delivery_add_side(delivery, !old_side, (struct tg_shard_table *)new_rows, 0);
  tg_delivery_take_seats(delivery, &classes);
}

static inline void begin_process(void)
{
  struct tg_delivery_options options = {
      .clustered = true,
      .seats_follow = true,
      .config = &config,
      .hooks = &hooks,
      .side = old_side,
      .table = (struct tg_shard_table *)rows,
      .http = (struct tg_http *)rows,
      .class_told = on_class,
  };
  delivery = tg_delivery_new(&options);
  open_log();
}

static inline void restart_host(void)
{
  end_process();
  begin_process();
  take_seats();
}

/* Its log and its class's file are there no more; the rows are as they are. */
static inline void forget_disk(void)
{
  char command[128];
  snprintf(command, sizeof command, "rm -rf %s/log %s/reshard.0", state_dir, state_dir);
  assert_int_equal(system(command), 0);
}

static inline int begin_change(void **state)
{
  begin_world(state);
  config.queue.disk_bytes = 64 << 20;
  tg_delivery_free(delivery);
  run_closes();
  memset(new_rows, 0, sizeof new_rows);
  next_rows = new_rows;
  old_side = OLD;
  epoch_of[OLD][0] = OLD_EPOCH;
  put_session(&rows[0], "old", OLD_EPOCH);
  hold_row(&rows[0], true);
  hold_row(&new_rows[0], true);
  hold_row(&new_rows[1], true);
  begin_process();
  take_seats();
  ready(0);
  ready(1);
  advance(1000);
  return 0;
}

static inline int end_change(void **state)
{
  free(told.file);
  memset(&told, 0, sizeof told);
  end_process();
  forget_disk();
  begin_process();
  return end_logged(state);
}

static inline bool has_file(void)
{
  char path[128];
  snprintf(path, sizeof path, "%s/reshard.0", state_dir);
  return access(path, F_OK) == 0;
}

static inline void published(void)
{
  tg_delivery_class_published(delivery, 0);
  end_turn();
  advance(0);
}

static inline uint64_t durable_of(const struct tg_shard_row *row)
{
  return atomic_load(&row->durable_sequence);
}

static inline uint64_t owed_of(struct tg_shard_row *row)
{
  uint64_t epoch, sequence;
  tg_row_owed(row, &epoch, &sequence);
  return sequence;
}

/* Both have shown 100, the new one is ahead of the old one by 101. */
static inline void switch_in_the_middle(void)
{
  overlap();
  message(OLD, 0, 1, 100);
  message(NEW, 0, 2, 100);
  message(NEW, 0, 3, 101);
  answer_everything();
  switch_over(false);
}
