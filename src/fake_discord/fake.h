#pragma once

/* The fake Discord as a whole: one bot, its guilds, its sessions, everything
 * clients did. One loop, one thread. Each part is owned by the file of its
 * name; this struct only holds them together. */

#include "base/buf.h"
#include "base/clock.h"
#include "fake_discord/world/options.h"
#include "net/stream.h"

#include <jansson.h>
#include <stdint.h>
#include <sys/queue.h>
#include <uv.h>

LIST_HEAD(tg_fake_conns, tg_fake_conn);
LIST_HEAD(tg_fake_sessions, tg_fake_session);
LIST_HEAD(tg_fake_https, tg_fake_http);

struct tg_fake {
  uv_loop_t *loop;
  const struct tg_fake_options *options;
  struct tg_fake_settings settings;
  struct tg_tls *tls; /* NULL: plain */
  char gateway_url[128], rest_url[128], admin_url[128];
  char host[128]; /* "localhost:4433", as clients are told */
  tg_ms started_at;
  struct tg_buf text, encoded, frames; /* scratch, empty between calls */
  uint64_t random; /* state of tg_fake_random() */

  struct tg_fake_listener *gateway_listener, *admin_listener;
  struct tg_fake_https https; /* HTTP connections, also those that became gateway connections */
  struct tg_fake_conns conns;
  struct tg_fake_sessions sessions;
  struct tg_fake_routes *routes; /* which sessions see a guild */
  struct tg_fake_guilds *guilds;
  struct tg_fake_limits *limits;
  struct tg_fake_journal *journal;
  struct tg_fake_faults *faults;
  json_t *paces;       /* gateway/pace.h */
  json_t *differences; /* emit/differ.h */
  const struct tg_fake_points *points;   /* gateway/points.h */
  struct tg_fake_emitter *emitter;
  struct tg_fake_bulk *bulk;
  const struct tg_fake_feeding *feeding; /* gateway/feeding.h */
  struct tg_fake_interactions *interactions;
  unsigned next_conn_id;
};

/* Milliseconds since the start: the "at" of everything recorded. */
static inline tg_ms tg_fake_at(const struct tg_fake *fake) { return tg_now() - fake->started_at; }

/* The next number that follows from the seed. */
static inline uint64_t tg_fake_random(struct tg_fake *fake)
{
  fake->random += 0x9e3779b97f4a7c15u;
  uint64_t z = fake->random;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

/* A number that follows from the seed and `key` alone, whatever came before. */
static inline uint64_t tg_fake_mix(const struct tg_fake *fake, uint64_t key)
{
  uint64_t z = fake->options->seed * 0x9e3779b97f4a7c15u + key;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

struct tg_fake_what { /* parts of POST /reset */
  bool history, faults, settings, sessions, numbers;
};

void tg_fake_reset(struct tg_fake *fake, const struct tg_fake_what *what);
