#include "fake_discord/wire/websocket.h"

#include "base/utf8.h"
#include "proto/payload.h"

#include <stdio.h>
#include <string.h>

void tg_fake_reader_feed(struct tg_fake_reader *reader, const char *bytes, size_t length)
{
  if (!reader->broken)
    tg_buf_append(&reader->input, bytes, length);
}

void tg_fake_reader_free(struct tg_fake_reader *reader)
{
  tg_buf_free(&reader->input);
  tg_buf_free(&reader->message);
}

static enum tg_fake_read wrong(struct tg_fake_reader *reader, struct tg_fake_frame *frame, int code,
                               const char *reason)
{
  reader->broken = code == 1002;
  frame->code = code;
  frame->reason = reason;
  return TG_FAKE_READ_WRONG;
}

struct head {
  bool fin, masked;
  int rsv, opcode;
  uint64_t length;
  size_t size; /* of the head, with the mask */
};

static bool read_head(const unsigned char *at, size_t left, struct head *head)
{
  if (left < 2)
    return false;
  *head = (struct head){.fin = at[0] & 0x80,
                        .rsv = (at[0] >> 4) & 7,
                        .opcode = at[0] & 15,
                        .masked = at[1] & 0x80,
                        .length = at[1] & 0x7f,
                        .size = 2};
  int wide = head->length == 126 ? 2 : head->length == 127 ? 8 : 0;
  if (left < head->size + (size_t)wide)
    return false;
  if (wide) {
    head->length = 0;
    for (int i = 0; i < wide; i++)
      head->length = head->length << 8 | at[2 + i];
    head->size += (size_t)wide;
  }
  head->size += head->masked ? 4 : 0;
  return left >= head->size;
}

/* NULL: the head is fine. */
static const char *judge_head(const struct tg_fake_reader *reader, const struct head *head)
{
  if (head->rsv)
    return "reserved bits are set";
  if (!head->masked)
    return "the frame is not masked";
  if (head->opcode >= TG_WS_CLOSE) {
    if (head->opcode > TG_WS_PONG)
      return "unknown WebSocket opcode";
    if (!head->fin || head->length > 125)
      return "a control frame is fragmented or over 125 bytes";
    return NULL;
  }
  if (head->opcode > TG_WS_BINARY)
    return "unknown WebSocket opcode";
  if (head->opcode == TG_WS_CONTINUATION && reader->opcode == 0)
    return "continuation of nothing";
  if (head->opcode != TG_WS_CONTINUATION && reader->opcode != 0)
    return "a new message inside a fragmented one";
  return NULL;
}

static void unmask(char *payload, const unsigned char *key, size_t length)
{
  for (size_t i = 0; i < length; i++)
    payload[i] = (char)((unsigned char)payload[i] ^ key[i & 3]);
}

/* Drops what was read; keeps what was not. */
static void compact(struct tg_fake_reader *reader)
{
  if (reader->used == 0)
    return;
  tg_buf_consume(&reader->input, reader->used);
  reader->used = 0;
  if (reader->input.length == 0)
    tg_buf_reset(&reader->input, 4096);
}

static void skip_payload(struct tg_fake_reader *reader)
{
  size_t left = reader->input.length - reader->used;
  size_t here = reader->skip < left ? (size_t)reader->skip : left;
  reader->used += here;
  reader->skip -= here;
}

static enum tg_fake_read take_data(struct tg_fake_reader *reader, struct tg_fake_frame *frame,
                                   const struct head *head, const char *payload)
{
  if (head->opcode != TG_WS_CONTINUATION) {
    reader->opcode = head->opcode;
    reader->message.length = 0;
  }
  tg_buf_append(&reader->message, payload, (size_t)head->length);
  if (!head->fin)
    return TG_FAKE_READ_MORE;
  *frame = (struct tg_fake_frame){
      .opcode = reader->opcode, .payload = reader->message.data, .length = reader->message.length};
  reader->opcode = 0;
  if (frame->opcode == TG_WS_TEXT && tg_utf8_valid(frame->payload, frame->length) < frame->length)
    return wrong(reader, frame, 1007, "the text is not UTF-8");
  return TG_FAKE_READ_MESSAGE;
}

enum tg_fake_read tg_fake_reader_next(struct tg_fake_reader *reader, struct tg_fake_frame *frame)
{
  compact(reader);
  for (;;) {
    if (reader->broken)
      return TG_FAKE_READ_MORE;
    skip_payload(reader);
    unsigned char *at = (unsigned char *)reader->input.data + reader->used;
    size_t left = reader->input.length - reader->used;
    struct head head;
    if (reader->skip > 0 || left == 0 || !read_head(at, left, &head))
      return TG_FAKE_READ_MORE;
    const char *problem = judge_head(reader, &head);
    if (problem)
      return wrong(reader, frame, 1002, problem);
    size_t before = head.opcode == TG_WS_CONTINUATION ? reader->message.length : 0;
    if (head.length > TG_CLIENT_FRAME_MAX - before) {
      reader->used += head.size;
      reader->skip = head.length;
      reader->opcode = 0;
      if (!head.fin)
        reader->broken = true;
      return wrong(reader, frame, 4002, "the message is over 4096 bytes");
    }
    if (left < head.size + head.length)
      return TG_FAKE_READ_MORE;
    char *payload = (char *)at + head.size;
    unmask(payload, at + head.size - 4, (size_t)head.length);
    reader->used += head.size + (size_t)head.length;
    if (head.opcode >= TG_WS_CLOSE) {
      *frame =
          (struct tg_fake_frame){.opcode = head.opcode, .payload = payload, .length = (size_t)head.length};
      return TG_FAKE_READ_CONTROL;
    }
    enum tg_fake_read result = take_data(reader, frame, &head, payload);
    if (result != TG_FAKE_READ_MORE)
      return result;
  }
}

void tg_fake_frame_write(struct tg_buf *out, struct tg_fake_head head, const void *payload, size_t length)
{
  unsigned char bytes[14];
  size_t size = 2;
  int wide = length > 65535 ? 8 : length > 125 ? 2 : 0;
  bytes[0] = (unsigned char)((head.fin ? 0x80 : 0) | (head.rsv & 7) << 4 | (head.opcode & 15));
  bytes[1] = (unsigned char)(wide == 8 ? 127 : wide == 2 ? 126 : length);
  for (int i = wide - 1; i >= 0; i--)
    bytes[size++] = (unsigned char)((uint64_t)length >> (8 * i));
  if (head.masked) {
    bytes[1] |= 0x80;
    memset(bytes + size, 0, 4);
    size += 4;
  }
  tg_buf_append(out, bytes, size);
  tg_buf_append(out, payload, length);
}

size_t tg_fake_close_payload(char *buffer, int code, const char *reason)
{
  if (code == 0)
    return 0;
  buffer[0] = (char)(code >> 8);
  buffer[1] = (char)code;
  int length = snprintf(buffer + 2, 123, "%s", reason ? reason : "");
  return 2 + (size_t)(length > 122 ? 122 : length);
}

bool tg_fake_close_code_is_legal(int code)
{
  if (code >= 3000)
    return code < 5000;
  return code >= 1000 && code <= 1014 && code != 1004 && code != 1005 && code != 1006;
}
