/* Dead letters in their files: reading, removing, tidying; and that a letter is there or not, whatever
 * happens in the middle. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "delivery/sinks/dead_files.h"
#include "delivery/sinks/dead_letter.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FILE_BYTES = 4000, PLACES = 2000 };

static char dir[64];

static int begin(void **state)
{
  (void)state;
  snprintf(dir, sizeof dir, "/tmp/tidegate-letters-XXXXXX");
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

static const char *path_of(const char *name)
{
  static char path[128];
  snprintf(path, sizeof path, "%s/%s", dir, name);
  return path;
}

static char *read_file(const char *name)
{
  static char text[1 << 20];
  FILE *file = fopen(path_of(name), "r");
  if (!file)
    return NULL;
  text[fread(text, 1, sizeof text - 1, file)] = '\0';
  fclose(file);
  return text;
}

static struct tg_span span(const char *text)
{
  return (struct tg_span){text, strlen(text)};
}

static void write_letters(int from, int to, uint64_t file_bytes)
{
  struct tg_error error = {0};
  for (int i = from; i <= to; i++) {
    struct tg_dead_letter letter = {.shard_id = i % 3,
                                    .total_shards = 3,
                                    .epoch = 7,
                                    .sequence = (uint64_t)i,
                                    .name = span("MESSAGE_CREATE"),
                                    .status = 400,
                                    .answer = span("no \"good\""),
                                    .message =
                                        span("{\"t\":\"MESSAGE_CREATE\",\"s\":1,\"op\":0,\"d\":{\"n\":3}}"),
                                    .sink = i % 2 ? NULL : "stats"};
    assert_true(tg_dead_letter_write(dir, file_bytes, &letter, &error));
  }
}

/* Of all letters, as a walk shows them. */
static struct tg_dead_place places[PLACES];
static size_t count;

static bool note(void *ctx, const struct tg_dead_place *place, struct tg_span line)
{
  struct tg_dead_line letter;
  (void)ctx;
  assert_true(tg_dead_line_read(line, &letter));
  assert_int_equal(letter.epoch, 7);
  assert_in_range(count, 0, PLACES - 1);
  places[count++] = *place;
  return true;
}

static void walk(void)
{
  struct tg_error error = {0};
  count = 0;
  assert_true(tg_dead_walk(dir, note, NULL, &error));
}

static size_t remove_places(const struct tg_dead_place *at, size_t many)
{
  struct tg_error error = {0};
  size_t removed = 0;
  assert_true(tg_dead_remove(dir, at, many, &removed, &error));
  return removed;
}

static void tidy(void)
{
  struct tg_error error = {0};
  assert_true(tg_dead_tidy(dir, NULL, 0, &error));
}

static void a_line_tells_what_stands_in_it(void **state)
{
  (void)state;
  struct tg_dead_line letter;
  struct tg_span line =
      span("{\"v\":1,\"at\":17,\"shard\":3,\"totalShards\":16,\"epoch\":7,\"s\":42,\"t\":\"GUILD_CREATE\","
           "\"status\":413,"
           "\"answer\":\"too "
           "\\\"large\\\"\",\"bytes\":99,\"guildCreate\":\"loading\",\"sink\":\"stats\",\"deferred\":true,"
           "\"late\":true,\"marker\":true,\"new\":[1,{\"event\":2}],\"masked\":true,\"event\":{\"t\":\"x\"},"
           "\"n\":5}");
  assert_true(tg_dead_line_read(line, &letter));
  assert_int_equal(letter.at, 17);
  assert_int_equal(letter.shard_id, 3);
  assert_int_equal(letter.total_shards, 16);
  assert_int_equal(letter.epoch, 7);
  assert_int_equal(letter.sequence, 42);
  assert_int_equal(letter.status, 413);
  assert_int_equal(letter.bytes, 99);
  assert_memory_equal(letter.type.at, "GUILD_CREATE", letter.type.length);
  assert_memory_equal(letter.answer.at, "\"too \\\"large\\\"\"", letter.answer.length);
  assert_memory_equal(letter.guild_create.at, "loading", letter.guild_create.length);
  assert_memory_equal(letter.sink.at, "stats", letter.sink.length);
  assert_true(letter.deferred && letter.late && letter.marker && letter.masked);
  assert_memory_equal(letter.event.at, "{\"t\":\"x\"},\"n\":5}", letter.event.length);
  assert_int_equal(letter.head.length + letter.event.length + strlen("\"event\":"), line.length);
  /* However it is cut, nothing behind its end is read. */
  for (size_t i = 0; i < line.length; i++) {
    char *copy = malloc(i + 1);
    memcpy(copy, line.at, i);
    tg_dead_line_read((struct tg_span){copy, i}, &letter);
    free(copy);
  }
  assert_false(
      tg_dead_line_read(span("{\"v\":0,\"status\":1,\"answer\":\"\",\"event\":{},\"n\":1}"), &letter));
  assert_false(
      tg_dead_line_read(span("{\"v\":2,\"status\":1,\"answer\":\"\",\"event\":{},\"n\":1}"), &letter));
  assert_false(tg_dead_line_read(span("{\"at\":1,\"event\":{}}"), &letter));
}

static void all_are_shown_from_the_oldest_on(void **state)
{
  (void)state;
  walk();
  assert_int_equal(count, 0);
  write_letters(1, 200, FILE_BYTES);
  walk();
  assert_in_range(count, 40, 120);
  for (size_t i = 0; i < count; i++)
    assert_int_equal(places[i].number, 200 - count + 1 + i);
  struct tg_buf line = {0};
  struct tg_error error = {0};
  struct tg_dead_place moved = {.number = places[5].number}; /* only its number is known */
  assert_true(tg_dead_take(dir, &places[5], &line, &error));
  assert_true(tg_dead_take(dir, &moved, &line, &error));
  assert_memory_equal(&moved, &places[5], sizeof moved);
  assert_non_null(memmem(line.data, line.length, "\"event\":{\"t\":\"MESSAGE_CREATE\"", 28));
  moved.number = 1;
  assert_false(tg_dead_take(dir, &moved, &line, &error));
  assert_string_equal(error.code, "no_letter");
  tg_buf_free(&line);
}

static void those_that_are_removed_are_gone_at_once_and_their_room_with_the_next_tidying(void **state)
{
  (void)state;
  struct tg_error error = {0};
  write_letters(1, 60, FILE_BYTES);
  walk();
  size_t all = count, before = strlen(read_file("dead.jsonl.2"));
  struct tg_dead_place picked[3] = {places[10], places[11], places[all - 1]};
  assert_int_equal(remove_places(picked, 3), 3);
  assert_int_equal(remove_places(picked, 3), 0); /* they are not there any more */
  struct tg_buf line = {0};
  assert_false(tg_dead_take(dir, &picked[0], &line, &error));
  tg_buf_free(&line);
  walk();
  assert_int_equal(count, all - 3);
  assert_int_equal(strlen(read_file("dead.jsonl.2")), before); /* nothing was moved */
  tidy();
  walk();
  assert_int_equal(count, all - 3);
  for (int i = 0; i < TG_DEAD_FILES; i++) {
    char name[32];
    snprintf(name, sizeof name, i > 0 ? "dead.jsonl.%d" : "dead.jsonl", i);
    const char *text = read_file(name);
    assert_true(!text || !strstr(text, "{\"v\":0,\"at\""));
  }
  write_letters(61, 61, FILE_BYTES); /* numbers go on, though the last letter is gone */
  walk();
  assert_int_equal(places[count - 1].number, 61);
}

static void all_of_it_may_go(void **state)
{
  (void)state;
  write_letters(1, 60, FILE_BYTES);
  walk();
  assert_int_equal(remove_places(places, count), count);
  tidy();
  assert_string_equal(read_file("dead.jsonl"), "{\"v\":0,\"n\":60}\n");
  for (int i = 1; i < TG_DEAD_FILES; i++) {
    char name[32];
    snprintf(name, sizeof name, "dead.jsonl.%d", i);
    assert_null(read_file(name));
  }
  tidy(); /* nothing to do: it stays the same file */
  assert_string_equal(read_file("dead.jsonl"), "{\"v\":0,\"n\":60}\n");
  write_letters(61, 61, FILE_BYTES);
  walk();
  assert_int_equal(count, 1);
  assert_int_equal(places[0].number, 61);
  struct stat facts;
  assert_int_equal(stat(path_of("dead.jsonl"), &facts), 0);
  assert_int_equal(facts.st_mode & 0777, 0600);
}

static void another_answer_takes_the_place_of_the_last(void **state)
{
  (void)state;
  struct tg_error error = {0};
  write_letters(1, 5, 1 << 20);
  char *before = strdup(read_file("dead.jsonl"));
  struct tg_dead_answer answers[] = {{.number = 2, .at = 17, .status = 422, .text = "a\n\"b\"", .bytes = 9},
                                     {.number = 4, .at = 18, .status = 0, .text = ""},
                                     {.number = 99, .at = 18, .status = 1, .text = "nobody"}};
  assert_true(tg_dead_tidy(dir, answers, 3, &error));
  const char *text = read_file("dead.jsonl");
  assert_non_null(strstr(
      text, "\"status\":422,\"answer\":\"a\\u000a\\\"b\\\"\",\"retries\":1,\"retriedAt\":17,\"bytes\":9,"
            "\"sink\":\"stats\",\"event\":{\"t\""));
  assert_non_null(strstr(text, "\"status\":0,\"answer\":\"\",\"retries\":1,\"retriedAt\":18,\"bytes\":0,"));
  assert_true(tg_dead_tidy(dir, answers, 1, &error));
  assert_non_null(strstr(read_file("dead.jsonl"), "\"retries\":2,\"retriedAt\":17,\"bytes\":9,"));
  walk();
  assert_int_equal(count, 5);
  /* The others are as they were. */
  size_t length = strcspn(before, "\n");
  assert_memory_equal(read_file("dead.jsonl"), before, length + 1);
  free(before);
}

static void what_nobody_knows_stays(void **state)
{
  (void)state;
  FILE *file = fopen(path_of("dead.jsonl"), "a");
  fputs("{\"at\":1,\"event\":{}}\nnot even JSON\n", file);
  fclose(file);
  write_letters(1, 3, 1 << 20);
  file = fopen(path_of("dead.jsonl"), "a");
  fputs("{\"v\":1,\"at\":17", file); /* cut short by a death */
  fclose(file);
  walk();
  assert_int_equal(count, 3);
  assert_int_equal(remove_places(&places[1], 1), 1);
  tidy();
  write_letters(4, 4, 1 << 20);
  const char *text = read_file("dead.jsonl");
  assert_memory_equal(text, "{\"at\":1,\"event\":{}}\nnot even JSON\n{\"v\":1,", 41);
  walk();
  assert_int_equal(count, 3);
  assert_int_equal(places[2].number, 4);
}

/* Letters are written, removed and tidied by several at once, some of whom are killed. */
static void nobody_takes_a_letter_along(void **state)
{
  (void)state;
  enum { WRITERS = 3, LETTERS = 150 };
  struct tg_error error = {0};
  pid_t writers[WRITERS], remover = fork();
  if (remover == 0) { /* removes those with an even s, for ever */
    for (;;) {
      walk();
      for (size_t i = 0; i < count; i++) {
        struct tg_buf line = {0};
        struct tg_dead_line letter;
        struct tg_dead_place place = places[i];
        if (tg_dead_take(dir, &place, &line, &error) &&
            tg_dead_line_read((struct tg_span){line.data, line.length}, &letter) && letter.sequence % 2 == 0)
          remove_places(&place, 1);
        tg_buf_free(&line);
      }
    }
  }
  for (int w = 0; w < WRITERS; w++)
    if ((writers[w] = fork()) == 0) {
      write_letters(w * LETTERS + 1, (w + 1) * LETTERS, 40000);
      _exit(0);
    }
  for (int round = 0; round < 40; round++) {
    pid_t tidier = fork();
    if (tidier == 0) { /* the alarm ends it, wherever it is */
      struct itimerval end = {.it_value = {.tv_usec = 1 + round * 137 % 2000}};
      setitimer(ITIMER_REAL, &end, NULL);
      for (;;)
        tidy();
    }
    assert_int_equal(waitpid(tidier, NULL, 0), tidier);
  }
  for (int w = 0; w < WRITERS; w++) {
    int status;
    assert_int_equal(waitpid(writers[w], &status, 0), writers[w]);
    assert_int_equal(status, 0);
  }
  kill(remover, SIGKILL);
  waitpid(remover, NULL, 0);
  tidy();
  assert_null(read_file("dead.jsonl.new"));
  bool there[WRITERS * LETTERS + 1] = {false};
  walk();
  for (size_t i = 0; i < count; i++) {
    struct tg_buf line = {0};
    struct tg_dead_line letter;
    assert_true(i == 0 || places[i].number > places[i - 1].number);
    assert_true(tg_dead_take(dir, &places[i], &line, &error));
    assert_true(tg_dead_line_read((struct tg_span){line.data, line.length}, &letter));
    assert_in_range(letter.sequence, 1, WRITERS * LETTERS);
    assert_false(there[letter.sequence]);
    there[letter.sequence] = true;
    tg_buf_free(&line);
  }
  for (int s = 1; s <= WRITERS * LETTERS; s += 2)
    assert_true(there[s]);
}

/* A limit on files is what a test can have in the place of a full disk: a new file cannot be as long. */
static void a_disk_that_takes_nothing_loses_nothing(void **state)
{
  (void)state;
  write_letters(1, 60, 1 << 20);
  walk();
  assert_int_equal(remove_places(&places[3], 1), 1);
  pid_t child = fork();
  if (child == 0) {
    struct rlimit limit = {1000, 1000};
    struct tg_error error = {0};
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &limit);
    _exit(tg_dead_tidy(dir, NULL, 0, &error) || strcmp(error.code, "disk") != 0);
  }
  int status;
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_int_equal(status, 0);
  assert_null(read_file("dead.jsonl.new"));
  walk();
  assert_int_equal(count, 59);
}

/* Fills the file system of `dir` but for `left` bytes. */
static bool fill(size_t left)
{
  static const char zeros[256];
  int fd = open(path_of("filler"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  off_t size = 0;
  ssize_t wrote;
  while ((wrote = write(fd, zeros, sizeof zeros)) > 0)
    size += wrote;
  bool full = errno == ENOSPC && ftruncate(fd, size - (off_t)left) == 0;
  close(fd);
  return full;
}

/* In a small file system of its own; 77: this test may not have one. */
static int purge_full_disk(void)
{
  struct tg_error error = {0};
  if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
      mount("tmpfs", dir, "tmpfs", 0, "size=256k") != 0)
    return 77;
  write_letters(1, 200, 1 << 20);
  if (!fill(0))
    return 1;
  walk();
  remove_places(places, count - 1);
  if (tg_dead_tidy(dir, NULL, 0, &error) || !strstr(error.message, "No space left on device"))
    return 2; /* one is to stay, and there is no room for it twice */
  walk();
  if (count != 1)
    return 3;
  remove_places(places, 1);
  if (!tg_dead_tidy(dir, NULL, 0, &error) || strcmp(read_file("dead.jsonl"), "{\"v\":0,\"n\":200}\n") != 0)
    return 4;
  write_letters(201, 201, 1 << 20); /* there is room again */
  return 0;
}

static void a_full_disk_gets_its_room_back(void **state)
{
  (void)state;
  pid_t child = fork();
  if (child == 0)
    _exit(purge_full_disk());
  int status;
  assert_int_equal(waitpid(child, &status, 0), child);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
    skip();
  assert_int_equal(status, 0);
}

static void how_many_there_are_is_counted_from_where_it_was_known(void **state)
{
  (void)state;
  struct tg_dead_sum sum = {0};
  struct tg_error error = {0};
  assert_true(tg_dead_look(dir, &sum, &error));
  assert_int_equal(sum.letters + sum.bytes + sum.newest, 0);
  write_letters(1, 10, FILE_BYTES);
  assert_true(tg_dead_look(dir, &sum, &error));
  assert_int_equal(sum.letters, 10);
  assert_int_equal(sum.newest, 10);
  write_letters(11, 25, FILE_BYTES); /* and files are rotated */
  assert_true(tg_dead_look(dir, &sum, &error));
  walk();
  assert_int_equal(sum.letters, count);
  assert_int_equal(sum.newest, 25);
  remove_places(places, 5);
  sum.count = 0;
  assert_true(tg_dead_look(dir, &sum, &error));
  assert_int_equal(sum.letters, count - 5);
}

#define IN_DIR(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_line_tells_what_stands_in_it),
      IN_DIR(all_are_shown_from_the_oldest_on),
      IN_DIR(those_that_are_removed_are_gone_at_once_and_their_room_with_the_next_tidying),
      IN_DIR(all_of_it_may_go),
      IN_DIR(another_answer_takes_the_place_of_the_last),
      IN_DIR(what_nobody_knows_stays),
      IN_DIR(nobody_takes_a_letter_along),
      IN_DIR(a_disk_that_takes_nothing_loses_nothing),
      IN_DIR(a_full_disk_gets_its_room_back),
      IN_DIR(how_many_there_are_is_counted_from_where_it_was_known),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
