#pragma once

/* Sessions that are behind their time: an event waits before it gets its sequence number. Of one guild events
 * keep their order; those of different guilds may overtake each other. READY and RESUMED do not wait. A
 * session that nobody slowed down has no pace, and costs nothing. */

#include "base/error.h"
#include "fake_discord/fake.h"
#include "fake_discord/world/event.h"

#include <jansson.h>

struct tg_fake_pace;
struct tg_fake_session;

/* POST /pace {"lag": ms, "jitter": ms, "stall": ms, WHO}. Each event waits `lag`, and up to `jitter` more by
 * chance; this is for sessions that there are and for those to come, and of several that fit the newest
 * holds. What is not given is 0. `stall`: the sessions that there are get nothing for so long, once; alone it
 * changes nothing else. */
json_t *tg_fake_pace_post(struct tg_fake *fake, const json_t *request, struct tg_error *error);

/* GET /pace: the requests that hold. */
json_t *tg_fake_paces_to_json(const struct tg_fake *fake);

/* All are in time again; what waits comes when it would have come, and what was stalled at once. */
void tg_fake_paces_clear(struct tg_fake *fake);

/* Of a new session; and at its end. */
void tg_fake_pace_begin(struct tg_fake_session *session);
void tg_fake_pace_end(struct tg_fake_session *session);

/* The session has a pace. Borrows. */
void tg_fake_pace_keep(struct tg_fake_session *session, struct tg_fake_event *event);

/* How many events wait. */
size_t tg_fake_pace_count(const struct tg_fake_session *session);
