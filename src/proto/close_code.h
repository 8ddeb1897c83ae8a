#pragma once

/* The close code table. */

#include <stdbool.h>

enum tg_close_action {
  TG_CLOSE_RESUME,   /* reconnect and RESUME */
  TG_CLOSE_IDENTIFY, /* the session is gone: reconnect and IDENTIFY */
  TG_CLOSE_STOP,     /* fatal: the same configuration cannot succeed */
};

enum {
  TG_CLOSE_EMPTY = 1005, /* a close frame without a code */
  TG_CLOSE_NONE = 1006,  /* no close frame came: EOF, reset, TLS error */
  TG_CLOSE_DISALLOWED_INTENTS = 4014,
};

/* What to do after the peer closed with `code`. Codes nobody documented resume. */
enum tg_close_action tg_close_action(int code);

/* A short text: "Authentication failed". Never NULL. */
const char *tg_close_meaning(int code);

/* For fatal codes, what the operator has to do; else NULL. */
const char *tg_close_advice(int code);

/* Whether the shard should wait some seconds even for its first try (4008). */
bool tg_close_wants_pause(int code);

/* "resume", "identify", "stop". */
const char *tg_close_action_name(enum tg_close_action action);
bool tg_close_action_parse(const char *name, enum tg_close_action *action);
