/* From a URL to a WebSocket, over a proxy. */

#include "dial_fixture.h"

static const char *env(const char *name)
{
  static char url[100];
  snprintf(url, sizeof url, "http://user:secret@proxy.test:%s", world->port);
  return strcmp(name, "all_proxy") == 0 ? url : NULL;
}

/* The same of a proxy, over which the name is to be reached. */
static void set_proxy(int count, enum manner first, enum manner second)
{
  world->proxied = true;
  set_peers(count, first, second, ABSENT);
  tg_dialer_free(world->dialer);
  tg_proxies_free(world->proxies);
  world->proxies = tg_proxies_read(env, NULL);
  world->dialer = tg_dialer_new(&world->loop, NULL, world->proxies, NULL);
}

static void asks_a_proxy_for_the_host(void **state)
{
  (void)state;
  set_proxy(1, UPGRADES, ABSENT);
  dial(false);
  run_until(&world->opened);
  run_until(&world->came);
  assert_string_equal(world->first, "first");
  assert_non_null(strstr(world->tunnel, "CONNECT gateway.test:443 HTTP/1.1\r\nHost: gateway.test:443\r\n"));
  assert_non_null(strstr(world->tunnel, "\r\nProxy-Authorization: Basic dXNlcjpzZWNyZXQ=\r\n"));
}

static void takes_another_address_of_the_proxy(void **state)
{
  (void)state;
  set_proxy(2, MUTE, UPGRADES);
  dial(false);
  run_until(&world->opened);
  assert_string_equal(world->address, "127.0.0.2");
}

static void tells_what_a_proxy_does(void **state)
{
  (void)state;
  static const struct {
    enum manner manner;
    const char *code, *words;
  } rows[] = {
      {WANTS_LOGIN, "proxy", "(all_proxy) does not accept the user and password in its URL (407)"},
      {CANNOT_CONNECT, "proxy", "(all_proxy) cannot connect to gateway.test:443: it answers 502"},
      {CLOSES, "proxy", "(all_proxy) broke the connection off when it was asked for gateway.test:443"},
      {BABBLES, "proxy", "(all_proxy) does not answer CONNECT as HTTP has it"},
      {ABSENT, "refused", "the proxy http://proxy.test:"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    set_proxy(1, rows[i].manner, ABSENT);
    dial(true);
    run_until(&world->ended);
    assert_string_equal(world->end.error.code, rows[i].code);
    assert_int_equal(world->end.http_status, 0);
    if (!strstr(world->end.error.message, rows[i].words) || strstr(world->end.error.message, "secret"))
      fail_msg("%s", world->end.error.message);
    hang_up();
  }
}

static void what_discord_answers_is_not_the_proxys(void **state)
{
  (void)state;
  set_proxy(1, REFUSES, ABSENT);
  dial(false);
  run_until(&world->ended);
  assert_int_equal(world->end.http_status, 429);
  assert_int_equal(world->end.retry_after, 7000);
}

static void tells_who_is_mute(void **state)
{
  (void)state;
  const char *words[] = {"(127.0.0.1) is connected, but does not answer CONNECT",
                         "gateway.test behind the proxy http://proxy.test:"};
  for (int i = 0; i < 2; i++) {
    char text[400] = "";
    set_proxy(1, i == 0 ? MUTE : UPGRADES, ABSENT); /* which knows no TLS, but lets pass */
    dial(true);
    for (tg_ms deadline = tg_now() + PATIENCE; !strstr(text, words[i]) && tg_now() < deadline;) {
      uv_run(&world->loop, UV_RUN_NOWAIT);
      if (i == 0 || world->tunnel[0] == '\0')
        on_tick(NULL);
      tg_dial_progress(world->dial, text, sizeof text);
    }
    assert_non_null(strstr(text, words[i]));
    hang_up();
    uv_run(&world->loop, UV_RUN_NOWAIT);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      TEST(asks_a_proxy_for_the_host), TEST(takes_another_address_of_the_proxy),
      TEST(tells_what_a_proxy_does),   TEST(what_discord_answers_is_not_the_proxys),
      TEST(tells_who_is_mute),
  };
  setenv("TIDEGATE_HURRY", "10", 1); /* 300 ms for a handshake */
  return cmocka_run_group_tests(tests, NULL, NULL);
}
