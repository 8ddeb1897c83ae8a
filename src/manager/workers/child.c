#include "manager/workers/child.h"

#include "base/buf.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/wait.h>

struct tg_child {
  union {
    uv_handle_t handle;
    uv_process_t process;
    uv_signal_t signal; /* SIGCHLD, of one that libuv does not know */
  };
  int pid;
  bool adopted;
  tg_child_ended *ended;
  void *owner;
};

static void on_closed(uv_handle_t *handle)
{
  free(handle->data);
}

static struct tg_child *make(tg_child_ended *ended, void *owner)
{
  struct tg_child *child = tg_calloc(1, sizeof *child);
  child->ended = ended;
  child->owner = owner;
  return child;
}

static void end(struct tg_child *child, int64_t status, int number)
{
  uv_close(&child->handle, on_closed);
  child->ended(child->owner, status, number);
}

/* ---- started here ---- */

static void on_exit_of_process(uv_process_t *process, int64_t status, int number)
{
  end(process->data, status, number);
}

struct tg_child *tg_child_start(uv_loop_t *loop, uv_process_options_t *options, tg_child_ended *ended,
                                void *owner, int *failed)
{
  struct tg_child *child = make(ended, owner);
  options->exit_cb = on_exit_of_process;
  *failed = uv_spawn(loop, &child->process, options);
  child->handle.data = child;
  child->pid = child->process.pid;
  if (*failed == 0)
    return child;
  uv_close(&child->handle, on_closed);
  return NULL;
}

/* ---- adopted ---- */

static void look(struct tg_child *child)
{
  int status;
  pid_t pid = waitpid(child->pid, &status, WNOHANG);
  if (pid == child->pid && WIFEXITED(status))
    end(child, WEXITSTATUS(status), 0);
  else if (pid == child->pid)
    end(child, 0, WTERMSIG(status));
  else if (pid < 0 && errno == ECHILD)
    end(child, 0, SIGKILL); /* it is none of ours, and so there is none */
}

static void on_signal(uv_signal_t *signal, int number)
{
  (void)number;
  look(signal->data);
}

struct tg_child *tg_child_adopt(uv_loop_t *loop, int pid, tg_child_ended *ended, void *owner)
{
  struct tg_child *child = make(ended, owner);
  child->adopted = true;
  child->pid = pid;
  uv_signal_init(loop, &child->signal);
  child->handle.data = child;
  uv_signal_start(&child->signal, on_signal, SIGCHLD);
  raise(SIGCHLD); /* one that has ended before says so to nobody any more */
  return child;
}

/* ---- both ---- */

int tg_child_pid(const struct tg_child *child)
{
  return child->pid;
}

void tg_child_kill(struct tg_child *child, int number)
{
  if (child->adopted)
    kill(child->pid, number);
  else
    uv_process_kill(&child->process, number);
}

void tg_child_forget(struct tg_child *child)
{
  uv_close(&child->handle, on_closed);
}
