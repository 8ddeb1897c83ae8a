#pragma once

/* Discord's error inside the answer of a REST proxy that answers each with
 * 500, as those of discordeno's templates and guides do. What they write, by
 * version:
 *
 *     {"message":{"message":"[404] ..\nDiscord error: [10062] ..",
 *                 "cause":{"status":404,"body":{"code":10062,"message":".."}}}}
 *     {"message":{"message":"Failed ..","cause":{"status":404,"body":"{\"code\":10062,..}"}}}
 *     {"status":404,"error":"..","body":"{\"code\":10062,..}","message":".."}
 *     {"message":"[404] ..\n{\"code\":10062,..}"}
 *
 * or any of them without what is around it. Pure, no I/O. */

#include "base/json_scan.h"

#include <stdbool.h>

struct tg_proxied_error {
  int status; /* what Discord answered; 0: not said */
  int code;   /* of Discord's error; 0: not said */
};

/* False: the answer says neither. A number that stands in a text by accident is
 * no code: it has to stand where one of these forms has it. */
bool tg_proxied_error_read(struct tg_span body, struct tg_proxied_error *error);
