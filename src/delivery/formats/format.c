#include "delivery/formats/format.h"

#include "delivery/lanes/body.h"
#include "proto/envelope.h"

#include <stdio.h>
#include <string.h>

static void append(struct tg_buf *out, struct tg_span text)
{
  tg_buf_append(out, text.at, text.length);
}

/* The t and d of a message, as they stand. What has no name is named by nothing, and what has no data has
 * null. Of a marker: what it tells, under the name that scripts know it by. */
static void look_inside(const struct tg_body_parts *parts, struct tg_span *name, struct tg_span *data)
{
  struct tg_envelope envelope = {.op = -1};
  *name = tg_marker_name(parts->marker);
  *data = parts->marker ? parts->message : (struct tg_span){"null", 4};
  if (parts->marker)
    return;
  tg_envelope_scan(parts->message.at, parts->message.length, &envelope);
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

static void put_discordeno(const struct tg_config *config, const struct tg_body_parts *parts,
                           struct tg_buf *out)
{
  append(out, parts->head);
  static const char *const keys[] = {[TG_MARKER_NONE] = ",\"payload\":",
                                     [TG_MARKER_GAP] = ",\"gap\":",
                                     [TG_MARKER_HANDOVER] = ",\"resharding\":"};
  tg_buf_puts(out, keys[parts->marker]);
  if (config->event_handler.guild_loaded && parts->guild_create == TG_GUILD_LOADING)
    put_guild_loaded(out, parts->message);
  else
    append(out, parts->message);
  append(out, parts->tail);
}

/* --- chat-sdk ------------------------------------------------------------------------------ */

static void put_chat_sdk(const struct tg_format_event *event, const struct tg_body_parts *parts,
                         struct tg_buf *out)
{
  static const char prefix[] = "GATEWAY_";
  struct tg_span name, data;
  look_inside(parts, &name, &data);
  tg_buf_puts(out, "{\"type\":\"");
  tg_buf_puts(out, parts->marker ? "" : prefix);
  append(out, name);
  tg_buf_printf(out, "\",\"timestamp\":%lld,\"data\":", (long long)event->at);
  append(out, data);
  append(out, parts->tail);
}

/* --- all ------------------------------------------------------------------------------------- */

void tg_format_write(const struct tg_config *config, enum tg_event_format format,
                     const struct tg_format_event *event, struct tg_buf *out)
{
  struct tg_body_parts parts;
  struct tg_span name, data;
  if (format == TG_FORMAT_SEED || !tg_body_read(event->body, &parts)) {
    append(out, event->body);
    return;
  }
  switch (format) {
  case TG_FORMAT_SEED:
    break;
  case TG_FORMAT_DISCORDENO:
    put_discordeno(config, &parts, out);
    break;
  case TG_FORMAT_CHAT_SDK:
    put_chat_sdk(event, &parts, out);
    break;
  case TG_FORMAT_CLOUDEVENTS:
    look_inside(&parts, &name, &data);
    tg_cloudevent_write(config, event, &parts, name, data, out);
    break;
  }
}

void tg_format_write_event(const struct tg_config *config, const struct tg_event *event, struct tg_buf *out)
{
  struct tg_buf kept = {0};
  if (!config || config->event_handler.format == TG_FORMAT_SEED) {
    tg_event_write_body(event, out);
    return;
  }
  tg_event_write_body(event, &kept);
  struct tg_format_event whole = {
      .body = {kept.data, kept.length},
      .shard_id = event->shard_id,
      .epoch = event->epoch,
      .name = tg_parcel_end(event->sequence, event->marker, event->body),
      .at = event->came_at ? tg_wall_at(event->came_at) : tg_wall_clock(),
  };
  tg_format_write(config, config->event_handler.format, &whole, out);
  tg_buf_free(&kept);
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
