/* keep = "last" over the ends of processes and sessions: what is held is neither lost nor doubled. */

#include "delivery/delivery_internal.h"

#include "unit/delivery/logged_world.h"

#include <dirent.h>
#include <sys/stat.h>

static struct tg_storm_rule rules[2];
static char *names[] = {(char *)"PRESENCE_UPDATE"};
static struct tg_sink_config sink;
static char shown[256]; /* to the script's handlers */

static void set_rule(int index, enum tg_storm_per per, double rate, int burst, enum tg_storm_keep keep)
{
  rules[index] = (struct tg_storm_rule){{names, 1}, per, keep, rate, burst};
  config.storm = (struct tg_storm_config){{rules, index + 1}, true};
  if (delivery)
    tg_delivery_reconfigure(delivery, &config);
}

static void note_shown(struct tg_script *script, struct tg_shard *shard, struct tg_event *event)
{
  (void)script, (void)shard;
  size_t length = strlen(shown);
  const struct tg_held *leaves = delivery->storms.last.leaves;
  if (leaves) /* whatever the handler does to the process, it is not shown again */
    assert_null(tg_held_next(leaves->room, NULL));
  snprintf(shown + length, sizeof shown - length, "%s%llu ", event->late ? "late " : "",
           (unsigned long long)event->sequence);
}

static int begin(void **state)
{
  begin_logged(state);
  shown[0] = '\0';
  hooks.dispatch = note_shown;
  hooks.want[TG_EVENT_PRESENCE_UPDATE] = TG_WANT_HANDLER;
  set_rule(0, TG_STORM_PER_USER, 0.001, 1, TG_STORM_KEEP_LAST);
  return 0;
}

static int begin_in_memory(void **state)
{
  begin_world(state);
  config.queue.durability = TG_DURABILITY_MEMORY;
  shown[0] = '\0';
  hooks.dispatch = note_shown;
  hooks.want[TG_EVENT_PRESENCE_UPDATE] = TG_WANT_HANDLER;
  set_rule(0, TG_STORM_PER_USER, 0.001, 1, TG_STORM_KEEP_LAST);
  return 0;
}

static int files(void)
{
  char path[128];
  int count = 0;
  snprintf(path, sizeof path, "%s/storms", state_dir);
  DIR *directory = opendir(path);
  for (struct dirent *entry; directory && (entry = readdir(directory)) != NULL;)
    count += entry->d_name[0] != '.';
  if (directory)
    closedir(directory);
  return count;
}

static FILE *open_file(const char *how)
{
  char path[512];
  FILE *file = NULL;
  snprintf(path, sizeof path, "%s/storms", state_dir);
  DIR *directory = opendir(path);
  for (struct dirent *entry; directory && !file && (entry = readdir(directory)) != NULL;)
    if (entry->d_name[0] != '.') {
      snprintf(path, sizeof path, "%s/storms/%s", state_dir, entry->d_name);
      file = fopen(path, how);
    }
  closedir(directory);
  assert_non_null(file);
  return file;
}

/* Whatever a test has done, nothing is held, and no file is left. */
static int end(void **state)
{
  char path[128];
  tg_delivery_free(delivery);
  run_closes();
  assert_int_equal(files(), 0);
  snprintf(path, sizeof path, "%s/storms", state_dir);
  remove(path);
  delivery = NULL;
  tg_strings_free(&sink.handler.urls);
  config.sinks = NULL;
  config.sink_count = 0;
  config.storm = (struct tg_storm_config){.self_updates = true};
  config.state_dir = state_dir;
  return end_logged(state);
}

static void appear(uint64_t sequence, const char *user, const char *guild)
{
  char text[256];
  snprintf(
      text, sizeof text,
      "{\"t\":\"PRESENCE_UPDATE\",\"s\":%llu,\"op\":0,\"d\":{\"guild_id\":\"%s\",\"user\":{\"id\":\"%s\"}}}",
      (unsigned long long)sequence, guild, user);
  deliver_as(0, sequence, text);
}

/* Has 1 of user 5 delivered, and 2 and 3 held. */
static void hold_two(void)
{
  appear(1, "5", "1");
  appear(2, "5", "1");
  appear(3, "5", "1");
  end_turn();
  answer(0, 200);
  end_turn();
  assert_int_equal(post_count, 1);
}

static bool is_late(int post)
{
  return strstr(posts[post].body, ",\"late\":true") != NULL;
}

static void expect_late(int post, const char *key)
{
  assert_int_equal(post_count, post + 1);
  assert_key(post, key);
  assert_true(is_late(post));
  answer(post, 200);
  end_turn();
}

static void the_next_process_releases_it(void **state)
{
  (void)state;
  hold_two();
  restart();
  assert_int_equal(files(), 2);
  tg_delivery_adopt_session(delivery, 0, 7, 3);
  assert_int_equal(post_count, 1);
  tg_delivery_adopt_session(delivery, 0, 7, 3); /* it is not taken twice */
  advance(1);
  expect_late(1, "0.7.3");
  assert_string_equal(shown, "1 late 3 ");
  assert_int_equal(files(), 1); /* its own */
  restart();
  tg_delivery_adopt_session(delivery, 0, 7, 3);
  advance(10000);
  assert_int_equal(post_count, 2);
}

static void one_that_has_gone_into_the_log_is_not_released_again(void **state)
{
  (void)state;
  hold_two();
  config.storm = (struct tg_storm_config){.self_updates = true};
  tg_delivery_reconfigure(delivery, &config);
  assert_int_equal(post_count, 2);
  restart(); /* it was in flight, and waits in the log, with its name and its place */
  tg_delivery_adopt_session(delivery, 0, 7, 3);
  advance(1);
  expect_late(2, "0.7.3");
  assert_string_equal(shown, "1 late 3 ");
}

static void it_waits_for_its_shard_as_long_as_it_takes(void **state)
{
  (void)state;
  hold_two();
  restart();
  restart();
  advance(1000);
  assert_int_equal(post_count, 1);
  tg_delivery_adopt_session(delivery, 3, 7, 3); /* of another shard nothing is held */
  advance(1000);
  assert_int_equal(post_count, 1);
  tg_delivery_new_session(delivery, 0, 8);
  assert_key(1, "0.7.3");
  expect_late(1, "0.7.3");
}

static void what_is_too_old_is_dropped(void **state)
{
  (void)state;
  config.queue.max_age = 60000;
  tg_delivery_reconfigure(delivery, &config);
  hold_two();
  end_process();
  now += 70000;
  next_process();
  tg_delivery_adopt_session(delivery, 0, 7, 3);
  advance(1);
  assert_int_equal(post_count, 1);
}

/* --- what Discord sends again --- */

static void one_that_comes_again_meets_the_rules_again(void **state)
{
  (void)state;
  hold_two();
  restart();
  tg_delivery_adopt_session(delivery, 0, 7, 1);
  advance(1);
  assert_int_equal(post_count, 1);
  atomic_store(&rows[0].handled_sequence, 0);
  appear(2, "5", "1"); /* of a bucket that is full again */
  appear(3, "5", "1");
  assert_int_equal(post_count, 2);
  assert_key(1, "0.7.2");
  assert_false(is_late(1));
  answer(1, 200);
  tg_delivery_new_session(delivery, 0, 8);
  expect_late(2, "0.7.3"); /* once */
}

/* The script has been shown 4 already, and so is asked no more for what is in front of it. */
static void one_that_comes_again_behind_what_was_handled_comes_late(void **state)
{
  (void)state;
  hold_two();
  appear(4, "6", "1");
  restart();
  tg_delivery_adopt_session(delivery, 0, 7, 1);
  advance(1);
  assert_string_equal(shown, "1 4 ");
  appear(2, "5", "1");
  appear(3, "5", "1");
  appear(4, "6", "1");
  assert_string_equal(shown, "1 4 late 3 ");
  for (int i = 2; i < post_count; i++) {
    answer(i, 200);
    if (strcmp(posts[i].key, "0.7.3") == 0)
      assert_true(is_late(i));
  }
}

/* The script has been shown 2; that the rule drops it in the next process is no reason to show it again. */
static void one_that_was_handled_is_not_shown_again(void **state)
{
  (void)state;
  set_rule(0, TG_STORM_PER_USER, 0.001, 2, TG_STORM_KEEP_LAST);
  appear(1, "5", "1");
  appear(2, "5", "1");
  set_rule(0, TG_STORM_PER_USER, 0.001, 1, TG_STORM_KEEP_LAST);
  restart();
  tg_delivery_adopt_session(delivery, 0, 7, 0);
  appear(1, "5", "1");
  appear(2, "5", "1");
  tg_delivery_new_session(delivery, 0, 8);
  assert_string_equal(shown, "1 2 ");
  answer(post_count - 1, 200);
  expect_late(post_count - 1, "0.7.2");
}

static void another_session_releases_what_never_came_again(void **state)
{
  (void)state;
  hold_two();
  restart();
  tg_delivery_adopt_session(delivery, 0, 7, 0); /* which Discord does not know any more */
  advance(1);
  assert_int_equal(post_count, 1);
  tg_delivery_new_session(delivery, 0, 8);
  expect_late(1, "0.7.3");
}

/* The log of one sink is further than the other's: what was held in front of that is in neither. */
static void sinks_that_are_ahead_get_it_late(void **state)
{
  (void)state;
  end_process();
  next_process();
  tg_delivery_adopt_session(delivery, 0, 7, 0);
  hold_two();
  appear(4, "6", "1");
  end_process(); /* the bot's log has 4 */
  sink = (struct tg_sink_config){.name = (char *)"copy", .handler.timeout = 10000, .queue = config.queue};
  tg_strings_add(&sink.handler.urls, "http://copy/");
  config.sinks = &sink;
  config.sink_count = 1;
  next_process();
  tg_delivery_adopt_session(delivery, 0, 7, 1);
  advance(1);
  int before = post_count;
  for (uint64_t s = 2; s <= 3; s++)
    appear(s, "5", "1");
  const struct tg_queued *of_bot = tg_lane_of(&delivery->sinks[0]->lanes, 0)->queue.tail;
  assert_int_equal(tg_queued_name(of_bot).sequence, 3);
  assert_int_equal(of_bot->sequence, 4); /* behind what its log has */
  appear(4, "6", "1");
  end_turn();
  for (int i = before - 1; i < post_count; i++)
    if (posts[i].open)
      answer_all(i, 1);
  char got[256] = "";
  for (int i = before - 1; i < post_count; i++)
    snprintf(got + strlen(got), sizeof got - strlen(got), "%s%s%s ",
             strstr(posts[i].url, "copy") ? "copy " : "", is_late(i) ? "late " : "", posts[i].key);
  assert_string_equal(got, "0.7.4 copy 0.7.2 late 0.7.3 copy late 0.7.3 copy 0.7.4 ");
}

static void other_hosts_have_had_the_shard_since(void **state)
{
  (void)state;
  end_process();
  struct tg_delivery_options options = {
      .clustered = true,
      .config = &config,
      .hooks = &hooks,
      .table = (struct tg_shard_table *)rows,
      .http = (struct tg_http *)rows,
  };
  for (int process = 0; process < 2; process++) {
    atomic_store(&rows[0].fence, process + 1);
    atomic_store(&rows[0].lease_until, (tg_ms)now + 100000);
    delivery = tg_delivery_new(&options);
    open_log();
    tg_delivery_adopt_session(delivery, 0, 7, (uint64_t)process * 3);
    if (process == 0) {
      appear(1, "5", "1");
      appear(2, "5", "1");
      appear(3, "5", "1");
      end_turn();
      end_process();
    }
  }
  advance(1);
  assert_null(strstr(shown, "late"));
}

/* --- files --- */

static void restart_with(void (*change)(FILE *file))
{
  hold_two();
  end_process();
  FILE *file = open_file("r+");
  change(file);
  fclose(file);
  next_process();
  tg_delivery_adopt_session(delivery, 0, 7, 3);
  advance(1);
  assert_int_equal(post_count, 1);
}

static void write_garbage(FILE *file)
{
  for (int i = 0; i < 9000000; i++)
    fputc(i * 7 % 251 + 1, file);
}

static void cut_off(FILE *file)
{
  assert_int_equal(ftruncate(fileno(file), 5000), 0);
}

static void name_another_start(FILE *file)
{
  fseek(file, 8, SEEK_SET);
  fputs("00000000-0000", file);
}

static void break_the_message(FILE *file)
{
  fseek(file, 4096 + 8192 * 64, SEEK_SET);
  fputs("{\"t\":\"PRESENCE_UPDATE\",\"s\":9,", file);
}

static void point_outside(FILE *file)
{
  fseek(file, 4096 + 4, SEEK_SET);
  fputs("\xff\xff\xff\x7f", file);
}

static void garbage_counts_for_nothing(void **state)
{
  (void)state, restart_with(write_garbage);
}
static void a_file_that_is_too_short_goes(void **state)
{
  (void)state, restart_with(cut_off);
}
static void another_start_of_the_machine_ends_it(void **state)
{
  (void)state, restart_with(name_another_start);
}
static void a_message_that_is_none_is_dropped(void **state)
{
  (void)state, restart_with(break_the_message);
}
static void an_entry_that_points_outside_is_dropped(void **state)
{
  (void)state, restart_with(point_outside);
}

static void it_is_held_in_memory_where_there_is_no_file(void **state)
{
  char path[128];
  (void)state;
  end_process();
  snprintf(path, sizeof path, "%s/storms", state_dir);
  assert_int_equal(remove(path), 0);
  FILE *in_the_way = fopen(path, "w");
  fclose(in_the_way);
  next_process();
  assert_non_null(strstr(logged, "events that a rule with keep = \"last\" holds back go with their process"));
  tg_delivery_adopt_session(delivery, 0, 7, 0);
  hold_two();
  tg_delivery_new_session(delivery, 0, 8);
  expect_late(1, "0.7.3");
  remove(path);
}

static void without_a_state_directory_it_is_held_all_the_same(void **state)
{
  (void)state;
  end_process();
  config.state_dir = NULL;
  struct tg_delivery_options options = {
      .config = &config,
      .hooks = &hooks,
      .table = (struct tg_shard_table *)rows,
      .http = (struct tg_http *)rows,
  };
  delivery = tg_delivery_new(&options);
  tg_delivery_new_session(delivery, 0, 7);
  hold_two();
  tg_delivery_new_session(delivery, 0, 8);
  expect_late(1, "0.7.3");
}

/* --- the end --- */

static void on_drained(void *ctx, uint64_t left)
{
  *(uint64_t *)ctx = left;
}

static void without_a_log_a_bot_that_is_down_leaves_it_to_the_next_process(void **state)
{
  (void)state;
  uint64_t left = 99;
  hold_two();
  appear(4, "6", "1");
  while (tg_senders_up(&tg_delivery_bot(delivery)->senders) == 1) {
    fail_with(post_count - 1, "refused");
    while (open_posts == 0 && tg_senders_up(&tg_delivery_bot(delivery)->senders) == 1)
      advance(100);
  }
  tg_delivery_drain(delivery, 1, on_drained, &left);
  advance(5);
  assert_int_equal(left, 1);
  int before = post_count;
  restart();
  tg_delivery_adopt_session(delivery, 0, 7, 3);
  advance(1);
  expect_late(before, "0.7.3");
}

/* --- several rules --- */

/* What the first one releases the second one may drop, or hold for its own key. */
static void rules_behind_are_asked_when_it_is_released(void **state)
{
  (void)state;
  set_rule(0, TG_STORM_PER_USER, 1, 1, TG_STORM_KEEP_LAST);
  set_rule(1, TG_STORM_PER_GUILD, 0.001, 1, TG_STORM_KEEP_FIRST);
  hold_two();
  advance(5000);
  assert_int_equal(post_count, 1);
  set_rule(1, TG_STORM_PER_GUILD, 0.1, 1, TG_STORM_KEEP_LAST); /* nothing is held any more */
  assert_int_equal(post_count, 1);
  appear(4, "5", "1");
  answer(1, 200);
  appear(5, "5", "1");
  advance(5000);
  assert_int_equal(post_count, 2);
  advance(6000);
  expect_late(2, "0.7.5");
}

/* One that another rule has held is older than what is released. */
static void what_is_released_is_newer_than_what_another_rule_holds(void **state)
{
  (void)state;
  set_rule(0, TG_STORM_PER_USER, 1, 1, TG_STORM_KEEP_LAST);
  set_rule(1, TG_STORM_PER_GUILD, 0.25, 1, TG_STORM_KEEP_LAST);
  appear(1, "5", "1");
  answer(0, 200);
  appear(2, "6", "1"); /* held by the second rule */
  appear(3, "6", "1"); /* by the first one, and after a second by the second */
  advance(20000);
  expect_late(1, "0.7.3");
}

static void an_older_one_does_not_take_the_place_of_a_newer_one(void **state)
{
  (void)state;
  set_rule(0, TG_STORM_PER_USER, 1, 1, TG_STORM_KEEP_LAST);
  set_rule(1, TG_STORM_PER_GUILD, 0.25, 1, TG_STORM_KEEP_LAST);
  appear(1, "5", "1");
  answer(0, 200);
  appear(2, "5", "1"); /* by the first rule */
  appear(3, "7", "1"); /* by the second */
  advance(20000);
  expect_late(1, "0.7.3");
}

int main(void)
{
#define IN_LOG(test) cmocka_unit_test_setup_teardown(test, begin, end)
#define IN_MEMORY(test) cmocka_unit_test_setup_teardown(test, begin_in_memory, end)
  const struct CMUnitTest tests[] = {
      IN_LOG(the_next_process_releases_it),
      IN_LOG(one_that_has_gone_into_the_log_is_not_released_again),
      IN_LOG(it_waits_for_its_shard_as_long_as_it_takes),
      IN_LOG(what_is_too_old_is_dropped),
      IN_MEMORY(one_that_comes_again_meets_the_rules_again),
      IN_MEMORY(one_that_comes_again_behind_what_was_handled_comes_late),
      IN_MEMORY(one_that_was_handled_is_not_shown_again),
      IN_MEMORY(another_session_releases_what_never_came_again),
      IN_LOG(sinks_that_are_ahead_get_it_late),
      IN_LOG(other_hosts_have_had_the_shard_since),
      IN_LOG(garbage_counts_for_nothing),
      IN_LOG(a_file_that_is_too_short_goes),
      IN_LOG(another_start_of_the_machine_ends_it),
      IN_LOG(a_message_that_is_none_is_dropped),
      IN_LOG(an_entry_that_points_outside_is_dropped),
      IN_LOG(it_is_held_in_memory_where_there_is_no_file),
      IN_LOG(without_a_state_directory_it_is_held_all_the_same),
      IN_MEMORY(without_a_log_a_bot_that_is_down_leaves_it_to_the_next_process),
      IN_MEMORY(rules_behind_are_asked_when_it_is_released),
      IN_MEMORY(what_is_released_is_newer_than_what_another_rule_holds),
      IN_MEMORY(an_older_one_does_not_take_the_place_of_a_newer_one),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
