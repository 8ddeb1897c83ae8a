#pragma once

/* The numbered messages of emit.h. */

#include "base/error.h"
#include "fake_discord/fake.h"
#include "fake_discord/world/target.h"

#include <jansson.h>

json_t *tg_fake_emit_numbered(struct tg_fake *fake, const json_t *request,
                              const struct tg_fake_target *target, struct tg_error *error);
