#pragma once

/* What a log line says beside its message, always under the same names, so
 * that a night's lines can be searched and counted by them.
 *
 *     tg_log_with(TG_INFO, shard->id, TG_WITH(TG_NUMBER(CODE, code), TG_TEXT(REASON, reason)),
 *                 "disconnected");
 *
 * In text they follow the message as key=value; in JSON they are fields of
 * their own, numbers as numbers. What the message says already is `told`: a
 * field in JSON alone. Durations are milliseconds. A text that is NULL or empty
 * is left out. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Key, its name, whether it is text. The manual (examples/deploy/README.md) has the same list. */
#define TG_LOG_KEYS(X)                                                                                       \
  X(WORKER, "worker", false)         /* the worker that a line of the manager is about */                    \
  X(CODE, "code", false)             /* close code of a connection, status of an HTTP answer */              \
  X(REASON, "reason", true)          /* in words, often those of the other side */                           \
  X(ATTEMPT, "attempt", false)       /* from 1 */                                                            \
  X(DELAY, "delay", false)           /* until it is tried again */                                           \
  X(DURATION, "duration", false)     /* how long it took, or has lasted */                                   \
  X(NEXT, "next", true)              /* what a shard does now: resume, identify, stop */                     \
  X(URL, "url", true)                /* without user, password and query */                                  \
  X(EPOCH, "epoch", false)           /* which session of the shard */                                        \
  X(SEQUENCE, "sequence", false)     /* which event of the session; of several, the first */                 \
  X(LAST, "last", false)             /* of several events, the last */                                       \
  X(EVENT, "event", true)            /* its type */                                                          \
  X(EVENTS, "events", false)         /* how many it is about, or how many wait */                            \
  X(BYTES, "bytes", false)           /* of these */                                                          \
  X(GUILDS, "guilds", false)         /* how many */                                                          \
  X(SHARDS, "shards", false)         /* how many */                                                          \
  X(GENERATION, "generation", false) /* of the script, counted by reloads */                                 \
  X(SCRIPT, "script", true)          /* its path */                                                          \
  X(METHOD, "method", true)          /* what of a script was called */                                       \
  X(KEY, "key", true)                /* of the configuration */                                              \
  X(PATH, "path", true)              /* of a file or directory */                                            \
  X(HELD, "held", false)             /* how many lines were not shown */

#define X(key, name, is_text) TG_KEY_##key,
enum tg_log_key { TG_KEY_NONE, TG_LOG_KEYS(X) TG_KEY_NAMED, TG_KEY_END };
#undef X

struct tg_log_field {
  enum tg_log_key key;
  int64_t number;
  const char *text;
  bool told; /* the message has it already: a field in JSON alone */

  /* Of TG_KEY_NAMED, which a script has named itself; its value is the text. */
  const char *name; /* lower-case letters, digits and _ */
  bool plain;       /* the text is a number, true or false: JSON as it stands */
};

enum { TG_LOG_FIELDS_MAX = 12 };

#define TG_WITH(...) ((const struct tg_log_field[]){__VA_ARGS__, {.key = TG_KEY_END}})
#define TG_NUMBER(name, value) {.key = TG_KEY_##name, .number = (value)}
#define TG_TEXT(name, value) {.key = TG_KEY_##name, .text = (value)}
#define TG_TOLD(name, value) {.key = TG_KEY_##name, .text = (value), .told = true}
#define TG_TOLD_NUMBER(name, value) {.key = TG_KEY_##name, .number = (value), .told = true}
#define TG_NUMBER_IF(condition, name, value)                                                                 \
  {.key = (condition) ? TG_KEY_##name : TG_KEY_NONE, .number = (value)}
#define TG_TEXT_IF(condition, name, value) {.key = TG_KEY_##name, .text = (condition) ? (value) : NULL}
#define TG_NONE {.key = TG_KEY_NONE}

bool tg_log_key_is_text(enum tg_log_key key);

/* Of a field; NULL: TG_KEY_NONE, TG_KEY_NAMED. */
const char *tg_log_key_name(enum tg_log_key key);
