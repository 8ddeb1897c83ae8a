/* Peers that go without a word, in each phase of a connection. */

#include "ws_fixture.h"

enum way { FIN, NOTIFIED_FIN, RESET, WAYS };

static const char *const names[PHASES] = {
    [SECURING] = "securing", [UPGRADING] = "upgrading", [HALF_ANSWERED] = "half answered",
    [OPEN] = "open",         [MID_FRAME] = "mid frame", [CLOSING] = "closing",
};

static void go(enum way way)
{
  if (way == RESET) {
    peer_reset(world->peer);
    return;
  }
  if (way == NOTIFIED_FIN && world->peer->ssl)
    SSL_shutdown(world->peer->ssl);
  peer_fin(world->peer);
}

static void tells_how_the_peer_has_gone(enum phase phase, bool tls)
{
  for (enum way way = FIN; way < WAYS; way++) {
    if (way == NOTIFIED_FIN && (!tls || phase == SECURING))
      continue; /* nobody has a word of TLS to say */
    use_tls(tls ? trusted_tls : NULL);
    reach(phase);
    go(way);
    WAIT_UNTIL(world->ended);
    assert_true(world->opened == (phase >= OPEN));
    const char *expected = way == RESET ? "reset" : "eof";
    if (strcmp(world->end.error.code, expected) != 0)
      fail_msg("%s, %s, %s: %s, %s", names[phase], tls ? "TLS" : "plain", expected, world->end.error.code,
               world->end.error.message);
    assert_failed_with(expected);
    assert_non_null(strstr(world->end.error.message, "gateway.test"));
    assert_int_equal(world->end.http_status, 0);
    assert_int_equal(world->end.retry_after, -1);
    assert_int_equal(world->messages, 0);
    drop_ws();
  }
}

static void tells_how_a_plain_peer_has_gone(void **state)
{
  (void)state;
  for (enum phase phase = UPGRADING; phase < PHASES; phase++)
    tells_how_the_peer_has_gone(phase, false);
}

static void tells_how_a_peer_under_tls_has_gone(void **state)
{
  (void)state;
  for (enum phase phase = SECURING; phase < PHASES; phase++)
    tells_how_the_peer_has_gone(phase, true);
}

/* Before the client has looked at its connection even once. */
static void tells_that_the_peer_has_gone_at_once(void **state)
{
  (void)state;
  for (int tls = 0; tls < 2; tls++)
    for (int reset = 0; reset < 2; reset++) {
      use_tls(tls ? trusted_tls : NULL);
      open_ws();
      peer_accept(world->peer);
      go(reset ? RESET : FIN);
      WAIT_UNTIL(world->ended);
      assert_false(world->opened);
      assert_failed_with(reset ? "reset" : "eof");
      drop_ws();
    }
}

/* What comes behind a half of a frame never comes: what came of it may be told. */
static void tells_no_message_of_half_a_frame(void **state)
{
  (void)state;
  static const struct {
    const char *bytes;
    size_t length;
    const char *heard;
  } rows[] = {
      {"\x81", 1, ""},
      {"\x81\x05hel", 5, "hel"},
      {"\x01\x02he", 4, "he"},
      {"\x81\x02he\x81", 5, "he|"},
      {"\x88\x04\x0f\xa4", 4, ""}, /* a close frame is none before it is whole */
      {"\x82\x7e\x01", 3, ""},
      {"\x89\x04pi", 4, ""},
  };
  for (size_t i = 0; i < 2 * sizeof rows / sizeof *rows; i++) {
    size_t row = i / 2;
    use_tls(i % 2 ? trusted_tls : NULL);
    connect_ws();
    peer_send(world->peer, rows[row].bytes, rows[row].length);
    peer_fin(world->peer);
    WAIT_UNTIL(world->ended);
    assert_failed_with("eof");
    assert_int_equal(world->messages, strchr(rows[row].heard, '|') != NULL);
    assert_true(world->heard.length <= strlen(rows[row].heard));
    if (world->heard.length > 0)
      assert_memory_equal(world->heard.data, rows[row].heard, world->heard.length);
    drop_ws();
  }
}

/* It is read while it is written to, also when nothing can be written any more. */
static void tells_that_a_peer_has_gone_that_did_not_read(void **state)
{
  (void)state;
  enum { BIG = 8 * 1024 * 1024 };
  char *text = malloc(BIG);
  memset(text, 'x', BIG);
  peer_takes_little(world->peer);
  for (int i = 0; i < 4; i++) {
    bool reset = i / 2;
    use_tls(i % 2 ? trusted_tls : NULL);
    connect_ws();
    tg_ws_send(world->ws, text, BIG);
    peer_let_it_look(world->peer);
    go(reset ? RESET : FIN);
    WAIT_UNTIL(world->ended);
    assert_failed_with(reset ? "reset" : "eof");
    assert_false(world->drained);
    drop_ws();
  }
  free(text);
}

/* ---- a connection that is over ---- */

static void may_be_asked_after_its_end(void **state)
{
  (void)state;
  for (int way = 0; way < 3; way++) {
    char text[100] = "?";
    connect_ws();
    if (way == 0)
      peer_send_close(world->peer, 4000, "");
    else
      go(way == 1 ? FIN : RESET);
    WAIT_UNTIL(world->ended);
    tg_ws_send(world->ws, "late", 4);
    tg_ws_close(world->ws, 1000, "late", 10);
    tg_ws_trim(world->ws);
    tg_ws_blame_address(world->ws);
    tg_ws_progress(world->ws, text, sizeof text);
    assert_int_equal(tg_ws_unsent(world->ws), 0);
    (void)tg_ws_received(world->ws);
    for (tg_ms until = tg_now() + 50; tg_now() < until;)
      peer_turn(world->peer, SPINS);
    drop_ws();
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      TEST(tells_how_a_plain_peer_has_gone),
      TEST(tells_how_a_peer_under_tls_has_gone),
      TEST(tells_that_the_peer_has_gone_at_once),
      TEST(tells_no_message_of_half_a_frame),
      TEST(tells_that_a_peer_has_gone_that_did_not_read),
      TEST(may_be_asked_after_its_end),
  };
  return RUN_TESTS(tests);
}
