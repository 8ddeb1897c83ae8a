#pragma once

/* Calls of methods of gateway.manager, from wherever they come: the override of
 * the script if there is one, else the default, which a room of the manager
 * offers:
 *
 *     static const struct tg_default defaults[] = {
 *         {TG_METHOD_manager_kill, kill_default},
 *     };
 *     tg_calls_offer(calls, defaults, 1, commands);
 *
 * Loop thread only. */

#include "hooks/hooks.h"
#include "manager/reply.h"

struct tg_calls;

/* `args` is a list, borrowed. Replies exactly once, whenever it can. */
typedef void tg_default_method(void *room, const json_t *args, tg_manager_reply *reply, void *ctx);

struct tg_default {
  enum tg_method method;
  tg_default_method *run;
};

struct tg_calls *tg_calls_new(struct tg_hooks *hooks);
void tg_calls_offer(struct tg_calls *calls, const struct tg_default *list, size_t count, void *room);
/* Answers overrides that are under way with "cancelled". They may end later all
 * the same: nobody hears of it. */
void tg_calls_end(struct tg_calls *calls);
/* After tg_calls_end(). */
void tg_calls_free(struct tg_calls *calls);

/* See tg_manager_call() and tg_manager_call_default(). */
void tg_call(struct tg_calls *calls, enum tg_method method, const json_t *args, tg_manager_reply *reply,
             void *ctx);
void tg_call_default(struct tg_calls *calls, enum tg_method method, const json_t *args,
                     tg_manager_reply *reply, void *ctx);

/* An inline method that gives a number. An override's result is taken when it
 * is from `low` to `high`; else it is logged and `otherwise` taken. */
int tg_call_int(struct tg_calls *calls, enum tg_method method, const json_t *args, int low, int high,
                int otherwise);

/* NULL, false: no method of gateway.manager. */
const char *tg_manager_method_name(enum tg_method method);
bool tg_manager_method_parse(const char *name, enum tg_method *method);
