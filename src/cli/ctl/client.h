#pragma once

/* The other end of the control API: one question to a running gateway, one
 * answer, with deadlines. */

#include "base/clock.h"
#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>

struct tg_ctl_client;

struct tg_ctl_answer {
  long status;  /* of HTTP */
  json_t *body; /* NULL: empty, or no JSON */
};

/* Reads TIDEGATE_CONTROL ("127.0.0.1:8377" if unset; "unix:/path" is a socket)
 * and TIDEGATE_CONTROL_SECRET. NULL: they cannot be used. */
struct tg_ctl_client *tg_ctl_client_new(struct tg_error *error);
void tg_ctl_client_free(struct tg_ctl_client *client);

/* Asks for an answer without an end, and calls `take` with what comes of it, and while nothing comes about
 * once a second with no bytes, until the gateway ends it, or with false `take`. As tg_ctl_ask() else; what is
 * refused is in `answer`. */
enum tg_exit tg_ctl_stream(struct tg_ctl_client *client, const char *path,
                           bool (*take)(void *ctx, const char *bytes, size_t length), void *ctx,
                           struct tg_ctl_answer *answer, struct tg_error *error);

/* `body` may be NULL. `timeout` is for all of it. Returns TG_EXIT_OK when the
 * answer is 2xx; else the exit code of the program, and `error` says why. Code
 * "unreachable": nobody was there to ask; "refused": the gateway's own words
 * are in the answer. The caller releases the body in any case. */
enum tg_exit tg_ctl_ask(struct tg_ctl_client *client, const char *method, const char *path, const char *body,
                        tg_ms timeout, struct tg_ctl_answer *answer, struct tg_error *error);
