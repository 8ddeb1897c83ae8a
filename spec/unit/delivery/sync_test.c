/* queue.sync: when the log is synced, and what counts as received meanwhile. */

#include "logged_world.h"

#include "event_log/event_log.h"
#include "event_log/log_internal.h"

static int syncs, syncs_at_the_end;
static bool disk_burns;       /* tg_event_log_sync_now() fails */
static tg_log_synced *synced; /* NULL: none runs */
static void *synced_ctx;

void tg_event_log_sync(struct tg_event_log *log, uv_loop_t *loop, tg_log_synced *done, void *ctx)
{
  (void)loop;
  assert_null(synced);
  assert_false(tg_event_log_unflushed(log)); /* only what is in the file can be synced */
  syncs++;
  synced = done;
  synced_ctx = ctx;
}

bool tg_event_log_sync_now(struct tg_event_log *log, struct tg_error *error)
{
  (void)log;
  syncs_at_the_end++;
  return !disk_burns || tg_fail(error, "disk", "the log cannot be synced");
}

void tg_log_sync_detach(struct tg_event_log *log) { (void)log; }

static void end_sync(bool ok)
{
  struct tg_error error = {0};
  tg_log_synced *done = synced;
  assert_non_null(done);
  if (!ok)
    tg_fail(&error, "disk", "the disk is on fire");
  synced = NULL;
  done(synced_ctx, ok, 0, &error);
}

static int begin_synced(void **state)
{
  struct tg_error error = {0};
  begin_world(state);
  syncs = syncs_at_the_end = 0;
  synced = NULL;
  config.queue.disk_bytes = 8 << 20;
  assert_true(tg_delivery_open_logs(delivery, NULL, 1, false, &error));
  return 0;
}

static int end_synced(void **state)
{
  char command[128];
  snprintf(command, sizeof command, "rm -rf %s/log", state_dir);
  tg_delivery_free(delivery);
  assert_int_equal(syncs_at_the_end, config.queue.sync != TG_SYNC_NONE);
  assert_int_equal(system(command), 0);
  return end_world(state);
}

static uint64_t settled(void) { return tg_delivery_settled(delivery, 0); }

static void event_and_turn(void)
{
  deliver(0, "TYPING_START", "{}");
  end_turn();
}

static void none_leaves_it_to_the_kernel(void **state)
{
  (void)state;
  for (int i = 0; i < 20; i++, advance(500))
    event_and_turn();
  assert_int_equal(settled(), 20);
  assert_int_equal(syncs, 0);
}

static void interval_is_once_a_second(void **state)
{
  (void)state;
  config.queue.sync = TG_SYNC_INTERVAL;
  for (int i = 0; i < 40; i++, advance(100)) {
    event_and_turn();
    assert_int_equal(settled(), i + 1); /* nothing waits for it */
    if (synced)
      end_sync(true);
  }
  assert_in_range(syncs, 4, 5);
  advance(1000);
  end_turn();
  if (synced)
    end_sync(true);
  int before = syncs;
  for (int i = 0; i < 5; i++, advance(1000))
    end_turn();
  assert_int_equal(syncs, before); /* there was nothing new */
}

static void interval_waits_for_the_last_one(void **state)
{
  (void)state;
  config.queue.sync = TG_SYNC_INTERVAL;
  advance(1000);
  event_and_turn();
  assert_int_equal(syncs, 1);
  advance(5000); /* the disk is slow */
  event_and_turn();
  assert_int_equal(syncs, 1);
  end_sync(true);
  end_turn();
  assert_int_equal(syncs, 2);
  end_sync(true);
}

static void batch_is_before_an_event_counts_as_received(void **state)
{
  (void)state;
  config.queue.sync = TG_SYNC_BATCH;
  deliver(0, "TYPING_START", "{}");
  deliver(0, "TYPING_START", "{}");
  end_turn();
  assert_int_equal(syncs, 1); /* one for all of the turn */
  assert_int_equal(settled(), 0);
  assert_int_equal(value(&rows[0].durable_sequence), 0);
  event_and_turn();
  event_and_turn();
  assert_int_equal(syncs, 1);
  end_sync(true);
  assert_int_equal(settled(), 2); /* not what came while it ran */
  assert_int_equal(syncs, 2);
  end_sync(true);
  assert_int_equal(settled(), 4);
  assert_int_equal(syncs, 2);
  assert_int_equal(value(&rows[0].durable_sequence), 4);
}

static void batch_that_fails_counts_for_nothing(void **state)
{
  (void)state;
  config.queue.sync = TG_SYNC_BATCH;
  event_and_turn();
  end_sync(false);
  assert_int_equal(settled(), 0);
  assert_non_null(strstr(logged, "the disk is on fire"));
  event_and_turn();
  end_sync(true);
  assert_int_equal(settled(), 2);
}

/* Whoever wrote it may have been killed in front of the disk, and it is not asked for again. */
static void what_is_taken_over_is_synced_first(void **state)
{
  (void)state;
  for (enum tg_sync sync = TG_SYNC_NONE; sync <= TG_SYNC_BATCH; sync++) {
    config.queue.sync = sync;
    event_and_turn();
    if (synced)
      end_sync(true);
    end_process();
    syncs_at_the_end = 0;
    next_process();
    assert_int_equal(syncs_at_the_end > 0, sync != TG_SYNC_NONE);
  }
  event_and_turn();
  end_sync(true);
  end_process();
  disk_burns = true;
  next_process();
  disk_burns = false;
  assert_non_null(strstr(logged, "the log cannot be synced; a power cut would lose what waits in it"));
  syncs_at_the_end = 0;
}

#define SYNCED(test) cmocka_unit_test_setup_teardown(test, begin_synced, end_synced)

int main(void)
{
  const struct CMUnitTest tests[] = {
      SYNCED(none_leaves_it_to_the_kernel),        SYNCED(interval_is_once_a_second),
      SYNCED(interval_waits_for_the_last_one),     SYNCED(batch_is_before_an_event_counts_as_received),
      SYNCED(batch_that_fails_counts_for_nothing), SYNCED(what_is_taken_over_is_synced_first),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
