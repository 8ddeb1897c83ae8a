#pragma once

/* WebSocket framing, server side (RFC 6455). Reading is strict; writing is by
 * hand, because the fake Discord also has to write frames that are wrong. */

#include "base/buf.h"

#include <stdbool.h>
#include <stdint.h>

enum tg_fake_opcode {
  TG_WS_CONTINUATION = 0,
  TG_WS_TEXT = 1,
  TG_WS_BINARY = 2,
  TG_WS_CLOSE = 8,
  TG_WS_PING = 9,
  TG_WS_PONG = 10,
};

struct tg_fake_reader {
  struct tg_buf input;
  size_t used;           /* of input */
  struct tg_buf message; /* payload of the message so far */
  int opcode;            /* of the message being put together; 0: none */
  uint64_t skip;         /* bytes of a frame that was too large */
  bool broken;           /* what follows cannot be read */
};

enum tg_fake_read {
  TG_FAKE_READ_MORE,    /* no whole message or control frame left */
  TG_FAKE_READ_MESSAGE, /* a text or binary message */
  TG_FAKE_READ_CONTROL, /* close, ping, pong */
  TG_FAKE_READ_WRONG,   /* close with `code` */
};

struct tg_fake_frame {
  int opcode;
  const char *payload; /* valid until the next call */
  size_t length;
  int code;           /* READ_WRONG: 1002, 1007, 4002 */
  const char *reason; /* READ_WRONG */
};

void tg_fake_reader_feed(struct tg_fake_reader *reader, const char *bytes, size_t length);
enum tg_fake_read tg_fake_reader_next(struct tg_fake_reader *reader, struct tg_fake_frame *frame);
void tg_fake_reader_free(struct tg_fake_reader *reader);

struct tg_fake_head {
  int opcode;
  bool fin;
  int rsv;     /* 0-7 */
  bool masked; /* with an all zero key: wrong for a server */
};

/* Appends one frame. */
void tg_fake_frame_write(struct tg_buf *out, struct tg_fake_head head, const void *payload, size_t length);

/* The payload of a Close frame in `buffer` (125 bytes); code 0: an empty one. */
size_t tg_fake_close_payload(char *buffer, int code, const char *reason);

/* Whether `code` may stand in a Close frame. */
bool tg_fake_close_code_is_legal(int code);

