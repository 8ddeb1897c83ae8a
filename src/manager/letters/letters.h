#pragma once

/* The dead letters of this gateway, for people: which there are, sending them again, removing them. Workers
 * write them (delivery/sinks/dead_letter.h).
 *
 * Files are read and written in another thread, one job after the other. What is sent again the workers send,
 * each letter once, a few at a time; who has removed it when it was accepted is the worker that has sent it,
 * so that whoever dies in the middle leaves it to come twice, with its key, and never takes it along.
 *
 * Loop thread only. */

#include "manager/reply.h"
#include "manager/workers/workers.h"

struct tg_letters;

enum { TG_LETTERS_LISTED = 1000 /* at most, at once */ };

/* Which letters are meant: those for which all of it is true. */
struct tg_letter_filter {
  uint64_t *numbers; /* one of these, in their order; NULL: any */
  size_t count;
  int shard;   /* -1: of any */
  char *type;  /* NULL: of any */
  char *sink;  /* "bot" is the event handler; NULL: of any */
  long status; /* of the last answer, 0: there was none; -1: any */
  tg_ms since; /* tg_wall_clock(): not before */
};

void tg_letter_filter_free(struct tg_letter_filter *filter);

struct tg_letters *tg_letters_new(const struct tg_manager_env *env, struct tg_workers *workers);
/* Whoever waits is told that it is over ("stopping"). */
void tg_letters_end(struct tg_letters *letters);
void tg_letters_free(struct tg_letters *letters);

/* All take the filter over, and reply once. Codes: "disk", "stopping". */

/* A text, which is JSON: {"letters": [...], "matching": n, "next": n, "retry": ...}: the newest `limit` of
 * those with a number below `before` (0: all), without their events. */
void tg_letters_list(struct tg_letters *letters, struct tg_letter_filter *filter, size_t limit,
                     uint64_t before, tg_manager_reply *reply, void *ctx);
/* A text: the letter as it stands in its file. Code "no_letter". */
void tg_letters_show(struct tg_letters *letters, uint64_t number, tg_manager_reply *reply, void *ctx);
/* Replies when each was tried: {"letters", "delivered", "refused", "failed", "untried", "gone", "masked",
 * "problems"}. A sink that is down, or wants to be left alone, is not asked any more. Code "retry_running".
 */
void tg_letters_retry(struct tg_letters *letters, struct tg_letter_filter *filter, tg_manager_reply *reply,
                      void *ctx);
/* {"removed": n}. Code "retry_running". */
void tg_letters_purge(struct tg_letters *letters, struct tg_letter_filter *filter, tg_manager_reply *reply,
                      void *ctx);

/* To be called every now and then. */
void tg_letters_look(struct tg_letters *letters);

struct tg_letters_status {
  uint64_t letters, bytes, newest;     /* kept, as of a moment ago; the number of the newest */
  uint64_t delivered, refused, failed; /* of this run: what has come of those that were sent again */
  bool retrying;                       /* the rest is of that: */
  size_t of, done;
};

void tg_letters_status(const struct tg_letters *letters, struct tg_letters_status *status);
