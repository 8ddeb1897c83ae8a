/* The log under kill -9: a child appends and delivers at random, is killed at
 * random instants, and starts again, 200 times. Nothing is lost, the order of
 * each shard is kept, and what comes twice comes with the same key.
 *
 * What the child has done is noted in memory that both share, which survives
 * the kill as the bot's and Discord's view do: an event is noted as durable
 * after the flush, as delivered before the ack. */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "base/log.h"
#include "event_log/event_log.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { KILLS = 200, SHARDS = 16, BACKLOG = 2000, LONGEST_LIFE_US = 20000, PAYLOAD = 3000, TURN = 64 };

struct witness {
  volatile uint64_t durable[SHARDS], delivered[SHARDS];
  volatile uint64_t repeats, turns, recovered;
  char failure[300];
};

struct child {
  struct witness *witness;
  struct tg_event_log *log;
  uint64_t next_sent[SHARDS];     /* what Discord sends next */
  uint64_t next_expected[SHARDS]; /* what has to come out of the log next */
};

static void complain(struct witness *witness, const char *format, ...) __attribute__((format(printf, 2, 3), noreturn));

static void complain(struct witness *witness, const char *format, ...)
{
  va_list args;
  va_start(args, format);
  vsnprintf(witness->failure, sizeof witness->failure, format, args);
  va_end(args);
  _exit(1);
}

static void on_gap(void *ctx, const struct tg_log_gap *gap)
{
  struct child *child = ctx;
  complain(child->witness, "shard %d: a gap %d to %d is reported (%s)", gap->shard_id, (int)gap->from, (int)gap->to,
           tg_log_loss_name(gap->reason));
}

/* Everything about an event follows from its key. */
static size_t make_payload(char *payload, int shard, uint64_t sequence)
{
  uint64_t state = sequence * 0x9e3779b97f4a7c15u + (uint64_t)shard * 0xbf58476d1ce4e5b9u;
  size_t length = 20 + (size_t)(state >> 33) % (sequence % 50 == 0 ? PAYLOAD - 20 : 400);
  for (size_t i = 0; i < length; i++) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    payload[i] = (char)(state >> 56);
  }
  return length;
}

static void receive(struct child *child)
{
  static char payload[PAYLOAD];
  uint64_t sent[SHARDS] = {0};
  struct tg_error error = {0};
  int count = 1 + (int)tg_random(TURN);
  for (int i = 0; i < count; i++) {
    int shard = (int)tg_random(SHARDS);
    uint64_t sequence = child->next_sent[shard]++;
    size_t length = make_payload(payload, shard, sequence);
    struct tg_span parts[] = {{payload, 10}, {payload + 10, length - 10}};
    struct tg_log_event event = {
        .shard_id = shard,
        .epoch = 1,
        .sequence = sequence,
        .at = 1700000000000,
        .kind = TG_LOG_EVENT,
        .parts = parts,
        .part_count = 2,
    };
    if (tg_event_log_append(child->log, &event, &error) == 0)
      complain(child->witness, "append: %s", error.message);
    sent[shard] = sequence;
  }
  if (!tg_event_log_flush(child->log, &error))
    complain(child->witness, "flush: %s", error.message);
  for (int shard = 0; shard < SHARDS; shard++)
    if (sent[shard] > 0)
      child->witness->durable[shard] = sent[shard];
}

static void deliver(struct child *child, int shard, int count)
{
  static char payload[PAYLOAD];
  struct witness *witness = child->witness;
  struct tg_error error = {0};
  tg_log_position position;
  while (count-- > 0 && (position = tg_event_log_next(child->log, shard, 0, NULL)) != 0) {
    struct tg_log_record record;
    uint64_t expected = child->next_expected[shard]++;
    if (!tg_event_log_read(child->log, shard, position, &record, &error))
      complain(witness, "read: %s", error.message);
    if (record.shard_id != shard || record.sequence != expected)
      complain(witness, "shard %d: %d comes after %d", shard, (int)record.sequence, (int)expected - 1);
    size_t length = make_payload(payload, shard, expected);
    if (record.payload.length != length || memcmp(record.payload.at, payload, length) != 0)
      complain(witness, "shard %d: the payload of %d is not what was sent", shard, (int)expected);
    if (expected <= witness->delivered[shard])
      witness->repeats++;
    else
      witness->delivered[shard] = expected;
    tg_event_log_ack(child->log, shard, position);
  }
}

/* After a start: all that was durable and not delivered is there, in one piece. */
static void check(struct child *child)
{
  struct witness *witness = child->witness;
  for (int shard = 0; shard < SHARDS; shard++) {
    struct tg_log_entry entry;
    uint64_t epoch, last = 0, delivered = witness->delivered[shard];
    tg_event_log_last(child->log, shard, &epoch, &last);
    if (last < witness->durable[shard])
      complain(witness, "shard %d: %d was durable, the log ends with %d", shard, (int)witness->durable[shard], (int)last);
    tg_log_position position = tg_event_log_next(child->log, shard, 0, &entry);
    if (position == 0 ? last > delivered : entry.sequence > delivered + 1)
      complain(witness, "shard %d: %d were delivered, the log begins with %d and ends with %d", shard, (int)delivered,
               position ? (int)entry.sequence : 0, (int)last);
    child->next_expected[shard] = position ? entry.sequence : last + 1;
    child->next_sent[shard] = last + 1;
  }
}

static void open_log(struct child *child, const char *directory)
{
  struct tg_error error = {0};
  struct tg_event_log_options options = {
      .directory = directory,
      .small_segment = 64 << 10,
      .large_segment = 256 << 10,
      .on_gap = on_gap,
      .ctx = child,
  };
  child->log = tg_event_log_open(&options, &error);
  if (!child->log)
    complain(child->witness, "open: %s", error.message);
  check(child);
}

static uint64_t waiting(const struct child *child)
{
  struct tg_log_figures figures;
  tg_event_log_figures(child->log, &figures);
  return figures.events;
}

static void live(struct witness *witness, const char *directory)
{
  struct child child = {.witness = witness};
  open_log(&child, directory);
  witness->recovered += waiting(&child);
  for (;;) {
    bool full = waiting(&child) > BACKLOG;
    if (!full && tg_random(3) > 0)
      receive(&child);
    else
      deliver(&child, (int)tg_random(SHARDS), 1 + (int)tg_random(full ? 200 : 40));
    witness->turns++;
  }
}

/* Runs one life of the child, which ends with SIGKILL. */
static void run_and_kill(struct witness *witness, const char *directory)
{
  pid_t pid = fork();
  assert_true(pid >= 0);
  if (pid == 0)
    live(witness, directory);
  sigset_t child_ended;
  sigemptyset(&child_ended);
  sigaddset(&child_ended, SIGCHLD);
  struct timespec life = {.tv_nsec = (long)tg_random(LONGEST_LIFE_US) * 1000};
  sigtimedwait(&child_ended, NULL, &life);
  kill(pid, SIGKILL);
  int status;
  assert_int_equal(waitpid(pid, &status, 0), pid);
  while (sigtimedwait(&child_ended, NULL, &(struct timespec){0}) > 0)
    ;
  if (witness->failure[0])
    fail_msg("%s", witness->failure);
  if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
    fail_msg("the child ended by itself, with status %d", status);
}

static void drain(struct witness *witness, const char *directory)
{
  pid_t pid = fork();
  if (pid == 0) {
    struct child child = {.witness = witness};
    open_log(&child, directory);
    for (int shard = 0; shard < SHARDS; shard++)
      deliver(&child, shard, BACKLOG * 10);
    for (int shard = 0; shard < SHARDS; shard++)
      if (child.next_sent[shard] != child.next_expected[shard])
        complain(witness, "shard %d: not all has come out of the log", shard);
    tg_event_log_close(child.log);
    _exit(0);
  }
  int status;
  assert_int_equal(waitpid(pid, &status, 0), pid);
  if (witness->failure[0])
    fail_msg("%s", witness->failure);
  assert_int_equal(status, 0);
}

static int count_files(const char *directory, const char *end)
{
  int count = 0;
  DIR *walk = opendir(directory);
  for (struct dirent *entry; walk && (entry = readdir(walk)) != NULL;)
    count += strlen(entry->d_name) > strlen(end) &&
             strcmp(entry->d_name + strlen(entry->d_name) - strlen(end), end) == 0;
  if (walk)
    closedir(walk);
  return count;
}

static void nothing_is_lost_by_kill_9(void **state)
{
  (void)state;
  char parent[] = "/tmp/tg-crash-XXXXXX", directory[64];
  assert_non_null(mkdtemp(parent));
  snprintf(directory, sizeof directory, "%s/log", parent);
  struct witness *witness = mmap(NULL, sizeof *witness, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  assert_true(witness != MAP_FAILED);
  tg_log_set_level(TG_ERROR);
  sigset_t child_ended, before;
  sigemptyset(&child_ended);
  sigaddset(&child_ended, SIGCHLD);
  sigprocmask(SIG_BLOCK, &child_ended, &before);

  for (int kills = 0; kills < KILLS; kills++)
    run_and_kill(witness, directory);
  drain(witness, directory);
  assert_int_equal(count_files(directory, ".segment"), 1);

  struct tg_error error = {0};
  struct tg_event_log_options options = {.directory = directory, .mode = TG_LOG_DRAIN};
  struct tg_event_log *log = tg_event_log_open(&options, &error);
  assert_non_null(log);
  if (!tg_event_log_remove(log, NULL, NULL, &error))
    fail_msg("%s", error.message);
  assert_int_equal(rmdir(parent), 0);
  uint64_t events = 0;
  for (int shard = 0; shard < SHARDS; shard++) {
    assert_true(witness->delivered[shard] >= witness->durable[shard]);
    events += witness->delivered[shard];
  }
  assert_true(witness->turns > KILLS); /* it did get to work */
  assert_true(witness->recovered > 0);
  print_message("%d kills, %llu events, lost 0, out of order 0, %llu came twice, %llu recovered\n", KILLS,
                (unsigned long long)events, (unsigned long long)witness->repeats,
                (unsigned long long)witness->recovered);
  sigprocmask(SIG_SETMASK, &before, NULL);
  munmap(witness, sizeof *witness);
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(nothing_is_lost_by_kill_9)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
