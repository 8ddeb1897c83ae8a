/* From a connection to a WebSocket: the request, and answers of all kinds. */

#include "ws_fixture.h"

/* Opens one whose peer has its request, and has not answered. */
static void ask(void)
{
  open_ws();
  peer_accept(world->peer);
  peer_take_request(world->peer);
}

static void answer(const char *head)
{
  peer_say(world->peer, head);
}

static void asks_as_the_protocol_has_it(void **state)
{
  (void)state;
  static const char *const lines[] = {"\r\nUpgrade: websocket\r\n", "\r\nConnection: Upgrade\r\n",
                                      "\r\nSec-WebSocket-Version: 13\r\n", "\r\nSec-WebSocket-Key: "};
  strcpy(world->url.target, "/?v=10&encoding=json&compress=zlib-stream");
  for (int tls = 0; tls < 2; tls++) {
    char host[64];
    use_tls(tls ? trusted_tls : NULL);
    ask();
    const char *head = world->peer->head,
               first[] = "GET /?v=10&encoding=json&compress=zlib-stream HTTP/1.1\r\n";
    assert_memory_equal(head, first, sizeof first - 1);
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
      if (!strcasestr(head, lines[i]))
        fail_msg("%s is missing in %s", lines[i], head);
    snprintf(host, sizeof host, "\r\nHost: gateway.test:%s\r\n", world->url.port);
    assert_non_null(strcasestr(head, host));
    assert_null(strcasestr(head, "Sec-WebSocket-Extensions")); /* frames would be compressed twice */
    drop_ws();
  }
}

static void takes_an_answer_cut_at_every_byte(void **state)
{
  (void)state;
  for (int tls = 0; tls < 2; tls++) {
    use_tls(tls ? trusted_tls : NULL);
    for (size_t cut = 1, length = cut + 1; cut < length; cut++) {
      struct tg_buf text = {0};
      ask();
      put_answer(world->peer, &text);
      length = text.length;
      put_frame(&text, TEXT, "first", 5);
      peer_send(world->peer, text.data, cut);
      peer_let_it_look(world->peer);
      peer_send(world->peer, text.data + cut, text.length - cut);
      WAIT_UNTIL(world->messages == 1 || world->ended);
      if (world->ended)
        fail_msg("cut at byte %zu: %s", cut, world->end.error.message);
      assert_heard("first|");
      tg_buf_free(&text);
      drop_ws();
    }
  }
}

static void takes_an_answer_byte_by_byte(void **state)
{
  (void)state;
  for (int tls = 0; tls < 2; tls++) {
    struct tg_buf text = {0};
    use_tls(tls ? trusted_tls : NULL);
    ask();
    put_answer(world->peer, &text);
    put_frame(&text, TEXT, "first", 5);
    peer_dribble(world->peer, text.data, text.length);
    WAIT_UNTIL(world->messages == 1);
    assert_heard("first|");
    tg_buf_free(&text);
    drop_ws();
  }
}

enum glue { APART, IN_ONE_PIECE, IN_A_RECORD_BEHIND };

/* The client may find all of it in its first look: what it has read ahead is not
 * announced again by the socket. */
static void takes_what_comes_glued_to_the_answer(void **state)
{
  (void)state;
  struct tg_buf frames = {0};
  put_frame(&frames, TEXT, "hello", 5);
  put_frame(&frames, PING, "p", 1);
  put_frame(&frames, BINARY, "again", 5);
  for (int tls = 0; tls < 2; tls++)
    for (enum glue glue = APART; glue <= IN_A_RECORD_BEHIND; glue++) {
      use_tls(tls ? trusted_tls : NULL);
      ask();
      if (glue == IN_ONE_PIECE) {
        peer_answer_with(world->peer, frames.data, frames.length);
      } else {
        peer_answer(world->peer);
        if (glue == APART)
          WAIT_UNTIL(world->opened);
        peer_send(world->peer, frames.data, frames.length);
      }
      WAIT_UNTIL(world->messages == 2);
      assert_heard("hello|again|");
      peer_expect(world->peer, PONG, "p", 1);
      drop_ws();
    }
  tg_buf_free(&frames);
}

/* More than any buffer of the client takes at once, in many records. */
static void takes_much_that_comes_glued_to_the_answer(void **state)
{
  (void)state;
  enum { SIZE = 200000 };
  char *bytes = malloc(SIZE);
  struct tg_buf frame = {0};
  memset(bytes, 'x', SIZE);
  put_frame(&frame, TEXT, bytes, SIZE);
  for (int tls = 0; tls < 2; tls++) {
    use_tls(tls ? trusted_tls : NULL);
    ask();
    peer_answer_with(world->peer, frame.data, frame.length);
    WAIT_UNTIL(world->messages == 1);
    assert_int_equal(world->heard.length, SIZE + 1);
    drop_ws();
  }
  tg_buf_free(&frame);
  free(bytes);
}

static void takes_a_close_frame_glued_to_the_answer(void **state)
{
  (void)state;
  struct tg_buf frames = {0};
  put_frame(&frames, TEXT, "hello", 5);
  put_close(&frames, 4004, "Authentication failed.");
  for (int tls = 0; tls < 2; tls++)
    for (int fin = 0; fin < 2; fin++) {
      use_tls(tls ? trusted_tls : NULL);
      ask();
      peer_answer_with(world->peer, frames.data, frames.length);
      if (fin)
        peer_fin(world->peer);
      WAIT_UNTIL(world->ended);
      assert_true(world->opened);
      assert_heard("hello|");
      assert_closed_with(4004, "Authentication failed.");
      drop_ws();
    }
  tg_buf_free(&frames);
}

/* ---- who is not let in ---- */

static void tells_how_it_was_refused(void **state)
{
  (void)state;
  static const struct {
    int status;
    tg_ms retry_after;
    const char *head;
  } rows[] = {
      {429, 7000, "429 Too Many Requests\r\nRetry-After: 7\r\n"},
      {429, -1, "429 Too Many Requests\r\n"},
      {429, 0, "429 Too Many Requests\r\nretry-after: 0\r\n"},
      {429, 90000,
       "429 Too Many Requests\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
       "Retry-After: Sun, 06 Nov 1994 08:51:07 GMT\r\n"},
      {429, 90000,
       "429 Too Many Requests\r\nRetry-After: Sun, 06 Nov 1994 08:51:07 GMT\r\n"
       "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"},
      {429, -1, "429 Too Many Requests\r\nRetry-After: soon\r\n"},
      {401, -1, "401 Unauthorized\r\nWWW-Authenticate: Bot\r\n"},
      {403, -1, "403 Forbidden\r\n"},
      {404, -1, "404 Not Found\r\n"},
      {500, -1, "500 Internal Server Error\r\n"},
      {503, 30000, "503 Service Unavailable\r\nRetry-After: 30\r\n"},
      {200, -1, "200 OK\r\n"},
  };
  for (size_t i = 0; i < 2 * sizeof rows / sizeof *rows; i++) {
    size_t row = i / 2;
    char head[300];
    snprintf(head, sizeof head, "HTTP/1.1 %sContent-Length: 5\r\n\r\nsorry", rows[row].head);
    use_tls(i % 2 ? trusted_tls : NULL);
    ask();
    answer(head);
    WAIT_UNTIL(world->ended);
    assert_false(world->opened);
    assert_failed_with("refused_upgrade");
    if (world->end.http_status != rows[row].status || world->end.retry_after != rows[row].retry_after)
      fail_msg("%s: %d, %d ms", rows[row].head, world->end.http_status, (int)world->end.retry_after);
    assert_heard("");
    drop_ws();
  }
}

/* The answer is all that counts, also where the peer does not wait with its FIN. */
static void is_refused_by_a_peer_that_goes(void **state)
{
  (void)state;
  for (int tls = 0; tls < 2; tls++) {
    use_tls(tls ? trusted_tls : NULL);
    ask();
    answer("HTTP/1.1 503 Service Unavailable\r\nRetry-After: 2\r\nContent-Length: 0\r\n\r\n");
    peer_fin(world->peer);
    WAIT_UNTIL(world->ended);
    assert_failed_with("refused_upgrade");
    assert_int_equal(world->end.http_status, 503);
    assert_int_equal(world->end.retry_after, 2000);
    drop_ws();
  }
}

static void follows_nobody_elsewhere(void **state)
{
  (void)state;
  char head[200];
  snprintf(head, sizeof head,
           "HTTP/1.1 302 Found\r\nLocation: http://gateway.test:%s/\r\nContent-Length: 0\r\n\r\n",
           world->peer->port);
  ask();
  answer(head);
  WAIT_UNTIL(world->ended);
  assert_failed_with("refused_upgrade");
  assert_int_equal(world->end.http_status, 302);
  peer_hang_up(world->peer);
  peer_let_it_look(world->peer);
  assert_false(peer_accept_now(world->peer));
}

/* Somebody answers who has not read the request: a cache, for one. */
static void believes_no_wrong_proof(void **state)
{
  (void)state;
  static const char *const proofs[] = {"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n",
                                       "Sec-WebSocket-Accept: \r\n", ""};
  for (size_t i = 0; i < sizeof proofs / sizeof *proofs; i++) {
    char head[300];
    snprintf(head, sizeof head,
             "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n%s\r\n",
             proofs[i]);
    ask();
    answer(head);
    WAIT_UNTIL(world->ended);
    assert_false(world->opened);
    const char *code = world->end.error.code;
    assert_true(strcmp(code, "refused_upgrade") == 0 || strcmp(code, "protocol") == 0);
    drop_ws();
  }
}

/* ---- who speaks no HTTP ---- */

static void ends_with_a_peer_that_speaks_no_http_and_goes(void **state)
{
  (void)state;
  for (int tls = 0; tls < 2; tls++) {
    use_tls(tls ? trusted_tls : NULL);
    ask();
    answer("220 smtp.test ESMTP\r\n");
    peer_fin(world->peer);
    WAIT_UNTIL(world->ended);
    assert_false(world->opened);
    const char *code = world->end.error.code;
    assert_true(strcmp(code, "protocol") == 0 || strcmp(code, "eof") == 0);
    assert_int_equal(world->end.http_status, 0);
    drop_ws();
  }
}

/* Whether it can tell depends on whose parser reads the answer: one that waits for
 * an end of the head will wait until the owner's deadline. Both is right, as long
 * as it is not let in, and is not told that it was refused. */
static void never_opens_with_a_peer_that_speaks_no_http(void **state)
{
  (void)state;
  ask();
  answer("220 smtp.test ESMTP\r\n");
  for (tg_ms until = tg_now() + 200; !world->ended && tg_now() < until;)
    peer_turn(world->peer, SPINS);
  assert_false(world->opened);
  if (world->ended)
    assert_failed_with("protocol");
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      TEST(asks_as_the_protocol_has_it),
      TEST(takes_an_answer_cut_at_every_byte),
      TEST(takes_an_answer_byte_by_byte),
      TEST(takes_what_comes_glued_to_the_answer),
      TEST(takes_much_that_comes_glued_to_the_answer),
      TEST(takes_a_close_frame_glued_to_the_answer),
      TEST(tells_how_it_was_refused),
      TEST(is_refused_by_a_peer_that_goes),
      TEST(follows_nobody_elsewhere),
      TEST(believes_no_wrong_proof),
      TEST(ends_with_a_peer_that_speaks_no_http_and_goes),
      TEST(never_opens_with_a_peer_that_speaks_no_http),
  };
  return RUN_TESTS(tests);
}
