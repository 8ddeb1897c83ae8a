#include "cli/ctl/cluster.h"
#include "cli/ctl/command.h"
#include "cli/ctl/figures.h"
#include "cli/table.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- in words ---- */

static int hosts_alive(const json_t *cluster)
{
  const json_t *hosts = json_object_get(cluster, "hosts"), *host;
  int count = 0;
  for (size_t i = 0; (host = json_array_get(hosts, i)); i++)
    count += !json_is_false(json_object_get(host, "alive"));
  return count;
}

static const char *plural(int64_t count)
{
  return count == 1 ? "" : "s";
}

/* Each of the shards there are makes a class. */
static void add_change(const json_t *cluster, struct tg_buf *out)
{
  const json_t *change = json_object_get(cluster, "resharding"), *shards = json_object_get(cluster, "shards");
  if (json_is_object(change))
    tg_buf_printf(out, ", goes over to %s: of %s classes %s up, %s switched, %s settled, %s closed",
                  tg_figure_count(change, "to"), tg_figure_count(shards, "total"),
                  tg_figure_count(change, "up"), tg_figure_count(change, "switched"),
                  tg_figure_count(change, "settled"), tg_figure_count(change, "closed"));
}

void tg_ctl_cluster_line(const json_t *cluster, struct tg_buf *out)
{
  const json_t *shards = json_object_get(cluster, "shards");
  const char *leader = json_string_value(json_object_get(cluster, "leader"));
  int hosts = hosts_alive(cluster);
  tg_buf_printf(out, "%s, this host is %s: %s of %s shards, %d host%s", tg_figure_text(cluster, "name"),
                tg_figure_text(cluster, "host"), tg_figure_count(shards, "held"),
                tg_figure_count(shards, "total"), hosts, plural(hosts));
  if (leader)
    tg_buf_printf(out, ", %s leads", leader);
  add_change(cluster, out);
}

static void add(struct tg_buf *out, const char *between, bool *any)
{
  if (*any)
    tg_buf_puts(out, between);
  *any = true;
}

bool tg_ctl_cluster_trouble(const json_t *cluster, const char *between, struct tg_buf *out)
{
  const json_t *engine = json_object_get(cluster, "engine"), *shards = json_object_get(cluster, "shards");
  int64_t quiet = tg_figure_number(cluster, "quiet"), free_shards = tg_figure_number(shards, "free");
  int64_t unsure = tg_figure_number(shards, "unsure"), holes = tg_figure_number(cluster, "holes");
  bool any = false;
  if (json_is_false(json_object_get(engine, "up"))) {
    add(out, between, &any);
    tg_buf_puts(out,
                "Redis does not answer: shards go on, none identifies or moves, and the rest is as it was "
                "last told");
  } else if (quiet > 0) {
    add(out, between, &any);
    tg_buf_printf(out,
                  "Redis has begun anew: for %s hosts say what they have, and nobody identifies or takes "
                  "shards",
                  tg_figure_duration(cluster, "quiet"));
  }
  if (free_shards > 0) {
    add(out, between, &any);
    tg_buf_printf(out, "%s shard%s no host has", tg_figure_count(shards, "free"), plural(free_shards));
  }
  if (unsure > 0) {
    add(out, between, &any);
    tg_buf_printf(out, "of %s shard%s this host is not sure", tg_figure_count(shards, "unsure"),
                  plural(unsure));
  }
  if (json_is_true(json_object_get(cluster, "draining"))) {
    add(out, between, &any);
    tg_buf_puts(out, "this host gives its shards away");
  }
  if (holes > 0) {
    add(out, between, &any);
    tg_buf_printf(out, "this host has %s hole%s to deliver late", tg_figure_count(cluster, "holes"),
                  plural(holes));
  }
  return any;
}

/* ---- hosts ---- */

static const char *own_digest(const json_t *cluster)
{
  const char *own = tg_figure_text(cluster, "host");
  const json_t *hosts = json_object_get(cluster, "hosts"), *host;
  for (size_t i = 0; (host = json_array_get(hosts, i)); i++)
    if (strcmp(tg_figure_text(host, "name"), own) == 0)
      return json_string_value(json_object_get(host, "digest"));
  return NULL;
}

static char *state_of(const json_t *cluster, const json_t *host, const char *digest, enum tg_colour *colour)
{
  struct tg_buf text = {0};
  const char *name = tg_figure_text(host, "name"),
             *theirs = json_string_value(json_object_get(host, "digest"));
  bool away = json_is_false(json_object_get(host, "alive"));
  bool leaves = json_is_true(json_object_get(host, "draining"));
  bool differs = digest && theirs && strcmp(digest, theirs) != 0;
  *colour = away || differs ? TG_BAD : leaves ? TG_UNEASY : TG_GOOD;
  tg_buf_puts(&text, away ? "away" : leaves ? "goes" : "up");
  if (!away && strcmp(name, tg_figure_text(cluster, "leader")) == 0)
    tg_buf_puts(&text, ", leads");
  if (differs)
    tg_buf_puts(&text, ", other intents or options");
  if (strcmp(name, tg_figure_text(cluster, "host")) == 0)
    tg_buf_puts(&text, ", this one");
  return tg_buf_take(&text);
}

/* "-": not known, for only Redis does. */
static void add_holes(struct tg_table *table, const json_t *holes)
{
  int64_t count = tg_figure_number(holes, "count");
  if (count == 0)
    tg_table_cell(table, TG_PLAIN, "%s", tg_figure_count(holes, "count"));
  else if (json_is_integer(json_object_get(holes, "events")))
    tg_table_cell(table, TG_UNEASY, "%s: %s events, %s old", tg_figure_count(holes, "count"),
                  tg_figure_count(holes, "events"), tg_figure_duration(holes, "oldest"));
  else
    tg_table_cell(table, TG_UNEASY, "%s: %s old", tg_figure_count(holes, "count"),
                  tg_figure_duration(holes, "oldest"));
}

static void show_hosts(const json_t *cluster)
{
  const json_t *hosts = json_object_get(cluster, "hosts"), *host;
  const char *digest = own_digest(cluster);
  struct tg_table table = {0};
  tg_table_column(&table, "Host", false);
  tg_table_column(&table, "Shards", true);
  tg_table_column(&table, "Target", true);
  tg_table_column(&table, "Last beat", true);
  tg_table_column(&table, "State", false);
  tg_table_column(&table, "Holes", false);
  for (size_t i = 0; (host = json_array_get(hosts, i)); i++) {
    enum tg_colour colour;
    char *state = state_of(cluster, host, digest, &colour);
    bool even = tg_figure_number(host, "shards") <= tg_figure_number(host, "target");
    tg_table_cell(&table, TG_BOLD, "%s", tg_figure_text(host, "name"));
    tg_table_cell(&table, even ? TG_PLAIN : TG_UNEASY, "%s", tg_figure_count(host, "shards"));
    tg_table_cell(&table, TG_PLAIN, "%s", tg_figure_count(host, "target"));
    tg_table_cell(&table, TG_PLAIN, "%s", tg_figure_duration(host, "age"));
    tg_table_cell(&table, colour, "%s", state);
    add_holes(&table, json_object_get(host, "holes"));
    free(state);
  }
  if (json_array_size(hosts) > 0)
    putchar('\n');
  tg_table_print(&table, stdout);
}

/* ---- all of it ---- */

static void show_budget(const json_t *budget)
{
  int64_t total;
  printf("\nIdentifies: %s left", tg_figure_count(budget, "remaining"));
  if (tg_figure(budget, "total", &total))
    printf(" of %s, the window ends in %s, %s at a time", tg_figure_count(budget, "total"),
           tg_figure_duration(budget, "resetAfter"), tg_figure_count(budget, "maxConcurrency"));
  if (json_is_integer(json_object_get(budget, "heldBack")))
    printf("; held back for %s, only the reserve is left", tg_figure_duration(budget, "heldBack"));
  putchar('\n');
}

static void show_trouble(const json_t *cluster)
{
  struct tg_buf text = {0};
  bool any = tg_ctl_cluster_trouble(cluster, ".\n", &text);
  char *words = tg_buf_take(&text);
  if (any)
    printf("%s%s.%s\n", tg_colour_start(TG_UNEASY), words, tg_colour_end(TG_UNEASY));
  free(words);
}

static void show(const json_t *answer)
{
  struct tg_buf line = {0};
  tg_ctl_cluster_line(answer, &line);
  char *text = tg_buf_take(&line);
  tg_put_safe(text);
  fputs("; Redis is ", stdout);
  tg_put_safe(tg_figure_text(json_object_get(answer, "engine"), "url"));
  putchar('\n');
  show_trouble(answer);
  show_hosts(answer);
  show_budget(json_object_get(answer, "budget"));
  free(text);
}

/* ---- forgetting ---- */

static bool ask_forget(const struct tg_ctl *ctl, struct tg_ctl_ask *ask, struct tg_error *error)
{
  json_t *body = json_pack("{s:s}", "host", ctl->words[0]);
  ask->body = body ? json_dumps(body, JSON_COMPACT) : NULL;
  json_decref(body);
  return ask->body || tg_fail(error, "usage", "cluster forget: the name of the host is no text");
}

static void show_forgotten(const json_t *answer)
{
  int64_t holes = tg_figure_number(answer, "holes");
  tg_put_safe(tg_figure_text(answer, "host"));
  printf(" is forgotten, with %s hole%s\n", tg_figure_count(answer, "holes"), plural(holes));
}

static const struct tg_ctl_action actions[] = {
    {
        .name = "",
        .timeout = TG_CTL_SOON,
        .method = "GET",
        .path = "/cluster",
        .show = show,
    },
    {
        .name = "forget",
        .usage = "HOST",
        .line = "it will not come back: give up the events that only it has",
        .least = 1,
        .most = 1,
        .timeout = TG_CTL_SOON,
        .method = "POST",
        .path = "/cluster/forget",
        .ask = ask_forget,
        .show = show_forgotten,
    },
    {0},
};

const struct tg_ctl_command tg_ctl_cluster = {
    .name = "cluster",
    .line = "hosts that share the bot's shards, and what each has",
    .actions = actions,
};
