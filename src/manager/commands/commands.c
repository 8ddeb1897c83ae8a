/* The defaults of gateway.manager that send something to a shard, and those
 * that show or end shards. */

#include "base/buf.h"
#include "base/log.h"
#include "manager/internal.h"
#include "proto/payload.h"
#include "proto/presence.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
  SEND_TIMEOUT = 30000, /* ms a command waits for READY and the send budget */
  PRESENCE_TIMEOUT = 60000, /* likewise; five are allowed in 20 s */
  ANSWER_MARGIN = 5000, /* ms more for the worker's answer */
  KILL_TIMEOUT = 10000,
  SOUNDBOARD_GUILDS = 100, /* a frame: 4096 bytes hold them */
};

static const struct tg_send_options usual_options = {.timeout = SEND_TIMEOUT, .priority = TG_SEND_NORMAL};

/* ---- one command ---- */

struct sending {
  tg_manager_reply *reply;
  void *ctx;
};

static void on_answer(void *ctx, const json_t *data, const struct tg_error *error)
{
  (void)data;
  struct sending sending = *(struct sending *)ctx;
  free(ctx);
  if (error)
    sending.reply(sending.ctx, NULL, error);
  else
    tg_reply_value(sending.reply, sending.ctx, json_true());
}

static void ask_worker(struct tg_manager *manager, struct tg_managed_shard *shard,
                       const struct tg_message *message, tg_ms timeout, tg_manager_reply *reply, void *ctx)
{
  struct tg_managed_worker *worker = tg_worker_of_shard(manager, shard);
  if (tg_manager_stopping(manager)) {
    tg_reply_error(reply, ctx, "stopping", "the gateway is stopping");
    return;
  }
  if (!worker->ipc || worker->state != TG_WORKER_READY) {
    tg_reply_error(reply, ctx, "worker_down", "worker %d, which runs shard %d, is not up", worker->id,
                   shard->id);
    return;
  }
  struct sending *sending = tg_alloc(sizeof *sending);
  *sending = (struct sending){reply, ctx};
  tg_message_ask(worker->ipc, message, timeout, on_answer, sending);
}

static bool read_send_options(const struct tg_args *args, const json_t *given,
                              struct tg_send_options *options)
{
  const json_t *timeout = json_object_get(given, "timeout"), *priority = json_object_get(given, "priority");
  *options = (struct tg_send_options){.timeout = SEND_TIMEOUT, .priority = TG_SEND_NORMAL};
  if (priority && !tg_send_priority_parse(json_string_value(priority), &options->priority)) {
    tg_arg_bad(args, "priority has to be \"low\", \"normal\" or \"high\"");
    return false;
  }
  if (!timeout)
    return true;
  options->timeout = (tg_ms)json_number_value(timeout);
  if (json_is_number(timeout) && options->timeout >= 1 && options->timeout <= 600000)
    return true;
  tg_arg_bad(args, "timeout has to be from 1 to 600000 (ms)");
  return false;
}

void tg_command_send_payload(struct tg_manager *manager, const json_t *list, tg_manager_reply *reply,
                             void *ctx)
{
  struct tg_args args = {list, "send_payload", reply, ctx};
  struct tg_managed_shard *shard;
  const json_t *given;
  struct tg_send_options options;
  if (!tg_arg_shard(&args, 0, manager, &shard) || !tg_arg_options(&args, 2, &given))
    return;
  json_t *payload = json_array_get(list, 1);
  if (!json_is_object(payload))
    tg_arg_bad(&args, "payload (argument 2) has to be a table like {op = 3, d = {...}}");
  else if (read_send_options(&args, given, &options))
    tg_command_send(manager, shard, json_incref(payload), &options, reply, ctx);
}

/* ---- several at once: one reply, with the first error ---- */

struct gathering {
  int left;
  struct tg_error error;
  tg_manager_reply *reply;
  void *ctx;
};

static struct gathering *gather(tg_manager_reply *reply, void *ctx)
{
  struct gathering *gathering = tg_calloc(1, sizeof *gathering);
  *gathering = (struct gathering){.left = 1, .reply = reply, .ctx = ctx};
  return gathering;
}

static void on_part(void *ctx, json_t *value, const struct tg_error *error)
{
  (void)value;
  struct gathering *gathering = ctx;
  if (error && !gathering->error.code[0])
    gathering->error = *error;
  if (--gathering->left > 0)
    return;
  if (gathering->error.code[0])
    gathering->reply(gathering->ctx, NULL, &gathering->error);
  else
    tg_reply_value(gathering->reply, gathering->ctx, json_true());
  free(gathering);
}

/* ---- presence ---- */

static struct tg_message presence_message(struct tg_manager *manager, const struct tg_managed_shard *shard,
                                          bool fresh)
{
  json_t *presence = shard->presence ? shard->presence : manager->presence;
  return (struct tg_message){.type = TG_MESSAGE_set_presence, .set_presence = {shard->id, presence, fresh}};
}

struct setting {
  struct tg_manager *manager;
  int shard_id;
  tg_manager_reply *reply;
  void *ctx;
};

/* It is kept: without its worker the shard gets it when it is started again. */
static void on_set(void *ctx, json_t *value, const struct tg_error *error)
{
  struct setting setting = *(struct setting *)ctx;
  free(ctx);
  bool died = error && (strcmp(error->code, "closed") == 0 || strcmp(error->code, "worker_down") == 0);
  if (died && !tg_manager_stopping(setting.manager)) {
    tg_manager_shard(setting.manager, setting.shard_id)->presence_due = true;
    tg_reply_value(setting.reply, setting.ctx, json_true());
  } else {
    setting.reply(setting.ctx, value, error);
  }
}

static void set_presence(struct tg_manager *manager, struct tg_managed_shard *shard, tg_manager_reply *reply,
                         void *ctx)
{
  struct setting *setting = tg_alloc(sizeof *setting);
  *setting = (struct setting){manager, shard->id, reply, ctx};
  const struct tg_message message = presence_message(manager, shard, true);
  ask_worker(manager, shard, &message, PRESENCE_TIMEOUT + ANSWER_MARGIN, on_set, setting);
}

void tg_command_restore_presence(struct tg_manager *manager, struct tg_managed_shard *shard)
{
  const struct tg_message message = presence_message(manager, shard, shard->presence_due);
  if (shard->presence || manager->presence || shard->presence_due)
    tg_message_send(tg_worker_of_shard(manager, shard)->ipc, &message);
  shard->presence_due = false;
}

/* nil: back to the configured one. */
static bool read_presence(const struct tg_args *args, size_t index, json_t **presence)
{
  const json_t *given = json_array_get(args->list, index);
  struct tg_presence_fault fault;
  *presence = NULL;
  if (!given || json_is_null(given))
    return true;
  *presence = tg_presence_normalise(given, &fault);
  if (!*presence)
    tg_arg_bad(args, "argument %zu: presence%s %s", index + 1, fault.path, fault.text);
  return *presence != NULL;
}

void tg_command_bot_status(struct tg_manager *manager, const json_t *list, tg_manager_reply *reply, void *ctx)
{
  struct tg_args args = {list, "edit_bot_status", reply, ctx};
  json_t *presence;
  if (!read_presence(&args, 0, &presence))
    return;
  json_decref(manager->presence);
  manager->presence = presence;
  struct gathering *gathering = gather(reply, ctx);
  for (int i = 0; i < tg_manager_shard_count(manager); i++) {
    struct tg_managed_shard *shard = &manager->shards[i];
    json_decref(shard->presence);
    shard->presence = NULL;
    shard->presence_due = !shard->told; /* then it gets it with its start */
    if (!shard->told)
      continue;
    gathering->left++;
    set_presence(manager, shard, on_part, gathering);
  }
  on_part(gathering, NULL, NULL);
}

void tg_command_shard_status(struct tg_manager *manager, const json_t *list, tg_manager_reply *reply,
                             void *ctx)
{
  struct tg_args args = {list, "edit_shard_status", reply, ctx};
  struct tg_managed_shard *shard;
  json_t *presence;
  if (!tg_arg_shard(&args, 0, manager, &shard) || !read_presence(&args, 1, &presence))
    return;
  json_decref(shard->presence);
  shard->presence = presence;
  shard->presence_due = !shard->told;
  if (shard->told)
    set_presence(manager, shard, reply, ctx);
  else
    tg_reply_value(reply, ctx, json_true());
}

/* ---- commands to a guild ---- */

struct tg_managed_shard *tg_command_guild_shard(const struct tg_args *args, struct tg_manager *manager,
                                                uint64_t guild_id)
{
  if (!manager->shards) {
    tg_reply_error(args->reply, args->ctx, "not_ready", "gateway.manager:%s: the shards are not known yet",
                   args->method);
    return NULL;
  }
  char text[24];
  snprintf(text, sizeof text, "%" PRIu64, guild_id);
  int total = manager->range.total;
  json_t *list = json_pack("[s, i]", text, total);
  int id = tg_manager_ask_int(manager, TG_METHOD_manager_calculate_shard_id, list, 0, total - 1,
                              tg_shard_of_guild(guild_id, total));
  json_decref(list);
  struct tg_managed_shard *shard = tg_manager_shard(manager, id);
  if (!shard)
    tg_reply_error(args->reply, args->ctx, "no_shard",
                   "gateway.manager:%s: guild %s is on shard %d, which another gateway host runs",
                   args->method, text, id);
  return shard;
}

static json_t *id_text(uint64_t id)
{
  char text[24];
  snprintf(text, sizeof text, "%" PRIu64, id);
  return json_string(text);
}

static void send_voice(struct tg_manager *manager, const struct tg_args *args, uint64_t guild_id,
                       json_t *channel, bool self_mute, bool self_deaf)
{
  struct tg_managed_shard *shard = tg_command_guild_shard(args, manager, guild_id);
  if (!shard) {
    json_decref(channel);
    return;
  }
  json_t *payload =
      json_pack("{s:i, s:{s:o, s:o, s:b, s:b}}", "op", TG_OP_VOICE_STATE_UPDATE, "d", "guild_id",
                id_text(guild_id), "channel_id", channel, "self_mute", self_mute, "self_deaf", self_deaf);
  tg_command_send(manager, shard, payload, &usual_options, args->reply, args->ctx);
}

static bool read_flag(const struct tg_args *args, const json_t *options, const char *name, bool usual,
                      bool *flag)
{
  const json_t *given = json_object_get(options, name);
  *flag = given ? json_is_true(given) : usual;
  if (!given || json_is_boolean(given))
    return true;
  tg_arg_bad(args, "%s has to be true or false", name);
  return false;
}

void tg_command_join_voice(struct tg_manager *manager, const json_t *list, tg_manager_reply *reply, void *ctx)
{
  struct tg_args args = {list, "join_voice_channel", reply, ctx};
  uint64_t guild_id, channel_id;
  const json_t *options;
  bool self_mute, self_deaf;
  if (tg_arg_id(&args, 0, "guild_id", &guild_id) && tg_arg_id(&args, 1, "channel_id", &channel_id) &&
      tg_arg_options(&args, 2, &options) && read_flag(&args, options, "self_mute", false, &self_mute) &&
      read_flag(&args, options, "self_deaf", true, &self_deaf))
    send_voice(manager, &args, guild_id, id_text(channel_id), self_mute, self_deaf);
}

void tg_command_leave_voice(struct tg_manager *manager, const json_t *list, tg_manager_reply *reply,
                            void *ctx)
{
  struct tg_args args = {list, "leave_voice_channel", reply, ctx};
  uint64_t guild_id;
  if (tg_arg_id(&args, 0, "guild_id", &guild_id))
    send_voice(manager, &args, guild_id, json_null(), false, false);
}

static void send_soundboard(struct tg_manager *manager, int shard_id, json_t *ids,
                            struct gathering *gathering)
{
  gathering->left++;
  tg_command_send(manager, tg_manager_shard(manager, shard_id),
                  json_pack("{s:i, s:{s:O}}", "op", TG_OP_REQUEST_SOUNDBOARD_SOUNDS, "d", "guild_ids", ids),
                  &usual_options, on_part, gathering);
}

void tg_command_soundboard(struct tg_manager *manager, const json_t *list, tg_manager_reply *reply, void *ctx)
{
  struct tg_args args = {list, "request_soundboard_sounds", reply, ctx};
  const json_t *guilds = json_array_get(list, 0);
  if (!json_is_array(guilds) || json_array_size(guilds) == 0) {
    tg_arg_bad(&args, "guild_ids (argument 1) has to be a list of ids");
    return;
  }
  json_t *by_shard = json_object(), *value, *ids;
  size_t index;
  json_array_foreach((json_t *)guilds, index, value) {
    uint64_t guild_id;
    struct tg_managed_shard *shard = NULL;
    if (!tg_read_id(value, &guild_id))
      tg_arg_bad(&args, "guild_ids[%zu] has to be an id as a string of digits", index + 1);
    else
      shard = tg_command_guild_shard(&args, manager, guild_id);
    if (!shard) {
      json_decref(by_shard);
      return;
    }
    char key[16];
    snprintf(key, sizeof key, "%d", shard->id);
    if (!json_object_get(by_shard, key))
      json_object_set_new(by_shard, key, json_array());
    json_array_append_new(json_object_get(by_shard, key), id_text(guild_id));
  }
  struct gathering *gathering = gather(reply, ctx);
  const char *key;
  json_object_foreach(by_shard, key, ids) {
    json_t *part = json_array();
    json_array_foreach(ids, index, value) {
      json_array_append(part, value);
      if (json_array_size(part) == SOUNDBOARD_GUILDS || index + 1 == json_array_size(ids)) {
        send_soundboard(manager, atoi(key), part, gathering);
        json_decref(part);
        part = json_array();
      }
    }
    json_decref(part);
  }
  json_decref(by_shard);
  on_part(gathering, NULL, NULL);
}

/* ---- showing and ending ---- */

static json_t *describe_shard(struct tg_manager *manager, const struct tg_managed_shard *shard)
{
  struct tg_shard_row *row = tg_shard_table_row(manager->table, shard->id);
  struct tg_session session;
  bool live = tg_session_load(row, &session);
  json_t *info = json_pack("{s:i, s:i, s:i, s:s, s:I, s:I, s:I, s:i}", "shard_id", shard->id, "worker_id",
                           shard->worker_id, "rtt", (int)atomic_load(&row->rtt), "state",
                           tg_shard_state_name((enum tg_shard_state)atomic_load(&row->state)), "sequence",
                           (json_int_t)(live ? session.sequence : 0), "delivered",
                           (json_int_t)atomic_load(&row->delivered_sequence), "queued",
                           (json_int_t)atomic_load(&row->queued_events), "generation",
                           manager->workers[shard->worker_id].generation);
  if (live)
    json_object_set_new(info, "session_id", json_string(session.id));
  return info;
}

void tg_command_shard_info(struct tg_manager *manager, const json_t *list, tg_manager_reply *reply, void *ctx)
{
  (void)list;
  json_t *all = json_array();
  for (int i = 0; i < tg_manager_shard_count(manager); i++)
    json_array_append_new(all, describe_shard(manager, &manager->shards[i]));
  tg_reply_value(reply, ctx, all);
}

void tg_command_kill(struct tg_manager *manager, const json_t *list, tg_manager_reply *reply, void *ctx)
{
  struct tg_args args = {list, "kill", reply, ctx};
  struct tg_managed_shard *shard;
  if (!tg_arg_shard(&args, 0, manager, &shard))
    return;
  bool runs = shard->told;
  shard->wanted = shard->told = shard->was_up = shard->had_session = false;
  tg_waiters_end(&shard->start_waiters, "killed", "the shard was killed");
  tg_slots_gone(manager, shard, "the shard was killed");
  tg_log(TG_INFO, shard->id, "killed by request; it stays down until tell_worker_to_identify");
  if (runs) {
    const struct tg_message message = {.type = TG_MESSAGE_kill_shard, .kill_shard = {shard->id}};
    ask_worker(manager, shard, &message, KILL_TIMEOUT, reply, ctx);
  } else {
    tg_session_forget(tg_shard_table_row(manager->table, shard->id));
    tg_reply_value(reply, ctx, json_true());
  }
  tg_slots_pump(manager);
}

void tg_command_shutdown(struct tg_manager *manager, const json_t *list, tg_manager_reply *reply, void *ctx)
{
  struct tg_args args = {list, "shutdown", reply, ctx};
  int code = 1000;
  const json_t *given = json_array_get(list, 0), *reason = json_array_get(list, 1);
  if (given && !json_is_null(given) && !tg_arg_int(&args, 0, "code", 1000, 4999, &code))
    return;
  if (reason && !json_is_null(reason) && !json_is_string(reason)) {
    tg_arg_bad(&args, "reason (argument 2) has to be a string");
    return;
  }
  /* As with Discord's own close codes: 1000 and 1001 end the sessions. */
  bool keep = code != 1000 && code != 1001;
  tg_log_with(TG_INFO, TG_NO_SHARD, TG_WITH(TG_TEXT(REASON, json_string_value(reason))),
              keep ? "shutting down by request; the sessions are kept"
                   : "shutting down by request; the sessions are ended");
  tg_reply_value(reply, ctx, json_true());
  tg_manager_stop(manager, keep, TG_EXIT_OK);
}
