#include "cli/luarocks.h"

#include "base/buf.h"
#include "base/error.h"
#include "config/environment.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/wait.h>
#include <unistd.h>

void tg_luarocks_word(struct tg_luarocks *line, const char *format, ...)
{
  assert(line->count < TG_LUAROCKS_WORDS);
  va_list args;
  va_start(args, format);
  if (vasprintf(&line->words[line->count], format, args) < 0)
    abort();
  va_end(args);
  line->count++;
}

void tg_luarocks_begin(struct tg_luarocks *line, const char *tree)
{
  *line = (struct tg_luarocks){0};
  tg_luarocks_word(line, "luarocks");
  tg_luarocks_word(line, "--lua-version=5.1"); /* LuaJIT's */
  tg_luarocks_word(line, "--tree=%s", tree);
}

/* So that the line can be copied into a shell. */
static void put_word(struct tg_buf *text, const char *word)
{
  static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_@%+=:,./-";
  if (*word && word[strspn(word, plain)] == '\0') {
    tg_buf_puts(text, word);
    return;
  }
  tg_buf_puts(text, "'");
  for (; *word; word++)
    tg_buf_printf(text, *word == '\'' ? "'\\''" : "%c", *word);
  tg_buf_puts(text, "'");
}

static void show(const struct tg_luarocks *line)
{
  struct tg_buf text = {0};
  for (int i = 0; i < line->count; i++) {
    tg_buf_puts(&text, i > 0 ? " " : "");
    put_word(&text, line->words[i]);
  }
  char *shown = tg_buf_take(&text);
  fflush(stdout);
  fprintf(stderr, "%s\n", shown);
  free(shown);
}

/* Those of proxies have to get through it. */
static void give_proxies(void)
{
  static const char *const names[] = {"http_proxy", "https_proxy", "ftp_proxy", "all_proxy",
                                      "HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "ALL_PROXY"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    const char *value = tg_environment(names[i]);
    if (value)
      setenv(names[i], value, 1);
  }
}

/* SIGPIPE is ignored here, and would be there. Returns errno, 0: it runs. */
static int spawn(const struct tg_luarocks *line, pid_t *pid)
{
  posix_spawnattr_t attributes;
  sigset_t usual;
  sigemptyset(&usual);
  sigaddset(&usual, SIGPIPE);
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setsigdefault(&attributes, &usual);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
  int problem = posix_spawnp(pid, line->words[0], NULL, &attributes, line->words, environ);
  posix_spawnattr_destroy(&attributes);
  return problem;
}

static int wait_for(pid_t pid)
{
  int status;
  while (waitpid(pid, &status, 0) < 0) {
    if (errno != EINTR)
      return TG_EXIT_FAILED;
  }
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

int tg_luarocks_run(struct tg_luarocks *line)
{
  pid_t pid;
  show(line);
  give_proxies();
  int problem = spawn(line, &pid);
  int exit_code = problem ? TG_EXIT_FAILED : wait_for(pid);
  if (problem == ENOENT)
    fputs("tidegate plugin: LuaRocks is not installed, or not in PATH; on Debian: apt-get install luarocks\n",
          stderr);
  else if (problem)
    fprintf(stderr, "tidegate plugin: luarocks cannot be started: %s\n", strerror(problem));
  for (int i = 0; i < line->count; i++)
    free(line->words[i]);
  *line = (struct tg_luarocks){0};
  return exit_code;
}
