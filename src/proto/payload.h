#pragma once

/* The frames a shard sends. All functions append one
 * JSON text to `out`. */

#include "base/buf.h"
#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

enum tg_op {
  TG_OP_DISPATCH = 0,
  TG_OP_HEARTBEAT = 1,
  TG_OP_IDENTIFY = 2,
  TG_OP_PRESENCE_UPDATE = 3,
  TG_OP_VOICE_STATE_UPDATE = 4,
  TG_OP_RESUME = 6,
  TG_OP_RECONNECT = 7,
  TG_OP_REQUEST_GUILD_MEMBERS = 8,
  TG_OP_INVALID_SESSION = 9,
  TG_OP_HELLO = 10,
  TG_OP_HEARTBEAT_ACK = 11,
  TG_OP_REQUEST_SOUNDBOARD_SOUNDS = 31,
  TG_OP_REQUEST_CHANNEL_INFO = 43,
};

enum { TG_CLIENT_FRAME_MAX = 4096 }; /* bytes of one client frame */

struct tg_identify {
  const char *token;
  uint64_t intents;
  int shard_id, total_shards;
  int large_threshold;
  int capabilities; /* -1: none are sent */
  const char *os, *browser, *device;
  const json_t *presence; /* d of op 3, or NULL */
};

void tg_payload_identify(struct tg_buf *out, const struct tg_identify *identify);
void tg_payload_resume(struct tg_buf *out, const char *token, const char *session_id, uint64_t sequence);
/* has_sequence false: d is null. */
void tg_payload_heartbeat(struct tg_buf *out, bool has_sequence, uint64_t sequence);

/* Whether `payload` is {"op": 3|4|8|31|43, "d": {...}}, whose text fits a
 * client frame; the reason when not (never sent: Discord closes with 4002 for a frame over 4096 bytes). */
bool tg_payload_check_command(const json_t *payload, struct tg_error *error);
