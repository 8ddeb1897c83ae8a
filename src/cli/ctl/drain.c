/* `tidegate ctl drain`: waiting until a host of a cluster has given all its shards away. */

#include "cli/ctl/answer.h"
#include "cli/ctl/command.h"
#include "cli/ctl/figures.h"

#include "base/buf.h"
#include "base/human.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
  POLL = 250,
  SAID_EVERY = 10000, /* ms between two lines of the same number of shards */
  HOLES_KNOWN = 1500, /* ms until a host has heard from Redis of holes that its last shards have left */
};

struct drain_watch {
  struct tg_ctl *ctl;
  bool draws;     /* one line, written over and over: a terminal */
  bool anyway;    /* it was asked for without waiting for the bot */
  tg_ms deadline; /* INT64_MAX: none */
  tg_ms said_at;
  int64_t said_held;
  tg_ms gone_at; /* when no shard was there first; 0: not yet */
};

/* What is waited for, beside the time that it takes. */
static const char *obstacle(const json_t *cluster)
{
  const json_t *engine = json_object_get(cluster, "engine");
  if (json_is_false(json_object_get(engine, "up")))
    return "; waits for Redis, which does not answer";
  if (json_is_false(json_object_get(cluster, "othersTake")))
    return "; waits for another host that takes them: none is there";
  return tg_figure_number(cluster, "quiet") > 0 ? "; waits for the quiet time after Redis has begun anew"
                                                : "";
}

static const char *plural(int64_t count)
{
  return count == 1 ? "" : "s";
}

static void put_step(const struct drain_watch *watch, const json_t *cluster, struct tg_buf *out)
{
  const json_t *shards = json_object_get(cluster, "shards");
  int64_t held = tg_figure_number(shards, "held"), queued = tg_figure_number(cluster, "queued");
  tg_buf_printf(out, "%s shard%s here", tg_figure_count(shards, "held"), plural(held));
  if (queued > 0)
    tg_buf_printf(out, ", with %s event%s that only this host has%s", tg_figure_count(cluster, "queued"),
                  plural(queued), watch->anyway ? "" : " (--now does not wait for the bot to take them)");
  tg_buf_puts(out, obstacle(cluster));
}

static void put_end(const json_t *cluster, struct tg_buf *out)
{
  int64_t holes = tg_figure_number(cluster, "holes");
  tg_buf_puts(out, "no shard is here any more");
  if (holes > 0)
    tg_buf_printf(out,
                  "; %s hole%s of this host %s to be delivered, late: by this process, or the next one with "
                  "its state directory",
                  tg_figure_count(cluster, "holes"), plural(holes), holes == 1 ? "is" : "are");
}

static void wipe(const struct drain_watch *watch)
{
  if (watch->draws)
    fputs("\r\033[K", stdout);
}

/* Of the same shards rarely: the number of events changes with each answer. */
static void show_step(struct drain_watch *watch, const json_t *cluster)
{
  int64_t held = tg_figure_number(json_object_get(cluster, "shards"), "held");
  tg_ms now = tg_now();
  bool is_news = held != watch->said_held || now - watch->said_at >= SAID_EVERY;
  if (held == 0 || watch->ctl->as_json || (!watch->draws && !is_news))
    return;
  watch->said_held = held;
  watch->said_at = now;
  struct tg_buf line = {0};
  put_step(watch, cluster, &line);
  char *text = tg_buf_take(&line);
  wipe(watch);
  printf(watch->draws ? "%s" : "%s\n", text);
  fflush(stdout);
  free(text);
}

static enum tg_exit show_end(const struct drain_watch *watch, const json_t *cluster)
{
  struct tg_buf line = {0};
  wipe(watch);
  put_end(cluster, &line);
  char *text = tg_buf_take(&line);
  char *json = watch->ctl->as_json ? json_dumps(cluster, JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;
  puts(json ? json : text);
  free(json);
  free(text);
  return TG_EXIT_OK;
}

static enum tg_exit fail(const struct drain_watch *watch, enum tg_exit result, const char *text)
{
  wipe(watch);
  fprintf(stderr, "tidegate ctl: %s\n", text);
  return result;
}

/* Holes come of what goes without being delivered. */
static bool is_over(struct drain_watch *watch, int64_t held)
{
  if (held > 0)
    watch->gone_at = 0;
  else if (watch->gone_at == 0)
    watch->gone_at = tg_now();
  if (held > 0)
    return false;
  return !watch->anyway || tg_now() - watch->gone_at >= HOLES_KNOWN;
}

/* `result`: of the last question; the gateway has not answered, or it is over, or it takes too long. */
static enum tg_exit end_with(const struct drain_watch *watch, enum tg_exit result, const json_t *cluster,
                             const char *problem)
{
  bool in_time = tg_now() < watch->deadline;
  if (result != TG_EXIT_OK && in_time)
    return fail(watch, result, problem);
  if (result == TG_EXIT_OK && !json_is_true(json_object_get(cluster, "draining")))
    return fail(watch, TG_EXIT_FAILED, "the gateway was started again meanwhile, and keeps its shards");
  if (result == TG_EXIT_OK && watch->gone_at)
    return show_end(watch, cluster);
  return fail(watch, TG_EXIT_FAILED, "not all shards have gone within the time given; the others still go");
}

/* False: it goes on. */
static bool look(struct drain_watch *watch, enum tg_exit *result)
{
  struct tg_error error = {0};
  struct tg_ctl_answer answer;
  tg_ms left = watch->deadline - tg_now();
  *result = tg_ctl_ask(watch->ctl->client, "GET", "/status", NULL,
                       left > TG_CTL_SOON ? TG_CTL_SOON
                       : left > 1         ? left
                                          : 1,
                       &answer, &error);
  const json_t *cluster = json_object_get(answer.body, "cluster");
  bool drains = json_is_true(json_object_get(cluster, "draining"));
  int64_t held = tg_figure_number(json_object_get(cluster, "shards"), "held");
  bool goes_on = *result == TG_EXIT_OK && drains && !is_over(watch, held) && tg_now() < watch->deadline;
  if (goes_on)
    show_step(watch, cluster);
  else
    *result = end_with(watch, *result, cluster, error.message);
  json_decref(answer.body);
  return !goes_on;
}

/* Only what is allowed in the midst of anything. The signal comes once more when this returns. */
static void on_interrupt(int number)
{
  static const char said[] =
      "\ntidegate ctl: the shards still go: `tidegate ctl cluster` shows how many are here\n";
  ssize_t written = write(STDERR_FILENO, said, sizeof said - 1);
  (void)written;
  raise(number);
}

/* Says how many shards are there, and how many events only this host has, until none is. Ctrl-C ends the
 * program, not what was asked for, and says so. */
static enum tg_exit wait_drained(struct tg_ctl *ctl)
{
  struct drain_watch watch = {
      .ctl = ctl,
      .draws = tg_ctl_draws() && !ctl->as_json,
      .anyway = tg_ctl_has(ctl, "--now"),
      .deadline = ctl->timeout ? tg_now() + ctl->timeout : INT64_MAX,
      .said_held = -1,
  };
  struct sigaction interrupt = {.sa_handler = on_interrupt, .sa_flags = (int)SA_RESETHAND};
  enum tg_exit result;
  sigaction(SIGINT, &interrupt, NULL);
  while (!look(&watch, &result))
    usleep(POLL * 1000);
  return result;
}

/* What is shown is how far it gets, not the first answer. */
static enum tg_exit run(struct tg_ctl *ctl, const struct tg_ctl_ask *ask)
{
  struct tg_error error = {0};
  struct tg_ctl_answer answer;
  const char *body = tg_ctl_has(ctl, "--now") ? "{\"now\":true}" : NULL;
  enum tg_exit result =
      tg_ctl_ask(ctl->client, ask->method, ask->path, body, ctl->action->timeout, &answer, &error);
  if (result != TG_EXIT_OK)
    tg_ctl_complain(&error, answer.body);
  json_decref(answer.body);
  return result == TG_EXIT_OK ? wait_drained(ctl) : result;
}

static const struct tg_ctl_option options[] = {
    {"--now", NULL, "those that the bot is behind with, too", NULL},
    {NULL, NULL, NULL, NULL},
};

static const struct tg_ctl_action actions[] = {
    {
        .name = "",
        .timeout = TG_CTL_SOON,
        .options = options,
        .method = "POST",
        .path = "/cluster/drain",
        .run = run,
    },
    {0},
};

const struct tg_ctl_command tg_ctl_drain = {
    .name = "drain",
    .line = "give all shards to the other hosts of the cluster",
    .page = "Waits until all have gone, and tells what for. Ctrl-C leaves it running.\n",
    .actions = actions,
};
