/* Turns for other programs: by the scheduler of this gateway, and by a cluster that is played here. */

#include "manager/identify/grants.h"

#include "base/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { FIRST = 4, LAST = 7, TOTAL = 12, BUCKETS = 4, SPACING = 5300 };

static struct {
  struct tg_config config;
  struct tg_manager_env env;
  struct tg_scheduler *scheduler;
  struct tg_gateway_info info;
  struct tg_grants *grants;
  int changes;
  bool is_put_off;
  bool redis_is_away;
  char calls[256]; /* of the cluster: what was called, and of which shard */
  tg_redis_link_replied *done;
  void *done_ctx;
} world;

struct answer {
  int count, status;
  tg_ms retry_after;
  char text[256];
};

static void on_answer(void *ctx, int status, tg_ms retry_after, json_t *body)
{
  struct answer *answer = ctx;
  char *text = json_dumps(body, JSON_COMPACT);
  *answer = (struct answer){answer->count + 1, status, retry_after, ""};
  snprintf(answer->text, sizeof answer->text, "%s", text);
  free(text);
}

static void on_changed(void *ctx)
{
  (void)ctx;
  world.changes++;
}

static bool is_put_off(void *ctx, char *text, size_t size)
{
  (void)ctx;
  snprintf(text, size, "asleep until noon");
  return world.is_put_off;
}

static bool call_cluster(void *ctx, const char *name, json_t *body, tg_redis_link_replied *done,
                         void *done_ctx)
{
  (void)ctx;
  char *text = json_dumps(body, JSON_COMPACT | JSON_SORT_KEYS);
  json_decref(body);
  size_t length = strlen(world.calls);
  snprintf(world.calls + length, sizeof world.calls - length, "%s%s %s", length ? "; " : "", name, text);
  free(text);
  if (world.redis_is_away)
    return false;
  world.done = done;
  world.done_ctx = done_ctx;
  return true;
}

/* To the last call. `text` NULL: it has ended without an answer. */
static void reply(const char *text)
{
  const struct tg_error error = {.code = "closed", .message = "it has ended"};
  tg_redis_link_replied *done = world.done;
  world.done = NULL;
  done(world.done_ctx, text, text ? strlen(text) : 0, text ? NULL : &error);
}

#define assert_called(text)                                                                                  \
  do {                                                                                                       \
    assert_string_equal(world.calls, text);                                                                  \
    world.calls[0] = '\0';                                                                                   \
  } while (0)

static void begin(void)
{
  tg_grants_begin(world.grants, world.scheduler);
}

static int set_up(void **state)
{
  (void)state;
  static const struct tg_grants_events events = {on_changed, is_put_off, call_cluster};
  memset(&world, 0, sizeof world);
  world.config.resharding.identify_reserve = 10;
  world.env = (struct tg_manager_env){.config = &world.config, .info = &world.info};
  world.info.total = 1000;
  const struct tg_shard_range range = {.first = FIRST, .last = LAST, .total = TOTAL};
  tg_shard_set_make(&world.env.shards, 0, &range);
  world.scheduler = tg_scheduler_new(BUCKETS, SPACING);
  tg_scheduler_set_allowance(world.scheduler, 100);
  world.grants = tg_grants_new(&world.env, &events, NULL);
  return 0;
}

static int tear_down(void **state)
{
  (void)state;
  if (world.grants)
    tg_grants_free(world.grants);
  if (world.done)
    reply(NULL); /* as the end of the link does */
  tg_scheduler_free(world.scheduler);
  tg_shard_set_clear(&world.env.shards);
  return 0;
}

static uint64_t ask(int shard_id, tg_ms wait, struct answer *answer)
{
  const struct tg_grant_wish wish = {shard_id, TG_IDENTIFY_FIRST, wait, false};
  return tg_grants_ask(world.grants, &wish, on_answer, answer);
}

/* The shard that the scheduler grants next; -1: none. */
static int grant(tg_ms now)
{
  tg_shard_ref ref;
  tg_ms deadline;
  if (!tg_scheduler_next_grant(world.scheduler, now, &ref, &deadline))
    return -1;
  assert_true(tg_grants_granted(world.grants, tg_ref_id(ref), deadline, now));
  return tg_ref_id(ref);
}

/* ---- requests ---- */

static void a_request_may_say_how_urgent_it_is_and_how_long_it_waits(void **state)
{
  (void)state;
  static const struct {
    const char *body, *problem;
    tg_ms wait;
    enum tg_identify_priority priority;
  } cases[] = {
      {NULL, NULL, TG_GRANT_WAIT, TG_IDENTIFY_FIRST},
      {"{}", NULL, TG_GRANT_WAIT, TG_IDENTIFY_FIRST},
      {"{\"wait\":0,\"priority\":\"lost\"}", NULL, 0, TG_IDENTIFY_LOST},
      {"{\"wait\":60000}", NULL, 60000, TG_IDENTIFY_FIRST},
      {"{\"wait\":60001}", "\"wait\" has to be a whole number from 0 to 60000", 0, 0},
      {"{\"wait\":-1}", "\"wait\" has to be", 0, 0},
      {"{\"wait\":1.5}", "\"wait\" has to be", 0, 0},
      {"{\"priority\":\"soon\"}", "\"priority\" has to be \"lost\", \"first\" or \"resharding\"", 0, 0},
      {"{\"priority\":1}", "\"priority\" has to be", 0, 0},
      {"{\"state\":\"check\",\"host\":\"x\"}", "they share a bot's shards by a cluster (cluster.url)", 0, 0},
      {"{\"host\":\"x\",\"number\":1}", "words of gateway hosts that had a broker", 0, 0},
      {"[]", "the body has to be a JSON object", 0, 0},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    json_t *body = cases[i].body ? json_loads(cases[i].body, 0, NULL) : NULL;
    struct tg_grant_wish wish;
    struct tg_error error = {0};
    assert_int_equal(tg_grant_wish_read(body, 3, &wish, &error), !cases[i].problem);
    if (cases[i].problem)
      assert_non_null(strstr(error.message, cases[i].problem));
    else
      assert_true(wish.shard_id == 3 && wish.wait == cases[i].wait && wish.priority == cases[i].priority);
    json_decref(body);
  }
}

/* ---- this gateway's turns ---- */

static void a_turn_comes_when_the_bucket_has_rested(void **state)
{
  (void)state;
  static struct answer first, second;
  begin();
  ask(0, TG_GRANT_WAIT, &first);
  assert_int_equal(world.changes, 1);
  assert_int_equal(tg_grants_count(world.grants), 1);
  tg_ms now = tg_now();
  assert_int_equal(grant(now), 0);
  assert_int_equal(first.status, 200);
  assert_non_null(strstr(first.text, "\"state\":\"granted\""));
  assert_non_null(strstr(first.text, "\"validFor\":1000"));
  ask(8, TG_GRANT_WAIT, &second); /* of the same bucket */
  assert_int_equal(grant(now + TG_GRANT_VALID_AWAY + SPACING - 1), -1);
  assert_int_equal(grant(now + TG_GRANT_VALID_AWAY + SPACING), 8);
  assert_int_equal(second.status, 200);
}

static void who_has_waited_for_long_asks_again_and_keeps_its_place(void **state)
{
  (void)state;
  static struct answer first, second, again;
  begin();
  ask(8, 1000, &first);
  ask(0, TG_GRANT_WAIT, &second);
  tg_ms now = tg_now();
  assert_true(tg_grants_wakeup(world.grants) <= now + 1000);
  tg_grants_tick(world.grants, now + 1000);
  assert_int_equal(first.status, 202);
  assert_string_equal(first.text, "{\"state\":\"waiting\"}");
  ask(8, 1000, &again);
  assert_int_equal(grant(now + 1001), 8);
  assert_int_equal(again.status, 200);
  assert_int_equal(second.count, 0);
}

static void a_place_is_not_kept_for_ever(void **state)
{
  (void)state;
  static struct answer first, second;
  begin();
  uint64_t id = ask(8, TG_GRANT_WAIT, &first);
  tg_grants_leave(world.grants, id);
  assert_int_equal(tg_grants_count(world.grants), 0);
  assert_int_equal(grant(tg_now()), -1);
  assert_int_equal(tg_scheduler_state(world.scheduler, 8), TG_IDENTIFY_STARTED);
  tg_grants_tick(world.grants, tg_now() + TG_GRANT_KEPT);
  assert_int_equal(tg_scheduler_state(world.scheduler, 8), TG_IDENTIFY_IDLE);
  assert_int_equal(tg_grants_wakeup(world.grants), -1);
  assert_int_equal(first.count, 0);
  ask(0, TG_GRANT_WAIT, &second);
  assert_int_equal(grant(tg_now()), 0);
}

static void a_shard_is_granted_to_who_asked_last(void **state)
{
  (void)state;
  static struct answer first, second;
  begin();
  uint64_t id = ask(8, TG_GRANT_FOR_EVER, &first);
  ask(8, TG_GRANT_WAIT, &second);
  assert_int_equal(first.status, 409);
  assert_non_null(strstr(first.text, "somebody else asks for this shard, too"));
  tg_grants_leave(world.grants, id); /* its connection ends */
  assert_int_equal(grant(tg_now()), 8);
  assert_int_equal(second.status, 200);
}

static void shards_of_this_gateway_are_not_for_others(void **state)
{
  (void)state;
  static struct answer answer;
  begin();
  assert_int_equal(ask(5, TG_GRANT_WAIT, &answer), 0);
  assert_int_equal(answer.status, 409);
  assert_non_null(strstr(answer.text, "shard 5 is this gateway's own (it has 4 to 7)"));
  assert_int_equal(ask(12, TG_GRANT_FOR_EVER, &answer), 0);
  assert_int_equal(answer.status, 409);
  assert_non_null(strstr(answer.text, "there is no shard 12: total_shards is 12"));
  assert_non_null(strstr(answer.text, "\"code\":\"shard\""));
  const struct tg_grant_wish any = {12, TG_IDENTIFY_FIRST, TG_GRANT_FOR_EVER, true};
  assert_true(tg_grants_ask(world.grants, &any, on_answer, &answer) > 0);
  assert_int_equal(grant(tg_now()), 12);
  assert_int_equal(answer.status, 200);
}

static void without_identifies_some_come_back_and_others_wait(void **state)
{
  (void)state;
  static struct answer patient, other;
  begin();
  ask(0, TG_GRANT_FOR_EVER, &patient);
  ask(1, TG_GRANT_WAIT, &other);
  tg_grants_hold_back(world.grants, 7000, tg_now());
  assert_int_equal(other.status, 202);
  assert_int_equal(other.retry_after, 7000);
  assert_string_equal(other.text, "{\"state\":\"held_back\",\"retryAfter\":7000}");
  assert_int_equal(patient.count, 0);
  assert_int_equal(grant(tg_now()), 0);
}

static void before_there_are_turns_the_patient_wait(void **state)
{
  (void)state;
  static struct answer patient, bad, other;
  assert_true(ask(0, TG_GRANT_FOR_EVER, &patient) > 0);
  assert_true(ask(5, TG_GRANT_FOR_EVER, &bad) > 0);
  assert_int_equal(ask(1, TG_GRANT_WAIT, &other), 0);
  assert_int_equal(other.status, 503);
  assert_int_equal(other.retry_after, 1000);
  assert_string_equal(other.text, "{\"error\":\"the gateway is starting\"}");
  world.is_put_off = true;
  ask(1, TG_GRANT_WAIT, &other);
  assert_string_equal(other.text, "{\"error\":\"the gateway starts later; it is asleep until noon\"}");
  begin();
  assert_int_equal(bad.status, 409);
  assert_int_equal(grant(tg_now()), 0);
  assert_int_equal(patient.status, 200);
}

static void at_the_end_all_hear_of_it(void **state)
{
  (void)state;
  static struct answer patient, other, late;
  begin();
  ask(0, TG_GRANT_FOR_EVER, &patient);
  ask(1, TG_GRANT_WAIT, &other);
  world.env.stopping = true;
  tg_grants_end(world.grants, "the gateway is stopping");
  assert_true(patient.status == 503 && other.status == 503);
  assert_string_equal(other.text, "{\"error\":\"the gateway is stopping\"}");
  assert_int_equal(ask(2, TG_GRANT_FOR_EVER, &late), 0);
  assert_int_equal(late.status, 503);
}

/* ---- the cluster's ---- */

static void begin_in_cluster(void)
{
  world.env.clustered = true;
  begin();
}

static void the_cluster_says_whose_turn_it_is(void **state)
{
  (void)state;
  static struct answer answer;
  begin_in_cluster();
  tg_ms now = tg_now();
  ask(5, TG_GRANT_WAIT, &answer);
  tg_grants_tick(world.grants, now);
  assert_called("slot {\"fence\":0,\"priority\":1,\"reserve\":100,\"shard\":5}");
  reply("{\"wait\":300}");
  assert_true(tg_grants_wakeup(world.grants) >= now + 300);
  tg_grants_tick(world.grants, now + 299);
  assert_called("");
  tg_grants_tick(world.grants, tg_now() + 300);
  assert_called("slot {\"fence\":0,\"priority\":1,\"reserve\":100,\"shard\":5}");
  reply("{\"epoch\":1790000000}");
  assert_int_equal(answer.status, 200);
  assert_non_null(strstr(answer.text, "\"state\":\"granted\""));
  assert_called("");
}

static void a_shard_that_a_host_runs_is_refused(void **state)
{
  (void)state;
  static struct answer answer;
  begin_in_cluster();
  ask(5, TG_GRANT_FOR_EVER, &answer);
  tg_grants_tick(world.grants, tg_now());
  reply("{\"refused\":\"held\"}");
  assert_int_equal(answer.status, 409);
  assert_non_null(strstr(answer.text, "shard 5 is run by a host of this gateway's cluster"));
}

static void a_turn_that_nobody_takes_is_given_back(void **state)
{
  (void)state;
  static struct answer answer;
  begin_in_cluster();
  uint64_t id = ask(5, TG_GRANT_WAIT, &answer);
  tg_grants_tick(world.grants, tg_now());
  world.calls[0] = '\0';
  tg_grants_leave(world.grants, id);
  reply("{\"epoch\":1790000000}");
  assert_called("unused {\"epoch\":1790000000,\"shard\":5}");

  ask(5, TG_GRANT_WAIT, &answer); /* does not wait for what was under way */
  tg_grants_tick(world.grants, tg_now());
  world.calls[0] = '\0';
  reply("{\"epoch\":1790000001}");
  assert_int_equal(answer.count, 1);
  assert_int_equal(answer.status, 200);
}

static void what_redis_answers_too_late_is_given_back(void **state)
{
  (void)state;
  static struct answer answer;
  begin_in_cluster();
  ask(5, TG_GRANT_WAIT, &answer);
  tg_grants_tick(world.grants, tg_now());
  world.calls[0] = '\0';
  for (tg_ms until = tg_now() + TG_GRANT_VALID; tg_now() < until;)
    continue;
  reply("{\"epoch\":1790000000}");
  assert_called("unused {\"epoch\":1790000000,\"shard\":5}");
  assert_int_equal(answer.count, 0);
  tg_grants_tick(world.grants, tg_now());
  assert_called("slot {\"fence\":0,\"priority\":1,\"reserve\":100,\"shard\":5}");
}

static void while_redis_is_away_it_is_tried_again(void **state)
{
  (void)state;
  static struct answer answer, other;
  begin_in_cluster();
  ask(5, TG_GRANT_FOR_EVER, &answer);
  world.redis_is_away = true;
  tg_grants_tick(world.grants, tg_now());
  world.redis_is_away = false;
  world.calls[0] = '\0';
  tg_grants_tick(world.grants, tg_now() + 500);
  assert_called("");
  tg_grants_tick(world.grants, tg_now() + 1100);
  assert_called("slot {\"fence\":0,\"priority\":1,\"reserve\":100,\"shard\":5}");
  reply(NULL);
  tg_grants_tick(world.grants, tg_now() + 1100);
  assert_called("slot {\"fence\":0,\"priority\":1,\"reserve\":100,\"shard\":5}");
  reply("{\"held_back\":500000,\"remaining\":3}");
  assert_int_equal(answer.count, 0);
  ask(6, TG_GRANT_WAIT, &other);
  tg_grants_tick(world.grants, tg_now());
  reply("{\"held_back\":500000,\"remaining\":3}");
  assert_int_equal(other.status, 202);
  assert_int_equal(other.retry_after, 500000);
}

static void an_answer_that_comes_after_the_end_is_nobodys(void **state)
{
  (void)state;
  static struct answer answer;
  begin_in_cluster();
  ask(5, TG_GRANT_FOR_EVER, &answer);
  tg_grants_tick(world.grants, tg_now());
  tg_grants_free(world.grants);
  world.grants = NULL;
  assert_int_equal(answer.status, 503);
  reply("{\"epoch\":1790000000}");
  assert_int_equal(answer.count, 1);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
  const struct CMUnitTest tests[] = {
      T(a_request_may_say_how_urgent_it_is_and_how_long_it_waits),
      T(a_turn_comes_when_the_bucket_has_rested),
      T(who_has_waited_for_long_asks_again_and_keeps_its_place),
      T(a_place_is_not_kept_for_ever),
      T(a_shard_is_granted_to_who_asked_last),
      T(shards_of_this_gateway_are_not_for_others),
      T(without_identifies_some_come_back_and_others_wait),
      T(before_there_are_turns_the_patient_wait),
      T(at_the_end_all_hear_of_it),
      T(the_cluster_says_whose_turn_it_is),
      T(a_shard_that_a_host_runs_is_refused),
      T(a_turn_that_nobody_takes_is_given_back),
      T(what_redis_answers_too_late_is_given_back),
      T(while_redis_is_away_it_is_tried_again),
      T(an_answer_that_comes_after_the_end_is_nobodys),
  };
#undef T
  return cmocka_run_group_tests(tests, NULL, NULL);
}
