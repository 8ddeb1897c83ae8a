/* The bot's voice connections, of the classes of a worker: voices.h has what is known of them. */

#include "base/log.h"
#include "delivery/delivery_internal.h"
#include "delivery/reshard/seats.h"

#include <string.h>

static struct tg_feed *feed_of(struct tg_seats *seats, uint64_t guild, int side)
{
  int total = side == seats->old_side ? seats->from : seats->to;
  return tg_feed_of(&seats->delivery->feeds, tg_ref_of((int)((guild >> 22) % (uint64_t)total), side));
}

static const char *session_of(const struct tg_feed *feed, struct tg_session *session)
{
  return tg_session_load(feed->row, session) ? session->id : "";
}

void tg_seat_voice(struct tg_seated_class *seated, struct tg_feed *feed, const struct tg_event *event)
{
  struct tg_session old, now;
  uint64_t guild;
  if ((event->type != TG_EVENT_VOICE_STATE_UPDATE && event->type != TG_EVENT_GUILD_CREATE &&
       event->type != TG_EVENT_GUILD_DELETE) ||
      tg_ref_side(feed->ref) == seated->all->old_side || !tg_event_guild_id(event, &guild))
    return;
  const struct tg_feed *left = feed_of(seated->all, guild, seated->all->old_side);
  tg_voices_note(seated->voices, event, guild, session_of(left, &old), session_of(feed, &now));
}

int tg_delivery_each_voice(struct tg_delivery *delivery, int number,
                           void (*each)(void *ctx, tg_shard_ref ref, const struct tg_voice *voice), void *ctx)
{
  struct tg_seats *seats = delivery->seats;
  struct tg_seated_class *seated = tg_seats_find(seats, number);
  const struct tg_voice *voice;
  int count = 0;
  for (int i = 0; seated && (voice = tg_voices_at(seated->voices, i)) != NULL; i++) {
    struct tg_session session;
    const struct tg_feed *left = feed_of(seats, voice->guild, seats->old_side);
    if (strcmp(session_of(left, &session), voice->session) != 0)
      continue; /* that session has ended, and so has the connection */
    count++;
    if (each)
      each(ctx, feed_of(seats, voice->guild, !seats->old_side)->ref, voice);
  }
  return count;
}
