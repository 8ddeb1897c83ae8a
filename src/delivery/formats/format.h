#pragma once

/* How events look in a request: event_handler.format.
 *
 *     seed         {"shardId":3,"totalShards":16,"epoch":7,"message":{"t":...},"guildCreate":"loading"}
 *     discordeno   {"shardId":3,"totalShards":16,"epoch":7,"payload":{"t":...},"guildCreate":"loading"}
 *     chat-sdk     {"type":"GATEWAY_GUILD_CREATE","timestamp":ms,"data":{...},"guildCreate":"loading"}
 *     cloudevents  {"specversion":"1.0","id":"3.7.42","type":"com.discord.GUILD_CREATE",...,"data":{...}}
 *
 * All are made of the event as it is kept (lanes/body.h). In each the bytes of the message, or of its d, are
 * those that came. Every event has a form in every format, markers, too. Pure functions; nothing of a format
 * is in the lanes or in the log. */

#include "base/buf.h"
#include "base/clock.h"
#include "config/config.h"
#include "delivery/lanes/body.h"
#include "proto/event.h"

/* Appends the event, for that handler; `at`: when it came, ms since 1970. */
void tg_format_write(const struct tg_config *config, const struct tg_handler_config *handler,
                     enum tg_event_format format, const struct tg_stored *event, tg_ms at,
                     struct tg_buf *out);

/* Appends what a request to the bot, or to the sink that it waits for, with this event alone would carry:
 * `body` of scripts. `config` may be NULL: "seed". */
void tg_format_write_event(const struct tg_config *config, const struct tg_event *event, struct tg_buf *out);

/* At most so many bytes more than the body in "seed". */
size_t tg_format_growth(enum tg_event_format format);

/* The Content-Type of a request; `batch`: it has a list of events. */
const char *tg_format_content_type(enum tg_event_format format, bool batch);

/* --- cloudevents.c --- */

/* `data`: what the event carries; `name`: its t, as it stands in the JSON. */
void tg_cloudevent_write(const struct tg_config *config, const struct tg_stored *event, tg_ms at,
                         struct tg_span name, struct tg_span data, struct tg_buf *out);
