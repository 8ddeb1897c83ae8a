#include "delivery/lanes/parcel.h"

#include "delivery/formats/format.h"
#include "delivery/lanes/lanes.h"

#include <stdio.h>

void tg_parcel_name(struct tg_parcel *parcel, uint64_t epoch, struct tg_parcel_end first,
                    struct tg_parcel_end last, int count, size_t bytes)
{
  parcel->shard_id = parcel->lane->shard_id;
  parcel->epoch = epoch;
  parcel->first = first;
  parcel->last = last;
  parcel->count = count;
  const struct tg_config *config = parcel->lane->lanes->env->config;
  parcel->batch = config->event_handler.batch;
  parcel->format = config->event_handler.format;
  parcel->bytes = parcel->batch ? bytes + (size_t)count + 1 : bytes;
}

static const char *kind_of(const struct tg_parcel_end *end)
{
  return end->marker ? "gap-" : "";
}

void tg_parcel_key(const struct tg_parcel *parcel, char key[TG_PARCEL_KEY_MAX])
{
  const struct tg_parcel_end *first = &parcel->first, *last = &parcel->last;
  int length =
      snprintf(key, TG_PARCEL_KEY_MAX, "%d.%llu.%s%llu", parcel->shard_id, (unsigned long long)parcel->epoch,
               kind_of(first), (unsigned long long)first->sequence);
  if (last->sequence != first->sequence || last->marker != first->marker)
    snprintf(key + length, TG_PARCEL_KEY_MAX - (size_t)length, "-%s%llu", kind_of(last),
             (unsigned long long)last->sequence);
}

static void write_event(struct tg_parcel *parcel, const struct tg_parcel_event *event)
{
  struct tg_format_event whole = {
      .body = event->body,
      .shard_id = parcel->shard_id,
      .epoch = parcel->epoch,
      .sequence = event->name.sequence,
      .marker = event->name.marker,
      .at = tg_wall_at(event->at),
  };
  tg_format_write(parcel->lane->lanes->env->config, parcel->format, &whole, &parcel->text);
}

void tg_parcel_put(struct tg_parcel *parcel, const struct tg_parcel_event *event)
{
  struct tg_buf *text = &parcel->text;
  if (parcel->batch && text->length > 0)
    text->data[text->length - 1] = ','; /* in the place of the array's end */
  else if (parcel->batch)
    tg_buf_puts(text, "[");
  if (parcel->format == TG_FORMAT_SEED)
    tg_buf_append(text, event->body.at, event->body.length);
  else
    write_event(parcel, event);
  if (parcel->batch)
    tg_buf_puts(text, "]");
  parcel->body = (struct tg_span){text->data, text->length};
  if (parcel->format != TG_FORMAT_SEED)
    parcel->bytes = text->length;
}

void tg_parcel_lend(struct tg_parcel *parcel, const struct tg_parcel_event *event)
{
  if (parcel->batch || parcel->format != TG_FORMAT_SEED)
    tg_parcel_put(parcel, event);
  else
    parcel->body = event->body;
}

void tg_parcel_empty(struct tg_parcel *parcel)
{
  tg_buf_free(&parcel->text);
  parcel->body = (struct tg_span){0};
}
