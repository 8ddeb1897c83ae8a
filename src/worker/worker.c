#include "worker/worker_impl.h"

#include "base/log.h"
#include "base/spare_memory.h"
#include "net/dial.h"
#include "shared/class_state.h"
#include "shared/stats.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { ALIVE_INTERVAL = 1000, ALIVE_INTERVAL_MIN = 20, ALIVE_EVERY = 7 /* a mask */ };

static void free_handle(uv_handle_t *handle) { free(handle); }

/* ---- what the shards say ---- */

static void say_alive(struct tg_worker *worker)
{
  worker->alive_at = tg_now();
  atomic_store(&tg_stats()->alive_at, worker->alive_at);
  tg_stats_note_memory();
  if (worker->delivery)
    tg_delivery_publish(worker->delivery);
  tg_say(worker->ipc, still_alive);
  tg_spare_memory_look(worker->alive_at);
  tg_log_tick();
}

static void on_dispatch(void *owner, struct tg_shard *shard, struct tg_event *event)
{
  struct tg_worker *worker = owner;
  /* One turn of the loop may bring thousands of events to slow handlers: who
   * works them off is not dead. */
  if ((++worker->dispatched & ALIVE_EVERY) == 0 && tg_now() - worker->alive_at >= worker->alive_interval)
    say_alive(worker);
  tg_worker_forward_members(worker, event);
  if (__builtin_expect(worker->questions != NULL, 0))
    tg_worker_hear_answer(worker, event);
  tg_delivery_event(worker->delivery, shard, event);
}

static void on_session(void *owner, struct tg_shard *shard, uint64_t epoch)
{
  struct tg_worker *worker = owner;
  tg_delivery_new_session(worker->delivery, tg_shard_get_ref(shard), epoch);
}

static void request_identify(void *owner, struct tg_shard *shard, int64_t ask)
{
  struct tg_worker *worker = owner;
  tg_say(worker->ipc, request_identify, .ref = tg_shard_get_ref(shard), .ask = ask);
}

static void identify_sent(void *owner, struct tg_shard *shard)
{
  struct tg_worker *worker = owner;
  tg_say(worker->ipc, identify_sent, .ref = tg_shard_get_ref(shard));
}

static void identify_unused(void *owner, struct tg_shard *shard)
{
  struct tg_worker *worker = owner;
  tg_say(worker->ipc, identify_unused, .ref = tg_shard_get_ref(shard));
}

static void identify_done(void *owner, struct tg_shard *shard, const char *result, int code)
{
  struct tg_worker *worker = owner;
  tg_say(worker->ipc, identify_done, .ref = tg_shard_get_ref(shard), .result = result, .code = code);
}

static uint64_t last_epoch(void *owner, const struct tg_shard *shard)
{
  struct tg_worker *worker = owner;
  return tg_delivery_last_epoch(worker->delivery, tg_shard_get_ref(shard));
}

static void session_lost(void *owner, struct tg_shard *shard, const char *reason)
{
  struct tg_worker *worker = owner;
  tg_delivery_session_lost(worker->delivery, tg_shard_get_ref(shard));
  tg_say(worker->ipc, session_lost, .ref = tg_shard_get_ref(shard), .reason = reason);
}

static void session_up(void *owner, struct tg_shard *shard, bool resumed)
{
  struct tg_worker *worker = owner;
  tg_say(worker->ipc, session_up, .ref = tg_shard_get_ref(shard), .resumed = resumed);
}

static void connection_cut(void *owner, struct tg_shard *shard)
{
  struct tg_worker *worker = owner;
  tg_say(worker->ipc, connection_cut, .ref = tg_shard_get_ref(shard));
}

static void on_fatal(void *owner, struct tg_shard *shard, int code, uint64_t intents)
{
  struct tg_worker *worker = owner;
  tg_say(worker->ipc, shard_fatal, .ref = tg_shard_get_ref(shard), .code = code, .intents = (int64_t)intents);
}

static struct tg_shard *find_shard(void *ctx, tg_shard_ref ref)
{
  return tg_worker_shard(ctx, ref);
}

static void tell_of_handler(void *ctx, const char *url, bool up, tg_ms asked)
{
  struct tg_worker *worker = ctx;
  tg_say(worker->ipc, handler, .url = url, .up = up, .asked = asked);
}

static void tell_of_class(void *ctx, int number, const char *state, json_t *figures, const char *file)
{
  struct tg_worker *worker = ctx;
  tg_say(worker->ipc, class_state, .number = number, .state = state, .figures = figures, .file = file);
}

/* ---- life ---- */

static void exit_now(struct tg_worker *worker, int code)
{
  if (worker->exited)
    return;
  worker->exited = true;
  worker->options.on_exit(worker->options.ctx, code);
}

/* Only if the manager died before this process could ask the kernel to let it
 * die with it. */
static void on_manager_gone(void *ctx) { exit_now(ctx, TG_EXIT_FAILED); }

static void on_alive(uv_timer_t *timer)
{
  say_alive(timer->data);
}

/* Often enough for the manager not to take a worker for dead that is not. */
static void begin_alive(struct tg_worker *worker)
{
  tg_ms interval = worker->options.config->script.kill_after / 4;
  interval = interval > ALIVE_INTERVAL ? ALIVE_INTERVAL : interval;
  interval = interval < ALIVE_INTERVAL_MIN ? ALIVE_INTERVAL_MIN : interval;
  worker->alive_interval = interval;
  uv_timer_start(worker->alive, on_alive, 0, (uint64_t)interval);
}

struct tg_worker *tg_worker_new(const struct tg_worker_options *options, struct tg_error *error)
{
  struct tg_dialer *dialer =
      tg_dialer_new(options->loop, options->config->tls.ca_file, options->proxies, error);
  if (!dialer)
    return NULL;
  static const struct tg_ipc_callbacks callbacks = {.on_message = tg_worker_on_message,
                                                    .on_closed = on_manager_gone};
  struct tg_worker *worker = tg_calloc(1, sizeof *worker);
  worker->options = *options;
  worker->dialer = dialer;
  worker->ipc = tg_ipc_new(options->loop, options->manager_fd, &callbacks, worker);
  worker->alive = tg_calloc(1, sizeof *worker->alive);
  uv_timer_init(options->loop, worker->alive);
  worker->alive->data = worker;
  begin_alive(worker);
  tg_spare_memory_look(tg_now()); /* what it takes without events */
  return worker;
}

/* ---- whose events are in the logs of earlier processes ---- */

void tg_worker_set_owners(struct tg_worker *worker, int first_shard, const json_t *owners, uint64_t stamp)
{
  worker->first_owned = first_shard;
  worker->owned_count = (int)json_array_size(owners);
  worker->owners = tg_calloc((size_t)worker->owned_count + 1, sizeof *worker->owners);
  worker->stamp = stamp;
  for (int i = 0; i < worker->owned_count; i++)
    worker->owners[i] = (int)json_integer_value(json_array_get(owners, (size_t)i));
}

/* The place of its worker among the owners. One of the set to come lives where the old shards live that share
 * its guilds: the first of these has the class's number for its id. -1: nobody has it. */
static int owner_of(const struct tg_worker *worker, tg_shard_ref ref)
{
  int id = tg_ref_id(ref);
  if (tg_ref_side(ref) != worker->current) {
    if (id >= worker->next_total)
      return -1;
    id %= tg_class_count(worker->sides[worker->current].of.total_shards, worker->next_total);
  }
  int at = id - worker->first_owned;
  return at >= 0 && at < worker->owned_count ? at : -1;
}

/* Shards that nobody has any more (there are fewer now) go to the first worker; in a cluster, where something
 * may be left of them, to the one that any shard of that number has. */
static bool is_wanted(void *ctx, tg_shard_ref ref)
{
  const struct tg_worker *worker = ctx;
  int at = owner_of(worker, ref), lowest = worker->options.worker_id, highest = lowest;
  if (at >= 0)
    return worker->owners[at] == worker->options.worker_id;
  for (int i = 0; i < worker->owned_count; i++) {
    lowest = worker->owners[i] < lowest ? worker->owners[i] : lowest;
    highest = worker->owners[i] > highest ? worker->owners[i] : highest;
  }
  int its = worker->clustered ? tg_ref_id(ref) % (highest + 1) : lowest;
  return its == worker->options.worker_id;
}

static bool is_alone(const struct tg_worker *worker)
{
  for (int i = 0; i < worker->owned_count; i++)
    if (worker->owners[i] != worker->options.worker_id)
      return false;
  return worker->owned_count > 0;
}

static bool open_log(struct tg_worker *worker, struct tg_error *error)
{
  return tg_delivery_open_logs(worker->delivery, is_alone(worker) ? NULL : is_wanted, worker->stamp,
                               worker->moved, error);
}

static bool durable_sequence(void *owner, const struct tg_shard *shard, uint64_t *sequence)
{
  struct tg_worker *worker = owner;
  return tg_delivery_durable(worker->delivery, tg_shard_get_ref(shard), sequence);
}

static void fill_env(struct tg_worker *worker)
{
  worker->env = (struct tg_shard_env){
      .loop = worker->options.loop,
      .config = worker->options.config,
      .hooks = worker->options.hooks,
      .dialer = worker->dialer,
      .gateway_url = worker->gateway_url,
      .worker_id = worker->options.worker_id,
      .clustered = worker->clustered,
      .text = &worker->text,
      .owner = worker,
      .on_dispatch = on_dispatch,
      .on_session = on_session,
      .durable_sequence = durable_sequence,
      .last_epoch = last_epoch,
      .request_identify = request_identify,
      .identify_sent = identify_sent,
      .identify_unused = identify_unused,
      .identify_done = identify_done,
      .session_lost = session_lost,
      .session_up = session_up,
      .connection_cut = connection_cut,
      .on_fatal = on_fatal,
  };
  TAILQ_INIT(&worker->env.waiting);
}

static uint64_t identity_of(const struct tg_worker *worker, int total_shards)
{
  const struct tg_config *config = worker->options.config;
  return tg_identity(tg_identity_bot(config->token, config->intents), total_shards);
}

bool tg_worker_open_side(struct tg_worker *worker, int side, int total_shards, uint64_t epoch,
                         struct tg_error *error)
{
  struct tg_worker_side *opened = &worker->sides[side];
  uint64_t identity = identity_of(worker, total_shards);
  struct tg_shard_table *table =
      tg_shard_table_open(worker->options.config->state_dir, side, total_shards, identity, epoch, error);
  if (!table)
    return false;
  opened->of = (struct tg_shard_side){.side = side, .total_shards = total_shards, .table = table};
  opened->shards = tg_calloc((size_t)total_shards, sizeof *opened->shards);
  if (worker->delivery)
    tg_delivery_add_side(worker->delivery, side, table, identity);
  return true;
}

bool tg_worker_begin(struct tg_worker *worker, const char *gateway_url, int side, int total_shards,
                     struct tg_error *error)
{
  const struct tg_config *config = worker->options.config;
  if (!tg_worker_open_side(worker, side, total_shards, 0, error))
    return false;
  worker->current = side;
  worker->begun = true;
  worker->gateway_url = tg_strdup(gateway_url);
  struct tg_delivery_options options = {
      .loop = worker->options.loop,
      .config = config,
      .hooks = worker->options.hooks,
      .seats_follow = worker->next_total > 0,
      .clustered = worker->clustered,
      .side = side,
      .table = worker->sides[side].of.table,
      .http = worker->options.http,
      .worker_id = worker->options.worker_id,
      .identity = identity_of(worker, total_shards),
      .find_shard = find_shard,
      .tell = tell_of_handler,
      .class_told = tell_of_class,
      .tapped = tg_worker_tapped,
      .ctx = worker,
  };
  worker->delivery = tg_delivery_new(&options);
  tg_delivery_tap(worker->delivery, worker->tap);
  fill_env(worker);
  if (!open_log(worker, error))
    return false;
  if (worker->clustered)
    tg_delivery_leave_lost(worker->delivery);
  return true;
}

/* Where the shard stands; NULL: there is none. */
static struct tg_shard **place_of(struct tg_worker *worker, tg_shard_ref ref)
{
  if (ref < 0)
    return NULL;
  struct tg_worker_side *side = &worker->sides[tg_ref_side(ref)];
  return tg_ref_id(ref) < side->of.total_shards ? &side->shards[tg_ref_id(ref)] : NULL;
}

struct tg_shard *tg_worker_take_shard(struct tg_worker *worker, tg_shard_ref ref)
{
  struct tg_shard **place = place_of(worker, ref);
  if (!place || *place)
    return place ? *place : NULL;
  const struct tg_shard_side *of = &worker->sides[tg_ref_side(ref)].of;
  struct tg_session session;
  tg_delivery_shard_comes(worker->delivery, ref);
  bool resumable = tg_session_load(tg_shard_table_row(of->table, tg_ref_id(ref)), &session);
  tg_delivery_adopt_session(worker->delivery, ref, session.epoch, resumable ? session.sequence : 0);
  return *place = tg_shard_new(&worker->env, of, tg_ref_id(ref));
}

void tg_worker_give_shard(struct tg_worker *worker, tg_shard_ref ref)
{
  struct tg_shard **place = place_of(worker, ref);
  if (!place)
    return;
  tg_shard_free(*place);
  *place = NULL;
}

static void free_shards(struct tg_worker_side *side)
{
  for (int i = 0; i < side->of.total_shards; i++) {
    tg_shard_free(side->shards[i]);
    side->shards[i] = NULL;
  }
}

void tg_worker_close_side(struct tg_worker *worker, int number)
{
  struct tg_worker_side *side = &worker->sides[number];
  free_shards(side);
  tg_shard_table_close(side->of.table);
  free(side->shards);
  *side = (struct tg_worker_side){0};
}

void tg_worker_free(struct tg_worker *worker)
{
  if (!worker)
    return;
  tg_worker_forget_closing(worker);
  tg_worker_forget_voices(worker);
  for (int side = 0; side < TG_SIDES; side++)
    free_shards(&worker->sides[side]);
  tg_worker_forget_letting(worker);
  if (worker->delivery)
    tg_delivery_free(worker->delivery);
  uv_close((uv_handle_t *)worker->alive, free_handle);
  tg_worker_forget_members(worker);
  tg_worker_forget_questions(worker);
  tg_ipc_free(worker->ipc);
  for (int side = 0; side < TG_SIDES; side++)
    tg_worker_close_side(worker, side);
  tg_dialer_free(worker->dialer);
  tg_buf_free(&worker->text);
  free(worker->gateway_url);
  free(worker->owners);
  json_decref(worker->tap);
  free(worker);
}

/* ---- stop ---- */

static void on_drained(void *ctx, uint64_t left)
{
  struct tg_worker *worker = ctx;
  if (left > 0 && worker->delivery && tg_delivery_has_log(worker->delivery))
    tg_log_with(TG_INFO, TG_NO_SHARD, TG_WITH(TG_NUMBER(EVENTS, left)),
                "events stay in the log; the next start delivers them");
  else if (left > 0)
    tg_log_with(TG_WARN, TG_NO_SHARD, TG_WITH(TG_NUMBER(EVENTS, left)),
                "events were not delivered in time; the next start gets them again from Discord, if it comes "
                "soon");
  tg_say(worker->ipc, stopped);
  exit_now(worker, TG_EXIT_OK);
}

static void drain(struct tg_worker *worker)
{
  tg_ms left = worker->stop_deadline - tg_now();
  if (worker->delivery)
    tg_delivery_drain(worker->delivery, left > 0 ? left : 0, on_drained, worker);
  else
    on_drained(worker, 0);
}

static void on_shard_stopped(void *ctx)
{
  struct tg_worker *worker = ctx;
  if (--worker->shards_closing == 0)
    drain(worker);
}

static void stop_side(struct tg_worker *worker, const struct tg_worker_side *side)
{
  for (int i = 0; i < side->of.total_shards; i++) {
    if (side->shards[i]) {
      worker->shards_closing++;
      tg_shard_stop(side->shards[i], worker->keep_sessions, on_shard_stopped, worker);
    }
  }
}

void tg_worker_stop(struct tg_worker *worker, bool keep_sessions, tg_ms deadline)
{
  if (worker->stopping) { /* asked twice: hurry */
    worker->stop_deadline = tg_now();
    on_drained(worker, 0);
    return;
  }
  worker->stopping = true;
  worker->keep_sessions = keep_sessions;
  worker->stop_deadline = deadline;
  worker->shards_closing = 1; /* until all have been told */
  for (int side = 0; side < TG_SIDES; side++)
    stop_side(worker, &worker->sides[side]);
  on_shard_stopped(worker);
}

/* ---- what others may ask ---- */

void tg_worker_reconfigure(struct tg_worker *worker, const struct tg_config *config)
{
  worker->options.config = worker->env.config = config;
  begin_alive(worker);
  if (worker->delivery)
    tg_delivery_reconfigure(worker->delivery, config);
}

struct tg_shard *tg_worker_shard(struct tg_worker *worker, tg_shard_ref ref)
{
  struct tg_shard **place = place_of(worker, ref);
  return place ? *place : NULL;
}

struct tg_delivery *tg_worker_delivery(struct tg_worker *worker) { return worker->delivery; }
