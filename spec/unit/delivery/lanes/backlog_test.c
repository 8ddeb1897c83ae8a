/* The log under the lanes: what is durable when, what is read back, what a new
 * process takes over. */

#include "unit/delivery/logged_world.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static uint64_t durable(int shard_id)
{
  uint64_t sequence;
  assert_true(tg_delivery_durable(delivery, shard_id, &sequence));
  return sequence;
}

static void an_event_is_durable_when_the_turn_ends(void **state)
{
  (void)state;
  deliver(1, "MESSAGE_DELETE", "{}");
  assert_int_equal(tg_delivery_settled(delivery, 1), 0);
  assert_int_equal(durable(1), 0);
  end_turn();
  assert_int_equal(tg_delivery_settled(delivery, 1), 1);
  assert_int_equal(durable(1), 1);
  assert_int_equal(value(&rows[1].durable_sequence), 1);
  assert_int_equal(value(&rows[1].delivered_sequence), 0);
  answer(the_open_post(), 200);
  assert_int_equal(value(&rows[1].delivered_sequence), 1);
}

static void filtered_events_are_durable(void **state)
{
  (void)state;
  hooks.want[TG_EVENT_TYPING_START] = TG_WANT_DROP;
  deliver(1, "TYPING_START", "{}");
  deliver(1, "TYPING_START", "{}");
  end_turn();
  assert_int_equal(tg_delivery_settled(delivery, 1), 2);
  assert_int_equal(open_posts, 0);
}

static void a_new_session_begins_at_nothing(void **state)
{
  (void)state;
  deliver(1, "MESSAGE_DELETE", "{}");
  end_turn();
  tg_delivery_new_session(delivery, 1, 8);
  assert_int_equal(durable(1), 0);
  assert_int_equal(value(&rows[1].durable_sequence), 0);
}

static void memory_is_a_window(void **state)
{
  (void)state;
  config.queue.memory_bytes = 16 * 2000;
  for (int i = 0; i < 200; i++)
    deliver(i % 2, "MESSAGE_DELETE", "{\"id\":\"1\"}");
  end_turn();
  assert_int_equal(value(&rows[0].queued_events), 100);
  assert_int_equal(tg_delivery_settled(delivery, 0), 100);
  for (int i = 0; i < 200; i++) {
    char key[32];
    snprintf(key, sizeof key, "%d.7.%d", i % 2, i / 2 + 1);
    assert_key(i, key);
    if (i == 100) /* in between more comes: behind all the rest */
      deliver(0, "MESSAGE_UPDATE", "{}");
    answer_all(i, 1);
  }
  assert_key(200, "0.7.101");
  answer(200, 200);
  assert_int_equal(open_posts, 0);
  assert_int_equal(value(&rows[0].queued_events), 0);
  assert_int_equal(value(&rows[0].queued_bytes), 0);
}

/* What waits says of how many shards it was, if the version that wrote it did. */
static void bodies_tell_the_total_of_their_time(void **state)
{
  (void)state;
  static const int totals[] = {0, 4, 16};
  static const char *const told[] = {"", ",\"totalShards\":4", ",\"totalShards\":16"};
  for (uint64_t i = 0; i < 3; i++) {
    total_shards = totals[i];
    restart();
    tg_delivery_adopt_session(delivery, 3, 7, i);
    deliver_as(3, i + 1, "{\"t\":\"TYPING_START\",\"s\":1,\"op\":0,\"d\":{}}");
  }
  restart();
  for (int i = 0; i < 3; i++) {
    char expected[160];
    snprintf(expected, sizeof expected, "{\"shardId\":3%s,\"epoch\":7,\"message\":%s}", told[i],
             "{\"t\":\"TYPING_START\",\"s\":1,\"op\":0,\"d\":{}}");
    int post = the_open_post();
    assert_string_equal(posts[post].body, expected);
    answer(post, 200);
  }
  assert_int_equal(open_posts, 0);
}

static void a_new_process_takes_over(void **state)
{
  (void)state;
  for (int i = 0; i < 5; i++)
    deliver(3, "MESSAGE_DELETE", "{ \"id\" : \"1\" }");
  answer_all(0, 2);
  restart();
  int first = the_open_post();
  tg_delivery_adopt_session(delivery, 3, 7, 4); /* a moment old */
  assert_int_equal(tg_delivery_settled(delivery, 3), 5);
  assert_string_equal(posts[first].body,
                      "{\"shardId\":3,\"totalShards\":16,\"epoch\":7,\"message\":"
                      "{\"t\":\"MESSAGE_DELETE\",\"s\":3,\"op\":0,\"d\":{ \"id\" : \"1\" }}}");
  assert_key(first, "3.7.3");
  deliver_as(3, 5, "{\"t\":\"MESSAGE_DELETE\",\"s\":5,\"op\":0,\"d\":{}}"); /* a replay of what is there */
  assert_int_equal(value(&rows[3].replayed), 1);
  deliver(3, "MESSAGE_DELETE", "{}");
  answer_all(first, 4);
  assert_key(first + 3, "3.7.6");
  assert_int_equal(open_posts, 0);
  assert_int_equal(value(&rows[3].delivered), 6);
}

static void takes_over_twice(void **state)
{
  (void)state;
  deliver(3, "MESSAGE_DELETE", "{}");
  restart();
  tg_delivery_adopt_session(delivery, 3, 7, 1);
  deliver(3, "MESSAGE_DELETE", "{}");
  restart();
  tg_delivery_adopt_session(delivery, 3, 7, 2);
  deliver(3, "MESSAGE_DELETE", "{}");
  int first = the_open_post();
  answer_all(first, 3);
  assert_key(first, "3.7.1");
  assert_key(first + 1, "3.7.2");
  assert_key(first + 2, "3.7.3");
  assert_int_equal(open_posts, 0);
}

static void dead_letters_of_what_was_read_back(void **state)
{
  (void)state;
  char path[128], text[400] = "";
  deliver(3, "MESSAGE_DELETE", "{\"id\":\"7\"}");
  restart();
  for (int i = 0; i < 3; i++) {
    answer(the_open_post(), 400);
    advance(10000);
  }
  snprintf(path, sizeof path, "%s/dead.jsonl", state_dir);
  FILE *file = fopen(path, "r");
  assert_non_null(file);
  assert_non_null(fgets(text, sizeof text, file));
  fclose(file);
  assert_non_null(strstr(text, "\"s\":1"));
  assert_non_null(strstr(text, "{\"id\":\"7\"}"));
}

static void a_lost_session_is_told(void **state)
{
  (void)state;
  config.event_handler.markers = true;
  deliver(2, "MESSAGE_DELETE", "{}");
  tg_delivery_new_session(delivery, 2, epochs[2] = 8);
  next_sequence[2] = 0;
  deliver(2, "READY", "{}");
  answer_all(0, 3);
  assert_key(0, "2.7.1");
  assert_string_equal(posts[1].body,
                      "{\"shardId\":2,\"totalShards\":16,\"epoch\":7,\"gap\":{\"from\":2,\"reason\":\"session_lost\"}}");
  assert_key(1, "2.7.gap-1");
  assert_key(2, "2.8.1");
}

static void what_never_came_is_told(void **state)
{
  (void)state;
  config.event_handler.markers = true;
  deliver(2, "MESSAGE_DELETE", "{}");
  deliver_as(2, 5, "{\"t\":\"MESSAGE_DELETE\",\"s\":5,\"op\":0,\"d\":{}}");
  answer_all(0, 3);
  assert_string_equal(
      posts[1].body,
      "{\"shardId\":2,\"totalShards\":16,\"epoch\":7,\"gap\":{\"from\":2,\"to\":4,\"count\":3,\"reason\":\"skipped\"}}");
  assert_key(2, "2.7.5");
}

/* The number of a RESUMED that never came is missing from the next replay. */
static void a_resumed_that_was_cut_off_is_no_gap(void **state)
{
  (void)state;
  deliver(2, "MESSAGE_DELETE", "{}");
  atomic_store(&rows[2].unheard, 3); /* two of them were cut off, and one is under way */
  replay(2, 4, "{\"t\":\"MESSAGE_DELETE\",\"s\":4,\"op\":0,\"d\":{}}");
  assert_int_equal(value(&rows[2].gaps), 0);
  assert_int_equal(atomic_load(&rows[2].unheard), 3); /* the next process may find them missing, too */
  replay(2, 6, "{\"t\":\"MESSAGE_DELETE\",\"s\":6,\"op\":0,\"d\":{}}"); /* this one's is still to come */
  assert_int_equal(value(&rows[2].gaps), 1);
  replay(2, 7, "{\"t\":\"RESUMED\",\"s\":7,\"op\":0,\"d\":{}}");
  assert_int_equal(atomic_load(&rows[2].unheard), 3);
  end_turn();
  assert_int_equal(atomic_load(&rows[2].unheard), 0);
  deliver_as(2, 9, "{\"t\":\"MESSAGE_DELETE\",\"s\":9,\"op\":0,\"d\":{}}");
  assert_int_equal(value(&rows[2].gaps), 2);
}

/* The log refuses to grow, as a full disk makes it. */
static void set_file_size(rlim_t size)
{
  struct rlimit limit;
  getrlimit(RLIMIT_FSIZE, &limit);
  limit.rlim_cur = size;
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void what_the_log_refuses_stays_in_memory(void **state)
{
  (void)state;
  signal(SIGXFSZ, SIG_IGN);
  deliver(1, "MESSAGE_DELETE", "{}");
  end_turn();
  set_file_size(1);
  for (int i = 0; i < 3; i++) {
    deliver(1, "MESSAGE_DELETE", "{}");
    end_turn();
  }
  assert_non_null(strstr(logged, "the log cannot be written"));
  assert_int_equal(tg_delivery_settled(delivery, 1), 1); /* what the next process would know */
  assert_int_equal(durable(1), 4);                       /* what this one can stand for */
  answer(0, 200);
  assert_key(1, "1.7.2");
  set_file_size(RLIM_INFINITY);
  advance(2000);
  end_turn();
  assert_non_null(strstr(logged, "the log is written again"));
  assert_int_equal(tg_delivery_settled(delivery, 1), 4);
  answer_all(1, 3);
  assert_int_equal(open_posts, 0);
}

/* Answers everything, in order; what a marker names counts as told. Returns how many events were told. */
static int take_all(int shard_id)
{
  uint64_t expected = 1, from, to, told = 0;
  set_file_size(RLIM_INFINITY);
  advance(2000);
  for (int post = 0; open_posts > 0; post++) {
    char key[32];
    const char *gap = strstr(posts[post].body, "\"gap\":{\"from\":");
    if (gap) {
      assert_int_equal(sscanf(gap, "\"gap\":{\"from\":%lu,\"to\":%lu", &from, &to), 2);
      assert_int_equal(from, expected);
      told += to - from + 1;
      expected = to + 1;
    } else {
      snprintf(key, sizeof key, "%d.7.%d", shard_id, (int)expected++);
      assert_key(post, key);
    }
    answer_all(post, 1);
  }
  assert_int_equal(expected, next_sequence[shard_id] + 1);
  return (int)told;
}

/* A full memory is no reason to lose what is in the log already. */
static void a_window_is_given_back_before_anything_is_dropped(void **state)
{
  (void)state;
  char data[1100];
  snprintf(data, sizeof data, "{\"id\":\"%0*d\"}", 1000, 1);
  signal(SIGXFSZ, SIG_IGN);
  config.queue.disk_bytes = 1 << 20;
  config.queue.memory_bytes = 60000;
  config.event_handler.markers = true;
  restart();
  for (int i = 0; i < 100; i++)
    deliver(1, "MESSAGE_DELETE", data);
  end_turn();
  assert_int_equal(tg_delivery_settled(delivery, 1), 100);
  set_file_size(1);
  while (!strstr(logged, "the log cannot be written"))
    deliver(1, "MESSAGE_DELETE", data);
  for (int i = 0; i < 20; i++)
    deliver(1, "MESSAGE_DELETE", data);
  assert_int_equal(value(&rows[1].dropped), 0);
  for (int i = 0; i < 60; i++)
    deliver(1, "MESSAGE_DELETE", data);
  int dropped = (int)value(&rows[1].dropped);
  assert_in_range(dropped, 20, 60);
  assert_int_equal(take_all(1), dropped);
}

/* After a restart the shard's events come, in order, from the log alone. */
static void expect_all_in_log(int shard_id)
{
  char key[32];
  assert_int_equal(tg_delivery_settled(delivery, shard_id), next_sequence[shard_id]);
  restart();
  int first = the_open_post();
  for (int i = 0; i < (int)next_sequence[shard_id]; i++) {
    snprintf(key, sizeof key, "%d.7.%d", shard_id, i + 1);
    assert_key(first + i, key);
    answer_all(first + i, 1);
  }
  assert_int_equal(open_posts, 0);
  assert_int_equal(value(&rows[shard_id].dropped), 0);
}

static void what_it_refused_goes_into_the_log_before_what_comes_next(void **state)
{
  (void)state;
  signal(SIGXFSZ, SIG_IGN);
  deliver(1, "MESSAGE_DELETE", "{}");
  end_turn();
  set_file_size(1);
  for (int i = 0; i < 3; i++) {
    deliver(1, "MESSAGE_DELETE", "{}");
    end_turn();
  }
  set_file_size(RLIM_INFINITY);
  deliver(1, "MESSAGE_DELETE", "{}");
  end_turn(); /* too early to try, and nothing may come before the others */
  assert_int_equal(tg_delivery_settled(delivery, 1), 1);
  advance(1000);
  end_turn();
  assert_non_null(strstr(logged, "the log is written again, and has 3 events"));
  deliver(1, "MESSAGE_DELETE", "{}");
  end_turn();
  expect_all_in_log(1);
}

/* More than is written in one turn, behind what is in the log alone. */
static void much_that_was_refused_goes_into_the_log_bit_by_bit(void **state)
{
  (void)state;
  enum { LENGTH = 100000, LOGGED = 100, REFUSED = 100 };
  char *data = malloc(LENGTH + 20);
  snprintf(data, LENGTH + 20, "{\"id\":\"%0*d\"}", LENGTH, 1);
  signal(SIGXFSZ, SIG_IGN);
  config.queue.disk_bytes = 256 << 20;
  config.queue.memory_bytes = 16 << 20;
  restart();
  for (int i = 0; i < LOGGED; i++)
    deliver(1, "MESSAGE_DELETE", data);
  end_turn();
  set_file_size(1);
  for (int i = 0; i < REFUSED; i++) {
    deliver(1, "MESSAGE_DELETE", data);
    end_turn();
  }
  set_file_size(RLIM_INFINITY);
  advance(1000);
  uint64_t settled = tg_delivery_settled(delivery, 1);
  assert_in_range(settled, LOGGED, LOGGED + 1);
  for (int turns = 0; turns < 3; turns++) {
    end_turn();
    assert_true(tg_delivery_settled(delivery, 1) > settled);
    settled = tg_delivery_settled(delivery, 1);
    advance(1);
  }
  free(data);
  expect_all_in_log(1);
}

/* The process ends in a handler. */
static void die(struct tg_script *script, struct tg_shard *shard, struct tg_event *event)
{
  (void)script;
  (void)shard;
  if (event->sequence == 2)
    _exit(42);
}

static int handled;

static void count_handled(struct tg_script *script, struct tg_shard *shard, struct tg_event *event)
{
  (void)script;
  (void)shard;
  (void)event;
  handled++;
}

static void an_event_is_in_the_log_before_its_handlers_run(void **state)
{
  (void)state;
  int status;
  hooks.want[TG_EVENT_MESSAGE_DELETE] = TG_WANT_HANDLER;
  hooks.dispatch = die;
  deliver(1, "MESSAGE_DELETE", "{}");
  end_turn();
  pid_t pid = fork();
  assert_true(pid >= 0);
  if (pid == 0)
    deliver(1, "MESSAGE_DELETE", "{}");
  assert_int_equal(waitpid(pid, &status, 0), pid);
  assert_int_equal(WEXITSTATUS(status), 42);
  hooks.dispatch = count_handled;
  handled = 0;
  next_sequence[1] = 2;
  answer(the_open_post(), 500);
  restart();
  tg_delivery_adopt_session(delivery, 1, 7, 1); /* what the table knows; the log knows more */
  assert_int_equal(tg_delivery_settled(delivery, 1), 2);
  deliver(1, "MESSAGE_DELETE", "{}");
  assert_int_equal(handled, 1);
}

static void what_comes_again_does_not_meet_the_handlers_again(void **state)
{
  (void)state;
  hooks.want[TG_EVENT_MESSAGE_DELETE] = TG_WANT_HANDLER;
  hooks.dispatch = count_handled;
  handled = 0;
  for (int i = 0; i < 3; i++)
    deliver(1, "MESSAGE_DELETE", "{}");
  end_turn();
  assert_int_equal(handled, 3);
  tg_delivery_adopt_session(delivery, 2, 7, 0);
  atomic_store(&rows[2].handled_epoch, 7);
  atomic_store(&rows[2].handled_sequence, 2);
  tg_delivery_adopt_session(delivery, 2, 7, 0);
  for (int i = 0; i < 3; i++)
    deliver(2, "MESSAGE_DELETE", "{}");
  assert_int_equal(handled, 4);
  assert_int_equal(value(&rows[2].queued_events), 3); /* but they are delivered */
  atomic_store(&rows[3].handled_epoch, 6); /* of an earlier session */
  atomic_store(&rows[3].handled_sequence, 2);
  tg_delivery_adopt_session(delivery, 3, 7, 0);
  deliver(3, "MESSAGE_DELETE", "{}");
  assert_int_equal(handled, 5);
}

static void a_flood_of_losses_is_a_line_a_minute(void **state)
{
  (void)state;
  struct tg_buf data = {0};
  tg_buf_puts(&data, "\"");
  for (int i = 0; i < 200; i++)
    tg_buf_puts(&data, "0123456789");
  tg_buf_append(&data, "\"", 2);
  config.queue.disk_bytes = 512 << 10;
  config.queue.memory_bytes = 64 << 10;
  tg_delivery_reconfigure(delivery, &config);
  for (int i = 0; i < 2000; i++) {
    deliver(i % 4, "MESSAGE_DELETE", data.data);
    if (i % 16 == 0)
      end_turn();
  }
  tg_buf_free(&data);
  end_turn();
  int lines = 0;
  for (const char *at = logged; (at = strstr(at, "events are lost")) != NULL; at++)
    lines++;
  assert_int_equal(lines, 1);
  uint64_t lost = 0, gaps = 0;
  for (int i = 0; i < 4; i++) {
    lost += value(&rows[i].dropped);
    gaps += value(&rows[i].gaps);
  }
  assert_in_range(lost, 1000, 2000);
  assert_in_range(gaps, 5, 2000);
  clear_log();
  advance(60000);
  char expected[64];
  snprintf(expected, sizeof expected, "more events are lost, in %d places", (int)gaps - 1);
  assert_non_null(strstr(logged, expected));
  clear_log();
  advance(120000);
  assert_null(strstr(logged, "are lost"));
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      LOGGED(an_event_is_durable_when_the_turn_ends),
      LOGGED(filtered_events_are_durable),
      LOGGED(a_new_session_begins_at_nothing),
      LOGGED(memory_is_a_window),
      LOGGED(a_new_process_takes_over),
      LOGGED(bodies_tell_the_total_of_their_time),
      LOGGED(takes_over_twice),
      LOGGED(dead_letters_of_what_was_read_back),
      LOGGED(a_lost_session_is_told),
      LOGGED(what_never_came_is_told),
      LOGGED(a_resumed_that_was_cut_off_is_no_gap),
      LOGGED(what_the_log_refuses_stays_in_memory),
      LOGGED(a_window_is_given_back_before_anything_is_dropped),
      LOGGED(what_it_refused_goes_into_the_log_before_what_comes_next),
      LOGGED(much_that_was_refused_goes_into_the_log_bit_by_bit),
      LOGGED(a_flood_of_losses_is_a_line_a_minute),
      LOGGED(an_event_is_in_the_log_before_its_handlers_run),
      LOGGED(what_comes_again_does_not_meet_the_handlers_again),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
