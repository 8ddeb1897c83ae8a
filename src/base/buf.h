#pragma once

/* A growable run of bytes.
 *
 *     struct tg_buf body = {0};
 *     tg_buf_printf(&body, "{\"shardId\":%d,", shard_id);
 *     tg_buf_append(&body, bytes, length);
 *     ...
 *     tg_buf_free(&body);
 *
 * A zeroed struct is an empty buffer. The memory is the buffer's until
 * tg_buf_free() or tg_buf_take(). A daemon that cannot get memory for its
 * bookkeeping is finished: growth that fails aborts the process. Sizes that a
 * peer decides are limited by the caller before they get here. */

#include <stddef.h>

struct tg_buf {
  char *data;
  size_t length;
  size_t capacity;
};

/* Makes room for `extra` bytes behind the content and returns where they go.
 * The caller adds what it wrote to `length`. */
char *tg_buf_reserve(struct tg_buf *buf, size_t extra);

void tg_buf_append(struct tg_buf *buf, const void *bytes, size_t length);
void tg_buf_puts(struct tg_buf *buf, const char *text);
void tg_buf_printf(struct tg_buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The text as a JSON string, with quotes and escapes. */
void tg_buf_put_json(struct tg_buf *buf, const char *text, size_t length);

/* Removes the first `length` bytes. */
void tg_buf_consume(struct tg_buf *buf, size_t length);

/* Empties; gives memory back when more than `keep` bytes are held. */
void tg_buf_reset(struct tg_buf *buf, size_t keep);

/* NUL-terminates and hands the memory to the caller, who frees it. */
char *tg_buf_take(struct tg_buf *buf);

void tg_buf_free(struct tg_buf *buf);

/* malloc and friends that abort on failure. */
void *tg_alloc(size_t size);
void *tg_calloc(size_t count, size_t size);
void *tg_realloc(void *memory, size_t size);
char *tg_strdup(const char *text);
char *tg_strndup(const char *text, size_t length);
