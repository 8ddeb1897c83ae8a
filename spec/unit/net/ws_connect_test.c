/* The way to the other end of a WebSocket: the name, TCP, TLS, and what is told of them. */

#include "ws_fixture.h"

/* The name leads to both addresses, and the second one takes connections, too. */
static void listen_at_both(void)
{
  world->known = 2;
  assert_int_equal(listen(world->peers[1].listener, 8), 0);
}

/* Opens another one. It begins with the second address. */
static void begins_with_the_second_address(void)
{
  open_ws();
  PEER_WAIT(&world->peers[1], peer_accept_now(&world->peers[0]) || peer_accept_now(&world->peers[1]));
  assert_true(world->peers[1].fd >= 0);
  peer_take_request(&world->peers[1]);
  peer_answer(&world->peers[1]);
  WAIT_UNTIL(world->opened);
}

/* Whatever it sends first, it goes. */
static bool peer_sees_raw_end(struct peer *peer)
{
  char bytes[4096];
  ssize_t n = recv(peer->fd, bytes, sizeof bytes, 0);
  return n == 0 || (n < 0 && errno != EAGAIN);
}

static void calls_back_from_the_loop_alone(void **state)
{
  (void)state;
  open_ws();
  assert_false(world->opened || world->ended);
  peer_accept(world->peer);
  peer_take_request(world->peer);
  peer_answer(world->peer);
  WAIT_UNTIL(world->opened);
  assert_false(world->ended);
}

static void tells_that_nobody_listens(void **state)
{
  (void)state;
  peer_refuses(world->peer, 0);
  open_ws();
  WAIT_UNTIL(world->ended);
  assert_false(world->opened);
  assert_failed_with("refused");
  assert_non_null(strstr(world->end.error.message, "gateway.test"));
  assert_int_equal(world->end.http_status, 0);
  assert_int_equal(world->end.retry_after, -1);
}

static void tells_that_a_name_does_not_resolve(void **state)
{
  (void)state;
  world->known = 0;
  open_ws();
  WAIT_UNTIL(world->ended);
  assert_failed_with("resolve");
  assert_non_null(strstr(world->end.error.message, "gateway.test"));
}

static void goes_on_to_the_next_address_where_one_refuses(void **state)
{
  (void)state;
  listen_at_both();
  peer_refuses(world->peer, 0);
  world->peer = &world->peers[1];
  connect_ws();
}

static void goes_on_to_the_next_address_where_one_does_not_answer(void **state)
{
  (void)state;
  listen_at_both();
  fill_queue();
  world->peer = &world->peers[1];
  connect_ws();
  drop_ws();
  world->peer = &world->peers[0];
}

static void goes_on_to_the_next_address_where_one_breaks_off(void **state)
{
  (void)state;
  listen_at_both();
  open_ws();
  peer_accept(world->peer);
  peer_take_request(world->peer);
  peer_reset(world->peer);
  world->peer = &world->peers[1];
  peer_accept(world->peer);
  peer_take_request(world->peer);
  peer_answer(world->peer);
  WAIT_UNTIL(world->opened);
}

/* It takes the connection, and says nothing: that is no better. The next connection
 * begins with the address that did better. */
static void tries_another_address_beside_one_that_is_mute(void **state)
{
  (void)state;
  for (int tls = 0; tls < 2; tls++) {
    world->peer = &world->peers[0];
    bind_peers();
    listen_at_both();
    for (int i = 0; i < PEERS; i++)
      world->peers[i].tls = tls ? trusted_tls : NULL;
    world->url.tls = tls;
    open_ws();
    peer_accept(&world->peers[0]);
    world->peer = &world->peers[1];
    peer_accept(world->peer);
    peer_take_request(world->peer);
    peer_answer(world->peer);
    WAIT_UNTIL(world->opened);
    WAIT_UNTIL(peer_sees_raw_end(&world->peers[0]));
    peer_hang_up(&world->peers[0]);
    drop_ws();
    begins_with_the_second_address();
    drop_ws();
  }
}

/* Who is refused does not come again by another door. */
static void takes_an_answer_for_the_last_word(void **state)
{
  (void)state;
  listen_at_both();
  open_ws();
  peer_accept(world->peer);
  peer_take_request(world->peer);
  peer_say(world->peer, "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n");
  WAIT_UNTIL(world->ended);
  assert_failed_with("refused_upgrade");
  assert_false(peer_accept_now(&world->peers[1]));
}

static void tells_of_the_address_that_got_farthest(void **state)
{
  (void)state;
  world->known = 2; /* the second one refuses */
  open_ws();
  peer_accept(world->peer);
  peer_take_request(world->peer);
  peer_fin(world->peer);
  WAIT_UNTIL(world->ended);
  assert_failed_with("eof");
  assert_non_null(strstr(world->end.error.message, "127.0.0.1"));
}

static void begins_with_another_address_after_a_blame(void **state)
{
  (void)state;
  listen_at_both();
  connect_ws();
  tg_ws_blame_address(world->ws);
  drop_ws();
  world->peer = &world->peers[1];
  begins_with_the_second_address();
}

/* Proxies are the dialer's, and this one has none. */
static void asks_no_environment_for_the_way(void **state)
{
  (void)state;
  static const char *const names[] = {"http_proxy",  "HTTP_PROXY", "https_proxy",
                                      "HTTPS_PROXY", "all_proxy",  "ALL_PROXY"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    setenv(names[i], "http://127.0.0.3:1", 1);
  tg_dialer_free(world->dialer);
  struct tg_error error;
  world->dialer = tg_dialer_new(&world->loop, ca_file, NULL, &error);
  assert_non_null(world->dialer);
  connect_ws();
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    unsetenv(names[i]);
}

static void speaks_ipv6_with_a_host_that_is_an_address(void **state)
{
  (void)state;
  struct sockaddr_in6 at = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
  uint16_t port = 0;
  peer_stop_listening(world->peer);
  if (!peer_bind(world->peer, (struct sockaddr *)&at, sizeof at, &port))
    skip(); /* a machine without IPv6 */
  assert_int_equal(listen(world->peer->listener, 8), 0);
  strcpy(world->url.host, "::1");
  strcpy(world->url.port, world->peer->port);
  SSL_CTX *const contexts[] = {NULL, trusted_tls};
  for (int i = 0; i < 2; i++) {
    char host[64];
    use_tls(contexts[i]);
    connect_ws();
    snprintf(host, sizeof host, "\r\nHost: [::1]:%s\r\n", world->peer->port);
    assert_non_null(strcasestr(world->peer->head, host));
    drop_ws();
  }
}

/* ---- TLS ---- */

static void believes_a_certificate_for_the_name_or_the_address(void **state)
{
  (void)state;
  static const char *const hosts[] = {"gateway.test", "127.0.0.1"};
  use_tls(trusted_tls);
  for (int i = 0; i < 2; i++) {
    strcpy(world->url.host, hosts[i]);
    connect_ws();
    const char *name = SSL_get_servername(world->peer->ssl, TLSEXT_NAMETYPE_host_name);
    if (i == 0)
      assert_string_equal(name, hosts[i]); /* an address is no name to ask for */
    else
      assert_null(name);
    drop_ws();
  }
}

static void believes_no_other_certificate(void **state)
{
  (void)state;
  const struct {
    const char *host, *why;
    SSL_CTX *tls;
  } rows[] = {
      {"other.test", "certificate", trusted_tls},
      {"127.0.0.2", "certificate", trusted_tls},
      {"gateway.test", "certificate", unknown_tls},
      {"gateway.test", "expired", expired_tls},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    bool by_address = strcmp(rows[i].host, "127.0.0.2") == 0;
    world->peer = &world->peers[by_address];
    assert_int_equal(listen(world->peer->listener, 8), 0);
    use_tls(rows[i].tls);
    strcpy(world->url.host, rows[i].host);
    open_ws();
    peer_accept(world->peer);
    peer_secure(world->peer);
    WAIT_UNTIL(world->ended);
    assert_false(world->opened);
    assert_failed_with("tls");
    assert_non_null(strstr(world->end.error.message, rows[i].host));
    assert_non_null(strstr(world->end.error.message, rows[i].why));
    drop_ws();
  }
}

static void speaks_tls_of_both_ages(void **state)
{
  (void)state;
  static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
  use_tls(trusted_tls);
  for (int i = 0; i < 2; i++) {
    SSL_CTX_set_max_proto_version(trusted_tls, versions[i]);
    connect_ws();
    assert_int_equal(SSL_version(world->peer->ssl), versions[i]);
    peer_send_text(world->peer, "hello");
    WAIT_UNTIL(world->messages == 1);
    tg_ws_send(world->ws, "there", 5);
    peer_expect(world->peer, TEXT, "there", 5);
    drop_ws();
  }
  SSL_CTX_set_max_proto_version(trusted_tls, 0);
}

static int note_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_length, const unsigned char *in,
                     unsigned int in_length, void *arg)
{
  (void)ssl;
  tg_buf_append(arg, in, in_length);
  *out = in + 1;
  *out_length = in[0];
  return SSL_TLSEXT_ERR_OK;
}

/* With HTTP/2 there would be no upgrade. */
static void offers_http_1_1_alone(void **state)
{
  (void)state;
  struct tg_buf offer = {0};
  use_tls(trusted_tls);
  SSL_CTX_set_alpn_select_cb(trusted_tls, note_alpn, &offer);
  connect_ws();
  SSL_CTX_set_alpn_select_cb(trusted_tls, NULL, NULL);
  assert_int_equal(offer.length, 9);
  assert_memory_equal(offer.data, "\x08http/1.1", 9);
  tg_buf_free(&offer);
}

static void tells_that_the_peer_does_not_speak_tls(void **state)
{
  (void)state;
  static const char *const answers[] = {"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n",
                                        "220 smtp.test ESMTP\r\n"};
  for (int i = 0; i < 2; i++) {
    use_tls(trusted_tls);
    open_ws();
    peer_accept(world->peer);
    char byte;
    WAIT_UNTIL(recv(world->peer->fd, &byte, 1, MSG_PEEK) == 1);
    peer_say(world->peer, answers[i]);
    WAIT_UNTIL(world->ended);
    assert_failed_with("tls");
    assert_non_null(strstr(world->end.error.message, "gateway.test"));
    drop_ws();
  }
}

/* The peer takes the request for a broken hello, says so by an alert, and goes. Which
 * of the two is noticed first is of no interest to anybody. */
static void ends_where_the_peer_speaks_tls_and_we_do_not(void **state)
{
  (void)state;
  open_ws();
  peer_accept(world->peer);
  world->peer->tls = trusted_tls;
  peer_secure(world->peer);
  assert_true(world->peer->ended);
  peer_fin(world->peer);
  WAIT_UNTIL(world->ended);
  assert_false(world->opened);
  const char *code = world->end.error.code;
  assert_true(strcmp(code, "protocol") == 0 || strcmp(code, "eof") == 0 || strcmp(code, "reset") == 0);
}

/* ---- what it waits for ---- */

static void says_what_it_waits_for(void **state)
{
  (void)state;
  static const char *const words[] = {
      [RESOLVING] = "resolved", [CONNECTING] = "connection", [SECURING] = "TLS",
      [UPGRADING] = "upgrade",  [HALF_ANSWERED] = "upgrade", [OPEN] = "",
  };
  for (int tls = 0; tls < 2; tls++)
    for (enum phase phase = RESOLVING; phase <= OPEN; phase++) {
      char text[300] = "?";
      if (!phase_exists(phase, tls))
        continue;
      use_tls(tls ? trusted_tls : NULL);
      reach(phase);
      tg_ws_progress(world->ws, text, sizeof text);
      if (!words[phase][0])
        assert_string_equal(text, "");
      else if (!strstr(text, words[phase]) || !strstr(text, "gateway.test"))
        fail_msg("in phase %d: %s", phase, text);
      drop_ws();
      empty_queue();
    }
}

/* Nobody but the owner has a deadline for it. */
static void waits_at_a_black_hole_until_it_is_freed(void **state)
{
  (void)state;
  reach(CONNECTING);
  for (tg_ms until = tg_now() + 300; tg_now() < until;)
    peer_turn(world->peer, SPINS);
  assert_false(world->opened || world->ended);
  assert_int_equal(tg_ws_received(world->ws), 0);
  assert_int_equal(tg_ws_unsent(world->ws), 0);
  tg_ws_send(world->ws, "too early", 9);
  tg_ws_trim(world->ws);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      TEST(calls_back_from_the_loop_alone),
      TEST(tells_that_nobody_listens),
      TEST(tells_that_a_name_does_not_resolve),
      TEST(goes_on_to_the_next_address_where_one_refuses),
      TEST(goes_on_to_the_next_address_where_one_does_not_answer),
      TEST(goes_on_to_the_next_address_where_one_breaks_off),
      TEST(tries_another_address_beside_one_that_is_mute),
      TEST(takes_an_answer_for_the_last_word),
      TEST(tells_of_the_address_that_got_farthest),
      TEST(begins_with_another_address_after_a_blame),
      TEST(asks_no_environment_for_the_way),
      TEST(speaks_ipv6_with_a_host_that_is_an_address),
      TEST(believes_a_certificate_for_the_name_or_the_address),
      TEST(believes_no_other_certificate),
      TEST(speaks_tls_of_both_ages),
      TEST(offers_http_1_1_alone),
      TEST(tells_that_the_peer_does_not_speak_tls),
      TEST(ends_where_the_peer_speaks_tls_and_we_do_not),
      TEST(says_what_it_waits_for),
      TEST(waits_at_a_black_hole_until_it_is_freed),
  };
  setenv("TIDEGATE_HURRY", "10", 1); /* 300 ms for a handshake before another address has its turn */
  return RUN_TESTS(tests);
}
