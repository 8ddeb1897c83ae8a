#include "cli/ctl/queue.h"
#include "cli/ctl/answer.h"
#include "cli/ctl/command.h"
#include "cli/ctl/figures.h"
#include "cli/table.h"

#include "base/buf.h"
#include "config/config.h"
#include "config/environment.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- sinks ---- */

static void add_state(struct tg_table *table, const json_t *up)
{
  if (json_is_true(up))
    tg_table_cell(table, TG_GOOD, "up");
  else if (json_is_false(up))
    tg_table_cell(table, TG_BAD, "down");
  else
    tg_table_cell(table, TG_PLAIN, "-");
}

static void add_waiting(struct tg_table *table, const json_t *queued)
{
  enum tg_colour colour = tg_figure_number(queued, "events") > 0 ? TG_UNEASY : TG_PLAIN;
  tg_table_cell(table, colour, "%s", tg_figure_count(queued, "events"));
  tg_table_cell(table, TG_PLAIN, "%s", tg_figure_bytes(queued, "bytes"));
  tg_table_cell(table, TG_PLAIN, "%s", tg_figure_duration(queued, "age"));
}

static void add_lost(struct tg_table *table, const json_t *sink, const char *key)
{
  tg_table_cell(table, tg_figure_number(sink, key) > 0 ? TG_UNEASY : TG_PLAIN, "%s",
                tg_figure_count(sink, key));
}

static void show_sinks(const json_t *sinks)
{
  static const char *const numbers[] = {"Waiting", "Bytes",   "Oldest", "Delivered",
                                        "Retried", "Dropped", "Dead",   "Log"};
  struct tg_table table = {0};
  tg_table_column(&table, "Sink", false);
  tg_table_column(&table, "Kind", false);
  tg_table_column(&table, "State", false);
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
    tg_table_column(&table, numbers[i], true);
  size_t i;
  json_t *sink;
  json_array_foreach((json_t *)sinks, i, sink)
  {
    tg_table_cell(&table, TG_PLAIN, "%s", tg_figure_text(sink, "name"));
    tg_table_cell(&table, TG_PLAIN, "%s", tg_figure_text(sink, "kind"));
    add_state(&table, json_object_get(sink, "up"));
    add_waiting(&table, json_object_get(sink, "queued"));
    tg_table_cell(&table, TG_PLAIN, "%s", tg_figure_count(sink, "delivered"));
    tg_table_cell(&table, TG_PLAIN, "%s", tg_figure_count(sink, "retried"));
    add_lost(&table, sink, "dropped");
    add_lost(&table, sink, "dead");
    tg_table_cell(&table, TG_PLAIN, "%s", tg_figure_bytes(sink, "logBytes"));
  }
  tg_table_print(&table, stdout);
}

/* ---- where events wait ---- */

/* Shards of one total, or of several: then a shard's number alone does not say which. */
static bool totals_differ(const json_t *lanes)
{
  int64_t first = tg_figure_number(json_array_get(lanes, 0), "totalShards");
  size_t i;
  json_t *lane;
  json_array_foreach((json_t *)lanes, i, lane)
  {
    if (tg_figure_number(lane, "totalShards") != first)
      return true;
  }
  return false;
}

static void show_lanes(const json_t *lanes)
{
  if (json_array_size(lanes) == 0)
    return;
  bool totals = totals_differ(lanes);
  struct tg_table table = {0};
  tg_table_column(&table, "For", false);
  tg_table_column(&table, "Shard", true);
  if (totals)
    tg_table_column(&table, "Of", true);
  tg_table_column(&table, "Waiting", true);
  tg_table_column(&table, "Bytes", true);
  tg_table_column(&table, "Oldest", true);
  size_t i;
  json_t *lane;
  json_array_foreach((json_t *)lanes, i, lane)
  {
    tg_table_cell(&table, TG_PLAIN, "%s", tg_figure_text(lane, "sink"));
    tg_table_cell(&table, TG_PLAIN, "%s", tg_figure_count(lane, "shardId"));
    if (totals)
      tg_table_cell(&table, TG_PLAIN, "%s", tg_figure_count(lane, "totalShards"));
    add_waiting(&table, lane);
  }
  putchar('\n');
  tg_table_print(&table, stdout);
}

/* ---- what is left ---- */

static void show_left(const json_t *left)
{
  if (json_array_size(left) == 0)
    return;
  struct tg_table table = {0};
  tg_table_column(&table, "Not configured any more", false);
  tg_table_column(&table, "Events left", true);
  tg_table_column(&table, "Bytes", true);
  size_t i;
  json_t *sink;
  json_array_foreach((json_t *)left, i, sink)
  {
    tg_table_cell(&table, TG_PLAIN, "%s", tg_figure_text(sink, "name"));
    tg_table_cell(&table, TG_UNEASY, "%s", tg_figure_count(sink, "events"));
    tg_table_cell(&table, TG_PLAIN, "%s", tg_figure_bytes(sink, "bytes"));
  }
  putchar('\n');
  tg_table_print(&table, stdout);
  puts("\"tidegate ctl queue forget NAME\" removes what a sink has left.");
}

void tg_ctl_show_sinks(const json_t *status)
{
  const json_t *sinks = json_object_get(status, "sinks");
  if (json_array_size(sinks) > 1) {
    putchar('\n');
    show_sinks(sinks);
  }
  show_left(json_object_get(status, "leftSinks"));
}

static void show(const json_t *answer)
{
  show_sinks(json_object_get(answer, "sinks"));
  show_lanes(json_object_get(answer, "waiting"));
  if (tg_figure_number(answer, "more") > 0)
    printf("Fewer events wait of %s more shards.\n", tg_figure_count(answer, "more"));
  show_left(json_object_get(answer, "leftSinks"));
}

/* ---- forgetting ---- */

static bool ask_forget(const struct tg_ctl *ctl, struct tg_ctl_ask *ask, struct tg_error *error)
{
  const char *name = ctl->words[0];
  size_t length = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-");
  if (length == 0 || name[length])
    return tg_fail(error, "usage", "queue forget: no sink can be called \"%s\"", name);
  struct tg_buf path = {0};
  tg_buf_printf(&path, "/sinks/%s/forget", name);
  ask->path = tg_buf_take(&path);
  return true;
}

static void show_forgotten(const json_t *answer)
{
  fputs("forgotten: what the sink ", stdout);
  tg_put_safe(tg_figure_text(answer, "forgotten"));
  puts(" had left");
}

/* No gateway is there to be asked: how it is done without one. */
static enum tg_exit run_forget(struct tg_ctl *ctl, const struct tg_ctl_ask *ask)
{
  enum tg_exit result = tg_ctl_ask_and_show(ctl, ask);
  if (result != TG_EXIT_UNAVAILABLE)
    return result;
  char *state_dir = tg_config_state_dir(tg_environment);
  fprintf(
      stderr,
      "tidegate ctl: where no gateway runs, remove the directory sinks/%s of its state directory, which is "
      "%s unless the script names another\n",
      ctl->words[0], state_dir);
  free(state_dir);
  return result;
}

/* ---- by type, and discarding ---- */

static bool has_shard(const struct tg_ctl *ctl, struct tg_error *error)
{
  const char *shard = tg_ctl_value(ctl, "--shard");
  return !shard || tg_ctl_is_number(shard, 5) ||
         tg_fail(error, "usage", "queue: --shard has to be the number of a shard, not \"%s\"", shard);
}

static bool ask_types(const struct tg_ctl *ctl, struct tg_ctl_ask *ask, struct tg_error *error)
{
  const char *sink = tg_ctl_value(ctl, "--sink"), *shard = tg_ctl_value(ctl, "--shard");
  if (sink && sink[strspn(sink, "abcdefghijklmnopqrstuvwxyz0123456789_-")])
    return tg_fail(error, "usage", "queue: no sink can be called \"%s\"", sink);
  struct tg_buf path = {0};
  tg_buf_printf(&path, "/queue/types%s%s%s%s", sink ? "?sink=" : "", sink ? sink : "",
                shard ? sink ? "&shard=" : "?shard=" : "", shard ? shard : "");
  ask->path = tg_buf_take(&path);
  return has_shard(ctl, error);
}

static bool ask_discard(const struct tg_ctl *ctl, struct tg_ctl_ask *ask, struct tg_error *error)
{
  const char *sink = tg_ctl_value(ctl, "--sink"), *shard = tg_ctl_value(ctl, "--shard");
  const char *type = tg_ctl_value(ctl, "--type"), *older = tg_ctl_value(ctl, "--older");
  bool all = tg_ctl_has(ctl, "--all");
  tg_ms age = older ? tg_ctl_age(older) : 0;
  if (age < 0)
    return tg_fail(error, "usage",
                   "queue discard: --older has to be an age like 90s, 30m, 2h or 1d, not \"%s\"", older);
  if (all == (shard || type || older))
    return tg_fail(error, "usage",
                   "queue discard: which events? Some, by --shard, --type, --older; or --all");
  if (!has_shard(ctl, error))
    return false;
  json_t *body = json_pack("{s:s*, s:s*}", "sink", sink, "type", type);
  if (shard)
    json_object_set_new(body, "shard", json_integer(atoi(shard)));
  if (older)
    json_object_set_new(body, "older", json_integer(age));
  if (all)
    json_object_set_new(body, "all", json_true());
  ask->body = json_dumps(body, JSON_COMPACT);
  json_decref(body);
  return true;
}

static void show_types(const json_t *answer)
{
  const json_t *types = json_object_get(answer, "types");
  struct tg_table table = {0};
  tg_table_column(&table, "Type", false);
  tg_table_column(&table, "Waiting", true);
  tg_table_column(&table, "Bytes", true);
  tg_table_column(&table, "Oldest", true);
  size_t i;
  json_t *type;
  json_array_foreach((json_t *)types, i, type)
  {
    tg_table_cell(&table, TG_PLAIN, "%s", tg_figure_text(type, "type"));
    add_waiting(&table, type);
  }
  if (json_array_size(types) > 0)
    tg_table_print(&table, stdout);
  else
    puts("nothing waits in memory");
  if (tg_figure_number(answer, "onDisk") > 0)
    printf("%s more events are in the event log alone, where their types are not known.\n",
           tg_figure_count(answer, "onDisk"));
}

static void show_discarded(const json_t *answer)
{
  printf("%s events discarded\n", tg_figure_count(answer, "discarded"));
}

static const struct tg_ctl_option types_options[] = {
    {"--sink", "NAME", "for that sink; the event handler is bot, and is meant without", NULL},
    {"--shard", "SHARD", "of that shard", NULL},
    {NULL, NULL, NULL, NULL},
};

static const struct tg_ctl_option discard_options[] = {
    {"--sink", "NAME", "for that sink; the event handler is bot, and is meant without", NULL},
    {"--shard", "SHARD", "of that shard", NULL},
    {"--type", "TYPE", "of that type: TYPING_START", NULL},
    {"--older", "AGE", "that have waited for 90s, 30m, 2h or 1d", NULL},
    {"--all", NULL, "all that wait", NULL},
    {NULL, NULL, NULL, NULL},
};

static const struct tg_ctl_action actions[] = {
    {
        .name = "",
        .timeout = TG_CTL_SOON,
        .method = "GET",
        .path = "/queue",
        .show = show,
    },
    {
        .name = "types",
        .line = "what waits in memory for a sink, by type and age",
        .timeout = TG_CTL_LATER,
        .options = types_options,
        .method = "GET",
        .ask = ask_types,
        .show = show_types,
    },
    {
        .name = "discard",
        .line = "discard events that wait, by shard, type and age, also those on disk",
        .timeout = 600000,
        .options = discard_options,
        .method = "POST",
        .path = "/queue/discard",
        .ask = ask_discard,
        .show = show_discarded,
    },
    {
        .name = "forget",
        .usage = "NAME",
        .line = "remove what a sink has left that is not configured any more",
        .least = 1,
        .most = 1,
        .timeout = TG_CTL_SOON,
        .method = "POST",
        .ask = ask_forget,
        .show = show_forgotten,
        .run = run_forget,
    },
    {0},
};

const struct tg_ctl_command tg_ctl_queue = {
    .name = "queue",
    .line = "what waits for each sink, and of which shards",
    .actions = actions,
};
