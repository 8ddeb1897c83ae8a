#pragma once

/* What a gateway host and the broker of identifies say to each other: the
 * bodies of POST /identify/{shard_id}. Pure.
 *
 * Request: {"state", "host", "number", ...}
 *   check    may these shards have their slots from here? The first word of a
 *            host, and again after trouble. firstShardId, lastShardId
 *   ask      a slot for this shard; answered when it is there, or after `wait`
 *            ms. priority
 *   sent     op 2 has left, `sentAgo` ms before this request
 *   ready, failed  ... and READY has come, or op 9 or the end of the connection
 *   unused   the grant was not used, or the slot is no longer wanted
 * `host` names one run of one gateway. `number` counts its asks, so that what
 * comes late or twice is told apart; reports carry the number of the ask that
 * was granted, 0 if none was. bot, totalShards and maxConcurrency have to be
 * the same on all hosts. An empty body is an ask of somebody who will not
 * report: its grant counts as used.
 *
 * Answers:
 *   200 {"state": "granted", "waited", "validFor"}  waited: ms from the coming
 *       of the request to the grant, so that the host knows without comparing
 *       clocks: op 2 may leave until validFor + waited ms after it began to
 *       send the request
 *   200 {"state": "noted"}
 *   202 {"state": "waiting"}: ask again, at once; the place in the queue is kept
 *   202 {"state": "held_back", "retryAfter"}: no identifies are left
 *   400, 409 {"error", "code"}: refused; 503 {"error"}: not now
 *
 * Safe against loss: an ask takes back what was granted to the same host for
 * this shard under a lower number, and reports go before the next ask. A grant
 * of which nothing is heard counts as used at its last moment. */

#include "base/clock.h"
#include "base/error.h"
#include "manager/identify/scheduler.h"

#include <jansson.h>
#include <stdbool.h>

enum tg_broker_word {
  TG_WORD_CHECK,
  TG_WORD_ASK,
  TG_WORD_SENT,
  TG_WORD_READY,
  TG_WORD_FAILED,
  TG_WORD_UNUSED,
};

enum {
  TG_HOST_NAME_SIZE = 65,
  TG_BROKER_WAIT = 20000, /* ms that an ask waits for its slot unless it says otherwise */
  TG_BROKER_WAIT_MAX = 60000,
};

struct tg_broker_message {
  enum tg_broker_word word;
  int shard_id;
  char host[TG_HOST_NAME_SIZE]; /* "": reports nothing */
  int64_t number;
  enum tg_identify_priority priority;
  char bot[20];                      /* digest of the token; "": not said */
  int total_shards, max_concurrency; /* 0: not said */
  int first_shard_id, last_shard_id; /* of a check; -1: not said */
  tg_ms wait;
  tg_ms sent_ago;
};

enum tg_broker_verdict {
  TG_BROKER_NOTED,
  TG_BROKER_GRANTED,
  TG_BROKER_WAITING,
  TG_BROKER_HELD_BACK,
  TG_BROKER_STALE,     /* this ask is over: another has taken its place */
  TG_BROKER_NO_SHARD,  /* not for this shard: see `why` */
  TG_BROKER_REFUSED,   /* not for this host: see `why` */
  TG_BROKER_MALFORMED, /* 400 */
  TG_BROKER_DOWN,      /* no answer, or not now */
};

struct tg_broker_answer {
  enum tg_broker_verdict verdict;
  tg_ms waited, valid_for; /* GRANTED */
  tg_ms retry_after;       /* HELD_BACK, DOWN; -1: not said */
  int max_concurrency;     /* NOTED, of a check: the broker's; 0: not said */
  char why[TG_ERROR_MESSAGE_SIZE];
};

/* `body` NULL or empty: the ask of somebody who reports nothing. False: `error`
 * ("bad_request") says what is wrong with it. */
bool tg_broker_message_read(const json_t *body, int shard_id, struct tg_broker_message *message,
                            struct tg_error *error);
json_t *tg_broker_message_write(const struct tg_broker_message *message);

/* The status and body of an answer; the caller decrefs. */
json_t *tg_broker_answer_write(const struct tg_broker_answer *answer, int *status);

/* What came back. `status` 0: nothing, `problem` says why; `body` may be NULL. */
void tg_broker_answer_read(int status, const json_t *body, tg_ms retry_after, const char *problem,
                           struct tg_broker_answer *answer);
