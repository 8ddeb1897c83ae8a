#pragma once

/* The bodies of events, shaped like Discord's and made up from the seed. All
 * functions return an event with one reference, the caller's. */

#include "base/buf.h"
#include "fake_discord/world/event.h"
#include "fake_discord/world/guilds.h"

#include <jansson.h>

struct tg_fake_session;

enum tg_fake_guild_kind {
  TG_FAKE_GUILD_LAZY,   /* GUILD_CREATE of a guild that READY listed: unavailable false */
  TG_FAKE_GUILD_JOINED, /* GUILD_CREATE without the key */
  TG_FAKE_GUILD_STUB,   /* GUILD_CREATE {id, unavailable: true} */
  TG_FAKE_GUILD_OUTAGE, /* GUILD_DELETE {id, unavailable: true} */
  TG_FAKE_GUILD_LEFT,   /* GUILD_DELETE {id} */
};

#define TG_FAKE_APPLICATION_ID "1189000000000000007"
#define TG_FAKE_BOT_NAME "Breakwater"

struct tg_fake_event *tg_fake_make_ready(struct tg_fake_session *session);
struct tg_fake_event *tg_fake_make_resumed(void);
/* Members are added until it has about `size` bytes. */
struct tg_fake_event *tg_fake_make_guild(struct tg_fake *fake, const struct tg_fake_guild *guild,
                                         enum tg_fake_guild_kind kind, size_t size);

struct tg_fake_message {
  uint64_t guild_id;
  uint64_t number;       /* of the guild: d.nonce is "<guild>:<number>", and the content begins with it */
  int shard;
  uint64_t shard_number; /* of the shard: content has "shard <shard> #<number>" */
  size_t size;           /* about; padded by content */
  bool blank;            /* as without the message content intent: d.nonce still tells */
};

struct tg_fake_event *tg_fake_make_message(struct tg_fake *fake, const struct tg_fake_message *message);
/* Appends d of the same. */
void tg_fake_write_message(struct tg_fake *fake, const struct tg_fake_message *message, struct tg_buf *out);

/* One guild member (with user), for chunks; `index` from 0. */
json_t *tg_fake_make_member(struct tg_fake *fake, uint64_t index);
uint64_t tg_fake_user_id(const struct tg_fake *fake, uint64_t index);

/* The event of an interaction of type 2-5. guild_id 0: in a DM. */
struct tg_fake_event *tg_fake_make_interaction(struct tg_fake *fake, int type, uint64_t guild_id,
                                               const char *id, const char *token);
