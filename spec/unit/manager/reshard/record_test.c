/* resharding.json: what is written is read, and nothing is guessed. */

#include "base/clock.h"
#include "manager/reshard/record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { BOT = 0xb07 };

static char dir[64];
static struct tg_reshard_record record;
static struct tg_error error;

static int make_dir(void **state)
{
  (void)state;
  strcpy(dir, "/tmp/tidegate-record-XXXXXX");
  return mkdtemp(dir) ? 0 : -1;
}

static int drop_dir(void **state)
{
  (void)state;
  char path[128];
  tg_reshard_record_free(&record);
  snprintf(path, sizeof path, "%s/resharding.json", dir);
  unlink(path);
  return rmdir(dir);
}

static bool read_record(uint64_t bot)
{
  tg_reshard_record_free(&record);
  error = (struct tg_error){0};
  return tg_reshard_record_read(dir, bot, &record, &error);
}

static void put(const char *text)
{
  char path[128];
  snprintf(path, sizeof path, "%s/resharding.json", dir);
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  fputs(text, file);
  fclose(file);
}

static struct tg_reshard_record running(int *deal)
{
  return (struct tg_reshard_record){.phase = TG_RESHARD_SWITCHING,
                                    .current = {1, 4},
                                    .next = {0, 6},
                                    .deal = deal,
                                    .classes = 2,
                                    .configured_total = 4,
                                    .bot = BOT,
                                    .intents = 33281,
                                    .epoch = 1700000123,
                                    .began = 1000,
                                    .change = 1700000100,
                                    .ended = 1700000090,
                                    .done = 1700000080,
                                    .before = 2};
}

static void what_is_written_is_read(void **state)
{
  (void)state;
  int deal[] = {3, 0};
  struct tg_reshard_record given = running(deal);
  assert_true(tg_reshard_record_write(dir, &given, &error));
  assert_true(read_record(BOT));
  assert_int_equal(record.phase, TG_RESHARD_SWITCHING);
  assert_int_equal(record.change, 1700000100);
  assert_int_equal(record.ended, 1700000090);
  assert_int_equal(record.done, 1700000080);
  assert_int_equal(record.before, 2);
  assert_int_equal(record.current.side, 1);
  assert_int_equal(record.current.total, 4);
  assert_int_equal(record.next.side, 0);
  assert_int_equal(record.next.total, 6);
  assert_int_equal(record.classes, 2);
  assert_int_equal(record.deal[0], 3);
  assert_int_equal(record.deal[1], 0);
  assert_int_equal(record.configured_total, 4);
  assert_int_equal(record.intents, 33281);
  assert_int_equal(record.epoch, 1700000123);
  assert_int_equal(record.began, 1000);
}

static void afterwards_it_names_one_set(void **state)
{
  (void)state;
  struct tg_reshard_record given = {.current = {1, 8}, .bot = BOT, .epoch = 7};
  assert_true(tg_reshard_record_write(dir, &given, &error));
  assert_true(read_record(BOT));
  assert_int_equal(record.phase, TG_RESHARD_NONE);
  assert_int_equal(record.current.side, 1);
  assert_int_equal(record.current.total, 8);
  assert_int_equal(record.next.total, 0);
  assert_null(record.deal);
}

static void no_file_is_no_record(void **state)
{
  (void)state;
  assert_false(read_record(BOT));
  assert_string_equal(error.code, "missing");
}

static void another_bots_record_is_none(void **state)
{
  (void)state;
  int deal[] = {3, 0};
  struct tg_reshard_record given = running(deal);
  assert_true(tg_reshard_record_write(dir, &given, &error));
  assert_false(read_record(BOT + 1));
  assert_string_equal(error.code, "missing");
  assert_int_equal(record.current.total, 0);
}

static void refused(const char *key, const char *text)
{
  char expected[80];
  put(text);
  assert_false(read_record(BOT));
  assert_string_equal(error.code, "damaged");
  snprintf(expected, sizeof expected, "\"%s\"", key);
  if (!strstr(error.message, expected))
    fail_msg("%s is not in \"%s\"", expected, error.message);
  assert_int_equal(record.current.total, 0);
  assert_null(record.deal);
}

#define RECORD(phase, current, next, deal)                                                                   \
  "{\"version\":1,\"bot\":\"0000000000000b07\",\"phase\":" phase ",\"current\":" current ",\"next\":" next   \
  ",\"deal\":" deal ",\"configured_total\":0,\"intents\":1,\"epoch\":5,\"began\":1}"
#define FOUR "{\"side\":0,\"total\":4}"
#define EIGHT "{\"side\":1,\"total\":8}"

static void what_is_damaged_is_refused(void **state)
{
  (void)state;
  put("{\"version\":1,");
  assert_false(read_record(BOT));
  assert_string_equal(error.code, "damaged");
  put(RECORD("\"closing\"", FOUR, EIGHT, "[0,0,1,1]")); /* so is the rest only */
  assert_true(read_record(BOT));
  refused("version", "{\"version\":2}");
  refused("bot", "{\"version\":1,\"bot\":7}");
  refused("current", RECORD("\"none\"", "{\"side\":2,\"total\":4}", "null", "[]"));
  refused("current", RECORD("\"closing\"", "{\"side\":0,\"total\":0}", EIGHT, "[0,0,1,1]"));
  refused("current", RECORD("\"none\"", "{\"side\":0,\"total\":65537}", "null", "[]"));
  refused("current", RECORD("\"none\"", "null", "null", "[]"));
  refused("phase", RECORD("\"switched\"", FOUR, EIGHT, "[0,0,1,1]"));
  refused("phase", RECORD("3", FOUR, EIGHT, "[0,0,1,1]"));
  refused("next", RECORD("\"switching\"", FOUR, "null", "[]"));
  refused("next", RECORD("\"none\"", FOUR, EIGHT, "[0,0,1,1]"));
  refused("next", RECORD("\"switching\"", FOUR, "{\"side\":0,\"total\":8}", "[0,0,1,1]"));
  refused("next", RECORD("\"switching\"", FOUR, "{\"side\":1,\"total\":4}", "[0,0,1,1]"));
  refused("deal", RECORD("\"switching\"", FOUR, EIGHT, "[0,0,1]"));
  refused("deal", RECORD("\"switching\"", FOUR, EIGHT, "[0,0,1,256]"));
  refused("deal", RECORD("\"switching\"", FOUR, EIGHT, "[0,0,1,-1]"));
  refused("deal", RECORD("\"switching\"", FOUR, EIGHT, "[0,0,1,\"1\"]"));
  refused("configured_total",
          "{\"version\":1,\"bot\":\"0000000000000b07\",\"phase\":\"none\",\"current\":" FOUR "}");
}

static void every_cut_is_refused(void **state)
{
  (void)state;
  static const char whole[] = RECORD("\"closing\"", FOUR, EIGHT, "[0,0,1,1]");
  char text[sizeof whole];
  for (size_t length = 0; length + 1 < sizeof whole; length++) {
    memcpy(text, whole, length);
    text[length] = '\0';
    put(text);
    assert_false(read_record(BOT));
    assert_string_equal(error.code, "damaged");
  }
}

#define RECORD_TEST(name) cmocka_unit_test_setup_teardown(name, make_dir, drop_dir)

int main(void)
{
  const struct CMUnitTest tests[] = {
      RECORD_TEST(what_is_written_is_read),    RECORD_TEST(afterwards_it_names_one_set),
      RECORD_TEST(no_file_is_no_record),       RECORD_TEST(another_bots_record_is_none),
      RECORD_TEST(what_is_damaged_is_refused), RECORD_TEST(every_cut_is_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
