#include "cli/ctl_show.h"
#include "cli/ctl_cluster.h"
#include "cli/ctl_figures.h"
#include "cli/ctl_queue.h"
#include "cli/ctl_reshard.h"
#include "cli/table.h"

#include "base/human.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BAR_WIDTH = 30 };

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

/* ---- status ---- */

static void bar_text(const json_t *progress, struct tg_buf *out)
{
  int64_t ready = tg_figure_number(progress, "ready"), total = tg_figure_number(progress, "total"), eta;
  int filled = total > 0 && ready >= 0 && ready <= total ? (int)(ready * BAR_WIDTH / total) : 0;
  tg_buf_puts(out, "[");
  for (int i = 0; i < BAR_WIDTH; i++)
    tg_buf_puts(out, i < filled ? "#" : ".");
  tg_buf_printf(out, "] %" PRId64 " of %" PRId64 " shards up", ready, total);
  if (tg_figure(progress, "eta", &eta) && eta >= 0) {
    char left[TG_HUMAN_SIZE];
    tg_human_seconds(eta, left, sizeof left);
    tg_buf_printf(out, ", about %s left", left);
  }
}

static void show_head(const json_t *status)
{
  const char *phase = tg_figure_text(status, "phase");
  enum tg_colour colour = colour_of(phase);
  fputs("tidegate ", stdout);
  tg_put_safe(tg_figure_text(status, "version"));
  printf(", pid %" PRId64 ", up %s, generation %" PRId64 ": %s", tg_figure_number(status, "pid"),
         tg_figure_duration(status, "uptime"), tg_figure_number(status, "generation"),
         tg_colour_start(colour));
  tg_put_safe(phase);
  printf("%s\n", tg_colour_end(colour));
  const char *waiting = json_string_value(json_object_get(json_object_get(status, "waiting"), "reason"));
  if (waiting) {
    tg_put_safe(waiting);
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
    if (tg_figure_number(states, name) > 0)
      tg_buf_printf(&text, "%s%s %s", text.length ? ", " : "", name, tg_figure_count(states, name));
  }
  return tg_buf_take(&text);
}

static void add_shards(struct tg_table *table, const json_t *status)
{
  const json_t *shards = json_object_get(status, "shards");
  const json_t *cluster = json_object_get(status, "cluster");
  char *states = states_text(json_object_get(shards, "states"));
  tg_table_cell(table, TG_BOLD, "Shards");
  if (json_is_object(cluster))
    tg_table_cell(table, TG_PLAIN, "%s of %s%s%s",
                  tg_figure_count(json_object_get(cluster, "shards"), "held"),
                  tg_figure_count(shards, "total"), *states ? ": " : "", states);
  else
    tg_table_cell(table, TG_PLAIN, "%s to %s of %s%s%s", tg_figure_count(shards, "first"),
                  tg_figure_count(shards, "last"), tg_figure_count(shards, "total"), *states ? ": " : "",
                  states);
  free(states);
  tg_table_cell(table, TG_BOLD, "Guilds");
  tg_table_cell(table, TG_PLAIN, "%s", tg_figure_count(status, "guilds"));
}

static void add_queue(struct tg_table *table, const json_t *queue)
{
  tg_table_cell(table, TG_BOLD, "Queue");
  if (tg_figure_number(queue, "events") > 0)
    tg_table_cell(table, TG_PLAIN, "%s events wait (%s), the oldest for %s; log %s",
                  tg_figure_count(queue, "events"), tg_figure_bytes(queue, "bytes"),
                  tg_figure_duration(queue, "oldest"), tg_figure_bytes(queue, "spool"));
  else
    tg_table_cell(table, TG_PLAIN, "nothing waits; log %s", tg_figure_bytes(queue, "spool"));
  bool lost = tg_figure_number(queue, "dropped") > 0 || tg_figure_number(queue, "dead") > 0 ||
              tg_figure_number(queue, "gaps") > 0;
  tg_table_cell(table, TG_BOLD, "Events");
  tg_table_cell(table, lost ? TG_UNEASY : TG_PLAIN,
                "%s delivered, %s retried, %s replayed; %s dropped, %s dead letters, %s gaps",
                tg_figure_count(queue, "delivered"), tg_figure_count(queue, "retried"),
                tg_figure_count(queue, "replayed"), tg_figure_count(queue, "dropped"),
                tg_figure_count(queue, "dead"), tg_figure_count(queue, "gaps"));
}

static void add_identifies(struct tg_table *table, const json_t *identify)
{
  bool spent = json_is_true(json_object_get(identify, "heldBack"));
  tg_table_cell(table, TG_BOLD, "Identifies");
  tg_table_cell(table, spent ? TG_BAD : TG_PLAIN,
                "%s of %s left, the window ends in %s; %s kept in reserve, %s wait",
                tg_figure_count(identify, "remaining"), tg_figure_count(identify, "total"),
                tg_figure_duration(identify, "resetAfter"), tg_figure_count(identify, "reserve"),
                tg_figure_count(identify, "waiting"));
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
                tg_figure_count(intents, "shards"), text ? text : "-");
  free(text);
}

static void add_resharding(struct tg_table *table, const json_t *running)
{
  if (!json_is_object(running))
    return;
  struct tg_buf step = {0};
  tg_ctl_reshard_step(running, &step);
  char *text = tg_buf_take(&step);
  tg_table_cell(table, TG_BOLD, "Resharding");
  tg_table_cell(table, TG_UNEASY, "from %s to %s shards: %s", tg_figure_count(running, "from"),
                tg_figure_count(running, "to"), text);
  free(text);
}

static void add_cluster(struct tg_table *table, const json_t *cluster)
{
  if (!json_is_object(cluster))
    return;
  struct tg_buf line = {0};
  tg_ctl_cluster_line(cluster, &line);
  tg_buf_puts(&line, "; ");
  bool trouble = tg_ctl_cluster_trouble(cluster, "; ", &line);
  if (!trouble)
    tg_buf_puts(&line, "all is well");
  char *text = tg_buf_take(&line);
  tg_table_cell(table, TG_BOLD, "Cluster");
  tg_table_cell(table, trouble ? TG_UNEASY : TG_PLAIN, "%s", text);
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
    const char *state = tg_figure_text(worker, "state");
    tg_table_cell(&table, TG_PLAIN, "%s", tg_figure_count(worker, "workerId"));
    tg_table_cell(&table, TG_PLAIN, "%" PRId64, tg_figure_number(worker, "pid"));
    tg_table_cell(&table, colour_of(state), "%s", state);
    tg_table_cell(&table, TG_PLAIN, "%s", tg_figure_count(worker, "shards"));
    tg_table_cell(&table, tg_figure_number(worker, "restarts") > 0 ? TG_UNEASY : TG_PLAIN, "%s",
                  tg_figure_count(worker, "restarts"));
    tg_table_cell(&table, TG_PLAIN, "%s", tg_figure_bytes(worker, "memory"));
    tg_table_cell(&table, TG_PLAIN, "%s", tg_figure_count(worker, "generation"));
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
    const char *state = tg_figure_text(handler, "state");
    tg_table_cell(&table, TG_PLAIN, "%s", tg_figure_text(handler, "url"));
    tg_table_cell(&table, colour_of(state), "%s", state);
    tg_table_cell(&table, TG_PLAIN, "%s", tg_figure_duration(handler, "since"));
    tg_table_cell(&table, TG_PLAIN, "%s", tg_figure_count(handler, "inFlight"));
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
  add_cluster(&table, json_object_get(status, "cluster"));
  tg_table_print(&table, stdout);
  show_workers(json_object_get(status, "workers"));
  show_handlers(json_object_get(status, "handlers"));
  tg_ctl_show_sinks(status);
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
    const char *state = tg_figure_text(shard, "state");
    tg_table_cell(&table, TG_PLAIN, "%s", tg_figure_count(shard, "shardId"));
    tg_table_cell(&table, TG_PLAIN, "%s", tg_figure_count(shard, "workerId"));
    tg_table_cell(&table, colour_of(state), "%s", state);
    tg_table_cell(&table, TG_PLAIN, "%s", tg_figure_duration(shard, "rtt"));
    tg_table_cell(&table, TG_PLAIN, "%s", tg_figure_count(shard, "sequence"));
    tg_table_cell(&table, TG_PLAIN, "%s", tg_figure_count(shard, "delivered"));
    tg_table_cell(&table, tg_figure_number(shard, "queued") > 0 ? TG_UNEASY : TG_PLAIN, "%s",
                  tg_figure_count(shard, "queued"));
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
  tg_table_cell(&table, TG_PLAIN, "%s", tg_figure_count(identify, "remaining"));
  tg_table_cell(&table, TG_PLAIN, "%s", tg_figure_count(identify, "total"));
  tg_table_cell(&table, TG_PLAIN, "%s", tg_figure_count(identify, "reserve"));
  tg_table_cell(&table, TG_PLAIN, "%s", tg_figure_duration(identify, "resetAfter"));
  tg_table_cell(&table, TG_PLAIN, "%s", tg_figure_count(identify, "maxConcurrency"));
  tg_table_cell(&table, TG_PLAIN, "%s", tg_figure_count(identify, "waiting"));
  tg_table_print(&table, stdout);
  if (json_is_true(json_object_get(identify, "heldBack")))
    puts("Only the reserve is left: identifies are held back until the window ends. Resumes go on.");
}

void tg_ctl_show_reload(const json_t *answer)
{
  const json_t *keys = json_object_get(answer, "needsRestart");
  size_t i;
  json_t *key;
  printf("reloaded: generation %s\n", tg_figure_count(answer, "generation"));
  json_array_foreach((json_t *)keys, i, key)
  {
    fputs(i == 0 ? "changed, but needs a restart: " : ", ", stdout);
    tg_put_safe(json_is_string(key) ? json_string_value(key) : "?");
  }
  if (json_array_size(keys) > 0)
    putchar('\n');
}
