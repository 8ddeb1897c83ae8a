/* What the next program in this process has to know of the workers, and how it goes on with them. */

#include "base/log.h"
#include "manager/upgrade/handed.h"
#include "manager/workers/workers_impl.h"
#include "shared/poison.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool tg_workers_at_rest(const struct tg_workers *workers, bool all)
{
  for (int i = 0; i < workers->count; i++) {
    const struct tg_managed_worker *worker = &workers->list[i];
    bool up = worker->process && worker->ipc && worker->state == TG_WORKER_READY;
    if ((worker->process || (all && worker->wanted)) && !up)
      return false;
    if (up && !tg_ipc_at_rest(worker->ipc))
      return false;
  }
  return true;
}

/* ---- on this side ---- */

static json_t *hand_over(const struct tg_managed_worker *worker)
{
  json_t *json =
      json_pack("{s:I, s:i, s:i, s:b, s:b, s:I, s:I}", "incarnation", (json_int_t)worker->incarnation,
                "generation", worker->generation, "failures", worker->failures, "was_ready",
                worker->was_ready, "foreign", worker->foreign, "cpu", (json_int_t)worker->usage.cpu,
                "cpu_earlier", (json_int_t)worker->usage.cpu_earlier);
  if (worker->stats)
    tg_handed_put_fd(json, "stats", worker->stats_fd);
  if (worker->process && worker->ipc) {
    json_object_set_new(json, "pid", json_integer(tg_child_pid(worker->process)));
    json_object_set_new(json, "ready_at", json_integer(worker->ready_at));
    tg_handed_put_fd(json, "line", tg_ipc_fd(worker->ipc));
  }
  return json;
}

static void put_version(char text[24])
{
  snprintf(text, 24, "%016" PRIx64, tg_messages_version());
}

json_t *tg_workers_hand_over(const struct tg_workers *workers)
{
  char version[24];
  json_t *list = json_array();
  put_version(version);
  for (int i = 0; i < workers->count; i++)
    json_array_append_new(list, hand_over(&workers->list[i]));
  return json_pack("{s:s, s:i, s:b, s:o}", "messages", version, "generation", workers->generation, "moved",
                   workers->moved, "list", list);
}

/* ---- on the other ---- */

static int64_t number(const json_t *json, const char *name)
{
  return json_integer_value(json_object_get(json, name));
}

static bool yes(const json_t *json, const char *name)
{
  return json_is_true(json_object_get(json, name));
}

/* One of another layout is left to the process that has it: what it has counted is lost with it. */
static void take_stats(struct tg_managed_worker *worker, const json_t *handed)
{
  struct tg_error error;
  worker->stats_fd = tg_handed_fd(handed, "stats");
  worker->stats = worker->stats_fd >= 0 ? tg_stats_map(worker->stats_fd, &error) : NULL;
  if (worker->stats || worker->stats_fd < 0)
    return;
  close(worker->stats_fd);
  worker->stats_fd = -1;
  tg_log_with(TG_WARN, TG_NO_SHARD, TG_WITH(TG_NUMBER(WORKER, worker->id)),
              "what the worker has counted is of another version: its counters begin anew");
}

static void take(struct tg_managed_worker *worker, const json_t *handed, bool foreign)
{
  int pid = (int)number(handed, "pid"), line = tg_handed_fd(handed, "line");
  worker->incarnation = (unsigned)number(handed, "incarnation");
  worker->generation = (int)number(handed, "generation");
  worker->failures = (int)number(handed, "failures");
  worker->was_ready = yes(handed, "was_ready");
  worker->usage.cpu = (uint64_t)number(handed, "cpu");
  worker->usage.cpu_earlier = (uint64_t)number(handed, "cpu_earlier");
  take_stats(worker, handed);
  if (pid <= 0)
    return;
  /* It may have been foreign to the program before, and be one of ours: it is replaced like the others. */
  worker->foreign = foreign || yes(handed, "foreign");
  worker->ready_at = worker->started_at = number(handed, "ready_at");
  tg_worker_adopt(worker, pid, line);
}

void tg_workers_take_over(struct tg_workers *workers, const json_t *handed)
{
  char version[24];
  const json_t *list = json_object_get(handed, "list");
  const char *theirs = json_string_value(json_object_get(handed, "messages"));
  put_version(version);
  bool foreign = !theirs || strcmp(theirs, version) != 0;
  if (foreign)
    tg_log(
        TG_INFO, TG_NO_SHARD,
        "the workers speak another version of the messages: they are told nothing until they are replaced");
  workers->generation = (int)number(handed, "generation");
  workers->moved = yes(handed, "moved");
  tg_workers_make(workers, (int)json_array_size(list));
  for (int i = 0; i < workers->count; i++)
    take(&workers->list[i], json_array_get(list, (size_t)i), foreign);
  for (int i = 0; i < workers->count; i++)
    if (workers->list[i].wanted && !workers->list[i].process)
      tg_worker_start(&workers->list[i]);
}
