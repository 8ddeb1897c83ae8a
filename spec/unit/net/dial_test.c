/* From a URL to a WebSocket: addresses that race. */

#include "dial_fixture.h"

static void hands_over_what_is_open(void **state)
{
  (void)state;
  set_peers(1, UPGRADES, ABSENT, ABSENT);
  dial(false);
  assert_false(world->opened);
  run_until(&world->opened);
  assert_string_equal(world->address, "127.0.0.1");
  run_until(&world->came);
  assert_string_equal(world->first, "first");
}

static void may_be_freed_inside_its_callbacks(void **state)
{
  (void)state;
  world->free_at_once = true;
  set_peers(2, MUTE, UPGRADES, ABSENT);
  dial(false);
  run_until(&world->opened);
  hang_up();
  set_peers(2, ABSENT, REFUSES, ABSENT);
  dial(false);
  run_until(&world->ended);
  set_peers(2, ABSENT, ABSENT, ABSENT);
  dial(false);
  run_until(&world->ended);
}

static void goes_on_at_once_where_one_refuses_the_connection(void **state)
{
  (void)state;
  set_peers(3, ABSENT, ABSENT, UPGRADES);
  tg_ms began = tg_now();
  dial(false);
  run_until(&world->opened);
  assert_string_equal(world->address, "127.0.0.3");
  assert_true(tg_now() - began < 3000);
}

static void goes_on_where_one_breaks_off_or_talks_nonsense(void **state)
{
  (void)state;
  set_peers(3, CLOSES, BABBLES, UPGRADES);
  dial(false);
  run_until(&world->opened);
  assert_string_equal(world->address, "127.0.0.3");
  assert_int_equal(world->peers[0].count, 1);
  assert_int_equal(world->peers[1].count, 1);
}

static void tries_others_beside_one_that_is_mute(void **state)
{
  (void)state;
  set_peers(2, MUTE, UPGRADES, ABSENT);
  dial(false);
  run_until(&world->opened);
  assert_string_equal(world->address, "127.0.0.2");

  /* ... and begins with that one, from then on. */
  hang_up();
  tg_ms began = tg_now();
  dial(false);
  run_until(&world->opened);
  assert_string_equal(world->address, "127.0.0.2");
  assert_true(tg_now() - began < 2000);
  assert_int_equal(world->peers[0].count, 1);
}

/* Turns the loop until somebody has connected to the peer. */
static void run_until_connected(const struct peer *peer, int count)
{
  for (tg_ms deadline = tg_now() + PATIENCE; peer->count < count && tg_now() < deadline;) {
    uv_run(&world->loop, UV_RUN_NOWAIT);
    on_tick(NULL);
  }
  assert_int_equal(peer->count, count);
}

static void begins_with_another_when_the_owner_has_lost_patience(void **state)
{
  (void)state;
  set_peers(2, MUTE, MUTE, ABSENT);
  dial(true);
  run_until_connected(&world->peers[1], 1); /* beside the first one, which has had its time */
  hang_up();
  dial(true);
  run_until_connected(&world->peers[1], 2);
  assert_int_equal(world->peers[0].count, 1);
}

static void blame_counts_for_the_next_one(void **state)
{
  (void)state;
  set_peers(2, UPGRADES, UPGRADES, ABSENT);
  dial(false);
  run_until(&world->opened);
  assert_string_equal(world->address, "127.0.0.1");
  struct tg_address address;
  struct sockaddr_in at = {.sin_family = AF_INET,
                           .sin_port = htons((uint16_t)atoi(world->port)),
                           .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  tg_address_set(&address, (struct sockaddr *)&at, sizeof at);
  tg_dialer_blame(world->dialer, &address);
  hang_up();
  dial(false);
  run_until(&world->opened);
  assert_string_equal(world->address, "127.0.0.2");
}

static void an_answer_is_the_last_word(void **state)
{
  (void)state;
  set_peers(2, REFUSES, UPGRADES, ABSENT);
  dial(false);
  run_until(&world->ended);
  assert_int_equal(world->end.http_status, 429);
  assert_int_equal(world->end.retry_after, 7000);
  assert_string_equal(world->end.error.code, "refused_upgrade");
  assert_int_equal(world->peers[1].count, 0);
}

static void tells_of_the_one_that_got_farthest(void **state)
{
  (void)state;
  set_peers(3, ABSENT, CLOSES, ABSENT);
  dial(false);
  run_until(&world->ended);
  assert_int_equal(world->end.http_status, 0);
  assert_string_equal(world->end.error.code, "eof");
  assert_non_null(strstr(world->end.error.message, "gateway.test (127.0.0.2)"));
}

static void tells_that_a_name_does_not_exist(void **state)
{
  (void)state;
  set_peers(0, ABSENT, ABSENT, ABSENT);
  dial(false);
  run_until(&world->ended);
  assert_string_equal(world->end.error.code, "resolve");
  assert_non_null(strstr(world->end.error.message, "the name gateway.test cannot be resolved"));
}

/* Nobody accepts, and no more connections fit into the queue. */
static void fill_queue(int fds[4 * ACCEPTED_MAX])
{
  struct sockaddr_in at = {.sin_family = AF_INET,
                           .sin_port = htons((uint16_t)atoi(world->port)),
                           .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  for (int i = 0; i < 4 * ACCEPTED_MAX; i++) {
    fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    connect(fds[i], (struct sockaddr *)&at, sizeof at);
  }
}

static void may_be_freed_in_every_phase(void **state)
{
  (void)state;
  static const char *const words[] = {
      "the name gateway.test is not resolved", "gateway.test (127.0.0.1) does not take the connection",
      "gateway.test (127.0.0.1) is connected, but does not answer in TLS",
      ("gateway.test (127.0.0.1) is connected, but does not answer the WebSocket "
       "upgrade")};
  for (int phase = 0; phase < 4; phase++) {
    char text[200] = "";
    int fds[4 * ACCEPTED_MAX];
    set_peers(1, MUTE, ABSENT, ABSENT);
    if (phase == 1)
      fill_queue(fds);
    dial(phase == 2);
    if (phase == 0)
      tg_dial_progress(world->dial, text, sizeof text);
    for (tg_ms deadline = tg_now() + PATIENCE; strcmp(text, words[phase]) != 0 && tg_now() < deadline;) {
      uv_run(&world->loop, UV_RUN_NOWAIT);
      tg_dial_progress(world->dial, text, sizeof text);
    }
    assert_string_equal(text, words[phase]);
    hang_up();
    uv_run(&world->loop, UV_RUN_NOWAIT);
    for (int i = 0; phase == 1 && i < 4 * ACCEPTED_MAX; i++)
      close(fds[i]);
  }
  assert_false(world->opened || world->ended);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      TEST(hands_over_what_is_open),
      TEST(may_be_freed_inside_its_callbacks),
      TEST(goes_on_at_once_where_one_refuses_the_connection),
      TEST(goes_on_where_one_breaks_off_or_talks_nonsense),
      TEST(tries_others_beside_one_that_is_mute),
      TEST(begins_with_another_when_the_owner_has_lost_patience),
      TEST(blame_counts_for_the_next_one),
      TEST(an_answer_is_the_last_word),
      TEST(tells_of_the_one_that_got_farthest),
      TEST(tells_that_a_name_does_not_exist),
      TEST(may_be_freed_in_every_phase),
  };
  setenv("TIDEGATE_HURRY", "10", 1); /* 300 ms for a handshake */
  return cmocka_run_group_tests(tests, NULL, NULL);
}
