#include "base/buf.h"
#include "delivery/lanes/lanes.h"
#include "delivery/sinks/lane_parcel.h"
#include "delivery/sinks/sender.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* The kinds of carriers that a URL can name. */
static const struct {
  const char *scheme;
  struct tg_carrier *(*make)(const struct tg_senders *senders, const char *url);
} kinds[] = {
    {"http:", tg_http_carrier_new},
    {"https:", tg_http_carrier_new},
    {"http+unix:", tg_http_carrier_new},
    {"redis:", tg_redis_carrier_new},
    {"rediss:", tg_redis_carrier_new},
    {"redis+unix:", tg_redis_carrier_new},
};

/* The configuration has let only known ones pass; curl says what is wrong with others. */
static struct tg_carrier *make_carrier(const struct tg_senders *senders, const char *url)
{
  size_t kind = 0, last = sizeof kinds / sizeof *kinds - 1;
  while (kind < last && strncasecmp(url, kinds[kind].scheme, strlen(kinds[kind].scheme)) != 0)
    kind++;
  return kinds[kind].make(senders, url);
}

void tg_senders_begin(struct tg_senders *senders)
{
  senders->script = tg_script_carrier_new(senders);
  LIST_INIT(&senders->posts);
  LIST_INIT(&senders->letters);
  LIST_INIT(&senders->drains);
}

void tg_senders_end(struct tg_senders *senders)
{
  const struct tg_lanes *lanes = senders->lanes;
  for (int i = 0; i < lanes->count; i++)
    if (lanes->at[i]) {
      if (lanes->at[i]->parcel.sender)
        tg_sender_withdraw(&lanes->at[i]->parcel);
      tg_lines_stop(lanes->at[i]);
    }
  tg_script_drains_end(senders);
  tg_posts_free(senders);
  tg_letter_end_all(senders);
  for (int i = 0; i < senders->count; i++)
    tg_sender_retire(senders->at[i]);
  tg_script_carrier_end(senders->script);
}

void tg_senders_free(struct tg_senders *senders)
{
  senders->script->kind->free(senders->script);
  free(senders->at);
}

/* --- configuration ------------------------------------------------------------ */

static bool is_same(const char *url, const char *other)
{
  return url == other || (url && other && strcmp(url, other) == 0);
}

static struct tg_sender *take_sender(struct tg_sender **from, int count, const char *url)
{
  for (int i = 0; i < count; i++) {
    struct tg_sender *sender = from[i];
    if (!sender || !is_same(sender->url, url))
      continue;
    from[i] = NULL;
    return sender;
  }
  return NULL;
}

/* One request a shard at once needs no more. */
static int window_of(const struct tg_handler_config *handler)
{
  return handler->order == TG_ORDERED_BY_GUILD ? TG_IN_FLIGHT_MAX : TG_WINDOW_MAX;
}

static struct tg_sender *sender_for(struct tg_senders *senders, struct tg_sender **old, int old_count,
                                    const char *url)
{
  struct tg_sender *sender = take_sender(old, old_count, url);
  if (!sender)
    return tg_sender_new(senders, url, url ? make_carrier(senders, url) : NULL);
  if (sender->direct)
    sender->direct->kind->reconfigure(sender->direct, senders);
  return sender;
}

bool tg_senders_scripted(const struct tg_senders *senders)
{
  const struct tg_hooks *hooks = senders->env->hooks;
  const struct tg_lanes *lanes = senders->lanes;
  const struct tg_sink_hook *hook = NULL;
  if (lanes->handler->urls.count > 0)
    return false;
  if (lanes->index == TG_SINK_BOT)
    return tg_hooked(hooks, TG_METHOD_delivery_deliver) ||
           tg_hooked(hooks, TG_METHOD_delivery_handle_queue) || hooks->away;
  hook = tg_hook_of_sink(hooks, lanes->name);
  return hook && (hook->set || hook->away);
}

int tg_senders_up(const struct tg_senders *senders)
{
  bool up = true;
  for (int i = 0; i < senders->count; i++)
    up = up && senders->at[i]->circuit.state == TG_CIRCUIT_CLOSED;
  return senders->count > 0 ? up : -1;
}

/* Nobody takes events any more: what waits has nowhere to go. */
static void empty_lane(struct tg_lane *lane)
{
  for (;;) {
    struct tg_queued *event = lane->queue.head;
    while (event && event->in_flight)
      event = event->next;
    if (!event)
      return;
    tg_lane_count(lane, dropped, 1);
    tg_lane_remove(lane, event);
  }
}

static void assign(struct tg_lane *lane, struct tg_sender *sender)
{
  struct tg_sender *before = lane->sender;
  lane->sender = sender;
  if (!sender)
    empty_lane(lane);
  bool by_guild = lane->lanes->handler->order == TG_ORDERED_BY_GUILD; /* it may be its lines' turn now */
  if (lane->state == TG_LANE_READY && (sender != before || by_guild)) {
    tg_sender_forget(&lane->parcel);
    lane->state = TG_LANE_IDLE;
  }
  if (sender != before)
    tg_lines_give_turns_back(lane);
  tg_lane_wants_turn(lane);
}

void tg_senders_reconfigure(struct tg_senders *senders)
{
  struct tg_lanes *lanes = senders->lanes;
  const struct tg_strings *urls = &senders->lanes->handler->urls;
  struct tg_sender **old = senders->at;
  int old_count = senders->count;
  bool scripted = tg_senders_scripted(senders);
  senders->count = urls->count + scripted;
  senders->at = tg_calloc((size_t)senders->count + 1, sizeof *senders->at);
  lanes->keeps = false; /* carriers that want it say so */
  for (int i = 0; i < senders->count; i++)
    senders->at[i] = sender_for(senders, old, old_count, scripted ? NULL : urls->items[i]);
  for (int i = 0; i < senders->count; i++)
    tg_window_set_most(&senders->at[i]->window, window_of(senders->lanes->handler));
  if (!lanes->keeps)
    tg_lanes_release(lanes, INT64_MAX);
  for (int i = 0; i < lanes->count; i++)
    if (lanes->at[i])
      assign(lanes->at[i], tg_senders_of(senders, lanes->at[i]->feed->shard_id));
  for (int i = 0; i < old_count; i++)
    if (old[i])
      tg_sender_retire(old[i]);
  free(old);
  for (int i = 0; i < senders->count; i++)
    tg_sender_pump(senders->at[i]);
}

void tg_senders_hear(struct tg_senders *senders, const char *url, bool up, tg_ms asked)
{
  for (int i = 0; i < senders->count; i++) {
    struct tg_sender *sender = senders->at[i];
    if (sender->url && strcmp(sender->url, url) == 0)
      tg_sender_hear(sender, up, asked);
  }
}
