/* What the cluster tells (cluster/member.h), and whom it concerns. */

#include "manager/internal.h"

static void on_total(void *ctx, uint64_t change)
{
  tg_manager_joined(ctx, change);
}

static bool on_change(void *ctx, const struct tg_cluster_word *word)
{
  struct tg_manager *manager = ctx;
  return tg_reshard_heard(manager->reshard, word);
}

static void on_refused(void *ctx, const char *why)
{
  tg_manager_fail(ctx, TG_EXIT_CONFIG, "%s", why);
}

static void on_granted(void *ctx, struct tg_managed_shard *shard, tg_ms deadline, uint64_t epoch)
{
  struct tg_manager *manager = ctx;
  tg_slots_granted(manager->slots, shard, deadline, epoch);
}

static void ask_discord(void *ctx)
{
  struct tg_manager *manager = ctx;
  tg_fetch_refresh(manager->fetch);
}

static void on_posted(void *ctx, const char *word, const char *body, size_t length)
{
  struct tg_manager *manager = ctx;
  if (!tg_post_heard(manager->env.post, word, body, length))
    tg_shared_presences_heard(manager->shared_presences, word, body, length);
}

static void on_linked(void *ctx)
{
  struct tg_manager *manager = ctx;
  struct tg_redis_link *link = tg_member_link(manager->member);
  tg_post_up(manager->env.post, link);
  tg_shared_presences_up(manager->shared_presences, link);
}

static void on_left(void *ctx, const struct tg_managed_shard *shard)
{
  struct tg_manager *manager = ctx;
  tg_sendings_left(manager->sendings, shard);
  tg_members_left(manager->members, shard);
}

const struct tg_member_events tg_manager_of_member = {.total = on_total,
                                                      .refused = on_refused,
                                                      .granted = on_granted,
                                                      .ask_discord = ask_discord,
                                                      .linked = on_linked,
                                                      .left = on_left,
                                                      .change = on_change,
                                                      .posted = on_posted};

void tg_joined_presence(void *ctx, int shard_id, const json_t *presence)
{
  struct tg_manager *manager = ctx;
  tg_presences_take(manager->presences, shard_id, presence);
}

/* ---- turns to identify ---- */

void tg_joined_ask(void *ctx, struct tg_managed_shard *shard, enum tg_identify_priority priority)
{
  struct tg_manager *manager = ctx;
  tg_member_ask(manager->member, shard, priority);
}

void tg_joined_unask(void *ctx, struct tg_managed_shard *shard)
{
  struct tg_manager *manager = ctx;
  tg_member_unask(manager->member, shard);
}

void tg_joined_sent(void *ctx, struct tg_managed_shard *shard)
{
  struct tg_manager *manager = ctx;
  tg_member_sent(manager->member, shard);
}

void tg_joined_done(void *ctx, struct tg_managed_shard *shard, bool ready)
{
  struct tg_manager *manager = ctx;
  (void)ready;
  tg_member_done(manager->member, shard);
}

bool tg_joined_held_back(void *ctx)
{
  struct tg_manager *manager = ctx;
  return tg_member_held_back(manager->member);
}

bool tg_joined_call(void *ctx, const char *name, json_t *body, tg_redis_link_replied *done, void *done_ctx)
{
  struct tg_manager *manager = ctx;
  return tg_redis_link_ask(tg_member_link(manager->member), name, body, done, done_ctx);
}
