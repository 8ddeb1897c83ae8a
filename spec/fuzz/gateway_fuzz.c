/* A shard and a gateway that sends it anything, over several connections: what
 * goes on to the bot lies inside of what came, has a name, and is of a session;
 * what the shard says is JSON, with the token in what needs it.
 *
 * The first byte: whether there is a session to resume, whether the gateway
 * compresses, and whether it is one of this machine. Then lines: one that begins with { is a message, an
 * empty one the end of the connection, anything else a piece of one. There is no network here: the
 * functions of dial.h and link.h below take its place. */

#include "fuzz.h"

#include "base/address.h"
#include "net/dial.h"
#include "proto/close_code.h"
#include "proto/payload.h"
#include "shard/shard.h"

static struct {
  const struct tg_dial_callbacks *dialing; /* NULL: nobody does */
  void *dial_ctx;
  const struct tg_ws_callbacks *callbacks;
  void *ctx;
  bool open;
  uint64_t received;
  int64_t wants_slot; /* number of that ask; 0: it does not */
  uint64_t epoch; /* of the last session */
  bool discord;   /* the main URL is Discord's; else one of this machine, without TLS */
} world;

static const char token[] = "FAKE.TOKEN-1";

/* ---- what the shard says ---- */

static void check_message(const char *text, size_t length)
{
  json_t *json = json_loadb(text, length, JSON_ALLOW_NUL, NULL);
  const json_t *op = json_object_get(json, "op");
  require(json_is_integer(op));
  bool needs_token = json_integer_value(op) == TG_OP_IDENTIFY || json_integer_value(op) == TG_OP_RESUME;
  require(needs_token || json_integer_value(op) == TG_OP_HEARTBEAT);
  const char *given = json_string_value(json_object_get(json_object_get(json, "d"), "token"));
  require(needs_token ? given && strcmp(given, token) == 0 : !memmem(text, length, token, strlen(token)));
  json_decref(json);
}

/* ---- in place of the network ---- */

struct tg_dial *tg_dial_begin(struct tg_dialer *dialer, const struct tg_gateway_url *url,
                              const struct tg_dial_callbacks *callbacks, void *ctx)
{
  (void)dialer;
  require(memchr(url->host, '\0', sizeof url->host) && memchr(url->port, '\0', sizeof url->port));
  require(!world.dialing && !world.open);
  /* Whatever READY has said of where to resume. */
  if (world.discord)
    require(url->tls && strcmp(url->port, "443") == 0 && strcasestr(url->host, "discord.gg"));
  else
    require(strcmp(url->port, "8080") == 0 && tg_host_is_loopback(url->host));
  world.dialing = callbacks;
  world.dial_ctx = ctx;
  return (struct tg_dial *)&world;
}

void tg_dial_free(struct tg_dial *dial)
{
  if (dial)
    world.dialing = NULL;
}

void tg_dial_progress(const struct tg_dial *dial, char *text, size_t size)
{
  (void)dial;
  snprintf(text, size, "nothing");
}

void tg_dialer_blame(struct tg_dialer *dialer, const struct tg_address *address)
{
  (void)dialer, (void)address;
}

void tg_link_hand_over(struct tg_link *link, const struct tg_ws_callbacks *callbacks, void *ctx)
{
  (void)link;
  world.callbacks = callbacks;
  world.ctx = ctx;
}

void tg_link_send(struct tg_link *link, const char *text, size_t length)
{
  require(link && world.open && length <= TG_CLIENT_FRAME_MAX);
  check_message(text, length);
}

void tg_link_close(struct tg_link *link, int code, const char *reason)
{
  require(link && world.open && code >= 1000 && code < 5000 && strlen(reason) < 124);
}

size_t tg_link_unsent(const struct tg_link *link)
{
  (void)link;
  return 0;
}

uint64_t tg_link_received(const struct tg_link *link)
{
  (void)link;
  return world.received;
}

void tg_link_free(struct tg_link *link)
{
  if (!link)
    return;
  require(world.open);
  world.open = false;
}

void tg_link_trim(struct tg_link *link)
{
  (void)link;
}

static void open_connection(void)
{
  struct tg_address address = {0};
  const struct tg_dial_callbacks *dialing = world.dialing;
  world.open = true;
  dialing->on_open(world.dial_ctx, (struct tg_link *)&world, &address);
}

/* A piece of a message, and its end. */
static void say(const char *bytes, size_t length, bool is_whole)
{
  world.received += length;
  if (world.open && length > 0)
    world.callbacks->on_data(world.ctx, bytes, length);
  if (world.open && is_whole)
    world.callbacks->on_message_end(world.ctx);
}

static void end_connection(void)
{
  struct tg_ws_end end = {.code = TG_CLOSE_NONE, .reason = "", .retry_after = -1};
  tg_fail(&end.error, "eof", "the gateway closed the connection");
  if (world.open)
    world.callbacks->on_end(world.ctx, &end);
}

/* ---- in place of the worker ---- */

static void check_event(void *owner, struct tg_shard *shard, struct tg_event *event)
{
  (void)owner;
  struct tg_span raw = event->raw, data = event->data;
  require(event->sequence > 0 && event->epoch > 0 && event->epoch == tg_shard_epoch(shard));
  require(raw.length > 0 && (!data.at || (data.at > raw.at && data.at + data.length < raw.at + raw.length)));
  require(event->type < TG_WANT_SIZE && event->name.length < raw.length);
}

static void check_session(void *owner, struct tg_shard *shard, uint64_t epoch)
{
  (void)shard;
  struct tg_session kept;
  bool is_there = tg_session_load(tg_shard_table_row(owner, 0), &kept);
  require(epoch > world.epoch && kept.epoch == epoch && is_there == (kept.id[0] != '\0'));
  require(memchr(kept.resume_url, '\0', sizeof kept.resume_url) != NULL);
  world.epoch = epoch;
}

static void want_slot(void *owner, struct tg_shard *shard, int64_t ask)
{
  (void)owner, (void)shard;
  world.wants_slot = ask;
}

static void take_note(void *owner, struct tg_shard *shard)
{
  (void)owner, (void)shard;
}

static void take_result(void *owner, struct tg_shard *shard, const char *result, int code)
{
  (void)owner, (void)shard, (void)code;
  require(strcmp(result, "ready") == 0 || strcmp(result, "invalid") == 0 || strcmp(result, "closed") == 0);
}

static void take_loss(void *owner, struct tg_shard *shard, const char *reason)
{
  (void)owner;
  require(reason[0] && tg_shard_session_id(shard)[0] == '\0' && tg_shard_state(shard) == TG_SHARD_OFFLINE);
}

static void take_fatal(void *owner, struct tg_shard *shard, int code, uint64_t intents)
{
  (void)owner, (void)intents;
  require(code >= 4000 && tg_shard_state(shard) == TG_SHARD_OFFLINE);
}

/* ---- a run ---- */

/* What would happen between two packets. */
static void turn(struct tg_shard *shard, uv_loop_t *loop)
{
  uv_run(loop, UV_RUN_NOWAIT);
  tg_shard_start(shard); /* as the manager does when a session is lost */
  if (world.dialing)
    open_connection();
  if (world.wants_slot) {
    int64_t ask = world.wants_slot;
    world.wants_slot = 0;
    tg_shard_allow_identify(shard, ask, tg_now() + 5000, 0);
  }
}

static void play(struct tg_shard *shard, uv_loop_t *loop, char *text, char *end)
{
  turn(shard, loop);
  for (char *line = text; line < end;) {
    char *behind = memchr(line, '\n', (size_t)(end - line));
    size_t length = (size_t)((behind ? behind : end) - line);
    if (length == 0)
      end_connection();
    else if (*line == '{')
      say(line, length, true);
    else
      say(line, length, false);
    turn(shard, loop);
    line += length + 1;
  }
}

static const char *variable(const char *name)
{
  return strcmp(name, "DISCORD_TOKEN") == 0 ? token : strcmp(name, "INTENTS") == 0 ? "513" : NULL;
}

/* Once. */
static void begin(struct tg_config *config, struct tg_shard_table **table)
{
  struct tg_problems problems;
  struct tg_error error = {0};
  setenv("TIDEGATE_HURRY", "1000000", 1); /* no wait takes longer than a turn of the loop */
  fuzz_be_silent();
  require(tg_config_load(NULL, variable, config, &problems));
  *table = tg_shard_table_open(fuzz_fresh_directory(), 0, 1, 1, 0, &error);
  require(*table != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
  static const struct tg_session sample = {"a-session", "wss://gateway-us-east1-b.discord.gg", 1767225600, 42,
                                           1790000000000};
  static struct tg_config config;
  static struct tg_shard_table *table;
  static struct tg_hooks hooks;
  if (length < 1)
    return 0;
  if (!table)
    begin(&config, &table);
  struct tg_shard_row *row = tg_shard_table_row(table, 0);
  tg_session_store(row, &sample);
  if (!(bytes[0] & 1))
    tg_session_forget(row);
  config.transport_compression = bytes[0] & 2 ? TG_COMPRESSION_ZLIB : TG_COMPRESSION_NONE;
  memset(&world, 0, sizeof world);
  world.epoch = sample.epoch;
  world.discord = !(bytes[0] & 4);

  uv_loop_t loop;
  struct tg_buf spare = {0};
  struct tg_shard_env env = {.loop = &loop,
                             .config = &config,
                             .hooks = &hooks,
                             .text = &spare,
                             .gateway_url =
                                 world.discord ? "wss://gateway.discord.gg" : "ws://127.0.0.1:8080",
                             .owner = table,
                             .on_dispatch = check_event,
                             .on_session = check_session,
                             .request_identify = want_slot,
                             .identify_sent = take_note,
                             .identify_unused = take_note,
                             .identify_done = take_result,
                             .session_lost = take_loss,
                             .on_fatal = take_fatal};
  TAILQ_INIT(&env.waiting);
  require(uv_loop_init(&loop) == 0);
  struct tg_shard_side side = {.total_shards = 1, .table = table};
  struct tg_shard *shard = tg_shard_new(&env, &side, 0);
  char *text = fuzz_text(bytes + 1, length - 1);
  play(shard, &loop, text, text + length - 1);
  free(text);
  tg_shard_free(shard);
  require(!world.open && !world.dialing && env.handshakes == 0);
  while (uv_run(&loop, UV_RUN_DEFAULT) != 0) {
  }
  require(uv_loop_close(&loop) == 0);
  tg_buf_free(&spare);
  return 0;
}
