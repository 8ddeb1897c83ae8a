/* dead.jsonl: what a line holds, and that the file does not grow for ever. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "delivery/sinks/dead_letter.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[64];

static int begin(void **state)
{
  (void)state;
  snprintf(dir, sizeof dir, "/tmp/tidegate-dead-XXXXXX");
  assert_non_null(mkdtemp(dir));
  return 0;
}

static int end(void **state)
{
  (void)state;
  char command[128];
  snprintf(command, sizeof command, "rm -rf %s", dir);
  return system(command);
}

static const char *read_file(const char *name)
{
  static char text[1 << 20];
  char path[128];
  snprintf(path, sizeof path, "%s/%s", dir, name);
  FILE *file = fopen(path, "r");
  if (!file)
    return NULL;
  text[fread(text, 1, sizeof text - 1, file)] = '\0';
  fclose(file);
  return text;
}

static struct tg_span span(const char *text) { return (struct tg_span){text, strlen(text)}; }

static bool write_letter(int number, const char *message, const char *answer,
                         const struct tg_strings *secrets, uint64_t file_bytes)
{
  struct tg_error error = {0};
  struct tg_dead_letter letter = {
      .shard_id = 3,
      .epoch = 7,
      .sequence = (uint64_t)number,
      .name = span("TYPING_START"),
      .status = 400,
      .answer = span(answer),
      .message = span(message),
      .secrets = secrets,
  };
  return tg_dead_letter_write(dir, file_bytes, &letter, &error);
}

static void secrets_stay_out(void **state)
{
  (void)state;
  struct tg_strings secrets = {0};
  tg_strings_add(&secrets, "the-secret");
  tg_strings_add(&secrets, "");
  tg_strings_add(&secrets, "bot.token");
  assert_true(write_letter(1, "{\"t\":\"INTERACTION_CREATE\",\"s\":1,\"op\":0,\"d\":{\"id\":\"5\",\"token\":\"aW50ZXI\","
                              "\"x\":{\"token\":1}}}",
                           "no: aW50ZXI the-secret Bot bot.token the-secret", &secrets, 1 << 20));
  assert_true(write_letter(2, "{\"t\":\"VOICE_SERVER_UPDATE\",\"s\":1,\"op\":0,\"d\":{\"token\":\"a\\\"b\"}}", "", NULL,
                           1 << 20));
  assert_true(write_letter(3, "{\"op\":0,\"d\":{\"token\":7}}", "7", NULL, 1 << 20));
  tg_strings_free(&secrets);
  const char *text = read_file("dead.jsonl");
  assert_null(strstr(text, "aW50ZXI"));
  assert_null(strstr(text, "the-secret"));
  assert_null(strstr(text, "bot.token"));
  assert_null(strstr(text, "a\\\"b"));
  assert_non_null(strstr(text, "\"id\":\"5\",\"token\":\"***\",\"x\":{\"token\":1}"));
  assert_non_null(strstr(text, "\"answer\":\"no: ******* ********** Bot ********* **********\""));
  assert_non_null(strstr(text, "\"d\":{\"token\":7}"));
  struct stat facts;
  char path[128];
  snprintf(path, sizeof path, "%s/dead.jsonl", dir);
  assert_int_equal(stat(path, &facts), 0);
  assert_int_equal(facts.st_mode & 0777, 0600);
}

static void a_session_stays_out(void **state)
{
  (void)state;
  struct tg_error error = {0};
  struct tg_dead_letter letter = {
      .name = span("READY"),
      .status = 400,
      .answer = span("cannot parse c0ffee"),
      .message = span("{\"t\":\"READY\",\"s\":1,\"op\":0,\"d\":{\"v\":10,\"resume_gateway_url\":\"wss:\\/\\/x.discord.gg\","
                      "\"session_id\":\"c0ffee\",\"guilds\":[]}}"),
  };
  assert_true(tg_dead_letter_write(dir, 1 << 20, &letter, &error));
  letter.name = span("VOICE_STATE_UPDATE"); /* worth nothing without the token of the other event */
  letter.answer = span("");
  letter.message = span("{\"t\":\"VOICE_STATE_UPDATE\",\"s\":2,\"op\":0,\"d\":{\"session_id\":\"v01ce\"}}");
  assert_true(tg_dead_letter_write(dir, 1 << 20, &letter, &error));
  const char *text = read_file("dead.jsonl");
  assert_null(strstr(text, "c0ffee"));
  assert_null(strstr(text, "discord.gg"));
  assert_non_null(strstr(text, "\"masked\":true,\"event\":{\"t\":\"READY\",\"s\":1,\"op\":0,\"d\":{\"v\":10,"
                               "\"resume_gateway_url\":\"***\",\"session_id\":\"***\",\"guilds\":[]}},\"n\":1}\n"));
  assert_non_null(strstr(text, "\"bytes\":0,\"event\":{\"t\":\"VOICE_STATE_UPDATE\",\"s\":2,\"op\":0,"
                               "\"d\":{\"session_id\":\"v01ce\"}},\"n\":2}\n"));
}

static void what_has_no_message_is_a_letter_all_the_same(void **state)
{
  (void)state;
  struct tg_error error = {0};
  struct tg_dead_letter letter = {.status = 400};
  assert_true(tg_dead_letter_write(dir, 1 << 20, &letter, &error));
  assert_non_null(strstr(read_file("dead.jsonl"), "\"t\":\"\",\"status\":400,\"answer\":\"\",\"bytes\":0,"
                                                  "\"event\":null,\"n\":1}\n"));
}

/* As a version of before, or a careless hand, has left it. */
static void the_file_is_for_its_owner_alone(void **state)
{
  (void)state;
  struct stat facts;
  char path[128];
  snprintf(path, sizeof path, "%s/dead.jsonl", dir);
  FILE *out = fopen(path, "w");
  assert_int_equal(fchmod(fileno(out), 0666), 0);
  fclose(out);
  assert_true(write_letter(1, "{\"op\":0,\"d\":{}}", "no", NULL, 1 << 20));
  assert_int_equal(stat(path, &facts), 0);
  assert_int_equal(facts.st_mode & 0777, 0600);
}

/* Counts the letters of a file, and checks that they follow each other. */
static int letters_of(const char *name, int *first)
{
  const char *text = read_file(name);
  int count = 0;
  *first = 0;
  for (const char *at = text; at && *at; at = strchr(at, '\n') + 1) {
    json_t *letter = json_loads(at, JSON_DISABLE_EOF_CHECK, NULL);
    assert_non_null(letter);
    int number = (int)json_integer_value(json_object_get(letter, "s"));
    if (count == 0)
      *first = number;
    assert_int_equal(number, *first + count);
    json_decref(letter);
    count++;
  }
  return count;
}

static void files_are_rotated(void **state)
{
  (void)state;
  for (int i = 1; i <= 100; i++)
    assert_true(write_letter(i, "{\"op\":0,\"d\":{}}", "no", NULL, 1000));
  int next = 0, first;
  char name[32];
  for (int i = TG_DEAD_FILES - 1; i > 0; i--) {
    snprintf(name, sizeof name, "dead.jsonl.%d", i);
    int count = letters_of(name, &first);
    assert_in_range(count, 5, 20);
    assert_true(next == 0 || first == next);
    next = first + count;
    assert_true(strlen(read_file(name)) <= 1000);
  }
  int count = letters_of("dead.jsonl", &first);
  assert_int_equal(first, next);
  assert_int_equal(first + count, 101);
  snprintf(name, sizeof name, "dead.jsonl.%d", TG_DEAD_FILES);
  assert_null(read_file(name));
}

static void a_letter_larger_than_a_file_is_written_all_the_same(void **state)
{
  (void)state;
  char message[3000];
  memset(message, ' ', sizeof message);
  memcpy(message, "{\"op\":0,", 8);
  strcpy(message + sizeof message - 10, "\"d\":1}");
  assert_true(write_letter(1, "{\"op\":0}", "", NULL, 1000));
  assert_true(write_letter(2, message, "", NULL, 1000));
  assert_true(write_letter(3, "{\"op\":0}", "", NULL, 1000));
  int first;
  assert_int_equal(letters_of("dead.jsonl.2", &first), 1);
  assert_int_equal(letters_of("dead.jsonl.1", &first), 1);
  assert_int_equal(first, 2);
  assert_int_equal(letters_of("dead.jsonl", &first), 1);
}

static int number_of_line(const char *line)
{
  json_t *letter = json_loads(line, JSON_DISABLE_EOF_CHECK, NULL);
  assert_non_null(letter);
  int number = (int)json_integer_value(json_object_get(letter, "n"));
  json_decref(letter);
  return number;
}

static void workers_share_the_file(void **state)
{
  (void)state;
  enum { WORKERS = 4, LETTERS = 100 };
  for (int worker = 0; worker < WORKERS; worker++) {
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
      bool ok = true;
      for (int i = 0; i < LETTERS; i++)
        ok = ok && write_letter(worker * LETTERS + i, "{\"op\":0,\"d\":{}}", "no", NULL, 20000);
      _exit(ok ? 0 : 1);
    }
  }
  for (int worker = 0; worker < WORKERS; worker++) {
    int status;
    assert_true(wait(&status) > 0);
    assert_int_equal(status, 0);
  }
  bool seen[WORKERS * LETTERS] = {false}, numbers[WORKERS * LETTERS + 1] = {false};
  for (int i = 0; i < TG_DEAD_FILES; i++) {
    char name[32] = "dead.jsonl";
    if (i > 0)
      snprintf(name, sizeof name, "dead.jsonl.%d", i);
    const char *text = read_file(name);
    for (const char *at = text; at && *at; at = strchr(at, '\n') + 1) {
      int number, place = number_of_line(at);
      assert_int_equal(sscanf(strstr(at, "\"s\":"), "\"s\":%d", &number), 1);
      assert_false(seen[number]);
      seen[number] = true;
      assert_in_range(place, 1, WORKERS * LETTERS);
      assert_false(numbers[place]);
      numbers[place] = true;
    }
  }
  for (int i = 0; i < WORKERS * LETTERS; i++)
    assert_true(seen[i]);
}

/* The number of the last letter of dead.jsonl. */
static int last_number(void)
{
  const char *text = read_file("dead.jsonl"), *line = text;
  for (const char *at = text; (at = strchr(at, '\n')) && at[1]; at++)
    line = at + 1;
  return number_of_line(line);
}

static void letters_are_numbered(void **state)
{
  (void)state;
  char path[128], message[20000];
  memset(message, ' ', sizeof message);
  memcpy(message, "{\"op\":0,\"x\":\",\\\"n\\\":99}\",", 25);
  strcpy(message + sizeof message - 10, "\"d\":1}");
  for (int i = 1; i <= 20; i++) { /* longer than what is looked at, and edges anywhere */
    message[sizeof message - 100 - i * 211] = '\n';
    assert_true(write_letter(i, i % 2 ? message + 0 : "{\"op\":0}", "", NULL, 100000));
    assert_int_equal(last_number(), i);
  }
  snprintf(path, sizeof path, "%s/dead.jsonl", dir);
  assert_int_equal(unlink(path), 0); /* they go on from the older file */
  int first, last = 0;
  letters_of("dead.jsonl.1", &first);
  for (const char *at = read_file("dead.jsonl.1"); *at; at = strchr(at, '\n') + 1)
    last = number_of_line(at);
  assert_true(write_letter(30, "{\"op\":0}", "", NULL, 100000));
  assert_int_equal(last_number(), last + 1);
}

static void append_text(const char *text)
{
  char path[128];
  snprintf(path, sizeof path, "%s/dead.jsonl", dir);
  FILE *file = fopen(path, "a");
  assert_non_null(file);
  assert_true(fputs(text, file) >= 0);
  fclose(file);
}

static void a_line_that_was_cut_short_harms_no_other(void **state)
{
  (void)state;
  assert_true(write_letter(1, "{\"op\":0}", "", NULL, 100000));
  append_text("{\"v\":1,\"at\":17");
  assert_true(write_letter(2, "{\"op\":0}", "", NULL, 100000));
  assert_int_equal(last_number(), 2);
  assert_non_null(strstr(read_file("dead.jsonl"), "{\"v\":1,\"at\":17\n{\"v\":1,"));
  /* Lines of before there were numbers. */
  append_text("{\"at\":1,\"event\":{}}\n");
  assert_true(write_letter(3, "{\"op\":0}", "", NULL, 100000));
  assert_int_equal(last_number(), 3);
}

/* All that the body was made of is there. */
static void letters_hold_what_is_needed_to_send_them_again(void **state)
{
  (void)state;
  struct tg_error error = {0};
  struct tg_dead_letter letter = {
      .shard_id = 3,
      .epoch = 7,
      .sequence = 42,
      .name = span("GUILD_CREATE"),
      .status = 413,
      .message = span("{\"t\":\"GUILD_CREATE\",\"s\":42,\"op\":0,\"d\":{\"id\":\"5\"}}"),
      .bytes = 1234,
      .guild_create = "loading",
  };
  assert_true(tg_dead_letter_write(dir, 1 << 20, &letter, &error));
  letter.name = span("INTERACTION_CREATE");
  letter.message = span("{\"t\":\"INTERACTION_CREATE\",\"s\":42,\"op\":0,\"d\":{\"token\":\"x\"}}");
  letter.guild_create = NULL;
  letter.deferred = letter.marker = true;
  assert_true(tg_dead_letter_write(dir, 1 << 20, &letter, &error));
  const char *text = read_file("dead.jsonl");
  assert_memory_equal(text, "{\"v\":1,\"at\":", 12);
  assert_non_null(strstr(text, "\"shard\":3,\"epoch\":7,\"s\":42,\"t\":\"GUILD_CREATE\",\"status\":413,\"answer\":\"\","
                               "\"bytes\":1234,\"guildCreate\":\"loading\",\"event\":{\"t\":\"GUILD_CREATE\","
                               "\"s\":42,\"op\":0,\"d\":{\"id\":\"5\"}},\"n\":1}\n"));
  assert_non_null(strstr(text, "\"bytes\":1234,\"deferred\":true,\"marker\":true,\"masked\":true,\"event\":"));
}

static void says_why_it_cannot(void **state)
{
  (void)state;
  struct tg_error error = {0};
  struct tg_dead_letter letter = {.message = span("{}")};
  assert_false(tg_dead_letter_write("/nowhere/at/all", 1000, &letter, &error));
  assert_string_equal(error.message, "cannot write to /nowhere/at/all/dead.jsonl: No such file or directory");
}

#define IN_DIR(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
  const struct CMUnitTest tests[] = {
      IN_DIR(secrets_stay_out),
      IN_DIR(a_session_stays_out),
      IN_DIR(what_has_no_message_is_a_letter_all_the_same),
      IN_DIR(the_file_is_for_its_owner_alone),
      IN_DIR(files_are_rotated),
      IN_DIR(a_letter_larger_than_a_file_is_written_all_the_same),
      IN_DIR(workers_share_the_file),
      IN_DIR(letters_are_numbered),
      IN_DIR(a_line_that_was_cut_short_harms_no_other),
      IN_DIR(letters_hold_what_is_needed_to_send_them_again),
      IN_DIR(says_why_it_cannot),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
