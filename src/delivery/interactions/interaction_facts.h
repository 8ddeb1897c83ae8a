#pragma once

/* What has to be known of an interaction to answer it, and
 * what REST's answer to a callback means. Pure functions, no I/O. */

#include "base/clock.h"
#include "base/json_scan.h"

#include <stdbool.h>
#include <stdint.h>

enum tg_interaction_type {
  TG_INTERACTION_COMMAND = 2,
  TG_INTERACTION_COMPONENT = 3,
  TG_INTERACTION_AUTOCOMPLETE = 4,
  TG_INTERACTION_MODAL = 5,
};

enum {
  TG_INTERACTION_LIFE = 3000,             /* so long Discord waits for the first answer */
  TG_INTERACTION_TOKEN_LIFE = 15 * 60000, /* ... and so long for the rest */
};

struct tg_interaction_facts {
  uint64_t id;
  int type;             /* enum tg_interaction_type */
  struct tg_span token; /* as long as the event. It is a secret */
};

/* Reads them out of d of an INTERACTION_CREATE. False: it is not one that could
 * be answered: a type we do not know, or no id or token. */
bool tg_interaction_read(struct tg_span data, struct tg_interaction_facts *facts);

/* Where it is answered, below the base URL of REST. The caller frees it. */
char *tg_interaction_callback_url(const char *rest_url, const struct tg_interaction_facts *facts);

/* When Discord has made the interaction, by Discord's clock: ms since 1970. */
tg_ms tg_interaction_made_at(uint64_t id);

/* The body of the answer that keeps the token alive; of autocompletion, which
 * cannot be deferred, an empty list of choices. */
const char *tg_interaction_deferral(int type);

/* Whether callbacks at that base URL carry rest.authorization: Discord itself
 * wants none, a proxy may. */
bool tg_interaction_wants_authorization(const char *rest_url);

enum tg_callback_verdict {
  TG_CALLBACK_TAKEN,
  TG_CALLBACK_TAKEN_BEFORE, /* 40060: somebody was first: the bot, or an attempt whose answer was lost */
  TG_CALLBACK_TOO_LATE,     /* 10062: Discord does not know it any more */
  TG_CALLBACK_REFUSED,
  TG_CALLBACK_AGAIN, /* in a moment */
};

/* `status` 0: there was no answer. A 500 may be a proxy's for an error of
 * Discord's that is final (proxied_error.h). `*wait`: how long REST wants us to wait, -1
 * if it does not say; `retry_after` is that of the headers. */
enum tg_callback_verdict tg_callback_judge(long status, struct tg_span body, tg_ms retry_after, tg_ms *wait);

/* The end of an answer; `reason` says why it is not taken, and lives only during the call. */
typedef void tg_interaction_answered(void *ctx, bool taken, const char *reason);
