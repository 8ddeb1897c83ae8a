#include "delivery/sinks/outcome.h"

#include <string.h>

enum tg_outcome tg_outcome_of(long status, const char *error_code, tg_ms retry_after)
{
  if (status == 0) {
    if (strcmp(error_code, "cancelled") == 0)
      return TG_OUTCOME_CANCELLED;
    if (strcmp(error_code, "poison") == 0)
      return TG_OUTCOME_REFUSED;
    bool wrong = strcmp(error_code, "tls") == 0 || strcmp(error_code, "bad_url") == 0;
    return wrong ? TG_OUTCOME_MISCONFIGURED : TG_OUTCOME_RETRY;
  }
  if (status >= 200 && status < 300)
    return TG_OUTCOME_DELIVERED;
  if (status >= 300 && status < 400)
    return TG_OUTCOME_MISCONFIGURED;
  switch (status) {
  case 401:
  case 403:
  case 404:
  case 410:
    return TG_OUTCOME_MISCONFIGURED;
  case 408:
  case 425:
    return TG_OUTCOME_RETRY;
  case 429:
    return TG_OUTCOME_SLOW_DOWN;
  case 503:
    return retry_after >= 0 ? TG_OUTCOME_BUSY : TG_OUTCOME_RETRY;
  }
  return status >= 400 && status < 500 ? TG_OUTCOME_REFUSED : TG_OUTCOME_RETRY;
}

tg_ms tg_retry_delay(int attempt, double unit)
{
  tg_ms limit = attempt < 7 ? (tg_ms)TG_RETRY_BASE << attempt : TG_RETRY_CAP;
  if (limit > TG_RETRY_CAP)
    limit = TG_RETRY_CAP;
  return (tg_ms)(unit * (double)(limit + 1));
}

tg_ms tg_retry_after(tg_ms retry_after, tg_ms otherwise)
{
  if (retry_after < 0)
    return otherwise;
  return retry_after < TG_RETRY_AFTER_CAP ? retry_after : TG_RETRY_AFTER_CAP;
}

bool tg_refused_for_good(long status, int refusals, tg_ms first, tg_ms now, tg_ms *delay)
{
  *delay = status == TG_TOO_LARGE ? 0 : TG_REFUSAL_DELAY;
  if (status == TG_TOO_LARGE)
    return refusals >= TG_TOO_LARGE_TRIES;
  return refusals >= TG_REFUSALS && now - first >= TG_REFUSAL_PERIOD;
}

const char *tg_outcome_name(enum tg_outcome outcome)
{
  static const char *const names[] = {"delivered", "retry",         "slow_down", "busy",
                                      "refused",   "misconfigured", "cancelled"};
  return (size_t)outcome < sizeof names / sizeof *names ? names[outcome] : "other";
}

/* Of another sink than the bot the keys are its own, and no variable sets them. */
const char *tg_outcome_advice(long status, const char *error_code, bool of_bot)
{
  if (status == 401 || status == 403)
    return of_bot
               ? "it does not accept our Authorization header: set event_handler.authorization "
                 "(EVENT_HANDLER_SECRET_KEY) to the secret it expects"
               : "it does not accept our Authorization header: set the sink's authorization to the secret it "
                 "expects";
  if (status == TG_TOO_LARGE)
    return "raise what its framework takes: express.json({limit}), fastify's bodyLimit, aiohttp's "
           "client_max_size, nginx's client_max_body_size";
  if (status == 404 || status == 410)
    return of_bot ? "nothing takes events at that path: correct event_handler.urls (EVENT_HANDLER_URL)"
                  : "nothing takes events at that path: correct the sink's url";
  if (status >= 300 && status < 400)
    return of_bot ? "it redirects, which is not followed: put the final address into event_handler.urls "
                    "(EVENT_HANDLER_URL)"
                  : "it redirects, which is not followed: put the final address into the sink's url";
  if (strcmp(error_code, "tls") == 0)
    return "the TLS connection is not trusted or cannot be made: check the certificate, tls.ca_file "
           "(TIDEGATE_CA_FILE), and that the port speaks TLS";
  if (strcmp(error_code, "proxy") == 0)
    return "the proxy that the environment names does not let it pass: mend that, or put the handler's host "
           "into no_proxy to reach it directly";
  if (strcmp(error_code, "bad_url") == 0)
    return of_bot ? "correct event_handler.urls (EVENT_HANDLER_URL)" : "correct the sink's url";
  return "it is retried until it answers";
}
