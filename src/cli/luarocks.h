#pragma once

/* Runs the luarocks command, for Lua 5.1 and a tree:
 *
 *     struct tg_luarocks line = {0};
 *     tg_luarocks_begin(&line, "/var/lib/tidegate/rocks");
 *     tg_luarocks_word(&line, "install");
 *     tg_luarocks_word(&line, "tidegate-plugin-%s", name);
 *     exit_code = tg_luarocks_run(&line);                       frees the line, too
 */

enum { TG_LUAROCKS_WORDS = 12 };

struct tg_luarocks {
  char *words[TG_LUAROCKS_WORDS + 1]; /* NULL behind the last */
  int count;
};

void tg_luarocks_begin(struct tg_luarocks *line, const char *tree);
void tg_luarocks_word(struct tg_luarocks *line, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Shows the line on standard error, as a shell would take it, and runs it
 * without a shell, with the input and output of this process; secrets that
 * the environment had are to be hidden before (config/environment.h), for what is
 * installed may run a build of its own. Proxies luarocks gets, with their logins.
 * Returns its exit code, that of a shell for a signal (128 + number), or, when it
 * cannot be started, says why and returns TG_EXIT_FAILED. */
int tg_luarocks_run(struct tg_luarocks *line);
