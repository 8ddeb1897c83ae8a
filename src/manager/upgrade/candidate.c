#include "manager/upgrade/candidate.h"

#include "base/buf.h"
#include "base/timer.h"
#include "manager/upgrade/handed.h"
#include "manager/workers/child.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
  NO_PROGRAM = 126,
  NOT_FOUND = 127 /* exit codes of a shell, which gets what the kernel does not take */
};

struct tg_candidate {
  struct tg_child *child;
  uv_timer_t *timer; /* the end of patience */
  bool late;
  int verdict;
  tg_candidate_judged *judged;
  void *ctx;
};

static void free_candidate(struct tg_candidate *candidate)
{
  tg_timer_free(candidate->timer);
  if (candidate->verdict >= 0)
    close(candidate->verdict);
  free(candidate);
}

static void describe(const struct tg_candidate *candidate, int64_t status, int number, char *text,
                     size_t size)
{
  if (candidate->late)
    snprintf(text, size, "it did not come up in time");
  else if (number != 0)
    snprintf(text, size, "it was ended by signal %d, %s", number, strsignal(number));
  else if (status == TG_EXIT_USAGE)
    snprintf(text, size, "it does not know live upgrades (exit code %d): a restart is needed", TG_EXIT_USAGE);
  else if (status == NO_PROGRAM || status == NOT_FOUND)
    snprintf(text, size, "it cannot be executed: it is no program");
  else if (status != TG_EXIT_OK)
    snprintf(text, size, "it ended with exit code %lld; what it has said stands above", (long long)status);
  else
    snprintf(text, size, "it has ended without a word");
}

static void on_ended(void *owner, int64_t status, int number)
{
  struct tg_candidate *candidate = owner;
  char text[160];
  json_t *verdict = tg_handed_read(candidate->verdict);
  const char *version = json_string_value(json_object_get(verdict, "version"));
  const char *problem = json_string_value(json_object_get(verdict, "problem"));
  if (!problem && (!version || status != TG_EXIT_OK || number != 0)) {
    describe(candidate, status, number, text, sizeof text);
    problem = text;
  }
  candidate->judged(candidate->ctx, version, problem);
  json_decref(verdict);
  free_candidate(candidate);
}

static void on_late(uv_timer_t *timer)
{
  struct tg_candidate *candidate = timer->data;
  candidate->late = true;
  tg_child_kill(candidate->child, SIGKILL);
}

static struct tg_child *start(const struct tg_candidate_options *options, struct tg_candidate *candidate,
                              int *failed)
{
  const char *words[] = {"tidegate", "run", "--candidate", "--", options->script, NULL};
  if (!options->script)
    words[3] = NULL;
  uv_stdio_container_t stdio[] = {
      {.flags = UV_IGNORE},
      {.flags = UV_INHERIT_FD, .data.fd = STDOUT_FILENO},
      {.flags = UV_INHERIT_FD, .data.fd = STDERR_FILENO},
      [TG_CANDIDATE_STATE] = {.flags = UV_INHERIT_FD, .data.fd = options->state},
      [TG_CANDIDATE_VERDICT] = {.flags = UV_INHERIT_FD, .data.fd = candidate->verdict},
  };
  uv_process_options_t process = {
      .file = options->path,
      .args = (char **)words,
      .env = options->environment,
      .stdio = stdio,
      .stdio_count = sizeof stdio / sizeof *stdio,
  };
  return tg_child_start(options->loop, &process, on_ended, candidate, failed);
}

struct tg_candidate *tg_candidate_start(const struct tg_candidate_options *options,
                                        tg_candidate_judged *judged, void *ctx, struct tg_error *error)
{
  struct tg_candidate *candidate = tg_calloc(1, sizeof *candidate);
  json_t *nothing = json_object();
  candidate->judged = judged;
  candidate->ctx = ctx;
  candidate->verdict = tg_handed_write(nothing);
  candidate->timer = tg_timer_new(options->loop, candidate);
  json_decref(nothing);
  int failed = UV_ENOMEM;
  if (candidate->verdict >= 0)
    candidate->child = start(options, candidate, &failed);
  if (!candidate->child) {
    free_candidate(candidate);
    tg_fail(error, "upgrade_refused", "%s cannot be executed: %s", options->path, uv_strerror(failed));
    return NULL;
  }
  tg_timer_start(candidate->timer, on_late, options->patience);
  return candidate;
}

void tg_candidate_end(struct tg_candidate *candidate)
{
  if (!candidate)
    return;
  tg_child_kill(candidate->child, SIGKILL);
  tg_child_forget(candidate->child);
  free_candidate(candidate);
}
