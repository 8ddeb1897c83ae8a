#include "proto/payload.h"

#include <inttypes.h>
#include <string.h>

static void put_member(struct tg_buf *out, const char *before, const char *text)
{
  tg_buf_puts(out, before);
  tg_buf_put_json(out, text, strlen(text));
}

static int put_chunk(const char *bytes, size_t length, void *out)
{
  tg_buf_append(out, bytes, length);
  return 0;
}

void tg_payload_identify(struct tg_buf *out, const struct tg_identify *identify)
{
  put_member(out, "{\"op\":2,\"d\":{\"token\":", identify->token);
  put_member(out, ",\"properties\":{\"os\":", identify->os);
  put_member(out, ",\"browser\":", identify->browser);
  put_member(out, ",\"device\":", identify->device);
  tg_buf_printf(out, "},\"compress\":false,\"large_threshold\":%d,\"shard\":[%d,%d],\"intents\":%" PRIu64,
                identify->large_threshold, identify->shard_id, identify->total_shards, identify->intents);
  if (identify->capabilities >= 0)
    tg_buf_printf(out, ",\"capabilities\":%d", identify->capabilities);
  if (identify->presence) {
    tg_buf_puts(out, ",\"presence\":");
    json_dump_callback(identify->presence, put_chunk, out, JSON_COMPACT);
  }
  tg_buf_puts(out, "}}");
}

void tg_payload_resume(struct tg_buf *out, const char *token, const char *session_id, uint64_t sequence)
{
  put_member(out, "{\"op\":6,\"d\":{\"token\":", token);
  put_member(out, ",\"session_id\":", session_id);
  tg_buf_printf(out, ",\"seq\":%" PRIu64 "}}", sequence);
}

void tg_payload_heartbeat(struct tg_buf *out, bool has_sequence, uint64_t sequence)
{
  if (has_sequence)
    tg_buf_printf(out, "{\"op\":1,\"d\":%" PRIu64 "}", sequence);
  else
    tg_buf_puts(out, "{\"op\":1,\"d\":null}");
}
