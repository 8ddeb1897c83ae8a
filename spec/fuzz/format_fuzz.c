/* Bodies, of any message and as any bytes, in all formats: the message comes out as it went in, what is made
 * of JSON is JSON, and no longer than it was said to be. */

#include "fuzz.h"

#include "delivery/formats/format.h"
#include "delivery/lanes/body.h"

#include <jansson.h>

static struct tg_buf in_format(struct tg_span body, enum tg_event_format format, bool marker)
{
  static char token[] = "MTIz.a.b";
  struct tg_config config = {.token = token};
  config.event_handler.guild_loaded = true;
  struct tg_format_event event = {.body = body,
                                  .shard_id = 3,
                                  .epoch = 7,
                                  .name = tg_parcel_end(42, marker, body),
                                  .at = 1700000000123};
  struct tg_buf out = {0};
  tg_format_write(&config, format, &event, &out);
  require(out.length <= body.length + tg_format_growth(format));
  return out;
}

static void check_message(struct tg_span message, enum tg_guild_create kind, bool deferred)
{
  json_t *json = json_loadb(message.at, message.length, 0, NULL);
  bool is_object = json_is_object(json);
  json_decref(json);
  if (!is_object)
    return;
  struct tg_buf body = {0};
  struct tg_body_parts parts;
  struct tg_body_head head = {3, deferred ? 16 : 0, 7};
  tg_body_write(&body, &head, message, kind, deferred);
  require(tg_body_read((struct tg_span){body.data, body.length}, &parts));
  require(parts.total_shards == head.total_shards);
  require(!parts.marker && parts.guild_create == kind && parts.deferred == deferred);
  require(parts.message.length == message.length &&
          memcmp(parts.message.at, message.at, message.length) == 0);
  for (int format = TG_FORMAT_SEED; format <= TG_FORMAT_CLOUDEVENTS; format++) {
    struct tg_buf out = in_format((struct tg_span){body.data, body.length}, format, false);
    json_t *made = json_loadb(out.data, out.length, 0, NULL);
    require(json_is_object(made));
    require(json_is_true(json_object_get(made, "deferred")) == deferred);
    json_decref(made);
    tg_buf_free(&out);
  }
  tg_buf_free(&body);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
  fuzz_be_silent();
  struct tg_span text = {(const char *)bytes, length};
  for (int format = TG_FORMAT_SEED; format <= TG_FORMAT_CLOUDEVENTS; format++) {
    struct tg_buf out = in_format(text, format, format % 2);
    tg_buf_free(&out);
  }
  if (length > 0 && length < 2000) /* what is deeper than that, jansson does not read */
    check_message((struct tg_span){(const char *)bytes + 1, length - 1}, bytes[0] % 4, bytes[0] & 4);
  return 0;
}
