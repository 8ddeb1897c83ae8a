/* Holes of this host: what it alone has of shards that others run, which it delivers late. */

#include "base/buf.h"
#include "base/log.h"
#include "manager/cluster/member_impl.h"
#include "worker/messages.h"

#include <stdlib.h>
#include <string.h>

enum { FILL_TIMEOUT = 24 * 3600 * 1000 /* ms */ };

/* A hole, until it is filled. */
struct tg_filling {
  struct tg_filling *next;
  struct tg_member *member; /* NULL: it is over */
  struct tg_cluster_word word;
  char *key;
  bool asked;
  int worker; /* of a shard that is no more: whom of all workers to ask next */
};

static void free_filling(struct tg_filling *filling)
{
  free(filling->key);
  free(filling);
}

static void fill(struct tg_filling *filling);

static void end(struct tg_filling *filling)
{
  struct tg_member *member = filling->member;
  tg_cluster_filled(member->cluster, filling->key);
  for (struct tg_filling **at = &member->fillings; *at; at = &(*at)->next)
    if (*at == filling) {
      *at = filling->next;
      break;
    }
  tg_log(TG_INFO, filling->word.shard, "what only this host had of it is delivered");
  free_filling(filling);
  tg_member_pump(member);
}

static const struct tg_managed_shard *managed_of(const struct tg_member *member,
                                                 const struct tg_member_shard *shard)
{
  return tg_shard_of_ref(member->env, shard->ref);
}

static void on_filled(void *ctx, const json_t *data, const struct tg_error *error)
{
  struct tg_filling *filling = ctx;
  struct tg_member *member = filling->member;
  (void)data;
  filling->asked = false;
  if (!member) {
    free_filling(filling);
    return;
  }
  if (error)
    return;
  const struct tg_cluster_word *word = &filling->word;
  const struct tg_member_shard *shard = tg_member_find(member, word->shard, word->total);
  bool is_of_all = shard && !managed_of(member, shard);
  if (is_of_all && ++filling->worker < tg_workers_count(member->workers))
    fill(filling);
  else
    end(filling);
}

static void fill(struct tg_filling *filling)
{
  struct tg_member *member = filling->member;
  const struct tg_cluster_word *word = &filling->word;
  const struct tg_member_shard *shard = tg_member_find(member, word->shard, word->total);
  if (filling->asked || !shard || shard->tasks)
    return;
  const struct tg_managed_shard *managed = managed_of(member, shard);
  struct tg_ipc *line = tg_workers_line(member->workers, managed ? managed->worker_id : filling->worker);
  if (!line)
    return;
  filling->asked = true;
  tg_ask(line, FILL_TIMEOUT, on_filled, filling, fill_hole, .ref = shard->ref,
         .from_epoch = (int64_t)word->from_epoch, .from = (int64_t)word->from,
         .to_epoch = (int64_t)word->to_epoch, .to = (int64_t)word->to);
}

void tg_member_hole(struct tg_member *member, const struct tg_cluster_word *word)
{
  for (const struct tg_filling *known = member->fillings; known; known = known->next)
    if (strcmp(known->key, word->key) == 0)
      return;
  struct tg_filling *filling = tg_calloc(1, sizeof *filling);
  *filling = (struct tg_filling){.next = member->fillings, .member = member, .word = *word};
  filling->key = tg_strdup(word->key);
  filling->word.key = filling->key;
  member->fillings = filling;
  tg_log(TG_INFO, word->shard,
         "another host has it, and events of before are on this one's disk alone: they are delivered late");
  if (member->goes_on)
    fill(filling);
}

void tg_member_fill_all(struct tg_member *member)
{
  for (struct tg_filling *filling = member->fillings; filling; filling = filling->next)
    fill(filling);
}

bool tg_member_fills(const struct tg_member *member, int total)
{
  for (const struct tg_filling *filling = member->fillings; filling; filling = filling->next)
    if (filling->word.total == total)
      return true;
  return false;
}

void tg_member_forget_holes(struct tg_member *member)
{
  for (struct tg_filling *filling = member->fillings, *next; filling; filling = next) {
    next = filling->next;
    filling->member = NULL;
    if (!filling->asked)
      free_filling(filling);
  }
  member->fillings = NULL;
}
