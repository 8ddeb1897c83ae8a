#include "manager/reply.h"

#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void tg_reply_value(tg_manager_reply *reply, void *ctx, json_t *value)
{
  if (reply)
    reply(ctx, value, NULL);
  json_decref(value);
}

void tg_reply_error(tg_manager_reply *reply, void *ctx, const char *code, const char *format, ...)
{
  if (!reply)
    return;
  char text[TG_ERROR_MESSAGE_SIZE];
  va_list list;
  va_start(list, format);
  vsnprintf(text, sizeof text, format, list);
  va_end(list);
  struct tg_error error;
  tg_fail(&error, code, "%s", text);
  reply(ctx, NULL, &error);
}

void tg_waiter_add(struct tg_waiter **list, tg_manager_reply *reply, void *ctx)
{
  struct tg_waiter *waiter = tg_alloc(sizeof *waiter);
  *waiter = (struct tg_waiter){NULL, reply, ctx};
  while (*list)
    list = &(*list)->next;
  *list = waiter;
}

void tg_waiters_end(struct tg_waiter **list, const char *code, const char *text)
{
  struct tg_waiter *waiter = *list;
  *list = NULL; /* a reply may add itself again */
  while (waiter) {
    struct tg_waiter *next = waiter->next;
    if (code)
      tg_reply_error(waiter->reply, waiter->ctx, code, "%s", text);
    else
      tg_reply_value(waiter->reply, waiter->ctx, json_true());
    free(waiter);
    waiter = next;
  }
}
