/* The script (scripts/) in a real Redis: each of its calls, and what it leaves there. What they are worth
 * together cluster_sim_test.c tries, in a Redis that is played. */

#include "redis_world.h"

#include <time.h>

enum { TTL = 6000, UNSENT = 450, SPACING = 5300 };

/* The answer to the call, which is the caller's. */
static json_t *ask_as(struct redis_world *world, const char *host, const char *name, json_t *more)
{
  int answered = world->answered;
  tg_buf_reset(&world->answers, 4096);
  call_as(world, host, name, more);
  RUN_UNTIL(world, world->answered > answered);
  json_t *answer = json_loads(text_of(&world->answers), 0, NULL);
  if (!json_is_object(answer))
    fail_msg("%s: %s%s", name, text_of(&world->answers), world->refusal);
  return answer;
}

static json_t *beat_body(int total, bool draining, json_t *held, json_t *left)
{
  return json_pack("{s:s, s:s, s:i, s:s, s:b, s:o, s:o, s:b}", "home", "h", "bot", "99", "total", total,
                   "digest", "d", "draining", draining, "held", held, "left", left, "last", 1);
}

static json_t *beat(struct redis_world *world, const char *host, json_t *held)
{
  return ask_as(world, host, "beat", beat_body(4, false, held ? held : json_array(), json_array()));
}

static void beat_once(struct redis_world *world, const char *host)
{
  json_decref(beat(world, host, NULL));
}

/* A Redis that is known, with two hosts and a budget. */
static void begin(struct redis_world *world)
{
  come_up(world);
  beat_once(world, "a");
  beat_once(world, "b");
  assert_string_equal(command(world, "HSET tidegate:{bot}:c quiet 0 hold 0"), "0");
  json_decref(ask_as(world, "a", "budget",
                     json_pack("{s:i, s:i, s:i, s:i, s:i}", "limit", 1000, "remaining", 999, "reset_after",
                               3600000, "max_concurrency", 2, "shards", 4)));
}

static int64_t number(const json_t *answer, const char *key)
{
  const json_t *value = json_object_get(answer, key);
  if (!json_is_number(value))
    fail_msg("there is no number %s", key);
  return (int64_t)json_number_value(value);
}

static const char *text(const json_t *answer, const char *key)
{
  const char *value = json_string_value(json_object_get(answer, key));
  if (!value)
    fail_msg("there is no text %s", key);
  return value;
}

static const json_t *item(const json_t *answer, const char *key, size_t index)
{
  const json_t *value = json_array_get(json_object_get(answer, key), index);
  if (!value)
    fail_msg("%s has no item %zu", key, index);
  return value;
}

#define ASSERT_REFUSED(world, host, name, more, word)                                                        \
  do {                                                                                                       \
    json_t *refusal = ask_as(world, host, name, more);                                                       \
    assert_string_equal(text(refusal, "refused"), word);                                                     \
    json_decref(refusal);                                                                                    \
  } while (0)

#define ASSERT_EMPTY(world, host, name, more)                                                                \
  do {                                                                                                       \
    json_t *nothing = ask_as(world, host, name, more);                                                       \
    assert_int_equal(json_object_size(nothing), 0);                                                          \
    json_decref(nothing);                                                                                    \
  } while (0)

/* Takes shards; the fence of the first of them, the others' are higher by one each. */
static int64_t claim(struct redis_world *world, const char *host, int max)
{
  json_t *answer = ask_as(world, host, "claim", json_pack("{s:i}", "max", max));
  assert_int_equal(json_array_size(json_object_get(answer, "given")), max);
  int64_t fence = number(item(answer, "given", 0), "fence");
  json_decref(answer);
  return fence;
}

static json_t *progress(int shard, int64_t fence, int64_t epoch, int durable, int delivered)
{
  return json_pack("{s:i, s:I, s:I, s:i, s:I, s:i, s:i}", "shard", shard, "fence", (json_int_t)fence, "epoch",
                   (json_int_t)epoch, "durable", durable, "delivered_epoch", (json_int_t)epoch, "delivered",
                   delivered, "guilds", 2);
}

static void put(struct redis_world *world, const char *host, int shard, int64_t fence, int64_t epoch,
                int durable, int delivered)
{
  json_t *body = progress(shard, fence, epoch, durable, delivered);
  json_object_update_new(body, json_pack("{s:s, s:s, s:s, s:b}", "session", "abc", "url", "wss://resume.test",
                                         "digest", "d", "runs", 1));
  ASSERT_EMPTY(world, host, "put", body);
}

/* ---- leases ---- */

static void waits_while_it_is_not_known(void **state)
{
  struct redis_world *world = *state;
  come_up(world);
  json_t *answer = beat(world, "a", NULL);
  int64_t quiet = number(answer, "quiet");
  assert_true(quiet > TTL - 2000 && quiet <= TTL);
  assert_int_equal(number(answer, "total"), 4);
  assert_int_equal(number(answer, "free"), 4);
  assert_string_equal(text(answer, "leader"), "a");
  assert_string_equal(text(item(answer, "hosts", 0), "name"), "a");
  assert_int_equal(number(item(answer, "hosts", 0), "age"), 0);
  json_decref(answer);
  ASSERT_REFUSED(world, "a", "claim", json_pack("{s:i}", "max", 4), "quiet");
}

/* Nobody has named the total, Discord has recommended it: a Redis that has lost all must not keep sessions
 * as those of another one. */
static void hears_how_many_shards_there_are_from_who_runs_them(void **state)
{
  struct redis_world *world = *state;
  enum { FENCE = 1700000001, EPOCH };
  come_up(world);
  json_t *held = progress(5, FENCE, EPOCH, 7, 7);
  json_object_set_new(held, "sure", json_true());
  json_t *body = beat_body(0, false, json_pack("[o]", held), json_array());
  json_object_set_new(body, "known", json_integer(6));
  json_t *answer = ask_as(world, "a", "beat", body);
  assert_int_equal(number(answer, "total"), 6);
  assert_int_equal(number(answer, "free"), 5);
  json_decref(answer);
  put(world, "a", 5, FENCE, EPOCH, 7, 7);
  assert_string_equal(command(world, "HLEN tidegate:{bot}:s:6"), "1");
  assert_string_equal(command(world, "EXISTS tidegate:{bot}:s:0"), "0");
}

static void gives_shards_and_renews_them(void **state)
{
  struct redis_world *world = *state;
  begin(world);
  int64_t fence = claim(world, "a", 2);
  assert_true(llabs(fence - (int64_t)time(NULL)) < 100000); /* from the time on */
  json_t *answer =
      beat(world, "a",
           json_pack("[o]", json_pack("{s:i, s:I, s:b, s:i, s:i, s:i, s:i, s:i}", "shard", 0, "fence",
                                      (json_int_t)fence, "sure", 1, "epoch", 0, "durable", 0,
                                      "delivered_epoch", 0, "delivered", 0, "guilds", 0)));
  assert_int_equal(number(item(answer, "given", 0), "shard"), 1); /* for which it does not beat yet */
  assert_int_equal(number(item(answer, "given", 0), "fence"), fence + 1);
  assert_int_equal(number(answer, "free"), 2);
  assert_int_equal(number(answer, "mark"), fence + 1);
  assert_int_equal(number(item(answer, "hosts", 0), "shards") + number(item(answer, "hosts", 1), "shards"),
                   2);
  json_decref(answer);
  json_t *others = progress(0, fence, 0, 0, 0);
  json_object_set_new(others, "sure", json_true());
  answer = beat(world, "b", json_pack("[o]", others)); /* of another host */
  assert_int_equal(json_number_value(item(answer, "lost", 0)), 0);
  json_decref(answer);
  ASSERT_REFUSED(world, "a", "put", progress(0, fence + 9, 1, 0, 0), "lease");
  ASSERT_REFUSED(world, "nobody", "claim", json_pack("{s:i}", "max", 4), "unknown");
}

static void keeps_sessions(void **state)
{
  struct redis_world *world = *state;
  begin(world);
  int64_t fence = claim(world, "a", 1);
  put(world, "a", 0, fence, 1700000001, 500, 480);
  assert_string_equal(command(world, "HGET tidegate:{bot}:p:4 0"), "1700000001 500 1700000001 480 2");
  json_t *mine = progress(0, fence, 1700000001, 900, 890);
  json_object_set_new(mine, "sure", json_true());
  json_t *answer = beat(world, "a", json_pack("[o]", mine));
  assert_int_equal(json_array_size(json_object_get(answer, "wanted")), 0);
  json_decref(answer);
  assert_string_equal(command(world, "HGET tidegate:{bot}:p:4 0"), "1700000001 900 1700000001 890 2");
  json_t *other = progress(0, fence, 1700000002, 1, 1); /* it was never put */
  json_object_set_new(other, "sure", json_true());
  answer = beat(world, "a", json_pack("[o]", other));
  assert_int_equal(json_number_value(item(answer, "wanted", 0)), 0);
  json_decref(answer);
}

static void knows_its_hosts(void **state)
{
  struct redis_world *world = *state;
  begin(world);
  json_t *body = beat_body(4, false, json_array(), json_array());
  json_object_set_new(body, "home", json_string("another"));
  json_t *answer = ask_as(world, "a", "beat", body);
  assert_string_equal(text(answer, "refused"), "name");
  assert_string_equal(text(answer, "theirs"), "h");
  assert_true(number(answer, "till") > 0);
  json_decref(answer);
  answer = ask_as(world, "c", "beat", beat_body(8, false, json_array(), json_array()));
  assert_string_equal(text(answer, "refused"), "total");
  assert_string_equal(text(answer, "theirs"), "4");
  json_decref(answer);
  body = beat_body(4, false, json_array(), json_array());
  json_object_set_new(body, "bot", json_string("100"));
  answer = ask_as(world, "c", "beat", body);
  assert_string_equal(text(answer, "refused"), "bot");
  assert_string_equal(text(answer, "theirs"), "99");
  json_decref(answer);
  body = beat_body(4, false, json_array(), json_array());
  json_object_set_new(body, "link", json_integer(0));
  ASSERT_REFUSED(world, "a", "beat", body, "late");
}

/* ---- moves ---- */

static json_t *offer(int64_t fence, const char *to)
{
  return json_pack("{s:i, s:I, s:s, s:i}", "shard", 0, "fence", (json_int_t)fence, "to", to, "aim", 2);
}

static json_t *release(int64_t fence, int64_t epoch, int durable, int delivered)
{
  json_t *body = progress(0, fence, epoch, durable, delivered);
  json_object_set_new(body, "to", json_string("b"));
  return body;
}

static void moves_a_shard(void **state)
{
  struct redis_world *world = *state;
  enum { EPOCH = 1700000001 };
  begin(world);
  int64_t fence = claim(world, "a", 2);
  put(world, "a", 0, fence, EPOCH, 500, 480);
  ASSERT_REFUSED(world, "a", "offer", offer(fence, "nobody"), "host");
  ASSERT_REFUSED(world, "a", "offer", offer(fence + 7, "b"), "lease");
  ASSERT_REFUSED(
      world, "a", "offer",
      json_pack("{s:i, s:I, s:s, s:i}", "shard", 0, "fence", (json_int_t)fence, "to", "b", "aim", 0),
      "enough");
  ASSERT_EMPTY(world, "a", "offer", offer(fence, "b"));
  ASSERT_EMPTY(world, "b", "ready", json_pack("{s:i, s:s}", "shard", 0, "to", "a"));
  RUN_UNTIL(world, world->posted.length > 0);
  assert_memory_equal(text_of(&world->posted), "ready {", 7);
  json_t *ready = json_loads(strchr(world->posted.data, '{'), 0, NULL);
  assert_int_equal(number(ready, "shard"), 0);
  assert_string_equal(text(ready, "from"), "b");
  json_decref(ready);
  ASSERT_EMPTY(world, "a", "release", release(fence, EPOCH, 600, 600));
  ASSERT_REFUSED(world, "a", "release", release(fence, EPOCH, 600, 600), "lease");
  const char *stream = command(world, "XRANGE tidegate:{bot}:cmd:b - +");
  assert_non_null(strstr(stream, "[word offer body {"));
  assert_non_null(strstr(stream, "[word given body {"));
  json_t *answer = beat(world, "b", NULL);
  const json_t *given = item(answer, "given", 0);
  assert_int_equal(number(given, "shard"), 0);
  assert_true(number(given, "fence") > fence + 1);
  assert_int_equal(number(given, "epoch"), EPOCH);
  assert_int_equal(number(given, "from"), 600);
  assert_string_equal(text(given, "session"), "abc");
  assert_string_equal(text(given, "url"), "wss://resume.test");
  assert_string_equal(text(given, "digest"), "d");
  json_decref(answer);
}

/* ---- another number of shards ---- */

static json_t *reshard_to(int to, int reserve)
{
  return json_pack("{s:i, s:i}", "to", to, "reserve", reserve);
}

/* All four run at host a, which leads; returns the fence of the first. */
static int64_t begin_with_all(struct redis_world *world)
{
  begin(world);
  int64_t fence = claim(world, "a", 4);
  for (int shard = 0; shard < 4; shard++)
    put(world, "a", shard, fence + shard, fence + shard, 500, 480);
  return fence;
}

/* The mark of the change to eight. */
static int64_t begin_change(struct redis_world *world)
{
  json_t *answer = ask_as(world, "a", "reshard", reshard_to(8, 100));
  assert_int_equal(number(answer, "from"), 4);
  assert_int_equal(number(answer, "to"), 8);
  json_decref(answer);
  answer = beat(world, "b", NULL);
  int64_t change = number(answer, "change");
  assert_int_equal(number(answer, "to"), 8);
  json_decref(answer);
  return change;
}

static json_t *class_at(int class, int64_t fence, int64_t change, int step)
{
  return json_pack("{s:i, s:I, s:I, s:i, s:s}", "shard", class, "fence", (json_int_t)fence, "change",
                   (json_int_t)change, "step", step, "file", "what has switched");
}

static void put_new(struct redis_world *world, int shard, int64_t fence)
{
  json_t *body = progress(shard, fence, 1700009000 + shard, 30, 30);
  json_object_update_new(body, json_pack("{s:i, s:s, s:s, s:s, s:b}", "of", 8, "session", "new", "url",
                                         "wss://resume.test", "digest", "d", "runs", 1));
  ASSERT_EMPTY(world, "a", "put", body);
}

static void changes_the_number_of_shards_by_who_leads(void **state)
{
  struct redis_world *world = *state;
  begin(world);
  int64_t fence = claim(world, "a", 4);
  ASSERT_REFUSED(world, "b", "reshard", reshard_to(8, 100), "leader");
  ASSERT_REFUSED(world, "a", "reshard", reshard_to(6, 100), "total");
  ASSERT_REFUSED(world, "a", "reshard", reshard_to(4, 100), "total");
  ASSERT_REFUSED(world, "a", "reshard", reshard_to(8, 100), "moving"); /* they have no sessions yet */
  for (int shard = 0; shard < 4; shard++)
    put(world, "a", shard, fence + shard, fence + shard, 500, 480);
  ASSERT_REFUSED(world, "a", "reshard", reshard_to(8, 991), "budget"); /* 9 of the 999 */
  ASSERT_REFUSED(world, "a", "abort", json_object(), "none");
  begin_change(world);
  ASSERT_REFUSED(world, "a", "reshard", reshard_to(12, 100), "running");
  ASSERT_REFUSED(world, "a", "offer", offer(fence, "b"), "change");
  json_decref(ask_as(world, "a", "abort", json_object()));
  ASSERT_EMPTY(world, "a", "offer", offer(fence, "b"));
}

static void changes_class_by_class(void **state)
{
  struct redis_world *world = *state;
  int64_t fence = begin_with_all(world), change = begin_change(world);
  ASSERT_REFUSED(world, "a", "class", class_at(0, fence, change, 2), "sessions");
  for (int shard = 0; shard < 8; shard++)
    put_new(world, shard, fence + shard % 4);
  ASSERT_REFUSED(world, "a", "class", class_at(0, fence, change + 1, 2), "over");
  ASSERT_REFUSED(world, "a", "class", class_at(0, fence + 9, change, 2), "lease");
  json_decref(ask_as(world, "a", "class", class_at(0, fence, change, 2)));
  ASSERT_REFUSED(world, "a", "abort", json_object(), "late");
  command(world, "HSET tidegate:{bot}:presences 1 idle all online mark 5");
  for (int class = 0; class < 4; class ++)
    json_decref(ask_as(world, "a", "class", class_at(class, fence + class, change, 4)));
  json_t *answer = beat(world, "b", NULL);
  assert_int_equal(number(answer, "total"), 8);
  assert_int_equal(number(answer, "done"), change);
  assert_int_equal(number(answer, "free"), 0);
  assert_null(json_object_get(answer, "change"));
  json_decref(answer);
  json_t *late = progress(3, fence + 3, 1, 0, 0);
  json_object_set_new(late, "of", json_integer(4)); /* which are no more */
  ASSERT_REFUSED(world, "a", "put", late, "lease");
  assert_string_equal(command(world, "HGET tidegate:{bot}:presences 5"), "idle"); /* of those guilds */
  assert_string_equal(command(world, "HLEN tidegate:{bot}:presences"), "4");
  assert_true(atoi(command(world, "HGET tidegate:{bot}:presences mark")) > 5);
  assert_string_equal(command(world, "EXISTS tidegate:{bot}:s:4 tidegate:{bot}:class tidegate:{bot}:file"),
                      "0");
}

/* Host b takes two classes when host a is gone: one that has switched, one that has not. */
static void hands_classes_over_as_they_are(void **state)
{
  struct redis_world *world = *state;
  int64_t fence = begin_with_all(world), change = begin_change(world);
  for (int shard = 0; shard < 8; shard++)
    put_new(world, shard, fence + shard % 4);
  json_decref(ask_as(world, "a", "class", class_at(0, fence, change, 2)));
  assert_non_null(command(world, "DEL tidegate:{bot}:lease"));
  json_t *answer = ask_as(world, "b", "claim", json_pack("{s:i}", "max", 2));
  const json_t *switched = item(answer, "given", 0), *other = item(answer, "given", 1);
  assert_int_equal(number(switched, "step"), 2);
  assert_string_equal(text(switched, "file"), "what has switched");
  assert_int_equal(number(item(switched, "next", 1), "shard"), 4);
  assert_string_equal(text(item(switched, "next", 1), "session"), "new");
  assert_int_equal(number(item(switched, "next", 1), "from"), 30);
  assert_int_equal(number(other, "step"), 0);
  assert_string_equal(text(other, "session"), "abc");
  assert_null(json_object_get(item(other, "next", 0), "session"));
  json_decref(answer);
}

/* ---- turns ---- */

static json_t *slot(int shard, int64_t fence, int priority)
{
  return json_pack("{s:i, s:I, s:i, s:i}", "shard", shard, "fence", (json_int_t)fence, "priority", priority,
                   "reserve", 10);
}

static json_t *grant(int shard, int64_t epoch)
{
  return json_pack("{s:i, s:I}", "shard", shard, "epoch", (json_int_t)epoch);
}

static int64_t wait_of(struct redis_world *world, int shard, int64_t fence)
{
  json_t *answer = ask_as(world, "a", "slot", slot(shard, fence, 1));
  int64_t wait = number(answer, "wait");
  json_decref(answer);
  return wait;
}

static int64_t epoch_of(struct redis_world *world, int shard, int64_t fence)
{
  json_t *answer = ask_as(world, "a", "slot", slot(shard, fence, 1));
  int64_t epoch = number(answer, "epoch");
  json_decref(answer);
  return epoch;
}

static void lets_shards_identify(void **state)
{
  struct redis_world *world = *state;
  begin(world);
  int64_t fence = claim(world, "a", 4), epoch = epoch_of(world, 0, fence);
  assert_true(epoch > fence + 3);
  assert_string_equal(command(world, "HGET tidegate:{bot}:c remaining"), "998");
  int64_t wait = wait_of(world, 2, fence + 2); /* of the same bucket: the grant may not be used */
  assert_true(wait > 0 && wait <= UNSENT);
  ASSERT_EMPTY(world, "a", "unused", grant(0, epoch)); /* it is as if it had not been granted */
  assert_string_equal(command(world, "HGET tidegate:{bot}:c remaining"), "999");
  epoch = epoch_of(world, 2, fence + 2);
  ASSERT_EMPTY(world, "a", "sent", grant(2, epoch));
  wait = wait_of(world, 0, fence); /* its READY does not come */
  assert_true(wait > SPACING - 2000 && wait <= SPACING);
  ASSERT_EMPTY(world, "a", "unused", grant(2, epoch)); /* comes late: it was */
  assert_string_equal(command(world, "HGET tidegate:{bot}:c remaining"), "998");
  ASSERT_EMPTY(world, "a", "done", grant(2, epoch));
  wait = wait_of(world, 0, fence);
  assert_true(wait > SPACING - 2000 && wait <= SPACING);
  assert_true(epoch_of(world, 1, fence + 1) > epoch); /* of the other bucket */
  command(world, "HDEL tidegate:{bot}:bucket 1");
  ASSERT_EMPTY(world, "a", "sent", grant(1, epoch)); /* of a grant that Redis does not know */
  ASSERT_EMPTY(world, "a", "done", grant(1, epoch));
  ASSERT_EMPTY(world, "a", "unused", grant(1, epoch));
  ASSERT_REFUSED(world, "a", "slot", slot(3, fence, 1), "lease");
  ASSERT_REFUSED(world, "", "slot", slot(3, 0, 1), "held"); /* who is no host */
}

static void keeps_the_days_reserve(void **state)
{
  struct redis_world *world = *state;
  begin(world);
  int64_t fence = claim(world, "a", 1);
  command(world, "HSET tidegate:{bot}:c remaining 10");
  json_t *answer = ask_as(world, "a", "slot", slot(0, fence, 1));
  assert_int_equal(number(answer, "remaining"), 10);
  assert_true(number(answer, "held_back") > 3500000);
  json_decref(answer);
}

/* ---- holes ---- */

static void keeps_holes_until_they_are_filled(void **state)
{
  struct redis_world *world = *state;
  enum { EPOCH = 1700000001 };
  begin(world);
  int64_t fence = claim(world, "a", 1);
  put(world, "a", 0, fence, EPOCH, 900, 100);
  ASSERT_EMPTY(world, "a", "release", release(fence, EPOCH, 900, 100)); /* from far back: a hole */
  json_t *answer = beat(world, "a", NULL);
  const json_t *hole = item(answer, "holes", 0);
  char key[100];
  snprintf(key, sizeof key, "%s", text(hole, "key"));
  assert_string_equal(key, "a/4/0/1700000001/100");
  assert_int_equal(number(hole, "shard"), 0);
  assert_int_equal(number(hole, "from_epoch"), EPOCH);
  assert_int_equal(number(hole, "from"), 100);
  assert_int_equal(number(hole, "to_epoch"), EPOCH);
  assert_int_equal(number(hole, "to"), 900);
  json_decref(answer);
  answer = ask_as(world, "a", "filled", json_pack("{s:s}", "key", key));
  assert_int_equal(number(answer, "removed"), 1);
  json_decref(answer);
  answer = ask_as(world, "a", "filled", json_pack("{s:s}", "key", key)); /* the answer may have been lost */
  assert_int_equal(number(answer, "removed"), 0);
  json_decref(answer);
  json_t *left = json_pack("[{s:i, s:I, s:i, s:i, s:i}]", "shard", 0, "fence", (json_int_t)fence, "epoch",
                           EPOCH, "delivered_epoch", EPOCH, "delivered", 900);
  answer = ask_as(world, "a", "beat", beat_body(4, false, json_array(), json_incref(left)));
  assert_int_equal(json_array_size(json_object_get(answer, "void")), 0); /* b has not resumed it yet */
  json_decref(answer);
  answer = beat(world, "b", NULL);
  put(world, "b", 0, number(item(answer, "given", 0), "fence"), EPOCH, 950, 950);
  json_decref(answer);
  answer = ask_as(world, "a", "beat", beat_body(4, false, json_array(), left));
  assert_int_equal(json_number_value(item(answer, "void", 0)), 0);
  json_decref(answer);
}

static void shows_all_and_forgets_a_host(void **state)
{
  struct redis_world *world = *state;
  enum { EPOCH = 1700000001 };
  begin(world);
  int64_t fence = claim(world, "a", 1);
  put(world, "a", 0, fence, EPOCH, 900, 100);
  ASSERT_EMPTY(world, "a", "release", release(fence, EPOCH, 900, 100));
  json_t *answer = ask_as(world, "", "status", json_object());
  assert_string_equal(text(answer, "bot"), "99");
  assert_int_equal(number(answer, "total"), 4);
  assert_int_equal(number(answer, "quiet"), 0);
  assert_int_equal(number(answer, "hold"), 0);
  assert_int_equal(number(answer, "limit"), 1000);
  assert_int_equal(number(answer, "remaining"), 999);
  assert_int_equal(number(answer, "max_concurrency"), 2);
  assert_true(number(answer, "reset_after") > 3500000);
  assert_int_equal(json_array_size(json_object_get(answer, "hosts")), 2);
  assert_string_equal(text(item(answer, "holes", 0), "host"), "a");
  assert_int_equal(number(json_object_get(json_object_get(answer, "owed"), "4 0 a"), "from"), 900);
  json_decref(answer);
  ASSERT_REFUSED(world, "", "forget", json_pack("{s:s}", "name", "a"), "alive");
  json_t *host = json_loads(command(world, "HGET tidegate:{bot}:hosts a"), 0, NULL);
  json_object_set_new(host, "till", json_integer(0));
  char *dead = json_dumps(host, JSON_COMPACT), words[300];
  snprintf(words, sizeof words, "HSET tidegate:{bot}:hosts a %s", dead);
  command(world, words);
  free(dead);
  json_decref(host);
  answer = ask_as(world, "", "forget", json_pack("{s:s}", "name", "a"));
  assert_true(json_is_true(json_object_get(answer, "known")));
  assert_int_equal(number(answer, "holes"), 1);
  json_decref(answer);
  answer = ask_as(world, "", "forget", json_pack("{s:s}", "name", "a"));
  assert_true(json_is_false(json_object_get(answer, "known")));
  json_decref(answer);
  assert_string_equal(command(world, "HLEN tidegate:{bot}:owed"), "0");
}

/* ---- Redis itself ---- */

/* Events may fill it, but leases must not end by that. */
static void runs_when_memory_is_full(void **state)
{
  struct redis_world *world = *state;
  begin(world);
  expect_ok(world, "CONFIG SET maxmemory 1");
  assert_non_null(strstr(command(world, "SET text x"), "OOM"));
  int64_t fence = claim(world, "a", 1);
  put(world, "a", 0, fence, epoch_of(world, 0, fence), 1, 1);
  ASSERT_EMPTY(world, "a", "offer", offer(fence, "b"));
  beat_once(world, "a");
  expect_ok(world, "SCRIPT FLUSH");
  beat_once(world, "a"); /* the script may be given to it even so */
}

static void leaves_no_key_that_may_be_evicted(void **state)
{
  struct redis_world *world = *state;
  begin(world);
  int64_t fence = claim(world, "a", 1);
  put(world, "a", 0, fence, epoch_of(world, 0, fence), 900, 100);
  ASSERT_EMPTY(world, "a", "offer", offer(fence, "b"));
  ASSERT_EMPTY(world, "a", "release", release(fence, 1700000001, 900, 100));
  expect_ok(world, "CONFIG SET maxmemory-policy volatile-lru");
  assert_true(atoi(command(world, "DBSIZE")) > 8);
  assert_non_null(strstr(command(world, "INFO keyspace"), "expires=0,"));
  expect_ok(world, "CONFIG SET maxmemory 1");
  beat_once(world, "a");
  assert_true(atoi(command(world, "DBSIZE")) > 8);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
  const struct CMUnitTest tests[] = {
      TEST(waits_while_it_is_not_known),
      TEST(hears_how_many_shards_there_are_from_who_runs_them),
      TEST(gives_shards_and_renews_them),
      TEST(keeps_sessions),
      TEST(knows_its_hosts),
      TEST(moves_a_shard),
      TEST(changes_the_number_of_shards_by_who_leads),
      TEST(changes_class_by_class),
      TEST(hands_classes_over_as_they_are),
      TEST(lets_shards_identify),
      TEST(keeps_the_days_reserve),
      TEST(keeps_holes_until_they_are_filled),
      TEST(shows_all_and_forgets_a_host),
      TEST(runs_when_memory_is_full),
      TEST(leaves_no_key_that_may_be_evicted),
  };
  return has_redis() ? cmocka_run_group_tests(tests, NULL, NULL) : 0;
}
