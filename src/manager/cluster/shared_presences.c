#include "manager/cluster/shared_presences.h"

#include "base/buf.h"
#include "base/log.h"
#include "hooks/hooks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

enum { TEXT_MAX = 4096 }; /* bytes; so much takes a frame to Discord */

/* Somebody waits until Redis has it. */
struct setting {
  LIST_ENTRY(setting) link;
  tg_manager_reply *reply;
  void *ctx;
};

struct tg_shared_presences {
  char *host;
  tg_presence_changed *changed;
  void *ctx;
  struct tg_redis_link *link; /* NULL: it has not been up yet, or is gone */
  bool began;                 /* what others of an earlier time have set is known, or over */
  bool reading;
  json_int_t mark; /* of the last change that is known here */
  json_t *texts;   /* "all" or a shard's number -> presence as text */
  LIST_HEAD(, setting) settings;
};

/* ---- what there is ---- */

static void tell(struct tg_shared_presences *shared, const char *of, const char *text)
{
  json_t *presence = text ? json_loads(text, 0, NULL) : NULL;
  char *end;
  long shard_id = strtol(of, &end, 10);
  if (strcmp(of, "all") == 0)
    shared->changed(shared->ctx, TG_ALL_SHARDS, presence);
  else if (!*end && shard_id >= 0 && shard_id < TG_SHARDS_MAX)
    shared->changed(shared->ctx, (int)shard_id, presence);
  json_decref(presence);
}

/* Tells what differs; that of the whole bot comes first, since it ends the others. */
static void take_all(struct tg_shared_presences *shared, json_t *texts)
{
  json_t *before = shared->texts, *text;
  const char *of, *all = json_string_value(json_object_get(texts, "all"));
  const char *was = json_string_value(json_object_get(before, "all"));
  shared->texts = json_incref(texts);
  bool anew = (all || was) && (!all || !was || strcmp(all, was) != 0);
  if (anew)
    tell(shared, "all", all);
  json_object_foreach(before, of, text)
  {
    if (!anew && strcmp(of, "all") != 0 && !json_object_get(texts, of))
      tell(shared, of, NULL);
  }
  json_object_foreach(texts, of, text)
  {
    if (strcmp(of, "all") != 0 && (anew || !json_equal(text, json_object_get(before, of))))
      tell(shared, of, json_string_value(text));
  }
  json_decref(before);
}

void tg_shared_presences_tell(struct tg_shared_presences *shared)
{
  const char *of;
  json_t *text;
  if (json_object_get(shared->texts, "all"))
    tell(shared, "all", json_string_value(json_object_get(shared->texts, "all")));
  json_object_foreach(shared->texts, of, text)
  {
    if (strcmp(of, "all") != 0)
      tell(shared, of, json_string_value(text));
  }
}

static void take_one(struct tg_shared_presences *shared, const char *of, json_t *text)
{
  if (strcmp(of, "all") == 0)
    json_object_clear(shared->texts);
  if (text)
    json_object_set(shared->texts, of, text);
  else
    json_object_del(shared->texts, of);
  tell(shared, of, json_string_value(text));
}

/* ---- reading ---- */

static void read_all(struct tg_shared_presences *shared);

static void on_read(void *ctx, const char *text, size_t length, const struct tg_error *error)
{
  struct tg_shared_presences *shared = ctx;
  shared->reading = false;
  if (error || !shared->link)
    return; /* the next link reads them */
  json_t *answer = json_loadb(text, length, 0, NULL);
  json_t *texts = json_object_get(answer, "texts");
  json_int_t mark = (json_int_t)json_number_value(json_object_get(answer, "mark"));
  shared->began = true;
  if (mark < shared->mark) {
    read_all(shared); /* a change was heard of meanwhile */
  } else if (json_is_object(texts)) {
    shared->mark = mark;
    take_all(shared, texts);
  }
  json_decref(answer);
}

static void read_all(struct tg_shared_presences *shared)
{
  json_t *body = json_pack("{s:s, s:b, s:I, s:O}", "host", shared->host, "fresh", !shared->began, "known",
                           shared->mark, "texts", shared->texts);
  shared->reading = tg_redis_link_ask(shared->link, "presences", body, on_read, shared);
}

void tg_shared_presences_up(struct tg_shared_presences *shared, struct tg_redis_link *link)
{
  shared->link = link;
  if (!shared->reading)
    read_all(shared);
}

bool tg_shared_presences_heard(struct tg_shared_presences *shared, const char *word, const char *body,
                               size_t length)
{
  if (strcmp(word, "present") != 0)
    return false;
  if (!shared->link)
    return true;
  json_t *change = json_loadb(body, length, 0, NULL), *text = json_object_get(change, "text");
  const char *of = json_string_value(json_object_get(change, "of"));
  json_int_t mark = (json_int_t)json_number_value(json_object_get(change, "mark"));
  if (of && mark > shared->mark && (!text || json_is_string(text))) {
    shared->mark = mark;
    take_one(shared, of, text);
  }
  json_decref(change);
  return true;
}

/* ---- setting ---- */

static void on_set(void *ctx, const char *text, size_t length, const struct tg_error *error)
{
  struct setting *setting = ctx;
  (void)text, (void)length;
  tg_manager_reply *reply = setting->reply;
  void *whose = setting->ctx;
  if (reply)
    LIST_REMOVE(setting, link);
  free(setting);
  if (!reply)
    return; /* who waited was told */
  if (error)
    tg_reply_error(reply, whose, "redis_away",
                   "it is not known whether all hosts of the cluster have heard of the presence: %.600s",
                   error->message);
  else
    tg_reply_value(reply, whose, json_true());
}

void tg_shared_presences_set(struct tg_shared_presences *shared, int shard_id, const json_t *presence,
                             tg_manager_reply *reply, void *ctx)
{
  char of[16] = "all";
  char *text = presence ? json_dumps(presence, JSON_COMPACT) : NULL;
  if (shard_id != TG_ALL_SHARDS)
    snprintf(of, sizeof of, "%d", shard_id);
  if (text && strlen(text) > TEXT_MAX) {
    tg_reply_error(reply, ctx, "too_large", "the presence takes more than %d bytes", TEXT_MAX);
  } else if (!shared->link || !tg_redis_link_is_up(shared->link)) {
    tg_reply_error(reply, ctx, "redis_away",
                   "presences are the cluster's, and its Redis, by which hosts hear of them, is away");
  } else {
    struct setting *setting = tg_alloc(sizeof *setting);
    *setting = (struct setting){.reply = reply, .ctx = ctx};
    LIST_INSERT_HEAD(&shared->settings, setting, link);
    json_t *body = json_pack("{s:s, s:I, s:s*}", "of", of, "known", shared->mark, "text", text);
    tg_redis_link_ask(shared->link, "present", body, on_set, setting); /* it is up */
  }
  free(text);
}

/* ---- another program goes on ---- */

json_t *tg_shared_presences_hand_over(const struct tg_shared_presences *shared)
{
  return json_pack("{s:b, s:I, s:O}", "began", shared->began, "mark", shared->mark, "texts", shared->texts);
}

/* Without a word to anybody: those of shards are handed on, too. */
void tg_shared_presences_take_over(struct tg_shared_presences *shared, const json_t *handed)
{
  json_t *texts = json_object_get(handed, "texts");
  if (!json_is_object(texts))
    return;
  shared->began = json_is_true(json_object_get(handed, "began"));
  shared->mark = json_integer_value(json_object_get(handed, "mark"));
  json_decref(shared->texts);
  shared->texts = json_incref(texts);
}

/* ---- life ---- */

struct tg_shared_presences *tg_shared_presences_new(const char *host, tg_presence_changed *changed, void *ctx)
{
  struct tg_shared_presences *shared = tg_calloc(1, sizeof *shared);
  shared->host = tg_strdup(host);
  shared->changed = changed;
  shared->ctx = ctx;
  shared->texts = json_object();
  return shared;
}

void tg_shared_presences_end(struct tg_shared_presences *shared)
{
  struct setting *setting;
  if (!shared)
    return;
  shared->link = NULL;
  while ((setting = LIST_FIRST(&shared->settings))) {
    tg_manager_reply *reply = setting->reply;
    LIST_REMOVE(setting, link);
    setting->reply = NULL;
    tg_reply_error(reply, setting->ctx, "stopping", "the gateway is stopping");
  }
}

void tg_shared_presences_free(struct tg_shared_presences *shared)
{
  if (!shared)
    return;
  tg_shared_presences_end(shared);
  json_decref(shared->texts);
  free(shared->host);
  free(shared);
}
