/* Which shard starts when: sessions that live first, the rest through the
 * identify scheduler. */

#include "base/buf.h"
#include "base/log.h"
#include "manager/internal.h"

#include <stdlib.h>

enum {
  STILL_PATIENCE = 30000, /* ms a shard may stand still without anybody knowing why */
  REFRESH_AGE = 600000,   /* ms after which session_start_limit is asked for again */
};

static bool has_session(struct tg_manager *manager, const struct tg_managed_shard *shard)
{
  struct tg_session session;
  return tg_session_load(tg_shard_table_row(manager->table, shard->id), &session);
}

static enum tg_shard_state state_of(struct tg_manager *manager, const struct tg_managed_shard *shard)
{
  return (enum tg_shard_state)atomic_load(&tg_shard_table_row(manager->table, shard->id)->state);
}

/* ---- tell_worker_to_identify ---- */

struct telling {
  struct tg_manager *manager;
  int shard_id;
};

static void on_told(void *ctx, json_t *value, const struct tg_error *error)
{
  (void)value;
  struct telling telling = *(struct telling *)ctx;
  free(ctx);
  struct tg_manager *manager = telling.manager;
  struct tg_managed_shard *shard = tg_manager_shard(manager, telling.shard_id);
  if (error)
    tg_log(TG_DEBUG, shard->id, "tell_worker_to_identify: %s", error->message);
  /* A script may have decided not to start it: its place is for others. */
  if (!shard->told && !tg_manager_stopping(manager) &&
      tg_scheduler_state(manager->scheduler, shard->id) == TG_IDENTIFY_STARTED) {
    tg_slots_gone(manager, shard, "not started");
    tg_slots_pump(manager);
  }
}

void tg_spawn_tell(struct tg_manager *manager, struct tg_managed_shard *shard)
{
  struct telling *telling = tg_alloc(sizeof *telling);
  *telling = (struct telling){manager, shard->id};
  shard->told = false;
  shard->wanted = true;
  json_t *args =
      json_pack("[i, i, i]", shard->worker_id, shard->id, tg_scheduler_bucket(manager->scheduler, shard->id));
  tg_manager_call(manager, TG_METHOD_manager_tell_worker_to_identify, args, on_told, telling);
  json_decref(args);
}

void tg_spawn_tell_default(struct tg_manager *manager, const json_t *list, tg_manager_reply *reply, void *ctx)
{
  struct tg_args args = {list, "tell_worker_to_identify", reply, ctx};
  int worker_id, bucket;
  struct tg_managed_shard *shard;
  if (!tg_arg_int(&args, 0, "worker_id", 0, TG_MAX_WORKERS - 1, &worker_id) ||
      !tg_arg_shard(&args, 1, manager, &shard))
    return;
  if (worker_id != shard->worker_id) {
    tg_arg_bad(&args, "shard %d belongs to worker %d, not %d; calculate_worker_id decides that", shard->id,
               shard->worker_id, worker_id);
    return;
  }
  if (json_array_size(list) > 2 && !json_is_null(json_array_get(list, 2)) &&
      (!tg_arg_int(&args, 2, "bucket_id", 0, manager->info.max_concurrency - 1, &bucket)))
    return;
  struct tg_managed_worker *worker = tg_worker_of_shard(manager, shard);
  shard->wanted = true;
  if (!worker->ipc || worker->state != TG_WORKER_READY || tg_manager_stopping(manager)) {
    tg_reply_error(reply, ctx, "worker_down", "worker %d is not up; shard %d starts when it is", worker->id,
                   shard->id);
    return;
  }
  if (state_of(manager, shard) == TG_SHARD_CONNECTED) {
    shard->told = true;
    tg_sendings_go(manager, shard);
    tg_reply_value(reply, ctx, json_true());
    return;
  }
  shard->told = true;
  shard->had_session = has_session(manager, shard);
  shard->still_since = 0;
  tg_waiter_add(&shard->start_waiters, reply, ctx);
  if (!shard->had_session)
    tg_scheduler_started(manager->scheduler, shard->id, tg_now());
  tg_say(worker->ipc, identify_shard, .shard_id = shard->id);
  tg_command_restore_presence(manager, shard);
  tg_sendings_go(manager, shard);
}

/* ---- one shard, or those of a worker ---- */

void tg_spawn_shard(struct tg_manager *manager, struct tg_managed_shard *shard)
{
  shard->wanted = true;
  if (has_session(manager, shard)) {
    tg_spawn_tell(manager, shard);
    return;
  }
  tg_scheduler_enqueue(manager->scheduler, shard->id,
                       shard->was_up || shard->had_session ? TG_IDENTIFY_LOST : TG_IDENTIFY_FIRST, tg_now());
  tg_slots_pump(manager);
}

/* The worker is there (again). Resumes do not wait for identifies. */
void tg_spawn_worker_shards(struct tg_manager *manager, struct tg_managed_worker *worker)
{
  for (int pass = 0; pass < 2; pass++) {
    for (int i = 0; i < tg_manager_shard_count(manager); i++) {
      struct tg_managed_shard *shard = &manager->shards[i];
      if (shard->worker_id == worker->id && shard->wanted && !shard->told &&
          has_session(manager, shard) == (pass == 0))
        tg_spawn_shard(manager, shard);
    }
  }
}

void tg_spawn_session_lost(struct tg_manager *manager, struct tg_managed_shard *shard, const char *reason)
{
  tg_log_with(TG_INFO, shard->id, TG_WITH(TG_TEXT(REASON, reason)), "waits for its turn to identify");
  /* Before `told` is taken back: on_told() must not think that a script chose not to start it, or the pause
   * before the next try would be forgotten. */
  tg_waiters_end(&shard->start_waiters, "session_lost", "the shard has to identify anew");
  shard->told = false;
  if (!shard->wanted || tg_manager_stopping(manager))
    return;
  /* Counts move when other processes use the token, too. */
  if (manager->fetch.fetched_at && tg_now() - manager->fetch.fetched_at > REFRESH_AGE)
    tg_fetch_refresh(manager);
  tg_spawn_shard(manager, shard);
}

/* ---- prepare_buckets ---- */

static json_t *bucket_workers(struct tg_manager *manager, int bucket)
{
  json_t *workers = json_array();
  for (int id = 0; id < manager->worker_count; id++) {
    json_t *queue = json_array();
    for (int i = 0; i < tg_manager_shard_count(manager); i++) {
      const struct tg_managed_shard *shard = &manager->shards[i];
      if (shard->worker_id == id && tg_scheduler_bucket(manager->scheduler, shard->id) == bucket)
        json_array_append_new(queue, json_integer(shard->id));
    }
    if (json_array_size(queue) > 0)
      json_array_append_new(workers, json_pack("{s:i, s:o}", "id", id, "queue", queue));
    else
      json_decref(queue);
  }
  return workers;
}

void tg_spawn_prepare_default(struct tg_manager *manager, const json_t *args, tg_manager_reply *reply,
                              void *ctx)
{
  (void)args;
  if (!manager->scheduler) {
    tg_reply_error(reply, ctx, "not_ready",
                   "the buckets are not known yet: gateway information is being fetched");
    return;
  }
  json_t *buckets = json_array();
  for (int bucket = 0; bucket < manager->info.max_concurrency; bucket++) {
    json_t *workers = bucket_workers(manager, bucket);
    if (json_array_size(workers) > 0)
      json_array_append_new(buckets, json_pack("{s:i, s:o}", "id", bucket, "workers", workers));
    else
      json_decref(workers);
  }
  tg_reply_value(reply, ctx, buckets);
}

/* The order of starts that prepare_buckets gives. False: it does not name each
 * shard once, in its own bucket (which is Discord's rule, not ours to bend). */
static bool read_queue(struct tg_manager *manager, const json_t *queue, int bucket, int *order, int *count,
                       bool *seen)
{
  size_t index;
  json_t *value;
  json_array_foreach((json_t *)queue, index, value) {
    json_int_t id = json_number_value(value) >= 0 ? (json_int_t)json_number_value(value) : -1;
    struct tg_managed_shard *shard = json_is_number(value) ? tg_manager_shard(manager, id) : NULL;
    if (!shard || seen[id - manager->range.first] ||
        tg_scheduler_bucket(manager->scheduler, (int)id) != bucket)
      return false;
    seen[id - manager->range.first] = true;
    order[(*count)++] = (int)id;
  }
  return true;
}

static bool read_order(struct tg_manager *manager, const json_t *buckets, int *order)
{
  int count = 0;
  bool *seen = tg_calloc((size_t)tg_manager_shard_count(manager), sizeof *seen);
  bool good = json_is_array(buckets);
  size_t i, k;
  json_t *bucket, *worker;
  json_array_foreach((json_t *)buckets, i, bucket) {
    int id = (int)json_number_value(json_object_get(bucket, "id"));
    json_array_foreach(json_object_get(bucket, "workers"), k, worker) {
      good = good && read_queue(manager, json_object_get(worker, "queue"), id, order, &count, seen);
    }
  }
  free(seen);
  return good && count == tg_manager_shard_count(manager);
}

struct order {
  struct tg_manager *manager;
  int *ids;
  bool good;
};

static void on_buckets(void *ctx, json_t *value, const struct tg_error *error)
{
  struct order *order = ctx;
  order->good = !error && read_order(order->manager, value, order->ids);
}

/* ---- spawn_shards ---- */

void tg_spawn_default(struct tg_manager *manager, const json_t *args, tg_manager_reply *reply, void *ctx)
{
  (void)args;
  if (manager->phase != TG_MANAGER_RUNNING) {
    tg_reply_error(reply, ctx, "not_ready", "the gateway is %s: shards cannot be started",
                   tg_manager_stopping(manager) ? "stopping" : "starting");
    return;
  }
  int count = tg_manager_shard_count(manager);
  struct order order = {manager, tg_calloc((size_t)count, sizeof(int)), false};
  tg_manager_call(manager, TG_METHOD_manager_prepare_buckets, NULL, on_buckets, &order);
  if (!order.good) {
    tg_log(TG_ERROR, TG_NO_SHARD,
           "gateway.manager:prepare_buckets returned no list of {id, workers = {{id, queue = {shard ids}}}} "
           "that names "
           "each shard once in bucket shard_id %% max_concurrency: the usual order is taken");
    for (int i = 0; i < count; i++)
      order.ids[i] = manager->range.first + i;
  }
  tg_waiter_add(&manager->spawn_waiters, reply, ctx);
  for (int pass = 0; pass < 2; pass++) { /* sessions that live first: they need no slot */
    for (int i = 0; i < count && !tg_manager_stopping(manager); i++) {
      struct tg_managed_shard *shard = tg_manager_shard(manager, order.ids[i]);
      shard->wanted = true;
      if (!shard->told && tg_worker_of_shard(manager, shard)->state == TG_WORKER_READY &&
          has_session(manager, shard) == (pass == 0))
        tg_spawn_shard(manager, shard);
    }
  }
  free(order.ids);
  if (manager->all_up) /* by an earlier call */
    tg_waiters_end(&manager->spawn_waiters, NULL, NULL);
}

static bool any_wanted(const struct tg_manager *manager)
{
  for (int i = 0; i < tg_manager_shard_count(manager); i++) {
    if (manager->shards[i].wanted)
      return true;
  }
  return false;
}

static void on_spawned(void *ctx, json_t *value, const struct tg_error *error)
{
  (void)value;
  struct tg_manager *manager = ctx;
  if (tg_manager_stopping(manager))
    return;
  if (error)
    tg_log_with(TG_ERROR, TG_NO_SHARD,
                TG_WITH(TG_TEXT(METHOD, "gateway.manager:spawn_shards"), TG_TEXT(REASON, error->message)),
                "the shards could not all be started");
  else if (!any_wanted(manager)) /* only a script can leave it at that */
    tg_log_with(TG_WARN, TG_NO_SHARD, TG_WITH(TG_TOLD(METHOD, "gateway.manager:spawn_shards")),
                "gateway.manager:spawn_shards has ended and told no shard to identify: none starts until the "
                "script calls gateway.default.manager.spawn_shards(self) or tell_worker_to_identify");
}

void tg_spawn(struct tg_manager *manager)
{
  manager->spawned = true;
  manager->spawned_at = tg_now();
  tg_manager_call(manager, TG_METHOD_manager_spawn_shards, NULL, on_spawned, manager);
}

/* ---- what only shows in the table ---- */

int tg_spawn_count_up(struct tg_manager *manager)
{
  int up = 0;
  for (int i = 0; i < tg_manager_shard_count(manager); i++)
    up += state_of(manager, &manager->shards[i]) == TG_SHARD_CONNECTED;
  return up;
}

static bool stands_still(struct tg_manager *manager, const struct tg_managed_shard *shard)
{
  return shard->wanted && shard->told && tg_worker_of_shard(manager, shard)->state == TG_WORKER_READY &&
         state_of(manager, shard) == TG_SHARD_OFFLINE &&
         tg_scheduler_state(manager->scheduler, shard->id) == TG_IDENTIFY_IDLE;
}

static void look_at(struct tg_manager *manager, struct tg_managed_shard *shard, tg_ms now)
{
  if (state_of(manager, shard) == TG_SHARD_CONNECTED) {
    shard->was_up = true;
    shard->still_since = 0;
    tg_waiters_end(&shard->start_waiters, NULL, NULL);
  } else if (!stands_still(manager, shard)) {
    shard->still_since = 0;
  } else if (!shard->still_since) {
    shard->still_since = now;
  } else if (now - shard->still_since > STILL_PATIENCE) {
    tg_log_with(TG_WARN, shard->id,
                TG_WITH(TG_NUMBER(WORKER, shard->worker_id), TG_NUMBER(DURATION, now - shard->still_since)),
                "stands still without a word from its worker: starting it again");
    shard->still_since = 0;
    tg_spawn_shard(manager, shard);
  }
}

void tg_spawn_look(struct tg_manager *manager)
{
  if (!manager->spawned || tg_manager_stopping(manager))
    return;
  tg_ms now = tg_now();
  int wanted = 0;
  for (int i = 0; i < tg_manager_shard_count(manager); i++) {
    wanted += manager->shards[i].wanted;
    look_at(manager, &manager->shards[i], now);
  }
  int up = tg_spawn_count_up(manager);
  if (manager->all_up || up < wanted || wanted == 0)
    return;
  manager->all_up = true;
  tg_progress_end(manager);
  tg_log_with(TG_INFO, TG_NO_SHARD,
              TG_WITH(TG_NUMBER(SHARDS, up), TG_NUMBER(DURATION, now - manager->spawned_at)),
              "all shards are up");
  tg_waiters_end(&manager->spawn_waiters, NULL, NULL);
}
