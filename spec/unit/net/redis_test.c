/* The client of Redis against a server that says what the test wants: batches, greetings, deadlines, ends. */

#include "unit/net/redis_fixture.h"

/* ---- batches ---- */

static void answers_each_batch_with_its_own_replies(void **state)
{
  struct redis_world *world = *state;
  world_come_up(world, 5000);
  command(world, "MULTI"), command(world, "PING"), command(world, "EXEC");
  tg_redis_send(world->redis, 3, replied, world);
  ask(world, "TIME");
  EXPECT_INPUT(world, "*1\r\n$5\r\nMULTI\r\n*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nEXEC\r\n*1\r\n$4\r\nTIME\r\n");
  say(world, "+OK\r\n+QUEUED\r\n*1\r\n+PO");
  uv_run(&world->loop, UV_RUN_NOWAIT);
  assert_string_equal(world->log, "");
  say(world, "NG\r\n*2\r\n$1\r\n1\r\n$-1\r\n");
  RUN_UNTIL(world, strchr(world->log, ']') && strchr(strchr(world->log, ']') + 1, ']'));
  assert_string_equal(world->log, "+OK +QUEUED [+PONG]\n[+1 nil]\n");
  assert_int_equal(world->downs, 0);
}

static void tells_refusals_as_replies(void **state)
{
  struct redis_world *world = *state;
  world_come_up(world, 5000);
  ask(world, "XADD");
  RUN_UNTIL(world, world->input_length > 0);
  say(world, "-OOM command not allowed when used memory > 'maxmemory'.\r\n");
  RUN_UNTIL(world, world->log[0]);
  assert_non_null(strstr(world->log, "-OOM command"));
  assert_true(tg_redis_is_up(world->redis));
}

static void throws_away_what_nobody_wants_any_more(void **state)
{
  struct redis_world *world = *state;
  world_come_up(world, 5000);
  int other;
  command(world, "ONE");
  tg_redis_send(world->redis, 1, replied, &other); /* would crash if it were told */
  ask(world, "TWO");
  tg_redis_forget(world->redis, &other);
  RUN_UNTIL(world, world->input_length == strlen("*1\r\n$3\r\nONE\r\n") * 2);
  say(world, "+one\r\n+two\r\n");
  RUN_UNTIL(world, world->log[0]);
  assert_string_equal(world->log, "+two\n");
}

static void ask_again(struct redis_world *world)
{
  world->in_callback = NULL;
  ask(world, "AGAIN");
}

static void may_be_asked_inside_a_callback(void **state)
{
  struct redis_world *world = *state;
  world->in_callback = ask_again; /* in on_up */
  world_come_up(world, 5000);
  EXPECT_INPUT(world, "*1\r\n$5\r\nAGAIN\r\n");
  world->in_callback = ask_again; /* in the callback of the reply */
  say(world, "+1\r\n");
  EXPECT_INPUT(world, "*1\r\n$5\r\nAGAIN\r\n");
  say(world, "+2\r\n");
  RUN_UNTIL(world, strlen(world->log) == 6);
  assert_string_equal(world->log, "+1\n+2\n");
}

static void sends_nothing_before_it_is_up(void **state)
{
  struct redis_world *world = *state;
  world_open(world, "", "", 8000, 5000);
  ask(world, "EARLY");
  command(world, "EARLY");
  EXPECT_INPUT(world, hello);
  ask(world, "EARLY");
  say(world, welcome);
  RUN_UNTIL(world, world->ups == 1);
  ask(world, "NOW");
  EXPECT_INPUT(world, "*1\r\n$3\r\nNOW\r\n");
  assert_string_equal(world->log, "");
}

/* ---- the greeting ---- */

static void logs_in_and_chooses_the_database(void **state)
{
  struct redis_world *world = *state;
  world_open(world, "app:ge%40heim@", "5", 8000, 5000);
  EXPECT_INPUT(world,
               "*7\r\n$5\r\nHELLO\r\n$1\r\n2\r\n$4\r\nAUTH\r\n$3\r\napp\r\n$7\r\nge@heim\r\n$7\r\nSETNAME\r\n"
               "$8\r\ntidegate\r\n*2\r\n$6\r\nSELECT\r\n$1\r\n5\r\n");
  say(world, welcome);
  uv_run(&world->loop, UV_RUN_NOWAIT);
  assert_false(tg_redis_is_up(world->redis));
  say(world, "+OK\r\n");
  RUN_UNTIL(world, world->ups == 1);
  char name[64];
  snprintf(name, sizeof name, "redis://127.0.0.1:%d/5", world->port);
  assert_string_equal(tg_redis_name(world->redis), name);
}

static void takes_a_password_for_that_of_the_default_user(void **state)
{
  struct redis_world *world = *state;
  world_open(world, ":geheim@", "", 8000, 5000);
  EXPECT_INPUT(
      world,
      "*7\r\n$5\r\nHELLO\r\n$1\r\n2\r\n$4\r\nAUTH\r\n$7\r\ndefault\r\n$6\r\ngeheim\r\n$7\r\nSETNAME\r\n"
      "$8\r\ntidegate\r\n");
}

static void says_why_it_is_refused(void **state)
{
  (void)state;
  static const struct {
    const char *login, *database, *answer, *code, *words;
  } rows[] = {
      {"", "", "-NOAUTH HELLO must be called with the client already authenticated\r\n", "auth",
       "it wants a password: the URL has to name one"},
      {":geheim@", "", "-WRONGPASS invalid username-password pair or user is disabled.\r\n", "auth",
       "does not take the user and password of the URL"},
      {"", "1", "@-NOPERM this user has no permissions to run the 'select' command\r\n", "auth",
       "may not do that; give the right to it with ACL SETUSER"},
      {"", "99", "@-ERR DB index is out of range\r\n", "err", "has fewer databases than that"},
      {"", "1", "@-ERR SELECT is not allowed in cluster mode\r\n", "err",
       "a Redis Cluster has the database 0"},
      {"", "1", "-DENIED Redis is running in protected mode\r\n", "denied", "as long as it has no password"},
      {"", "1", "-ERR max number of clients reached\r\n", "err", "as many clients as its \"maxclients\""},
      {"", "", "-ERR unknown command `HELLO`, with args\r\n", "old", "is too old: 7.0 or later"},
      {":geheim@", "", "-ERR unknown command 'HELLO'\r\n", "old", "is too old: 7.0 or later"},
      {"", "", "*4\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$6\r\n6.2.14\r\n", "old",
       "too old, version 6.2.14: 7.0 or later"},
      {"", "", "+PONG\r\n", "protocol", "does not answer HELLO as Redis does"},
      {"", "", "*1\r\n$7\r\nversion\r\n", "protocol", "does not answer HELLO as Redis does"},
      {"", "", "HTTP/1.1 400 Bad Request\r\n", "protocol",
       "no Redis: it begins with \"HTTP/1.1 400 Bad Request\""},
      {"", "", "\x15\x03\x03\x02\x02\x46", "protocol", "begins with rediss://"},
      {"", "", "", "closed", "closed the connection before it answered (is it a Redis?"},
      {"", "", "*4\r\n$6\r\nser", "closed", "closed the connection before it answered"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    void *fresh;
    world_setup(&fresh);
    struct redis_world *world = fresh;
    world_open(world, rows[i].login, rows[i].database, 8000, 5000);
    RUN_UNTIL(world, strstr(world->input, "tidegate\r\n") &&
                         (!rows[i].database[0] || strstr(world->input, "SELECT")));
    if (rows[i].answer[0] == '@')
      say(world, welcome);
    say(world, rows[i].answer + (rows[i].answer[0] == '@'));
    end_peer(world);
    ASSERT_DOWN(world, rows[i].code, rows[i].words);
    assert_int_equal(world->ups, 0);
    world_teardown(&fresh);
  }
}

static void takes_versions_of_others(void **state)
{
  struct redis_world *world = *state;
  world_open(world, "", "", 8000, 5000);
  EXPECT_INPUT(world, hello);
  say(world, "*4\r\n$6\r\nserver\r\n$5\r\nother\r\n$7\r\nversion\r\n$6\r\nv1.2.3\r\n");
  RUN_UNTIL(world, world->ups == 1);
}

/* ---- ends ---- */

static void tells_whose_commands_were_under_way_then_the_owner(void **state)
{
  struct redis_world *world = *state;
  world_come_up(world, 5000);
  ask(world, "ONE");
  command(world, "MULTI"), command(world, "EXEC");
  tg_redis_send(world->redis, 2, replied, world);
  command(world, "UNSENT");
  RUN_UNTIL(world, strstr(world->input, "EXEC"));
  say(world, "+one\r\n+OK\r\n"); /* the EXEC has no answer */
  RUN_UNTIL(world, world->log[0]);
  assert_int_equal(world->downs, 0);
  end_peer(world);
  ASSERT_DOWN(world, "closed", "closed the connection");
  assert_string_equal(world->log, "+one\ngone: closed\n");
  assert_false(tg_redis_is_up(world->redis));
  assert_int_equal(tg_redis_out(world->redis)->length, 0);
}

static void comes_up_again_when_it_is_asked_to(void **state)
{
  struct redis_world *world = *state;
  world_come_up(world, 5000);
  world->connect_again = true; /* in on_down itself */
  ask(world, "ONE");
  RUN_UNTIL(world, world->input_length > 0);
  world->input_length = 0;
  say(world, "*2\r\n+hal"); /* nothing of this is left for the next connection */
  uv_run(&world->loop, UV_RUN_NOWAIT);
  end_peer(world);
  EXPECT_INPUT(world, hello);
  say(world, welcome);
  RUN_UNTIL(world, world->ups == 2);
  ask(world, "TWO");
  EXPECT_INPUT(world, "*1\r\n$3\r\nTWO\r\n");
  say(world, "+two\r\n");
  RUN_UNTIL(world, strstr(world->log, "two"));
  assert_string_equal(world->log, "gone: closed\n+two\n");
}

static void ends_where_garbage_comes(void **state)
{
  struct redis_world *world = *state;
  world_come_up(world, 5000);
  ask(world, "ONE");
  RUN_UNTIL(world, world->input_length > 0);
  say(world, "*2\r\n+one\r\n/two\r\n");
  ASSERT_DOWN(world, "protocol", "what it sends is no answer");
  assert_string_equal(world->log, "gone: protocol\n");
}

static void ends_where_nobody_has_asked(void **state)
{
  struct redis_world *world = *state;
  world_come_up(world, 5000);
  ask(world, "ONE");
  RUN_UNTIL(world, world->input_length > 0);
  say(world, "+one\r\n+two\r\n");
  ASSERT_DOWN(world, "protocol", "sends what nobody has asked for");
  assert_string_equal(world->log, "+one\n");
}

static void ends_where_a_server_floods(void **state)
{
  struct redis_world *world = *state;
  static char flood[64 * 1024];
  memset(flood, 'x', sizeof flood);
  world_come_up(world, 5000);
  ask(world, "ONE");
  RUN_UNTIL(world, world->input_length > 0);
  say(world, "$4000000000\r\n");
  for (size_t sent = 0; !world->downs && sent < 2 * (size_t)TG_RESP_BYTES_MAX;) {
    ssize_t n = send(world->peer, flood, sizeof flood, MSG_NOSIGNAL);
    sent += n > 0 ? (size_t)n : 0;
    uv_run(&world->loop, UV_RUN_NOWAIT);
  }
  ASSERT_DOWN(world, "protocol", "larger than 16 MiB");
}

/* ---- deadlines ---- */

static void gives_up_a_server_that_does_not_greet(void **state)
{
  struct redis_world *world = *state;
  world_open(world, "", "", 500, 5000);
  ASSERT_DOWN(world, "timeout", "takes the connection, but does not answer for 500 ms (is it a Redis?");
  assert_non_null(strstr(world->error.message, "rediss://"));
}

static void gives_up_when_an_answer_does_not_come(void **state)
{
  struct redis_world *world = *state;
  world_come_up(world, 60);
  ask(world, "ONE");
  RUN_UNTIL(world, world->input_length > 0);
  ASSERT_DOWN(world, "timeout", "does not answer for 60 ms");
  assert_string_equal(world->log, "gone: timeout\n");
}

static void gives_up_an_answer_without_end(void **state)
{
  struct redis_world *world = *state;
  world_come_up(world, 100);
  ask(world, "ONE");
  RUN_UNTIL(world, world->input_length > 0);
  say(world, "*100000\r\n");
  for (int i = 0; !world->downs; i++) {
    assert_true(i < 90000);
    if (world->peer >= 0)
      send(world->peer, ":1\r\n", 4, MSG_NOSIGNAL);
    uv_ref((uv_handle_t *)&world->tick);
    uv_run(&world->loop, UV_RUN_ONCE);
    uv_unref((uv_handle_t *)&world->tick);
  }
  ASSERT_DOWN(world, "timeout", "does not answer for 100 ms");
}

static void waits_as_long_as_answers_come(void **state)
{
  struct redis_world *world = *state;
  enum { TIMEOUT = 2000, BATCHES = 3 };
  world_come_up(world, TIMEOUT);
  tg_ms since = tg_now();
  for (int i = 0; i < BATCHES; i++)
    ask(world, "SLOW");
  RUN_UNTIL(world, world->input_length == BATCHES * strlen("*1\r\n$4\r\nSLOW\r\n"));
  for (int i = 0; i < BATCHES; i++) {
    tg_ms next = tg_now() + TIMEOUT * 36 / 100;
    RUN_UNTIL(world, tg_now() >= next);
    say(world, "+ok\r\n");
    RUN_UNTIL(world, strlen(world->log) == (size_t)(i + 1) * 4);
  }
  assert_true(tg_now() - since > TIMEOUT);
  assert_int_equal(world->downs, 0);
}

static void waits_for_ever_where_that_is_wanted(void **state)
{
  struct redis_world *world = *state;
  world_come_up(world, 0);
  ask(world, "XREAD");
  RUN_UNTIL(world, world->input_length > 0);
  tg_ms until = tg_now() + 50;
  RUN_UNTIL(world, tg_now() >= until);
  say(world, "*-1\r\n");
  RUN_UNTIL(world, world->log[0]);
  assert_string_equal(world->log, "nil\n");
}

/* Timers come before sockets: the answer is there, but a long turn of the loop has kept it from being read.
 */
static void reads_what_has_come_before_it_gives_up(void **state)
{
  struct redis_world *world = *state;
  enum { TIMEOUT = 50 };
  world_come_up(world, TIMEOUT);
  ask(world, "ONE");
  RUN_UNTIL(world, world->input_length > 0);
  say(world, "+one\r\n");
  for (tg_ms until = tg_now() + 2 * TIMEOUT; tg_now() < until;) {
  }
  uv_update_time(&world->loop);
  RUN_UNTIL(world, world->log[0]);
  assert_string_equal(world->log, "+one\n");
  assert_int_equal(world->downs, 0);
}

/* ---- closing ---- */

static void close_now(struct redis_world *world)
{
  tg_redis_close(world->redis);
  world->redis = NULL;
  world->in_callback = NULL;
}

static void may_be_closed_at_any_time(void **state)
{
  (void)state;
  enum moment { AT_ONCE, DIALING, GREETING, UP, ASKING, IN_ON_UP, IN_REPLIED, IN_GONE, IN_ON_DOWN, MOMENTS };
  for (int moment = AT_ONCE; moment < MOMENTS; moment++) {
    void *fresh;
    world_setup(&fresh);
    struct redis_world *world = fresh;
    world_open(world, "", "", 8000, 5000);
    if (moment == AT_ONCE) {
      close_now(world);
    } else if (moment == DIALING) {
      uv_run(&world->loop, UV_RUN_NOWAIT);
      close_now(world);
    } else {
      EXPECT_INPUT(world, hello);
      world->in_callback = moment == IN_ON_UP ? close_now : NULL;
      if (moment == GREETING) {
        close_now(world);
      } else {
        say(world, welcome);
        RUN_UNTIL(world, world->ups == 1);
      }
    }
    if (moment == UP)
      close_now(world);
    if (moment >= ASKING && moment != IN_ON_UP) {
      ask(world, "ONE");
      ask(world, "TWO");
      RUN_UNTIL(world, strstr(world->input, "TWO"));
      if (moment == ASKING) {
        close_now(world);
      } else if (moment == IN_REPLIED) {
        world->in_callback = close_now;
        say(world, "+one\r\n+two\r\n");
      } else {
        if (moment == IN_ON_DOWN)
          tg_redis_forget(world->redis, world);
        world->in_callback = close_now;
        end_peer(world);
      }
      RUN_UNTIL(world, !world->redis);
      assert_string_equal(world->log, moment == IN_REPLIED ? "+one\n"
                                      : moment == IN_GONE  ? "gone: closed\n"
                                                           : "");
    }
    assert_null(world->redis);
    assert_int_equal(world->downs, moment == IN_ON_DOWN);
    world_teardown(&fresh);
  }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
  const struct CMUnitTest tests[] = {
      TEST(answers_each_batch_with_its_own_replies),
      TEST(tells_refusals_as_replies),
      TEST(throws_away_what_nobody_wants_any_more),
      TEST(may_be_asked_inside_a_callback),
      TEST(sends_nothing_before_it_is_up),
      TEST(logs_in_and_chooses_the_database),
      TEST(takes_a_password_for_that_of_the_default_user),
      cmocka_unit_test(says_why_it_is_refused),
      TEST(takes_versions_of_others),
      TEST(tells_whose_commands_were_under_way_then_the_owner),
      TEST(comes_up_again_when_it_is_asked_to),
      TEST(ends_where_garbage_comes),
      TEST(ends_where_nobody_has_asked),
      TEST(ends_where_a_server_floods),
      TEST(gives_up_a_server_that_does_not_greet),
      TEST(gives_up_when_an_answer_does_not_come),
      TEST(gives_up_an_answer_without_end),
      TEST(waits_as_long_as_answers_come),
      TEST(waits_for_ever_where_that_is_wanted),
      TEST(reads_what_has_come_before_it_gives_up),
      cmocka_unit_test(may_be_closed_at_any_time),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
