/* The command line and the descriptors of a worker's process. */

#include "base/buf.h"
#include "manager/workers/workers_impl.h"
#include "shared/poison.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { WORKER_FD = 3, STATS_FD = 4, POISON_FD = 5, SOURCES_FD = 6 };

static uv_stdio_container_t inherited(int fd)
{
  if (fd < 0)
    return (uv_stdio_container_t){.flags = UV_IGNORE};
  return (uv_stdio_container_t){.flags = UV_INHERIT_FD, .data.fd = fd};
}

struct words {
  const char *at[20];
  int count;
};

static void add(struct words *words, const char *option, const char *value)
{
  words->at[words->count++] = option;
  if (value)
    words->at[words->count++] = value;
}

static int start_process(struct tg_managed_worker *worker, int fd, int sources, tg_child_ended *ended)
{
  const struct tg_workers *workers = worker->workers;
  char id[16], numbers[SOURCES_FD + 1][4];
  int poison = tg_poison_fd();
  snprintf(id, sizeof id, "%d", worker->id);
  for (int i = WORKER_FD; i <= SOURCES_FD; i++)
    snprintf(numbers[i], sizeof numbers[i], "%d", i);
  struct words words = {{"tidegate", "worker"}, 2};
  add(&words, "--id", id);
  add(&words, "--fd", numbers[WORKER_FD]);
  add(&words, "--stats", numbers[STATS_FD]);
  if (poison >= 0)
    add(&words, "--poison", numbers[POISON_FD]);
  if (sources >= 0)
    add(&words, "--sources", numbers[SOURCES_FD]);
  if (tg_poison_load_is_off() && sources >= 0)
    add(&words, "--bare", NULL);
  if (workers->options.script_path)
    add(&words, "--", workers->options.script_path);
  uv_stdio_container_t stdio[] = {
      {.flags = UV_IGNORE},
      inherited(STDOUT_FILENO),
      inherited(STDERR_FILENO),
      [WORKER_FD] = inherited(fd),
      [STATS_FD] = inherited(worker->stats_fd),
      [POISON_FD] = inherited(poison),
      [SOURCES_FD] = inherited(sources),
  };
  uv_process_options_t options = {
      .file = "/proc/self/exe", /* this binary, even if its file was replaced meanwhile */
      .args = (char **)words.at,
      .stdio = stdio,
      .stdio_count = SOURCES_FD + 1,
  };
  int failed;
  struct tg_child *process = tg_child_start(workers->env->loop, &options, ended, worker, &failed);
  if (process)
    worker->process = process;
  return failed;
}

int tg_worker_spawn_process(struct tg_managed_worker *worker, int fd, tg_child_ended *ended)
{
  const struct tg_reload *reload = worker->workers->options.reload;
  int sources = reload->sources ? reload->sources(reload->ctx) : -1;
  int failed = start_process(worker, fd, sources, ended);
  if (sources >= 0)
    close(sources);
  return failed;
}
