/* Connections that come and go: they may be freed at any moment, and nothing of them stays. */

#include "ws_fixture.h"

#include <malloc.h>

/* Turns enough for callbacks of something that should be gone. */
static void look_for_ghosts(void)
{
  for (int i = 0; i < 10; i++)
    peer_let_it_look(world->peer);
}

static void free_it(void)
{
  tg_ws_free(world->ws);
  world->ws = NULL; /* a callback that follows would fail for it */
}

static void may_be_freed_in_each_phase(void **state)
{
  (void)state;
  for (int tls = 0; tls < 2; tls++)
    for (enum phase phase = RESOLVING; phase < PHASES; phase++) {
      if (!phase_exists(phase, tls))
        continue;
      use_tls(tls ? trusted_tls : NULL);
      reach(phase);
      free_it();
      look_for_ghosts();
      if (phase > CONNECTING)
        WAIT_UNTIL(peer_sees_end(world->peer));
      drop_ws();
      empty_queue();
    }
  assert_false(world->ended);
}

/* The owner has seen enough of what the peer did at that moment. */
static void may_be_freed_when_the_peer_has_acted(void **state)
{
  (void)state;
  enum { ANSWERS, TALKS, CLOSES, GOES, RESETS, ACTS };
  for (int i = 0; i < 2 * ACTS; i++) {
    int act = i / 2;
    use_tls(i % 2 ? trusted_tls : NULL);
    reach(act == ANSWERS ? UPGRADING : OPEN);
    if (act == ANSWERS)
      peer_answer(world->peer);
    else if (act == TALKS)
      peer_send_text(world->peer, "hello");
    else if (act == CLOSES)
      peer_send_close(world->peer, 4000, "");
    else if (act == GOES)
      peer_fin(world->peer);
    else
      peer_reset(world->peer);
    free_it();
    look_for_ghosts();
    assert_heard("");
    drop_ws();
  }
}

/* What would make callbacks follow the one in which it is freed. */
static void may_be_freed_in_each_callback(void **state)
{
  (void)state;
  static const struct {
    enum moment moment;
    const char *heard;
  } rows[] = {{AT_OPEN, ""}, {AT_DATA, "hello"}, {AT_MESSAGE_END, "hello|"}, {AT_END, "hello|again|"}};
  struct tg_buf frames = {0};
  put_frame(&frames, TEXT, "hello", 5);
  put_frame(&frames, PING, "p", 1);
  put_frame(&frames, TEXT, "again", 5);
  put_close(&frames, 4000, "bye");
  for (size_t i = 0; i < 4 * sizeof rows / sizeof *rows; i++) {
    bool glued = i / 2 % 2;
    prepare(rows[i / 4].moment, free_it);
    use_tls(i % 2 ? trusted_tls : NULL);
    open_ws();
    peer_accept(world->peer);
    peer_take_request(world->peer);
    peer_answer_with(world->peer, frames.data, glued ? frames.length : 0);
    if (!glued) {
      WAIT_UNTIL(world->opened);
      peer_send(world->peer, frames.data, frames.length);
    }
    WAIT_UNTIL(has_reacted());
    look_for_ghosts();
    if (rows[i / 4].moment != AT_DATA) /* which may be told in pieces */
      assert_heard(rows[i / 4].heard);
    WAIT_UNTIL(peer_sees_end(world->peer));
    drop_ws();
  }
  tg_buf_free(&frames);
}

static void may_be_freed_when_it_has_drained(void **state)
{
  (void)state;
  enum { BIG = 8 * 1024 * 1024 };
  char *text = malloc(BIG);
  memset(text, 'x', BIG);
  peer_takes_little(world->peer);
  for (int tls = 0; tls < 2; tls++) {
    prepare(AT_DRAIN, free_it);
    use_tls(tls ? trusted_tls : NULL);
    connect_ws();
    tg_ws_send(world->ws, text, BIG);
    WAIT_UNTIL((peer_read(world->peer), has_reacted()));
    look_for_ghosts();
    WAIT_UNTIL(peer_sees_end(world->peer));
    assert_true(world->peer->in.length > BIG); /* all that it had taken over */
    drop_ws();
  }
  free(text);
}

/* Ends of all kinds, told by on_end. */
static void may_be_freed_at_each_end(void **state)
{
  (void)state;
  enum { NO_NAME, NOBODY, REFUSAL, FIN_BEFORE, FIN_AFTER, RESET_AFTER, NONSENSE, LATE, EARLY, ENDS };
  for (int i = 0; i < ENDS; i++) {
    prepare(AT_END, free_it);
    world->known = i != NO_NAME;
    if (i == NOBODY)
      peer_refuses(world->peer, 0);
    else
      bind_peers();
    if (i == NO_NAME || i == NOBODY || i == EARLY)
      open_ws();
    else
      reach(i == REFUSAL || i == FIN_BEFORE ? UPGRADING : OPEN);
    if (i == REFUSAL)
      peer_say(world->peer, "HTTP/1.1 429 No\r\nContent-Length: 0\r\n\r\n");
    else if (i == FIN_BEFORE || i == FIN_AFTER)
      peer_fin(world->peer);
    else if (i == RESET_AFTER)
      peer_reset(world->peer);
    else if (i == NONSENSE)
      peer_send(world->peer, "\x83\x01x\x83\x01x", 6);
    else if (i == LATE || i == EARLY)
      tg_ws_close(world->ws, 4000, "", 20);
    WAIT_UNTIL(has_reacted());
    look_for_ghosts();
    drop_ws();
  }
}

static void open_another(void)
{
  free_it();
  open_ws();
}

/* The owner does not wait with the next one. */
static void another_may_be_opened_at_each_end(void **state)
{
  (void)state;
  for (int i = 0; i < 8; i++) {
    use_tls(i % 2 ? trusted_tls : NULL);
    connect_ws();
    prepare(AT_END, open_another);
    if (i / 2 == 0)
      peer_send_close(world->peer, 4000, "");
    else if (i / 2 == 1)
      peer_fin(world->peer);
    else if (i / 2 == 2)
      peer_reset(world->peer);
    else
      tg_ws_close(world->ws, 4000, "", 20);
    WAIT_UNTIL(has_reacted());
    peer_hang_up(world->peer);
    peer_accept(world->peer);
    peer_take_request(world->peer);
    peer_answer(world->peer);
    WAIT_UNTIL(world->opened);
    drop_ws();
  }
}

/* ---- nothing stays ---- */

/* Instruments make each step ten times slower. TG_WS_TIMES=N sets it for longer runs. */
static int times(int many)
{
  const char *preloaded = getenv("LD_PRELOAD"), *wanted = getenv("TG_WS_TIMES");
  if (wanted)
    return atoi(wanted);
#ifdef __SANITIZE_ADDRESS__
  return many / 20;
#endif
  return preloaded && strstr(preloaded, "vgpreload") ? many / 20 : many;
}

/* Ends of all kinds have their turn. */
static void come_and_go(int number)
{
  reach(OPEN - number % 3);
  if (number % 7 == 0)
    peer_reset(world->peer);
  else if (number % 7 == 1)
    peer_fin(world->peer);
  else if (number % 7 == 2 && world->opened)
    peer_send_close(world->peer, 4000, "bye");
  else if (number % 7 == 3)
    tg_ws_close(world->ws, 1000, "", 1);
  else if (number % 7 == 4)
    peer_send(world->peer, "\x83\x01x\r\n\r\n", 7); /* neither HTTP nor a frame */
  if (number % 7 < 4 && (world->opened || number % 7 != 2))
    WAIT_UNTIL(world->ended);
  free_it();
  peer_reset(world->peer); /* no TIME_WAIT for each */
}

/* What malloc() has given out is not known to the byte: it keeps small pieces at hand.
 * Anything that stayed of each of hundreds would show. */
enum { KEPT_AT_HAND = 256 * 1024 };

struct holding {
  int descriptors;
  size_t memory;
};

static struct holding holding_now(void)
{
  look_for_ghosts();
  return (struct holding){count_descriptors(), mallinfo2().uordblks};
}

static void assert_nothing_stays(struct holding before)
{
  struct holding now;
  WAIT_UNTIL((now = holding_now()).descriptors <= before.descriptors);
  if (now.memory > before.memory + KEPT_AT_HAND)
    fail_msg("%zu bytes stay", now.memory - before.memory);
}

static void many_come_and_go(int many)
{
  for (int i = 0; i < 42; i++) /* each kind twice */
    come_and_go(i);
  struct holding before = holding_now();
  for (int i = 0; i < many; i++)
    come_and_go(i);
  assert_nothing_stays(before);
}

static void ten_thousand_leave_nothing_behind(void **state)
{
  (void)state;
  many_come_and_go(times(10000));
}

static void a_thousand_under_tls_leave_nothing_behind(void **state)
{
  (void)state;
  use_tls(trusted_tls);
  many_come_and_go(times(1000));
}

static void renew_dialer(void)
{
  struct tg_error error;
  tg_dialer_free(world->dialer);
  world->dialer = tg_dialer_new(&world->loop, ca_file, NULL, &error);
  assert_non_null(world->dialer);
}

/* The last connection goes just before it, in whatever phase. */
static void a_dialer_comes_and_goes(void **state)
{
  (void)state;
  struct holding before;
  for (int i = 0, many = 2 * PHASES + times(100); i < many; i++) {
    enum phase phase = (enum phase)(i % PHASES);
    if (i == 2 * PHASES)
      before = holding_now();
    use_tls(phase == SECURING || i / PHASES % 2 ? trusted_tls : NULL);
    reach(phase);
    free_it();
    renew_dialer();
    drop_ws();
    empty_queue();
  }
  assert_nothing_stays(before);
}

static void a_dialer_may_go_unused(void **state)
{
  (void)state;
  for (int i = 0; i < 20; i++)
    renew_dialer();
  connect_ws();
}

static void two_connections_do_not_know_each_other(void **state)
{
  (void)state;
  use_tls(trusted_tls);
  connect_ws();
  struct tg_ws *first = world->ws;
  struct peer first_peer = *world->peer;
  world->peer->fd = -1;
  world->peer->ssl = NULL;
  world->peer->in = (struct tg_buf){0};
  connect_ws();
  tg_ws_free(first);
  peer_hang_up(&first_peer);
  tg_buf_free(&first_peer.in);
  peer_send_text(world->peer, "hello");
  WAIT_UNTIL(world->messages == 1);
  tg_ws_send(world->ws, "there", 5);
  peer_expect(world->peer, TEXT, "there", 5);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      TEST(may_be_freed_in_each_phase),
      TEST(may_be_freed_when_the_peer_has_acted),
      TEST(may_be_freed_in_each_callback),
      TEST(may_be_freed_when_it_has_drained),
      TEST(may_be_freed_at_each_end),
      TEST(another_may_be_opened_at_each_end),
      TEST(ten_thousand_leave_nothing_behind),
      TEST(a_thousand_under_tls_leave_nothing_behind),
      TEST(a_dialer_comes_and_goes),
      TEST(a_dialer_may_go_unused),
      TEST(two_connections_do_not_know_each_other),
  };
  return RUN_TESTS(tests);
}
