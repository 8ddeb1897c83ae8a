/* Frames that come, whole and in pieces, and frames that cannot be. */

#include "ws_fixture.h"

enum { BIG = 8 * 1024 * 1024 };

/* Bytes of which none can be lost, doubled or moved unnoticed. */
static char *make_big(void)
{
  char *bytes = malloc(BIG);
  for (size_t i = 0; i < BIG; i++)
    bytes[i] = (char)((i * 2654435761u) >> 24);
  return bytes;
}

static void assert_heard_big(const char *bytes)
{
  WAIT_UNTIL(world->messages == 1 || world->ended);
  assert_false(world->ended);
  assert_int_equal(world->heard.length, BIG + 1);
  assert_memory_equal(world->heard.data, bytes, BIG);
}

/* What a peer may send, and what is heard of it. */
static const struct {
  const char *bytes;
  size_t length;
  const char *heard;
} legal[] = {
#define BYTES(text) text, sizeof text - 1
    {BYTES("\x81\x05hello"), "hello|"},
    {BYTES("\x82\x05hello"), "hello|"},
    {BYTES("\x81\x00"), "|"},
    {BYTES("\x82\x00\x81\x01x"), "|x|"},
    {BYTES("\x01\x03one\x00\x03two\x80\x05three"), "onetwothree|"},
    {BYTES("\x02\x00\x00\x00\x80\x00"), "|"},
    {BYTES("\x01\x00\x00\x03two\x80\x00"), "two|"},
    {BYTES("\x01\x03one\x89\x01p\x80\x03two"), "onetwo|"},
    {BYTES("\x01\x01x\x8a\x02no\x00\x01y\x89\x00\x80\x01z"), "xyz|"},
    {BYTES("\x8a\x00\x8a\x05hello\x81\x01x"), "x|"},
    {BYTES("\x81\x02\xc3\xa4\x81\x01x"), "\xc3\xa4|x|"},
    {BYTES("\x01\x01\xc3\x80\x01\xa4"), "\xc3\xa4|"}, /* a character in two fragments */
    {BYTES("\x82\x03\xff\x01\xfe"), "\xff\x01\xfe|"},
    {BYTES("\x81\x7e\x00\x7f"
           "0123456789012345678901234567890123456789012345678901234567890123"
           "012345678901234567890123456789012345678901234567890123456789012"),
     "0123456789012345678901234567890123456789012345678901234567890123"
     "012345678901234567890123456789012345678901234567890123456789012|"},
};
enum { LEGAL = sizeof legal / sizeof *legal };

static void send_and_hear(size_t row, size_t cut)
{
  size_t all = strlen(legal[row].heard);
  world->heard.length = 0;
  world->messages = 0;
  peer_send(world->peer, legal[row].bytes, cut);
  if (cut < legal[row].length)
    peer_let_it_look(world->peer);
  peer_send(world->peer, legal[row].bytes + cut, legal[row].length - cut);
  WAIT_UNTIL(world->heard.length >= all);
  peer_let_it_look(world->peer);
  assert_heard(legal[row].heard);
}

static void hears_frames_cut_at_every_byte(void **state)
{
  (void)state;
  for (int tls = 0; tls < 2; tls++) {
    use_tls(tls ? trusted_tls : NULL);
    connect_ws();
    for (size_t row = 0; row < LEGAL; row++)
      for (size_t cut = 1; cut <= legal[row].length; cut++)
        send_and_hear(row, cut);
    assert_false(world->ended);
    drop_ws();
  }
}

static void hears_frames_byte_by_byte(void **state)
{
  (void)state;
  for (int tls = 0; tls < 2; tls++) {
    use_tls(tls ? trusted_tls : NULL);
    connect_ws();
    for (size_t row = 0; row < LEGAL; row++) {
      world->heard.length = 0;
      peer_dribble(world->peer, legal[row].bytes, legal[row].length);
      WAIT_UNTIL(world->heard.length >= strlen(legal[row].heard));
      assert_heard(legal[row].heard);
    }
    drop_ws();
  }
}

static void hears_many_frames_at_once(void **state)
{
  (void)state;
  struct tg_buf frames = {0}, expected = {0};
  for (size_t row = 0; row < 20 * LEGAL; row++) {
    tg_buf_append(&frames, legal[row % LEGAL].bytes, legal[row % LEGAL].length);
    tg_buf_puts(&expected, legal[row % LEGAL].heard);
  }
  for (int tls = 0; tls < 2; tls++) {
    use_tls(tls ? trusted_tls : NULL);
    connect_ws();
    peer_send(world->peer, frames.data, frames.length);
    WAIT_UNTIL(world->heard.length >= expected.length);
    assert_int_equal(world->heard.length, expected.length);
    assert_memory_equal(world->heard.data, expected.data, expected.length);
    drop_ws();
  }
  tg_buf_free(&frames);
  tg_buf_free(&expected);
}

/* Lengths around those at which their own form changes. */
static void hears_frames_of_every_form_of_length(void **state)
{
  (void)state;
  static const size_t lengths[] = {1,     124,   125,   126,   127,   128,   4095,  4096,   16383,
                                   16384, 16385, 32768, 65534, 65535, 65536, 65537, 131072, 1000000};
  char *bytes = make_big();
  for (int tls = 0; tls < 2; tls++) {
    use_tls(tls ? trusted_tls : NULL);
    connect_ws();
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
      world->heard.length = 0;
      world->messages = 0;
      peer_send_frame(world->peer, BINARY, bytes + i, lengths[i]);
      WAIT_UNTIL(world->messages == 1);
      assert_int_equal(world->heard.length, lengths[i] + 1);
      assert_memory_equal(world->heard.data, bytes + i, lengths[i]);
    }
    drop_ws();
  }
  free(bytes);
}

static void hears_much_in_one_frame(void **state)
{
  (void)state;
  char *bytes = make_big();
  for (int tls = 0; tls < 2; tls++) {
    use_tls(tls ? trusted_tls : NULL);
    connect_ws();
    peer_send_frame(world->peer, BINARY, bytes, BIG);
    assert_heard_big(bytes);
    drop_ws();
  }
  free(bytes);
}

static void hears_much_in_fragments_with_pings_between(void **state)
{
  (void)state;
  enum { FRAGMENTS = 64, SIZE = BIG / FRAGMENTS };
  char *bytes = make_big();
  for (int tls = 0; tls < 2; tls++) {
    use_tls(tls ? trusted_tls : NULL);
    connect_ws();
    for (int i = 0; i < FRAGMENTS; i++) {
      int first = (i == 0 ? BINARY_BEGINS : GOES_ON) | (i == FRAGMENTS - 1 ? 0x80 : 0);
      peer_send_frame(world->peer, first, bytes + i * SIZE, SIZE);
      if (i < FRAGMENTS - 1) {
        peer_send_frame(world->peer, PING, bytes + i, 8);
        peer_expect(world->peer, PONG, bytes + i, 8);
      }
    }
    assert_heard_big(bytes);
    drop_ws();
  }
  free(bytes);
}

/* An owner that waits for its deadline has to know that something comes, and be it
 * ever so little. */
static void counts_every_byte_that_comes(void **state)
{
  (void)state;
  static const struct {
    const char *bytes;
    size_t length;
  } rows[] = {
      {BYTES("\x89\x00")},  /* a ping */
      {BYTES("\x8a\x01p")}, /* a pong that nobody has asked for */
      {BYTES("\x81")},      /* the first byte of a frame */
      {BYTES("\x05")},      {BYTES("he")},
  };
  for (int tls = 0; tls < 2; tls++) {
    use_tls(tls ? trusted_tls : NULL);
    connect_ws();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
      uint64_t before = tg_ws_received(world->ws);
      peer_let_it_look(world->peer);
      assert_int_equal(tg_ws_received(world->ws), before); /* nothing has come: nothing is told */
      peer_send(world->peer, rows[i].bytes, rows[i].length);
      WAIT_UNTIL(tg_ws_received(world->ws) >= before + rows[i].length);
    }
    assert_int_equal(world->messages, 0);
    drop_ws();
  }
}

static void goes_on_after_a_trim(void **state)
{
  (void)state;
  for (int tls = 0; tls < 2; tls++) {
    use_tls(tls ? trusted_tls : NULL);
    connect_ws();
    for (int i = 1; i <= 3; i++) {
      peer_send_text(world->peer, "hello");
      WAIT_UNTIL(world->messages == i);
      tg_ws_trim(world->ws);
      tg_ws_send(world->ws, "there", 5);
      peer_expect(world->peer, TEXT, "there", 5);
      tg_ws_trim(world->ws);
    }
    assert_heard("hello|hello|hello|");
    drop_ws();
  }
}

static void ends_with_frames_that_cannot_be(void **state)
{
  (void)state;
  static const struct {
    const char *bytes;
    size_t length;
    const char *heard;
  } rows[] = {
      {BYTES("\xc1\x01x"), ""}, /* reserved bits, without an extension */
      {BYTES("\xa1\x01x"), ""},
      {BYTES("\x91\x01x"), ""},
      {BYTES("\x81\x01x\xf1\x01y"), "x|"},
      {BYTES("\x83\x01x"), ""}, /* opcodes that mean nothing */
      {BYTES("\x87\x00"), ""},
      {BYTES("\x8b\x00"), ""},
      {BYTES("\x8f\x00"), ""},
      {BYTES("\x09\x00"), ""}, /* fragments of control frames */
      {BYTES("\x08\x02\x0f\xa0"), ""},
      {BYTES("\x89\x7e\x00\x7e"), ""}, /* long ones */
      {BYTES("\x88\x7e\x00\x7e"), ""},
      {BYTES("\x80\x01x"), ""}, /* a continuation of nothing */
      {BYTES("\x00\x01x"), ""},
      {BYTES("\x81\x01x\x80\x01y"), "x|"},
      {BYTES("\x01\x01x\x81\x01y"), "x"},                      /* a message inside another one */
      {BYTES("\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff"), ""}, /* a length below zero */
  };
  for (size_t i = 0; i < 2 * sizeof rows / sizeof *rows; i++) {
    size_t row = i / 2;
    use_tls(i % 2 ? trusted_tls : NULL);
    connect_ws();
    peer_send(world->peer, rows[row].bytes, rows[row].length);
    WAIT_UNTIL(world->ended);
    if (strcmp(world->end.error.code, "protocol") != 0)
      fail_msg("frames %zu: %s, %s", row, world->end.error.code, world->end.error.message);
    assert_failed_with("protocol");
    assert_non_null(strstr(world->end.error.message, "gateway.test"));
    assert_heard(rows[row].heard);
    drop_ws();
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      TEST(hears_frames_cut_at_every_byte),  TEST(hears_frames_byte_by_byte),
      TEST(hears_many_frames_at_once),       TEST(hears_frames_of_every_form_of_length),
      TEST(hears_much_in_one_frame),         TEST(hears_much_in_fragments_with_pings_between),
      TEST(counts_every_byte_that_comes),    TEST(goes_on_after_a_trim),
      TEST(ends_with_frames_that_cannot_be),
  };
  return RUN_TESTS(tests);
}
