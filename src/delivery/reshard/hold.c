#include "delivery/reshard/hold.h"

#include "base/buf.h"

#include <stdbool.h>
#include <string.h>

static bool lies_in(struct tg_span part, struct tg_span whole)
{
  return part.at >= whole.at && part.at + part.length <= whole.at + whole.length;
}

/* A name with escapes was written out beside the message. */
static bool has_name_apart(const struct tg_event *event)
{
  return event->name.at && !lies_in(event->name, event->raw);
}

size_t tg_hold_size(const struct tg_event *event)
{
  return sizeof(struct tg_hold) + event->raw.length + (has_name_apart(event) ? event->name.length : 0);
}

static struct tg_span moved(struct tg_span part, struct tg_span whole, const char *to)
{
  return part.at ? (struct tg_span){to + (part.at - whole.at), part.length} : part;
}

struct tg_hold *tg_hold_copy(const struct tg_event *event, enum tg_guild_change change, tg_ms now)
{
  size_t size = tg_hold_size(event);
  struct tg_hold *hold = tg_alloc(size);
  char *text = (char *)(hold + 1), *behind = text + event->raw.length;
  *hold = (struct tg_hold){.event = *event, .change = change, .came_at = now, .size = size};
  memcpy(text, event->raw.at, event->raw.length);
  if (has_name_apart(event))
    hold->event.name.at = memcpy(behind, event->name.at, event->name.length);
  else
    hold->event.name = moved(event->name, event->raw, text);
  hold->event.data = moved(event->data, event->raw, text);
  hold->event.raw.at = text;
  hold->event.replacement = (struct tg_span){0};
  return hold;
}
