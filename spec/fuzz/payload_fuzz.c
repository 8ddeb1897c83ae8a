/* Payloads and presences that a script or a client of the control API wants sent:
 * refused with words, or good for Discord: what was accepted is accepted again as
 * it goes out, and fits a frame. */

#include "fuzz.h"

#include "proto/payload.h"
#include "proto/presence.h"

static void check_presence(const json_t *given)
{
  struct tg_presence_fault fault = {0};
  json_t *made = tg_presence_normalise(given, &fault);
  if (!made) {
    require(fault.text[0] && memchr(fault.path, '\0', sizeof fault.path) &&
            memchr(fault.text, '\0', sizeof fault.text));
    require(!tg_presence_is_complete(given, &fault));
    return;
  }
  require(tg_presence_is_complete(made, &fault));
  json_t *again = tg_presence_normalise(made, &fault);
  require(again && json_equal(again, made));
  struct tg_buf frame = {0};
  tg_payload_identify(&frame, &(struct tg_identify){.token = "A.TOKEN",
                                                    .total_shards = 1,
                                                    .os = "linux",
                                                    .browser = "tidegate",
                                                    .device = "tidegate",
                                                    .presence = made});
  require(frame.length <= TG_CLIENT_FRAME_MAX);
  json_t *read = json_loadb(frame.data, frame.length, JSON_ALLOW_NUL, NULL);
  require(json_equal(json_object_get(json_object_get(read, "d"), "presence"), made));
  tg_buf_free(&frame);
  json_decref(read);
  json_decref(again);
  json_decref(made);
}

static void check_command(const json_t *payload)
{
  struct tg_error error = {0};
  if (!tg_payload_check_command(payload, &error)) {
    require(error.code[0] && error.message[0]);
    return;
  }
  char *text = json_dumps(payload, JSON_COMPACT);
  require(text && strlen(text) <= TG_CLIENT_FRAME_MAX);
  json_t *again = json_loads(text, JSON_ALLOW_NUL, NULL);
  require(tg_payload_check_command(again, &error));
  json_decref(again);
  free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
  json_t *json =
      length ? json_loadb((const char *)bytes, length, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL) : NULL;
  if (!json)
    return 0;
  check_presence(json);
  check_command(json);
  json_decref(json);
  return 0;
}
