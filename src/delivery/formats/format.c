#include "delivery/formats/format.h"

#include "delivery/lanes/body.h"
#include "proto/envelope.h"

#include <stdio.h>
#include <string.h>

static void append(struct tg_buf *out, struct tg_span text)
{
  tg_buf_append(out, text.at, text.length);
}

static void put_tail(struct tg_buf *out, const struct tg_stored *event)
{
  char suffix[TG_BODY_SUFFIX_MAX];
  tg_buf_append(out, suffix, tg_body_suffix(suffix, event));
}

/* The t and d of a message, as they stand. What has no name is named by nothing, and what has no data has
 * null. Of a marker: what it tells, under the name that scripts know it by. */
static void look_inside(const struct tg_stored *event, struct tg_span *name, struct tg_span *data)
{
  struct tg_envelope envelope = {.op = -1};
  *name = tg_marker_name(event->marker);
  *data = event->marker ? event->message : (struct tg_span){"null", 4};
  if (event->marker)
    return;
  tg_envelope_scan(event->message.at, event->message.length, &envelope);
  if (envelope.name.at)
    *name = envelope.name;
  if (envelope.data.at)
    *data = envelope.data;
}

/* --- discordeno -------------------------------------------------------------------------- */

/* The t of a guild that was known from the start is another one there: its handlers tell them apart by it. */
static void put_guild_loaded(struct tg_buf *out, struct tg_span message)
{
  static const char from[] = "GUILD_CREATE", to[] = "GUILD_LOADED_DD";
  struct tg_envelope envelope;
  if (!tg_envelope_scan(message.at, message.length, &envelope) || envelope.name.length != sizeof from - 1 ||
      memcmp(envelope.name.at, from, sizeof from - 1) != 0) {
    append(out, message);
    return;
  }
  const char *behind = envelope.name.at + envelope.name.length;
  tg_buf_append(out, message.at, (size_t)(envelope.name.at - message.at));
  tg_buf_puts(out, to);
  tg_buf_append(out, behind, (size_t)(message.at + message.length - behind));
}

static void put_discordeno(const struct tg_handler_config *handler, const struct tg_stored *event,
                           struct tg_buf *out)
{
  char prefix[TG_BODY_PREFIX_MAX];
  const char *key = event->marker ? tg_marker_key(event->marker) : "payload";
  tg_buf_append(out, prefix, tg_body_prefix(prefix, event, key));
  if (handler->guild_loaded && event->guild_create == TG_GUILD_LOADING)
    put_guild_loaded(out, event->message);
  else
    append(out, event->message);
  put_tail(out, event);
}

/* --- chat-sdk ------------------------------------------------------------------------------ */

static void put_chat_sdk(const struct tg_stored *event, tg_ms at, struct tg_buf *out)
{
  static const char prefix[] = "GATEWAY_";
  struct tg_span name, data;
  look_inside(event, &name, &data);
  tg_buf_puts(out, "{\"type\":\"");
  tg_buf_puts(out, event->marker ? "" : prefix);
  append(out, name);
  tg_buf_printf(out, "\",\"timestamp\":%lld,\"data\":", (long long)at);
  append(out, data);
  put_tail(out, event);
}

/* --- all ------------------------------------------------------------------------------------- */

void tg_format_write(const struct tg_config *config, const struct tg_handler_config *handler,
                     enum tg_event_format format, const struct tg_stored *event, tg_ms at, struct tg_buf *out)
{
  struct tg_span name, data;
  switch (format) {
  case TG_FORMAT_SEED:
    tg_body_write(out, event);
    break;
  case TG_FORMAT_DISCORDENO:
    put_discordeno(handler, event, out);
    break;
  case TG_FORMAT_CHAT_SDK:
    put_chat_sdk(event, at, out);
    break;
  case TG_FORMAT_CLOUDEVENTS:
    look_inside(event, &name, &data);
    tg_cloudevent_write(config, event, at, name, data, out);
    break;
  }
}

void tg_format_write_event(const struct tg_config *config, const struct tg_event *event, struct tg_buf *out)
{
  struct tg_stored stored = tg_event_stored(event);
  struct tg_handler_config of_sink = {.format = (enum tg_event_format)(event->body_format - 1),
                                      .guild_loaded = event->guild_loaded};
  const struct tg_handler_config *handler = event->body_format ? &of_sink
                                            : config           ? &config->event_handler
                                                               : NULL;
  if (!handler || handler->format == TG_FORMAT_SEED)
    tg_body_write(out, &stored);
  else
    tg_format_write(config, handler, handler->format, &stored,
                    event->came_at ? tg_wall_at(event->came_at) : tg_wall_clock(), out);
}

size_t tg_format_growth(enum tg_event_format format)
{
  switch (format) {
  case TG_FORMAT_SEED:
    break;
  case TG_FORMAT_DISCORDENO:
    return 8; /* the longer name of a guild that loads */
  case TG_FORMAT_CHAT_SDK:
    return 64;
  case TG_FORMAT_CLOUDEVENTS:
    return 384;
  }
  return 0;
}

const char *tg_format_content_type(enum tg_event_format format, bool batch)
{
  if (format != TG_FORMAT_CLOUDEVENTS)
    return "application/json";
  return batch ? "application/cloudevents-batch+json" : "application/cloudevents+json";
}
