/* Presences that hosts of a cluster share, by a real Redis. */

#include "hooks/hooks.h"
#include "manager/cluster/shared_presences.h"
#include "redis_world.h"

struct host {
  const char *name;
  struct redis_world *world;
  struct tg_redis_link *link;
  struct tg_shared_presences *shared;
  bool is_up;
  struct tg_buf changes; /* a line each */
};

struct presence_world {
  struct redis_world *redis;
  struct host a, b, c;
  struct tg_buf replies;
  int replied;
};

static void on_up_there(void *ctx, const char *run_id)
{
  struct host *host = ctx;
  (void)run_id;
  host->is_up = true;
  tg_shared_presences_up(host->shared, host->link);
}

static void on_down_there(void *ctx, const struct tg_error *error)
{
  struct host *host = ctx;
  (void)error;
  host->is_up = false;
}

static void on_posted_there(void *ctx, const char *word, const char *body, size_t length)
{
  struct host *host = ctx;
  bool is_ours = tg_shared_presences_heard(host->shared, word, body, length);
  assert_true(is_ours == (strcmp(word, "present") == 0));
}

static const struct tg_redis_link_events there = {on_up_there, on_down_there, on_posted_there};

static void on_changed(void *ctx, int shard_id, const json_t *presence)
{
  struct host *host = ctx;
  const char *status = json_string_value(json_object_get(presence, "status"));
  if (shard_id == TG_ALL_SHARDS)
    tg_buf_printf(&host->changes, "all %s\n", presence ? status : "-");
  else
    tg_buf_printf(&host->changes, "%d %s\n", shard_id, presence ? status : "-");
}

/* Its first beat, or the next. */
static void beat(struct host *host)
{
  json_t *body = json_pack("{s:s, s:i, s:i, s:s, s:s, s:i, s:s, s:b, s:b, s:[], s:[]}", "host", host->name,
                           "life", 1, "link", 1, "home", "h", "bot", "1", "total", 4, "digest", "d",
                           "draining", 0, "last", 1, "held", "left");
  int answered = host->world->answered;
  assert_true(tg_redis_link_ask(host->link, "beat", body, on_answer, host->world));
  RUN_UNTIL(host->world, host->world->answered > answered);
}

static void join(struct host *host, struct redis_world *world, const char *name)
{
  char url[200];
  snprintf(url, sizeof url, "redis+unix://%s", world->path);
  host->name = name;
  host->world = world;
  host->shared = tg_shared_presences_new(name, on_changed, host);
  host->link = tg_redis_link_new(
      &(struct tg_redis_link_options){
          .loop = &world->loop, .url = url, .name = "bot", .host = name, .events = &there, .ctx = host},
      &world->error);
  tg_redis_link_connect(host->link);
  RUN_UNTIL(world, host->is_up);
  beat(host); /* and what it has read first has come, too */
}

static void leave(struct host *host)
{
  tg_shared_presences_end(host->shared);
  tg_redis_link_free(host->link);
  tg_shared_presences_free(host->shared);
  tg_buf_free(&host->changes);
  *host = (struct host){0};
}

static int setup(void **state)
{
  struct presence_world *world = calloc(1, sizeof *world);
  void *redis;
  world_setup(&redis);
  world->redis = redis;
  command(world->redis, "PING");
  join(&world->a, world->redis, "a");
  join(&world->b, world->redis, "b");
  *state = world;
  return 0;
}

static int teardown(void **state)
{
  struct presence_world *world = *state;
  leave(&world->a);
  leave(&world->b);
  leave(&world->c);
  void *redis = world->redis;
  world_teardown(&redis);
  tg_buf_free(&world->replies);
  free(world);
  return 0;
}

static void on_reply(void *ctx, json_t *value, const struct tg_error *error)
{
  struct presence_world *world = ctx;
  world->replied++;
  assert_true(error || json_is_true(value));
  tg_buf_printf(&world->replies, "%s\n", error ? error->code : "true");
}

static void set(struct presence_world *world, struct host *host, int shard_id, const char *status)
{
  json_t *presence = status ? json_pack("{s:s}", "status", status) : NULL;
  int replied = world->replied;
  tg_shared_presences_set(host->shared, shard_id, presence, on_reply, world);
  json_decref(presence);
  RUN_UNTIL(world->redis, world->replied > replied);
}

#define AWAIT_CHANGES(host, text)                                                                            \
  RUN_UNTIL((host)->world, (host)->changes.length >= strlen(text));                                          \
  assert_string_equal(text_of(&(host)->changes), text);                                                      \
  tg_buf_reset(&(host)->changes, 4096)

static void all_hosts_hear_of_a_change(void **state)
{
  struct presence_world *world = *state;
  set(world, &world->a, TG_ALL_SHARDS, "idle");
  AWAIT_CHANGES(&world->a, "all idle\n");
  AWAIT_CHANGES(&world->b, "all idle\n");
  set(world, &world->b, 3, "dnd");
  set(world, &world->b, 3, NULL);
  set(world, &world->a, 2, "online");
  AWAIT_CHANGES(&world->a, "3 dnd\n3 -\n2 online\n");
  AWAIT_CHANGES(&world->b, "3 dnd\n3 -\n2 online\n");
  assert_string_equal(text_of(&world->replies), "true\ntrue\ntrue\ntrue\n");
}

static void who_comes_later_reads_them(void **state)
{
  struct presence_world *world = *state;
  set(world, &world->a, 1, "dnd");
  set(world, &world->a, TG_ALL_SHARDS, "idle"); /* ends what was of one */
  set(world, &world->a, 3, "dnd");
  join(&world->c, world->redis, "c");
  AWAIT_CHANGES(&world->c, "all idle\n3 dnd\n");
  tg_shared_presences_tell(world->c.shared);
  AWAIT_CHANGES(&world->c, "all idle\n3 dnd\n");
  set(world, &world->c, 3, NULL);
  AWAIT_CHANGES(&world->c, "3 -\n");
}

/* Whoever was not in touch meanwhile learns what differs, and no more. */
static void who_was_away_catches_up(void **state)
{
  struct presence_world *world = *state;
  set(world, &world->a, TG_ALL_SHARDS, "idle");
  set(world, &world->a, 0, "dnd");
  set(world, &world->a, 1, "dnd");
  AWAIT_CHANGES(&world->b, "all idle\n0 dnd\n1 dnd\n");
  expect_ok(world->redis, "CONFIG SET maxclients 1"); /* nobody comes in */
  tg_redis_link_break(world->b.link, "for a try");
  RUN_UNTIL(world->redis, !world->b.is_up);
  set(world, &world->a, 1, NULL);
  set(world, &world->a, 2, "online");
  command(world->redis, "DEL tidegate:{bot}:cmd:b"); /* what was posted is lost */
  expect_ok(world->redis, "CONFIG SET maxclients 1000");
  AWAIT_CHANGES(&world->b, "1 -\n2 online\n");
}

static void a_redis_that_has_lost_them_gets_them_back(void **state)
{
  struct presence_world *world = *state;
  set(world, &world->a, TG_ALL_SHARDS, "idle");
  set(world, &world->a, 2, "dnd");
  AWAIT_CHANGES(&world->a, "all idle\n2 dnd\n");
  AWAIT_CHANGES(&world->b, "all idle\n2 dnd\n");
  kill_server(world->redis);
  RUN_UNTIL(world->redis, !world->a.is_up && !world->b.is_up);
  set(world, &world->a, TG_ALL_SHARDS, "dnd");
  assert_non_null(strstr(text_of(&world->replies), "redis_away"));
  run_server(world->redis);
  RUN_UNTIL(world->redis, world->a.is_up && world->b.is_up);
  beat(&world->a);
  beat(&world->b);
  join(&world->c, world->redis, "c");
  AWAIT_CHANGES(&world->c, "all idle\n2 dnd\n");
  set(world, &world->b, 2, "online"); /* later than all that was before */
  AWAIT_CHANGES(&world->a, "2 online\n");
  AWAIT_CHANGES(&world->c, "2 online\n");
}

/* As with a single gateway: what was set ends with the processes that had it. */
static void they_end_with_all_hosts(void **state)
{
  struct presence_world *world = *state;
  set(world, &world->a, TG_ALL_SHARDS, "idle");
  AWAIT_CHANGES(&world->b, "all idle\n");
  leave(&world->a);
  join(&world->a, world->redis, "a"); /* the other one has them yet */
  AWAIT_CHANGES(&world->a, "all idle\n");
  leave(&world->a);
  leave(&world->b);
  command(world->redis, "DEL tidegate:{bot}:hosts"); /* as when their time is over */
  join(&world->a, world->redis, "a");
  join(&world->b, world->redis, "b");
  set(world, &world->a, 0, "dnd");
  AWAIT_CHANGES(&world->a, "0 dnd\n");
  AWAIT_CHANGES(&world->b, "0 dnd\n");
}

static void who_waits_is_told_at_the_end(void **state)
{
  struct presence_world *world = *state;
  tg_shared_presences_set(world->a.shared, 0, NULL, on_reply, world);
  tg_shared_presences_end(world->a.shared);
  assert_string_equal(text_of(&world->replies), "stopping\n");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      TEST(all_hosts_hear_of_a_change), TEST(who_comes_later_reads_them),
      TEST(who_was_away_catches_up),    TEST(a_redis_that_has_lost_them_gets_them_back),
      TEST(they_end_with_all_hosts),    TEST(who_waits_is_told_at_the_end),
  };
  return has_redis() ? cmocka_run_group_tests(tests, NULL, NULL) : 0;
}
