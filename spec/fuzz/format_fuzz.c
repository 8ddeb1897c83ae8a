/* Events, with any message, in all formats: the message comes out as it went in, what is made of JSON is
 * JSON, and no longer than it was said to be. */

#include "fuzz.h"

#include "delivery/formats/format.h"

#include <jansson.h>

static struct tg_buf in_format(const struct tg_stored *event, enum tg_event_format format)
{
  static char token[] = "MTIz.a.b";
  struct tg_config config = {.token = token};
  config.event_handler.guild_loaded = true;
  struct tg_buf out = {0};
  tg_format_write(&config, &config.event_handler, format, event, 1700000000123, &out);
  require(out.length <= tg_body_length(event) + tg_format_growth(format));
  require(format != TG_FORMAT_SEED || out.length == tg_body_length(event));
  return out;
}

static bool is_object(struct tg_span text)
{
  json_t *json = json_loadb(text.at, text.length, 0, NULL);
  bool is = json_is_object(json);
  json_decref(json);
  return is;
}

static void check(const struct tg_stored *event)
{
  bool whole = event->message.length < 2000 && is_object(event->message); /* jansson reads no deeper */
  for (int format = TG_FORMAT_SEED; format <= TG_FORMAT_CLOUDEVENTS; format++) {
    struct tg_buf out = in_format(event, (enum tg_event_format)format);
    json_t *made = whole ? json_loadb(out.data, out.length, 0, NULL) : NULL;
    require(!whole || json_is_object(made));
    require(!whole || json_is_true(json_object_get(made, "deferred")) == event->deferred);
    json_decref(made);
    tg_buf_free(&out);
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
  fuzz_be_silent();
  if (length == 0)
    return 0;
  char *message = fuzz_text(bytes + 1, length - 1);
  struct tg_stored event = {.shard_id = 3,
                            .total_shards = bytes[0] & 8 ? 16 : 0,
                            .epoch = 7,
                            .sequence = 42,
                            .marker = (enum tg_marker)(bytes[0] / 16 % 3),
                            .guild_create = (enum tg_guild_create)(bytes[0] % 4),
                            .deferred = bytes[0] & 4,
                            .message = {message, length - 1}};
  check(&event);
  free(message);
  return 0;
}
