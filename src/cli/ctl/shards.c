/* `tidegate ctl shards`, `reconnect`, `identify-budget`: what shards do, and may do. */

#include "cli/ctl/command.h"
#include "cli/ctl/figures.h"
#include "cli/table.h"

#include "base/buf.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- shards ---- */

static void show_shards(const json_t *shards)
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
    const char *deaf = json_string_value(json_object_get(shard, "deaf"));
    tg_table_cell(&table, deaf ? TG_BAD : tg_figure_colour(state), "%s%s%s", state, deaf ? ", deaf: " : "",
                  deaf ? deaf : "");
    tg_table_cell(&table, TG_PLAIN, "%s", tg_figure_duration(shard, "rtt"));
    tg_table_cell(&table, TG_PLAIN, "%s", tg_figure_count(shard, "sequence"));
    tg_table_cell(&table, TG_PLAIN, "%s", tg_figure_count(shard, "delivered"));
    tg_table_cell(&table, tg_figure_number(shard, "queued") > 0 ? TG_UNEASY : TG_PLAIN, "%s",
                  tg_figure_count(shard, "queued"));
  }
  tg_table_print(&table, stdout);
}

static const struct tg_ctl_action shards_actions[] = {
    {
        .name = "",
        .timeout = TG_CTL_SOON,
        .method = "GET",
        .path = "/shards",
        .show = show_shards,
    },
    {0},
};

const struct tg_ctl_command tg_ctl_shards = {
    .name = "shards",
    .line = "a line a shard",
    .actions = shards_actions,
};

/* ---- reconnect ---- */

static bool ask_reconnect(const struct tg_ctl *ctl, struct tg_ctl_ask *ask, struct tg_error *error)
{
  if (!tg_ctl_is_number(ctl->words[0], 5))
    return tg_fail(error, "usage", "reconnect: expected the number of a shard, got \"%s\"", ctl->words[0]);
  struct tg_buf path = {0};
  tg_buf_printf(&path, "/shards/%d/reconnect", atoi(ctl->words[0]));
  ask->path = tg_buf_take(&path);
  return true;
}

static void show_reconnecting(const json_t *answer)
{
  (void)answer;
  puts("reconnecting; the shard resumes its session");
}

static const struct tg_ctl_action reconnect_actions[] = {
    {
        .name = "",
        .usage = "SHARD",
        .least = 1,
        .most = 1,
        .timeout = TG_CTL_LATER,
        .method = "POST",
        .ask = ask_reconnect,
        .show = show_reconnecting,
    },
    {0},
};

const struct tg_ctl_command tg_ctl_reconnect = {
    .name = "reconnect",
    .line = "a new connection for a shard, which resumes its session",
    .page =
        "No identify is spent, and no event is lost. A shard that is on its way anyway is left alone; one\n"
        "without a session that could be resumed is refused.\n",
    .actions = reconnect_actions,
};

/* ---- identify-budget ---- */

static void show_budget(const json_t *identify)
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

static const struct tg_ctl_action budget_actions[] = {
    {
        .name = "",
        .timeout = TG_CTL_SOON,
        .method = "GET",
        .path = "/identify",
        .show = show_budget,
    },
    {0},
};

const struct tg_ctl_command tg_ctl_identify_budget = {
    .name = "identify-budget",
    .line = "how many identifies are left, and until when",
    .actions = budget_actions,
};
