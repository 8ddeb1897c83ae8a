/* The client with a real Redis, on a unix socket of the test's own. */

#include "unit/net/redis_fixture.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

struct server {
  char directory[64], path[100];
  pid_t pid;
  struct redis_world *world;
};

static void run_server(struct server *server)
{
  server->pid = fork();
  assert_true(server->pid >= 0);
  if (server->pid > 0)
    return;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  int nowhere = open("/dev/null", O_WRONLY);
  dup2(nowhere, STDOUT_FILENO);
  if (chdir(server->directory) == 0)
    execlp("redis-server", "redis-server", "--port", "0", "--unixsocket", server->path, "--save", "", "--dir",
           server->directory, "--appendonly", "yes", "--appendfsync", "no", NULL);
  _exit(1);
}

static void kill_server(struct server *server)
{
  if (server->pid <= 0)
    return;
  kill(server->pid, SIGKILL);
  waitpid(server->pid, NULL, 0);
  server->pid = 0;
}

static void open_as(struct server *server, const char *login, const char *query, tg_ms reply_timeout)
{
  char url[300];
  snprintf(url, sizeof url, "redis+unix://%s%s%s", login, server->path, query);
  assert_non_null(world_new(server->world, url, NULL, 8000, reply_timeout));
  tg_redis_connect(server->world->redis);
}

static void try_again(struct redis_world *world)
{
  if (!tg_redis_is_up(world->redis))
    tg_redis_connect(world->redis);
}

/* Until it is there. */
static void come_up(struct server *server, const char *login, tg_ms reply_timeout)
{
  struct redis_world *world = server->world;
  world->ups = 0;
  open_as(server, login, "", reply_timeout);
  RUN_UNTIL(world, (try_again(world), world->ups > 0));
  world->downs = 0;
}

static int server_setup(void **state)
{
  struct server *server = calloc(1, sizeof *server);
  void *world;
  world_setup(&world);
  server->world = world;
  snprintf(server->directory, sizeof server->directory, "/tmp/tidegate-redis-XXXXXX");
  assert_non_null(mkdtemp(server->directory));
  snprintf(server->path, sizeof server->path, "%s/redis.sock", server->directory);
  run_server(server);
  *state = server;
  return 0;
}

static int server_teardown(void **state)
{
  struct server *server = *state;
  char remove[100];
  void *world = server->world;
  world_teardown(&world);
  kill_server(server);
  snprintf(remove, sizeof remove, "rm -rf %s", server->directory);
  assert_int_equal(system(remove), 0);
  free(server);
  return 0;
}

/* ---- commands ---- */

/* Words apart by blanks. */
static void put_words(struct redis_world *world, const char *words)
{
  struct tg_buf *out = tg_redis_out(world->redis);
  int count = 1;
  for (const char *at = words; *at; at++)
    count += *at == ' ';
  tg_resp_begin(out, count);
  for (; count > 0; count--) {
    size_t length = strcspn(words, " ");
    tg_resp_text(out, words, length);
    words += length;
    words += *words == ' ';
  }
}

/* Returns what it is answered. */
static const char *ask_words(struct redis_world *world, const char *words)
{
  memset(world->log, 0, sizeof world->log);
  put_words(world, words);
  tg_redis_send(world->redis, 1, replied, world);
  RUN_UNTIL(world, world->log[0]);
  return world->log;
}

static void expect_ok(struct redis_world *world, const char *words)
{
  const char *answer = ask_words(world, words);
  if (strcmp(answer, "+OK\n") != 0)
    fail_msg("%s: %s", words, answer);
}

struct check {
  struct redis_world *world;
  bool done;
  struct tg_error error;
  size_t parts, longest;
};

static void on_checked(void *ctx, const struct tg_redis_reply *replies, int count,
                       const struct tg_error *error)
{
  struct check *check = ctx;
  assert_null(error);
  const struct tg_redis_reply *last = &replies[count - 1];
  check->done = true;
  if (last->kind == TG_REDIS_ERROR)
    tg_redis_explain(check->world->redis, last, &check->error);
  check->parts = last->count;
  for (size_t i = 0; last->kind == TG_REDIS_ARRAY && i < last->count; i++) {
    const struct tg_redis_reply *fields = &last->items[i].items[1];
    if (last->items[i].kind == TG_REDIS_ARRAY && fields->items[1].text.length > check->longest)
      check->longest = fields->items[1].text.length;
  }
}

static struct check check_words(struct redis_world *world, const char *words)
{
  struct check check = {.world = world};
  put_words(world, words);
  tg_redis_send(world->redis, 1, on_checked, &check);
  RUN_UNTIL(world, check.done);
  return check;
}

enum { BATCH = 128, BODY = 3000 };

static void adds_a_batch_as_a_whole(void **state)
{
  struct server *server = *state;
  struct redis_world *world = server->world;
  struct check check = {.world = world};
  static char body[BODY];
  for (size_t i = 0; i < sizeof body; i++)
    body[i] = (char)(i % 256); /* all bytes, line ends and NUL among them */
  come_up(server, "", 10000);
  struct tg_buf *out = tg_redis_out(world->redis);
  tg_resp_begin(out, 1), tg_resp_string(out, "MULTI");
  for (int i = 0; i < BATCH; i++) {
    char id[32];
    snprintf(id, sizeof id, "7-%d", i + 1);
    tg_resp_begin(out, 5), tg_resp_string(out, "XADD"), tg_resp_string(out, "events");
    tg_resp_string(out, id), tg_resp_string(out, "d"), tg_resp_text(out, body, sizeof body);
  }
  tg_resp_begin(out, 1), tg_resp_string(out, "EXEC");
  tg_redis_send(world->redis, BATCH + 2, on_checked, &check);
  put_words(world, "XRANGE events - +");
  struct check range = {.world = world};
  tg_redis_send(world->redis, 1, on_checked, &range);
  RUN_UNTIL(world, range.done);
  assert_true(check.done);
  assert_int_equal(check.parts, BATCH);
  assert_int_equal(range.parts, BATCH);
  assert_int_equal(range.longest, BODY);
}

static void explains_what_redis_refuses(void **state)
{
  struct server *server = *state;
  struct redis_world *world = server->world;
  come_up(server, "", 10000);
  expect_ok(world, "SET text x");
  assert_string_equal(check_words(world, "XLEN text").error.code, "wrongtype");
  struct check unknown = check_words(world, "NOSUCHCOMMAND");
  assert_string_equal(unknown.error.code, "err");
  assert_non_null(strstr(unknown.error.message, "7.0 or later"));
  expect_ok(world, "CONFIG SET maxmemory 1");
  assert_string_equal(check_words(world, "XADD events * t READY").error.code, "oom");
  expect_ok(world, "CONFIG SET maxmemory 0");
  expect_ok(world, "CONFIG SET min-replicas-to-write 1");
  assert_string_equal(check_words(world, "XADD events * t READY").error.code, "noreplicas");
  expect_ok(world, "CONFIG SET min-replicas-to-write 0");
  expect_ok(world, "REPLICAOF 127.0.0.1 1");
  assert_string_equal(check_words(world, "XADD events * t READY").error.code, "readonly");
}

/* ---- logins ---- */

static void assert_login(struct server *server, const char *login, const char *query, const char *code,
                         const char *words)
{
  struct server other = *server;
  void *world;
  world_setup(&world);
  other.world = world;
  open_as(&other, login, query, 5000);
  RUN_UNTIL(other.world, other.world->ups || other.world->downs);
  assert_int_equal(other.world->ups, !code);
  if (code) {
    assert_string_equal(other.world->error.code, code);
    if (!strstr(other.world->error.message, words) || strstr(other.world->error.message, "geheim"))
      fail_msg("\"%s\" does not say \"%s\"", other.world->error.message, words);
  }
  world_teardown(&world);
}

static void logs_in_as_redis_lets_it(void **state)
{
  struct server *server = *state;
  struct redis_world *world = server->world;
  come_up(server, "", 10000);
  expect_ok(world, "ACL SETUSER app on >geheim ~* +xadd +select");
  expect_ok(world, "ACL SETUSER least on >geheim ~* +xadd");
  expect_ok(world, "ACL SETUSER free on nopass ~* +xadd");
  expect_ok(world, "CONFIG SET requirepass geheim@1");
  assert_login(server, ":geheim%401@", "?db=15", NULL, NULL);
  assert_login(server, "default:geheim%401@", "", NULL, NULL);
  assert_login(server, "app:geheim@", "?db=3", NULL, NULL);
  assert_login(server, "least:geheim@", "", NULL, NULL); /* who may do next to nothing may come in */
  assert_login(server, "free@", "", NULL, NULL);
  assert_login(server, "", "", "auth", "wants a password");
  assert_login(server, "", "?db=1", "auth", "wants a password");
  assert_login(server, ":geheim@", "", "auth", "does not take the user and password");
  assert_login(server, "app:geheim2@", "?db=3", "auth", "does not take the user and password");
  assert_login(server, "nobody:geheim@", "", "auth", "does not take the user and password");
  assert_login(server, "least:geheim@", "?db=3", "auth", "may not do that");
  assert_login(server, "app:geheim@", "?db=16", "err", "fewer databases");
  const char *list = ask_words(world, "CLIENT LIST");
  assert_non_null(strstr(list, "name=tidegate"));
}

static void tells_that_there_are_too_many_clients(void **state)
{
  struct server *server = *state;
  come_up(server, "", 10000);
  expect_ok(server->world, "CONFIG SET maxclients 1");
  assert_login(server, "", "", "err", "as its \"maxclients\" lets in");
  assert_login(server, "", "?db=1", "err", "as its \"maxclients\" lets in");
}

/* ---- ends ---- */

static void comes_back_to_one_that_was_killed(void **state)
{
  struct server *server = *state;
  struct redis_world *world = server->world;
  come_up(server, "", 10000);
  expect_ok(world, "SET name kept");
  put_words(world, "BLPOP nothing 0");
  tg_redis_send(world->redis, 1, replied, world);
  kill_server(server);
  RUN_UNTIL(world, world->downs == 1);
  assert_string_equal(world->error.code, "closed");
  assert_int_equal(world->told, 1);
  tg_redis_connect(world->redis);
  RUN_UNTIL(world, world->downs == 2);
  assert_string_equal(world->error.code, "refused");
  unlink(server->path);
  run_server(server);
  world->ups = 0;
  RUN_UNTIL(world, (try_again(world), world->ups == 1));
  RUN_UNTIL(world, strcmp(ask_words(world, "GET name"), "+kept\n") == 0); /* it may be loading yet */
}

static void gives_up_one_that_stands_still(void **state)
{
  struct server *server = *state;
  struct redis_world *world = server->world;
  come_up(server, "", 300);
  kill(server->pid, SIGSTOP);
  put_words(world, "PING");
  tg_redis_send(world->redis, 1, replied, world);
  RUN_UNTIL(world, world->downs == 1);
  assert_string_equal(world->error.code, "timeout");
  kill(server->pid, SIGCONT);
  world->ups = 0;
  RUN_UNTIL(world, (try_again(world), world->ups == 1));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, server_setup, server_teardown)
  const struct CMUnitTest tests[] = {
      TEST(adds_a_batch_as_a_whole),           TEST(explains_what_redis_refuses),
      TEST(logs_in_as_redis_lets_it),          TEST(tells_that_there_are_too_many_clients),
      TEST(comes_back_to_one_that_was_killed), TEST(gives_up_one_that_stands_still),
  };
  if (system("command -v redis-server >/dev/null") != 0) {
    puts("redis-server is not there: nothing is tried with it");
    return 0;
  }
  return cmocka_run_group_tests(tests, NULL, NULL);
}
