/* The link to the cluster's Redis, with a real one and all that may be wrong with it. */

#include "redis_world.h"

#include "unit/net/tls_certificate.h"

#include <arpa/inet.h>
#include <sys/socket.h>

static void beat(struct redis_world *world)
{
  call_as(world, "a", "beat",
          json_pack("{s:s, s:s, s:i, s:s, s:b, s:[], s:[], s:b}", "home", "h", "bot", "1", "total", 4,
                    "digest", "d", "draining", 0, "held", "left", "last", 1));
}

/* A call goes there and comes back. */
static void assert_works(struct redis_world *world)
{
  tg_buf_reset(&world->answers, 4096);
  int answered = world->answered;
  beat(world);
  RUN_UNTIL(world, world->answered > answered);
  if (!strstr(text_of(&world->answers), "\"total\":4"))
    fail_msg("%s", text_of(&world->answers));
}

/* ---- up ---- */

static void comes_up_when_its_redis_does(void **state)
{
  struct redis_world *world = *state;
  kill_server(world);
  open_as(world, "");
  ASSERT_DOWN(world, "refused", "redis.sock");
  run_server(world);
  come_up(world);
  assert_works(world);
  char run_id[80], path[120];
  snprintf(run_id, sizeof run_id, "run_id:%s", world->run_id);
  assert_non_null(strstr(command(world, "INFO server"), run_id));
  snprintf(path, sizeof path, "redis+unix://%s?db=0", world->path);
  assert_string_equal(tg_redis_link_where(world->link), path);
}

static void waits_for_one_that_is_loading(void **state)
{
  struct redis_world *world = *state;
  for (int i = 0; i < 60; i++) {
    char words[40];
    snprintf(words, sizeof words, "SETRANGE key%d 4000 x", i);
    command(world, words);
  }
  expect_ok(world, "CONFIG SET rdbcompression no");
  expect_ok(world, "SAVE");
  kill_server(world);
  world->more[0] = "--key-load-delay", world->more[1] = "20000"; /* us a key */
  world->more[2] = "--loading-process-events-interval-bytes", world->more[3] = "1024";
  run_server(world);
  open_as(world, "");
  ASSERT_DOWN(world, "loading", "reading its data from disk");
  come_up(world);
  assert_works(world);
}

static void stays_away_from_one_that_does_not_let_it_in(void **state)
{
  struct redis_world *world = *state;
  static const struct {
    const char *login, *words;
  } rows[] = {
      {"", "wants a password"},
      {"app:geheim2@", "does not take the user and password"},
      {"blind:geheim@", "may not do that"},
      {"mute:geheim@", "may not do that"},
      {"deaf:geheim@", "may not do that"},
  };
  expect_ok(world, "ACL SETUSER app on >geheim ~* +@all");
  expect_ok(world, "ACL SETUSER blind on >geheim ~* +@all -info");
  expect_ok(world, "ACL SETUSER mute on >geheim ~* +@all -script");
  expect_ok(world, "ACL SETUSER deaf on >geheim ~events:* +@all");
  expect_ok(world, "ACL SETUSER default resetpass on >geheim");
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    world->downs = 0;
    open_as(world, rows[i].login);
    ASSERT_DOWN(world, "auth", rows[i].words);
    close_link(world);
  }
  assert_int_equal(world->ups, 0);
  open_as(world, "app:geheim@");
  RUN_UNTIL(world, world->ups == 1);
  assert_works(world);
}

/* What the README says that a user needs. */
static void needs_few_rights(void **state)
{
  struct redis_world *world = *state;
  expect_ok(world, "ACL SETUSER few on >geheim ~tidegate:{bot}* +info +script|load +evalsha +xadd +xread "
                   "+xrevrange +xtrim +time +hget +hmget +hset +hgetall +hdel +del");
  open_as(world, "few:geheim@");
  RUN_UNTIL(world, world->ups == 1);
  RUN_UNTIL(world, (assert_works(world), true));
}

static void tells_a_call_that_it_may_not_do(void **state)
{
  struct redis_world *world = *state;
  expect_ok(world, "ACL SETUSER few on >geheim ~tidegate:{bot}* +info +script|load +evalsha +xread "
                   "+xrevrange +time +hgetall");
  open_as(world, "few:geheim@");
  RUN_UNTIL(world, world->ups == 1);
  beat(world);
  RUN_UNTIL(world, world->answered == 1);
  assert_string_equal(text_of(&world->answers), "err\n");
  assert_non_null(strstr(world->refusal, "give the right to it with ACL SETUSER"));
  assert_int_equal(world->downs, 0);
}

static void stays_away_from_a_replica(void **state)
{
  struct redis_world *world = *state;
  expect_ok(world, "REPLICAOF 127.0.0.1 1");
  open_as(world, "");
  ASSERT_DOWN(world, "readonly", "is a replica");
  expect_ok(world, "REPLICAOF NO ONE");
  come_up(world);
  assert_works(world);
  world->downs = 0;
  expect_ok(world, "REPLICAOF 127.0.0.1 1"); /* in the midst of it */
  ASSERT_DOWN(world, "readonly", "is a replica");
}

static int warnings;

static void count_warnings(void *ctx, enum tg_log_level level, int shard_id, const char *text,
                           const struct tg_log_field *fields)
{
  (void)ctx, (void)shard_id, (void)fields;
  warnings += level == TG_WARN && strstr(text, "volatile-lru") != NULL;
}

static void looks_at_the_policy_of_eviction(void **state)
{
  struct redis_world *world = *state;
  warnings = 0;
  tg_log_set_sink(count_warnings, NULL);
  expect_ok(world, "CONFIG SET maxmemory-policy allkeys-lru");
  open_as(world, "");
  ASSERT_DOWN(world, "eviction", "\"allkeys-lru\"");
  assert_int_equal(world->ups, 0);
  expect_ok(world, "CONFIG SET maxmemory-policy volatile-lru");
  come_up(world);
  assert_int_equal(warnings, 1);
  tg_redis_link_break(world->link, "for a try");
  come_up(world);
  assert_int_equal(warnings, 1);
  tg_log_set_sink(NULL, NULL);
  assert_works(world);
}

static int free_port(void)
{
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof address;
  assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
  getsockname(fd, (struct sockaddr *)&address, &size);
  close(fd);
  return ntohs(address.sin_port);
}

static void write_certificate(const char *certificate_path, const char *key_path)
{
  EVP_PKEY *key = EVP_EC_gen("P-256");
  X509 *certificate = make_certificate(key, "redis.test", 2);
  FILE *file = fopen(certificate_path, "w");
  PEM_write_X509(file, certificate);
  fclose(file);
  file = fopen(key_path, "w");
  PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL);
  fclose(file);
  X509_free(certificate);
  EVP_PKEY_free(key);
}

static void comes_up_over_tls(void **state)
{
  struct redis_world *world = *state;
  char certificate[100], key[100], port[8], url[60];
  snprintf(certificate, sizeof certificate, "%s/cert.pem", world->directory);
  snprintf(key, sizeof key, "%s/key.pem", world->directory);
  snprintf(port, sizeof port, "%d", free_port());
  write_certificate(certificate, key);
  kill_server(world);
  const char *more[] = {"--tls-port",         port, "--tls-cert-file",    certificate, "--tls-key-file", key,
                        "--tls-auth-clients", "no", "--tls-ca-cert-file", certificate};
  memcpy(world->more, more, sizeof more);
  run_server(world);
  snprintf(url, sizeof url, "rediss://127.0.0.1:%s/1", port);
  open_link(world, url, certificate);
  RUN_UNTIL(world, world->ups == 1);
  assert_works(world);
  unlink(certificate); /* is read at each attempt */
  tg_redis_link_break(world->link, "for a try");
  RUN_UNTIL(world, world->downs > 0 && strcmp(world->error.code, "tls") == 0);
  write_certificate(certificate, key); /* another one, which the server does not have yet */
  world->downs = 0;
  ASSERT_DOWN(world, "tls", "127.0.0.1");
}

/* ---- ends ---- */

static void tells_who_waits_and_comes_again(void **state)
{
  struct redis_world *world = *state;
  char run_id[64];
  come_up(world);
  snprintf(run_id, sizeof run_id, "%s", world->run_id);
  beat(world);
  beat(world);
  assert_true(tg_redis_link_post(world->link, "b", "word", "body", 4, on_answer, world));
  tg_redis_link_break(world->link, "the answer is not what the script says");
  assert_false(tg_redis_link_is_up(world->link));
  assert_int_equal(world->answered, 0);
  ASSERT_DOWN(world, "broken", "the answer is not what the script says");
  assert_string_equal(text_of(&world->answers), "broken\nbroken\nbroken\n");
  assert_false(tg_redis_link_call(world->link, "beat", "{}", on_answer, world));
  assert_false(tg_redis_link_ask(world->link, "status", json_object(), on_answer, world));
  assert_false(tg_redis_link_post(world->link, "b", "word", "body", 4, on_answer, world));
  come_up(world);
  assert_string_equal(world->run_id, run_id);
  assert_works(world);
}

static void tells_who_waits_at_its_end(void **state)
{
  struct redis_world *world = *state;
  come_up(world);
  beat(world);
  close_link(world);
  assert_string_equal(text_of(&world->answers), "closed\n");
  assert_int_equal(world->downs, 0);
}

static void ends_both_connections_with_either(void **state)
{
  struct redis_world *world = *state;
  come_up(world);
  for (int i = 0; i < 2; i++) {
    /* The link's two are those that are not the one which asks: that one ran CLIENT last. */
    char list[4096], kill[64];
    snprintf(list, sizeof list, "%s", command(world, "CLIENT LIST"));
    const char *at = strstr(list, i == 0 ? "cmd=xread" : "cmd=script");
    if (!at)
      at = strstr(list, i == 0 ? "cmd=xread" : "cmd=evalsha");
    assert_non_null(at);
    while (at > list && at[-1] != '\n')
      at--;
    snprintf(kill, sizeof kill, "CLIENT KILL ID %ld", strtol(at + 3, NULL, 10));
    world->downs = 0;
    assert_string_equal(command(world, kill), "1");
    ASSERT_DOWN(world, "closed", "redis.sock");
    come_up(world);
    assert_works(world);
  }
}

static void gives_up_one_that_stands_still(void **state)
{
  struct redis_world *world = *state;
  come_up(world);
  tg_ms since = tg_now();
  kill(world->server, SIGSTOP);
  beat(world);
  ASSERT_DOWN(world, "timeout", "does not answer");
  assert_true(tg_now() - since >= 2900);
  assert_string_equal(text_of(&world->answers), "timeout\n");
  kill(world->server, SIGCONT);
  come_up(world);
  assert_works(world);
}

static void knows_another_process_of_redis(void **state)
{
  struct redis_world *world = *state;
  char run_id[64];
  come_up(world);
  snprintf(run_id, sizeof run_id, "%s", world->run_id);
  kill_server(world);
  ASSERT_DOWN(world, "closed", "redis.sock");
  run_server(world);
  come_up(world);
  assert_string_not_equal(world->run_id, run_id);
  assert_works(world);
}

/* ---- the script ---- */

static void gives_the_script_again_where_it_was_forgotten(void **state)
{
  struct redis_world *world = *state;
  come_up(world);
  assert_works(world);
  expect_ok(world, "SCRIPT FLUSH SYNC");
  tg_buf_reset(&world->answers, 4096);
  beat(world);
  call_as(world, "a", "claim", json_pack("{s:i}", "max", 4));
  call_as(world, "a", "nothing", json_object());
  int answered = world->answered;
  RUN_UNTIL(world, world->answered == answered + 3);
  const char *answers = text_of(&world->answers), *beat_at = strstr(answers, "\"total\":4");
  const char *claim_at = strstr(answers, "quiet"); /* a Redis that is new: nobody gets anything yet */
  assert_true(beat_at && claim_at && beat_at < strrchr(answers, '{'));
  assert_int_equal(world->downs, 0);
  assert_non_null(strstr(answers, "err\n")); /* there is no such call */
  assert_works(world);
}

/* ---- the stream ---- */

static void post(struct redis_world *world, const char *words)
{
  char text[200];
  snprintf(text, sizeof text, "XADD tidegate:{bot}:cmd:a * %s", words);
  assert_non_null(strchr(command(world, text), '-'));
}

static void reads_its_stream(void **state)
{
  struct redis_world *world = *state;
  post(world, "word early body 0"); /* to an earlier process of this host */
  come_up(world);
  post(world, "word one body 1");
  post(world, "other fields");
  post(world, "word lonely");
  post(world, "body 2 more 3 word two");
  RUN_UNTIL(world, strstr(text_of(&world->posted), "two"));
  assert_string_equal(text_of(&world->posted), "one 1\ntwo 2\n");
}

/* As long as it stays the same process of Redis nothing is passed by, and nothing comes twice. */
static void goes_on_where_it_was(void **state)
{
  struct redis_world *world = *state;
  come_up(world);
  post(world, "word one body 1");
  RUN_UNTIL(world, world->posted.length > 0);
  tg_redis_link_break(world->link, "for a try");
  for (int i = 0; i < 30; i++)
    post(world, "word more body 2");
  come_up(world);
  RUN_UNTIL(world, world->posted.length >= 6 + 30 * 7);
  post(world, "word last body 3");
  RUN_UNTIL(world, strstr(text_of(&world->posted), "last"));
  assert_int_equal(world->posted.length, 6 + 30 * 7 + 7);
  /* What was read does not stay in Redis' memory. */
  RUN_UNTIL(world, strcmp(command(world, "XLEN tidegate:{bot}:cmd:a"), "1") == 0);
}

/* Another one may have any entries: those of a time before it, from a disk, mean nothing. */
static void goes_on_behind_what_another_process_has(void **state)
{
  struct redis_world *world = *state;
  expect_ok(world, "CONFIG SET appendonly yes");
  come_up(world);
  post(world, "word one body 1");
  RUN_UNTIL(world, world->posted.length > 0);
  tg_redis_link_break(world->link, "for a try");
  post(world, "word old body 2");
  RUN_UNTIL(world, strstr(command(world, "INFO persistence"), "aof_rewrite_in_progress:0"));
  expect_ok(world, "CONFIG SET appendfsync always");
  kill_server(world);
  world->more[0] = "--appendonly", world->more[1] = "yes";
  run_server(world);
  come_up(world);
  post(world, "word new body 3");
  RUN_UNTIL(world, strstr(text_of(&world->posted), "new"));
  assert_string_equal(text_of(&world->posted), "one 1\nnew 3\n");
}

static void passes_by_what_is_too_large(void **state)
{
  struct redis_world *world = *state;
  static char large[17 * 1024 * 1024];
  memset(large, 'x', sizeof large);
  come_up(world);
  command(world, "PING");
  struct tg_buf *out = tg_redis_out(world->other);
  tg_resp_begin(out, 5);
  tg_resp_string(out, "XADD"), tg_resp_string(out, "tidegate:{bot}:cmd:a"), tg_resp_string(out, "*");
  tg_resp_string(out, "body"), tg_resp_text(out, large, sizeof large);
  wait_for_other(world);
  ASSERT_DOWN(world, "protocol", "16 MiB");
  come_up(world);
  post(world, "word one body 1");
  RUN_UNTIL(world, strstr(text_of(&world->posted), "one"));
  assert_string_equal(text_of(&world->posted), "one 1\n");
}

static void posts_to_any_host(void **state)
{
  struct redis_world *world = *state;
  char *large = tg_alloc(TG_POST_MAX + 1);
  memset(large, 'x', TG_POST_MAX + 1);
  come_up(world);
  for (int i = 0; i < 20; i++) /* to itself, more than may be read at once */
    assert_true(tg_redis_link_post(world->link, "a", "large", large, TG_POST_MAX, on_answer, world));
  assert_true(tg_redis_link_post(world->link, "b", "hello", "there", 5, NULL, NULL));
  assert_false(tg_redis_link_post(world->link, "b", "large", large, TG_POST_MAX + 1, on_answer, world));
  RUN_UNTIL(world, world->posted.length == 20 * (size_t)(TG_POST_MAX + 7));
  assert_int_equal(world->answered, 20);
  assert_non_null(strstr(command(world, "XRANGE tidegate:{bot}:cmd:b - +"), "[word hello body there]"));
  assert_int_equal(world->downs, 0);
  expect_ok(world, "CONFIG SET maxmemory 1");
  tg_buf_reset(&world->answers, 0);
  assert_true(tg_redis_link_post(world->link, "b", "hello", "there", 5, on_answer, world));
  RUN_UNTIL(world, world->answered == 21);
  assert_string_equal(text_of(&world->answers), "oom\n");
  assert_works(world); /* leases do not end by that */
  free(large);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
  const struct CMUnitTest tests[] = {
      TEST(comes_up_when_its_redis_does),
      TEST(waits_for_one_that_is_loading),
      TEST(stays_away_from_one_that_does_not_let_it_in),
      TEST(needs_few_rights),
      TEST(tells_a_call_that_it_may_not_do),
      TEST(stays_away_from_a_replica),
      TEST(looks_at_the_policy_of_eviction),
      TEST(comes_up_over_tls),
      TEST(tells_who_waits_and_comes_again),
      TEST(tells_who_waits_at_its_end),
      TEST(ends_both_connections_with_either),
      TEST(gives_up_one_that_stands_still),
      TEST(knows_another_process_of_redis),
      TEST(gives_the_script_again_where_it_was_forgotten),
      TEST(reads_its_stream),
      TEST(goes_on_where_it_was),
      TEST(goes_on_behind_what_another_process_has),
      TEST(passes_by_what_is_too_large),
      TEST(posts_to_any_host),
  };
  return has_redis() ? cmocka_run_group_tests(tests, NULL, NULL) : 0;
}
