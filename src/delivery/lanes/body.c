#include "delivery/lanes/body.h"

#include <stdio.h>

size_t tg_body_prefix(char prefix[TG_BODY_PREFIX_MAX], int shard_id, uint64_t epoch, const char *what)
{
  return (size_t)snprintf(prefix, TG_BODY_PREFIX_MAX, "{\"shardId\":%d,\"epoch\":%llu,\"%s\":", shard_id,
                          (unsigned long long)epoch, what);
}

size_t tg_body_suffix(char suffix[TG_BODY_SUFFIX_MAX], enum tg_guild_create kind, bool deferred)
{
  const char *name = tg_guild_create_name(kind);
  return (size_t)snprintf(suffix, TG_BODY_SUFFIX_MAX, "%s%s%s%s", name ? ",\"guildCreate\":\"" : "",
                          name ? name : "", name ? "\"" : "", deferred ? TG_BODY_DEFERRED : "}");
}

void tg_body_write(struct tg_buf *body, int shard_id, uint64_t epoch, struct tg_span message,
                   enum tg_guild_create kind, bool deferred)
{
  char prefix[TG_BODY_PREFIX_MAX], suffix[TG_BODY_SUFFIX_MAX];
  tg_buf_append(body, prefix, tg_body_prefix(prefix, shard_id, epoch, "message"));
  tg_buf_append(body, message.at, message.length);
  tg_buf_append(body, suffix, tg_body_suffix(suffix, kind, deferred));
}

void tg_event_write_body(const struct tg_event *event, struct tg_buf *body)
{
  if (event->body.at && !event->replacement.at)
    tg_buf_append(body, event->body.at, event->body.length);
  else
    tg_body_write(body, event->shard_id, event->epoch, tg_event_message(event), event->guild_create, false);
}
