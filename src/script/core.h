#pragma once

/* What the script layer asks of the core, as a table: the program's own
 * functions, or those of the test kit (test_kit_core.c), which records what a
 * script wanted. A shard, worker, manager or http client is known here by its
 * pointer alone, so that the kit may hand out its own. */

#include "delivery/delivery.h"
#include "manager/manager.h"
#include "net/http.h"
#include "shard/shard.h"
#include "worker/worker.h"

/* Of queues; the test kit has them in a file of their own. */
#define TG_CORE_QUEUE_FUNCTIONS(X)                                                                           \
  X(delivery_has_sink)                                                                                       \
  X(delivery_queue_figures)                                                                                  \
  X(delivery_queue_next_shard)                                                                               \
  X(delivery_queue_walk)                                                                                     \
  X(delivery_queue_drop)                                                                                     \
  X(delivery_queue_ack)                                                                                      \
  X(delivery_queue_overflow)                                                                                 \
  X(delivery_post)                                                                                           \
  X(delivery_cancel_post)                                                                                    \
  X(delivery_drain_queue)                                                                                    \
  X(delivery_forget_drain)

#define TG_CORE_FUNCTIONS(X)                                                                                 \
  X(shard_id)                                                                                                \
  X(shard_state)                                                                                             \
  X(shard_session_id)                                                                                        \
  X(shard_epoch)                                                                                             \
  X(shard_sequence)                                                                                          \
  X(shard_rtt)                                                                                               \
  X(shard_total)                                                                                             \
  X(shard_is_open)                                                                                           \
  X(shard_safe_requests)                                                                                     \
  X(shard_connect)                                                                                           \
  X(shard_identify)                                                                                          \
  X(shard_resume)                                                                                            \
  X(shard_close)                                                                                             \
  X(shard_heartbeat)                                                                                         \
  X(shard_start_heartbeating)                                                                                \
  X(shard_stop_heartbeating)                                                                                 \
  X(shard_handle_packet)                                                                                     \
  X(shard_request_identify)                                                                                  \
  X(shard_decompressed)                                                                                      \
  X(shard_packet_event)                                                                                      \
  X(shard_presence)                                                                                          \
  X(shard_send)                                                                                              \
  X(worker_shard)                                                                                            \
  X(worker_delivery)                                                                                         \
  X(worker_call_manager)                                                                                     \
  X(worker_broadcast)                                                                                        \
  X(worker_set_storm)                                                                                        \
  X(manager_call_default)                                                                                    \
  X(manager_broadcast)                                                                                       \
  X(manager_set_storm)                                                                                       \
  X(delivery_enqueue)                                                                                        \
  X(delivery_guild_create_kind)                                                                              \
  X(delivery_message_changed)                                                                                \
  X(delivery_answer_interaction)                                                                             \
  X(delivery_cancel_answer)                                                                                  \
  X(http_start)                                                                                              \
  X(http_cancel)

struct tg_core {
#define X(name) __typeof__(tg_##name) *name;
  TG_CORE_FUNCTIONS(X)
  TG_CORE_QUEUE_FUNCTIONS(X)
#undef X
  /* Tells of each error of the script, before it is logged; may be NULL. */
  void (*fault)(struct tg_script *script, const char *what, const char *message);
};

extern const struct tg_core tg_core_real;
