#pragma once

/* Numbered messages, made and compressed beforehand, as the bytes of WebSocket frames. A recording refers to
 * nothing before it, and every group of events to nothing before them. */

#include "base/buf.h"
#include "base/error.h"
#include "fake_discord/fake.h"
#include "proto/compression.h"

struct tg_fake_recipe {
  size_t count, size; /* events; bytes of each, about */
  struct tg_fake_turn {
    size_t guild; /* its place */
    uint64_t number;
  } * turns;           /* of each event; NULL: guilds come in turn, and all are on every shard */
  int shard_id, total; /* with turns: only events of this shard are recorded */
};

struct tg_fake_recording {
  int references;
  enum tg_compression compression;
  uint64_t first; /* s of the first event */
  size_t count;
  size_t group;  /* events of one */
  size_t *ends;  /* of each event's frame in wire */
  size_t *turns; /* of a recipe with turns: which of its events each one is; else NULL */
  struct tg_buf wire;
};

/* Gives each event a guild, in turn, and the guild's next number, as GET /sent will say. */
bool tg_fake_recipe_number(struct tg_fake *fake, struct tg_fake_recipe *recipe, struct tg_error *error);
void tg_fake_recipe_free(struct tg_fake_recipe *recipe);

/* The caller holds the first reference. */
struct tg_fake_recording *tg_fake_record(struct tg_fake *fake, const struct tg_fake_recipe *recipe,
                                         enum tg_compression compression, uint64_t first);
void tg_fake_recording_unref(struct tg_fake_recording *recording);
