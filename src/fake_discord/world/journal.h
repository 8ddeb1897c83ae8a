#pragma once

/* What clients did, for GET /state: lists of JSON entries, each with "at" (ms
 * since the start), and counters. A list keeps its newest 5,000 entries. */

#include "fake_discord/fake.h"

#include <jansson.h>

#define TG_FAKE_LISTS(X)                                                                                     \
  X(handshakes)  /* upgrade requests: connection, status, target, host, user_agent */                       \
  X(identifies)  /* connection, shard, total, bucket, since_last, verdict, intents, presence, .. */         \
  X(resumes)     /* connection, shard, total, session_id, seq, current, replayed, taken_from, result */     \
  X(closes)      /* connection, shard, total, by (client, server), how (close, fin, reset), code, reason */ \
  X(heartbeats_missed)                                                                                       \
  X(commands)    /* connection, shard, total, op, d, result */                                              \
  X(callbacks)   /* interaction answers: id, type, callback, age, status, code */                           \
  X(webhooks)    /* follow-ups: method, path, status */                                                     \
  X(rest)        /* other REST requests: method, path, status */                                            \
  X(sessions_lost) /* session_id, shard, why */                                                             \
  X(voices_dropped) /* guild, session_id, shard, total: of a session that ended */                       \
  X(closed_connections) /* what /state said of a connection at its end */                                   \
  X(violations)  /* connection, shard, total, rule, verdict, detail */

enum tg_fake_list {
#define X(name) TG_FAKE_LIST_##name,
  TG_FAKE_LISTS(X)
#undef X
      TG_FAKE_LIST_COUNT
};

#define TG_FAKE_COUNTERS(X)                                                                                  \
  X(accepted) X(handshakes) X(upgrades) X(refused_upgrades) X(identifies) X(identifies_ok) X(resumes)        \
  X(resumes_ok) X(heartbeats) X(heartbeats_acked) X(dispatches) X(bytes_sent) X(frames_received)             \
  X(violations) X(rest_requests)

struct tg_fake_counters {
#define X(name) uint64_t name;
  TG_FAKE_COUNTERS(X)
#undef X
};

struct tg_fake_journal {
  struct tg_fake_counters counters;
  json_t *identifies_by_total; /* {"8": accepted} */
  json_t *closes_by_code;      /* {"client": {"1000": n}, "server": {"4010": n}}; Close frames alone */
  json_t *lists[TG_FAKE_LIST_COUNT];
};

extern const char *const tg_fake_list_names[TG_FAKE_LIST_COUNT];

struct tg_fake_journal *tg_fake_journal_new(void);
void tg_fake_journal_free(struct tg_fake_journal *journal);
void tg_fake_journal_clear(struct tg_fake_journal *journal);
/* The counters, identifies_by_total and closes_by_code. */
json_t *tg_fake_counters_to_json(const struct tg_fake_journal *journal);
/* One more of {"name": n}. */
void tg_fake_count(json_t *counts, const char *name);

/* Takes the entry over and adds "at". Returns it, borrowed, valid as long as
 * the list keeps it. */
json_t *tg_fake_note(struct tg_fake *fake, enum tg_fake_list list, json_t *entry);

struct tg_fake_conn;

/* A client broke `rule` (a short name); `verdict` says what that earned it.
 * `conn` may be NULL. */
void tg_fake_violation(struct tg_fake *fake, const struct tg_fake_conn *conn, const char *rule,
                       const char *verdict, const char *format, ...) __attribute__((format(printf, 5, 6)));
