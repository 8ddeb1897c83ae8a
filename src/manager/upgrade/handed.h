#pragma once

/* What one program hands on to the next in its place: JSON in memory that has no name, and descriptors, which
 * stand in it by their numbers. Whoever writes may be of another version: the fields are for ever, and what a
 * reader does not find it does without. */

#include <jansson.h>
#include <stdbool.h>

enum {
  TG_HANDED_FORMAT = 1, /* another number: these programs cannot follow each other */
};

/* A descriptor with the text in it; the caller closes it. -1: there is no memory. */
int tg_handed_write(const json_t *state);
/* NULL: it is not what tg_handed_write() has written. */
json_t *tg_handed_read(int fd);

/* Notes a descriptor, by a name of its own; -1 is noted as nothing. It has to stay open. */
void tg_handed_put_fd(json_t *object, const char *name, int fd);
/* A copy of it, close-on-exec; -1: there is none. */
int tg_handed_fd(const json_t *object, const char *name);
int tg_handed_copy(int fd);
/* All that are noted anywhere in `state`: a list that the caller frees. */
int *tg_handed_fds(const json_t *state, int *count);
