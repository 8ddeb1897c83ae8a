/* dead.jsonl: what a line holds, and that the file does not grow for ever. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "delivery/dead_letter.h"

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
  bool seen[WORKERS * LETTERS] = {false};
  for (int i = 0; i < TG_DEAD_FILES; i++) {
    char name[32] = "dead.jsonl";
    if (i > 0)
      snprintf(name, sizeof name, "dead.jsonl.%d", i);
    const char *text = read_file(name);
    for (const char *at = text; at && *at; at = strchr(at, '\n') + 1) {
      int number;
      assert_int_equal(sscanf(strstr(at, "\"s\":"), "\"s\":%d", &number), 1);
      assert_false(seen[number]);
      seen[number] = true;
    }
  }
  for (int i = 0; i < WORKERS * LETTERS; i++)
    assert_true(seen[i]);
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
      IN_DIR(files_are_rotated),
      IN_DIR(a_letter_larger_than_a_file_is_written_all_the_same),
      IN_DIR(workers_share_the_file),
      IN_DIR(says_why_it_cannot),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
