/* `tidegate ctl reshard`: going over to another number of shards. */

#include "cli/ctl/reshard.h"
#include "cli/ctl/answer.h"
#include "cli/ctl/figures.h"
#include "cli/table.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- how far it is ---- */

/* {"TYPE": n, ...} as "TYPE n, ..."; states as well. */
static char *counts_text(const json_t *counts)
{
  struct tg_buf out = {0};
  const char *name;
  json_t *value;
  json_object_foreach((json_t *)counts, name, value)
      tg_buf_printf(&out, "%s%s %" PRId64, out.length ? ", " : "", name, (int64_t)json_integer_value(value));
  return out.length ? tg_buf_take(&out) : NULL;
}

static char *names_text(const json_t *names)
{
  struct tg_buf out = {0};
  const json_t *name;
  for (size_t i = 0; (name = json_array_get(names, i)); i++)
    tg_buf_printf(&out, "%s%s", i ? ", " : "", json_is_string(name) ? json_string_value(name) : "?");
  return out.length ? tg_buf_take(&out) : NULL;
}

/* Takes `text`; NULL: no row. */
static void add_row(struct tg_table *table, const char *title, enum tg_colour colour, char *text)
{
  if (!text)
    return;
  tg_table_cell(table, TG_BOLD, "%s", title);
  tg_table_cell(table, colour, "%s", text);
  free(text);
}

static void add_running(struct tg_table *table, const json_t *running)
{
  struct tg_buf head = {0}, step = {0};
  const json_t *held = json_object_get(running, "held"), *waits = json_object_get(running, "waitsFor");
  tg_buf_printf(&head, "from %" PRId64 " to %" PRId64 " shards, for %s", tg_figure_number(running, "from"),
                tg_figure_number(running, "to"), tg_figure_duration(running, "duration"));
  tg_ctl_reshard_eta(running, &head);
  tg_ctl_reshard_step(running, &step);
  add_row(table, "Resharding", TG_PLAIN, tg_buf_take(&head));
  add_row(table, "Step", TG_PLAIN, tg_buf_take(&step));
  add_row(table, "Classes", TG_PLAIN, counts_text(json_object_get(running, "byState")));
  add_row(table, "All hosts", TG_PLAIN, counts_text(json_object_get(running, "everywhere")));
  if (json_is_string(waits))
    add_row(table, "Waits for", TG_UNEASY, tg_strdup(json_string_value(waits)));
  tg_table_cell(table, TG_BOLD, "Held");
  tg_table_cell(table, TG_PLAIN, "%s events (%s)", tg_figure_count(held, "events"),
                tg_figure_bytes(held, "bytes"));
  add_row(table, "Unmatched", TG_UNEASY, counts_text(json_object_get(running, "unmatched")));
  add_row(table, "By time", TG_UNEASY, names_text(json_object_get(running, "cut")));
}

static void show_progress(const json_t *answer)
{
  struct tg_table table = {0};
  const json_t *running = json_object_get(answer, "running"), *planned = json_object_get(answer, "planned");
  const json_t *last = json_object_get(answer, "last");
  tg_table_column(&table, "", false);
  tg_table_column(&table, "", false);
  if (json_is_object(running))
    add_running(&table, running);
  else
    add_row(&table, "Resharding", TG_PLAIN, tg_strdup("none runs"));
  if (json_is_object(planned)) {
    struct tg_buf text = {0};
    tg_buf_printf(&text, "%" PRId64 " shards", tg_figure_number(planned, "to"));
    tg_ctl_reshard_waiting(planned, &text);
    add_row(&table, "Planned", TG_UNEASY, tg_buf_take(&text));
  }
  if (json_is_object(last)) {
    struct tg_buf text = {0};
    tg_ctl_reshard_end(last, &text);
    add_row(&table, "Last", TG_PLAIN, tg_buf_take(&text));
  }
  tg_table_print(&table, stdout);
}

/* ---- one that is begun, or taken back ---- */

static void show_begun(const json_t *answer)
{
  printf("from %s to %s shards, with about %s session starts\n", tg_figure_count(answer, "from"),
         tg_figure_count(answer, "to"), tg_figure_count(answer, "identifies"));
}

static void show_aborting(const json_t *answer)
{
  (void)answer;
  puts("the resharding is taken back");
}

static bool ask_begin(const struct tg_ctl *ctl, struct tg_ctl_ask *ask, struct tg_error *error)
{
  const char *word = ctl->words[0];
  if (!tg_ctl_is_number(word, 6) || atoi(word) == 0)
    return tg_fail(error, "usage", "reshard: expected the new number of shards, status or abort, got \"%s\"",
                   word);
  struct tg_buf body = {0};
  tg_buf_printf(&body, "{\"totalShards\":%d}", atoi(word));
  ask->body = tg_buf_take(&body);
  return true;
}

static bool ask_abort(const struct tg_ctl *ctl, struct tg_ctl_ask *ask, struct tg_error *error)
{
  (void)ctl, (void)error;
  ask->body = tg_strdup("{\"abort\":true}");
  return true;
}

/* What is done is followed until it is over, unless a program has asked. */
static enum tg_exit change(struct tg_ctl *ctl, const struct tg_ctl_ask *ask)
{
  if (!ctl->as_json)
    ctl->as_table = true; /* as what follows is */
  enum tg_exit result = tg_ctl_ask_and_show(ctl, ask);
  if (result != TG_EXIT_OK || (ctl->as_json && !tg_ctl_has(ctl, "--wait")))
    return result;
  return tg_ctl_follow(ctl, *ctl->action->name ? "aborted" : "done");
}

/* What is only looked at is followed if that is wanted. */
static enum tg_exit look(struct tg_ctl *ctl, const struct tg_ctl_ask *ask)
{
  return tg_ctl_has(ctl, "--wait") ? tg_ctl_follow(ctl, NULL) : tg_ctl_ask_and_show(ctl, ask);
}

static const struct tg_ctl_option options[] = {
    {"--wait", NULL, "come back when it is over, at the latest after --timeout", NULL},
    {NULL, NULL, NULL, NULL},
};

static const struct tg_ctl_action actions[] = {
    {
        .name = "",
        .line = "how far it is, what is planned, how the last one ended",
        .timeout = TG_CTL_SOON,
        .options = options,
        .method = "GET",
        .path = "/reshard",
        .show = show_progress,
        .run = look,
    },
    {
        .name = "",
        .usage = "N",
        .line = "go over to N shards, and show how far it is; Ctrl-C leaves it running",
        .least = 1,
        .most = 1,
        .timeout = TG_CTL_BEGIN,
        .options = options,
        .method = "POST",
        .path = "/reshard",
        .ask = ask_begin,
        .show = show_begun,
        .run = change,
    },
    {
        .name = "status",
        .line = "the same as without a word",
        .timeout = TG_CTL_SOON,
        .options = options,
        .method = "GET",
        .path = "/reshard",
        .show = show_progress,
        .run = look,
    },
    {
        .name = "abort",
        .line = "take it back, until the first old shard is closed",
        .timeout = TG_CTL_BEGIN,
        .options = options,
        .method = "POST",
        .path = "/reshard",
        .ask = ask_abort,
        .show = show_aborting,
        .run = change,
    },
    {0},
};

const struct tg_ctl_command tg_ctl_reshard = {
    .name = "reshard",
    .line = "go over to another number of shards; how far that is, and taking it back",
    .actions = actions,
};
