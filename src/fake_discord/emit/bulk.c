#include "fake_discord/emit/bulk.h"

#include "fake_discord/gateway/session.h"
#include "fake_discord/world/guilds.h"
#include "fake_discord/world/journal.h"
#include "fake_discord/world/payloads.h"
#include "fake_discord/world/target.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum {
  QUANTUM = 128 * 1024, /* bytes for a connection, then it is the next one's turn */
  GROUP = 64,
  CHUNK = 16 * 1024,
  TICK = 1,
  EVENTS_MAX = 2000000,
  BEHIND_MAX = 10000
};

struct recording {
  int references;
  enum tg_compression compression;
  uint64_t first; /* s of the first event */
  size_t count;
  size_t *ends; /* of each event's frame in wire */
  struct tg_buf wire;
};

struct tg_fake_pump {
  TAILQ_ENTRY(tg_fake_pump) link;
  struct tg_fake_conn *conn;
  struct recording *recording;
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
  struct recording *last; /* for GET /bulk/recording */
  uint64_t events;
  double rate, due;
  uint64_t ticked_at;
  uv_timer_t timer;
  uv_idle_t idle; /* runs while connections take what they are given */
};

/* ---- recording ---- */

static void write_text(struct tg_fake *fake, uint64_t s, size_t number, size_t size, struct tg_buf *text)
{
  const struct tg_fake_guilds *guilds = fake->guilds;
  struct tg_fake_message message = {.guild_id = guilds->count ? guilds->all[number % guilds->count].id : 1,
                                    .number = number,
                                    .shard_number = number,
                                    .size = size};
  text->length = 0;
  tg_buf_printf(text, "{\"t\":\"MESSAGE_CREATE\",\"s\":%" PRIu64 ",\"op\":0,\"d\":", s);
  tg_fake_write_message(fake, &message, text);
  tg_buf_append(text, "}", 1);
}

static void compress_into(z_stream *zlib, const struct tg_buf *text, bool full, struct tg_buf *out)
{
  out->length = 0;
  zlib->next_in = (unsigned char *)text->data;
  zlib->avail_in = (unsigned)text->length;
  do {
    size_t room = text->length + 256;
    zlib->next_out = (unsigned char *)tg_buf_reserve(out, room);
    zlib->avail_out = (unsigned)room;
    deflate(zlib, full ? Z_FULL_FLUSH : Z_SYNC_FLUSH);
    out->length += room - zlib->avail_out;
  } while (zlib->avail_out == 0);
}

/* With zlib's usual settings, as a big service would: the reader's cost depends on them. */
static struct recording *record(struct tg_fake *fake, enum tg_compression compression, uint64_t first,
                                size_t count, size_t size)
{
  struct recording *recording = tg_calloc(1, sizeof *recording);
  recording->references = 1;
  recording->compression = compression;
  recording->first = first;
  recording->count = count;
  recording->ends = tg_calloc(count, sizeof *recording->ends);
  z_stream zlib = {0};
  if (deflateInit2(&zlib, 6, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY) != Z_OK)
    abort();
  struct tg_buf text = {0}, packed = {0};
  for (size_t i = 0; i < count; i++) {
    write_text(fake, first + i, i + 1, size, &text);
    if (compression == TG_COMPRESSION_ZLIB) {
      compress_into(&zlib, &text, (i + 1) % GROUP == 0, &packed);
      tg_fake_frame_write(&recording->wire, (struct tg_fake_head){.opcode = TG_WS_BINARY, .fin = true},
                          packed.data, packed.length);
    } else {
      tg_fake_frame_write(&recording->wire, (struct tg_fake_head){.opcode = TG_WS_TEXT, .fin = true},
                          text.data, text.length);
    }
    recording->ends[i] = recording->wire.length;
  }
  deflateEnd(&zlib);
  tg_buf_free(&text);
  tg_buf_free(&packed);
  return recording;
}

static void unref(struct recording *recording)
{
  if (!recording || --recording->references > 0)
    return;
  free(recording->ends);
  tg_buf_free(&recording->wire);
  free(recording);
}

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
  unref(pump->recording);
  tg_buf_free(&pump->held);
  free(pump);
}

static size_t end_of(const struct recording *recording, size_t index)
{
  return index ? recording->ends[index - 1] : 0;
}

/* Index behind the events that go into the next write. */
static size_t next_stop(const struct tg_fake_pump *pump)
{
  const struct recording *recording = pump->recording;
  size_t limit = pump->paced ? pump->allowed : recording->count, stop = pump->written;
  size_t group = (pump->written / GROUP + 1) * GROUP;
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
  const struct recording *recording = pump->recording;
  size_t begin = end_of(recording, pump->written);
  /* A stream that has nothing unsent makes a record of each write. */
  while (conn->session && !conn->deaf && tg_stream_unsent(conn->stream) == 0) {
    if (pump->written % GROUP == 0)
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

static void on_tick(uv_timer_t *timer)
{
  struct tg_fake_bulk *bulk = timer->data;
  uint64_t now = uv_now(timer->loop);
  bulk->due += bulk->rate * (double)(now - bulk->ticked_at) / 1000;
  bulk->ticked_at = now;
  for (; bulk->due >= 1 && !TAILQ_EMPTY(&bulk->pumps); bulk->due -= 1) {
    struct tg_fake_pump *pump = TAILQ_FIRST(&bulk->pumps); /* in turn */
    TAILQ_REMOVE(&bulk->pumps, pump, link);
    TAILQ_INSERT_TAIL(&bulk->pumps, pump, link);
    pump->allowed++;
    tg_fake_pump_run(pump);
  }
  if (TAILQ_EMPTY(&bulk->pumps))
    uv_timer_stop(timer);
}

/* ---- requests ---- */

static bool is_ready(const struct tg_fake_conn *conn)
{
  return conn->state == TG_FAKE_READY && conn->session && !conn->session->pace && !conn->pump &&
         !conn->deaf && conn->compression != TG_COMPRESSION_ZSTD && tg_fake_wire_is_plain(&conn->wire);
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
                             "no connection matches that has a session, uses zlib-stream or plain "
                             "text, and is not being fed already");
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

static void start_pump(struct tg_fake_conn *conn, struct recording *recording, bool one_by_one, bool paced)
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
                      size_t events, size_t size, bool one_by_one)
{
  struct tg_fake_bulk *bulk = fake->bulk;
  struct recording *recordings[2] = {NULL, NULL};
  struct tg_fake_conn *conn;
  LIST_FOREACH(conn, &fake->conns, link)
  {
    if (!tg_fake_target_has_conn(target, conn) || !is_ready(conn))
      continue;
    struct recording **recording = &recordings[conn->compression == TG_COMPRESSION_ZLIB];
    if (!*recording)
      *recording = record(fake, conn->compression, first, events, size);
    start_pump(conn, *recording, one_by_one, bulk->rate > 0);
  }
  unref(bulk->last);
  bulk->last = recordings[1] ? recordings[1] : recordings[0];
  if (recordings[1])
    unref(recordings[0]);
}

json_t *tg_fake_bulk_start(struct tg_fake *fake, const json_t *request, struct tg_error *error)
{
  static const char *const keys[] = {"events", "size", "writes", "rate", NULL};
  struct tg_fake_target target;
  struct tg_fake_bulk *bulk = fake->bulk;
  json_int_t events = 0, size = fake->settings.message_size;
  const char *writes = "event";
  double rate = 0;
  if (!json_is_object(request))
    return tg_fail(error, "type", "expected a JSON object"), NULL;
  if (!tg_fake_check_keys(request, keys, error) || !tg_fake_target_parse(request, &target, error))
    return NULL;
  if (json_unpack((json_t *)(uintptr_t)request, "{s:I, s?I, s?s, s?F}", "events", &events, "size", &size,
                  "writes", &writes, "rate", &rate) != 0 ||
      events < 1 || events > EVENTS_MAX || size < 0 || size > 1024 * 1024 || rate < 0 ||
      (strcmp(writes, "event") != 0 && strcmp(writes, "bulk") != 0))
    return tg_fail(error, "type",
                   "expected events (1 to %d), perhaps size, rate, and writes: \"event\" or \"bulk\"",
                   EVENTS_MAX),
           NULL;
  if (!TAILQ_EMPTY(&bulk->pumps))
    return tg_fail(error, "busy", "connections are being fed already"), NULL;
  int count = 0;
  uint64_t first = line_up(fake, &target, &count, error);
  if (first == 0)
    return NULL;
  bulk->rate = rate;
  bulk->due = 0;
  start_all(fake, &target, first, (size_t)events, (size_t)size, strcmp(writes, "event") == 0);
  uv_update_time(fake->loop);
  bulk->ticked_at = uv_now(fake->loop);
  if (rate > 0)
    uv_timer_start(&bulk->timer, on_tick, TICK, TICK);
  else
    uv_idle_start(&bulk->idle, on_idle);
  return json_pack("{s:i, s:I, s:I, s:I}", "connections", count, "events", (json_int_t)count * events,
                   "first", (json_int_t)first, "bytes", (json_int_t)bulk->last->wire.length);
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
  unref(fake->bulk->last);
  uv_close((uv_handle_t *)&fake->bulk->idle, on_idle_closed);
}
