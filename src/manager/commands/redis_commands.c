#include "manager/commands/redis_commands.h"

#include "base/address.h"
#include "base/buf.h"
#include "base/human.h"
#include "base/log.h"
#include "manager/commands/command_stream.h"
#include "manager/commands/gateway_send.h"
#include "manager/commands/gathering.h"
#include "net/redis_url.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
  SEND_TIMEOUT = 60000, /* ms a command waits for READY and the send budget */
  TELL_EVERY = 60000,
};

/* A Redis that is read. It stays until its last command has ended. */
struct source {
  struct source *next;
  const struct tg_manager_env *env;
  char *sink, *url, *group;
  char *name;                       /* the URL for people */
  struct tg_command_stream *stream; /* NULL: it is over */
  int under_way;
  tg_ms tell_at; /* what was refused: not before */
  int held;      /* refused since then, and not told */
  bool is_wanted;
};

struct tg_redis_commands {
  const struct tg_manager_env *env;
  struct source *list;
};

/* ---- commands ---- */

struct errand {
  struct source *source;
  struct tg_stream_command *command;
  int shard_id;
};

static void tell_refusal(struct source *source, const char *id, int shard_id, const char *why)
{
  tg_ms now = tg_now();
  if (now < source->tell_at) {
    source->held++;
    return;
  }
  char others[64] = "";
  if (source->held > 0)
    snprintf(others, sizeof others, ", as were %d others of the last minutes", source->held);
  tg_log_with(
      TG_WARN, shard_id,
      TG_WITH(TG_TEXT(URL, source->name), TG_NUMBER_IF(source->held > 0, HELD, source->held)),
      "a command that the bot has written into the stream gateway_send of the sink \"%s\" (%s) was passed "
      "by%s: %s",
      source->sink, id, others, why);
  source->tell_at = now + TELL_EVERY;
  source->held = 0;
}

static void free_if_over(struct source *source)
{
  if (source->stream || source->under_way > 0)
    return;
  free(source->sink);
  free(source->url);
  free(source->group);
  free(source->name);
  free(source);
}

static void on_sent(void *ctx, json_t *value, const struct tg_error *error)
{
  struct errand errand = *(struct errand *)ctx;
  struct source *source = errand.source;
  (void)value;
  free(ctx);
  bool keep = error && source->env->stopping;
  bool is_all = source->env->shards.range.first == 0 &&
                source->env->shards.range.last == source->env->shards.range.total - 1;
  bool is_of_another = error && !is_all && strcmp(error->code, "no_shard") == 0; /* which reads it, too */
  if (error && !keep && !is_of_another)
    tell_refusal(source, tg_command_id(errand.command), errand.shard_id, error->message);
  tg_command_done(errand.command, keep);
  source->under_way--;
  free_if_over(source);
}

static void send_to(const struct tg_manager_env *env, int shard_id, json_t *payload, tg_manager_reply *reply,
                    void *ctx)
{
  json_t *args = json_pack("[i, O, {s:i}]", shard_id, payload, "timeout", SEND_TIMEOUT);
  tg_call(env->calls, TG_METHOD_manager_send_payload, args, reply, ctx);
  json_decref(args);
}

static void send_to_all(const struct tg_manager_env *env, json_t *payload, struct errand *errand)
{
  const struct tg_shard_set *shards = tg_current_set(env);
  int first = shards->range.first, last = shards->range.last;
  struct tg_gathering *gathering = tg_gather(on_sent, errand);
  for (int id = first; id <= last; id++)
    send_to(env, id, payload, tg_gather_part, tg_gather_add(gathering));
  tg_gather_part(gathering, NULL, NULL);
}

static void on_command(void *ctx, struct tg_stream_command *command, tg_ms age, struct tg_span data)
{
  struct source *source = ctx;
  struct tg_gateway_send asked;
  struct tg_error error = {0};
  char text[32];
  struct errand *errand = tg_alloc(sizeof *errand);
  *errand = (struct errand){source, command, TG_NO_SHARD};
  source->under_way++;
  if (age > TG_COMMAND_AGE_MAX) {
    tg_human_duration(age, text, sizeof text);
    tg_fail(&error, "late", "it is %s old, and nobody waits for it any more", text);
  } else if (!data.at) {
    tg_fail(&error, "bad_argument", "it has no field \"data\"");
  }
  if (error.code[0] || !tg_gateway_send_read(data, &asked, &error)) {
    on_sent(errand, NULL, &error);
    return;
  }
  if (asked.shard_id == TG_ALL_SHARDS) {
    send_to_all(source->env, asked.payload, errand);
  } else {
    errand->shard_id = asked.shard_id;
    send_to(source->env, asked.shard_id, asked.payload, on_sent, errand);
  }
  json_decref(asked.payload);
}

/* ---- sources ---- */

static void on_failed(void *ctx, const struct tg_error *error)
{
  const struct source *source = ctx;
  tg_log_with(TG_WARN, TG_NO_SHARD, TG_WITH(TG_TEXT(URL, source->name)),
              "commands of the bot cannot be read from the stream gateway_send of the sink \"%s\", and wait "
              "there; it is tried again: %s",
              source->sink, error->message);
}

static void on_works(void *ctx)
{
  const struct source *source = ctx;
  tg_log_with(TG_INFO, TG_NO_SHARD, TG_WITH(TG_TEXT(URL, source->name)),
              "commands of the bot are read again from the stream gateway_send of the sink \"%s\"",
              source->sink);
}

static char *public_name(const char *url)
{
  struct tg_redis_url parts;
  char *name = tg_strdup(tg_redis_url_parse(url, &parts, NULL) ? parts.name : "");
  tg_redis_url_free(&parts);
  return name;
}

static void add(struct tg_redis_commands *all, const char *sink, const char *url, const char *group)
{
  struct tg_error error;
  struct source *source = tg_alloc(sizeof *source);
  *source = (struct source){.next = all->list,
                            .env = all->env,
                            .sink = tg_strdup(sink),
                            .url = tg_strdup(url),
                            .group = tg_strdup(group),
                            .name = public_name(url),
                            .is_wanted = true};
  source->stream =
      tg_command_stream_new(&(struct tg_command_stream_options){.loop = all->env->loop,
                                                                .url = url,
                                                                .ca_file = all->env->config->tls.ca_file,
                                                                .group = group,
                                                                .take = on_command,
                                                                .failed = on_failed,
                                                                .works = on_works,
                                                                .ctx = source},
                            &error);
  if (source->stream) {
    all->list = source;
    return;
  }
  tg_log(TG_ERROR, TG_NO_SHARD, "commands of the bot are not read from the sink \"%s\": %s", sink,
         error.message);
  free_if_over(source);
}

/* A gateway with a part of the shards has a group of its own: it has to see all commands to find its own. */
static char *group_of(const struct tg_manager_env *env, const char *group)
{
  const struct tg_shard_range *range = &env->shards.range;
  struct tg_buf text = {0};
  tg_buf_puts(&text, group);
  if (range->first > 0 || range->last < range->total - 1)
    tg_buf_printf(&text, ":%d-%d", range->first, range->last);
  return tg_buf_take(&text);
}

static void want(struct tg_redis_commands *all, const struct tg_sink_config *sink, const char *url)
{
  char *group = group_of(all->env, sink->redis.commands_group);
  struct source *source = all->list;
  while (source && (strcmp(source->url, url) != 0 || strcmp(source->group, group) != 0))
    source = source->next;
  if (source)
    source->is_wanted = true;
  else
    add(all, sink->name, url, group);
  free(group);
}

/* Ends what is not wanted. */
static void sweep(struct tg_redis_commands *all)
{
  struct source **at = &all->list, *source;
  while ((source = *at)) {
    if (source->is_wanted) {
      at = &source->next;
      continue;
    }
    *at = source->next;
    tg_command_stream_free(source->stream);
    source->stream = NULL;
    free_if_over(source);
  }
}

void tg_redis_commands_look(struct tg_redis_commands *all)
{
  const struct tg_config *config = all->env->config;
  if (all->env->shards.count == 0 || all->env->stopping)
    return;
  for (struct source *source = all->list; source; source = source->next)
    source->is_wanted = false;
  for (int i = 0; i < config->sink_count; i++) {
    const struct tg_sink_config *sink = &config->sinks[i];
    for (int k = 0; sink->redis.layout == TG_LAYOUT_DISCORDJS && k < sink->handler.urls.count; k++) {
      if (tg_url_is_redis(sink->handler.urls.items[k]))
        want(all, sink, sink->handler.urls.items[k]);
    }
  }
  sweep(all);
}

/* ---- life ---- */

struct tg_redis_commands *tg_redis_commands_new(const struct tg_manager_env *env)
{
  struct tg_redis_commands *all = tg_calloc(1, sizeof *all);
  all->env = env;
  return all;
}

void tg_redis_commands_stop(struct tg_redis_commands *all)
{
  for (struct source *source = all->list; source; source = source->next)
    tg_command_stream_stop(source->stream);
}

void tg_redis_commands_free(struct tg_redis_commands *all)
{
  for (struct source *source = all->list; source; source = source->next)
    source->is_wanted = false;
  sweep(all);
  free(all);
}
