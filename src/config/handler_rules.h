#pragma once

/* What the keys of whoever takes events, the bot or a sink, say together. */

#include "config/config.h"

/* Adds what cannot be; `path`: "event_handler", or "sinks.stats"; `queue`: of what waits for it. */
void tg_check_handler(const char *path, const struct tg_handler_config *handler,
                      const struct tg_queue_config *queue, struct tg_problems *problems);

/* Whether the URL leads to the address that this gateway listens on itself, as far as their texts tell. */
bool tg_url_leads_to(const char *url, const char *listen);

/* The same of each of its URLs: what it would answer to events is no bot's answer. */
void tg_check_handler_urls(const char *path, const struct tg_handler_config *handler, const char *listen,
                           struct tg_problems *problems);

/* Whether `events` leaves none out. */
bool tg_handler_takes_all(const struct tg_handler_config *handler);
bool tg_handler_takes(const struct tg_handler_config *handler, const char *event);
