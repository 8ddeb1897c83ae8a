/* From the gateway information to shards that start: how many there are, which of
 * them are this gateway's, which worker gets which; and the defaults of
 * gateway.manager that calculate the like. */

#include "base/buf.h"
#include "base/log.h"
#include "config/config_warnings.h"
#include "manager/arguments.h"
#include "manager/internal.h"
#include "manager/lock.h"
#include "net/proxy.h"

#include <stdlib.h>

enum { LOADING_TIME = 10000 /* ms that the start waits for slow workers, beside the script's own time */ };

/* ---- which shards, in which workers ---- */

/* Whether a table of so many shards holds sessions that may be resumed. */
static bool sessions_kept(struct tg_manager *manager, int side, int total)
{
  struct tg_shard_table *table = tg_shard_table_open(
      manager->env.state_dir, side, total, tg_identity(manager->env.bot_with_intents, total), 0, NULL);
  bool kept = false;
  struct tg_session session;
  for (int i = 0; table && i < total && !kept; i++)
    kept = tg_session_load(tg_shard_table_row(table, i), &session);
  tg_shard_table_close(table);
  return kept;
}

static int choose_total(struct tg_manager *manager)
{
  if (manager->member)
    return tg_member_total(manager->member);
  int side = tg_reshard_side(manager->reshard), held = tg_reshard_total(manager->reshard);
  if (held > 0)
    return held; /* the bot has gone over to it, or is about to leave it */
  if (manager->env.config->total_shards > 0)
    return manager->env.config->total_shards;
  json_t *args = json_array();
  json_array_append_new(args, tg_gateway_info_to_json(manager->env.info));
  int usual = tg_total_shards_of(manager->env.info->shards, manager->env.info->max_concurrency);
  int total = tg_call_int(manager->env.calls, TG_METHOD_manager_calculate_total_shards, args, 1,
                          TG_SHARDS_MAX, usual);
  json_decref(args);
  /* Sessions that live are worth more than a better number: identifies are scarce. */
  int before = tg_shard_table_peek(manager->env.state_dir, side, manager->env.bot_with_intents);
  if (before > 0 && before != total &&
      !tg_hooked(manager->env.hooks, TG_METHOD_manager_calculate_total_shards) &&
      sessions_kept(manager, side, before)) {
    tg_log_with(TG_INFO, TG_NO_SHARD, TG_WITH(TG_NUMBER(SHARDS, before)),
                "keeping the number of shards, whose sessions can be resumed; %d are recommended now", total);
    return before;
  }
  return total;
}

static bool choose_range(struct tg_manager *manager, struct tg_shard_range *range)
{
  const struct tg_config *config = manager->env.config;
  range->total = choose_total(manager);
  range->first = config->first_shard_id;
  range->last = config->last_shard_id >= 0 ? config->last_shard_id : range->total - 1;
  if (range->first <= range->last && range->last < range->total)
    return true;
  tg_manager_fail(
      manager, TG_EXIT_CONFIG,
      "first_shard_id %d and last_shard_id %d do not fit %d shards (they count from 0). Set total_shards, "
      "or leave the two out",
      range->first, range->last, range->total);
  return false;
}

static int worker_of(struct tg_manager *manager, const struct tg_managed_shard *shard)
{
  const struct tg_shard_range *range = &shard->set->range;
  int dealt = tg_reshard_worker(manager->reshard, shard->id), usual = manager->usual_workers;
  if (dealt >= 0)
    return dealt; /* while the bot goes over, shards stay beside those that they share guilds with */
  /* Each may come and go: so they are spread evenly whichever they are. */
  int beside =
      manager->env.clustered ? shard->id % usual : tg_worker_of(manager->env.config, range, usual, shard->id);
  bool free_choice = tg_hooked(manager->env.hooks, TG_METHOD_manager_calculate_worker_id);
  json_t *args = json_pack("[i]", shard->id);
  int worker = tg_call_int(manager->env.calls, TG_METHOD_manager_calculate_worker_id, args, 0,
                           free_choice ? TG_MAX_WORKERS - 1 : usual - 1, beside);
  json_decref(args);
  return worker;
}

/* Returns how many workers that makes. */
static int assign_workers(struct tg_manager *manager)
{
  struct tg_shard_set *shards = &manager->env.shards;
  int workers = 0;
  manager->usual_workers =
      tg_worker_count(manager->env.config, &shards->range, (int)uv_available_parallelism());
  for (int i = 0; i < shards->count; i++) {
    struct tg_managed_shard *shard = &shards->list[i];
    shard->worker_id = worker_of(manager, shard);
    if (shard->worker_id >= workers)
      workers = shard->worker_id + 1;
    struct tg_shard_row *row = tg_shard_row_of(shard);
    atomic_store(&row->state, TG_SHARD_OFFLINE);
    atomic_store(&row->worker_id, shard->worker_id);
    atomic_store(&row->rtt, -1);
    shard->held = !manager->env.clustered;
    atomic_store(&row->lease_until, 0);
  }
  return workers;
}

/* ---- the start ---- */

static void warn_delay(const struct tg_manager *manager)
{
  struct tg_problems warnings = {0};
  tg_config_warn_delay(manager->env.config, manager->env.info->url, &warnings);
  for (int i = 0; i < warnings.count; i++)
    tg_log(TG_WARN, TG_NO_SHARD, "%s", warnings.items[i]);
  tg_problems_free(&warnings);
}

static void go_on(struct tg_manager *manager)
{
  struct tg_error error = {0};
  struct tg_shard_range range;
  struct tg_shard_set *shards = &manager->env.shards;
  const struct tg_proxy *proxy = tg_proxy_for_url(manager->options.proxies, manager->env.info->url);
  if (!choose_range(manager, &range))
    return;
  if (!tg_proxies_tunnel(manager->options.proxies, manager->env.info->url, &error)) {
    tg_manager_fail(manager, TG_EXIT_CONFIG, "%s", error.message);
    return;
  }
  int side = tg_reshard_side(manager->reshard);
  uint64_t identity = tg_identity(manager->env.bot_with_intents, range.total);
  struct tg_shard_table *table =
      tg_shard_table_open(manager->env.state_dir, side, range.total, identity, 0, &error);
  if (!table) {
    tg_manager_fail(manager, tg_state_dir_exit(&error), "%s", error.message);
    return;
  }
  tg_shard_table_set_bot(table, manager->env.bot_with_intents);
  tg_shard_table_clear_counters(table);
  tg_shard_set_make(shards, side, &range);
  shards->table = table;
  tg_presences_begin(manager->presences, shards);
  if (manager->shared_presences)
    tg_shared_presences_tell(manager->shared_presences);
  int workers = assign_workers(manager), count = shards->count;
  tg_slots_begin(manager->slots);
  tg_optional_begin(manager->optional);
  if (!tg_reshard_begin(manager->reshard, &error)) {
    tg_manager_fail(manager, tg_state_dir_exit(&error), "%s", error.message);
    return;
  }
  tg_log(TG_INFO, TG_NO_SHARD, "%d shard%s (%d to %d of %d) in %d worker%s, at %s%s%s", count,
         count == 1 ? "" : "s", range.first, range.last, range.total, workers, workers == 1 ? "" : "s",
         manager->env.info->url, proxy ? " over the proxy " : "", proxy ? proxy->where : "");
  warn_delay(manager);
  manager->phase = TG_MANAGER_LOADING;
  manager->loading_until = tg_now() + LOADING_TIME + manager->env.config->script.load_budget;
  tg_workers_start(manager->workers, workers);
}

void tg_manager_begin(struct tg_manager *manager)
{
  struct tg_error error = {0};
  struct tg_member_past past;
  if (manager->env.stopping)
    return;
  if (!tg_reshard_restore(manager->reshard, &error)) {
    tg_manager_fail(manager, TG_EXIT_CONFIG, "%s", error.message);
    return;
  }
  tg_reshard_past(manager->reshard, &past);
  if (!manager->member)
    go_on(manager);
  else if (!tg_member_begin(manager->member, &past, &error))
    tg_manager_fail(manager, tg_state_dir_exit(&error), "%s", error.message);
}

void tg_manager_joined(struct tg_manager *manager, uint64_t change)
{
  if (manager->env.stopping)
    return;
  tg_reshard_joined(manager->reshard, tg_member_total(manager->member), change);
  go_on(manager);
}

static void run(struct tg_manager *manager)
{
  manager->phase = TG_MANAGER_RUNNING;
  tg_spawn_all(manager->spawner);
  tg_deaf_begin(manager->deaf);
  if (manager->member && !manager->env.stopping)
    tg_member_go_on(manager->member);
  tg_redis_commands_look(manager->redis_commands);
  if (!manager->env.stopping)
    tg_manager_tell(manager, TG_MANAGER_IS_RUNNING);
}

void tg_manager_worker_loaded(struct tg_manager *manager)
{
  if (manager->phase == TG_MANAGER_LOADING && !tg_workers_loading(manager->workers))
    run(manager);
}

void tg_manager_try_to_run(struct tg_manager *manager, tg_ms now)
{
  if (manager->phase == TG_MANAGER_LOADING && now >= manager->loading_until)
    run(manager); /* slow workers get their shards when they are there */
}

/* ---- defaults that only compute ---- */

static void total_shards_default(void *room, const json_t *list, tg_manager_reply *reply, void *ctx)
{
  const struct tg_manager *manager = room;
  struct tg_args args = {list, "calculate_total_shards", reply, ctx};
  struct tg_gateway_info info = *manager->env.info;
  const json_t *given = json_array_get(list, 0);
  struct tg_error error = {0};
  if (given && !json_is_null(given) && !tg_gateway_info_parse(given, &info, &error)) {
    tg_arg_bad(&args, "info (argument 1): %s", error.message);
    return;
  }
  if (info.shards == 0) {
    tg_reply_error(reply, ctx, "not_ready", "gateway information is still being fetched");
    return;
  }
  tg_reply_value(reply, ctx, json_integer(tg_total_shards_of(info.shards, info.max_concurrency)));
}

static void worker_id_default(void *room, const json_t *list, tg_manager_reply *reply, void *ctx)
{
  struct tg_manager *manager = room;
  struct tg_args args = {list, "calculate_worker_id", reply, ctx};
  struct tg_managed_shard *shard;
  if (tg_arg_shard(&args, 0, tg_current_set(&manager->env), &shard))
    tg_reply_value(reply, ctx,
                   json_integer(tg_worker_of(manager->env.config, &tg_current_set(&manager->env)->range,
                                             manager->usual_workers, shard->id)));
}

static void shard_id_default(void *room, const json_t *list, tg_manager_reply *reply, void *ctx)
{
  const struct tg_manager *manager = room;
  struct tg_args args = {list, "calculate_shard_id", reply, ctx};
  uint64_t guild_id;
  int total = tg_current_set(&manager->env)->range.total;
  if (!tg_arg_id(&args, 0, "guild_id", &guild_id))
    return;
  const json_t *given = json_array_get(list, 1);
  if (given && !json_is_null(given) && !tg_arg_int(&args, 1, "total", 1, TG_SHARDS_MAX, &total))
    return;
  if (total == 0) {
    tg_reply_error(reply, ctx, "not_ready", "the number of shards is not known yet");
    return;
  }
  tg_reply_value(reply, ctx, json_integer(tg_shard_of_guild(guild_id, total)));
}

void tg_begin_offer(struct tg_manager *manager)
{
  static const struct tg_default defaults[] = {
      {TG_METHOD_manager_calculate_total_shards, total_shards_default},
      {TG_METHOD_manager_calculate_worker_id, worker_id_default},
      {TG_METHOD_manager_calculate_shard_id, shard_id_default},
  };
  tg_calls_offer(manager->env.calls, defaults, sizeof defaults / sizeof *defaults, manager);
}
