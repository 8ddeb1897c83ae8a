#pragma once

/* MessagePack: JSON text becomes it, and it becomes JSON values.
 *
 *     tg_msgpack_put_map(&out, 2);
 *     tg_msgpack_put_text(&out, "shardId", 7);
 *     tg_msgpack_put_int(&out, 3);
 *     tg_msgpack_put_text(&out, "payload", 7);
 *     if (!tg_msgpack_put_json(&out, message))
 *       ... no JSON
 *
 * Every value is written in the shortest form there is for it, as the writers of
 * other languages do. Nothing here keeps memory of its own. */

#include "base/buf.h"
#include "base/error.h"
#include "base/json_scan.h"

#include <jansson.h>

enum { TG_MSGPACK_DEPTH = 128 }; /* containers inside of each other */

/* The head of a map; `count` keys and values have to follow. */
void tg_msgpack_put_map(struct tg_buf *out, uint32_t count);
void tg_msgpack_put_int(struct tg_buf *out, int64_t number);
/* The text has to be UTF-8. */
void tg_msgpack_put_text(struct tg_buf *out, const char *text, size_t length);

/* One JSON value, read once from its beginning to its end, without a tree. Whole
 * numbers stay whole as far as 64 bits go, all others become doubles; bytes that
 * are not UTF-8, and halves of surrogate pairs, become U+FFFD. False: it is no
 * JSON, or too deep; `out` is as it was. */
bool tg_msgpack_put_json(struct tg_buf *out, struct tg_span json);

/* A new reference to the one value that the bytes are. NULL: "bad_msgpack", as is
 * what JSON has no word for: bytes, extensions, numbers beyond int64 or not finite,
 * keys that are no text. */
json_t *tg_msgpack_read(struct tg_span bytes, struct tg_error *error);
