#include "manager/workers/spawn.h"

#include "base/buf.h"
#include "base/log.h"
#include "manager/arguments.h"

#include <stdlib.h>

enum { STILL_PATIENCE = 30000 /* ms a shard may stand still without anybody knowing why */ };

struct tg_spawner {
  const struct tg_manager_env *env;
  struct tg_slots *slots;
  struct tg_workers *workers;
  const struct tg_spawner_events *events;
  void *ctx;
  bool begun, all_up;
  int down; /* of the current set: the place of one that is wanted and was not up yet */
  tg_ms began;
  struct tg_waiter *waiters; /* spawn_shards: all up */
};

static bool has_session(const struct tg_managed_shard *shard)
{
  struct tg_session session;
  return tg_session_load(tg_shard_row_of(shard), &session);
}

static bool is_to_come(const struct tg_spawner *spawner, const struct tg_managed_shard *shard)
{
  return shard->set == &spawner->env->next;
}

/* Where hosts share the shards nothing goes back by itself once the guilds have gone over. */
static bool is_needed_no_more(const struct tg_manager_env *env, const struct tg_managed_shard *shard)
{
  return env->clustered && env->ruled_by_next && shard->set == &env->shards &&
         env->ruled_by_next[shard->id % env->classes];
}

/* Its set is closing: it may go on with the session that it has, and begins none. */
static bool is_ending(const struct tg_spawner *spawner, const struct tg_managed_shard *shard)
{
  if (is_needed_no_more(spawner->env, shard))
    return true;
  return shard->set != tg_current_set(spawner->env) && !is_to_come(spawner, shard);
}

static void start_shard(struct tg_spawner *spawner, struct tg_managed_shard *shard);

/* ---- tell_worker_to_identify ---- */

struct spawn_telling {
  struct tg_spawner *spawner;
  tg_shard_ref ref;
};

static void on_told(void *ctx, json_t *value, const struct tg_error *error)
{
  (void)value;
  struct spawn_telling telling = *(struct spawn_telling *)ctx;
  free(ctx);
  struct tg_spawner *spawner = telling.spawner;
  struct tg_managed_shard *shard = tg_shard_of_ref(spawner->env, telling.ref);
  if (error)
    tg_log(TG_DEBUG, tg_ref_id(telling.ref), "was not told to start: %s", error->message);
  /* A script may have decided not to start it: its place is for others. */
  if (shard && !shard->told && !spawner->env->stopping &&
      tg_slots_state(spawner->slots, shard) == TG_IDENTIFY_STARTED) {
    tg_slots_gone(spawner->slots, shard, "not started");
    tg_slots_pump(spawner->slots);
  }
}

void tg_spawn_tell(struct tg_spawner *spawner, struct tg_managed_shard *shard)
{
  struct spawn_telling *telling = tg_alloc(sizeof *telling);
  *telling = (struct spawn_telling){spawner, shard->ref};
  shard->told = false;
  shard->wanted = true;
  bool to_come = is_to_come(spawner, shard);
  json_t *args = json_pack("[i, i, i]", shard->worker_id, shard->id, tg_slots_bucket(spawner->slots, shard));
  if (to_come)
    json_array_append_new(args, json_integer(shard->set->range.total));
  tg_call(spawner->env->calls,
          to_come ? TG_METHOD_manager_tell_worker_to_prepare : TG_METHOD_manager_tell_worker_to_identify,
          args, on_told, telling);
  json_decref(args);
}

/* False: `args` are answered. */
static bool read_telling(struct tg_spawner *spawner, const struct tg_args *args,
                         const struct tg_shard_set *shards, struct tg_managed_shard **shard)
{
  int worker_id, bucket;
  if (!tg_arg_int(args, 0, "worker_id", 0, TG_MAX_WORKERS - 1, &worker_id) ||
      !tg_arg_shard(args, 1, shards, shard))
    return false;
  if (worker_id != (*shard)->worker_id) {
    tg_arg_bad(args, "shard %d belongs to worker %d, not %d; calculate_worker_id decides that", (*shard)->id,
               (*shard)->worker_id, worker_id);
    return false;
  }
  const json_t *given = json_array_get(args->list, 2);
  return !given || json_is_null(given) ||
         tg_arg_int(args, 2, "bucket_id", 0, spawner->env->info->max_concurrency - 1, &bucket);
}

static void tell_worker(struct tg_spawner *spawner, struct tg_managed_shard *shard, tg_manager_reply *reply,
                        void *ctx)
{
  struct tg_ipc *line = tg_workers_line(spawner->workers, shard->worker_id);
  if (!shard->held) {
    tg_reply_error(reply, ctx, "no_shard", "shard %d runs on another host of the cluster", shard->id);
    return;
  }
  shard->wanted = true;
  if (!line || spawner->env->stopping) {
    tg_reply_error(reply, ctx, "worker_down", "worker %d is not up; shard %d starts when it is",
                   shard->worker_id, shard->id);
    return;
  }
  if (tg_shard_state_of(shard) == TG_SHARD_CONNECTED) {
    shard->told = true;
    spawner->events->started(spawner->ctx, shard, false);
    tg_reply_value(reply, ctx, json_true());
    return;
  }
  shard->told = true;
  shard->had_session = has_session(shard);
  shard->still_since = 0;
  tg_waiter_add(&shard->start_waiters, reply, ctx);
  if (!shard->had_session)
    tg_slots_started(spawner->slots, shard);
  tg_say(line, identify_shard, .ref = shard->ref);
  spawner->events->started(spawner->ctx, shard, true);
}

static void tell_default(void *room, const json_t *list, tg_manager_reply *reply, void *ctx)
{
  struct tg_spawner *spawner = room;
  struct tg_args args = {list, "tell_worker_to_identify", reply, ctx};
  struct tg_managed_shard *shard;
  if (read_telling(spawner, &args, &spawner->env->shards, &shard))
    tell_worker(spawner, shard, reply, ctx);
}

static void prepare_shard_default(void *room, const json_t *list, tg_manager_reply *reply, void *ctx)
{
  struct tg_spawner *spawner = room;
  const struct tg_shard_set *next = &spawner->env->next;
  struct tg_args args = {list, "tell_worker_to_prepare", reply, ctx};
  struct tg_managed_shard *shard;
  int total = next->range.total;
  const json_t *given = json_array_get(list, 3);
  if (next->count == 0)
    tg_reply_error(reply, ctx, "not_ready",
                   "gateway.manager:tell_worker_to_prepare: no resharding is going on");
  else if (given && !json_is_null(given) && !tg_arg_int(&args, 3, "total", 1, TG_SHARDS_MAX, &total))
    return;
  else if (total != next->range.total)
    tg_arg_bad(&args, "total (argument 4) is %d, but the bot goes over to %d shards", total,
               next->range.total);
  else if (read_telling(spawner, &args, next, &shard))
    tell_worker(spawner, shard, reply, ctx);
}

/* ---- one shard, or those of a worker ---- */

static void start_shard(struct tg_spawner *spawner, struct tg_managed_shard *shard)
{
  shard->wanted = true;
  if (has_session(shard))
    tg_spawn_tell(spawner, shard);
  else if (is_to_come(spawner, shard))
    tg_slots_enqueue(spawner->slots, shard, TG_IDENTIFY_RESHARDING);
  else if (is_ending(spawner, shard))
    shard->wanted = false;
  else
    tg_slots_enqueue(spawner->slots, shard,
                     shard->was_up || shard->had_session ? TG_IDENTIFY_LOST : TG_IDENTIFY_FIRST);
}

void tg_spawn_take(struct tg_spawner *spawner, struct tg_managed_shard *shard)
{
  shard->wanted = true; /* if its worker is not there, it starts with it */
  if (!shard->told && tg_workers_up(spawner->workers, shard->worker_id))
    start_shard(spawner, shard);
}

void tg_spawn_rest(struct tg_spawner *spawner, struct tg_managed_shard *shard)
{
  static const char why[] = "another host of the cluster takes the shard";
  shard->wanted = shard->told = shard->was_up = shard->had_session = false;
  shard->still_since = 0;
  tg_waiters_end(&shard->start_waiters, "moved", why);
  tg_slots_gone(spawner->slots, shard, why);
}

/* The worker is there (again). Resumes do not wait for identifies. */
void tg_spawn_worker_shards(struct tg_spawner *spawner, int worker)
{
  for (int pass = 0; pass < 2; pass++) {
    for (int i = 0; i < tg_all_shards(spawner->env); i++) {
      struct tg_managed_shard *shard = tg_any_shard(spawner->env, i);
      if (shard->worker_id == worker && shard->wanted && !shard->told && has_session(shard) == (pass == 0))
        start_shard(spawner, shard);
    }
  }
}

void tg_spawn_session_lost(struct tg_spawner *spawner, struct tg_managed_shard *shard, const char *reason)
{
  if (!is_ending(spawner, shard))
    tg_log_with(TG_INFO, shard->id, TG_WITH(TG_TEXT(REASON, reason)), "waits for its turn to identify");
  /* Before `told` is taken back: on_told() must not think that a script chose not to start it, or the pause
   * before the next try would be forgotten. */
  tg_waiters_end(&shard->start_waiters, "session_lost", "the shard has to identify anew");
  shard->told = false;
  if (!shard->wanted || spawner->env->stopping)
    return;
  spawner->events->session_lost(spawner->ctx);
  start_shard(spawner, shard);
}

/* Whether a shard that others wait for is not up; without a look at all of them for each that comes. */
static bool some_are_down(struct tg_spawner *spawner)
{
  const struct tg_shard_set *set = tg_current_set(spawner->env);
  for (; spawner->down < set->count; spawner->down++) {
    const struct tg_managed_shard *shard = &set->list[spawner->down];
    if ((shard->wanted || shard->held) && tg_shard_state_of(shard) != TG_SHARD_CONNECTED)
      return true;
  }
  spawner->down = 0;
  return false;
}

void tg_spawn_identified(struct tg_spawner *spawner, struct tg_managed_shard *shard, bool ready,
                         const char *why)
{
  if (ready)
    shard->was_up = true;
  tg_waiters_end(&shard->start_waiters, ready ? NULL : "identify_failed", why);
  tg_slots_done(spawner->slots, shard, ready);
  if (ready && !spawner->all_up && !some_are_down(spawner))
    tg_spawn_look(spawner); /* they are all up; else the pulse looks */
}

void tg_spawn_worker_gone(struct tg_spawner *spawner, int worker)
{
  static const char why[] = "its worker has ended";
  for (int i = 0; i < tg_all_shards(spawner->env); i++) {
    struct tg_managed_shard *shard = tg_any_shard(spawner->env, i);
    if (shard->worker_id != worker)
      continue;
    struct tg_shard_row *row = tg_shard_row_of(shard);
    atomic_store(&row->state, shard->told ? TG_SHARD_DISCONNECTED : TG_SHARD_OFFLINE);
    atomic_store(&row->rtt, -1);
    shard->told = false;
    shard->still_since = 0;
    tg_slots_gone(spawner->slots, shard, why);
    tg_waiters_end(&shard->start_waiters, "worker_exit", why);
  }
}

bool tg_spawn_killed(struct tg_spawner *spawner, struct tg_managed_shard *shard)
{
  bool told = shard->told;
  shard->wanted = shard->told = shard->was_up = shard->had_session = false;
  tg_waiters_end(&shard->start_waiters, "killed", "the shard was killed");
  tg_slots_gone(spawner->slots, shard, "the shard was killed");
  if (!told)
    tg_session_forget(tg_shard_row_of(shard));
  return told;
}

void tg_spawn_set_over(struct tg_spawner *spawner, const struct tg_shard_set *set)
{
  static const char why[] = "the shard is over: there is another number of them now";
  for (int i = 0; i < set->count; i++)
    tg_waiters_end(&set->list[i].start_waiters, "no_shard", why);
  tg_slots_set_over(spawner->slots, set, why);
}

/* ---- prepare_buckets ---- */

static json_t *bucket_workers(struct tg_spawner *spawner, int bucket)
{
  json_t *workers = json_array();
  for (int id = 0; id < tg_workers_count(spawner->workers); id++) {
    json_t *queue = json_array();
    for (int i = 0; i < spawner->env->shards.count; i++) {
      const struct tg_managed_shard *shard = &spawner->env->shards.list[i];
      if (shard->worker_id == id && tg_slots_bucket(spawner->slots, shard) == bucket)
        json_array_append_new(queue, json_integer(shard->id));
    }
    if (json_array_size(queue) > 0)
      json_array_append_new(workers, json_pack("{s:i, s:o}", "id", id, "queue", queue));
    else
      json_decref(queue);
  }
  return workers;
}

static void prepare_default(void *room, const json_t *args, tg_manager_reply *reply, void *ctx)
{
  struct tg_spawner *spawner = room;
  (void)args;
  if (!tg_slots_begun(spawner->slots)) {
    tg_reply_error(reply, ctx, "not_ready",
                   "the buckets are not known yet: gateway information is being fetched");
    return;
  }
  json_t *buckets = json_array();
  for (int bucket = 0; bucket < spawner->env->info->max_concurrency; bucket++) {
    json_t *workers = bucket_workers(spawner, bucket);
    if (json_array_size(workers) > 0)
      json_array_append_new(buckets, json_pack("{s:i, s:o}", "id", bucket, "workers", workers));
    else
      json_decref(workers);
  }
  tg_reply_value(reply, ctx, buckets);
}

/* The order of starts that prepare_buckets gives. False: it does not name each
 * shard once, in its own bucket (which is Discord's rule, not ours to bend). */
static bool read_queue(struct tg_spawner *spawner, const json_t *queue, int bucket, int *order, int *count,
                       bool *seen)
{
  size_t index;
  json_t *value;
  json_array_foreach((json_t *)queue, index, value)
  {
    json_int_t id = json_number_value(value) >= 0 ? (json_int_t)json_number_value(value) : -1;
    struct tg_managed_shard *shard =
        json_is_number(value) ? tg_shard_set_find(&spawner->env->shards, id) : NULL;
    if (!shard || seen[id - spawner->env->shards.range.first] ||
        tg_slots_bucket(spawner->slots, shard) != bucket)
      return false;
    seen[id - spawner->env->shards.range.first] = true;
    order[(*count)++] = (int)id;
  }
  return true;
}

static bool read_order(struct tg_spawner *spawner, const json_t *buckets, int *order)
{
  int count = 0;
  bool *seen = tg_calloc((size_t)spawner->env->shards.count, sizeof *seen);
  bool good = json_is_array(buckets);
  size_t i, k;
  json_t *bucket, *worker;
  json_array_foreach((json_t *)buckets, i, bucket)
  {
    int id = (int)json_number_value(json_object_get(bucket, "id"));
    json_array_foreach(json_object_get(bucket, "workers"), k, worker)
    {
      good = good && read_queue(spawner, json_object_get(worker, "queue"), id, order, &count, seen);
    }
  }
  free(seen);
  return good && count == spawner->env->shards.count;
}

struct order {
  struct tg_spawner *spawner;
  int *ids;
  bool good;
};

static void on_buckets(void *ctx, json_t *value, const struct tg_error *error)
{
  struct order *order = ctx;
  order->good = !error && read_order(order->spawner, value, order->ids);
}

/* ---- spawn_shards ---- */

static void spawn_default(void *room, const json_t *args, tg_manager_reply *reply, void *ctx)
{
  struct tg_spawner *spawner = room;
  (void)args;
  if (!spawner->begun || spawner->env->stopping) {
    tg_reply_error(reply, ctx, "not_ready", "the gateway is %s: shards cannot be started",
                   spawner->env->stopping ? "stopping" : "starting");
    return;
  }
  int count = spawner->env->shards.count;
  struct order order = {spawner, tg_calloc((size_t)count, sizeof(int)), false};
  tg_call(spawner->env->calls, TG_METHOD_manager_prepare_buckets, NULL, on_buckets, &order);
  if (!order.good) {
    tg_log(TG_ERROR, TG_NO_SHARD,
           "gateway.manager:prepare_buckets returned no list of {id, workers = {{id, queue = {shard ids}}}} "
           "that names "
           "each shard once in bucket shard_id %% max_concurrency: the usual order is taken");
    for (int i = 0; i < count; i++)
      order.ids[i] = spawner->env->shards.range.first + i;
  }
  tg_waiter_add(&spawner->waiters, reply, ctx);
  for (int pass = 0; pass < 2; pass++) { /* sessions that live first: they need no slot */
    for (int i = 0; i < count && !spawner->env->stopping; i++) {
      struct tg_managed_shard *shard = tg_shard_set_find(&spawner->env->shards, order.ids[i]);
      if (!shard->held)
        continue;
      shard->wanted = true;
      if (!shard->told && tg_workers_up(spawner->workers, shard->worker_id) &&
          has_session(shard) == (pass == 0))
        start_shard(spawner, shard);
    }
  }
  free(order.ids);
  if (spawner->all_up) /* by an earlier call */
    tg_waiters_end(&spawner->waiters, NULL, NULL);
}

static bool any_wanted(const struct tg_spawner *spawner)
{
  for (int i = 0; i < spawner->env->shards.count; i++) {
    if (spawner->env->shards.list[i].wanted)
      return true;
  }
  return false;
}

static void on_spawned(void *ctx, json_t *value, const struct tg_error *error)
{
  (void)value;
  struct tg_spawner *spawner = ctx;
  if (spawner->env->stopping)
    return;
  if (error)
    tg_log_with(TG_ERROR, TG_NO_SHARD,
                TG_WITH(TG_TEXT(METHOD, "gateway.manager:spawn_shards"), TG_TEXT(REASON, error->message)),
                "the shards could not all be started");
  else if (!any_wanted(spawner) && !spawner->env->next_is_current &&
           !spawner->env->clustered) /* only a script can leave it at that */
    tg_log_with(TG_WARN, TG_NO_SHARD, TG_WITH(TG_TOLD(METHOD, "gateway.manager:spawn_shards")),
                "gateway.manager:spawn_shards has ended and told no shard to identify: none starts until the "
                "script calls gateway.default.manager.spawn_shards(self) or tell_worker_to_identify");
}

void tg_spawn_all(struct tg_spawner *spawner)
{
  spawner->begun = true;
  spawner->began = tg_now();
  tg_call(spawner->env->calls, TG_METHOD_manager_spawn_shards, NULL, on_spawned, spawner);
}

void tg_spawn_take_over(struct tg_spawner *spawner, bool all_up)
{
  spawner->begun = true;
  spawner->all_up = all_up;
  spawner->began = tg_now();
}

/* ---- what only shows in the table ---- */

static bool stands_still(struct tg_spawner *spawner, const struct tg_managed_shard *shard)
{
  return shard->wanted && shard->told && tg_workers_up(spawner->workers, shard->worker_id) &&
         tg_shard_state_of(shard) == TG_SHARD_OFFLINE &&
         tg_slots_state(spawner->slots, shard) == TG_IDENTIFY_IDLE;
}

static void look_at(struct tg_spawner *spawner, struct tg_managed_shard *shard, tg_ms now)
{
  if (tg_shard_state_of(shard) == TG_SHARD_CONNECTED) {
    shard->was_up = true;
    shard->still_since = 0;
    tg_waiters_end(&shard->start_waiters, NULL, NULL);
  } else if (!stands_still(spawner, shard)) {
    shard->still_since = 0;
  } else if (!shard->still_since) {
    shard->still_since = now;
  } else if (now - shard->still_since > STILL_PATIENCE) {
    tg_log_with(TG_WARN, shard->id,
                TG_WITH(TG_NUMBER(WORKER, shard->worker_id), TG_NUMBER(DURATION, now - shard->still_since)),
                "stands still without a word from its worker: starting it again");
    shard->still_since = 0;
    start_shard(spawner, shard);
  }
}

void tg_spawn_look(struct tg_spawner *spawner)
{
  if (!spawner->begun || spawner->env->stopping)
    return;
  tg_ms now = tg_now();
  const struct tg_shard_set *current = tg_current_set(spawner->env);
  int wanted = 0;
  for (int i = 0; i < tg_all_shards(spawner->env); i++) {
    struct tg_managed_shard *shard = tg_any_shard(spawner->env, i);
    /* Those to come are wanted one after another. */
    wanted += shard->set == current && (shard->wanted || (shard->held && is_to_come(spawner, shard)));
    look_at(spawner, shard, now);
  }
  int up = tg_shard_set_count_up(current);
  if (spawner->all_up || up < wanted || wanted == 0)
    return;
  spawner->all_up = true;
  spawner->events->all_up(spawner->ctx);
  tg_log_with(TG_INFO, TG_NO_SHARD, TG_WITH(TG_NUMBER(SHARDS, up), TG_NUMBER(DURATION, now - spawner->began)),
              "all shards are up");
  tg_waiters_end(&spawner->waiters, NULL, NULL);
}

bool tg_spawn_begun(const struct tg_spawner *spawner)
{
  return spawner->begun;
}

bool tg_spawn_all_up(const struct tg_spawner *spawner)
{
  return spawner->all_up;
}

/* ---- life ---- */

struct tg_spawner *tg_spawner_new(const struct tg_manager_env *env, struct tg_slots *slots,
                                  struct tg_workers *workers, const struct tg_spawner_events *events,
                                  void *ctx)
{
  static const struct tg_default defaults[] = {
      {TG_METHOD_manager_prepare_buckets, prepare_default},
      {TG_METHOD_manager_spawn_shards, spawn_default},
      {TG_METHOD_manager_tell_worker_to_identify, tell_default},
      {TG_METHOD_manager_tell_worker_to_prepare, prepare_shard_default},
  };
  struct tg_spawner *spawner = tg_calloc(1, sizeof *spawner);
  *spawner =
      (struct tg_spawner){.env = env, .slots = slots, .workers = workers, .events = events, .ctx = ctx};
  tg_calls_offer(env->calls, defaults, sizeof defaults / sizeof *defaults, spawner);
  return spawner;
}

void tg_spawner_end(struct tg_spawner *spawner, const char *why)
{
  for (int i = 0; i < tg_all_shards(spawner->env); i++)
    tg_waiters_end(&tg_any_shard(spawner->env, i)->start_waiters, "stopping", why);
  tg_waiters_end(&spawner->waiters, "stopping", why);
}

void tg_spawner_free(struct tg_spawner *spawner)
{
  free(spawner);
}
