/* What a log has lost, and how long it is remembered. */

#include "unit/delivery/logged_world.h"

#include "event_log/log_format.h"

#include <unistd.h>

/* The file with the first events of the oldest log, or of the newest. */
static FILE *open_segment(bool oldest)
{
  char parent[64], path[400];
  snprintf(parent, sizeof parent, "%s/log", state_dir);
  char **names = tg_event_log_list(parent);
  int last = 0;
  while (!oldest && names[last + 1])
    last++;
  snprintf(path, sizeof path, "%s/%s/0000000001.segment", parent, names[last]);
  tg_event_log_list_free(names);
  FILE *file = fopen(path, "r+");
  assert_non_null(file);
  return file;
}

/* All that is in the newest log is gone; its cursor still knows of it. */
static void empty_segment(void)
{
  FILE *file = open_segment(false);
  assert_int_equal(ftruncate(fileno(file), 0), 0);
  fclose(file);
}

/* They are counted from 1. */
static void damage_record(bool oldest, int number)
{
  FILE *file = open_segment(oldest);
  uint32_t length;
  long at = TG_SEGMENT_HEADER;
  for (;; at += (long)tg_record_size(length)) {
    assert_int_equal(fseek(file, at, SEEK_SET), 0);
    assert_int_equal(fread(&length, sizeof length, 1, file), 1);
    if (--number == 0)
      break;
  }
  assert_int_equal(fseek(file, at + TG_RECORD_HEADER, SEEK_SET), 0);
  assert_int_equal(fputc('#', file), '#');
  fclose(file);
}

static void adopt(int shard_id, uint64_t settled, uint64_t expected)
{
  tg_delivery_adopt_session(delivery, shard_id, 7, settled);
  assert_int_equal(tg_delivery_settled(delivery, shard_id), expected);
}

/* Whether Discord still has it is known when the session is adopted: until then the log remembers. */
static void a_lost_end_is_remembered_until_it_is_asked_for(void **state)
{
  (void)state;
  for (int i = 0; i < 3; i++)
    deliver(1, "MESSAGE_DELETE", "{}");
  end_turn();
  empty_segment();
  for (int i = 0; i < 2; i++) {
    restart();
    end_turn();
    assert_null(strstr(logged, "it is removed"));
  }
  adopt(1, 3, 0);
  end_turn();
  assert_non_null(strstr(logged, "it is removed"));
}

static void a_log_is_kept_until_its_losses_are_told(void **state)
{
  (void)state;
  config.event_handler.markers = true;
  for (int i = 0; i < 3; i++)
    deliver(1, "MESSAGE_DELETE", "{}");
  end_turn();
  empty_segment();
  for (int i = 0; i < 2; i++) {
    restart();
    tg_delivery_adopt_session(delivery, 1, 7, 0);
    end_turn();
    assert_string_equal(posts[the_open_post()].body,
                        "{\"shardId\":1,\"totalShards\":16,\"epoch\":7,\"gap\":{\"from\":1,\"to\":3,\"reason\":\"log_damaged\"}}");
    assert_null(strstr(logged, "it is removed"));
  }
  answer(the_open_post(), 200);
  end_turn();
  assert_non_null(strstr(logged, "it is removed"));
  restart();
  assert_int_equal(open_posts, 0);
}

static int open_post_of(int shard_id)
{
  for (int i = post_count - 1; i >= 0; i--)
    if (posts[i].open && posts[i].key[0] == '0' + shard_id)
      return i;
  fail_msg("nothing is sent for shard %d", shard_id);
  return -1;
}

static void replay_to(int shard_id, uint64_t from, uint64_t to)
{
  for (uint64_t i = from; i <= to; i++)
    replay(shard_id, i, "{\"t\":\"MESSAGE_DELETE\",\"s\":4,\"op\":0,\"d\":{}}");
}

/* The second log has what was lost at the end of the first, and loses it, too; then the first loses more. */
static void a_lost_end_grows_from_start_to_start(void **state)
{
  (void)state;
  config.event_handler.markers = true;
  for (int i = 0; i < 4; i++)
    deliver(1, "MESSAGE_DELETE", "{}");
  end_turn();
  damage_record(true, 4);
  restart();
  adopt(1, 4, 3);
  replay_to(1, 4, 5);
  deliver(2, "MESSAGE_DELETE", "{}");
  end_turn();
  damage_record(false, 1);
  damage_record(false, 2);
  damage_record(true, 1);
  restart();
  adopt(1, 5, 3);
  replay_to(1, 4, 5);
  answer(open_post_of(1), 200); /* a marker, and the last that is on its way now */
  end_turn();
  damage_record(true, 3);
  restart();
  adopt(1, 5, 5);
  static const char *const keys[] = {"1.7.gap-1", "1.7.2", "1.7.gap-3", "1.7.4", "1.7.5"};
  for (int i = 0; i < 5; i++) {
    int post = open_post_of(1);
    assert_key(post, keys[i]);
    answer_all(post, 1);
  }
  assert_key(the_open_post(), "2.7.1");
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      LOGGED(a_lost_end_is_remembered_until_it_is_asked_for),
      LOGGED(a_log_is_kept_until_its_losses_are_told),
      LOGGED(a_lost_end_grows_from_start_to_start),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
