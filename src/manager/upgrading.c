/* Another program takes over (upgrade/): when it may, and when all is at rest. */

#include "manager/internal.h"

enum { JOB_PATIENCE = 5000 /* ms */ };

static bool may(void *ctx, struct tg_error *error)
{
  struct tg_manager *manager = ctx;
  struct tg_resharding_status resharding;
  tg_reshard_status(manager->reshard, &resharding);
  if (manager->env.stopping || manager->leaving)
    return tg_fail(error, "stopping", "the gateway is stopping");
  if (manager->phase != TG_MANAGER_RUNNING)
    return tg_fail(error, "not_ready", "the gateway is starting; upgrade it when its workers run");
  if (manager->member && !tg_member_is_connected(manager->member))
    return tg_fail(
        error, "not_ready",
        "the cluster's Redis does not answer, which is to keep this host's shards meanwhile; upgrade "
        "when it does");
  if (resharding.running || resharding.planned > 0 || (manager->member && tg_member_changes(manager->member)))
    return tg_fail(error, "resharding_running",
                   "the bot goes over to another number of shards; upgrade when that is over");
  if (tg_reload_runs(manager->reloads))
    return tg_fail(error, "reload_running", "a reload is under way; upgrade when it is over");
  return true;
}

static void rest(void *ctx, bool rest)
{
  struct tg_manager *manager = ctx;
  manager->rests_since = tg_now();
  if (manager->member)
    tg_member_rest(manager->member, rest);
  tg_slots_rest(manager->slots, rest);
}

/* What other hosts have asked for may take longer than anybody waits. */
static bool jobs_at_rest(const struct tg_manager *manager)
{
  return tg_post_at_rest(manager->env.post) || tg_now() - manager->rests_since >= JOB_PATIENCE;
}

static bool at_rest(void *ctx, const char **waits_for)
{
  struct tg_manager *manager = ctx;
  bool back = tg_upgrade_returns(manager->upgrade);
  if (!tg_slots_at_rest(manager->slots))
    *waits_for = "an identify that is under way";
  else if (tg_deaf_acts(manager->deaf))
    *waits_for = "the end of a session that is deaf";
  else if (!tg_workers_at_rest(manager->workers, !back))
    *waits_for = "a worker that is not up, or does not read what it is told";
  else if (!jobs_at_rest(manager))
    *waits_for = "what another host of the cluster has asked for";
  else if (manager->member)
    tg_member_at_rest(manager->member, !back, waits_for); /* last: leases are to be fresh */
  return *waits_for == NULL;
}

static json_t *hand_over(void *ctx)
{
  return tg_manager_hand_over(ctx);
}

static void news(void *ctx, bool running)
{
  struct tg_manager *manager = ctx;
  manager->env.upgrading = running;
  tg_manager_tell(manager, running ? TG_MANAGER_UPGRADING : TG_MANAGER_UPGRADED);
}

struct tg_upgrade *tg_manager_make_upgrade(struct tg_manager *manager)
{
  return tg_upgrade_new(&(struct tg_upgrade_options){.env = &manager->env,
                                                     .successor = manager->options.successor,
                                                     .successor_ctx = manager->options.ctx,
                                                     .script_path = manager->script_path,
                                                     .workers = manager->workers,
                                                     .may = may,
                                                     .rest = rest,
                                                     .at_rest = at_rest,
                                                     .hand_over = hand_over,
                                                     .news = news,
                                                     .ctx = manager});
}

void tg_manager_upgrade(struct tg_manager *manager, tg_manager_reply *reply, void *ctx)
{
  tg_upgrade_start(manager->upgrade, reply, ctx);
}

json_t *tg_manager_upgrade_status(struct tg_manager *manager)
{
  return tg_upgrade_status(manager->upgrade);
}

struct tg_upgrade_counts tg_manager_upgrade_counts(struct tg_manager *manager)
{
  return tg_upgrade_counts(manager->upgrade);
}
