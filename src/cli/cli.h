#pragma once

/* The commands of the program, a file each. `argv[0]` is the command's name;
 * the result is the exit code (base/error.h, enum tg_exit). */

#include <stdbool.h>
#include <stddef.h>

struct tg_command_line {
  const char *name;
  int (*run)(int argc, char **argv);
};

int tg_cli_run(int argc, char **argv);
int tg_cli_check(int argc, char **argv);
int tg_cli_ctl(int argc, char **argv);
int tg_cli_plugin(int argc, char **argv);
int tg_cli_test(int argc, char **argv);
int tg_cli_completion(int argc, char **argv);
int tg_cli_version(int argc, char **argv);
int tg_cli_help(int argc, char **argv);

/* The command, or the page of the help, that `word` is close to, in words that
 * follow it: ` (did you mean "run"?)`; else "". Returns `text`. */
const char *tg_cli_meant(const char *word, char *text, size_t size);

/* What `tidegate help` says. */
extern const char tg_cli_overview[];

/* The pages of the help, an index each. `*text` NULL: it has none of its own, or it is not a fixed text.
 * False: there are no more. */
bool tg_cli_page(int index, const char **name, const char **text);

/* Not for people: what the manager runs for each worker. */
int tg_cli_worker(int argc, char **argv);
