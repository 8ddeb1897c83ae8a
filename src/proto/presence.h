#pragma once

/* Presences, as users write them and as d of op 3 has them. Here, and not in
 * proto/, because the configuration takes one.
 *
 * Whoever takes a presence asks here, so that a mistake is refused where it is
 * made: Discord itself says nothing, or ends the connection. */

#include <jansson.h>
#include <stdbool.h>

enum { TG_PRESENCE_MAX = 3072 }; /* bytes: fits an IDENTIFY beside the token and the rest */

/* What is wrong, and where: "presence" + path + " " + text is a sentence. */
struct tg_presence_fault {
  char path[48];  /* ".activities[2].type"; "" is the presence itself */
  char text[256]; /* "must be one of online, ..., got \"busy\"" */
};

/* Makes d of op 3 out of what users write ({status=, activities=, afk=,
 * since=}, all optional). NULL and `fault` (which may be NULL): it is not a
 * presence. */
json_t *tg_presence_normalise(const json_t *given, struct tg_presence_fault *fault);

/* Whether `d` may be sent as it is: a presence that leaves nothing out. */
bool tg_presence_is_complete(const json_t *d, struct tg_presence_fault *fault);
