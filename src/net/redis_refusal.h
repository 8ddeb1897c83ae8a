#pragma once

/* What Redis says when it refuses, in words for people, and what to do about it. Pure. */

#include "base/error.h"
#include "base/json_scan.h"

/* `name`: of the Redis; `said`: the text of its error reply. error->code: "auth" where the login, or what it
 * is allowed, is not right (NOAUTH, WRONGPASS, NOPERM); else the first word of the text in lower case, such
 * as "oom", "readonly", "moved". */
void tg_redis_refusal(const char *name, struct tg_span said, struct tg_error *error);
