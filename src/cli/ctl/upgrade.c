/* `tidegate ctl upgrade`: another version in the place of the one that runs. */

#include "cli/ctl/answer.h"
#include "cli/ctl/command.h"
#include "cli/ctl/figures.h"

#include "base/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
  POLL = 200,
  BETWEEN = 503,  /* what it is answered while one program goes, and the next comes, */
  APPEAR = 15000, /* for so many ms at most; or a connection is cut */
};

static void put_versions(const json_t *answer)
{
  fputs("from ", stdout);
  tg_put_safe(tg_figure_text(answer, "from"));
  fputs(" to ", stdout);
  tg_put_safe(tg_figure_text(answer, "to"));
}

static void show_last(const json_t *last)
{
  bool done = strcmp(tg_figure_text(last, "result"), "done") == 0;
  fputs(done ? "upgraded " : "the upgrade ", stdout);
  put_versions(last);
  if (done)
    printf(" in %s", tg_figure_duration(last, "duration"));
  else
    fputs(" has failed, and all goes on as it was: ", stdout);
  if (!done)
    tg_put_safe(tg_figure_text(last, "problem"));
  putchar('\n');
}

static void show(const json_t *answer)
{
  const char *state = tg_figure_text(answer, "state");
  const json_t *last = json_object_get(answer, "last");
  fputs("version ", stdout);
  tg_put_safe(tg_figure_text(answer, "version"));
  if (strcmp(state, "idle") == 0) {
    fputs(" runs; no upgrade is under way\n", stdout);
  } else {
    printf(" runs; an upgrade is under way (%s): %" PRId64 " of %" PRId64 " workers are replaced\n", state,
           tg_figure_number(answer, "replaced"), tg_figure_number(answer, "workers"));
  }
  if (json_is_object(last))
    show_last(last);
}

static void show_begun(const json_t *answer)
{
  fputs("the new version has been tried, and takes over: ", stdout);
  put_versions(answer);
  fputs("; the workers follow one by one\n", stdout);
  fflush(stdout);
}

static enum tg_exit show_end(const struct tg_ctl *ctl, const json_t *answer)
{
  const json_t *last = json_object_get(answer, "last");
  bool done = strcmp(tg_figure_text(last, "result"), "done") == 0;
  if (ctl->as_json) {
    char *text = json_dumps(answer, JSON_COMPACT | JSON_ENSURE_ASCII);
    puts(text ? text : "{}");
    free(text);
  } else if (done) {
    show_last(last);
  }
  if (!done)
    fprintf(stderr, "tidegate ctl: the upgrade has failed, and all goes on as it was: %s\n",
            json_is_object(last) ? tg_figure_text(last, "problem") : "the gateway was started again");
  return done ? TG_EXIT_OK : TG_EXIT_FAILED;
}

/* False: it is not over. */
static bool look(const struct tg_ctl *ctl, tg_ms *seen_at, tg_ms deadline, enum tg_exit *result)
{
  struct tg_error error = {0};
  struct tg_ctl_answer answer;
  *result = tg_ctl_ask(ctl->client, "GET", "/upgrade", NULL, TG_CTL_SOON, &answer, &error);
  bool there = *result == TG_EXIT_OK;
  bool over = there && strcmp(tg_figure_text(answer.body, "state"), "idle") == 0;
  if (there)
    *seen_at = tg_now();
  bool away = *result == TG_EXIT_UNAVAILABLE || answer.status == BETWEEN;
  bool lost = !there && (!away || tg_now() - *seen_at > APPEAR);
  bool late = !over && tg_now() >= deadline;
  if (over)
    *result = show_end(ctl, answer.body);
  else if (lost)
    fprintf(stderr, "tidegate ctl: %s\n", error.message);
  else if (late)
    fputs("tidegate ctl: the upgrade is not over; it goes on: `tidegate ctl upgrade status`\n", stderr);
  if (late && !lost)
    *result = TG_EXIT_FAILED;
  json_decref(answer.body);
  return over || lost || late;
}

static enum tg_exit upgrade(struct tg_ctl *ctl, const struct tg_ctl_ask *ask)
{
  bool as_json = ctl->as_json;
  tg_ms deadline = ctl->timeout ? tg_now() + ctl->timeout : INT64_MAX;
  enum tg_exit result;
  if (as_json) {
    struct tg_error error = {0};
    struct tg_ctl_answer answer;
    result = tg_ctl_ask(ctl->client, ask->method, ask->path, NULL, TG_CTL_LATER, &answer, &error);
    if (result != TG_EXIT_OK)
      tg_ctl_complain(&error, answer.body);
    json_decref(answer.body);
  } else {
    ctl->as_table = true; /* as what follows is */
    result = tg_ctl_ask_and_show(ctl, ask);
  }
  tg_ms seen_at = tg_now();
  if (result != TG_EXIT_OK)
    return result;
  while (!look(ctl, &seen_at, deadline, &result))
    usleep(POLL * 1000);
  return result;
}

static const struct tg_ctl_action actions[] = {
    {
        .name = "",
        .line = "let the installed program take over, and wait until all workers are its own",
        .timeout = TG_CTL_LATER,
        .method = "POST",
        .path = "/upgrade",
        .show = show_begun,
        .run = upgrade,
    },
    {
        .name = "status",
        .line = "which version runs, how far an upgrade is, how the last one ended",
        .timeout = TG_CTL_SOON,
        .method = "GET",
        .path = "/upgrade",
        .show = show,
    },
    {0},
};

const struct tg_ctl_command tg_ctl_upgrade = {
    .name = "upgrade",
    .line = "put the version that is installed now in place of the one that runs",
    .page = "The process stays, and so do sessions and sockets: no identify, no event lost. A program\n"
            "that does not come up, or whose workers do not, changes nothing. SIGUSR2 does the same.\n",
    .actions = actions,
};
