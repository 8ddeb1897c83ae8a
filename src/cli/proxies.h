#pragma once

/* What the proxies of the environment are used for: said by run at its start,
 * and by check. */

#include "base/error.h"
#include "config/config.h"
#include "net/proxy.h"

#include <jansson.h>

/* [{"what": "REST", "url", "proxy", "variable"}, ...] for all that the
 * configuration connects to; proxy and variable are null where it is reached
 * directly. Empty when no variable names a proxy. */
json_t *tg_proxies_routes(const struct tg_proxies *proxies, const struct tg_config *config);

/* Logs them in one line, if there are any. */
void tg_proxies_log(const struct tg_proxies *proxies, const struct tg_config *config);

/* False: the gateway cannot be reached over what is named for it, as far as its
 * URL is known before it is asked for. */
bool tg_proxies_fit(const struct tg_proxies *proxies, const struct tg_config *config, struct tg_error *error);
