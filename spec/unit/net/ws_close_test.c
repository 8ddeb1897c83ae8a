/* The close handshake, begun by the peer or by us: why it ended must arrive. */

#include "ws_fixture.h"

enum ending { STAYS, GOES, RESETS, ENDINGS };

static void end_peer(enum ending ending)
{
  if (ending == GOES)
    peer_fin(world->peer);
  else if (ending == RESETS)
    peer_reset(world->peer);
}

/* ---- the peer's close ---- */

#define REASON_123                                                                                           \
  "0123456789012345678901234567890123456789012345678901234567890"                                            \
  "01234567890123456789012345678901234567890123456789012345678901"

static const struct {
  int code;
  const char *reason;
} closes[] = {
    {1000, ""},
    {1000, "bye"},
    {1001, "going away"},
    {1002, ""},
    {1003, ""},
    {1007, ""},
    {1008, ""},
    {1009, ""},
    {1010, ""},
    {1011, "internal error"},
    {1012, "restart"},
    {3000, ""},
    {3999, ""},
    {4000, "Unknown error."},
    {4004, "Authentication failed."},
    {4014, "Disallowed intent(s)."},
    {4999, ""},
    {4004, REASON_123},
    {4004, "f\xc3\xa4hig"},
    {4004, "\xff\xfe!"}, /* no UTF-8: that is the peer's fault, but the code is what counts */
};
enum { CLOSES = sizeof closes / sizeof *closes };

/* libwebsockets before 4.2 puts 1002 in the place of codes that are younger than the protocol. */
static void assert_told(int code, const char *reason)
{
  bool may_be_another = code == 1002 || (code >= 1012 && code < 3000);
  if (!may_be_another || tg_link_tells_all_codes()) {
    assert_closed_with(code, reason);
    return;
  }
  size_t length = strlen(reason);
  assert_string_equal(world->end.error.code, "");
  assert_int_equal(world->end.code, 1002);
  assert_memory_equal(world->end.reason, reason, length);
  assert_non_null(strstr(world->end.reason + length, "or another code"));
}

static void tells_code_and_reason_of_the_peer(void **state)
{
  (void)state;
  for (int i = 0; i < 2 * CLOSES; i++) {
    unsigned char code[2] = {(unsigned char)(closes[i / 2].code >> 8), (unsigned char)closes[i / 2].code};
    struct tg_buf answer = {0};
    use_tls(i % 2 ? trusted_tls : NULL);
    connect_ws();
    peer_send_close(world->peer, closes[i / 2].code, closes[i / 2].reason);
    WAIT_UNTIL(world->ended);
    assert_told(closes[i / 2].code, closes[i / 2].reason);
    assert_int_equal(peer_next_frame(world->peer, &answer), CLOSE);
    if (closes[i / 2].code != 1012) /* younger than the protocol: some answer that they do not know it */
      assert_memory_equal(answer.data, code, 2);
    peer_expect_end(world->peer);
    assert_false(world->peer->was_reset); /* which may overtake the answer */
    tg_buf_free(&answer);
    drop_ws();
  }
}

static void tells_that_a_close_frame_was_empty(void **state)
{
  (void)state;
  for (int tls = 0; tls < 2; tls++) {
    struct tg_buf answer = {0};
    use_tls(tls ? trusted_tls : NULL);
    connect_ws();
    peer_send_frame(world->peer, CLOSE, "", 0);
    WAIT_UNTIL(world->ended);
    assert_closed_with(1005, "");
    assert_int_equal(peer_next_frame(world->peer, &answer), CLOSE);
    peer_expect_end(world->peer);
    tg_buf_free(&answer);
    drop_ws();
  }
}

static void takes_no_half_of_a_code(void **state)
{
  (void)state;
  connect_ws();
  peer_send_frame(world->peer, CLOSE, "\x0f", 1);
  WAIT_UNTIL(world->ended);
  assert_failed_with("protocol");
}

static void hears_a_close_frame_cut_at_every_byte(void **state)
{
  (void)state;
  struct tg_buf frames = {0};
  put_frame(&frames, TEXT, "hello", 5);
  put_close(&frames, 4004, "no");
  for (size_t cut = 0; cut < frames.length; cut++) {
    connect_ws();
    peer_send(world->peer, frames.data, cut);
    peer_let_it_look(world->peer);
    assert_false(world->ended);
    peer_send(world->peer, frames.data + cut, frames.length - cut);
    WAIT_UNTIL(world->ended);
    assert_heard("hello|");
    assert_closed_with(4004, "no");
    drop_ws();
  }
  tg_buf_free(&frames);
}

static void hears_a_close_frame_between_fragments(void **state)
{
  (void)state;
  connect_ws();
  peer_send_frame(world->peer, TEXT_BEGINS, "half", 4);
  peer_send_close(world->peer, 4009, "slow");
  WAIT_UNTIL(world->ended);
  assert_heard("half");
  assert_closed_with(4009, "slow");
}

/* Our answer has to wait, the owner has not. */
static void hears_a_close_frame_of_a_peer_that_does_not_read(void **state)
{
  (void)state;
  enum { BIG = 8 * 1024 * 1024 };
  char *text = malloc(BIG);
  memset(text, 'x', BIG);
  peer_takes_little(world->peer);
  for (int tls = 0; tls < 2; tls++) {
    use_tls(tls ? trusted_tls : NULL);
    connect_ws();
    tg_ws_send(world->ws, text, BIG);
    peer_send_close(world->peer, 4008, "Rate limited.");
    WAIT_UNTIL(world->ended);
    assert_closed_with(4008, "Rate limited.");
    drop_ws();
  }
  free(text);
}

/* All of it is there before the client looks: what the peer had to say is not lost
 * for how it went. A fatal code that got lost would be taken for a bad network. */
static void hears_what_stands_in_front_of_the_end(void **state)
{
  (void)state;
  struct tg_buf data = {0}, close = {0}, both = {0};
  put_frame(&data, TEXT, "hello", 5);
  put_close(&close, 4004, "Authentication failed.");
  tg_buf_append(&both, data.data, data.length);
  tg_buf_append(&both, close.data, close.length);
  const struct {
    const struct tg_buf *frames;
    const char *heard;
    bool closes;
  } rows[] = {{&data, "hello|", false}, {&close, "", true}, {&both, "hello|", true}};
  for (int i = 0; i < 3 * ENDINGS * 2; i++) {
    int row = i % 3, tls = i / 3 % 2, ending = i / 6;
    if (ending == STAYS && !rows[row].closes)
      continue; /* that is no end */
    use_tls(tls ? trusted_tls : NULL);
    connect_ws();
    peer_send(world->peer, rows[row].frames->data, rows[row].frames->length);
    end_peer((enum ending)ending);
    WAIT_UNTIL(world->ended);
    assert_heard(rows[row].heard);
    if (rows[row].closes)
      assert_closed_with(4004, "Authentication failed.");
    else
      assert_failed_with(ending == GOES ? "eof" : "reset");
    drop_ws();
  }
  tg_buf_free(&data);
  tg_buf_free(&close);
  tg_buf_free(&both);
}

/* More than is read at a time lies before the close frame. */
static void hears_much_that_stands_in_front_of_the_end(void **state)
{
  (void)state;
  enum { MANY = 20, SIZE = 10000 };
  char bytes[SIZE];
  struct tg_buf frames = {0};
  memset(bytes, 'x', sizeof bytes);
  for (int i = 0; i < MANY; i++)
    put_frame(&frames, TEXT, bytes, sizeof bytes);
  put_close(&frames, 4004, "no");
  for (int i = 0; i < 2 * ENDINGS; i++) {
    use_tls(i % 2 ? trusted_tls : NULL);
    connect_ws();
    size_t all = MANY * (SIZE + 1);
    /* The first bytes may need turns of the client; the end follows the last ones at once. */
    peer_send(world->peer, frames.data, frames.length);
    WAIT_UNTIL(peer_has_sent_all(world->peer));
    end_peer((enum ending)(i / 2));
    WAIT_UNTIL(world->ended);
    assert_int_equal(world->heard.length, all);
    assert_closed_with(4004, "no");
    drop_ws();
  }
  tg_buf_free(&frames);
}

/* ---- our close ---- */

static void closes_with_code_and_reason(void **state)
{
  (void)state;
  static const struct {
    int code;
    const char *reason, *payload;
    size_t length;
  } rows[] = {
      {1000, "", "\x03\xe8", 2},
      {1000, "shutting down", "\x03\xe8shutting down", 15},
      {4000, "reconnect", "\x0f\xa0reconnect", 11},
  };
  for (int i = 0; i < 6; i++) {
    use_tls(i % 2 ? trusted_tls : NULL);
    connect_ws();
    tg_ws_close(world->ws, rows[i / 2].code, rows[i / 2].reason, PATIENCE);
    peer_expect(world->peer, CLOSE, rows[i / 2].payload, rows[i / 2].length);
    assert_false(world->ended);
    peer_send_close(world->peer, rows[i / 2].code, "");
    WAIT_UNTIL(world->ended);
    assert_closed_with(rows[i / 2].code, "");
    peer_expect_end(world->peer);
    drop_ws();
  }
}

static void close_from_inside(void)
{
  tg_ws_close(world->ws, 4000, "bye", PATIENCE);
}

static void closes_inside_callbacks(void **state)
{
  (void)state;
  static const enum moment moments[] = {AT_OPEN, AT_DATA, AT_MESSAGE_END};
  struct tg_buf frames = {0};
  put_frame(&frames, TEXT, "hello", 5);
  put_frame(&frames, TEXT, "again", 5);
  for (int i = 0; i < 12; i++) {
    bool glued = i / 2 % 2;
    use_tls(i % 2 ? trusted_tls : NULL);
    prepare(moments[i / 4], close_from_inside);
    reach(UPGRADING);
    peer_answer_with(world->peer, frames.data, glued ? frames.length : 0);
    if (!glued) {
      WAIT_UNTIL(world->opened);
      peer_send(world->peer, frames.data, frames.length);
    }
    peer_expect(world->peer, CLOSE,
                "\x0f\xa0"
                "bye",
                5);
    WAIT_UNTIL(world->messages == 2);
    assert_heard("hello|again|");
    assert_false(world->ended || peer_sees_end(world->peer));
    peer_send_close(world->peer, 4000, "bye");
    WAIT_UNTIL(world->ended);
    assert_closed_with(4000, "bye");
    drop_ws();
  }
  tg_buf_free(&frames);
}

/* Events that were under way still count, and the peer may have a word of its own. */
static void waits_for_the_peer_to_close(void **state)
{
  (void)state;
  for (int tls = 0; tls < 2; tls++) {
    use_tls(tls ? trusted_tls : NULL);
    reach(CLOSING);
    for (int i = 0; i < 20; i++) {
      tg_ws_send(world->ws, "too late", 8);
      peer_let_it_look(world->peer);
      assert_false(peer_sees_end(world->peer));
    }
    tg_ws_close(world->ws, 4001, "again", 1); /* once is enough */
    peer_send_text(world->peer, "under way");
    WAIT_UNTIL(world->messages == 1);
    peer_send_frame(world->peer, PING, "", 0);
    peer_send_text(world->peer, "this too");
    WAIT_UNTIL(world->messages == 2);
    assert_false(world->ended || peer_sees_end(world->peer));
    assert_heard("under way|this too|");
    peer_send_close(world->peer, 4014, "Disallowed intent(s).");
    WAIT_UNTIL(world->ended);
    assert_closed_with(4014, "Disallowed intent(s).");
    drop_ws();
  }
}

static void sends_nothing_behind_its_close_frame(void **state)
{
  (void)state;
  reach(CLOSING);
  tg_ws_send(world->ws, "too late", 8);
  peer_let_it_look(world->peer);
  peer_send_close(world->peer, 4000, "");
  WAIT_UNTIL(world->ended);
  tg_ws_send(world->ws, "much too late", 13);
  peer_expect_end(world->peer);
}

static void closes_behind_what_waits(void **state)
{
  (void)state;
  enum { BIG = 8 * 1024 * 1024 };
  struct tg_buf message = {0};
  char *text = malloc(BIG);
  memset(text, 'x', BIG);
  peer_takes_little(world->peer);
  connect_ws();
  tg_ws_send(world->ws, text, BIG);
  tg_ws_close(world->ws, 4000, "bye", PATIENCE);
  int first = 0;
  while (message.length < BIG) {
    first = peer_next_frame(world->peer, &message);
    assert_true((first & 0x0f) == (TEXT & 0x0f) || (first & 0x0f) == GOES_ON);
  }
  assert_int_equal(first & 0x80, 0x80);
  assert_int_equal(message.length, BIG);
  peer_expect(world->peer, CLOSE,
              "\x0f\xa0"
              "bye",
              5);
  peer_send_close(world->peer, 4000, "");
  WAIT_UNTIL(world->ended);
  assert_closed_with(4000, "");
  tg_buf_free(&message);
  free(text);
}

/* Both close at the same moment. */
static void tells_of_a_close_that_crosses_its_own(void **state)
{
  (void)state;
  for (int tls = 0; tls < 2; tls++) {
    use_tls(tls ? trusted_tls : NULL);
    connect_ws();
    peer_send_close(world->peer, 4004, "no");
    tg_ws_close(world->ws, 4000, "bye", PATIENCE);
    WAIT_UNTIL(world->ended);
    assert_closed_with(4004, "no");
    drop_ws();
  }
}

static void ends_when_the_peer_does_not_close_in_time(void **state)
{
  (void)state;
  enum { TIMEOUT = 200 };
  for (int tls = 0; tls < 2; tls++) {
    use_tls(tls ? trusted_tls : NULL);
    connect_ws();
    tg_ms began = tg_now();
    tg_ws_close(world->ws, 4000, "bye", TIMEOUT);
    peer_expect(world->peer, CLOSE,
                "\x0f\xa0"
                "bye",
                5);
    peer_send_text(world->peer, "that is no answer");
    WAIT_UNTIL(world->ended);
    assert_true(tg_now() - began >= TIMEOUT - 10); /* the loop's time may be some ms old */
    assert_failed_with("timeout");
    assert_non_null(strstr(world->end.error.message, "gateway.test"));
    tg_ws_free(world->ws);
    world->ws = NULL;
    peer_expect_end(world->peer);
    drop_ws();
  }
}

/* It does not read either: our close frame waits behind what waits. */
static void ends_in_time_when_the_peer_does_not_even_read(void **state)
{
  (void)state;
  enum { BIG = 8 * 1024 * 1024 };
  char *text = malloc(BIG);
  memset(text, 'x', BIG);
  peer_takes_little(world->peer);
  connect_ws();
  tg_ws_send(world->ws, text, BIG);
  tg_ws_close(world->ws, 4000, "bye", 200);
  WAIT_UNTIL(world->ended);
  assert_failed_with("timeout");
  free(text);
}

static void just_ends_when_it_is_closed_before_it_is_open(void **state)
{
  (void)state;
  for (int tls = 0; tls < 2; tls++)
    for (enum phase phase = RESOLVING; phase < OPEN; phase++) {
      if (!phase_exists(phase, tls))
        continue;
      use_tls(tls ? trusted_tls : NULL);
      reach(phase);
      tg_ws_close(world->ws, 1000, "never mind", PATIENCE);
      WAIT_UNTIL(world->ended);
      assert_false(world->opened);
      assert_int_equal(world->end.code, 1006);
      assert_int_equal(world->end.http_status, 0);
      drop_ws();
      empty_queue();
    }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      TEST(tells_code_and_reason_of_the_peer),
      TEST(tells_that_a_close_frame_was_empty),
      TEST(takes_no_half_of_a_code),
      TEST(hears_a_close_frame_cut_at_every_byte),
      TEST(hears_a_close_frame_between_fragments),
      TEST(hears_a_close_frame_of_a_peer_that_does_not_read),
      TEST(hears_what_stands_in_front_of_the_end),
      TEST(hears_much_that_stands_in_front_of_the_end),
      TEST(closes_with_code_and_reason),
      TEST(closes_inside_callbacks),
      TEST(waits_for_the_peer_to_close),
      TEST(sends_nothing_behind_its_close_frame),
      TEST(closes_behind_what_waits),
      TEST(tells_of_a_close_that_crosses_its_own),
      TEST(ends_when_the_peer_does_not_close_in_time),
      TEST(ends_in_time_when_the_peer_does_not_even_read),
      TEST(just_ends_when_it_is_closed_before_it_is_open),
  };
  return RUN_TESTS(tests);
}
