#pragma once

/* What may stand where on a command line, for shells that complete it: made of the table of ctl's commands
 * and of the help texts, so that it cannot differ from them. */

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>

/* One word that may follow. */
struct tg_completion {
  char *at;     /* the words before it, options left out, each behind a blank: " ctl queue"; "": none */
  char *word;   /* "forget", "--json", "--filter=" */
  char *line;   /* what it is; may be "" */
  bool value;   /* an option that takes the next word */
  char *values; /* which there are, "a|b"; NULL: any */
};

struct tg_completions {
  struct tg_completion *items;
  size_t count;
};

/* Whether names of files may stand there: in the place of its words, or behind them. */
bool tg_completion_takes_files(const char *at);
/* Whether it has words of its own, which come first. */
bool tg_completion_has_words(const struct tg_completions *all, const char *at);

/* The places with words of their own, each once: `next` from 0. NULL: there is no more. */
const char *tg_completion_place(const struct tg_completions *all, size_t *next);

/* completion_shells.c: the script for a shell. */
void tg_completion_bash(const struct tg_completions *all, struct tg_buf *out);
void tg_completion_zsh(const struct tg_completions *all, struct tg_buf *out);
void tg_completion_fish(const struct tg_completions *all, struct tg_buf *out);
