#pragma once

/* How a type of event differs between sessions of different numbers of shards. */

#include "base/error.h"
#include "fake_discord/fake.h"
#include "fake_discord/gateway/session.h"

#include <jansson.h>

/* POST /differ {"event": "PRESENCE_UPDATE", "total": 8, "how": "built" | "missing" | "same"}: what sessions
 * of so many shards get of that type. "built": d has one key more than that of the others, "built_for": 8;
 * "missing": nothing; "same": as at the start. */
json_t *tg_fake_differ_post(struct tg_fake *fake, const json_t *request, struct tg_error *error);

/* GET /differ: the requests that hold. */
json_t *tg_fake_differ_to_json(const struct tg_fake *fake);

/* Puts the event into the session's log, as sessions of its kind see it. False: they do not. */
bool tg_fake_give(struct tg_fake_session *session, struct tg_fake_event *event);
