#include "base/buf.h"

#include "base/log_writer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *require(void *memory, size_t size)
{
  if (!memory && size > 0) {
    char text[80];
    int length = snprintf(text, sizeof text, "tidegate: out of memory (%zu bytes)\n", size);
    tg_log_writer_put(1, "", text, (size_t)length);
    abort();
  }
  return memory;
}

void *tg_alloc(size_t size) { return require(malloc(size), size); }
void *tg_calloc(size_t count, size_t size) { return require(calloc(count, size), count * size); }
void *tg_realloc(void *memory, size_t size) { return require(realloc(memory, size), size); }
char *tg_strdup(const char *text) { return require(strdup(text), 1); }
char *tg_strndup(const char *text, size_t length) { return require(strndup(text, length), 1); }

char *tg_buf_reserve(struct tg_buf *buf, size_t extra)
{
  size_t need = buf->length + extra;
  if (need > buf->capacity) {
    size_t capacity = buf->capacity ? buf->capacity : 256;
    while (capacity < need)
      capacity *= 2;
    buf->data = tg_realloc(buf->data, capacity);
    buf->capacity = capacity;
  }
  return buf->data + buf->length;
}

void tg_buf_append(struct tg_buf *buf, const void *bytes, size_t length)
{
  if (length == 0)
    return;
  memcpy(tg_buf_reserve(buf, length), bytes, length);
  buf->length += length;
}

void tg_buf_puts(struct tg_buf *buf, const char *text) { tg_buf_append(buf, text, strlen(text)); }

void tg_buf_printf(struct tg_buf *buf, const char *format, ...)
{
  va_list args, again;
  va_start(args, format);
  va_copy(again, args);
  int length = vsnprintf(NULL, 0, format, args);
  va_end(args);
  if (length > 0) {
    vsnprintf(tg_buf_reserve(buf, (size_t)length + 1), (size_t)length + 1, format, again);
    buf->length += (size_t)length;
  }
  va_end(again);
}

void tg_buf_put_json(struct tg_buf *buf, const char *text, size_t length)
{
  tg_buf_puts(buf, "\"");
  for (const char *at = text, *end = text + length; at < end; at++) {
    unsigned char c = (unsigned char)*at;
    if (c == '"' || c == '\\')
      tg_buf_printf(buf, "\\%c", c);
    else if (c < 0x20)
      tg_buf_printf(buf, "\\u%04x", c);
    else
      tg_buf_append(buf, at, 1);
  }
  tg_buf_puts(buf, "\"");
}

void tg_buf_consume(struct tg_buf *buf, size_t length)
{
  if (length == 0)
    return;
  memmove(buf->data, buf->data + length, buf->length - length);
  buf->length -= length;
}

void tg_buf_reset(struct tg_buf *buf, size_t keep)
{
  buf->length = 0;
  if (buf->capacity > keep)
    tg_buf_free(buf);
}

char *tg_buf_take(struct tg_buf *buf)
{
  *tg_buf_reserve(buf, 1) = '\0';
  char *data = buf->data;
  *buf = (struct tg_buf){0};
  return data;
}

void tg_buf_free(struct tg_buf *buf)
{
  free(buf->data);
  *buf = (struct tg_buf){0};
}
