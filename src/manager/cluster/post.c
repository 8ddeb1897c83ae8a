#include "manager/cluster/post.h"

#include "base/clock.h"
#include "base/timer.h"
#include "manager/cluster/post_impl.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
  ASKS_MAX = 4096,
  CALL_MAX = 256 * 1024,
  ASK_AGAIN = 1000,     /* ms until it is asked whether what was posted was begun, and by whom it should be */
  ANSWER_MARGIN = 7000, /* ms more for the way, and for a worker's answer (commands/sending.c) */
};

/* ---- for both files ---- */

static void on_timer(uv_timer_t *timer);

void tg_post_watch(struct tg_post_office *office)
{
  if (!office->ended && !uv_is_active((uv_handle_t *)office->timer))
    tg_timer_start(office->timer, on_timer, TG_POST_TICK);
}

bool tg_post_call(struct tg_post_office *office, const char *name, json_t *body, tg_redis_link_replied *done,
                  void *ctx)
{
  if (tg_post_is_linked(office)) {
    json_object_set_new(body, "host", json_string(office->host));
    return tg_redis_link_ask(office->link, name, body, done, ctx);
  }
  json_decref(body);
  return false;
}

void tg_post_do(struct tg_post_office *office, enum tg_method method, const json_t *args,
                tg_manager_reply *reply, void *ctx)
{
  office->here = true;
  tg_call_default(office->env->calls, method, args, reply, ctx);
  office->here = false;
}

static bool is_asked_for(enum tg_method method)
{
  switch (method) {
  case TG_METHOD_manager_send_payload:
  case TG_METHOD_manager_get_shard_info:
  case TG_METHOD_manager_kill:
  case TG_METHOD_manager_request_members:
  case TG_METHOD_manager_request_soundboard_sounds:
  case TG_METHOD_manager_join_voice_channel:
  case TG_METHOD_manager_leave_voice_channel:
  case TG_METHOD_manager_reshard:
    return true;
  default:
    return false;
  }
}

bool tg_post_read_call(const char *call, enum tg_method *method, json_t **args)
{
  json_t *text = json_loads(call, 0, NULL), *list = json_object_get(text, "args");
  const char *name = json_string_value(json_object_get(text, "method"));
  bool good = json_is_array(list) && name && tg_manager_method_parse(name, method) && is_asked_for(*method);
  if (good)
    *args = json_incref(list);
  json_decref(text);
  return good;
}

/* ---- the end of a call ---- */

static int shard_of(const struct tg_post_ask *ask)
{
  return ask->ref == TG_POST_LEAD ? -1 : tg_ref_id(ask->ref);
}

/* What the host has that is asked, for errors. */
static void name_it(tg_shard_ref ref, char text[TG_POST_NAME_SIZE])
{
  if (ref == TG_POST_LEAD)
    snprintf(text, TG_POST_NAME_SIZE, "the lead of the cluster");
  else
    snprintf(text, TG_POST_NAME_SIZE, "shard %d", tg_ref_id(ref));
}

static void tell_whose(tg_shard_ref ref, char text[TG_POST_NAME_SIZE])
{
  if (ref == TG_POST_LEAD)
    snprintf(text, TG_POST_NAME_SIZE, "the cluster's leader is to do it");
  else
    snprintf(text, TG_POST_NAME_SIZE, "shard %d is another host's", tg_ref_id(ref));
}

static void release(struct tg_post_ask *ask)
{
  TAILQ_REMOVE(&ask->office->asks, ask, link);
  free(ask->call);
  tg_buf_free(&ask->answer);
  ask->office = NULL;
  if (!ask->calling)
    free(ask);
}

static void fail(struct tg_post_ask *ask, const char *code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Whoever is told may call again. */
static void fail(struct tg_post_ask *ask, const char *code, const char *format, ...)
{
  char text[TG_ERROR_MESSAGE_SIZE];
  tg_manager_reply *reply = ask->reply;
  void *ctx = ask->ctx;
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  release(ask);
  tg_reply_error(reply, ctx, code, "%s", text);
}

static void fail_silent(struct tg_post_ask *ask)
{
  char it[TG_POST_NAME_SIZE];
  name_it(ask->ref, it);
  fail(ask, "timeout",
       "%s is host \"%s\"'s, which has begun, and not answered for %lld ms: it is not known whether it "
       "has done what was asked",
       it, ask->to, (long long)(tg_now() - ask->since));
}

static void fail_undone(struct tg_post_ask *ask)
{
  long long waited = tg_now() - ask->since;
  char it[TG_POST_NAME_SIZE], whose[TG_POST_NAME_SIZE];
  name_it(ask->ref, it);
  tell_whose(ask->ref, whose);
  if (!tg_post_is_linked(ask->office))
    fail(ask, "redis_away", "%s, and the cluster's Redis, by which hosts are asked, is away%s", whose,
         ask->stage == TG_ASK_WAITS ? "" : ": it is not known whether it has done it");
  else if (ask->stage == TG_ASK_WAITS)
    fail(ask, "no_holder", "%s is nobody's at the moment: no host of the cluster has had it for %lld ms", it,
         waited);
  else
    fail(ask, "timeout", "%s is host \"%s\"'s, which has not begun what was asked for %lld ms, and will not",
         it, ask->to, waited);
}

/* ---- asking ---- */

static struct tg_post_ask *find(struct tg_post_office *office, const char *id)
{
  struct tg_post_ask *ask;
  TAILQ_FOREACH(ask, &office->asks, link)
  {
    if (strcmp(ask->id, id) == 0)
      return ask;
  }
  return NULL;
}

/* The shard is this host's now. */
static void do_here(struct tg_post_ask *ask)
{
  struct tg_post_office *office = ask->office;
  tg_manager_reply *reply = ask->reply;
  void *ctx = ask->ctx;
  enum tg_method method;
  json_t *args;
  bool good = tg_post_read_call(ask->call, &method, &args);
  release(ask);
  if (!good)
    return; /* cannot be: it was written here */
  tg_post_do(office, method, args, reply, ctx);
  json_decref(args);
}

static void was_begun(struct tg_post_ask *ask)
{
  if (ask->stage != TG_ASK_BEGUN)
    ask->due = tg_now() + ask->patience + tg_patience(ANSWER_MARGIN);
  ask->stage = TG_ASK_BEGUN;
}

/* True: nobody waits any more for what was called. */
static bool is_over(struct tg_post_ask *ask)
{
  ask->calling = false;
  if (ask->office)
    return false;
  free(ask);
  return true;
}

/* Without an answer it is not known whether Redis has done it: it is asked again, with the same id. */
static void on_called(void *ctx, const char *text, size_t length, const struct tg_error *error)
{
  struct tg_post_ask *ask = ctx;
  if (is_over(ask) || ask->stage == TG_ASK_BEGUN)
    return;
  json_t *answer = error ? NULL : json_loadb(text, length, 0, NULL);
  const char *to = json_string_value(json_object_get(answer, "to"));
  if (error || to)
    ask->stage = TG_ASK_POSTED;
  if (to)
    snprintf(ask->to, sizeof ask->to, "%s", to);
  if (json_is_true(json_object_get(answer, "begun")))
    was_begun(ask);
  else if (json_is_true(json_object_get(answer, "here")))
    do_here(ask);
  json_decref(answer);
}

/* Also what was posted already: to whom has the shard by now, if nobody has begun. */
static void call(struct tg_post_ask *ask)
{
  json_t *body = json_pack("{s:i, s:s, s:s, s:i, s:s}", "shard", shard_of(ask), "id", ask->id, "from",
                           ask->office->host, "hops", 0, "call", ask->call);
  ask->calling = tg_post_call(ask->office, "command", body, on_called, ask);
  ask->again_at = tg_now() + tg_patience(ASK_AGAIN);
}

static void on_withdrawn(void *ctx, const char *text, size_t length, const struct tg_error *error)
{
  struct tg_post_ask *ask = ctx;
  if (is_over(ask))
    return;
  json_t *answer = error ? NULL : json_loadb(text, length, 0, NULL);
  if (json_is_true(json_object_get(answer, "begun")))
    was_begun(ask);
  else
    fail_undone(ask);
  json_decref(answer);
}

/* Its time is over, and nobody is known to have begun. */
static void give_up(struct tg_post_ask *ask)
{
  json_t *body = json_pack("{s:s}", "id", ask->id);
  ask->calling = tg_post_call(ask->office, "withdraw", body, on_withdrawn, ask);
  if (!ask->calling)
    fail_undone(ask);
}

/* One that asks for the same shard waits already: this one goes behind it. */
static bool is_behind_another(const struct tg_post_ask *ask)
{
  const struct tg_post_ask *other;
  TAILQ_FOREACH(other, &ask->office->asks, link)
  {
    if (other != ask && other->ref == ask->ref && other->stage == TG_ASK_WAITS && !other->calling)
      return true;
  }
  return false;
}

static void make_id(struct tg_post_office *office, char id[TG_POST_ID_SIZE])
{
  snprintf(id, TG_POST_ID_SIZE, "%s-%" PRIx64, office->prefix, ++office->ids);
}

static void ask_other(struct tg_post_office *office, tg_shard_ref ref, char *call_text, tg_ms patience,
                      tg_manager_reply *reply, void *ctx)
{
  struct tg_post_ask *ask = tg_calloc(1, sizeof *ask);
  tg_ms now = tg_now();
  *ask = (struct tg_post_ask){.office = office,
                              .ref = ref,
                              .call = call_text,
                              .since = now,
                              .patience = patience,
                              .due = now + patience,
                              .reply = reply,
                              .ctx = ctx};
  make_id(office, ask->id);
  TAILQ_INSERT_TAIL(&office->asks, ask, link);
  if (!is_behind_another(ask))
    call(ask);
  tg_post_watch(office);
}

static int count_asks(const struct tg_post_office *office)
{
  const struct tg_post_ask *ask;
  int count = 0;
  TAILQ_FOREACH(ask, &office->asks, link) count++;
  return count;
}

static void ask_who_has(struct tg_post_office *office, tg_shard_ref ref, enum tg_method method,
                        const json_t *args, tg_ms patience, tg_manager_reply *reply, void *ctx)
{
  char whose[TG_POST_NAME_SIZE];
  tell_whose(ref, whose);
  const char *name = tg_manager_method_name(method);
  json_t *whole = json_pack("{s:s, s:O}", "method", name, "args", args);
  char *text = json_dumps(whole, JSON_COMPACT);
  json_decref(whole);
  if (office->ended || office->env->stopping)
    tg_reply_error(reply, ctx, "stopping", "the gateway is stopping");
  else if (strlen(text) > CALL_MAX)
    tg_reply_error(reply, ctx, "too_large", "gateway.manager:%s: %s, to which no more than %d bytes go", name,
                   whose, CALL_MAX);
  else if (count_asks(office) >= ASKS_MAX)
    tg_reply_error(reply, ctx, "queue_full", "%d commands wait for other hosts already", ASKS_MAX);
  else {
    ask_other(office, ref, text, patience, reply, ctx);
    return;
  }
  free(text);
}

bool tg_post_elsewhere(struct tg_post_office *office, const struct tg_managed_shard *shard,
                       enum tg_method method, const json_t *args, tg_ms patience, tg_manager_reply *reply,
                       void *ctx)
{
  if (!office || shard->held || office->here)
    return false;
  ask_who_has(office, shard->ref, method, args, patience, reply, ctx);
  return true;
}

bool tg_post_asks(const struct tg_post_office *office)
{
  return office && office->here;
}

bool tg_post_to_leader(struct tg_post_office *office, enum tg_method method, const json_t *args,
                       tg_ms patience, tg_manager_reply *reply, void *ctx)
{
  if (!office || office->here)
    return false;
  ask_who_has(office, TG_POST_LEAD, method, args, patience, reply, ctx);
  return true;
}

/* ---- answers ---- */

static void finish(struct tg_post_ask *ask, const char *code)
{
  if (code) {
    fail(ask, code, "%.*s", (int)ask->answer.length, ask->answer.data);
    return;
  }
  json_error_t where;
  json_t *value = json_loadb(ask->answer.data, ask->answer.length, JSON_DECODE_ANY, &where);
  if (!value) {
    fail(ask, "bad_answer", "host \"%s\" has answered what is no JSON: %s", ask->to, where.text);
    return;
  }
  tg_manager_reply *reply = ask->reply;
  void *ctx = ask->ctx;
  release(ask);
  bool is_nil = json_is_null(value);
  if (is_nil)
    json_decref(value);
  tg_reply_value(reply, ctx, is_nil ? NULL : value);
}

static void ask_for_more(struct tg_post_ask *ask)
{
  json_t *more = json_pack("{s:s, s:s, s:i}", "id", ask->id, "from", ask->office->host, "part", ask->parts);
  char *text = json_dumps(more, JSON_COMPACT);
  json_t *body = json_pack("{s:s, s:s, s:s}", "to", ask->to, "word", "more", "body", text);
  ask->wants_more = !tg_post_call(ask->office, "post", body, NULL, NULL);
  json_decref(more);
  free(text);
}

/* A line of JSON {"id", "host", "part", "more", "code"}, and a part of the answer. What comes again, or was
 * not asked for, is passed by. */
static void on_answer(struct tg_post_office *office, const char *body, size_t length)
{
  const char *line_end = memchr(body, '\n', length);
  json_t *header = line_end ? json_loadb(body, (size_t)(line_end - body), 0, NULL) : NULL;
  const char *id = json_string_value(json_object_get(header, "id"));
  const char *host = json_string_value(json_object_get(header, "host"));
  const char *code = json_string_value(json_object_get(header, "code"));
  struct tg_post_ask *ask = id && host ? find(office, id) : NULL;
  if (ask && json_integer_value(json_object_get(header, "part")) == ask->parts) {
    if (code)
      tg_buf_reset(&ask->answer, 0); /* in place of what did not come whole */
    tg_buf_append(&ask->answer, line_end + 1, length - (size_t)(line_end + 1 - body));
    ask->parts++;
    snprintf(ask->to, sizeof ask->to, "%s", host);
    if (json_is_true(json_object_get(header, "more"))) {
      ask->stage = TG_ASK_BEGUN;
      ask->due = tg_now() + TG_POST_READ_MAX;
      ask_for_more(ask);
    } else {
      finish(ask, code);
    }
  }
  json_decref(header);
}

bool tg_post_heard(struct tg_post_office *office, const char *word, const char *body, size_t length)
{
  bool is_command = strcmp(word, "command") == 0, is_more = strcmp(word, "more") == 0;
  if (!is_command && !is_more && strcmp(word, "answer") != 0)
    return false;
  if (office->ended)
    return true;
  if (!is_command && !is_more) {
    on_answer(office, body, length);
    return true;
  }
  json_t *value = json_loadb(body, length, 0, NULL);
  if (is_command)
    tg_post_job_heard(office, value);
  else
    tg_post_job_more(office, value);
  json_decref(value);
  return true;
}

/* ---- time ---- */

/* Whoever is told may call again: the list is walked anew after each. */
static void look_at_asks(struct tg_post_office *office, tg_ms now)
{
  struct tg_post_ask *ask = TAILQ_FIRST(&office->asks);
  while (ask) {
    struct tg_post_ask *next = TAILQ_NEXT(ask, link);
    bool is_late = now >= ask->due, has_begun = ask->stage == TG_ASK_BEGUN;
    if (is_late && (has_begun || !tg_post_is_linked(office))) {
      has_begun ? fail_silent(ask) : fail_undone(ask);
      next = TAILQ_FIRST(&office->asks);
    } else if (ask->wants_more) {
      ask_for_more(ask);
    } else if (!ask->calling && !has_begun && is_late) {
      give_up(ask);
    } else if (!ask->calling && !has_begun && (ask->stage == TG_ASK_WAITS || now >= ask->again_at)) {
      call(ask);
    }
    ask = next;
  }
}

static void look(struct tg_post_office *office)
{
  tg_ms now = tg_now();
  look_at_asks(office, now);
  tg_post_jobs_look(office, now);
  if (!TAILQ_EMPTY(&office->asks) || !LIST_EMPTY(&office->jobs))
    tg_post_watch(office);
}

static void on_timer(uv_timer_t *timer)
{
  look(timer->data);
}

/* Another Redis does not know what became of what was posted. */
static void fail_posted(struct tg_post_office *office)
{
  struct tg_post_ask *ask = TAILQ_FIRST(&office->asks);
  while (ask) {
    bool is_posted = ask->stage == TG_ASK_POSTED;
    char whose[TG_POST_NAME_SIZE];
    tell_whose(ask->ref, whose);
    if (is_posted)
      fail(ask, "redis_away",
           "%s: the cluster's Redis is another one meanwhile, and it is not known "
           "whether what was asked is done",
           whose);
    ask = is_posted ? TAILQ_FIRST(&office->asks) : TAILQ_NEXT(ask, link);
  }
}

void tg_post_up(struct tg_post_office *office, struct tg_redis_link *link)
{
  if (office->ended)
    return;
  office->link = link;
  if (strcmp(office->run_id, tg_redis_link_run_id(link)) != 0)
    fail_posted(office);
  snprintf(office->run_id, sizeof office->run_id, "%s", tg_redis_link_run_id(link));
  look(office);
}

bool tg_post_at_rest(const struct tg_post_office *office)
{
  return !office || LIST_EMPTY(&office->jobs);
}

/* ---- life ---- */

struct tg_post_office *tg_post_new(const struct tg_manager_env *env, const char *host)
{
  struct tg_post_office *office = tg_calloc(1, sizeof *office);
  office->env = env;
  office->host = tg_strdup(host);
  snprintf(office->prefix, sizeof office->prefix, "%" PRIx64, tg_random(UINT64_MAX));
  TAILQ_INIT(&office->asks);
  office->timer = tg_timer_new(env->loop, office);
  return office;
}

void tg_post_end(struct tg_post_office *office)
{
  struct tg_post_ask *ask;
  if (!office || office->ended)
    return;
  office->ended = true;
  uv_timer_stop(office->timer);
  while ((ask = TAILQ_FIRST(&office->asks)))
    fail(ask, "stopping", "the gateway is stopping");
  tg_post_jobs_end(office);
  office->link = NULL;
}

void tg_post_free(struct tg_post_office *office)
{
  if (!office)
    return;
  tg_post_end(office);
  tg_timer_free(office->timer);
  free(office->host);
  free(office);
}
