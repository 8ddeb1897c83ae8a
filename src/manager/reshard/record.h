#pragma once

/* resharding.json of the state directory: which set of shards is the bot's, which
 * one it goes over to, and how far that is. Replaced whole before each step, so
 * that a start after whatever death goes on where the last one was; afterwards it
 * says which total holds, and in which side's files.
 *
 * Without the file: side 0, and the total is chosen as ever. A file that cannot be
 * understood is never guessed at: sessions and deliveries hang on the number of
 * shards. */

#include "base/clock.h"
#include "base/error.h"
#include "manager/reshard/deal.h"

/* In the order in which they come. */
enum tg_reshard_phase {
  TG_RESHARD_NONE,        /* none runs */
  TG_RESHARD_WAITING,     /* for what /gateway/bot and the script say */
  TG_RESHARD_PREPARING,   /* workers: regrouped, and told of the new set */
  TG_RESHARD_IDENTIFYING, /* the new shards */
  TG_RESHARD_MATCHING,    /* until the first class is ready */
  TG_RESHARD_SWITCHING,
  TG_RESHARD_SETTLING, /* all have switched */
  TG_RESHARD_CLOSING,  /* the old shards */
  TG_RESHARD_ABORTING, /* classes go back, the new set is dropped */
};

/* "waiting", ...; "none". */
const char *tg_reshard_phase_name(enum tg_reshard_phase phase);

struct tg_set_name {
  int side, total; /* total 0: there is no next one; the current one's is chosen as ever */
};

struct tg_reshard_record {
  enum tg_reshard_phase phase;
  struct tg_set_name current, next;
  int *deal;            /* worker of each class; NULL without `next` */
  int classes;          /* how many those are */
  int configured_total; /* the option total_shards as it was; 0: unset */
  uint64_t bot;         /* whose it is ... */
  uint64_t intents;     /* ... and what the sessions of `next` have identified with */
  uint64_t epoch;       /* the highest of any set so far */
  tg_ms began;          /* tg_steady_clock() */

  /* Of a host of a cluster, which numbers the changes (manager/cluster/); else 0. */
  uint64_t change; /* the one that `next` is of */
  uint64_t ended;  /* the last that is over, as far as this host knows ... */
  uint64_t done;   /* ... and the last that was not taken back, */
  int before;      /* before which there were so many shards: of the other side */
};

/* False: error->code is "missing" (there is no such file, or it is another bot's) or
 * "damaged". `record` is zeroed then. */
bool tg_reshard_record_read(const char *state_dir, uint64_t bot, struct tg_reshard_record *record,
                            struct tg_error *error);
bool tg_reshard_record_write(const char *state_dir, const struct tg_reshard_record *record,
                             struct tg_error *error);
void tg_reshard_record_free(struct tg_reshard_record *record);
