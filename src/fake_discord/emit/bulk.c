#include "fake_discord/emit/bulk.h"

#include "fake_discord/emit/recording.h"
#include "fake_discord/gateway/session.h"
#include "fake_discord/world/journal.h"
#include "fake_discord/world/target.h"

#include <stdlib.h>
#include <string.h>

enum {
  QUANTUM = 128 * 1024, /* bytes for a connection, then it is the next one's turn */
  CHUNK = 16 * 1024,
  TICK = 1,
  EVENTS_MAX = 2000000,
  BEHIND_MAX = 10000
};

struct tg_fake_pump {
  TAILQ_ENTRY(tg_fake_pump) link;
  struct tg_fake_conn *conn;
  struct tg_fake_recording *recording;
  bool one_by_one;
  bool paced;
  size_t allowed; /* paced: how many events may have been written by now */
  size_t written;
  struct tg_buf held; /* messages, each with its length in front */
};

TAILQ_HEAD(pumps, tg_fake_pump);

struct tg_fake_bulk {
  struct tg_fake *fake;
  struct pumps pumps;
  struct tg_fake_recording *last; /* for GET /bulk/recording */
  uint64_t events;
  double rate, due;
  size_t turn; /* numbered: events up to this one, of all, may have been written */
  uint64_t ticked_at;
  uv_timer_t timer;
  uv_idle_t idle; /* runs while connections take what they are given */
};

/* ---- feeding a connection ---- */

void tg_fake_pump_hold(struct tg_fake_pump *pump, const char *text, size_t length)
{
  tg_buf_append(&pump->held, &length, sizeof length);
  tg_buf_append(&pump->held, text, length);
}

static void release_held(struct tg_fake_pump *pump)
{
  struct tg_fake_conn *conn = pump->conn;
  for (size_t at = 0; at < pump->held.length;) {
    size_t length;
    memcpy(&length, pump->held.data + at, sizeof length);
    at += sizeof length;
    tg_fake_encoder_forget(conn->encoder); /* the reader's window holds other bytes by now */
    tg_fake_wire_message(conn, pump->held.data + at, length);
    at += length;
  }
  tg_buf_reset(&pump->held, 4096);
}

void tg_fake_pump_free(struct tg_fake_conn *conn)
{
  struct tg_fake_pump *pump = conn->pump;
  if (!pump)
    return;
  conn->pump = NULL;
  release_held(pump);
  tg_fake_encoder_forget(conn->encoder);
  TAILQ_REMOVE(&pump->conn->fake->bulk->pumps, pump, link);
  tg_fake_recording_unref(pump->recording);
  tg_buf_free(&pump->held);
  free(pump);
}

static size_t end_of(const struct tg_fake_recording *recording, size_t index)
{
  return index ? recording->ends[index - 1] : 0;
}

/* Index behind the events that go into the next write. */
static size_t next_stop(const struct tg_fake_pump *pump)
{
  const struct tg_fake_recording *recording = pump->recording;
  size_t limit = pump->paced ? pump->allowed : recording->count, stop = pump->written;
  size_t group = (pump->written / recording->group + 1) * recording->group;
  limit = limit < group ? limit : group;
  limit = limit < recording->count ? limit : recording->count;
  if (pump->one_by_one)
    return stop < limit ? stop + 1 : stop;
  while (stop < limit && end_of(recording, stop) - end_of(recording, pump->written) < CHUNK)
    stop++;
  return stop;
}

/* True: it has more to send, and may. */
static bool run(struct tg_fake_pump *pump)
{
  struct tg_fake_conn *conn = pump->conn;
  const struct tg_fake_recording *recording = pump->recording;
  size_t begin = end_of(recording, pump->written);
  /* A stream that has nothing unsent makes a record of each write. */
  while (conn->session && !conn->deaf && tg_stream_unsent(conn->stream) == 0) {
    if (pump->written % recording->group == 0)
      release_held(pump);
    size_t stop = next_stop(pump), from = end_of(recording, pump->written);
    if (stop == pump->written)
      return false;
    if (from - begin >= QUANTUM)
      return true;
    tg_fake_wire_bytes(conn, recording->wire.data + from, end_of(recording, stop) - from);
    size_t events = stop - pump->written;
    pump->written = stop;
    conn->next += events;
    conn->session->written += events;
    conn->dispatches += events;
    conn->fake->journal->counters.dispatches += events;
    conn->fake->bulk->events += events;
    if (pump->written == recording->count) {
      tg_fake_pump_free(conn);
      tg_fake_session_pump(conn->session);
      return false;
    }
  }
  return false;
}

static void on_idle(uv_idle_t *idle)
{
  struct tg_fake_bulk *bulk = idle->data;
  bool more = false;
  struct tg_fake_pump *pump, *next;
  for (pump = TAILQ_FIRST(&bulk->pumps); pump; pump = next) {
    next = TAILQ_NEXT(pump, link);
    more = run(pump) || more;
  }
  if (!more)
    uv_idle_stop(idle);
}

void tg_fake_pump_run(struct tg_fake_pump *pump)
{
  struct tg_fake_bulk *bulk = pump->conn->fake->bulk;
  if (run(pump))
    uv_idle_start(&bulk->idle, on_idle);
}

/* ---- the clock ---- */

/* One event of any connection. */
static void allow_one(struct tg_fake_bulk *bulk)
{
  struct tg_fake_pump *pump = TAILQ_FIRST(&bulk->pumps); /* in turn */
  TAILQ_REMOVE(&bulk->pumps, pump, link);
  TAILQ_INSERT_TAIL(&bulk->pumps, pump, link);
  pump->allowed++;
  tg_fake_pump_run(pump);
}

/* So many numbered events, each to all that see its guild. */
static void allow_numbered(struct tg_fake_bulk *bulk, size_t count)
{
  bulk->turn += count;
  struct tg_fake_pump *pump, *next;
  for (pump = TAILQ_FIRST(&bulk->pumps); pump; pump = next) {
    next = TAILQ_NEXT(pump, link);
    const struct tg_fake_recording *recording = pump->recording;
    while (pump->allowed < recording->count && recording->turns[pump->allowed] < bulk->turn)
      pump->allowed++;
    tg_fake_pump_run(pump);
  }
}

static void on_tick(uv_timer_t *timer)
{
  struct tg_fake_bulk *bulk = timer->data;
  uint64_t now = uv_now(timer->loop);
  bulk->due += bulk->rate * (double)(now - bulk->ticked_at) / 1000;
  bulk->ticked_at = now;
  struct tg_fake_pump *first = TAILQ_FIRST(&bulk->pumps);
  if (first && first->recording->turns) {
    allow_numbered(bulk, (size_t)bulk->due);
    bulk->due -= (double)(size_t)bulk->due;
  }
  for (; bulk->due >= 1 && !TAILQ_EMPTY(&bulk->pumps); bulk->due -= 1)
    allow_one(bulk);
  if (TAILQ_EMPTY(&bulk->pumps))
    uv_timer_stop(timer);
}

/* ---- requests ---- */

static bool is_ready(const struct tg_fake_conn *conn)
{
  return conn->state == TG_FAKE_READY && conn->session && !conn->session->pace && !conn->pump &&
         !conn->deaf && tg_fake_wire_is_plain(&conn->wire);
}

/* All connections that match, brought to the same s. 0: `error` says why. */
static uint64_t line_up(struct tg_fake *fake, const struct tg_fake_target *target, int *count,
                        struct tg_error *error)
{
  uint64_t last = 0;
  struct tg_fake_conn *conn;
  LIST_FOREACH(conn, &fake->conns, link)
  if (tg_fake_target_has_conn(target, conn) && is_ready(conn)) {
    last = conn->session->sequence > last ? conn->session->sequence : last;
    ++*count;
  }
  if (*count == 0)
    return (uint64_t)tg_fail(error, "none",
                             "no connection matches that has a session and is not being fed already");
  struct tg_fake_event *filler = tg_fake_event_new("TYPING_START", "{}", 2);
  LIST_FOREACH(conn, &fake->conns, link)
  {
    if (!tg_fake_target_has_conn(target, conn) || !is_ready(conn))
      continue;
    bool far = last - conn->session->sequence > BEHIND_MAX;
    while (!far && conn->session && conn->session->sequence < last)
      tg_fake_session_append(conn->session, filler);
    if (far || !conn->session || conn->next <= conn->session->sequence) {
      tg_fake_event_unref(filler);
      return (uint64_t)tg_fail(error, "busy",
                               "shard %d still has events to be written, or is far behind the others",
                               conn->shard_id);
    }
  }
  tg_fake_event_unref(filler);
  return last + 1;
}

static void start_pump(struct tg_fake_conn *conn, struct tg_fake_recording *recording, bool one_by_one,
                       bool paced)
{
  struct tg_fake_pump *pump = tg_calloc(1, sizeof *pump);
  pump->conn = conn;
  pump->recording = recording;
  pump->one_by_one = one_by_one;
  pump->paced = paced;
  recording->references++;
  conn->pump = pump;
  TAILQ_INSERT_TAIL(&conn->fake->bulk->pumps, pump, link);
  tg_fake_session_reserve(conn->session, recording->count);
}

static void start_all(struct tg_fake *fake, const struct tg_fake_target *target, uint64_t first,
                      const struct tg_fake_recipe *recipe, bool one_by_one)
{
  struct tg_fake_bulk *bulk = fake->bulk;
  struct tg_fake_recording *recordings[TG_COMPRESSION_ZSTD + 1] = {NULL};
  struct tg_fake_conn *conn;
  LIST_FOREACH(conn, &fake->conns, link)
  {
    if (!tg_fake_target_has_conn(target, conn) || !is_ready(conn))
      continue;
    struct tg_fake_recording **recording = &recordings[conn->compression];
    if (!*recording)
      *recording = tg_fake_record(fake, recipe, conn->compression, first);
    start_pump(conn, *recording, one_by_one, bulk->rate > 0);
  }
  for (int i = TG_COMPRESSION_NONE; i <= TG_COMPRESSION_ZSTD; i++) {
    if (!recordings[i])
      continue;
    tg_fake_recording_unref(bulk->last);
    bulk->last = recordings[i];
  }
}

/* Each connection has a recording of its own, from its own next s on. */
static int start_numbered(struct tg_fake *fake, const struct tg_fake_target *target,
                          const struct tg_fake_recipe *recipe, bool one_by_one, json_int_t *events)
{
  struct tg_fake_bulk *bulk = fake->bulk;
  int count = 0;
  struct tg_fake_conn *conn;
  LIST_FOREACH(conn, &fake->conns, link)
  {
    if (!tg_fake_target_has_conn(target, conn) || !is_ready(conn))
      continue;
    struct tg_fake_recipe own = *recipe;
    own.shard_id = conn->shard_id;
    own.total = conn->total;
    struct tg_fake_recording *recording =
        tg_fake_record(fake, &own, conn->compression, conn->session->sequence + 1);
    *events += (json_int_t)recording->count;
    if (recording->count > 0)
      start_pump(conn, recording, one_by_one, bulk->rate > 0);
    tg_fake_recording_unref(bulk->last);
    bulk->last = recording;
    count++;
  }
  return count;
}

/* 0: nobody is ready, or somebody still has events to be written; `error` says which. */
static int count_ready(struct tg_fake *fake, const struct tg_fake_target *target, struct tg_error *error)
{
  int count = 0;
  struct tg_fake_conn *conn;
  LIST_FOREACH(conn, &fake->conns, link)
  {
    if (!tg_fake_target_has_conn(target, conn) || !is_ready(conn))
      continue;
    if (conn->next <= conn->session->sequence)
      return (int)tg_fail(error, "busy", "shard %d still has events to be written", conn->shard_id);
    count++;
  }
  if (count == 0)
    tg_fail(error, "none", "no connection matches that is ready");
  return count;
}

struct bulk_request {
  struct tg_fake_target target;
  struct tg_fake_recipe recipe;
  bool one_by_one, numbered;
  double rate;
};

static bool read_request(struct tg_fake *fake, const json_t *json, struct bulk_request *request,
                         struct tg_error *error)
{
  static const char *const keys[] = {"events", "size", "writes", "rate", "numbered", NULL};
  json_int_t events = 0, size = fake->settings.message_size;
  const char *writes = "event";
  int numbered = 0;
  *request = (struct bulk_request){0};
  if (!json_is_object(json))
    return tg_fail(error, "type", "expected a JSON object");
  if (!tg_fake_check_keys(json, keys, error) || !tg_fake_target_parse(json, &request->target, error))
    return false;
  if (json_unpack((json_t *)(uintptr_t)json, "{s:I, s?I, s?s, s?F, s?b}", "events", &events, "size", &size,
                  "writes", &writes, "rate", &request->rate, "numbered", &numbered) != 0 ||
      events < 1 || events > EVENTS_MAX || size < 0 || size > 1024 * 1024 || request->rate < 0 ||
      (strcmp(writes, "event") != 0 && strcmp(writes, "bulk") != 0))
    return tg_fail(
        error, "type",
        "expected events (1 to %d), perhaps size, rate, numbered, and writes: \"event\" or \"bulk\"",
        EVENTS_MAX);
  request->recipe = (struct tg_fake_recipe){.count = (size_t)events, .size = (size_t)size};
  request->one_by_one = strcmp(writes, "event") == 0;
  request->numbered = numbered != 0;
  return true;
}

/* Makes the recordings. Returns for how many connections; 0: `error` says why. */
static int prepare(struct tg_fake *fake, struct bulk_request *request, uint64_t *first, json_int_t *events,
                   struct tg_error *error)
{
  int count = 0;
  if (!request->numbered) {
    *first = line_up(fake, &request->target, &count, error);
    if (*first == 0)
      return 0;
    start_all(fake, &request->target, *first, &request->recipe, request->one_by_one);
    *events = (json_int_t)request->recipe.count * count;
    return count;
  }
  if (count_ready(fake, &request->target, error) == 0 ||
      !tg_fake_recipe_number(fake, &request->recipe, error))
    return 0;
  count = start_numbered(fake, &request->target, &request->recipe, request->one_by_one, events);
  tg_fake_recipe_free(&request->recipe);
  return count;
}

json_t *tg_fake_bulk_start(struct tg_fake *fake, const json_t *json, struct tg_error *error)
{
  struct tg_fake_bulk *bulk = fake->bulk;
  struct bulk_request request;
  if (!read_request(fake, json, &request, error))
    return NULL;
  if (!TAILQ_EMPTY(&bulk->pumps))
    return tg_fail(error, "busy", "connections are being fed already"), NULL;
  bulk->rate = request.rate;
  bulk->due = 0;
  bulk->turn = 0;
  uint64_t first = 0;
  json_int_t events = 0;
  int count = prepare(fake, &request, &first, &events, error);
  if (count == 0)
    return NULL;
  uv_update_time(fake->loop);
  bulk->ticked_at = uv_now(fake->loop);
  if (request.rate > 0)
    uv_timer_start(&bulk->timer, on_tick, TICK, TICK);
  else
    uv_idle_start(&bulk->idle, on_idle);
  return json_pack("{s:i, s:I, s:I, s:I}", "connections", count, "events", events, "first", (json_int_t)first,
                   "bytes", (json_int_t)bulk->last->wire.length);
}

json_t *tg_fake_bulk_to_json(const struct tg_fake *fake)
{
  const struct tg_fake_bulk *bulk = fake->bulk;
  int count = 0;
  struct tg_fake_pump *pump;
  TAILQ_FOREACH(pump, &bulk->pumps, link) count++;
  return json_pack("{s:i, s:I, s:I}", "connections", count, "events", (json_int_t)bulk->events, "bytes",
                   (json_int_t)(bulk->last ? bulk->last->wire.length : 0));
}

const struct tg_buf *tg_fake_bulk_recording(const struct tg_fake *fake)
{
  return fake->bulk->last ? &fake->bulk->last->wire : NULL;
}

/* ---- life ---- */

struct tg_fake_bulk *tg_fake_bulk_new(struct tg_fake *fake)
{
  struct tg_fake_bulk *bulk = tg_calloc(1, sizeof *bulk);
  bulk->fake = fake;
  TAILQ_INIT(&bulk->pumps);
  uv_timer_init(fake->loop, &bulk->timer);
  uv_idle_init(fake->loop, &bulk->idle);
  bulk->timer.data = bulk->idle.data = bulk;
  return bulk;
}

static void on_timer_closed(uv_handle_t *handle)
{
  free(handle->data);
}

static void on_idle_closed(uv_handle_t *handle)
{
  struct tg_fake_bulk *bulk = handle->data;
  uv_close((uv_handle_t *)&bulk->timer, on_timer_closed);
}

void tg_fake_bulk_free(struct tg_fake *fake)
{
  tg_fake_recording_unref(fake->bulk->last);
  uv_close((uv_handle_t *)&fake->bulk->idle, on_idle_closed);
}
