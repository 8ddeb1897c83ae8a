#pragma once

/* Op 2 and op 6: who may have a session, and the identify limits
 * of the bot, which all connections share. */

#include "fake_discord/gateway/conn.h"
#include "fake_discord/gateway/session.h"

struct tg_fake_limits {
  tg_ms *buckets; /* at which time (ms since start) the last identify was accepted; -1: never */
  size_t bucket_count;
  tg_ms window_ends; /* of session_start_limit; -1: nothing was used in it */
  bool token_reset;  /* the limit was exceeded, or POST /fault said so: nothing works any more */
};

struct tg_fake_limits *tg_fake_limits_new(void);
void tg_fake_limits_free(struct tg_fake_limits *limits);

/* Fills `remaining` up again when the window is over. */
void tg_fake_limits_roll(struct tg_fake *fake);

/* ms until the window is over; 0: nothing was used in it. */
tg_ms tg_fake_limits_reset_after(struct tg_fake *fake);

/* The token is void from here on: REST answers 401, all sessions end; their
 * connections are closed with `code`. */
void tg_fake_reset_token(struct tg_fake *fake, int code);

/* Forgets when buckets were used and that the token was reset. */
void tg_fake_limits_clear(struct tg_fake *fake);

bool tg_fake_token_is_right(const struct tg_fake *fake, const char *token);

void tg_fake_identify(struct tg_fake_conn *conn, const json_t *d);
/* The second half, which a fault may have put off: READY. */
void tg_fake_identify_finish(struct tg_fake_conn *conn, const struct tg_fake_identify *identify);

void tg_fake_resume(struct tg_fake_conn *conn, const json_t *d);
/* The second half: the replay, and RESUMED. */
void tg_fake_resume_finish(struct tg_fake_conn *conn, const char *session_id, uint64_t seq, bool resumed);
