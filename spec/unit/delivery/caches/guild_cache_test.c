/* Every row of the reference's section 7.2, what follows from them, and what of it a
 * new process still knows. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/log.h"
#include "delivery/caches/guild_cache.h"

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SHARD = 3, EPOCH = 1798761607, IDENTITY = 77 };

static char directory[64], logged[1024];
static struct tg_guild_store store;

static void note(void *ctx, enum tg_log_level level, int shard_id, const char *text,
                 const struct tg_log_field *fields)
{
  (void)ctx;
  (void)fields;
  (void)level;
  (void)shard_id;
  snprintf(logged + strlen(logged), sizeof logged - strlen(logged), "%s\n", text);
}

static int begin(void **state)
{
  (void)state;
  logged[0] = '\0';
  tg_log_set_sink(note, NULL);
  strcpy(directory, "/tmp/tidegate-guilds-XXXXXX");
  if (!mkdtemp(directory))
    return -1;
  tg_guild_store_open(&store, directory, 0, IDENTITY);
  return 0;
}

static int end(void **state)
{
  (void)state;
  char command[128];
  tg_guild_store_close(&store);
  snprintf(command, sizeof command, "rm -rf %s", directory);
  return system(command);
}

static struct tg_span span(const char *text) { return (struct tg_span){text, strlen(text)}; }

static const char *kind_of(struct tg_guild_cache *cache, const char *data, uint64_t sequence)
{
  enum tg_guild_create kind = tg_guild_cache_kind(cache, span(data), sequence);
  assert_int_equal(tg_guild_cache_kind(cache, span(data), sequence), kind); /* asking changes nothing */
  tg_guild_cache_create(cache, span(data), sequence);
  const char *name = tg_guild_create_name(kind);
  return name ? name : "none";
}

/* ---- what comes, a row each ----
 *
 *   ready  the guilds 1, 2 and 3
 *   lazy   GUILD_CREATE with "unavailable": false, as Discord loads guilds
 *   full   GUILD_CREATE without the key
 *   stub   GUILD_CREATE with true
 *   down   GUILD_DELETE with true
 *   left   GUILD_DELETE without the key
 *   over   the start is over
 *   die    kill -9; the next process adopts the session
 *   lost   the same, and its file is gone */

static const char ready[] =
    "{\"v\":10,\"guilds\":[{\"id\":\"2\",\"unavailable\":true},{\"unavailable\":true,\"id\":\"1\"},"
    "{\"id\":\"3\"}],\"session_id\":\"x\"}";

struct row {
  const char *what;
  const char *steps; /* "what guild kind", and @s where it comes again */
  uint32_t count, loading; /* at the end */
};

static const struct row rows[] = {
    {"guilds are loaded one after the other", "ready, lazy 1 loading, full 3 loading, lazy 2 loading", 3, 0},
    {"a known guild that comes again is available",
     "ready, lazy 1 loading, lazy 1 available, full 1 available", 3, 2},
    {"an unknown guild is joined, whatever key it has",
     "ready, full 7 joined, full 7 available, lazy 8 joined, lazy 8 available", 5, 3},
    {"an outage is no leave", "ready, lazy 1 loading, down 1, full 1 available", 3, 2},
    {"an outage of a guild nobody knew", "ready, down 9, full 9 available", 4, 3},
    {"an outage before the guild was seen", "ready, down 1, lazy 1 available", 3, 2},
    {"a leave and a rejoin are a join",
     "ready, lazy 1 loading, left 1, full 1 joined, full 1 available", 3, 2},
    {"a leave of a guild nobody knew", "ready, left 9, full 9 joined", 4, 3},
    {"a leave before the guild was seen", "ready, left 1", 2, 2},

    {"a leave during the start may be an outage", "ready, left 1, full 1 loading", 3, 2},
    {"... told twice", "ready, left 1, left 1, lazy 1 loading", 3, 2},
    {"... and then an outage that says so", "ready, left 1, down 1, lazy 1 available", 3, 2},
    {"... of which a stub comes first", "ready, left 1, stub 1 loading, lazy 1 available", 3, 2},
    {"... that ends after the start", "ready, left 1, over, lazy 1 loading", 3, 2},
    {"... or a leave and a rejoin", "ready, left 1, over, full 1 joined", 3, 2},
    {"... once it was seen it is a leave", "ready, left 1, full 1 loading, left 1, full 1 joined", 3, 2},
    {"a leave of a guild that did not come with the start", "ready, over, left 1, full 1 joined", 3, 2},

    {"a stub is never a join",
     "ready, stub 7 available, stub 7 available, down 7, full 7 joined, full 7 available", 4, 3},
    {"a stub of a known guild", "ready, lazy 1 loading, stub 1 available, full 1 available", 3, 2},
    {"a stub of a loading guild", "ready, stub 1 loading, full 1 available", 3, 2},
    {"a new READY starts over",
     "ready, lazy 1 loading, full 7 joined, ready, lazy 1 loading, full 7 joined", 4, 2},

    {"after a death a known guild is known",
     "ready, lazy 1 loading, die, lazy 1 available, full 1 available", 3, 2},
    {"... one that was joined, too", "ready, full 7 joined, die, full 7 available", 4, 3},
    {"... one in outage, too", "ready, lazy 1 loading, down 1, die, full 1 available", 3, 2},
    {"... one that is still to come is loading", "ready, die, lazy 1 loading", 3, 2},
    {"... one that was left is not known", "ready, lazy 1 loading, left 1, die, full 1 joined", 3, 2},
    {"... one that was missed is loading", "ready, left 1, die, full 1 loading", 3, 2},
    {"... one whose stub had come is joined", "ready, stub 7 available, die, full 7 joined", 4, 3},
    {"... an unknown one is joined", "ready, die, full 7 joined, lazy 8 joined", 5, 3},
    {"... again and again",
     "ready, lazy 1 loading, die, lazy 2 loading, die, full 7 joined, die, full 7 available, "
     "lazy 1 available, lazy 2 available, lazy 3 loading", 4, 0},

    {"what comes again after a death is what it was",
     "ready, lazy 1 loading, die, lazy 1 loading @2, lazy 1 available", 3, 2},
    {"... a join is told once more", "ready, full 7 joined, die, full 7 joined @2, full 7 available", 4, 3},
    {"... with its stub",
     "ready, stub 7 available, full 7 joined, die, stub 7 available @2, full 7 joined @3, "
     "full 7 available", 4, 3},
    {"... with the leave that followed it",
     "ready, full 7 joined, left 7, die, full 7 joined @2, left 7, full 7 joined", 4, 3},
    {"... with a rejoin",
     "ready, lazy 1 loading, left 1, full 1 joined, die, left 1, full 1 joined @4", 3, 2},

    {"without READY's list the key decides",
     "lazy 1 available, full 2 joined, full 2 available, stub 3 available", 3, 0},
    {"a lost file", "ready, lazy 1 loading, lost, lazy 1 available, full 2 joined", 2, 0},
};

static uint64_t sequence;

static void begin_anew(struct tg_guild_cache *cache)
{
  tg_guild_cache_free(cache);
  tg_guild_cache_adopt(cache, EPOCH);
}

/* `what` is also the text of the event. */
static const struct event {
  const char *what, *key;
  bool is_create;
} events[] = {
    {"lazy", ",\"unavailable\":false", true}, {"full", "", true}, {"stub", ",\"unavailable\":true", true},
    {"down", ",\"unavailable\":true", false}, {"left", "", false},
};

static void take_event(struct tg_guild_cache *cache, const struct row *row, const char *what, int guild,
                       const char *kind, unsigned long s)
{
  const struct event *event = events;
  while (strcmp(event->what, what) != 0)
    event++;
  char data[64];
  snprintf(data, sizeof data, "{\"id\":\"%d\"%s}", guild, event->key);
  if (!event->is_create) {
    assert_int_equal(tg_guild_cache_delete(cache, span(data)), strcmp(what, "left") == 0);
    return;
  }
  const char *is = kind_of(cache, data, s);
  if (strcmp(is, kind) != 0)
    fail_msg("%s: \"%s %d\" is %s, not %s", row->what, what, guild, is, kind);
}

static void take_steps(struct tg_guild_cache *cache, const struct row *row, bool until_death)
{
  sequence = 0;
  for (const char *at = row->steps; at; at = strchr(at, ',')) {
    at += strspn(at, ", ");
    char what[16] = "", kind[16] = "", path[128];
    int guild = 0;
    unsigned long s = 0;
    int read = sscanf(at, "%15[a-z] %d %15[a-z] @%lu", what, &guild, kind, &s);
    s = read == 4 ? s : ++sequence;
    bool lost = strcmp(what, "lost") == 0, dies = lost || strcmp(what, "die") == 0;
    if (dies && until_death)
      return;
    snprintf(path, sizeof path, "%s/guilds/%d", directory, SHARD);
    if (lost)
      unlink(path);
    if (dies)
      begin_anew(cache);
    else if (strcmp(what, "ready") == 0)
      tg_guild_cache_ready(cache, span(ready), EPOCH);
    else if (strcmp(what, "over") == 0)
      tg_guild_cache_loaded(cache);
    else
      take_event(cache, row, what, guild, kind, s);
  }
}

static void each_row(void **state)
{
  (void)state;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    struct tg_guild_cache cache;
    tg_guild_cache_init(&cache, &store, SHARD);
    take_steps(&cache, &rows[i], false);
    if (cache.count != rows[i].count || cache.loading != rows[i].loading)
      fail_msg("%s: %u guilds, %u loading", rows[i].what, cache.count, cache.loading);
    tg_guild_cache_free(&cache);
  }
  assert_string_equal(logged, "");
}

/* The same without a state directory, but for what a death would do. */
static void each_row_in_memory(void **state)
{
  (void)state;
  struct tg_guild_store none = {0};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    struct tg_guild_cache cache;
    tg_guild_cache_init(&cache, &none, SHARD);
    take_steps(&cache, &rows[i], true);
    tg_guild_cache_free(&cache);
  }
}

/* ---- odd data ---- */

static void nested_ids_do_not_confuse(void **state)
{
  (void)state;
  struct tg_guild_cache cache;
  tg_guild_cache_init(&cache, &store, SHARD);
  tg_guild_cache_ready(&cache, span("{\"guilds\":[{\"id\":\"100\"}]}"), EPOCH);
  const char *nested = "{\"roles\":[{\"id\":\"777\",\"unavailable\":true}],\"id\":\"100\","
                       "\"channels\":[{\"id\":\"1\"}]}";
  assert_string_equal(kind_of(&cache, nested, 2), "loading");
  assert_string_equal(kind_of(&cache, nested, 3), "available");
  assert_string_equal(kind_of(&cache, "{\"name\":\"no id\"}", 4), "none");
  assert_string_equal(kind_of(&cache, "null", 5), "none");
  assert_string_equal(kind_of(&cache, "{\"id\":null}", 6), "none");
  tg_guild_cache_free(&cache);
}

static void odd_ready(void **state)
{
  (void)state;
  struct tg_guild_cache cache;
  tg_guild_cache_init(&cache, &store, SHARD);
  tg_guild_cache_ready(&cache, span("{\"guilds\":[]}"), EPOCH);
  assert_int_equal(cache.loading, 0);
  assert_true(cache.complete);
  tg_guild_cache_ready(&cache, span("{}"), EPOCH);
  assert_int_equal(cache.count, 0);
  tg_guild_cache_ready(&cache, span("{\"guilds\":[{\"id\":\"7\"},{\"id\":\"7\"},{\"x\":1},5]}"), EPOCH);
  assert_int_equal(cache.count, 1);
  assert_int_equal(cache.loading, 1);
  tg_guild_cache_free(&cache);
}

static void events_without_a_number_do_not_come_again(void **state)
{
  (void)state;
  struct tg_guild_cache cache;
  tg_guild_cache_init(&cache, &store, SHARD);
  tg_guild_cache_ready(&cache, span("{\"guilds\":[]}"), EPOCH);
  assert_string_equal(kind_of(&cache, "{\"id\":\"7\"}", 0), "joined");
  assert_string_equal(kind_of(&cache, "{\"id\":\"7\"}", 0), "available");
  /* A number that is too large for the file is none. */
  assert_string_equal(kind_of(&cache, "{\"id\":\"8\"}", 1ull << 28), "joined");
  assert_string_equal(kind_of(&cache, "{\"id\":\"8\"}", 1ull << 28), "available");
  tg_guild_cache_free(&cache);
}

/* ---- many ---- */

static char *ready_with(int guilds)
{
  char *text = malloc((size_t)guilds * 64 + 64), *at = text;
  at += sprintf(at, "{\"guilds\":[");
  for (int i = 0; i < guilds; i++)
    at += sprintf(at, "%s{\"id\":\"%d\",\"unavailable\":true}", i ? "," : "", 1000000 + i * 7919);
  sprintf(at, "]}");
  return text;
}

static off_t size_of_file(void)
{
  char path[128];
  struct stat status;
  snprintf(path, sizeof path, "%s/guilds/%d", directory, SHARD);
  return stat(path, &status) == 0 ? status.st_size : -1;
}

/* All that Discord puts into a session, and as many joins: 16 bytes each, and the rest is found again. */
static void thousands(void **state)
{
  (void)state;
  enum { GUILDS = 2500 };
  struct tg_guild_cache cache;
  tg_guild_cache_init(&cache, &store, SHARD);
  char *text = ready_with(GUILDS), data[64];
  tg_guild_cache_ready(&cache, span(text), EPOCH);
  free(text);
  assert_in_range(size_of_file(), 12 * GUILDS, 16 * GUILDS + 512);
  for (int i = 0; i < 2 * GUILDS; i++) {
    snprintf(data, sizeof data, "{\"id\":\"%d\"}", 1000000 + i * 7919);
    assert_string_equal(kind_of(&cache, data, (uint64_t)i + 2), i < GUILDS ? "loading" : "joined");
    if (i % 100 == 99) {
      tg_guild_cache_free(&cache);
      tg_guild_cache_adopt(&cache, EPOCH);
    }
  }
  assert_int_equal(cache.count, 2 * GUILDS);
  assert_int_equal(cache.loading, 0);
  assert_in_range(size_of_file(), 24 * GUILDS, 64 * GUILDS);
  for (int i = 0; i < 2 * GUILDS; i++) {
    snprintf(data, sizeof data, "{\"id\":\"%d\"}", 1000000 + i * 7919);
    assert_string_equal(kind_of(&cache, data, 100000), "available");
  }
  tg_guild_cache_free(&cache);
}

/* Guilds that come and go do not fill it. */
static void comings_and_goings_stay_small(void **state)
{
  (void)state;
  struct tg_guild_cache cache;
  tg_guild_cache_init(&cache, &store, SHARD);
  tg_guild_cache_ready(&cache, span("{\"guilds\":[{\"id\":\"1\"}]}"), EPOCH);
  char data[64];
  for (int i = 0; i < 20000; i++) {
    snprintf(data, sizeof data, "{\"id\":\"%d\"}", 100 + i);
    assert_string_equal(kind_of(&cache, data, 10), "joined");
    assert_true(tg_guild_cache_delete(&cache, span(data)));
  }
  assert_int_equal(cache.count, 1);
  assert_in_range(size_of_file(), 1, 4096);
  tg_guild_cache_free(&cache);
}

/* ---- whose file it is, and what is wrong with it ---- */

/* Guild 1 is known, guild 2 is loading. */
static void leave_a_file(void)
{
  struct tg_guild_cache cache;
  tg_guild_cache_init(&cache, &store, SHARD);
  tg_guild_cache_ready(&cache, span("{\"guilds\":[{\"id\":\"1\"},{\"id\":\"2\"}]}"), EPOCH);
  assert_string_equal(kind_of(&cache, "{\"id\":\"1\"}", 2), "loading");
  tg_guild_cache_free(&cache);
}

static bool is_adopted(uint64_t identity, int shard_id, uint64_t epoch)
{
  struct tg_guild_cache cache;
  store.identity = identity;
  tg_guild_cache_init(&cache, &store, shard_id);
  tg_guild_cache_adopt(&cache, epoch);
  bool adopted = cache.complete;
  assert_int_equal(cache.count, adopted ? 2 : 0);
  tg_guild_cache_free(&cache);
  store.identity = IDENTITY;
  return adopted;
}

static void only_its_own_session_has_it(void **state)
{
  (void)state;
  leave_a_file();
  assert_false(is_adopted(IDENTITY + 1, SHARD, EPOCH)); /* another bot, or number of shards */
  assert_false(is_adopted(IDENTITY, SHARD + 1, EPOCH));
  assert_false(is_adopted(IDENTITY, SHARD, EPOCH + 1));
  assert_false(is_adopted(IDENTITY, SHARD, 0));
  assert_true(is_adopted(IDENTITY, SHARD, EPOCH));
  char from[128], to[128];
  snprintf(from, sizeof from, "%s/guilds/%d", directory, SHARD);
  snprintf(to, sizeof to, "%s/guilds/%d", directory, SHARD + 1);
  assert_int_equal(rename(from, to), 0);
  assert_false(is_adopted(IDENTITY, SHARD + 1, EPOCH));
  assert_string_equal(logged, ""); /* none of this is a fault */
}

static void change_file(off_t at, const char *bytes, size_t length, off_t size)
{
  char path[128];
  snprintf(path, sizeof path, "%s/guilds/%d", directory, SHARD);
  int fd = open(path, O_RDWR);
  assert_true(fd >= 0);
  if (size >= 0)
    assert_int_equal(ftruncate(fd, size), 0);
  if (length > 0)
    assert_int_equal(pwrite(fd, bytes, length, at), (ssize_t)length);
  close(fd);
}

static void a_damaged_file_is_told_once_and_made_anew(void **state)
{
  (void)state;
  char rubbish[200];
  memset(rubbish, 0xa5, sizeof rubbish);
  static const struct {
    off_t at;
    size_t length;
    off_t size;
  } damages[] = {
      {0, 8, -1},     /* no file of ours */
      {12, 4, -1},    /* its capacity */
      {0, 0, 10},     /* cut off in its head */
      {0, 0, 100},    /* ... and behind it */
      {0, 0, 0},      /* empty */
      {0, 0, 100000}, /* longer */
      {40, 200, -1},  /* its ids */
      {40 + 18 * 8, 50, -1}, /* its marks */
  };
  for (size_t i = 0; i < sizeof damages / sizeof *damages; i++) {
    leave_a_file();
    assert_true(is_adopted(IDENTITY, SHARD, EPOCH));
    change_file(damages[i].at, rubbish, damages[i].length, damages[i].size);
    logged[0] = '\0';
    if (is_adopted(IDENTITY, SHARD, EPOCH))
      fail_msg("damage %zu was not seen", i);
    assert_non_null(strstr(logged, "is damaged"));
    logged[0] = '\0';
    assert_false(is_adopted(IDENTITY, SHARD, EPOCH));
    assert_string_equal(logged, "");
  }
}

/* A file of a version to come is left alone. */
static void another_version_is_not_read(void **state)
{
  (void)state;
  leave_a_file();
  change_file(8, "\x63\0\0", 4, -1);
  assert_false(is_adopted(IDENTITY, SHARD, EPOCH));
  assert_string_equal(logged, "");
  leave_a_file();
  assert_true(is_adopted(IDENTITY, SHARD, EPOCH));
}

static void without_a_place_to_write_it_works_in_memory(void **state)
{
  (void)state;
  tg_guild_store_close(&store);
  char path[128];
  snprintf(path, sizeof path, "%s/file", directory);
  close(open(path, O_CREAT | O_WRONLY, 0600));
  tg_guild_store_open(&store, path, 0, IDENTITY);
  for (int i = 0; i < 3; i++)
    leave_a_file();
  assert_false(is_adopted(IDENTITY, SHARD, EPOCH));
  const char *told = strstr(logged, "cannot be kept");
  assert_non_null(told);
  assert_null(strstr(told + 1, "cannot be kept"));
}

static void files_of_shards_that_are_no_more_go(void **state)
{
  (void)state;
  char path[128];
  static const char *const names[] = {"0", "3", "4", "17", "17.new", "notes"};
  static const bool stays[] = {true, true, false, false, false, true};
  for (size_t i = 0; i < 6; i++) {
    snprintf(path, sizeof path, "%s/guilds/%s", directory, names[i]);
    close(open(path, O_CREAT | O_WRONLY, 0600));
  }
  tg_guild_store_sweep(&store, 4);
  for (size_t i = 0; i < 6; i++) {
    snprintf(path, sizeof path, "%s/guilds/%s", directory, names[i]);
    assert_int_equal(access(path, F_OK) == 0, stays[i]);
  }
}

/* kill -9 at any moment: what is there can be read, and nothing is damaged. */
static void a_kill_at_any_moment_does_no_harm(void **state)
{
  (void)state;
  leave_a_file();
  for (int round = 0; round < 40; round++) {
    volatile uint64_t *done = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
      struct tg_guild_cache cache;
      tg_guild_cache_init(&cache, &store, SHARD);
      char data[64];
      for (uint64_t i = 0;; i++) {
        if (i % 500 == 0)
          tg_guild_cache_ready(&cache, span("{\"guilds\":[{\"id\":\"1\"},{\"id\":\"2\"}]}"), EPOCH);
        snprintf(data, sizeof data, "{\"id\":\"%d\"}", (int)(i % 97) + 3);
        tg_guild_cache_create(&cache, span(data), i + 2);
        if (i % 3 == 0)
          tg_guild_cache_delete(&cache, span(data));
        *done = i;
      }
    }
    while (*done < (uint64_t)(round * 37))
      sched_yield();
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    munmap((void *)(uintptr_t)done, 4096);
    struct tg_guild_cache cache;
    tg_guild_cache_init(&cache, &store, SHARD);
    tg_guild_cache_adopt(&cache, EPOCH);
    assert_true(cache.complete);
    assert_in_range(cache.count, 2, 99);
    tg_guild_cache_free(&cache);
  }
  assert_string_equal(logged, "");
}

int main(void)
{
#define IN_DIRECTORY(test) cmocka_unit_test_setup_teardown(test, begin, end)
  const struct CMUnitTest tests[] = {
      IN_DIRECTORY(each_row),
      IN_DIRECTORY(each_row_in_memory),
      IN_DIRECTORY(nested_ids_do_not_confuse),
      IN_DIRECTORY(odd_ready),
      IN_DIRECTORY(events_without_a_number_do_not_come_again),
      IN_DIRECTORY(thousands),
      IN_DIRECTORY(comings_and_goings_stay_small),
      IN_DIRECTORY(only_its_own_session_has_it),
      IN_DIRECTORY(a_damaged_file_is_told_once_and_made_anew),
      IN_DIRECTORY(another_version_is_not_read),
      IN_DIRECTORY(without_a_place_to_write_it_works_in_memory),
      IN_DIRECTORY(files_of_shards_that_are_no_more_go),
      IN_DIRECTORY(a_kill_at_any_moment_does_no_harm),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
