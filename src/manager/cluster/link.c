#include "base/buf.h"
#include "base/log.h"
#include "base/timer.h"
#include "manager/cluster/link_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
  CONNECT_TIMEOUT = 5000, /* ms */
  REPLY_TIMEOUT = 3000,
  RETRY_LEAST = 250, /* pause between two attempts */
  RETRY_MORE = 1750, /* and up to so much more */
};

/* ---- the end of a connection ---- */

static void on_retry(uv_timer_t *timer)
{
  tg_redis_link_connect(timer->data);
}

static void on_fallen(uv_timer_t *timer)
{
  struct tg_redis_link *link = timer->data;
  struct tg_link_calls list = TAILQ_HEAD_INITIALIZER(list);
  TAILQ_CONCAT(&list, &link->list, link);
  link->state = TG_LINK_IDLE;
  tg_timer_start(link->timer, on_retry, RETRY_LEAST + tg_backoff(link->attempt, RETRY_LEAST, RETRY_MORE));
  link->attempt += link->attempt < 30;
  tg_link_calls_end(&list, &link->fallen);
  link->events->down(link->ctx, &link->fallen);
}

void tg_redis_link_fall(struct tg_redis_link *link, const struct tg_error *error)
{
  if (link->state != TG_LINK_COMING && link->state != TG_LINK_UP)
    return;
  link->state = TG_LINK_FALLEN;
  link->fallen = *error;
  tg_redis_close(link->calls);
  tg_redis_close(link->reads);
  link->calls = link->reads = NULL;
  tg_timer_start(link->timer, on_fallen, 0);
}

void tg_redis_link_break(struct tg_redis_link *link, const char *why)
{
  struct tg_error error;
  tg_fail(&error, "broken", "%s", why);
  tg_redis_link_fall(link, &error);
}

static void on_down(void *ctx, const struct tg_error *error)
{
  tg_redis_link_fall(ctx, error);
}

bool tg_redis_link_all_good(struct tg_redis_link *link, const struct tg_redis *redis,
                            const struct tg_redis_reply *replies, int count)
{
  struct tg_error error;
  for (int i = 0; i < count; i++) {
    if (replies[i].kind != TG_REDIS_ERROR)
      continue;
    tg_redis_explain(redis, &replies[i], &error);
    tg_redis_link_fall(link, &error);
    return false;
  }
  return true;
}

/* ---- the way up ---- */

void tg_redis_link_go_up_if_ready(struct tg_redis_link *link)
{
  struct tg_error error;
  if (!link->has_script || !link->has_place || link->state != TG_LINK_COMING)
    return;
  if (strcmp(link->run_id, link->reads_run_id) != 0) {
    tg_fail(&error, "other", "two connections to %.400s lead to two different Redis", link->where);
    tg_redis_link_fall(link, &error);
    return;
  }
  link->state = TG_LINK_UP;
  memcpy(link->last_run_id, link->run_id, sizeof link->run_id);
  tg_link_reads_go_on(link);
  link->events->up(link->ctx, link->run_id);
}

/* False: the link falls by what was found. */
static bool look_at_facts(struct tg_redis_link *link, const struct tg_redis_reply *info)
{
  struct tg_redis_facts facts;
  struct tg_error error;
  tg_redis_facts_read(info->text, &facts);
  if (!tg_redis_facts_check(&facts, link->where, &error)) {
    tg_redis_link_fall(link, &error);
    return false;
  }
  memcpy(link->run_id, facts.run_id, sizeof link->run_id);
  bool is_volatile = tg_redis_facts_are_doubtful(&facts);
  if (is_volatile && !link->told_volatile)
    tg_log_with(TG_WARN, TG_NO_SHARD, TG_WITH(TG_TEXT(URL, link->where)),
                "the Redis of the cluster has the maxmemory-policy \"%s\": it keeps what the cluster has "
                "there, which has no TTL, but takes keys of others for that; \"noeviction\" is better",
                facts.policy);
  link->told_volatile = is_volatile;
  return true;
}

static void on_looked_at(void *ctx, const struct tg_redis_reply *replies, int count,
                         const struct tg_error *error)
{
  struct tg_redis_link *link = ctx;
  (void)error;
  if (!replies || !tg_redis_link_all_good(link, link->calls, replies, count) ||
      !look_at_facts(link, &replies[0]))
    return;
  snprintf(link->sha, sizeof link->sha, "%.*s", (int)replies[1].text.length, replies[1].text.at);
  link->has_script = true;
  tg_redis_link_go_up_if_ready(link);
}

static void on_calls_up(void *ctx)
{
  struct tg_redis_link *link = ctx;
  struct tg_buf *out = tg_redis_out(link->calls);
  tg_resp_begin(out, 4);
  tg_resp_string(out, "INFO");
  tg_resp_string(out, "server");
  tg_resp_string(out, "memory");
  tg_resp_string(out, "replication");
  tg_link_put_script(out);
  tg_redis_send(link->calls, 2, on_looked_at, link);
}

static bool make_connections(struct tg_redis_link *link, struct tg_error *error)
{
  struct tg_redis_options options = {.loop = link->loop,
                                     .url = link->url,
                                     .ca_file = link->ca_file,
                                     .connect_timeout = CONNECT_TIMEOUT,
                                     .reply_timeout = REPLY_TIMEOUT,
                                     .on_up = on_calls_up,
                                     .on_down = on_down,
                                     .ctx = link};
  link->calls = tg_redis_new(&options, error);
  options.reply_timeout += TG_LINK_BLOCK;
  options.on_up = tg_link_reads_on_up;
  options.on_down = tg_link_reads_on_down;
  link->reads = link->calls ? tg_redis_new(&options, error) : NULL;
  return link->reads != NULL;
}

void tg_redis_link_connect(struct tg_redis_link *link)
{
  struct tg_error error;
  if (link->state != TG_LINK_IDLE)
    return;
  link->state = TG_LINK_COMING;
  link->has_script = link->has_place = link->forgotten = link->trim_due = false;
  link->sent = 0;
  if (!link->calls && !make_connections(link, &error)) {
    tg_redis_link_fall(link, &error); /* the certificates cannot be read any more */
    return;
  }
  tg_redis_connect(link->calls);
  tg_redis_connect(link->reads);
}

/* ---- life ---- */

struct tg_redis_link *tg_redis_link_new(const struct tg_redis_link_options *options, struct tg_error *error)
{
  struct tg_redis_link *link = tg_calloc(1, sizeof *link);
  struct tg_buf text = {0};
  TAILQ_INIT(&link->list);
  link->loop = options->loop;
  link->url = tg_strdup(options->url);
  link->ca_file = options->ca_file ? tg_strdup(options->ca_file) : NULL;
  link->events = options->events;
  link->ctx = options->ctx;
  tg_buf_printf(&text, "tidegate:{%s}", options->name);
  link->key = tg_buf_take(&text);
  tg_buf_printf(&text, "%s:cmd:%s", link->key, options->host);
  link->stream = tg_buf_take(&text);
  link->timer = tg_timer_new(options->loop, link);
  if (!make_connections(link, error)) {
    tg_redis_link_free(link);
    return NULL;
  }
  link->where = tg_strdup(tg_redis_name(link->calls));
  return link;
}

void tg_redis_link_free(struct tg_redis_link *link)
{
  struct tg_error error;
  if (!link)
    return;
  link->state = TG_LINK_FALLEN;
  tg_redis_close(link->calls);
  tg_redis_close(link->reads);
  tg_timer_free(link->timer);
  tg_fail(&error, "closed", "the gateway goes away from Redis");
  tg_link_calls_end(&link->list, &error);
  free(link->url);
  free(link->ca_file);
  free(link->where);
  free(link->key);
  free(link->stream);
  free(link);
}

bool tg_redis_link_is_up(const struct tg_redis_link *link)
{
  return link->state == TG_LINK_UP;
}

const char *tg_redis_link_run_id(const struct tg_redis_link *link)
{
  return link->run_id;
}

const char *tg_redis_link_where(const struct tg_redis_link *link)
{
  return link->where;
}
