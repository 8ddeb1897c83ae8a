/* What waits for sinks, for people who look at it, or want it gone. */

#include "base/utf8.h"
#include "proto/event_types.h"
#include "worker/worker_impl.h"

#include <stdlib.h>
#include <string.h>

/* False: that has been said. */
static bool is_there(struct tg_worker *worker, const struct tg_message *message, const char *sink)
{
  struct tg_error error;
  if (!worker->delivery || worker->exited || worker->stopping)
    tg_fail(&error, "not_ready", "worker %d has no queues now", worker->options.worker_id);
  else if (!tg_delivery_has_queue(worker->delivery, sink))
    tg_fail(&error, "no_sink", "there is no sink \"%s\"", sink);
  else
    return true;
  tg_ipc_answer(worker->ipc, message->nonce, NULL, &error);
  return false;
}

void tg_worker_on_queue_types(struct tg_worker *worker, const struct tg_message *message)
{
  const struct tg_message_queue_types *asked = &message->queue_types;
  if (!is_there(worker, message, asked->sink))
    return;
  struct tg_queue_of_type *types = tg_calloc(TG_EVENT_TYPE_MAX, sizeof *types);
  uint64_t on_disk = tg_delivery_queue_types(worker->delivery, asked->sink, asked->shard_id, types);
  json_t *list = json_object();
  for (int i = 0; i < TG_EVENT_TYPE_MAX; i++)
    if (types[i].events > 0)
      json_object_set_new(list, tg_event_type_name((uint16_t)i),
                          json_pack("[I, I, I]", (json_int_t)types[i].events, (json_int_t)types[i].bytes,
                                    (json_int_t)types[i].oldest));
  free(types);
  tg_ipc_answer(worker->ipc, message->nonce,
                json_pack("{s:o, s:I}", "types", list, "onDisk", (json_int_t)on_disk), NULL);
}

static struct tg_queue_cursor read_cursor(const json_t *cursor)
{
  return (struct tg_queue_cursor){
      .lane = (int)json_integer_value(json_array_get(cursor, 0)),
      .order = (int)json_integer_value(json_array_get(cursor, 1)),
      .after = (tg_log_position)json_integer_value(json_array_get(cursor, 2)),
  };
}

void tg_worker_on_discard_queue(struct tg_worker *worker, const struct tg_message *message)
{
  const struct tg_message_discard_queue *asked = &message->discard_queue;
  if (!is_there(worker, message, asked->sink))
    return;
  struct tg_queue_filter filter = {.shard_id = asked->shard_id,
                                   .any_type = asked->event[0] == '\0',
                                   .type = tg_event_type(asked->event, strlen(asked->event)),
                                   .before = asked->before};
  struct tg_queue_cursor at = read_cursor(asked->cursor);
  bool unknown = !filter.any_type && filter.type == TG_EVENT_OTHER; /* others share that number */
  uint64_t discarded = unknown ? 0 : tg_delivery_discard(worker->delivery, asked->sink, &filter, &at);
  json_t *data = json_pack("{s:I}", "discarded", (json_int_t)discarded);
  if (!unknown && !at.done)
    json_object_set_new(data, "cursor", json_pack("[i, i, I]", at.lane, at.order, (json_int_t)at.after));
  tg_ipc_answer(worker->ipc, message->nonce, data, NULL);
}

/* ---- events as they pass ---- */

void tg_worker_on_tap(struct tg_worker *worker, const struct tg_message *message)
{
  json_decref(worker->tap);
  worker->tap = json_deep_copy(message->tap.viewers);
  if (worker->delivery)
    tg_delivery_tap(worker->delivery, worker->tap);
}

void tg_worker_tapped(void *ctx, int64_t viewer, const char *line)
{
  struct tg_worker *worker = ctx;
  tg_say(worker->ipc, tapped, .viewer = viewer, .line = line);
}
