/* The command line and the descriptors of a worker's process. */

#include "base/buf.h"
#include "manager/workers/workers_impl.h"
#include "shared/poison.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { WORKER_FD = 3, STATS_FD = 4, POISON_FD = 5, SOURCES_FD = 6 };

static void free_handle(uv_handle_t *handle)
{
  free(handle);
}

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

static int start_process(struct tg_managed_worker *worker, int fd, int sources, uv_exit_cb on_exit)
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
      .exit_cb = on_exit,
      .stdio = stdio,
      .stdio_count = SOURCES_FD + 1,
  };
  uv_process_t *process = tg_calloc(1, sizeof *process);
  process->data = worker;
  int failed = uv_spawn(workers->env->loop, process, &options);
  if (failed == 0) {
    worker->process = process;
    return 0;
  }
  process->data = NULL;
  uv_close((uv_handle_t *)process, free_handle);
  return failed;
}

int tg_worker_spawn_process(struct tg_managed_worker *worker, int fd, uv_exit_cb on_exit)
{
  const struct tg_reload *reload = worker->workers->options.reload;
  int sources = reload->sources ? reload->sources(reload->ctx) : -1;
  int failed = start_process(worker, fd, sources, on_exit);
  if (sources >= 0)
    close(sources);
  return failed;
}
