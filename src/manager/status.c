#include "manager/status.h"

#include "manager/arguments.h"
#include "manager/cluster_front.h"
#include "manager/internal.h"

/* Once all shards have been up, and seen to be. A host of a cluster may be ready without a shard. */
static const char *phase_name(const struct tg_manager *manager, const struct tg_gateway_status *status)
{
  if (manager->env.stopping)
    return "stopping";
  bool ready = tg_spawn_all_up(manager->spawner) || (manager->member && status->ready);
  return ready ? "ready" : "starting";
}

/* A host of a cluster that has no shard has done its part if others have all of them. Shards of which it has
 * just got the lease are not run yet. */
static bool is_ready(struct tg_manager *manager, const struct tg_gateway_status *status)
{
  struct tg_cluster_status cluster;
  bool all_up = status->up == status->held && !manager->env.stopping;
  if (!tg_manager_cluster(manager, &cluster))
    return all_up && status->held > 0;
  return all_up && cluster.joined && !cluster.draining && status->held >= cluster.view->held &&
         (status->held > 0 || cluster.view->free == 0);
}

void tg_gateway_status(struct tg_manager *manager, struct tg_gateway_status *status)
{
  const struct tg_shard_set *shards = tg_current_set(&manager->env);
  *status = (struct tg_gateway_status){
      .generation = tg_workers_generation(manager->workers),
      .began = manager->began,
      .uptime = tg_now() - manager->began,
      .total = shards->range.total,
      .first = shards->range.first,
      .last = shards->range.last,
      .eta = -1,
      .workers = tg_workers_count(manager->workers),
  };
  if (shards->count == 0) {
    status->total = status->first = 0;
    status->last = -1;
    status->phase = phase_name(manager, status);
    return;
  }
  status->held = tg_shard_set_count_held(shards);
  status->up = tg_shard_set_count_up(shards);
  status->ready = is_ready(manager, status);
  status->phase = phase_name(manager, status);
  if (tg_spawn_begun(manager->spawner) && !tg_slots_held_back(manager->slots))
    status->eta = tg_slots_eta(manager->slots);
}

bool tg_gateway_waits(struct tg_manager *manager, char *text, size_t size, tg_ms *left)
{
  if (manager->phase != TG_MANAGER_FETCHING)
    return false;
  if (tg_fetch_is_put_off(manager->fetch, text, size)) {
    *left = tg_fetch_wait(manager->fetch);
    return true;
  }
  return tg_cluster_front_waits(manager, text, size, left);
}

struct tg_shard_row *tg_gateway_shard(struct tg_manager *manager, int shard_id)
{
  const struct tg_managed_shard *shard = tg_shard_set_find(tg_current_set(&manager->env), shard_id);
  return shard ? tg_shard_row_of(shard) : NULL;
}

struct tg_shard_row *tg_gateway_held_shard(struct tg_manager *manager, int shard_id)
{
  const struct tg_managed_shard *shard = tg_shard_set_find(tg_current_set(&manager->env), shard_id);
  return shard && shard->held ? tg_shard_row_of(shard) : NULL;
}

int tg_gateway_total_of_guild(struct tg_manager *manager, const char *guild_id)
{
  uint64_t id;
  json_t *text = json_string(guild_id);
  bool good = tg_read_id(text, &id);
  json_decref(text);
  return good ? tg_set_of_guild(&manager->env, id)->range.total : 0;
}

const struct tg_shard_set *tg_gateway_set(struct tg_manager *manager, int place)
{
  const struct tg_manager_env *env = &manager->env;
  const struct tg_shard_set *current = tg_current_set(env);
  const struct tg_shard_set *const sets[] = {current, current == &env->next ? &env->shards : &env->next};
  return place >= 0 && place < TG_SIDES && sets[place]->count > 0 ? sets[place] : NULL;
}

int tg_gateway_generation_of(struct tg_manager *manager, int worker)
{
  return worker >= 0 ? tg_workers_generation_of(manager->workers, worker) : 0;
}

void tg_gateway_worker(struct tg_manager *manager, int id, struct tg_worker_status *status)
{
  tg_workers_status(manager->workers, id, status);
}

void tg_gateway_optional(struct tg_manager *manager, struct tg_optional_status *status)
{
  status->withheld = tg_optional_withheld(manager->optional);
  status->retry_in = tg_optional_retry_in(manager->optional);
  status->missing =
      tg_optional_missing(tg_current_set(&manager->env), manager->env.config->intents, &status->shards);
}

void tg_gateway_identifies(struct tg_manager *manager, struct tg_identify_status *status)
{
  struct tg_cluster_status cluster;
  tg_slots_status(manager->slots, status);
  if (!tg_manager_cluster(manager, &cluster) || status->total == 0)
    return;
  const struct tg_cluster_budget_view *budget = &cluster.view->budget;
  bool known = cluster.joined && budget->limit > 0 && budget->remaining >= 0;
  if (!known) {
    status->total = status->remaining = status->reserve = 0;
    return;
  }
  status->total = budget->limit;
  status->remaining = budget->remaining;
  status->reset_after = budget->reset_after;
  status->max_concurrency = budget->max_concurrency;
}

json_t *tg_gateway_bot(struct tg_manager *manager)
{
  struct tg_gateway_info info = *manager->env.info;
  struct tg_identify_status identifies;
  if (!info.url[0])
    return NULL;
  tg_gateway_identifies(manager, &identifies);
  if (tg_slots_begun(manager->slots) && identifies.total > 0) {
    info.total = identifies.total;
    info.remaining = identifies.remaining;
    info.reset_after = identifies.reset_after;
  }
  return tg_gateway_info_to_json(&info);
}

struct tg_reload_counts tg_gateway_reloads(const struct tg_manager *manager)
{
  return tg_reload_counts(manager->reloads);
}

struct tg_last_reload tg_gateway_last_reload(const struct tg_manager *manager)
{
  return tg_reload_last(manager->reloads);
}

const json_t *tg_gateway_needs_restart(const struct tg_manager *manager)
{
  return tg_reload_needs_restart(manager->reloads);
}

const char *tg_gateway_script(const struct tg_manager *manager)
{
  return manager->script_path;
}

void tg_gateway_deaf(const struct tg_manager *manager, struct tg_deaf_status *status)
{
  tg_deaf_status(manager->deaf, status);
}

void tg_gateway_resharding(struct tg_manager *manager, struct tg_resharding_status *status)
{
  tg_reshard_status(manager->reshard, status);
}

/* ---- workers/figures.h ---- */

const struct tg_stats *tg_gateway_stats(const struct tg_manager *manager, int worker)
{
  return tg_workers_stats(manager->workers, worker);
}

void tg_gateway_usage(struct tg_manager *manager, int worker, struct tg_process_usage *usage)
{
  tg_workers_usage(manager->workers, worker, usage);
}

int tg_gateway_handlers(const struct tg_manager *manager, struct tg_handler_status *list, int max)
{
  return tg_workers_handlers(manager->workers, list, max);
}

const struct tg_config *tg_gateway_config(const struct tg_manager *manager)
{
  return manager->env.config;
}

int tg_gateway_left_sinks(const struct tg_manager *manager, struct tg_left_sink *list, int max)
{
  return tg_left_sinks_list(manager->left_sinks, list, max);
}

int tg_gateway_storms(const struct tg_manager *manager, struct tg_storm_status list[TG_STATS_STORMS])
{
  return tg_workers_storms(manager->workers, list);
}

struct tg_taps *tg_gateway_taps(const struct tg_manager *manager)
{
  return manager->taps;
}

struct tg_letters *tg_gateway_letters(const struct tg_manager *manager)
{
  return manager->letters;
}

int tg_gateway_sinks(const struct tg_manager *manager, struct tg_sink_status list[TG_STATS_SINKS])
{
  return tg_workers_sinks(manager->workers, list);
}

struct tg_lane_status *tg_gateway_lanes(const struct tg_manager *manager, int *count, uint64_t *all)
{
  return tg_workers_lanes(manager->workers, count, all);
}

int64_t tg_gateway_loop_lag(struct tg_manager *manager, int worker)
{
  return tg_workers_loop_lag(manager->workers, worker);
}
