#pragma once

/* Events that are equal, byte by byte, to others of their guild: presences, voice states and typing of two
 * users. A number would tell them apart, so they have none; how many there were is counted. */

#include "base/error.h"
#include "fake_discord/fake.h"

#include <jansson.h>

/* POST /emit {"repeat": "PRESENCE_UPDATE" | "VOICE_STATE_UPDATE" | "TYPING_START", "guild": "id", "user": 0,
 * "count": 1}. */
json_t *tg_fake_emit_repeats(struct tg_fake *fake, const json_t *request, struct tg_error *error);

/* One of any kind, guild and user, if somebody wants it. */
void tg_fake_repeat_any(struct tg_fake *fake);

/* Of GET /sent: [{event, guild, user (its id), count}]. */
json_t *tg_fake_repeats_to_json(const struct tg_fake *fake);

/* The counts begin at 0 again. */
void tg_fake_repeats_reset(struct tg_fake *fake);
