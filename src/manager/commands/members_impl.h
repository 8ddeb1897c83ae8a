#pragma once

/* The inside of members.h: members_options.c reads what is asked for, members.c asks Discord,
 * members_limits.c knows what has to wait. */

#include "base/clock.h"
#include "manager/arguments.h"
#include "manager/commands/members.h"
#include "manager/reply.h"

#include <jansson.h>

enum { TG_MEMBERS_NONCE_SIZE = 33 /* 32 bytes are allowed */ };

/* Somebody who waits for the answer. Those who ask for the same while it is under way wait for it together.
 */
struct tg_members_asker {
  struct tg_members_asker *next;
  tg_manager_reply *reply;
  void *ctx;
  tg_ms deadline; /* tg_now() */
};

/* What is asked of Discord for all of them. */
struct tg_members_request {
  struct tg_members_request *next;
  struct tg_members *all;
  struct tg_members_asker *askers; /* at least one, the first first */
  tg_shard_ref ref;
  char guild_id[24];
  char *query;  /* NULL: by ids */
  json_t *ids;  /* strings */
  size_t done;  /* ids of earlier parts */
  size_t asked; /* ids of this part */
  int limit;
  bool presences;
  tg_ms began;         /* when the first part has gone to its shard, for the last time */
  tg_ms part_at;       /* likewise this one ... */
  tg_ms forward_until; /* ... of which the worker sends chunks on until then */
  tg_ms retry_at;      /* after RATE_LIMITED; 0: a part is under way */
  bool sent;           /* that part, by its shard */
  char nonce[TG_MEMBERS_NONCE_SIZE];
  bool *seen; /* chunks of this part */
  int chunk_count, chunks_seen;
  size_t bytes; /* of the answers so far */
  json_t *members, *not_found, *found_presences;
};

/* Until when Discord wants no more requests of a kind for that guild. */
struct tg_members_limit {
  struct tg_members_limit *next;
  char guild_id[24];
  bool all; /* members, which is what Discord limits as a rule */
  tg_ms until;
};

struct tg_members {
  const struct tg_manager_env *env;
  struct tg_sendings *sendings;
  struct tg_members_request *list;
  struct tg_members_limit *limits;
  uint64_t nonces;
};

/* Fills what the options say into the request, and the deadline of its first asker, who is told what is wrong
 * with them: then it returns false. */
bool tg_members_read(const struct tg_args *args, const json_t *options, struct tg_members_request *request);
/* How long the whole may take, by options that nobody has looked at yet. */
tg_ms tg_members_patience(const json_t *options);

/* Whether it is for all members of the guild. */
bool tg_members_asks_all(const struct tg_members_request *request);
/* Discord wants no more of its kind until then. */
void tg_members_note_limit(struct tg_members_request *request, tg_ms until);
/* Until when it has to wait for that; 0: it need not. */
tg_ms tg_members_limited_until(const struct tg_members_request *request);
/* Those that are over by then. */
void tg_members_forget_limits(struct tg_members *members, tg_ms now);
