#include "cli/init.h"

#include "base/log.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* False: the child still runs. */
static bool reap(pid_t child, int *exit_code)
{
  int status;
  bool ended = false;
  for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
    if (pid != child)
      continue;
    ended = true;
    *exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  return ended;
}

static int look_after(pid_t child, const sigset_t *signals)
{
  int exit_code = 0;
  for (;;) {
    siginfo_t info;
    int number = sigwaitinfo(signals, &info);
    if (number == SIGCHLD && reap(child, &exit_code))
      return exit_code;
    /* What the terminal sends, it sends to the child as well. */
    if (number > 0 && number != SIGCHLD && info.si_code != SI_KERNEL)
      kill(child, number);
  }
}

bool tg_init_if_first(void)
{
  if (getpid() != 1)
    return false;
  sigset_t all, before;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, &before); /* blocked ones are kept, whatever their default */
  pid_t child = fork();
  if (child > 0) {
    prctl(PR_SET_NAME, "tidegate-init");
    _exit(look_after(child, &all));
  }
  if (child < 0)
    tg_log(TG_WARN, TG_NO_SHARD, "process 1 cannot have a child: %s", strerror(errno));
  sigprocmask(SIG_SETMASK, &before, NULL);
  return true;
}
