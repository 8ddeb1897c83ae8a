#pragma once

/* Redis' protocol, RESP 2: commands are written, replies are read. Pure; hiredis' redisReader is behind it.
 */

#include "base/buf.h"
#include "base/error.h"
#include "base/json_scan.h"

#include <stddef.h>
#include <stdint.h>

/* ---- commands ---- */

/* A command of so many words, which follow. */
void tg_resp_begin(struct tg_buf *out, int arguments);
/* A word. Any bytes. */
void tg_resp_text(struct tg_buf *out, const char *at, size_t length);
void tg_resp_string(struct tg_buf *out, const char *text);
void tg_resp_number(struct tg_buf *out, int64_t number);

/* ---- replies ---- */

enum tg_redis_kind {
  TG_REDIS_TEXT,
  TG_REDIS_STATUS,
  TG_REDIS_ERROR,
  TG_REDIS_INTEGER,
  TG_REDIS_NIL,
  TG_REDIS_ARRAY
};

/* A reply, or part of one. Texts have no NUL behind their end. */
struct tg_redis_reply {
  enum tg_redis_kind kind;
  struct tg_span text;                /* TEXT, STATUS, ERROR */
  int64_t integer;                    /* INTEGER */
  size_t count;                       /* ARRAY */
  const struct tg_redis_reply *items; /* ARRAY: one behind the other */
};

/* What the replies may hold together until tg_resp_reset(): bytes of text, and parts; and how many arrays may
 * stand in each other. */
enum { TG_RESP_BYTES_MAX = 16 * 1024 * 1024, TG_RESP_PARTS_MAX = 256 * 1024, TG_RESP_DEPTH_MAX = 7 };

/* Replies out of bytes as they come. */
struct tg_resp_reader;

struct tg_resp_reader *tg_resp_reader_new(void);
void tg_resp_reader_free(struct tg_resp_reader *reader);

/* Copies. False: `error`, as below. */
bool tg_resp_feed(struct tg_resp_reader *reader, const char *bytes, size_t length, struct tg_error *error);

/* The next whole reply; what it points to stands until tg_resp_reset(). 1: there is one; 0: its end has not
 * come yet; -1: what came is no reply, or too large a one ("protocol"). Nothing is read any more then. */
int tg_resp_next(struct tg_resp_reader *reader, struct tg_redis_reply *reply, struct tg_error *error);

/* Room for that many replies, which stands as long as theirs. */
struct tg_redis_reply *tg_resp_room(struct tg_resp_reader *reader, size_t count);

/* The replies so far are not needed any more. Between two replies. */
void tg_resp_reset(struct tg_resp_reader *reader);

/* Of hiredis, as this was built with it: it does not tell by itself. */
const char *tg_resp_library_version(void);
