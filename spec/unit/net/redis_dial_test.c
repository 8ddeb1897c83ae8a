/* How the client of Redis gets there: sockets of the system, names, TLS; and what it says when it does not.
 */

#include "unit/net/redis_fixture.h"
#include "unit/net/tls_certificate.h"

#include <sys/stat.h>
#include <sys/un.h>

struct place {
  char directory[64], path[100], ca[100], url[300];
};

static void make_place(struct place *place)
{
  snprintf(place->directory, sizeof place->directory, "/tmp/tidegate-redis-XXXXXX");
  assert_non_null(mkdtemp(place->directory));
  snprintf(place->path, sizeof place->path, "%s/redis.sock", place->directory);
  snprintf(place->ca, sizeof place->ca, "%s/ca.pem", place->directory);
}

static void remove_place(struct place *place)
{
  unlink(place->path);
  unlink(place->ca);
  rmdir(place->directory);
}

static void listen_unix(struct redis_world *world, const char *path)
{
  struct sockaddr_un at = {.sun_family = AF_UNIX};
  close(world->listener);
  world->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
  snprintf(at.sun_path, sizeof at.sun_path, "%s", path);
  assert_int_equal(bind(world->listener, (struct sockaddr *)&at, sizeof at), 0);
  assert_int_equal(listen(world->listener, 4), 0);
}

/* ---- unix sockets ---- */

static void goes_to_a_unix_socket(void **state)
{
  struct redis_world *world = *state;
  struct place place;
  make_place(&place);
  listen_unix(world, place.path);
  snprintf(place.url, sizeof place.url, "redis+unix://%s?db=2", place.path);
  assert_non_null(world_new(world, place.url, NULL, 8000, 5000));
  tg_redis_connect(world->redis);
  RUN_UNTIL(world, strstr(world->input, "SELECT\r\n$1\r\n2\r\n"));
  say(world, welcome);
  say(world, "+OK\r\n");
  RUN_UNTIL(world, world->ups == 1);
  assert_string_equal(tg_redis_name(world->redis), place.url);
  end_peer(world);
  ASSERT_DOWN(world, "closed", "closed the connection");
  remove_place(&place);
}

static void says_what_to_do_where_there_is_no_socket(void **state)
{
  struct redis_world *world = *state;
  assert_non_null(world_new(world, "redis+unix://:geheim@/nowhere/redis.sock", NULL, 8000, 5000));
  tg_redis_connect(world->redis);
  assert_int_equal(world->downs, 0); /* not before it returns */
  ASSERT_DOWN(world, "refused",
              "redis+unix:///nowhere/redis.sock?db=0: No such file or directory (is Redis running, "
              "and is that its \"unixsocket\"?)");
}

static void says_that_a_socket_has_nobody_behind_it(void **state)
{
  struct redis_world *world = *state;
  struct place place;
  make_place(&place);
  listen_unix(world, place.path);
  close(world->listener);
  world->listener = -1;
  snprintf(place.url, sizeof place.url, "redis+unix://%s", place.path);
  assert_non_null(world_new(world, place.url, NULL, 8000, 5000));
  tg_redis_connect(world->redis);
  ASSERT_DOWN(world, "refused", "Connection refused (is Redis running?)");
  remove_place(&place);
}

/* ---- TCP ---- */

static void says_that_nobody_listens(void **state)
{
  struct redis_world *world = *state;
  close(world->listener);
  world->listener = -1;
  world_open(world, ":geheim@", "", 8000, 5000);
  ASSERT_DOWN(world, "refused", "Connection refused (is Redis running there");
}

static void says_that_a_name_is_none(void **state)
{
  struct redis_world *world = *state;
  assert_non_null(world_new(world, "redis://:geheim@nobody.invalid:6380/0", NULL, 9000, 5000));
  tg_redis_connect(world->redis);
  RUN_UNTIL(world, world->downs == 1);
  assert_string_equal(world->error.code, "dns");
  assert_non_null(
      strstr(world->error.message, "the name nobody.invalid of redis://nobody.invalid:6380/0 cannot be "));
}

static void refuses_a_url_that_is_none(void **state)
{
  struct redis_world *world = *state;
  assert_null(world_new(world, "redis://:geheim@ho st", NULL, 8000, 5000));
  assert_string_equal(world->error.code, "bad_url");
  assert_null(strstr(world->error.message, "geheim"));
}

/* ---- TLS ---- */

/* Who knows no protocol of that name hangs up. */
static int refuse_protocols(SSL *ssl, const unsigned char **out, unsigned char *out_length,
                            const unsigned char *in, unsigned int in_length, void *ctx)
{
  (void)ssl, (void)out, (void)out_length, (void)in, (void)in_length, (void)ctx;
  return SSL_TLSEXT_ERR_ALERT_FATAL;
}

static void serve_tls(struct redis_world *world, struct place *place)
{
  make_place(place);
  FILE *trusted = fopen(place->ca, "w");
  assert_non_null(trusted);
  world->tls = make_tls_server("gateway.test", 2, trusted);
  SSL_CTX_set_alpn_select_cb(world->tls, refuse_protocols, NULL);
  fclose(trusted);
}

static void open_tls(struct redis_world *world, const char *host, const char *ca, tg_ms timeout)
{
  char url[200];
  snprintf(url, sizeof url, "rediss://:geheim@%s:%d", host, world->port);
  assert_non_null(world_new(world, url, ca, timeout, 5000));
  tg_redis_connect(world->redis);
}

static void speaks_tls(void **state)
{
  struct redis_world *world = *state;
  struct place place;
  serve_tls(world, &place);
  open_tls(world, "127.0.0.1", place.ca, 8000);
  RUN_UNTIL(world, strstr(world->input, "$6\r\ngeheim\r\n"));
  say(world, welcome);
  RUN_UNTIL(world, world->ups == 1);
  world->input_length = 0;
  ask(world, "PING");
  EXPECT_INPUT(world, "*1\r\n$4\r\nPING\r\n");
  say(world, "+PONG\r\n");
  RUN_UNTIL(world, world->log[0]);
  assert_string_equal(world->log, "+PONG\n");
  end_peer(world);
  ASSERT_DOWN(world, "closed", "closed the connection");
  remove_place(&place);
}

/* It says nothing of itself to somebody whom it does not trust. */
static void trusts_no_certificate_of_others(void **state)
{
  struct redis_world *world = *state;
  struct place place;
  serve_tls(world, &place);
  open_tls(world, "127.0.0.1", NULL, 8000);
  ASSERT_DOWN(world, "tls", "is refused: self-signed certificate");
  assert_non_null(strstr(world->error.message, "tls.ca_file"));
  assert_int_equal(world->input_length, 0);
  remove_place(&place);
}

static void trusts_no_certificate_for_another_name(void **state)
{
  struct redis_world *world = *state;
  struct place place;
  serve_tls(world, &place);
  open_tls(world, "localhost", place.ca, 8000);
  ASSERT_DOWN(world, "tls", "hostname mismatch");
  assert_int_equal(world->input_length, 0);
  remove_place(&place);
}

static void names_a_file_of_certificates_that_is_none(void **state)
{
  struct redis_world *world = *state;
  assert_null(world_new(world, "rediss://host", "/nowhere/ca.pem", 8000, 5000));
  assert_string_equal(world->error.code, "tls");
  assert_non_null(strstr(world->error.message, "/nowhere/ca.pem"));
}

static void says_that_a_port_has_no_tls(void **state)
{
  struct redis_world *world = *state;
  open_tls(world, "127.0.0.1", NULL, 8000);
  RUN_UNTIL(world, world->input_length > 0);
  say(world, "-ERR Protocol error: unbalanced quotes in request\r\n");
  ASSERT_DOWN(world, "tls", "The URL of one without TLS begins with redis://");
}

static void says_that_a_port_may_have_no_tls_where_it_hangs_up(void **state)
{
  struct redis_world *world = *state;
  open_tls(world, "127.0.0.1", NULL, 8000);
  RUN_UNTIL(world, world->input_length > 0);
  end_peer(world);
  ASSERT_DOWN(world, "tls", "The URL of one without TLS begins with redis://");
}

static void says_that_a_port_may_have_no_tls_where_it_is_silent(void **state)
{
  struct redis_world *world = *state;
  open_tls(world, "127.0.0.1", NULL, 300);
  RUN_UNTIL(world, world->input_length > 0 || world->downs);
  ASSERT_DOWN(world, "timeout", "takes the connection, but does not answer in TLS");
  assert_non_null(strstr(world->error.message, "begins with redis://"));
}

static void says_that_a_port_has_tls(void **state)
{
  struct redis_world *world = *state;
  struct place place;
  serve_tls(world, &place);
  world_open(world, "", "", 8000, 5000);
  RUN_UNTIL(world, world->ssl && BIO_number_read(SSL_get_rbio(world->ssl)) > 0);
  end_peer(world); /* as Redis does */
  ASSERT_DOWN(world, "closed", "The URL of a port with TLS begins with rediss://");
  remove_place(&place);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
  const struct CMUnitTest tests[] = {
      TEST(goes_to_a_unix_socket),
      TEST(says_what_to_do_where_there_is_no_socket),
      TEST(says_that_a_socket_has_nobody_behind_it),
      TEST(says_that_nobody_listens),
      TEST(says_that_a_name_is_none),
      TEST(refuses_a_url_that_is_none),
      TEST(speaks_tls),
      TEST(trusts_no_certificate_of_others),
      TEST(trusts_no_certificate_for_another_name),
      TEST(names_a_file_of_certificates_that_is_none),
      TEST(says_that_a_port_has_no_tls),
      TEST(says_that_a_port_may_have_no_tls_where_it_hangs_up),
      TEST(says_that_a_port_may_have_no_tls_where_it_is_silent),
      TEST(says_that_a_port_has_tls),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
