#pragma once

/* Every method that a script may override, once: the
 * hooks, the Lua tables, `tidegate check` and the documentation spec are made
 * from this list.
 *
 * X(table, method, waits): waits = 1 runs in a coroutine and may wait. */

#define TG_METHODS(X)                                                                                        \
  X(manager, fetch_gateway_bot, 1)                                                                           \
  X(manager, calculate_total_shards, 0)                                                                      \
  X(manager, calculate_worker_id, 0)                                                                         \
  X(manager, calculate_shard_id, 0)                                                                          \
  X(manager, prepare_buckets, 0)                                                                             \
  X(manager, spawn_shards, 1)                                                                                \
  X(manager, tell_worker_to_identify, 1)                                                                     \
  X(manager, request_identify, 1)                                                                            \
  X(manager, send_payload, 1)                                                                                \
  X(manager, get_shard_info, 0)                                                                              \
  X(manager, kill, 1)                                                                                        \
  X(manager, shutdown, 1)                                                                                    \
  X(manager, edit_bot_status, 1)                                                                             \
  X(manager, edit_shard_status, 1)                                                                           \
  X(manager, request_members, 1)                                                                             \
  X(manager, request_soundboard_sounds, 1)                                                                   \
  X(manager, join_voice_channel, 1)                                                                          \
  X(manager, leave_voice_channel, 1)                                                                         \
  X(manager, resharding_needed, 1)                                                                           \
  X(manager, reshard, 1)                                                                                     \
  X(manager, tell_worker_to_prepare, 1)                                                                      \
  X(manager, on_resharding_switch, 1)                                                                        \
  X(manager, handle_worker_exit, 0)                                                                          \
  X(shard, connect, 0)                                                                                       \
  X(shard, identify, 0)                                                                                      \
  X(shard, resume, 0)                                                                                        \
  X(shard, close, 0)                                                                                         \
  X(shard, shutdown, 0)                                                                                      \
  X(shard, request_identify, 1)                                                                              \
  X(shard, send, 0)                                                                                          \
  X(shard, is_open, 0)                                                                                       \
  X(shard, calculate_safe_requests, 0)                                                                       \
  X(shard, make_presence, 1)                                                                                 \
  X(shard, heartbeat, 0)                                                                                     \
  X(shard, start_heartbeating, 0)                                                                            \
  X(shard, stop_heartbeating, 0)                                                                             \
  X(shard, decompress_packet, 0)                                                                             \
  X(shard, handle_packet, 0)                                                                                 \
  X(shard, handle_close, 0)                                                                                  \
  X(delivery, handle_discord_payload, 0)                                                                     \
  X(delivery, deliver, 1)                                                                                    \
  X(delivery, retry_delay, 0)                                                                                \
  X(delivery, is_delivered, 0)                                                                               \
  X(delivery, queue_overflow, 0)                                                                             \
  X(delivery, handle_interaction_queueing, 1)                                                                \
  X(delivery, handle_queue, 1)                                                                               \
  X(cache, guild_create_kind, 0)                                                                             \
  X(cache, message_changed, 0)

enum tg_method {
#define X(table, method, waits) TG_METHOD_##table##_##method,
  TG_METHODS(X)
#undef X
      TG_METHOD_COUNT
};

/* Life-cycle events of gateway.on, in lower case. */
#define TG_LIFE_EVENTS(X)                                                                                    \
  X(connecting)                                                                                              \
  X(connected)                                                                                               \
  X(hello)                                                                                                   \
  X(identifying)                                                                                             \
  X(ready)                                                                                                   \
  X(resuming)                                                                                                \
  X(resumed)                                                                                                 \
  X(disconnected)                                                                                            \
  X(invalid_session)                                                                                         \
  X(requested_reconnect)                                                                                     \
  X(heartbeat)                                                                                               \
  X(heartbeat_ack)                                                                                           \
  X(guilds_loaded)                                                                                           \
  X(handler_down)                                                                                            \
  X(handler_up)                                                                                              \
  X(resharding)                                                                                              \
  X(reload)                                                                                                  \
  X(load)                                                                                                    \
  X(unload)

enum tg_life {
#define X(name) TG_LIFE_##name,
  TG_LIFE_EVENTS(X)
#undef X
      TG_LIFE_COUNT
};
