#pragma once

/* Interactions: emitted with an id and a token, answered over REST, and the
 * answers judged. */

#include "fake_discord/wire/http.h"
#include "fake_discord/world/target.h"

struct tg_fake_interactions *tg_fake_interactions_new(void);
void tg_fake_interactions_free(struct tg_fake_interactions *interactions);
void tg_fake_interactions_clear(struct tg_fake_interactions *interactions);

/* {"interaction": 2-5, "count": 1, "guild": "id" | "dm": true, "skew": ms}: the
 * guild defaults to one of the shard's; `skew` shifts the clock in the id. */
json_t *tg_fake_emit_interaction(struct tg_fake *fake, const json_t *request,
                                 const struct tg_fake_target *target, struct tg_error *error);

/* POST /interactions/{id}/{token}/callback: `rest` is what follows "/interactions/". */
void tg_fake_interaction_callback(struct tg_fake *fake, struct tg_fake_http *http,
                                  const struct tg_fake_request *request, const char *rest);

/* /webhooks/{application}/{token}[/messages/{message}]: `rest` is what follows "/webhooks/". */
void tg_fake_webhook(struct tg_fake *fake, struct tg_fake_http *http, const struct tg_fake_request *request,
                     const char *rest);
