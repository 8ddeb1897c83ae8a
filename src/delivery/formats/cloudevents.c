#include "delivery/formats/format.h"

#include "delivery/lanes/parcel.h"

#include <stdio.h>
#include <time.h>

/* Structured mode of CloudEvents 1.0. What it has no attribute for are extension attributes, whose names have
 * small letters and digits only:
 *
 *     shardid      number
 *     totalshards  number of shards that the bot has; not there when that is not known
 *     epoch        text, since a number of theirs has 31 bits
 *     sequence     text of ten digits, so that texts sort as the numbers do; a marker has none
 *     guildcreate  "loading", "joined", "available"
 *     deferred     true: it was answered in the place of the event handler
 *     late         true: its shard has gone on at another host meanwhile
 *
 * `id` and `source` together name an event for ever, as the Idempotency-Key does for one bot. */

enum { TIME_SIZE = 40 };

static void write_time(char text[TIME_SIZE], tg_ms at)
{
  time_t seconds = (time_t)(at / 1000);
  struct tm utc;
  size_t length = gmtime_r(&seconds, &utc) ? strftime(text, TIME_SIZE, "%Y-%m-%dT%H:%M:%S", &utc) : 0;
  snprintf(text + length, TIME_SIZE - length, ".%03dZ", (int)(at % 1000));
}

static void put_names(const struct tg_config *config, const struct tg_stored *event, struct tg_buf *out)
{
  char bot[TG_BOT_ID_SIZE], name[TG_PARCEL_END_MAX];
  struct tg_parcel_end end = tg_parcel_end(event);
  tg_config_bot_id(config, bot);
  tg_parcel_end_text(&end, name);
  tg_buf_printf(out, "{\"specversion\":\"1.0\",\"id\":\"%d.%llu.%s\",\"source\":\"/tidegate%s%s/shards/%d\"",
                event->shard_id, (unsigned long long)event->epoch, name, bot[0] ? "/bots/" : "", bot,
                event->shard_id);
}

static void put_extensions(const struct tg_stored *event, struct tg_buf *out)
{
  const char *guild_create = tg_guild_create_name(event->guild_create);
  tg_buf_printf(out, ",\"shardid\":%d", event->shard_id);
  if (event->total_shards > 0)
    tg_buf_printf(out, ",\"totalshards\":%d", event->total_shards);
  tg_buf_printf(out, ",\"epoch\":\"%llu\"", (unsigned long long)event->epoch);
  if (!event->marker)
    tg_buf_printf(out, ",\"sequence\":\"%010llu\"", (unsigned long long)event->sequence);
  if (guild_create)
    tg_buf_printf(out, ",\"guildcreate\":\"%s\"", guild_create);
  if (event->deferred)
    tg_buf_puts(out, ",\"deferred\":true");
  if (event->late)
    tg_buf_puts(out, ",\"late\":true");
}

void tg_cloudevent_write(const struct tg_config *config, const struct tg_stored *event, tg_ms at,
                         struct tg_span name, struct tg_span data, struct tg_buf *out)
{
  char time[TIME_SIZE];
  write_time(time, at);
  put_names(config, event, out);
  tg_buf_puts(out, event->marker ? ",\"type\":\"tidegate." : ",\"type\":\"com.discord.");
  tg_buf_append(out, name.at, name.length);
  tg_buf_printf(out, "\",\"time\":\"%s\",\"datacontenttype\":\"application/json\"", time);
  put_extensions(event, out);
  tg_buf_puts(out, ",\"data\":");
  tg_buf_append(out, data.at, data.length);
  tg_buf_puts(out, "}");
}
