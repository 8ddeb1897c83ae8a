#include "delivery/sinks/redis_stream.h"

#include "net/redis_refusal.h"
#include "net/resp.h"

#include <stdio.h>
#include <string.h>

const struct tg_redis_reply *tg_redis_info(const struct tg_redis_reply *info, const char *name)
{
  size_t length = strlen(name);
  if (info->kind != TG_REDIS_ARRAY)
    return NULL;
  for (size_t i = 0; i + 1 < info->count; i += 2)
    if (info->items[i].text.length == length && memcmp(info->items[i].text.at, name, length) == 0)
      return &info->items[i + 1];
  return NULL;
}

static bool is_error(const struct tg_redis_reply *reply, const char *text)
{
  size_t length = strlen(text);
  return reply->kind == TG_REDIS_ERROR && reply->text.length >= length &&
         memcmp(reply->text.at, text, length) == 0;
}

bool tg_redis_is_no_key(const struct tg_redis_reply *reply)
{
  return is_error(reply, "ERR no such key");
}

static bool is_no_group(const struct tg_redis_reply *reply)
{
  return is_error(reply, "NOGROUP");
}

static void refuse(const struct tg_redis_stream *stream, const struct tg_redis_reply *reply,
                   struct tg_error *error)
{
  static const char odd[] = "ERR unknown command, or one with another answer than that of Redis 7.0";
  struct tg_span text = reply->kind == TG_REDIS_ERROR ? reply->text : (struct tg_span){odd, sizeof odd - 1};
  tg_redis_refusal(stream->server, text, error);
}

void tg_redis_stream_look(const struct tg_redis_stream *stream, struct tg_buf *out)
{
  tg_resp_begin(out, 2);
  tg_resp_string(out, "XLEN");
  tg_resp_string(out, stream->key);
  tg_resp_begin(out, 3);
  tg_resp_string(out, "XINFO");
  tg_resp_string(out, "GROUPS");
  tg_resp_string(out, stream->key);
}

static void ask_pending(const struct tg_redis_stream *stream, struct tg_span group, struct tg_buf *out)
{
  tg_resp_begin(out, 3);
  tg_resp_string(out, "XPENDING");
  tg_resp_string(out, stream->key);
  tg_resp_text(out, group.at, group.length);
}

static void keep_from(struct tg_redis_stream *stream, struct tg_redis_id id)
{
  if (tg_redis_id_compare(id, stream->keep) < 0)
    stream->keep = id;
}

static uint64_t number_of(const struct tg_redis_reply *info, const char *name)
{
  const struct tg_redis_reply *value = tg_redis_info(info, name);
  return value && value->kind == TG_REDIS_INTEGER && value->integer > 0 ? (uint64_t)value->integer : 0;
}

static void note_slowest(struct tg_redis_stream *stream, struct tg_span name, uint64_t unread,
                         uint64_t pending)
{
  if (stream->slowest[0] && unread + pending <= stream->unread + stream->pending)
    return;
  snprintf(stream->slowest, sizeof stream->slowest, "%.*s", (int)name.length, name.at);
  stream->unread = unread;
  stream->pending = pending;
}

int tg_redis_stream_take_groups(struct tg_redis_stream *stream, const struct tg_redis_reply *replies,
                                struct tg_buf *out, struct tg_error *error)
{
  const struct tg_redis_reply *length = &replies[0], *groups = &replies[1];
  size_t written = out->length;
  int asked = 0;
  stream->slowest[0] = '\0';
  stream->keep = (struct tg_redis_id){UINT64_MAX, UINT64_MAX};
  if (length->kind == TG_REDIS_INTEGER)
    stream->length = (uint64_t)length->integer;
  stream->groups = groups->kind == TG_REDIS_ARRAY ? groups->count : 0;
  if (tg_redis_is_no_key(groups))
    return 0;
  if (groups->kind != TG_REDIS_ARRAY)
    return refuse(stream, groups, error), -1;
  for (size_t i = 0; i < groups->count; i++) {
    const struct tg_redis_reply *group = &groups->items[i], *name = tg_redis_info(group, "name");
    const struct tg_redis_reply *read = tg_redis_info(group, "last-delivered-id");
    struct tg_redis_id id;
    if (!name || !read || !tg_redis_id_read(read->text, &id)) {
      out->length = written;
      return refuse(stream, group, error), -1;
    }
    uint64_t pending = number_of(group, "pending");
    note_slowest(stream, name->text, number_of(group, "lag"), pending);
    id.sequence++;
    keep_from(stream, id);
    if (pending > 0) {
      ask_pending(stream, name->text, out);
      asked++;
    }
  }
  return asked;
}

bool tg_redis_stream_take_pending(struct tg_redis_stream *stream, const struct tg_redis_reply *replies,
                                  int count, struct tg_error *error)
{
  for (int i = 0; i < count; i++) {
    const struct tg_redis_reply *reply = &replies[i];
    struct tg_redis_id oldest;
    if (is_no_group(reply)) /* it is gone meanwhile */
      continue;
    if (reply->kind != TG_REDIS_ARRAY || reply->count < 2)
      return refuse(stream, reply, error), false;
    if (reply->items[1].kind == TG_REDIS_NIL) /* acknowledged meanwhile */
      continue;
    if (!tg_redis_id_read(reply->items[1].text, &oldest))
      return refuse(stream, reply, error), false;
    keep_from(stream, oldest);
  }
  return true;
}

bool tg_redis_stream_trim(struct tg_redis_stream *stream, struct tg_buf *out)
{
  char text[TG_REDIS_ID_SIZE];
  if (stream->groups == 0 || tg_redis_id_compare(stream->keep, stream->trimmed) <= 0)
    return false;
  tg_resp_begin(out, 7);
  tg_resp_string(out, "XTRIM");
  tg_resp_string(out, stream->key);
  tg_resp_string(out, "MINID");
  tg_resp_string(out, "~");
  tg_resp_text(out, text, (size_t)tg_redis_id_write(text, stream->keep));
  tg_resp_string(out, "LIMIT");
  tg_resp_number(out, TG_REDIS_TRIM_MAX);
  return true;
}

bool tg_redis_stream_take_trimmed(struct tg_redis_stream *stream, const struct tg_redis_reply *reply,
                                  struct tg_error *error)
{
  if (reply->kind != TG_REDIS_INTEGER)
    return refuse(stream, reply, error), false;
  uint64_t gone = (uint64_t)reply->integer;
  stream->length -= gone < stream->length ? gone : stream->length;
  if (gone >= TG_REDIS_TRIM_MAX)
    return true;
  stream->trimmed = stream->keep;
  return false;
}
