#include "delivery/lanes/parcel.h"

#include "delivery/formats/format.h"
#include "delivery/lanes/lanes.h"

#include <stdio.h>
#include <string.h>

void tg_parcel_name(struct tg_parcel *parcel, uint64_t epoch, struct tg_parcel_end first,
                    struct tg_parcel_end last, int count, size_t bytes)
{
  parcel->shard_id = parcel->lane->feed->shard_id;
  parcel->epoch = epoch;
  parcel->first = first;
  parcel->last = last;
  parcel->count = count;
  const struct tg_handler_config *handler = parcel->lane->lanes->handler;
  parcel->batch = handler->batch.events > 0;
  parcel->format = handler->format;
  parcel->bytes = parcel->batch ? bytes + (size_t)count + 1 : bytes;
}

struct tg_parcel_end tg_parcel_end(const struct tg_stored *event)
{
  struct tg_parcel_end end = {event->sequence, event->marker, 0};
  if (event->marker == TG_MARKER_HANDOVER)
    tg_handover_other(event->message, event->total_shards, &end.other);
  return end;
}

void tg_parcel_end_text(const struct tg_parcel_end *end, char text[TG_PARCEL_END_MAX])
{
  unsigned long long sequence = end->sequence;
  switch (end->marker) {
  case TG_MARKER_NONE:
    snprintf(text, TG_PARCEL_END_MAX, "%llu", sequence);
    break;
  case TG_MARKER_GAP:
    snprintf(text, TG_PARCEL_END_MAX, "gap-%llu", sequence);
    break;
  case TG_MARKER_HANDOVER:
    snprintf(text, TG_PARCEL_END_MAX, "resharding-%d-%llu", end->other, sequence);
    break;
  }
}

void tg_parcel_key(const struct tg_parcel *parcel, char key[TG_PARCEL_KEY_MAX])
{
  char first[TG_PARCEL_END_MAX], last[TG_PARCEL_END_MAX];
  tg_parcel_end_text(&parcel->first, first);
  tg_parcel_end_text(&parcel->last, last);
  bool one = strcmp(first, last) == 0;
  snprintf(key, TG_PARCEL_KEY_MAX, "%d.%llu.%s%s%s", parcel->shard_id, (unsigned long long)parcel->epoch,
           first, one ? "" : "-", one ? "" : last);
}

void tg_parcel_put(struct tg_parcel *parcel, const struct tg_stored *event, tg_ms at)
{
  const struct tg_lanes *lanes = parcel->lane->lanes;
  struct tg_buf *text = &parcel->text;
  if (text->length == 0)
    tg_buf_reserve(text, parcel->bytes);
  if (parcel->batch && text->length > 0)
    text->data[text->length - 1] = ','; /* in the place of the array's end */
  else if (parcel->batch)
    tg_buf_puts(text, "[");
  if (parcel->format == TG_FORMAT_SEED)
    tg_body_write(text, event);
  else
    tg_format_write(lanes->env->config, lanes->handler, parcel->format, event, tg_wall_at(at), text);
  if (parcel->batch)
    tg_buf_puts(text, "]");
  parcel->body = (struct tg_span){text->data, text->length};
  if (parcel->format != TG_FORMAT_SEED)
    parcel->bytes = text->length;
}

void tg_parcel_empty(struct tg_parcel *parcel)
{
  tg_buf_free(&parcel->text);
  parcel->body = (struct tg_span){0};
}
