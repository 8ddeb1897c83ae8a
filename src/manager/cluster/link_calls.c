#include "base/buf.h"
#include "manager/cluster/cluster.h"
#include "manager/cluster/link_impl.h"

#include <stdlib.h>
#include <string.h>

enum { STREAM_MAX = 10000 }; /* entries that a host may leave unread */

void tg_link_calls_end(struct tg_link_calls *list, const struct tg_error *error)
{
  struct tg_link_call *call;
  while ((call = TAILQ_FIRST(list))) {
    TAILQ_REMOVE(list, call, link);
    if (call->done)
      call->done(call->ctx, NULL, 0, error);
    free(call->name);
    free(call->body);
    free(call);
  }
}

static void on_called(void *ctx, const struct tg_redis_reply *replies, int count,
                      const struct tg_error *error);

static void send_call(struct tg_link_call *call)
{
  struct tg_redis_link *link = call->of;
  struct tg_buf *out = tg_redis_out(link->calls);
  tg_resp_begin(out, 6);
  tg_resp_string(out, "EVALSHA");
  tg_resp_string(out, link->sha);
  tg_resp_string(out, "1");
  tg_resp_string(out, link->key);
  tg_resp_string(out, call->name);
  tg_resp_string(out, call->body);
  call->sent = true;
  link->sent++;
  tg_redis_send(link->calls, 1, on_called, call);
}

static struct tg_link_call *add_call(struct tg_redis_link *link, tg_redis_link_replied *done, void *ctx)
{
  struct tg_link_call *call = tg_calloc(1, sizeof *call);
  *call = (struct tg_link_call){.of = link, .done = done, .ctx = ctx};
  TAILQ_INSERT_TAIL(&link->list, call, link);
  return call;
}

static void end_call(struct tg_link_call *call, const struct tg_redis_reply *reply)
{
  struct tg_redis_link *link = call->of;
  struct tg_link_calls list = TAILQ_HEAD_INITIALIZER(list);
  struct tg_error error = {0};
  TAILQ_REMOVE(&link->list, call, link);
  if (reply->kind == TG_REDIS_TEXT) {
    if (call->done)
      call->done(call->ctx, reply->text.at, reply->text.length, NULL);
    call->done = NULL;
    link->attempt = 0;
  } else if (reply->kind == TG_REDIS_ERROR) {
    tg_redis_explain(link->calls, reply, &error);
  } else {
    tg_fail(&error, "protocol", "Redis at %.400s does not answer with a text", link->where);
  }
  TAILQ_INSERT_TAIL(&list, call, link);
  tg_link_calls_end(&list, &error);
}

void tg_link_put_script(struct tg_buf *out)
{
  tg_resp_begin(out, 3);
  tg_resp_string(out, "SCRIPT");
  tg_resp_string(out, "LOAD");
  tg_resp_string(out, tg_cluster_script);
}

static void on_script_back(void *ctx, const struct tg_redis_reply *replies, int count,
                           const struct tg_error *error)
{
  struct tg_redis_link *link = ctx;
  (void)error;
  if (replies)
    tg_redis_link_all_good(link, link->calls, replies, count);
}

/* All that were sent have not been done. */
static void send_all_again(struct tg_redis_link *link)
{
  struct tg_link_call *call;
  link->forgotten = false;
  tg_link_put_script(tg_redis_out(link->calls));
  tg_redis_send(link->calls, 1, on_script_back, link);
  TAILQ_FOREACH(call, &link->list, link)
  {
    if (call->name)
      send_call(call);
  }
}

/* Somebody may have given Redis the script again in the midst of ours: then a later one was done, and an
 * earlier one was not. */
static void explain_disorder(struct tg_redis_link *link)
{
  struct tg_error error;
  tg_fail(&error, "noscript", "Redis at %.400s has forgotten the script in the midst of calls", link->where);
  tg_redis_link_fall(link, &error);
}

static bool is_forgotten(const struct tg_redis_reply *reply)
{
  return reply->kind == TG_REDIS_ERROR && reply->text.length >= 8 &&
         memcmp(reply->text.at, "NOSCRIPT", 8) == 0;
}

static void on_called(void *ctx, const struct tg_redis_reply *replies, int count,
                      const struct tg_error *error)
{
  struct tg_link_call *call = ctx;
  (void)count;
  (void)error;
  if (!replies)
    return; /* on_down comes */
  struct tg_redis_link *link = call->of;
  link->sent--;
  if (is_forgotten(replies)) {
    call->sent = false;
    link->forgotten = true;
  } else if (link->forgotten) {
    explain_disorder(link);
    return;
  } else {
    end_call(call, replies);
  }
  if (link->forgotten && link->sent == 0 && link->state == TG_LINK_UP)
    send_all_again(link);
}

bool tg_redis_link_call(struct tg_redis_link *link, const char *name, const char *body,
                        tg_redis_link_replied *done, void *ctx)
{
  if (link->state != TG_LINK_UP)
    return false;
  struct tg_link_call *call = add_call(link, done, ctx);
  call->name = tg_strdup(name);
  call->body = tg_strdup(body);
  if (!link->forgotten)
    send_call(call);
  return true;
}

bool tg_redis_link_ask(struct tg_redis_link *link, const char *name, json_t *body,
                       tg_redis_link_replied *done, void *ctx)
{
  json_object_set_new(body, "run", json_string(link->run_id));
  json_object_set_new(body, "mark", json_integer(0));
  char *text = json_dumps(body, JSON_COMPACT);
  json_decref(body);
  bool goes = tg_redis_link_call(link, name, text, done, ctx);
  free(text);
  return goes;
}

/* ---- posts ---- */

static void on_posted(void *ctx, const struct tg_redis_reply *replies, int count,
                      const struct tg_error *error)
{
  (void)count;
  (void)error;
  if (replies)
    end_call(ctx, replies);
}

bool tg_redis_link_post(struct tg_redis_link *link, const char *host, const char *word, const char *body,
                        size_t length, tg_redis_link_replied *done, void *ctx)
{
  if (link->state != TG_LINK_UP || length > TG_POST_MAX)
    return false;
  struct tg_buf key = {0}, *out = tg_redis_out(link->calls);
  tg_buf_printf(&key, "%s:cmd:%s", link->key, host);
  tg_resp_begin(out, 10);
  tg_resp_string(out, "XADD");
  tg_resp_text(out, key.data, key.length);
  tg_resp_string(out, "MAXLEN");
  tg_resp_string(out, "~");
  tg_resp_number(out, STREAM_MAX);
  tg_resp_string(out, "*");
  tg_resp_string(out, "word");
  tg_resp_string(out, word);
  tg_resp_string(out, "body");
  tg_resp_text(out, body, length);
  tg_buf_free(&key);
  tg_redis_send(link->calls, 1, on_posted, add_call(link, done, ctx));
  return true;
}
