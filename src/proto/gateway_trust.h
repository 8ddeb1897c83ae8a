#pragma once

/* Where others may lead this process. The URL of the gateway comes from REST, and
 * READY and the state directory say where to resume: the token, and whole sessions,
 * go there. So nobody may lead them out of TLS, and a RESUME stays with whoever runs
 * the gateway. What an operator has configured himself is not judged here. Pure. */

#include "proto/gateway_url.h"

/* Whether the main URL may be taken from who was asked at `asked` (rest.url).
 * False: `error` ("untrusted") says what is wrong with it. */
bool tg_main_url_trusted(const struct tg_gateway_url *url, const char *asked, struct tg_error *error);

/* Whether a session may be resumed at `url`, which somebody has said; `main` is where
 * identifies go. It has to have its port and, unless `main` has none, TLS; and its
 * host, or one of Discord's if that is Discord's. (Which names of others belong
 * together cannot be told from the names.) False: `error` ("untrusted"). */
bool tg_resume_url_trusted(const struct tg_gateway_url *url, const struct tg_gateway_url *main,
                           struct tg_error *error);
