#include "proto/inflate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include <cmocka.h>

enum { LIMIT = 64 << 20 };

static const char hello[] = "{\"t\":null,\"s\":null,\"op\":10,\"d\":{\"heartbeat_interval\":41250}}";
static const char event[] =
    "{\"t\":\"MESSAGE_CREATE\",\"s\":2,\"op\":0,\"d\":{\"id\":\"12\",\"content\":\"a } b { "
    "\\\" \\\\ \\u00e4\",\"guild_id\":\"820588789004115970\"}}";

/* Discord's side: one stream, a flush behind each message. */
struct sender {
  z_stream zlib;
};

static void open_sender(struct sender *sender, int level)
{
  *sender = (struct sender){0};
  assert_int_equal(deflateInit(&sender->zlib, level), Z_OK);
}

static struct tg_buf pack_until(struct sender *sender, const char *text, size_t length, int flush)
{
  struct tg_buf out = {0};
  size_t most = deflateBound(&sender->zlib, length) + 64;
  sender->zlib.next_in = (z_const Bytef *)text;
  sender->zlib.avail_in = (uInt)length;
  sender->zlib.next_out = (Bytef *)tg_buf_reserve(&out, most);
  sender->zlib.avail_out = (uInt)most;
  assert_int_equal(deflate(&sender->zlib, flush), Z_OK);
  out.length = most - sender->zlib.avail_out;
  return out;
}

static struct tg_buf pack(struct sender *sender, const char *text)
{
  return pack_until(sender, text, strlen(text), Z_SYNC_FLUSH);
}

static void assert_text(const struct tg_buf *text, const char *expected)
{
  assert_int_equal(text->length, strlen(expected));
  assert_memory_equal(text->data, expected, text->length);
}

/* Feeds one WebSocket message, in one piece whose memory ends with it. */
static enum tg_inflate_result receive(struct tg_inflate *inflate, const void *bytes, size_t length,
                                      struct tg_buf *text)
{
  char *exact = calloc(length ? length : 1, 1);
  memcpy(exact, bytes, length);
  enum tg_inflate_result result = tg_inflate_feed(inflate, exact, length, text);
  free(exact);
  return result == TG_INFLATE_MORE ? tg_inflate_end_of_message(inflate, text) : result;
}

static void messages_share_one_stream(void **state)
{
  (void)state;
  struct sender sender;
  open_sender(&sender, 6);
  struct tg_inflate *inflate = tg_inflate_new(TG_COMPRESSION_ZLIB, LIMIT);
  struct tg_buf text = {0};
  const char *const texts[] = {hello, event, event, hello};
  for (int i = 0; i < 4; i++) {
    struct tg_buf packed = pack(&sender, texts[i]);
    assert_int_equal(receive(inflate, packed.data, packed.length, &text), TG_INFLATE_MESSAGE);
    assert_text(&text, texts[i]);
    text.length = 0;
    tg_buf_free(&packed);
  }
  tg_buf_free(&text);
  tg_inflate_free(inflate);
  deflateEnd(&sender.zlib);
}

/* Every message cut in two at each of its bytes: first as two pieces of one
 * WebSocket message, then as two WebSocket messages. */
static void cut_at_every_byte(void **state)
{
  (void)state;
  struct sender sender;
  open_sender(&sender, 6);
  struct tg_buf first = pack(&sender, hello), second = pack(&sender, event);
  for (size_t cut = 0; cut <= first.length + second.length; cut++) {
    for (int as_messages = 0; as_messages < 2; as_messages++) {
      struct tg_inflate *inflate = tg_inflate_new(TG_COMPRESSION_ZLIB, LIMIT);
      struct tg_buf text = {0};
      const struct tg_buf *packed[] = {&first, &second};
      const char *const texts[] = {hello, event};
      for (size_t i = 0, offset = 0; i < 2; offset += packed[i++]->length) {
        size_t here = cut >= offset && cut <= offset + packed[i]->length ? cut - offset : 0;
        enum tg_inflate_result result = TG_INFLATE_MORE;
        if (as_messages)
          result = receive(inflate, packed[i]->data, here, &text);
        else
          assert_int_equal(tg_inflate_feed(inflate, packed[i]->data, here, &text), TG_INFLATE_MORE);
        if (result == TG_INFLATE_MESSAGE) { /* complete before its marker came */
          assert_text(&text, texts[i]);
          text.length = 0;
          result = receive(inflate, packed[i]->data + here, packed[i]->length - here, &text);
          assert_int_equal(result, TG_INFLATE_MORE);
          assert_int_equal(text.length, 0);
          continue;
        }
        assert_int_equal(result, TG_INFLATE_MORE);
        result = receive(inflate, packed[i]->data + here, packed[i]->length - here, &text);
        assert_int_equal(result, TG_INFLATE_MESSAGE);
        assert_text(&text, texts[i]);
        text.length = 0;
      }
      tg_buf_free(&text);
      tg_inflate_free(inflate);
    }
  }
  tg_buf_free(&first);
  tg_buf_free(&second);
  deflateEnd(&sender.zlib);
}

static void byte_by_byte(void **state)
{
  (void)state;
  struct sender sender;
  open_sender(&sender, 9);
  struct tg_inflate *inflate = tg_inflate_new(TG_COMPRESSION_ZLIB, LIMIT);
  struct tg_buf text = {0};
  for (int i = 0; i < 3; i++) {
    struct tg_buf packed = pack(&sender, event);
    for (size_t at = 0; at < packed.length; at++)
      assert_int_equal(tg_inflate_feed(inflate, packed.data + at, 1, &text), TG_INFLATE_MORE);
    assert_int_equal(tg_inflate_end_of_message(inflate, &text), TG_INFLATE_MESSAGE);
    assert_text(&text, event);
    text.length = 0;
    tg_buf_free(&packed);
  }
  tg_buf_free(&text);
  tg_inflate_free(inflate);
  deflateEnd(&sender.zlib);
}

/* Stored blocks carry the marker's bytes as they are; a WebSocket message that
 * ends on them is not the end of the gateway message. */
static void marker_as_data_at_the_cut(void **state)
{
  (void)state;
  struct sender sender;
  open_sender(&sender, 0);
  char sample[] = "{\"op\":0,\"d\":\"....\"}";
  memcpy(strstr(sample, "...."), "\x00\x00\xff\xff", 4);
  size_t length = sizeof sample - 1;
  struct tg_buf packed = pack_until(&sender, sample, length, Z_SYNC_FLUSH);
  const char *inside = memmem(packed.data, packed.length, "\"\x00\x00\xff\xff", 5);
  assert_non_null(inside);
  size_t cut = (size_t)(inside - packed.data) + 5;

  struct tg_inflate *inflate = tg_inflate_new(TG_COMPRESSION_ZLIB, LIMIT);
  struct tg_buf text = {0};
  assert_int_equal(receive(inflate, packed.data, cut, &text), TG_INFLATE_MORE);
  assert_int_equal(receive(inflate, packed.data + cut, packed.length - cut, &text), TG_INFLATE_MESSAGE);
  assert_int_equal(text.length, length);
  assert_memory_equal(text.data, sample, length);
  tg_buf_free(&text);
  tg_buf_free(&packed);
  tg_inflate_free(inflate);
  deflateEnd(&sender.zlib);
}

static void marker_cut_in_two(void **state)
{
  (void)state;
  struct sender sender;
  open_sender(&sender, 6);
  /* Not whole as JSON, so that the marker alone tells. */
  struct tg_buf packed = pack(&sender, "{\"op\":0,\"d\":[");
  struct tg_inflate *inflate = tg_inflate_new(TG_COMPRESSION_ZLIB, LIMIT);
  struct tg_buf text = {0};
  assert_int_equal(receive(inflate, packed.data, packed.length - 2, &text), TG_INFLATE_MORE);
  assert_int_equal(receive(inflate, packed.data + packed.length - 2, 2, &text), TG_INFLATE_MESSAGE);
  tg_buf_free(&text);
  tg_buf_free(&packed);
  tg_inflate_free(inflate);
  deflateEnd(&sender.zlib);
}

static void whole_object_without_marker(void **state)
{
  (void)state;
  struct sender sender;
  open_sender(&sender, 6);
  struct tg_inflate *inflate = tg_inflate_new(TG_COMPRESSION_ZLIB, LIMIT);
  struct tg_buf text = {0};
  struct tg_buf packed = pack_until(&sender, event, strlen(event), Z_PARTIAL_FLUSH);
  assert_int_equal(receive(inflate, packed.data, packed.length, &text), TG_INFLATE_MESSAGE);
  assert_text(&text, event);
  tg_buf_free(&packed);
  text.length = 0;
  packed = pack_until(&sender, "{\"op\":0,\"d\":{}", 14, Z_PARTIAL_FLUSH);
  assert_int_equal(receive(inflate, packed.data, packed.length, &text), TG_INFLATE_MORE);
  tg_buf_free(&packed);
  tg_buf_free(&text);
  tg_inflate_free(inflate);
  deflateEnd(&sender.zlib);
}

/* With each of them looked at from the start again, this takes hours. */
static void many_messages_of_one_text(void **state)
{
  (void)state;
  enum { MESSAGES = 200000 };
  static const char *const begins[] = {
      "{\"d\":[",  /* goes on for ever */
      "{\"d\":1}", /* has ended long ago */
      "{\"d\":]}", /* is no JSON when it ends */
  };
  static const char piece[] = "{\"name\":\"a } of \\\"many\\\" \\\\\",\"list\":[1,[2],{\"n\":{}}]}, {}";
  for (size_t i = 0; i < sizeof begins / sizeof begins[0]; i++) {
    struct sender sender;
    open_sender(&sender, 1);
    struct tg_inflate *inflate = tg_inflate_new(TG_COMPRESSION_ZLIB, LIMIT);
    struct tg_buf text = {0};
    for (int n = 0; n < MESSAGES; n++) {
      const char *next = n == 0 ? begins[i] : piece;
      struct tg_buf packed = pack_until(&sender, next, strlen(next), Z_PARTIAL_FLUSH);
      enum tg_inflate_result result = receive(inflate, packed.data, packed.length, &text);
      tg_buf_free(&packed);
      if (i == 1 && n == 0) { /* more of it comes, although it seemed complete */
        assert_int_equal(result, TG_INFLATE_MESSAGE);
        continue;
      }
      assert_int_equal(result, TG_INFLATE_MORE);
    }
    /* The next one that is complete is found all the same. */
    struct tg_buf packed = pack(&sender, "]}");
    assert_int_equal(receive(inflate, packed.data, packed.length, &text), TG_INFLATE_MESSAGE);
    text.length = 0;
    tg_buf_free(&packed);
    packed = pack_until(&sender, event, strlen(event), Z_PARTIAL_FLUSH);
    assert_int_equal(receive(inflate, packed.data, packed.length, &text), TG_INFLATE_MESSAGE);
    assert_text(&text, event);
    tg_buf_free(&packed);
    tg_buf_free(&text);
    tg_inflate_free(inflate);
    deflateEnd(&sender.zlib);
  }
}

static void wrong_headers(void **state)
{
  (void)state;
  static const unsigned char headers[][2] = {
      {'{', '"'}, {0x1f, 0x8b}, {0x78, 0x9d}, {0x88, 0x1c}, {0x77, 0x85}, {0x78, 0xbb}, {0x28, 0xb5},
  };
  for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++) {
    for (int split = 0; split < 2; split++) {
      struct tg_inflate *inflate = tg_inflate_new(TG_COMPRESSION_ZLIB, LIMIT);
      struct tg_buf text = {0};
      if (split)
        assert_int_equal(tg_inflate_feed(inflate, headers[i], 1, &text), TG_INFLATE_MORE);
      assert_int_equal(tg_inflate_feed(inflate, headers[i] + split, 2u - (unsigned)split, &text),
                       TG_INFLATE_CORRUPT);
      /* And stays so. */
      assert_int_equal(tg_inflate_feed(inflate, "x", 1, &text), TG_INFLATE_CORRUPT);
      assert_int_equal(tg_inflate_end_of_message(inflate, &text), TG_INFLATE_CORRUPT);
      tg_buf_free(&text);
      tg_inflate_free(inflate);
    }
  }
}

static void corrupt_bytes(void **state)
{
  (void)state;
  struct sender sender;
  open_sender(&sender, 6);
  struct tg_buf packed = pack(&sender, event);
  int corrupt = 0;
  for (size_t at = 2; at < packed.length; at++) {
    for (int bit = 0; bit < 8; bit++) {
      struct tg_inflate *inflate = tg_inflate_new(TG_COMPRESSION_ZLIB, LIMIT);
      struct tg_buf text = {0};
      packed.data[at] ^= (char)(1 << bit);
      corrupt += receive(inflate, packed.data, packed.length, &text) == TG_INFLATE_CORRUPT;
      packed.data[at] ^= (char)(1 << bit);
      tg_buf_free(&text);
      tg_inflate_free(inflate);
    }
  }
  assert_true(corrupt > 10);
  tg_buf_free(&packed);
  deflateEnd(&sender.zlib);
}

static void a_stream_that_ends_is_corrupt(void **state)
{
  (void)state;
  unsigned char packed[256];
  uLongf length = sizeof packed;
  assert_int_equal(compress2(packed, &length, (const Bytef *)event, strlen(event), 6), Z_OK);
  struct tg_inflate *inflate = tg_inflate_new(TG_COMPRESSION_ZLIB, LIMIT);
  struct tg_buf text = {0};
  assert_int_equal(receive(inflate, packed, length, &text), TG_INFLATE_CORRUPT);
  tg_buf_free(&text);
  tg_inflate_free(inflate);
}

/* A text of `length` bytes that is JSON and packs well. */
static char *long_text(size_t length)
{
  char *text = calloc(length + 1, 1);
  memset(text, 'x', length);
  memcpy(text, "{\"op\":0,\"d\":\"", 13);
  memcpy(text + length - 2, "\"}", 2);
  return text;
}

static void large_messages_and_the_limit(void **state)
{
  (void)state;
  enum { SIZE = 20 << 20 };
  char *sample = long_text(SIZE);
  for (int over = 0; over < 2; over++) {
    struct sender sender;
    open_sender(&sender, 1);
    struct tg_buf packed = pack(&sender, sample);
    struct tg_inflate *inflate = tg_inflate_new(TG_COMPRESSION_ZLIB, (size_t)(SIZE - over));
    struct tg_buf text = {0};
    assert_int_equal(receive(inflate, packed.data, packed.length, &text),
                     over ? TG_INFLATE_TOO_LARGE : TG_INFLATE_MESSAGE);
    if (!over)
      assert_text(&text, sample);
    assert_true(text.capacity <= 4 * (size_t)SIZE);
    tg_buf_free(&text);
    tg_buf_free(&packed);
    tg_inflate_free(inflate);
    deflateEnd(&sender.zlib);
  }
  free(sample);
}

static void plain_text(void **state)
{
  (void)state;
  struct tg_inflate *inflate = tg_inflate_new(TG_COMPRESSION_NONE, 10);
  struct tg_buf text = {0};
  assert_int_equal(tg_inflate_feed(inflate, "{\"op\"", 5, &text), TG_INFLATE_MORE);
  assert_int_equal(tg_inflate_feed(inflate, ":11}", 4, &text), TG_INFLATE_MORE);
  assert_int_equal(tg_inflate_end_of_message(inflate, &text), TG_INFLATE_MESSAGE);
  assert_text(&text, "{\"op\":11}");
  assert_int_equal(tg_inflate_feed(inflate, "  ", 2, &text), TG_INFLATE_TOO_LARGE);
  tg_buf_free(&text);
  tg_inflate_free(inflate);
}

static struct tg_buf pack_zstd(ZSTD_CStream *stream, const char *sample)
{
  struct tg_buf packed = {0};
  size_t most = ZSTD_compressBound(strlen(sample)) + 64;
  ZSTD_inBuffer in = {sample, strlen(sample), 0};
  ZSTD_outBuffer out = {tg_buf_reserve(&packed, most), most, 0};
  assert_int_equal(ZSTD_compressStream2(stream, &out, &in, ZSTD_e_flush), 0);
  packed.length = out.pos;
  return packed;
}

static void zstd_stream(void **state)
{
  (void)state;
  ZSTD_CStream *stream = ZSTD_createCStream();
  ZSTD_CCtx_setParameter(stream, ZSTD_c_windowLog, 18);
  struct tg_inflate *inflate = tg_inflate_new(TG_COMPRESSION_ZSTD, LIMIT);
  struct tg_buf text = {0};
  char *large = long_text(3 << 20);
  const char *const texts[] = {hello, event, large, event, hello};
  for (size_t i = 0; i < 5; i++) {
    struct tg_buf packed = pack_zstd(stream, texts[i]);
    size_t piece = i == 1 ? 1 : packed.length; /* once byte by byte */
    for (size_t at = 0; at < packed.length; at += piece)
      assert_int_equal(tg_inflate_feed(inflate, packed.data + at, piece, &text), TG_INFLATE_MORE);
    assert_int_equal(tg_inflate_end_of_message(inflate, &text), TG_INFLATE_MESSAGE);
    assert_text(&text, texts[i]);
    text.length = 0;
    tg_buf_free(&packed);
  }
  assert_int_equal(tg_inflate_feed(inflate, "\xff\xff\xff\xff\xff\xff", 6, &text), TG_INFLATE_CORRUPT);
  tg_inflate_free(inflate);

  inflate = tg_inflate_new(TG_COMPRESSION_ZSTD, 1 << 20);
  ZSTD_CCtx_reset(stream, ZSTD_reset_session_only);
  struct tg_buf packed = pack_zstd(stream, large);
  assert_int_equal(receive(inflate, packed.data, packed.length, &text), TG_INFLATE_TOO_LARGE);
  tg_inflate_free(inflate);
  tg_buf_free(&packed);
  tg_buf_free(&text);
  free(large);
  ZSTD_freeCStream(stream);
}

/* All input is eaten while most of the text still waits in the decoder. */
static void zstd_block_larger_than_the_room(void **state)
{
  (void)state;
  for (size_t length = 4000; length < 130000; length += 1777) {
    ZSTD_CStream *stream = ZSTD_createCStream();
    struct tg_inflate *inflate = tg_inflate_new(TG_COMPRESSION_ZSTD, LIMIT);
    char *sample = long_text(length);
    struct tg_buf text = {0}, packed = pack_zstd(stream, sample);
    assert_int_equal(receive(inflate, packed.data, packed.length, &text), TG_INFLATE_MESSAGE);
    assert_text(&text, sample);
    tg_buf_free(&packed);
    tg_buf_free(&text);
    free(sample);
    tg_inflate_free(inflate);
    ZSTD_freeCStream(stream);
  }
}

static void zstd_refuses_a_huge_window(void **state)
{
  (void)state;
  for (int log = 23; log <= 24; log++) {
    ZSTD_CStream *stream = ZSTD_createCStream();
    ZSTD_CCtx_setParameter(stream, ZSTD_c_windowLog, log);
    struct tg_inflate *inflate = tg_inflate_new(TG_COMPRESSION_ZSTD, LIMIT);
    struct tg_buf text = {0}, packed = pack_zstd(stream, hello);
    assert_int_equal(receive(inflate, packed.data, packed.length, &text),
                     log == 23 ? TG_INFLATE_MESSAGE : TG_INFLATE_CORRUPT);
    tg_buf_free(&packed);
    tg_buf_free(&text);
    tg_inflate_free(inflate);
    ZSTD_freeCStream(stream);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(messages_share_one_stream),
      cmocka_unit_test(cut_at_every_byte),
      cmocka_unit_test(byte_by_byte),
      cmocka_unit_test(marker_as_data_at_the_cut),
      cmocka_unit_test(marker_cut_in_two),
      cmocka_unit_test(whole_object_without_marker),
      cmocka_unit_test(many_messages_of_one_text),
      cmocka_unit_test(wrong_headers),
      cmocka_unit_test(corrupt_bytes),
      cmocka_unit_test(a_stream_that_ends_is_corrupt),
      cmocka_unit_test(large_messages_and_the_limit),
      cmocka_unit_test(plain_text),
      cmocka_unit_test(zstd_stream),
      cmocka_unit_test(zstd_block_larger_than_the_room),
      cmocka_unit_test(zstd_refuses_a_huge_window),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
