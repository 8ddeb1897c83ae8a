/* `tidegate ctl status`: all at a glance, and with --wait not before all shards are up. */

#include "cli/ctl/answer.h"
#include "cli/ctl/cluster.h"
#include "cli/ctl/command.h"
#include "cli/ctl/deaf.h"
#include "cli/ctl/figures.h"
#include "cli/ctl/queue.h"
#include "cli/ctl/reshard.h"
#include "cli/table.h"

#include "base/human.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
  BAR_WIDTH = 30,
  POLL = 250,
  APPEAR = 30000, /* --wait: a gateway that has just been started is not there yet */
};

/* ---- what is shown ---- */

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
  enum tg_colour colour = tg_figure_colour(phase);
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

static void add_deaf(struct tg_table *table, const json_t *deaf)
{
  struct tg_buf line = {0};
  bool trouble = tg_ctl_deaf_line(deaf, &line);
  char *text = tg_buf_take(&line);
  if (text && *text) {
    tg_table_cell(table, TG_BOLD, "Deaf");
    tg_table_cell(table, trouble ? TG_BAD : TG_PLAIN, "%s", text);
  }
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

/* Only where there was one, or is. */
static void add_upgrade(struct tg_table *table, const json_t *upgrade)
{
  const json_t *last = json_object_get(upgrade, "last");
  bool runs = json_is_object(upgrade) && strcmp(tg_figure_text(upgrade, "state"), "idle") != 0;
  bool failed = json_is_string(json_object_get(last, "problem"));
  if (!runs && !json_is_object(last))
    return;
  tg_table_cell(table, TG_BOLD, "Upgrade");
  if (runs)
    tg_table_cell(table, TG_UNEASY, "to %s: %s, %s of %s workers are replaced", tg_figure_text(upgrade, "to"),
                  tg_figure_text(upgrade, "state"), tg_figure_count(upgrade, "replaced"),
                  tg_figure_count(upgrade, "workers"));
  else
    tg_table_cell(table, failed ? TG_UNEASY : TG_PLAIN, "from %s to %s %s %s ago%s%s",
                  tg_figure_text(last, "from"), tg_figure_text(last, "to"), failed ? "failed" : "done",
                  tg_figure_duration(last, "ago"), failed ? ": " : "",
                  failed ? tg_figure_text(last, "problem") : "");
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
    tg_table_cell(&table, tg_figure_colour(state), "%s", state);
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
    tg_table_cell(&table, tg_figure_colour(state), "%s", state);
    tg_table_cell(&table, TG_PLAIN, "%s", tg_figure_duration(handler, "since"));
    tg_table_cell(&table, TG_PLAIN, "%s", tg_figure_count(handler, "inFlight"));
  }
  putchar('\n');
  tg_table_print(&table, stdout);
}

/* Only where there are rules, or were. */
static void show_storms(const json_t *rules)
{
  if (json_array_size(rules) == 0)
    return;
  struct tg_table table = {0};
  size_t i;
  json_t *rule;
  tg_table_column(&table, "Storms", false);
  tg_table_column(&table, "Running", true);
  tg_table_column(&table, "So far", true);
  tg_table_column(&table, "Dropped", true);
  tg_table_column(&table, "Came later", true);
  json_array_foreach((json_t *)rules, i, rule)
  {
    tg_table_cell(&table, TG_PLAIN, "%s", tg_figure_text(rule, "rule"));
    tg_table_cell(&table, tg_figure_number(rule, "running") > 0 ? TG_UNEASY : TG_PLAIN, "%s",
                  tg_figure_count(rule, "running"));
    tg_table_cell(&table, TG_PLAIN, "%s", tg_figure_count(rule, "storms"));
    tg_table_cell(&table, TG_PLAIN, "%s", tg_figure_count(rule, "dropped"));
    tg_table_cell(&table, TG_PLAIN, "%s", tg_figure_count(rule, "released"));
  }
  putchar('\n');
  tg_table_print(&table, stdout);
}

static void show(const json_t *status)
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
  add_deaf(&table, json_object_get(status, "deaf"));
  add_resharding(&table, json_object_get(status, "resharding"));
  add_cluster(&table, json_object_get(status, "cluster"));
  add_upgrade(&table, json_object_get(status, "upgrade"));
  tg_table_print(&table, stdout);
  show_workers(json_object_get(status, "workers"));
  show_handlers(json_object_get(status, "handlers"));
  tg_ctl_show_sinks(status);
  show_storms(json_object_get(json_object_get(status, "storm"), "rules"));
}

/* ---- --wait ---- */

struct waiting {
  tg_ms deadline;  /* INT64_MAX: none */
  tg_ms last_seen; /* when the gateway has last answered, or the start */
  bool answered;   /* the last time it was asked */
  bool draws;
};

/* One line over the one before, while `status` says that the gateway starts; NULL wipes it. */
static void show_progress(const json_t *status)
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

static enum tg_exit not_ready(const struct tg_ctl *ctl)
{
  fprintf(stderr, "tidegate ctl: not all shards are up after %lld ms\n", (long long)ctl->timeout);
  return TG_EXIT_FAILED;
}

/* False: it is not ready, and to be asked again. */
static bool ask_ready(const struct tg_ctl *ctl, const struct tg_ctl_ask *ask, struct waiting *waiting,
                      enum tg_exit *result)
{
  struct tg_error error = {0};
  struct tg_ctl_answer answer;
  tg_ms left = waiting->deadline - tg_now(), timeout = left > TG_CTL_SOON ? TG_CTL_SOON : left > 1 ? left : 1;
  *result = tg_ctl_ask(ctl->client, ask->method, ask->path, NULL, timeout, &answer, &error);
  bool ready = json_is_true(json_object_get(answer.body, "ready"));
  bool absent = *result == TG_EXIT_UNAVAILABLE && tg_now() - waiting->last_seen < APPEAR;
  bool goes_on = (*result == TG_EXIT_OK ? !ready : absent) && tg_now() < waiting->deadline;
  bool cut_off = *result == TG_EXIT_UNAVAILABLE && waiting->answered && left < TG_CTL_SOON;
  waiting->answered = *result == TG_EXIT_OK;
  if (waiting->answered)
    waiting->last_seen = tg_now();
  if (waiting->draws)
    show_progress(goes_on && answer.body ? answer.body : NULL);
  if (!goes_on && *result == TG_EXIT_OK) {
    tg_ctl_show(ctl, answer.body);
    *result = ready ? TG_EXIT_OK : not_ready(ctl);
  } else if (!goes_on && cut_off) { /* by the deadline, not by the gateway */
    *result = not_ready(ctl);
  } else if (!goes_on) {
    tg_ctl_complain(&error, answer.body);
  }
  json_decref(answer.body);
  return !goes_on;
}

static enum tg_exit run(struct tg_ctl *ctl, const struct tg_ctl_ask *ask)
{
  struct waiting waiting = {
      .deadline = ctl->timeout ? tg_now() + ctl->timeout : INT64_MAX,
      .last_seen = tg_now(),
      .draws = tg_ctl_draws() && !ctl->as_json,
  };
  enum tg_exit result;
  if (!tg_ctl_has(ctl, "--wait"))
    return tg_ctl_ask_and_show(ctl, ask);
  while (!ask_ready(ctl, ask, &waiting, &result))
    usleep(POLL * 1000);
  return result;
}

static const struct tg_ctl_option options[] = {
    {"--wait", NULL, "come back when all shards are up, at the latest after --timeout", NULL},
    {NULL, NULL, NULL, NULL},
};

static const struct tg_ctl_action actions[] = {
    {
        .name = "",
        .timeout = TG_CTL_SOON,
        .options = options,
        .method = "GET",
        .path = "/status",
        .show = show,
        .run = run,
    },
    {0},
};

const struct tg_ctl_command tg_ctl_status = {
    .name = "status",
    .line = "shards, identifies, queue, workers, event handlers",
    .actions = actions,
};
