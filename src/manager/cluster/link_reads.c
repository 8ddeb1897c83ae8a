#include "base/buf.h"
#include "manager/cluster/link_impl.h"

#include <stdio.h>
#include <string.h>

/* This host's stream: what other hosts, and the script, have to tell it. */

enum {
  ENTRIES_AT_ONCE = 8, /* each of up to TG_POST_MAX, and 16 MiB are what may come at once (net/resp.h) */
  WORD_SIZE = 64,
};

static bool is_word(const struct tg_redis_reply *reply, const char *word)
{
  return reply->text.at && reply->text.length == strlen(word) &&
         memcmp(reply->text.at, word, reply->text.length) == 0;
}

static struct tg_span field(const struct tg_redis_reply *fields, const char *name)
{
  for (size_t i = 0; fields->kind == TG_REDIS_ARRAY && i + 1 < fields->count; i += 2)
    if (is_word(&fields->items[i], name))
      return fields->items[i + 1].text;
  return (struct tg_span){NULL, 0};
}

static bool read_id(const struct tg_redis_reply *entry, char id[TG_ENTRY_ID_SIZE])
{
  if (entry->kind != TG_REDIS_ARRAY || entry->count != 2 || !entry->items[0].text.at ||
      entry->items[0].text.length >= TG_ENTRY_ID_SIZE)
    return false;
  snprintf(id, TG_ENTRY_ID_SIZE, "%.*s", (int)entry->items[0].text.length, entry->items[0].text.at);
  return true;
}

/* What has other fields than ours is passed by. */
static void hand_over(struct tg_redis_link *link, const struct tg_redis_reply *fields)
{
  struct tg_span word = field(fields, "word"), body = field(fields, "body");
  char text[WORD_SIZE];
  if (!word.at || !body.at || word.length >= sizeof text)
    return;
  snprintf(text, sizeof text, "%.*s", (int)word.length, word.at);
  link->events->posted(link->ctx, text, body.at, body.length);
}

/* [[stream, [[id, fields], ...]]], or nil; before it how many were trimmed, if that was asked. */
static void on_read(void *ctx, const struct tg_redis_reply *replies, int count, const struct tg_error *error)
{
  struct tg_redis_link *link = ctx;
  (void)error;
  if (!replies || !tg_redis_link_all_good(link, link->reads, replies, count))
    return;
  if (link->resting) { /* it is read again */
    link->put_off = true;
    return;
  }
  const struct tg_redis_reply *last = &replies[count - 1];
  const struct tg_redis_reply *stream = last->count > 0 ? &last->items[0] : NULL;
  const struct tg_redis_reply *entries = stream && stream->count == 2 ? &stream->items[1] : NULL;
  for (size_t i = 0; entries && i < entries->count && link->state == TG_LINK_UP; i++) {
    if (!read_id(&entries->items[i], link->last_id))
      continue;
    link->trim_due = true;
    hand_over(link, &entries->items[i].items[1]);
  }
  if (link->state == TG_LINK_UP)
    tg_link_reads_go_on(link);
}

/* What was read is trimmed, but for the last: by that it is known where to go on. */
void tg_link_reads_go_on(struct tg_redis_link *link)
{
  link->put_off = link->resting;
  if (link->resting)
    return;
  struct tg_buf *out = tg_redis_out(link->reads);
  if (link->trim_due) {
    tg_resp_begin(out, 4);
    tg_resp_string(out, "XTRIM");
    tg_resp_string(out, link->stream);
    tg_resp_string(out, "MINID");
    tg_resp_string(out, link->last_id);
  }
  tg_resp_begin(out, 8);
  tg_resp_string(out, "XREAD");
  tg_resp_string(out, "COUNT");
  tg_resp_number(out, ENTRIES_AT_ONCE);
  tg_resp_string(out, "BLOCK");
  tg_resp_number(out, TG_LINK_BLOCK);
  tg_resp_string(out, "STREAMS");
  tg_resp_string(out, link->stream);
  tg_resp_string(out, link->last_id);
  tg_redis_send(link->reads, link->trim_due ? 2 : 1, on_read, link);
  link->trim_due = false;
}

/* Goes on behind what was read last, of this process of Redis; else behind what there is. */
static void on_placed(void *ctx, const struct tg_redis_reply *replies, int count,
                      const struct tg_error *error)
{
  struct tg_redis_link *link = ctx;
  struct tg_redis_facts facts;
  (void)error;
  if (!replies || !tg_redis_link_all_good(link, link->reads, replies, count))
    return;
  tg_redis_facts_read(replies[0].text, &facts);
  memcpy(link->reads_run_id, facts.run_id, sizeof facts.run_id);
  if (strcmp(facts.run_id, link->last_run_id) != 0) {
    strcpy(link->last_id, "0-0");
    if (replies[count - 1].count > 0)
      read_id(&replies[count - 1].items[0], link->last_id);
  }
  link->has_place = true;
  tg_redis_link_go_up_if_ready(link);
}

void tg_link_reads_on_up(void *ctx)
{
  struct tg_redis_link *link = ctx;
  struct tg_buf *out = tg_redis_out(link->reads);
  tg_resp_begin(out, 2);
  tg_resp_string(out, "INFO");
  tg_resp_string(out, "server");
  if (link->clear_due) {
    tg_resp_begin(out, 4);
    tg_resp_string(out, "XTRIM");
    tg_resp_string(out, link->stream);
    tg_resp_string(out, "MAXLEN");
    tg_resp_string(out, "0");
  }
  tg_resp_begin(out, 6);
  tg_resp_string(out, "XREVRANGE");
  tg_resp_string(out, link->stream);
  tg_resp_string(out, "+");
  tg_resp_string(out, "-");
  tg_resp_string(out, "COUNT");
  tg_resp_string(out, "1");
  tg_redis_send(link->reads, link->clear_due ? 3 : 2, on_placed, link);
  link->clear_due = false;
}

/* An entry that is too large to be read is one of nobody's here: what is there goes. */
void tg_link_reads_on_down(void *ctx, const struct tg_error *error)
{
  struct tg_redis_link *link = ctx;
  if (strcmp(error->code, "protocol") == 0)
    link->clear_due = true;
  tg_redis_link_fall(link, error);
}

/* ---- another program goes on ---- */

void tg_redis_link_rest(struct tg_redis_link *link, bool rest)
{
  link->resting = rest;
  if (!rest && link->put_off && link->state == TG_LINK_UP)
    tg_link_reads_go_on(link);
}

json_t *tg_redis_link_hand_over(const struct tg_redis_link *link)
{
  return json_pack("{s:s, s:s}", "run", link->last_run_id, "entry", link->last_id);
}

void tg_redis_link_take_over(struct tg_redis_link *link, const json_t *handed)
{
  const char *run = json_string_value(json_object_get(handed, "run"));
  const char *entry = json_string_value(json_object_get(handed, "entry"));
  if (!run || !entry)
    return;
  snprintf(link->last_run_id, sizeof link->last_run_id, "%s", run);
  snprintf(link->last_id, sizeof link->last_id, "%s", entry);
}
