#pragma once

/* How those who asked the manager for something hear what became of it. */

#include "base/error.h"

#include <jansson.h>

/* `value` is borrowed, any JSON or NULL (nil). Called exactly once. */
typedef void tg_manager_reply(void *ctx, json_t *value, const struct tg_error *error);

/* Steals `value`; NULL: nil. `reply` may be NULL: nobody listens. */
void tg_reply_value(tg_manager_reply *reply, void *ctx, json_t *value);
void tg_reply_error(tg_manager_reply *reply, void *ctx, const char *code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Somebody who waits, in a list of those who wait for the same; NULL: nobody. */
struct tg_waiter {
  struct tg_waiter *next;
  tg_manager_reply *reply;
  void *ctx;
};

void tg_waiter_add(struct tg_waiter **list, tg_manager_reply *reply, void *ctx);
/* Ends all of the list: `code` NULL: true. */
void tg_waiters_end(struct tg_waiter **list, const char *code, const char *text);
