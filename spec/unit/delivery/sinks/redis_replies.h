/* Replies of Redis for units, out of what Redis would send; and what is written to it, as one line of words. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "net/resp.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REPLIES_MAX = 256 };

static struct tg_redis_reply reply_pool[REPLIES_MAX];
static size_t reply_pool_used;
static const char *reply_at;

static struct tg_span reply_line(void)
{
  struct tg_span line = {reply_at, strcspn(reply_at, "\r")};
  reply_at += line.length + 2;
  return line;
}

static void read_reply(struct tg_redis_reply *reply)
{
  char kind = *reply_at++;
  struct tg_span line = reply_line();
  long number = strtol(line.at, NULL, 10);
  *reply = (struct tg_redis_reply){.kind = TG_REDIS_NIL};
  if (kind == '+' || kind == '-') {
    reply->kind = kind == '+' ? TG_REDIS_STATUS : TG_REDIS_ERROR;
    reply->text = line;
  } else if (kind == ':') {
    reply->kind = TG_REDIS_INTEGER;
    reply->integer = number;
  } else if (kind == '$' && number >= 0) {
    reply->kind = TG_REDIS_TEXT;
    reply->text = (struct tg_span){reply_at, (size_t)number};
    reply_at += number + 2;
  } else if (kind == '*' && number >= 0) {
    struct tg_redis_reply *items = &reply_pool[reply_pool_used];
    reply_pool_used += (size_t)number;
    assert_true(reply_pool_used <= REPLIES_MAX);
    for (long i = 0; i < number; i++)
      read_reply(&items[i]);
    reply->kind = TG_REDIS_ARRAY;
    reply->count = (size_t)number;
    reply->items = items;
  }
}

/* They live until the next call. */
static const struct tg_redis_reply *replies_in(const char *text, int *count)
{
  static struct tg_redis_reply replies[REPLIES_MAX];
  reply_pool_used = 0;
  reply_at = text;
  for (*count = 0; *reply_at; ++*count)
    read_reply(&replies[*count]);
  return replies;
}

/* "MULTI | XADD key 7-1 ... | EXEC"; the caller frees it. */
static char *words_in(const struct tg_buf *out)
{
  struct tg_buf text = {0};
  int count = 0;
  const struct tg_redis_reply *commands;
  tg_buf_append(&text, out->data, out->length);
  char *resp = tg_buf_take(&text);
  commands = replies_in(resp, &count);
  for (int i = 0; i < count; i++) {
    if (i > 0)
      tg_buf_puts(&text, " | ");
    for (size_t j = 0; j < commands[i].count; j++)
      tg_buf_printf(&text, "%s%.*s", j > 0 ? " " : "", (int)commands[i].items[j].text.length,
                    commands[i].items[j].text.at);
  }
  free(resp);
  return tg_buf_take(&text);
}
