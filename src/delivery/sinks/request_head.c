#include "delivery/sinks/request_head.h"

#include "base/buf.h"
#include "base/clock.h"
#include "delivery/formats/format.h"

#include <openssl/crypto.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- what all have ------------------------------------------------------------------------ */

static void add_line(struct tg_strings *lines, const char *name, const char *value)
{
  struct tg_buf line = {0};
  tg_buf_printf(&line, "%s: %s", name, value);
  char *text = tg_buf_take(&line);
  tg_strings_add(lines, text);
  free(text);
}

void tg_usual_headers_free(struct tg_usual_headers *usual)
{
  tg_strings_free(&usual->lines);
  free(usual->token);
  OPENSSL_cleanse(usual, sizeof *usual);
}

void tg_usual_headers_read(struct tg_usual_headers *usual, const struct tg_handler_config *handler,
                           const char *token)
{
  const char *name;
  json_t *value;
  tg_usual_headers_free(usual);
  if (handler->authorization)
    add_line(&usual->lines, "Authorization", handler->authorization);
  json_object_foreach(handler->headers, name, value) add_line(&usual->lines, name, json_string_value(value));
  if (handler->format == TG_FORMAT_CHAT_SDK && token) {
    struct tg_buf line = {0};
    tg_buf_printf(&line, "x-discord-gateway-token: %s", token);
    usual->token = tg_buf_take(&line);
  }
  tg_signing_keys_read(&usual->keys, &handler->signing_secrets);
}

/* --- what each has of its own ----------------------------------------------------------------- */

static void put_line(struct tg_request_head *head, const char *line)
{
  head->lines[head->line_count++] = line;
  head->lines[head->line_count] = NULL;
}

__attribute__((format(printf, 2, 3))) static void put_own(struct tg_request_head *head, const char *format,
                                                          ...)
{
  char *line = head->own[head->own_count++];
  va_list args;
  va_start(args, format);
  vsnprintf(line, TG_HEAD_LINE_MAX, format, args);
  va_end(args);
  put_line(head, line);
}

/* What is signed has full stops between its parts, and so has none in the id. */
static void put_signature(struct tg_request_head *head, const struct tg_signing_keys *keys, const char *key,
                          struct tg_span body)
{
  char id[TG_PARCEL_KEY_MAX], timestamp[32], signature[TG_SIGNATURE_MAX];
  snprintf(id, sizeof id, "%s", key);
  for (char *at = id; (at = strchr(at, '.')) != NULL;)
    *at = '_';
  snprintf(timestamp, sizeof timestamp, "%lld", (long long)tg_wall_clock() / 1000);
  tg_sign(keys, id, timestamp, body, signature);
  put_own(head, "webhook-id: %s", id);
  put_own(head, "webhook-timestamp: %s", timestamp);
  put_own(head, "webhook-signature: %s", signature);
}

void tg_request_head_write(struct tg_request_head *head, const struct tg_usual_headers *usual,
                           const struct tg_parcel *parcel, struct tg_span body)
{
  char key[TG_PARCEL_KEY_MAX];
  head->line_count = head->own_count = 0;
  tg_parcel_key(parcel, key);
  put_own(head, "Content-Type: %s", tg_format_content_type(parcel->format, parcel->batch));
  put_own(head, "Idempotency-Key: %s", key);
  for (int i = 0; i < usual->lines.count; i++)
    put_line(head, usual->lines.items[i]);
  if (parcel->format == TG_FORMAT_CHAT_SDK && usual->token)
    put_line(head, usual->token);
  if (usual->keys.count > 0)
    put_signature(head, &usual->keys, key, body);
}
