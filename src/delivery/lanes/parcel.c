#include "delivery/lanes/parcel.h"

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
  parcel->batch = parcel->lane->lanes->env->config->event_handler.batch;
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

void tg_parcel_put(struct tg_parcel *parcel, struct tg_span body)
{
  struct tg_buf *text = &parcel->text;
  if (parcel->batch && text->length > 0)
    text->data[text->length - 1] = ','; /* in the place of the array's end */
  else if (parcel->batch)
    tg_buf_puts(text, "[");
  tg_buf_append(text, body.at, body.length);
  if (parcel->batch)
    tg_buf_puts(text, "]");
  parcel->body = (struct tg_span){text->data, text->length};
}

void tg_parcel_lend(struct tg_parcel *parcel, struct tg_span body)
{
  if (parcel->batch)
    tg_parcel_put(parcel, body);
  else
    parcel->body = body;
}

void tg_parcel_empty(struct tg_parcel *parcel)
{
  tg_buf_free(&parcel->text);
  parcel->body = (struct tg_span){0};
}
