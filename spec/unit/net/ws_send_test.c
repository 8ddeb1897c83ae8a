/* What goes out: messages, to peers that read and peers that do not, and answers to pings. */

#include "ws_fixture.h"

#include <malloc.h>

enum { BIG = 8 * 1024 * 1024 };

/* Text of which nothing can be lost, doubled or moved unnoticed. */
static char *make_big(void)
{
  char *text = malloc(BIG + 1);
  for (size_t i = 0; i < BIG; i++)
    text[i] = (char)('!' + ((i * 2654435761u) >> 24) % 90);
  return text;
}

/* The payload of the next message, however it was cut into frames. */
static void next_message(struct tg_buf *message)
{
  int first = peer_next_frame(world->peer, message);
  assert_int_equal(first & 0x0f, TEXT & 0x0f);
  while (!(first & 0x80)) {
    first = peer_next_frame(world->peer, message);
    assert_int_equal(first & 0x0f, GOES_ON);
  }
}

static void expect_message(const char *text, size_t length)
{
  struct tg_buf message = {0};
  next_message(&message);
  assert_int_equal(message.length, length);
  if (length > 0)
    assert_memory_equal(message.data, text, length);
  tg_buf_free(&message);
}

static void sends_messages_of_every_form_of_length(void **state)
{
  (void)state;
  static const size_t lengths[] = {0, 1, 125, 126, 127, 4096, 16384, 65535, 65536, 65537, 200000};
  char *text = make_big();
  for (int tls = 0; tls < 2; tls++) {
    use_tls(tls ? trusted_tls : NULL);
    connect_ws();
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
      tg_ws_send(world->ws, text + i, lengths[i]);
      expect_message(text + i, lengths[i]);
    }
    drop_ws();
  }
  free(text);
}

static void keeps_the_order_of_many_messages(void **state)
{
  (void)state;
  enum { MANY = 1000 };
  for (int tls = 0; tls < 2; tls++) {
    char text[32];
    use_tls(tls ? trusted_tls : NULL);
    connect_ws();
    for (int i = 0; i < MANY; i++)
      tg_ws_send(world->ws, text, (size_t)snprintf(text, sizeof text, "message %d", i));
    for (int i = 0; i < MANY; i++)
      expect_message(text, (size_t)snprintf(text, sizeof text, "message %d", i));
    drop_ws();
  }
}

static void send_from_inside(void)
{
  tg_ws_send(world->ws, "inside", 6);
}

static void sends_inside_callbacks(void **state)
{
  (void)state;
  static const enum moment moments[] = {AT_OPEN, AT_DATA, AT_MESSAGE_END};
  for (int i = 0; i < 6; i++) {
    use_tls(i % 2 ? trusted_tls : NULL);
    prepare(moments[i / 2], send_from_inside);
    connect_ws();
    peer_send_text(world->peer, "hello");
    expect_message("inside", 6);
    tg_ws_send(world->ws, "outside", 7);
    expect_message("outside", 7);
    assert_heard("hello|");
    drop_ws();
  }
}

static void sends_nothing_before_it_is_open(void **state)
{
  (void)state;
  reach(UPGRADING);
  tg_ws_send(world->ws, "too early", 9);
  peer_answer(world->peer);
  WAIT_UNTIL(world->opened);
  tg_ws_send(world->ws, "now", 3);
  expect_message("now", 3);
}

static void keeps_much_for_a_peer_that_does_not_read(void **state)
{
  (void)state;
  char *text = make_big();
  peer_takes_little(world->peer);
  for (int tls = 0; tls < 2; tls++) {
    use_tls(tls ? trusted_tls : NULL);
    connect_ws();
    tg_ws_send(world->ws, text, BIG);
    assert_true(tg_ws_unsent(world->ws) > 0);
    for (int i = 0; i < 20; i++)
      peer_let_it_look(world->peer);
    assert_true(tg_ws_unsent(world->ws) > 0);
    assert_false(world->drained);
    tg_ws_send(world->ws, "and more", 8);
    expect_message(text, BIG);
    expect_message("and more", 8);
    WAIT_UNTIL(world->drained);
    assert_int_equal(tg_ws_unsent(world->ws), 0);
    drop_ws();
  }
  free(text);
}

static void hears_a_peer_that_does_not_read(void **state)
{
  (void)state;
  char *text = make_big();
  peer_takes_little(world->peer);
  connect_ws();
  tg_ws_send(world->ws, text, BIG);
  peer_send_text(world->peer, "hello");
  WAIT_UNTIL(world->messages == 1);
  assert_heard("hello|");
  assert_true(tg_ws_unsent(world->ws) > 0);
  free(text);
}

/* ---- pings ---- */

static void answers_a_ping_with_its_payload(void **state)
{
  (void)state;
  static const size_t lengths[] = {0, 1, 4, 124, 125};
  char *text = make_big();
  for (int tls = 0; tls < 2; tls++) {
    use_tls(tls ? trusted_tls : NULL);
    connect_ws();
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
      peer_send_frame(world->peer, PING, text + i, lengths[i]);
      peer_expect(world->peer, PONG, text + i, lengths[i]);
    }
    assert_heard("");
    drop_ws();
  }
  free(text);
}

static void answers_no_pong(void **state)
{
  (void)state;
  connect_ws();
  peer_send_frame(world->peer, PONG, "unasked", 7);
  peer_send_frame(world->peer, PING, "p", 1);
  peer_expect(world->peer, PONG, "p", 1);
  assert_heard("");
  assert_false(world->ended);
}

/* The answer goes between messages, not into one. */
static void answers_a_ping_behind_a_message_that_waits(void **state)
{
  (void)state;
  char *text = make_big();
  peer_takes_little(world->peer);
  connect_ws();
  tg_ws_send(world->ws, text, BIG);
  peer_send_frame(world->peer, PING, "p", 1);
  peer_let_it_look(world->peer);
  struct tg_buf message = {0};
  bool answered = false;
  for (int first = 0; first != TEXT && first != CONTINUATION;) {
    size_t before = message.length;
    first = peer_next_frame(world->peer, &message);
    if (first != PONG)
      continue;
    answered = true;
    message.length = before; /* between the fragments of the message */
  }
  assert_int_equal(message.length, BIG);
  assert_memory_equal(message.data, text, BIG);
  if (!answered)
    peer_expect(world->peer, PONG, "p", 1);
  tg_buf_free(&message);
  free(text);
}

/* Who pings and does not read is owed one answer: what all would take grows as long as
 * the peer likes. */
static void keeps_few_answers_for_a_peer_that_does_not_read(void **state)
{
  (void)state;
  enum { A_TIME = 1000, TIMES = 100, MOST = 256 * 1024 };
  char payload[125] = "ping";
  struct tg_buf pings = {0}, answer = {0};
  for (int i = 0; i < A_TIME; i++)
    put_frame(&pings, PING, payload, sizeof payload);
  peer_takes_little(world->peer);
  connect_ws();
  peer_send(world->peer, pings.data, pings.length);
  peer_let_it_look(world->peer);
  size_t before = mallinfo2().uordblks;
  for (int i = 0; i < TIMES; i++)
    peer_send(world->peer, pings.data, pings.length);
  WAIT_UNTIL(tg_ws_received(world->ws) >= (TIMES + 1) * pings.length);
  assert_true(mallinfo2().uordblks < before + MOST);
  assert_true(tg_ws_unsent(world->ws) < MOST);

  /* Once it reads again it has all answers that come. */
  bool quiet = false;
  for (size_t had = 0; !quiet; had = world->peer->in.length) {
    for (int i = 0; i < 10; i++) {
      peer_turn(world->peer, SPINS);
      peer_read(world->peer);
    }
    quiet = world->peer->in.length == had;
  }
  strcpy(payload, "the last one");
  peer_send_frame(world->peer, PING, payload, sizeof payload);
  do {
    answer.length = 0;
    assert_int_equal(peer_next_frame(world->peer, &answer), PONG);
    assert_int_equal(answer.length, sizeof payload);
  } while (strcmp(answer.data, "the last one") != 0);
  assert_false(world->ended);
  tg_buf_free(&pings);
  tg_buf_free(&answer);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      TEST(sends_messages_of_every_form_of_length),
      TEST(keeps_the_order_of_many_messages),
      TEST(sends_inside_callbacks),
      TEST(sends_nothing_before_it_is_open),
      TEST(keeps_much_for_a_peer_that_does_not_read),
      TEST(hears_a_peer_that_does_not_read),
      TEST(answers_a_ping_with_its_payload),
      TEST(answers_no_pong),
      TEST(answers_a_ping_behind_a_message_that_waits),
      TEST(keeps_few_answers_for_a_peer_that_does_not_read),
  };
  return RUN_TESTS(tests);
}
