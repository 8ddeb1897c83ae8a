#pragma once

/* Everything that comes to the gateway's listener: the upgrade at "/", and the
 * REST routes under /api/v10. */

#include "fake_discord/wire/http.h"

void tg_fake_rest(struct tg_fake *fake, struct tg_fake_http *http, const struct tg_fake_request *request);
