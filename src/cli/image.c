#include "cli/image.h"

#include "base/buf.h"
#include "base/log.h"
#include "base/log_writer.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static const char variable[] = "TIDEGATE_HANDOVER";

enum {
  VARIABLE_SIZE = 80,
  STACK_SIZE = 64 * 1024,
  ENDED = 100, /* behind signals: exit codes */
};

static struct {
  char *path;
  int own; /* -1: not opened yet */
  char **argv;
  char **environment; /* NULL at the end, and one place before it for the variable */
  int variables;
  int state, old, failure; /* failure: a signal, or ENDED + exit code; 0: none */
  bool guarded;
  void (*returns)(void);
  int *kept;
  int kept_count;
  char handover[VARIABLE_SIZE];
} the_image = {.own = -1, .state = -1, .old = -1};

/* ---- what is noted at the start ---- */

static bool is_own_file(const char *path)
{
  struct stat named, own;
  return stat(path, &named) == 0 && stat("/proc/self/exe", &own) == 0 && named.st_dev == own.st_dev &&
         named.st_ino == own.st_ino;
}

static char *absolute(const char *path)
{
  char directory[PATH_MAX];
  struct tg_buf whole = {0};
  if (path[0] == '/' || !getcwd(directory, sizeof directory))
    return tg_strdup(path);
  tg_buf_printf(&whole, "%s/%s", directory, path);
  return tg_buf_take(&whole);
}

static char *find_in_path(const char *name)
{
  const char *at = getenv("PATH");
  while (at && *at) {
    int length = (int)strcspn(at, ":");
    struct tg_buf path = {0};
    tg_buf_printf(&path, "%.*s/%s", length, at, name);
    char *text = tg_buf_take(&path);
    if (is_own_file(text))
      return text;
    free(text);
    at += length;
    at += *at == ':';
  }
  return NULL;
}

/* A link to it is kept as a link: it may lead to another version later. */
static char *own_path(const char *name)
{
  char file[PATH_MAX];
  char *path = strchr(name, '/') ? (is_own_file(name) ? absolute(name) : NULL) : find_in_path(name);
  if (path)
    return path;
  ssize_t length = readlink("/proc/self/exe", file, sizeof file - 1);
  return length > 0 ? tg_strndup(file, (size_t)length) : tg_strdup(name);
}

static void note_environment(void)
{
  int count = 0;
  while (environ && environ[count])
    count++;
  the_image.environment = tg_calloc((size_t)count + 2, sizeof(char *));
  for (int i = 0; i < count; i++)
    if (strncmp(environ[i], variable, sizeof variable - 1) != 0)
      the_image.environment[the_image.variables++] = tg_strdup(environ[i]);
}

static void note_handover(void)
{
  const char *text = getenv(variable);
  if (text && sscanf(text, "%d:%d:%d", &the_image.state, &the_image.old, &the_image.failure) != 3)
    the_image.state = the_image.old = -1;
  unsetenv(variable);
}

void tg_image_begin(char **argv)
{
  the_image.argv = argv;
  the_image.path = own_path(argv[0]);
  note_environment();
  note_handover();
}

const char *tg_image_path(void)
{
  return the_image.path;
}

void tg_image_set_path(const char *path)
{
  free(the_image.path);
  the_image.path = tg_strdup(path);
}

char **tg_image_environment(void)
{
  return the_image.environment;
}

int tg_image_own(void)
{
  if (the_image.own < 0)
    the_image.own = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  return the_image.own;
}

int tg_image_state(void)
{
  return the_image.state;
}

int tg_image_old(void)
{
  return the_image.old;
}

const char *tg_image_failure(void)
{
  static char text[80];
  int failure = the_image.failure;
  if (failure == 0)
    return NULL;
  if (failure == SIGALRM)
    snprintf(text, sizeof text, "it did not come up in time");
  else if (failure >= ENDED)
    snprintf(text, sizeof text, "it ended with exit code %d", failure - ENDED);
  else
    snprintf(text, sizeof text, "it was ended by signal %d, %s", failure, strsignal(failure));
  return text;
}

/* ---- another in this one's place ---- */

/* Safe in a signal handler. */
static void put_number(char *text, size_t *at, int number)
{
  char digits[12];
  int count = 0;
  if (number < 0)
    text[(*at)++] = '-';
  for (unsigned rest = number < 0 ? 0U - (unsigned)number : (unsigned)number; count == 0 || rest > 0;
       rest /= 10)
    digits[count++] = (char)('0' + rest % 10);
  while (count > 0)
    text[(*at)++] = digits[--count];
}

static void set_variable(int state, int old, int failure)
{
  const int numbers[] = {state, old, failure};
  size_t at = sizeof variable - 1;
  memcpy(the_image.handover, variable, at);
  for (int i = 0; i < 3; i++) {
    the_image.handover[at++] = i == 0 ? '=' : ':';
    put_number(the_image.handover, &at, numbers[i]);
  }
  the_image.handover[at] = '\0';
  the_image.environment[the_image.variables] = the_image.handover;
}

static void execute(const char *path, int program)
{
  if (path)
    execve(path, the_image.argv, the_image.environment);
  else
    syscall(SYS_execveat, program, "", the_image.argv, the_image.environment, AT_EMPTY_PATH);
}

static void keep(const int *fds, int count)
{
  for (int i = 0; i < count; i++)
    fcntl(fds[i], F_SETFD, 0);
}

/* Between two programs nobody is there to hear them: they wait. */
static const int put_off[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR2, SIGCHLD};

static void hold_signals(int how)
{
  sigset_t set;
  sigemptyset(&set);
  for (size_t i = 0; i < sizeof put_off / sizeof *put_off; i++)
    sigaddset(&set, put_off[i]);
  sigprocmask(how, &set, NULL);
}

void tg_image_listen(void)
{
  hold_signals(SIG_UNBLOCK);
}

void tg_image_become(const struct tg_image_step *step, struct tg_error *error)
{
  set_variable(step->state, step->old, 0);
  fflush(stdout);
  tg_log_flush();
  tg_log_writer_drain();
  close_range(STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC);
  keep(step->keep, step->count);
  hold_signals(SIG_BLOCK);
  alarm((unsigned)step->patience);
  execute(step->path, step->program);
  int code = errno;
  alarm(0);
  the_image.environment[the_image.variables] = NULL;
  hold_signals(SIG_UNBLOCK);
  for (int i = 0; i < step->count; i++)
    fcntl(step->keep[i], F_SETFD, FD_CLOEXEC);
  tg_fail(error, "exec", "%s cannot be executed: %s", step->path ? step->path : "the program",
          strerror(code));
}

/* ---- the way back ---- */

static void go_back(int failure)
{
  sigset_t none;
  the_image.guarded = false;
  alarm(0);
  tg_log_writer_drain();
  the_image.returns();
  keep(the_image.kept, the_image.kept_count);
  set_variable(the_image.state, -1, failure);
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  hold_signals(SIG_BLOCK);
  execute(NULL, the_image.old);
}

/* Only the main thread may go: the workers are its children, and would end with it. */
static void on_fatal(int number)
{
  if (syscall(SYS_gettid) != getpid()) {
    syscall(SYS_tgkill, getpid(), getpid(), number);
    for (;;)
      pause();
  }
  if (the_image.guarded)
    go_back(number);
  signal(number, SIG_DFL);
  raise(number);
}

static const int fatal[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS, SIGALRM};
enum { FATAL = sizeof fatal / sizeof *fatal };
static struct sigaction usual[FATAL];

static void on_exit_of_program(void)
{
  tg_image_go_back(TG_EXIT_FAILED);
}

static void listen_to_fatal(void)
{
  const struct sigaction action = {.sa_handler = on_fatal, .sa_flags = SA_ONSTACK | SA_NODEFER};
  for (int i = 0; i < FATAL; i++)
    sigaction(fatal[i], &action, &usual[i]);
}

void tg_image_guard(const int *fds, int count, void (*returns)(void))
{
  static char stack[STACK_SIZE]; /* the script's may be used up */
  stack_t there = {.ss_sp = stack, .ss_size = sizeof stack};
  static bool registered;
  the_image.kept = tg_calloc((size_t)count + 1, sizeof(int));
  the_image.kept_count = count;
  the_image.returns = returns;
  for (int i = 0; i < count; i++) {
    the_image.kept[i] = fds[i];
    fcntl(fds[i], F_SETFD, FD_CLOEXEC);
  }
  if (the_image.old < 0)
    return;
  sigaltstack(&there, NULL);
  the_image.guarded = true;
  listen_to_fatal();
  if (!registered)
    atexit(on_exit_of_program);
  registered = true;
}

void tg_image_wait(int patience)
{
  if (the_image.guarded)
    alarm((unsigned)patience);
}

bool tg_image_guarded(void)
{
  return the_image.guarded;
}

void tg_image_go_back(int exit_code)
{
  if (!the_image.guarded)
    return;
  fflush(stdout);
  tg_log_flush();
  go_back(ENDED + exit_code);
}

void tg_image_settled(void)
{
  alarm(0);
  for (int i = 0; the_image.guarded && i < FATAL; i++) {
    struct sigaction now;
    sigaction(fatal[i], NULL, &now);
    if (now.sa_handler == on_fatal) /* others have put theirs before it, and come to it at the end */
      sigaction(fatal[i], &usual[i], NULL);
  }
  the_image.guarded = false;
  for (int i = 0; i < the_image.kept_count; i++)
    if (the_image.kept[i] != the_image.old)
      close(the_image.kept[i]);
  free(the_image.kept);
  the_image.kept = NULL;
  the_image.kept_count = 0;
  the_image.state = -1;
}

void tg_image_forget_old(void)
{
  if (the_image.old >= 0)
    close(the_image.old);
  the_image.old = -1;
}
