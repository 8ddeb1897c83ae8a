#include "manager/commands/commands.h"

#include "base/buf.h"
#include "base/log.h"
#include "manager/arguments.h"
#include "manager/cluster/post.h"
#include "manager/commands/ask_worker.h"
#include "manager/commands/gathering.h"
#include "manager/commands/guild_shard.h"
#include "proto/payload.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
  SEND_TIMEOUT = 30000, /* ms a command waits for READY and the send budget */
  KILL_TIMEOUT = 10000,
  ANSWER_TIMEOUT = 5000,   /* of a worker, which need not wait for anybody */
  SOUNDBOARD_GUILDS = 100, /* a frame: 4096 bytes hold them */
};

static const struct tg_send_options usual_options = {.timeout = SEND_TIMEOUT, .priority = TG_SEND_NORMAL};

struct tg_commands {
  struct tg_commands_options options;
  const struct tg_manager_env *env;
};

/* ---- one command ---- */

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

/* `total_shards` names the shards to come; without it the current ones are meant. NULL: answered. */
static const struct tg_shard_set *read_set(const struct tg_args *args, const struct tg_manager_env *env,
                                           const json_t *options)
{
  const json_t *given = json_object_get(options, "total_shards");
  double total = json_number_value(given);
  if (!given || json_is_null(given) || (json_is_number(given) && total == tg_current_set(env)->range.total))
    return tg_current_set(env);
  if (json_is_number(given) && env->next.count > 0 && total == env->next.range.total)
    return &env->next;
  if (json_is_number(given) && env->shards.count > 0 && total == env->shards.range.total)
    return &env->shards;
  tg_arg_bad(args, "total_shards has to be the number of the current shards, or of those to come");
  return NULL;
}

static bool names_guild(const json_t *payload, uint64_t *guild_id)
{
  const json_t *d = json_object_get(payload, "d"), *id = json_object_get(d, "guild_id");
  return tg_read_id(id ? id : json_array_get(json_object_get(d, "guild_ids"), 0), guild_id);
}

/* Where hosts share shards that go over to others, and an old one is named whose class has gone over: the new
 * one that has the guild is meant. Who asks from elsewhere does not know how far that class is; and if it
 * came to this host so far the old shard is nobody's, which for want of a guild is the new one of that
 * number. */
static struct tg_managed_shard *heir_of(const struct tg_manager_env *env, struct tg_managed_shard *shard,
                                        const json_t *payload)
{
  uint64_t guild_id;
  bool named = names_guild(payload, &guild_id);
  bool ruled = env->ruled_by_next && env->ruled_by_next[shard->id % env->classes];
  if (!env->clustered || shard->set != &env->shards || !ruled ||
      (shard->held && !(named && tg_post_asks(env->post))))
    return shard;
  int id = named ? tg_shard_of_guild(guild_id, env->next.range.total) : shard->id;
  struct tg_managed_shard *heir = tg_shard_set_find(&env->next, id);
  return heir ? heir : shard;
}

static void send_payload_default(void *room, const json_t *list, tg_manager_reply *reply, void *ctx)
{
  struct tg_commands *commands = room;
  struct tg_args args = {list, "send_payload", reply, ctx};
  struct tg_managed_shard *shard;
  const json_t *given;
  struct tg_send_options options;
  const struct tg_shard_set *set;
  if (!tg_arg_options(&args, 2, &given) || !(set = read_set(&args, commands->env, given)) ||
      !tg_arg_shard(&args, 0, set, &shard))
    return;
  json_t *payload = json_array_get(list, 1);
  shard = heir_of(commands->env, shard, payload);
  if (!json_is_object(payload))
    tg_arg_bad(&args, "payload (argument 2) has to be a table like {op = 3, d = {...}}");
  else if (read_send_options(&args, given, &options) &&
           !tg_post_elsewhere(commands->env->post, shard, TG_METHOD_manager_send_payload, list,
                              options.timeout, reply, ctx))
    tg_send_command(commands->options.sendings, shard, json_incref(payload), &options, reply, ctx);
}

/* ---- commands to a guild ---- */

static json_t *id_text(uint64_t id)
{
  char text[24];
  snprintf(text, sizeof text, "%" PRIu64, id);
  return json_string(text);
}

static void send_voice(struct tg_commands *commands, const struct tg_args *args, enum tg_method method,
                       uint64_t guild_id, json_t *channel, bool self_mute, bool self_deaf)
{
  struct tg_managed_shard *shard = tg_guild_shard(commands->env, args, guild_id);
  if (!shard || tg_post_elsewhere(commands->env->post, shard, method, args->list, SEND_TIMEOUT, args->reply,
                                  args->ctx)) {
    json_decref(channel);
    return;
  }
  json_t *payload =
      json_pack("{s:i, s:{s:o, s:o, s:b, s:b}}", "op", TG_OP_VOICE_STATE_UPDATE, "d", "guild_id",
                id_text(guild_id), "channel_id", channel, "self_mute", self_mute, "self_deaf", self_deaf);
  tg_send_command(commands->options.sendings, shard, payload, &usual_options, args->reply, args->ctx);
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

static void join_voice_default(void *room, const json_t *list, tg_manager_reply *reply, void *ctx)
{
  struct tg_commands *commands = room;
  struct tg_args args = {list, "join_voice_channel", reply, ctx};
  uint64_t guild_id, channel_id;
  const json_t *options;
  bool self_mute, self_deaf;
  if (tg_arg_id(&args, 0, "guild_id", &guild_id) && tg_arg_id(&args, 1, "channel_id", &channel_id) &&
      tg_arg_options(&args, 2, &options) && read_flag(&args, options, "self_mute", false, &self_mute) &&
      read_flag(&args, options, "self_deaf", true, &self_deaf))
    send_voice(commands, &args, TG_METHOD_manager_join_voice_channel, guild_id, id_text(channel_id),
               self_mute, self_deaf);
}

static void leave_voice_default(void *room, const json_t *list, tg_manager_reply *reply, void *ctx)
{
  struct tg_commands *commands = room;
  struct tg_args args = {list, "leave_voice_channel", reply, ctx};
  uint64_t guild_id;
  if (tg_arg_id(&args, 0, "guild_id", &guild_id))
    send_voice(commands, &args, TG_METHOD_manager_leave_voice_channel, guild_id, json_null(), false, false);
}

static void send_soundboard(struct tg_commands *commands, tg_shard_ref ref, json_t *ids,
                            struct tg_gathering *gathering)
{
  const struct tg_managed_shard *shard = tg_shard_of_ref(commands->env, ref);
  json_t *list = json_pack("[O]", ids);
  bool goes = tg_post_elsewhere(commands->env->post, shard, TG_METHOD_manager_request_soundboard_sounds, list,
                                SEND_TIMEOUT, tg_gather_part, tg_gather_add(gathering));
  json_decref(list);
  if (goes)
    return;
  tg_send_command(commands->options.sendings, shard,
                  json_pack("{s:i, s:{s:O}}", "op", TG_OP_REQUEST_SOUNDBOARD_SOUNDS, "d", "guild_ids", ids),
                  &usual_options, tg_gather_part, gathering);
}

static void soundboard_default(void *room, const json_t *list, tg_manager_reply *reply, void *ctx)
{
  struct tg_commands *commands = room;
  struct tg_args args = {list, "request_soundboard_sounds", reply, ctx};
  const json_t *guilds = json_array_get(list, 0);
  if (!json_is_array(guilds) || json_array_size(guilds) == 0) {
    tg_arg_bad(&args, "guild_ids (argument 1) has to be a list of ids");
    return;
  }
  json_t *by_shard = json_object(), *value, *ids;
  size_t index;
  json_array_foreach((json_t *)guilds, index, value)
  {
    uint64_t guild_id;
    struct tg_managed_shard *shard = NULL;
    if (!tg_read_id(value, &guild_id))
      tg_arg_bad(&args, "guild_ids[%zu] has to be an id as a string of digits", index + 1);
    else
      shard = tg_guild_shard(commands->env, &args, guild_id);
    if (!shard) {
      json_decref(by_shard);
      return;
    }
    char key[16];
    snprintf(key, sizeof key, "%d", shard->ref);
    if (!json_object_get(by_shard, key))
      json_object_set_new(by_shard, key, json_array());
    json_array_append_new(json_object_get(by_shard, key), id_text(guild_id));
  }
  struct tg_gathering *gathering = tg_gather(reply, ctx);
  const char *key;
  json_object_foreach(by_shard, key, ids)
  {
    json_t *part = json_array();
    json_array_foreach(ids, index, value)
    {
      json_array_append(part, value);
      if (json_array_size(part) == SOUNDBOARD_GUILDS || index + 1 == json_array_size(ids)) {
        send_soundboard(commands, atoi(key), part, gathering);
        json_decref(part);
        part = json_array();
      }
    }
    json_decref(part);
  }
  json_decref(by_shard);
  tg_gather_part(gathering, NULL, NULL);
}

/* ---- showing and ending ---- */

static json_t *describe_shard(struct tg_commands *commands, const struct tg_managed_shard *shard)
{
  struct tg_shard_row *row = tg_shard_row_of(shard);
  struct tg_session session;
  bool live = tg_session_load(row, &session);
  json_t *info = json_pack("{s:i, s:i, s:i, s:s, s:I, s:I, s:I, s:i}", "shard_id", shard->id, "worker_id",
                           shard->worker_id, "rtt", (int)atomic_load(&row->rtt), "state",
                           tg_shard_state_name((enum tg_shard_state)atomic_load(&row->state)), "sequence",
                           (json_int_t)(live ? session.sequence : 0), "delivered",
                           (json_int_t)atomic_load(&row->delivered_sequence), "queued",
                           (json_int_t)atomic_load(&row->queued_events), "generation",
                           tg_workers_generation_of(commands->options.workers, shard->worker_id));
  if (live)
    json_object_set_new(info, "session_id", json_string(session.id));
  return info;
}

/* With a number: of that shard alone. */
static void shard_info_default(void *room, const json_t *list, tg_manager_reply *reply, void *ctx)
{
  struct tg_commands *commands = room;
  struct tg_args args = {list, "get_shard_info", reply, ctx};
  const struct tg_shard_set *shards = tg_current_set(commands->env);
  const json_t *given = json_array_get(list, 0);
  struct tg_managed_shard *only = NULL;
  if (given && !json_is_null(given) && !tg_arg_shard(&args, 0, shards, &only))
    return;
  json_t *all = json_array();
  for (int i = 0; i < shards->count; i++)
    if (only ? &shards->list[i] == only : shards->list[i].held)
      json_array_append_new(all, describe_shard(commands, &shards->list[i]));
  tg_reply_value(reply, ctx, all);
}

static void kill_default(void *room, const json_t *list, tg_manager_reply *reply, void *ctx)
{
  struct tg_commands *commands = room;
  struct tg_args args = {list, "kill", reply, ctx};
  struct tg_managed_shard *shard;
  if (!tg_arg_shard(&args, 0, tg_current_set(commands->env), &shard) ||
      tg_post_elsewhere(commands->env->post, shard, TG_METHOD_manager_kill, list, KILL_TIMEOUT, reply, ctx))
    return;
  bool runs = tg_spawn_killed(commands->options.spawner, shard);
  tg_log(TG_INFO, shard->id, "killed by request; it stays down until tell_worker_to_identify");
  const struct tg_message message = {.type = TG_MESSAGE_kill_shard, .kill_shard = {shard->ref}};
  if (runs)
    tg_ask_worker(commands->options.workers, commands->env, shard, &message, KILL_TIMEOUT, reply, ctx);
  else
    tg_reply_value(reply, ctx, json_true());
  tg_slots_pump(commands->options.slots);
}

void tg_commands_reconnect(struct tg_commands *commands, int shard_id, tg_manager_reply *reply, void *ctx)
{
  const struct tg_shard_set *shards = tg_current_set(commands->env);
  const struct tg_managed_shard *shard = tg_shard_set_find(shards, shard_id);
  if (shards->count == 0) {
    tg_reply_error(reply, ctx, "not_ready", "the shards are not known yet");
    return;
  }
  if (!shard || !shard->held) {
    tg_reply_error(reply, ctx, "no_shard",
                   "shard %d is not run by this gateway, which has those of %d to %d%s", shard_id,
                   shards->range.first, shards->range.last,
                   commands->env->clustered ? " that no other host has" : "");
    return;
  }
  const struct tg_message message = {.type = TG_MESSAGE_reconnect_shard, .reconnect_shard = {shard->ref}};
  tg_ask_worker(commands->options.workers, commands->env, shard, &message, ANSWER_TIMEOUT, reply, ctx);
}

static void shutdown_default(void *room, const json_t *list, tg_manager_reply *reply, void *ctx)
{
  struct tg_commands *commands = room;
  struct tg_args args = {list, "shutdown", reply, ctx};
  int code = 1000;
  const json_t *given = json_array_get(list, 0), *reason = json_array_get(list, 1);
  if (given && !json_is_null(given) && !tg_arg_int(&args, 0, "code", 1000, 4999, &code))
    return;
  if (reason && !json_is_null(reason) && !json_is_string(reason)) {
    tg_arg_bad(&args, "reason (argument 2) has to be a string");
    return;
  }
  /* As with Discord's own close codes: 1000 and 1001 end the sessions, but those that other hosts have next.
   */
  bool keep = (code != 1000 && code != 1001) || commands->env->clustered;
  tg_log_with(TG_INFO, TG_NO_SHARD, TG_WITH(TG_TEXT(REASON, json_string_value(reason))),
              keep ? "shutting down by request; the sessions are kept"
                   : "shutting down by request; the sessions are ended");
  tg_reply_value(reply, ctx, json_true());
  commands->options.shutdown(commands->options.ctx, keep);
}

/* ---- life ---- */

struct tg_commands *tg_commands_new(const struct tg_commands_options *options)
{
  static const struct tg_default defaults[] = {
      {TG_METHOD_manager_send_payload, send_payload_default},
      {TG_METHOD_manager_get_shard_info, shard_info_default},
      {TG_METHOD_manager_kill, kill_default},
      {TG_METHOD_manager_shutdown, shutdown_default},
      {TG_METHOD_manager_request_soundboard_sounds, soundboard_default},
      {TG_METHOD_manager_join_voice_channel, join_voice_default},
      {TG_METHOD_manager_leave_voice_channel, leave_voice_default},
  };
  struct tg_commands *commands = tg_calloc(1, sizeof *commands);
  commands->options = *options;
  commands->env = options->env;
  tg_calls_offer(options->env->calls, defaults, sizeof defaults / sizeof *defaults, commands);
  return commands;
}

void tg_commands_free(struct tg_commands *commands)
{
  free(commands);
}
