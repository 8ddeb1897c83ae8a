#pragma once

/* What GET /gateway/bot says, checked. Pure. */

#include "base/clock.h"
#include "base/error.h"
#include "config/config.h"
#include "net/http.h"

#include <jansson.h>
#include <stdbool.h>

enum { TG_GATEWAY_URL_SIZE = 256, TG_MAX_CONCURRENCY = 4096 };

struct tg_gateway_info {
  char url[TG_GATEWAY_URL_SIZE];         /* "": not known */
  int shards;                            /* recommended; 0: not known */
  int total, remaining, max_concurrency; /* session_start_limit; max_concurrency 0: not known */
  tg_ms reset_after;
};

/* From JSON as Discord answers it (and as scripts return it). False: `error`
 * ("bad_answer") says what is missing, out of bounds, or no URL. */
bool tg_gateway_info_parse(const json_t *json, struct tg_gateway_info *info, struct tg_error *error);

/* Whether to go where that says: not if it leads out of TLS, unless a configured
 * URL takes its place. False: `error` ("bad_answer"). */
bool tg_gateway_info_trusted(const struct tg_gateway_info *info, const struct tg_config *config,
                             struct tg_error *error);

json_t *tg_gateway_info_to_json(const struct tg_gateway_info *info);

/* Whether the configuration (gateway_bot) says it all, so that nothing needs
 * to be asked. */
bool tg_gateway_info_configured(const struct tg_config *config);

/* What is configured wins over what was fetched. */
void tg_gateway_info_override(struct tg_gateway_info *info, const struct tg_config *config);

/* Puts usual values where nothing is known (1 bucket, 1000 starts a day). False:
 * url or number of shards are missing; `total_shards` stands in for the latter. */
bool tg_gateway_info_complete(struct tg_gateway_info *info, int total_shards);

/* Judges an answer. NULL: error->code is
 *   "unauthorized"  401: the token is refused; do not ask again
 *   "blocked"       403, or 429 that is not Discord's own: this address is refused, and waiting helps
 *   "rate_limited"  429
 *   "bad_answer"    something else than Discord answers
 *   "unavailable"   no answer, or 5xx: back off and ask again
 * `*retry_after`: what the answer asks to wait, in ms; -1: nothing, or nothing
 * that can be meant (more than a day). */
json_t *tg_gateway_info_judge(const struct tg_http_response *response, const char *url, tg_ms *retry_after,
                              struct tg_error *error);

/* How long to wait after an answer with that code that says when to come again,
 * or after which coming again soon makes it worse: as it was told; else five
 * minutes, doubled with each such answer in a row (`before`: how many there
 * were), up to an hour. -1: the answer is none of these. */
tg_ms tg_gateway_info_wait(const char *code, tg_ms retry_after, int before);
