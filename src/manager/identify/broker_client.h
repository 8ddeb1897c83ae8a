#pragma once

/* A gateway host whose identifies are granted by a broker on another host
 * (identify.url): which shards want a slot, what the broker was told and has
 * still to be told, and whether it answers at all. The other side of
 * manager/broker.h; the words between them are in manager/broker_wire.h.
 *
 * Pure: the owner carries requests to the broker and answers back, at most one
 * request a shard at a time. Rules:
 *   - the first word, and the first after trouble, is a check; until it is
 *     answered well nothing is asked
 *   - a grant counts from the moment before its request began to be sent
 *   - of a bucket one shard asks, and besides only such as go before it
 *   - what became of a grant is told before the shard asks again, again and
 *     again until it is heard (or so old that the broker has taken it for used)
 *   - after a failure everything waits, longer each time; much longer when the
 *     broker refuses, which only a person can mend */

#include "manager/identify/broker_wire.h"

struct tg_broker_client;

enum {
  TG_CLIENT_BACKOFF = 500,        /* ms after the first failure, doubling ... */
  TG_CLIENT_BACKOFF_MAX = 15000,
  TG_CLIENT_REFUSED = 60000,      /* the same when it refuses */
  TG_CLIENT_REFUSED_MAX = 300000, /* (all four hurried by tg_patience()) */
  TG_CLIENT_REPORT_KEPT = 30000,  /* ms until a report is of no use any more */
};

enum tg_client_state {
  TG_CLIENT_UNKNOWN, /* has not answered yet */
  TG_CLIENT_FINE,
  TG_CLIENT_DOWN,    /* does not answer */
  TG_CLIENT_REFUSED_US,
};

/* The first so many shard ids from `first` are this host's. `host` names this
 * run of the gateway; `bot` is the digest of its token. */
struct tg_broker_client_options {
  const char *host;
  const char *bot;
  int first, count;
  int total_shards, max_concurrency;
};

struct tg_broker_client *tg_broker_client_new(const struct tg_broker_client_options *options, tg_ms now);
void tg_broker_client_free(struct tg_broker_client *client);

/* ---- what happens to a shard ---- */

/* It wants its slot. */
void tg_broker_client_ask(struct tg_broker_client *client, int shard_id, enum tg_identify_priority priority);

/* It wants it no more, or did not use what it was granted. True: its request
 * that is under way is void; the owner may cancel it, and no answer is due. */
bool tg_broker_client_leave(struct tg_broker_client *client, int shard_id, tg_ms now);

/* Its op 2 has left; and how that ended. `at`: when, at the latest. */
void tg_broker_client_sent(struct tg_broker_client *client, int shard_id, tg_ms at);
void tg_broker_client_done(struct tg_broker_client *client, int shard_id, bool ready, tg_ms now);

/* Its process is gone: an op 2 may have left until now. As for leave(). */
bool tg_broker_client_gone(struct tg_broker_client *client, int shard_id, tg_ms now);

/* ---- requests and answers ---- */

/* Something was mended: what waits for the broker to be tried again is due now. */
void tg_broker_client_retry(struct tg_broker_client *client, tg_ms now);

/* The next request to be sent; it counts as under way. Call until false. */
bool tg_broker_client_next(struct tg_broker_client *client, tg_ms now, struct tg_broker_message *request);

enum tg_client_news {
  TG_CLIENT_NO_NEWS,
  TG_CLIENT_GRANTED,   /* use tg_broker_client_deadline(); say so if it cannot be used */
  TG_CLIENT_CAME_UP,   /* the broker answers (again) */
  TG_CLIENT_WENT_DOWN, /* it does not; answer->why */
  TG_CLIENT_STAYS_DOWN,
  TG_CLIENT_WAS_REFUSED, /* a person has to mend something; answer->why */
  TG_CLIENT_WAS_HELD_BACK,
  TG_CLIENT_SHARD_REFUSED,
};

/* The answer to a request that next() gave. */
enum tg_client_news tg_broker_client_answer(struct tg_broker_client *client,
                                            const struct tg_broker_message *request,
                                            const struct tg_broker_answer *answer, tg_ms now);

/* Until when the granted shard may send; 0: it holds no grant. */
tg_ms tg_broker_client_deadline(const struct tg_broker_client *client, int shard_id);

/* ---- what is known ---- */

enum tg_client_state tg_broker_client_state(const struct tg_broker_client *client);
/* When the trouble began. */
tg_ms tg_broker_client_since(const struct tg_broker_client *client);
/* When the broker is tried again, or, when that is later, has identifies again. */
tg_ms tg_broker_client_next_try(const struct tg_broker_client *client);
/* Whether it is of use to connect more shards, that would ask. */
bool tg_broker_client_open(const struct tg_broker_client *client, tg_ms now);
/* When something can become due by time alone; -1: never. */
tg_ms tg_broker_client_wakeup(const struct tg_broker_client *client, tg_ms now);
