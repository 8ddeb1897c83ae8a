#pragma once

/* A command as discord.js' RedisGateway writes it into the stream "gateway_send": MessagePack
 * {shardId: 3, payload: {op: 8, d: {...}}}. A payload alone, {op, d}, is for all shards. Pure. */

#include "base/error.h"
#include "base/json_scan.h"
#include "hooks/hooks.h"

#include <jansson.h>

struct tg_gateway_send {
  int shard_id; /* or TG_ALL_SHARDS */
  json_t *payload;
};

/* The caller releases the payload. False: `error` says what is wrong with it, "bad_msgpack", "bad_argument"
 * or "too_large". What Discord takes is not looked at. */
bool tg_gateway_send_read(struct tg_span data, struct tg_gateway_send *command, struct tg_error *error);
