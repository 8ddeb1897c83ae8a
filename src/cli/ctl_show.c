#include "cli/ctl_show.h"
#include "cli/table.h"

#include "base/human.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BAR_WIDTH = 30 };

/* ---- figures as text; each result is valid for seven more calls ---- */

static char *place(void)
{
  static char texts[8][TG_HUMAN_SIZE];
  static unsigned next;
  char *text = texts[next++ % 8];
  snprintf(text, TG_HUMAN_SIZE, "-");
  return text;
}

/* False: there is no such figure. The other end decides what comes: a real
 * number may be out of range. */
static bool figure(const json_t *object, const char *key, int64_t *number)
{
  const json_t *value = json_object_get(object, key);
  double real = json_number_value(value);
  if (json_is_integer(value))
    *number = json_integer_value(value);
  else
    *number = real > 9e18 ? INT64_MAX : real < -9e18 ? INT64_MIN : (int64_t)real;
  return json_is_number(value);
}

static int64_t number(const json_t *object, const char *key)
{
  int64_t result;
  return figure(object, key, &result) ? result : 0;
}

static const char *count(const json_t *object, const char *key)
{
  int64_t value;
  char *text = place();
  if (figure(object, key, &value))
    tg_human_count(value, text, TG_HUMAN_SIZE);
  return text;
}

static const char *bytes(const json_t *object, const char *key)
{
  int64_t value;
  char *text = place();
  if (figure(object, key, &value) && value >= 0)
    tg_human_bytes((uint64_t)value, text, TG_HUMAN_SIZE);
  return text;
}

static const char *duration(const json_t *object, const char *key)
{
  int64_t value;
  char *text = place();
  if (figure(object, key, &value) && value >= 0)
    tg_human_duration(value, text, TG_HUMAN_SIZE);
  return text;
}

static const char *text_of(const json_t *object, const char *key)
{
  const char *text = json_string_value(json_object_get(object, key));
  return text ? text : "-";
}

/* ---- states ---- */

static enum tg_colour colour_of(const char *state)
{
  static const char *const good[] = {"ready", "up", "running", "Connected"};
  static const char *const bad[] = {"down", "stopped", "Offline", "Disconnected"};
  for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
    if (strcmp(state, good[i]) == 0)
      return TG_GOOD;
  }
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    if (strcmp(state, bad[i]) == 0)
      return TG_BAD;
  }
  return TG_UNEASY;
}

static void put_safe(const char *text)
{
  struct tg_buf safe = {0};
  tg_human_safe(&safe, text, false);
  char *words = tg_buf_take(&safe);
  fputs(words, stdout);
  free(words);
}

/* ---- status ---- */

static void bar_text(const json_t *progress, struct tg_buf *out)
{
  int64_t ready = number(progress, "ready"), total = number(progress, "total"), eta;
  int filled = total > 0 && ready >= 0 && ready <= total ? (int)(ready * BAR_WIDTH / total) : 0;
  tg_buf_puts(out, "[");
  for (int i = 0; i < BAR_WIDTH; i++)
    tg_buf_puts(out, i < filled ? "#" : ".");
  tg_buf_printf(out, "] %" PRId64 " of %" PRId64 " shards up", ready, total);
  if (figure(progress, "eta", &eta) && eta >= 0) {
    char left[TG_HUMAN_SIZE];
    tg_human_seconds(eta, left, sizeof left);
    tg_buf_printf(out, ", about %s left", left);
  }
}

static void show_head(const json_t *status)
{
  const char *phase = text_of(status, "phase");
  enum tg_colour colour = colour_of(phase);
  fputs("tidegate ", stdout);
  put_safe(text_of(status, "version"));
  printf(", pid %" PRId64 ", up %s, generation %" PRId64 ": %s", number(status, "pid"),
         duration(status, "uptime"), number(status, "generation"), tg_colour_start(colour));
  put_safe(phase);
  printf("%s\n", tg_colour_end(colour));
  const char *waiting = json_string_value(json_object_get(json_object_get(status, "waiting"), "reason"));
  if (waiting) {
    put_safe(waiting);
    putchar('\n');
  } else if (strcmp(phase, "starting") == 0) {
    struct tg_buf bar = {0};
    bar_text(json_object_get(status, "progress"), &bar);
    char *text = tg_buf_take(&bar);
    puts(text);
    free(text);
  }
}

static char *states_text(const json_t *states)
{
  struct tg_buf text = {0};
  const char *name;
  json_t *value;
  json_object_foreach((json_t *)states, name, value)
  {
    if (number(states, name) > 0)
      tg_buf_printf(&text, "%s%s %s", text.length ? ", " : "", name, count(states, name));
  }
  return tg_buf_take(&text);
}

static void add_shards(struct tg_table *table, const json_t *status)
{
  const json_t *shards = json_object_get(status, "shards");
  char *states = states_text(json_object_get(shards, "states"));
  tg_table_cell(table, TG_BOLD, "Shards");
  tg_table_cell(table, TG_PLAIN, "%s to %s of %s%s%s", count(shards, "first"), count(shards, "last"),
                count(shards, "total"), *states ? ": " : "", states);
  free(states);
  tg_table_cell(table, TG_BOLD, "Guilds");
  tg_table_cell(table, TG_PLAIN, "%s", count(status, "guilds"));
}

static void add_queue(struct tg_table *table, const json_t *queue)
{
  tg_table_cell(table, TG_BOLD, "Queue");
  if (number(queue, "events") > 0)
    tg_table_cell(table, TG_PLAIN, "%s events wait (%s), the oldest for %s; log %s", count(queue, "events"),
                  bytes(queue, "bytes"), duration(queue, "oldest"), bytes(queue, "spool"));
  else
    tg_table_cell(table, TG_PLAIN, "nothing waits; log %s", bytes(queue, "spool"));
  bool lost = number(queue, "dropped") > 0 || number(queue, "dead") > 0 || number(queue, "gaps") > 0;
  tg_table_cell(table, TG_BOLD, "Events");
  tg_table_cell(table, lost ? TG_UNEASY : TG_PLAIN,
                "%s delivered, %s retried, %s replayed; %s dropped, %s dead letters, %s gaps",
                count(queue, "delivered"), count(queue, "retried"), count(queue, "replayed"),
                count(queue, "dropped"), count(queue, "dead"), count(queue, "gaps"));
}

static void add_identifies(struct tg_table *table, const json_t *identify)
{
  bool spent = json_is_true(json_object_get(identify, "heldBack"));
  tg_table_cell(table, TG_BOLD, "Identifies");
  tg_table_cell(table, spent ? TG_BAD : TG_PLAIN,
                "%s of %s left, the window ends in %s; %s kept in reserve, %s wait",
                count(identify, "remaining"), count(identify, "total"), duration(identify, "resetAfter"),
                count(identify, "reserve"), count(identify, "waiting"));
}

static void add_intents(struct tg_table *table, const json_t *intents)
{
  if (!json_is_object(intents))
    return;
  const json_t *list = json_object_get(intents, "missing"), *name;
  if (json_array_size(list) == 0)
    list = json_object_get(intents, "withheld");
  struct tg_buf names = {0};
  for (size_t i = 0; (name = json_array_get(list, i)); i++)
    tg_buf_printf(&names, "%s%s", i ? ", " : "", json_is_string(name) ? json_string_value(name) : "?");
  char *text = tg_buf_take(&names);
  tg_table_cell(table, TG_BOLD, "Intents");
  tg_table_cell(table, TG_BAD, "%s shards run without %s, which Discord has refused",
                count(intents, "shards"), text ? text : "-");
  free(text);
}

/* Its shape is the resharding's own: whatever it says is shown. */
static void add_resharding(struct tg_table *table, const json_t *resharding)
{
  if (!json_is_object(resharding))
    return;
  char *text = json_dumps(resharding, JSON_COMPACT | JSON_ENSURE_ASCII);
  tg_table_cell(table, TG_BOLD, "Resharding");
  tg_table_cell(table, TG_UNEASY, "%s", text ? text : "-");
  free(text);
}

static void show_workers(const json_t *workers)
{
  struct tg_table table = {0};
  tg_table_column(&table, "Worker", true);
  tg_table_column(&table, "Pid", true);
  tg_table_column(&table, "State", false);
  tg_table_column(&table, "Shards", true);
  tg_table_column(&table, "Restarts", true);
  tg_table_column(&table, "Memory", true);
  tg_table_column(&table, "Generation", true);
  size_t i;
  json_t *worker;
  json_array_foreach((json_t *)workers, i, worker)
  {
    const char *state = text_of(worker, "state");
    tg_table_cell(&table, TG_PLAIN, "%s", count(worker, "workerId"));
    tg_table_cell(&table, TG_PLAIN, "%" PRId64, number(worker, "pid"));
    tg_table_cell(&table, colour_of(state), "%s", state);
    tg_table_cell(&table, TG_PLAIN, "%s", count(worker, "shards"));
    tg_table_cell(&table, number(worker, "restarts") > 0 ? TG_UNEASY : TG_PLAIN, "%s",
                  count(worker, "restarts"));
    tg_table_cell(&table, TG_PLAIN, "%s", bytes(worker, "memory"));
    tg_table_cell(&table, TG_PLAIN, "%s", count(worker, "generation"));
  }
  if (json_array_size(workers) > 0)
    putchar('\n');
  tg_table_print(&table, stdout);
}

static void show_handlers(const json_t *handlers)
{
  if (json_array_size(handlers) == 0)
    return;
  struct tg_table table = {0};
  tg_table_column(&table, "Event handler", false);
  tg_table_column(&table, "State", false);
  tg_table_column(&table, "For", true);
  tg_table_column(&table, "In flight", true);
  size_t i;
  json_t *handler;
  json_array_foreach((json_t *)handlers, i, handler)
  {
    const char *state = text_of(handler, "state");
    tg_table_cell(&table, TG_PLAIN, "%s", text_of(handler, "url"));
    tg_table_cell(&table, colour_of(state), "%s", state);
    tg_table_cell(&table, TG_PLAIN, "%s", duration(handler, "since"));
    tg_table_cell(&table, TG_PLAIN, "%s", count(handler, "inFlight"));
  }
  putchar('\n');
  tg_table_print(&table, stdout);
}

void tg_ctl_show_status(const json_t *status)
{
  struct tg_table table = {0};
  show_head(status);
  putchar('\n');
  tg_table_column(&table, "", false);
  tg_table_column(&table, "", false);
  add_shards(&table, status);
  add_identifies(&table, json_object_get(status, "identify"));
  add_queue(&table, json_object_get(status, "queue"));
  add_intents(&table, json_object_get(status, "intents"));
  add_resharding(&table, json_object_get(status, "resharding"));
  tg_table_print(&table, stdout);
  show_workers(json_object_get(status, "workers"));
  show_handlers(json_object_get(status, "handlers"));
}

void tg_ctl_show_progress(const json_t *status)
{
  struct tg_buf line = {0};
  tg_buf_puts(&line, "\r\033[K");
  if (status)
    bar_text(json_object_get(status, "progress"), &line);
  char *text = tg_buf_take(&line);
  fputs(text, stdout);
  fflush(stdout);
  free(text);
}

/* ---- the other answers ---- */

void tg_ctl_show_shards(const json_t *shards)
{
  struct tg_table table = {0};
  tg_table_column(&table, "Shard", true);
  tg_table_column(&table, "Worker", true);
  tg_table_column(&table, "State", false);
  tg_table_column(&table, "RTT", true);
  tg_table_column(&table, "Sequence", true);
  tg_table_column(&table, "Delivered", true);
  tg_table_column(&table, "Queued", true);
  size_t i;
  json_t *shard;
  json_array_foreach((json_t *)shards, i, shard)
  {
    const char *state = text_of(shard, "state");
    tg_table_cell(&table, TG_PLAIN, "%s", count(shard, "shardId"));
    tg_table_cell(&table, TG_PLAIN, "%s", count(shard, "workerId"));
    tg_table_cell(&table, colour_of(state), "%s", state);
    tg_table_cell(&table, TG_PLAIN, "%s", duration(shard, "rtt"));
    tg_table_cell(&table, TG_PLAIN, "%s", count(shard, "sequence"));
    tg_table_cell(&table, TG_PLAIN, "%s", count(shard, "delivered"));
    tg_table_cell(&table, number(shard, "queued") > 0 ? TG_UNEASY : TG_PLAIN, "%s", count(shard, "queued"));
  }
  tg_table_print(&table, stdout);
}

void tg_ctl_show_budget(const json_t *identify)
{
  struct tg_table table = {0};
  tg_table_column(&table, "Left", true);
  tg_table_column(&table, "Of", true);
  tg_table_column(&table, "Reserve", true);
  tg_table_column(&table, "Window ends in", true);
  tg_table_column(&table, "At a time", true);
  tg_table_column(&table, "Waiting", true);
  tg_table_cell(&table, TG_PLAIN, "%s", count(identify, "remaining"));
  tg_table_cell(&table, TG_PLAIN, "%s", count(identify, "total"));
  tg_table_cell(&table, TG_PLAIN, "%s", count(identify, "reserve"));
  tg_table_cell(&table, TG_PLAIN, "%s", duration(identify, "resetAfter"));
  tg_table_cell(&table, TG_PLAIN, "%s", count(identify, "maxConcurrency"));
  tg_table_cell(&table, TG_PLAIN, "%s", count(identify, "waiting"));
  tg_table_print(&table, stdout);
  if (json_is_true(json_object_get(identify, "heldBack")))
    puts("Only the reserve is left: identifies are held back until the window ends. Resumes go on.");
}

void tg_ctl_show_reload(const json_t *answer)
{
  const json_t *keys = json_object_get(answer, "needsRestart");
  size_t i;
  json_t *key;
  printf("reloaded: generation %s\n", count(answer, "generation"));
  json_array_foreach((json_t *)keys, i, key)
  {
    fputs(i == 0 ? "changed, but needs a restart: " : ", ", stdout);
    put_safe(json_is_string(key) ? json_string_value(key) : "?");
  }
  if (json_array_size(keys) > 0)
    putchar('\n');
}
