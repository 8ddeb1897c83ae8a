#pragma once

/* The same with a log underneath, and processes that take over from one another. Include it once. */

#include "unit/delivery/fake_world.h"

static inline void open_log(void)
{
  struct tg_error error = {0};
  if (!tg_delivery_open_logs(delivery, NULL, 1, false, &error))
    fail_msg("%s", error.message);
}

static inline int begin_logged(void **state)
{
  begin_world(state);
  config.queue.disk_bytes = 8 << 20;
  open_log();
  return 0;
}

static inline int end_logged(void **state)
{
  char command[128];
  snprintf(command, sizeof command, "rm -rf %s/log %s/sinks", state_dir, state_dir);
  tg_delivery_free(delivery);
  assert_int_equal(system(command), 0);
  return end_world(state);
}

static inline void end_process(void)
{
  end_turn();
  tg_delivery_free(delivery);
  run_closes();
  now += 10;
}

static inline void next_process(void)
{
  struct tg_delivery_options options = {
      .config = &config,
      .hooks = &hooks,
      .table = (struct tg_shard_table *)rows,
      .http = (struct tg_http *)rows,
  };
  delivery = tg_delivery_new(&options);
  open_log();
}

/* The process dies, and another one takes over. */
static inline void restart(void)
{
  end_process();
  next_process();
}

static inline void answer_all(int from, int count)
{
  for (int i = from; i < from + count; i++) {
    answer(i, 200);
    end_turn();
  }
}

static inline void assert_key(int post, const char *key) { assert_string_equal(posts[post].key, key); }

static inline void replay(int shard_id, uint64_t sequence, const char *text)
{
  struct tg_event event;
  make_event(&event, shard_id, sequence, text);
  event.replayed = true;
  tg_delivery_event(delivery, NULL, &event);
}

#define LOGGED(test) cmocka_unit_test_setup_teardown(test, begin_logged, end_logged)
