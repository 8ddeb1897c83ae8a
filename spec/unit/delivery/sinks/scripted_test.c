/* A script's deliver and handle_queue, as the lanes meet them. */

#include "unit/delivery/fake_script.h"

#include "delivery/sinks/answer.h"

/* --- deliver ----------------------------------------------------------------------- */

static void deliver_takes_the_place_of_the_post(void **state)
{
  (void)state;
  hook(TG_METHOD_delivery_deliver);
  deliver(0, "TYPING_START", "{}");
  deliver(0, "MESSAGE_CREATE", "{}");
  assert_call(0, "TYPING_START 1");
  say(0, true);
  assert_call(1, "MESSAGE_CREATE 2");
  assert_int_equal(tg_delivery_settled(delivery, 0), 1);
  say(1, true);
  assert_int_equal(tg_delivery_settled(delivery, 0), 2);
  assert_int_equal(value(&rows[0].delivered), 2);
  assert_int_equal(post_count, 0);
}

static void deliver_gets_batches_and_markers(void **state)
{
  (void)state;
  hook(TG_METHOD_delivery_deliver);
  config.event_handler.markers = true;
  config.event_handler.batch = TG_BATCH_USUAL;
  deliver(0, "TYPING_START", "{}");
  deliver(0, "TYPING_START", "{}");
  deliver_as(0, 5, "{\"t\":\"TYPING_START\",\"s\":5,\"op\":0,\"d\":{}}");
  say(0, true);
  assert_call(1, "TYPING_START 2,GATEWAY_GAP 4,TYPING_START 5");
  say_failure(1, "odd", 422, -1); /* refused together: halves */
  assert_call(2, "TYPING_START 2,GATEWAY_GAP 4");
  say(2, true);
  assert_call(3, "TYPING_START 5");
  say(3, true);
  assert_int_equal(value(&rows[0].delivered), 3);
}

static void failures_count_as_answers(void **state)
{
  (void)state;
  hook(TG_METHOD_delivery_deliver);
  deliver(0, "TYPING_START", "{}");
  say_failure(0, "status", 503, 7000);
  advance(6999);
  assert_int_equal(call_count, 1);
  advance(1);
  assert_int_equal(call_count, 2);
  say_failure(1, "refused", 0, -1);
  wait_call(3);
  say(2, false);
  wait_call(4);
  say_failure(3, "status", 204, -1); /* a failure all the same: but its status says it is accepted */
  assert_int_equal(value(&rows[0].delivered), 1);
  deliver(0, "TYPING_START", "{}");
  for (int i = 4; i < 7; i++) {
    wait_call(i + 1);
    say_failure(i, "odd", 400, -1);
  }
  assert_int_equal(value(&rows[0].dead), 1);
  assert_non_null(strstr(logged, "no luck"));
}

static void an_error_leaves_it_to_the_default(void **state)
{
  (void)state;
  hook(TG_METHOD_delivery_deliver);
  deliver(0, "TYPING_START", "{}");
  say_error(0);
  assert_string_equal(posts[the_open_post()].key, "0.7.1");
  answer(0, 204);
  assert_int_equal(value(&rows[0].delivered), 1);
}

/* By a reload, while the script has a batch. */
static void a_batch_stays_one_when_batches_are_switched_off(void **state)
{
  (void)state;
  config.event_handler.batch = TG_BATCH_USUAL;
  hook(TG_METHOD_delivery_deliver);
  for (int i = 0; i < 3; i++)
    deliver(0, "TYPING_START", "{}");
  say(0, true);
  assert_call(1, "TYPING_START 2,TYPING_START 3");
  config.event_handler.batch = (struct tg_batch_config){0};
  say_error(1);
  const struct fake_post *post = &posts[the_open_post()];
  assert_string_equal(post->key, "0.7.2-3");
  assert_string_equal(post->body,
                      "[{\"shardId\":0,\"totalShards\":16,\"epoch\":7,\"message\":{\"t\":\"TYPING_START\",\"s\":2,\"op\":0,\"d\":{}}},"
                      "{\"shardId\":0,\"totalShards\":16,\"epoch\":7,\"message\":{\"t\":\"TYPING_START\",\"s\":3,\"op\":0,\"d\":{}}}]");
}

static void deliver_that_never_returns_is_given_up(void **state)
{
  (void)state;
  hook(TG_METHOD_delivery_deliver);
  deliver(0, "TYPING_START", "{}");
  deliver(0, "TYPING_START", "{}");
  advance(5999);
  assert_int_equal(open_posts, 0);
  advance(1);
  assert_string_equal(posts[the_open_post()].key, "0.7.1");
  assert_non_null(strstr(logged, "gateway.delivery:deliver has not returned for 6 s"));
  answer(0, 204);
  assert_call(1, "TYPING_START 2");
  say(0, true); /* much too late: it counts for nothing */
  assert_int_equal(value(&rows[0].delivered), 1);
  say(1, true);
  assert_int_equal(value(&rows[0].delivered), 2);
}

static void a_reload_asks_the_next_script(void **state)
{
  (void)state;
  hook(TG_METHOD_delivery_deliver);
  deliver(0, "TYPING_START", "{}");
  say_failure(0, "cancelled", 0, -1);
  assert_call(1, "TYPING_START 1");
  unhook(TG_METHOD_delivery_deliver);
  say_failure(1, "cancelled", 0, -1);
  answer(the_open_post(), 204);
  assert_int_equal(value(&rows[0].retried), 0);
  assert_int_equal(value(&rows[0].delivered), 1);
}

static void without_urls_a_script_is_enough(void **state)
{
  (void)state;
  set_urls(NULL, NULL);
  tg_delivery_reconfigure(delivery, &config);
  deliver(0, "TYPING_START", "{}");
  assert_int_equal(value(&rows[0].delivered), 0); /* nobody takes it: it goes nowhere */
  hook(TG_METHOD_delivery_deliver);
  deliver(0, "TYPING_START", "{}");
  assert_call(0, "TYPING_START 2");
  say_error(0); /* there is no default that could take it: it waits */
  assert_int_equal(open_posts, 0);
  assert_int_equal(value(&rows[0].queued_events), 1);
  wait_call(2);
  assert_call(1, "TYPING_START 2");
  say(1, true);
  deliver(0, "TYPING_START", "{}");
  unhook(TG_METHOD_delivery_deliver); /* switched off: it failed too often */
  say_error(2);
  advance(120000);
  assert_int_equal(value(&rows[0].queued_events), 1);
  assert_non_null(strstr(logged, "there are no event_handler.urls"));
  hook(TG_METHOD_delivery_deliver);
  tg_delivery_reconfigure(delivery, &config);
  wait_call(4);
  say(3, true);
  assert_int_equal(value(&rows[0].queued_events), 0);
}

static void a_script_that_does_not_wait_does_not_pile_up_calls(void **state)
{
  (void)state;
  hook(TG_METHOD_delivery_deliver);
  at_once = true;
  for (int i = 0; i < 200; i++)
    deliver(0, "TYPING_START", "{}");
  assert_int_equal(call_count, 1); /* the next one in the next turn */
  for (int i = 0; i < 200; i++)
    advance(0);
  assert_int_equal(value(&rows[0].delivered), 200);
}

/* --- handle_queue -------------------------------------------------------------------- */

static enum tg_queue_verdict take_keys(void *ctx, struct tg_event *event)
{
  struct tg_event *events = ctx;
  while (events->epoch != 0)
    events++;
  *events = *event;
  return TG_QUEUE_KEEP;
}

/* As a script would: the first ones are delivered. */
static void ack_first(int shard_id, int count)
{
  struct tg_event events[64] = {0};
  tg_delivery_queue_walk(delivery, NULL, shard_id, take_keys, events);
  for (int i = 0; i < count; i++)
    assert_true(tg_delivery_queue_ack(delivery, NULL, &events[i]));
  if (count > 0)
    assert_false(tg_delivery_queue_ack(delivery, NULL, &events[0]));
}

static void a_queue_is_handed_over(void **state)
{
  (void)state;
  hook(TG_METHOD_delivery_handle_queue);
  deliver(2, "TYPING_START", "{}");
  deliver(2, "TYPING_START", "{}");
  assert_call(0, "queue 2");
  ack_first(2, 2);
  assert_int_equal(value(&rows[2].delivered), 2);
  deliver(2, "TYPING_START", "{}");
  assert_int_equal(call_count, 1); /* it still runs */
  say_nothing(0);
  assert_call(1, "queue 2");
  ack_first(2, 1);
  say_nothing(1);
  advance(60000);
  assert_int_equal(call_count, 2);
  assert_int_equal(post_count, 0);
}

static void who_takes_nothing_is_asked_less_and_less(void **state)
{
  (void)state;
  hook(TG_METHOD_delivery_handle_queue);
  deliver(0, "TYPING_START", "{}");
  uint64_t waits[] = {250, 500, 1000, 2000};
  for (int i = 0; i < 4; i++) {
    say_nothing(i);
    advance(waits[i] - 1);
    assert_int_equal(call_count, i + 1);
    advance(1);
    assert_int_equal(call_count, i + 2);
  }
  ack_first(0, 1);
  say_nothing(4);
  deliver(0, "TYPING_START", "{}");
  say_failure(5, "any", 500, -1);
  advance(250); /* from the start again */
  assert_int_equal(call_count, 7);
}

static void the_default_drains_what_a_failure_leaves(void **state)
{
  (void)state;
  hook(TG_METHOD_delivery_handle_queue);
  for (int i = 0; i < 3; i++)
    deliver(0, "TYPING_START", "{}");
  say_error(0);
  for (int i = 0; i < 3; i++)
    answer(i, 200);
  assert_int_equal(call_count, 1);
  advance(0);
  deliver(0, "TYPING_START", "{}"); /* the queue was empty: its turn again */
  assert_int_equal(call_count, 2);
}

static void who_does_not_look_loses_the_queue(void **state)
{
  (void)state;
  struct tg_queue_figures figures;
  hook(TG_METHOD_delivery_handle_queue);
  deliver(0, "TYPING_START", "{}");
  advance(5000);
  tg_delivery_queue_figures(delivery, NULL, 0, &figures);
  assert_int_equal(figures.events, 1);
  assert_int_equal(figures.age, 5000);
  advance(5999);
  assert_int_equal(open_posts, 0);
  advance(1);
  assert_int_equal(open_posts, 1);
  assert_non_null(strstr(logged, "gateway.delivery:handle_queue has not looked at its queue for 6 s"));
  say_nothing(0);
  answer(0, 204);
  assert_int_equal(value(&rows[0].delivered), 1);
}

static int drained;

static void on_empty(void *ctx)
{
  assert_ptr_equal(ctx, &drained);
  drained++;
}

static void the_default_of_handle_queue(void **state)
{
  (void)state;
  drained = 0;
  assert_false(tg_delivery_drain_queue(delivery, 0, on_empty, &drained)); /* nothing waits */
  assert_int_equal(drained, 1);
  hook(TG_METHOD_delivery_handle_queue);
  deliver(0, "TYPING_START", "{}");
  deliver(0, "TYPING_START", "{}");
  assert_true(tg_delivery_drain_queue(delivery, 0, on_empty, &drained));
  advance(0);
  answer(0, 500);
  advance(250);
  answer(1, 204);
  answer(2, 204);
  assert_int_equal(drained, 1);
  advance(0);
  assert_int_equal(drained, 2);
  deliver(0, "TYPING_START", "{}"); /* before the script's call has ended */
  assert_int_equal(call_count, 1);
  say_nothing(0);
  assert_call(1, "queue 0");
  assert_true(tg_delivery_drain_queue(delivery, 0, on_empty, &drained));
  tg_delivery_forget_drain(delivery, &drained); /* a reload */
  say_failure(1, "cancelled", 0, -1);
  assert_call(2, "queue 0");
  ack_first(0, 1);
  say_nothing(2);
  assert_int_equal(drained, 2);
}

static void both_are_the_scripts(void **state)
{
  (void)state;
  drained = 0;
  hook(TG_METHOD_delivery_handle_queue);
  hook(TG_METHOD_delivery_deliver);
  deliver(0, "TYPING_START", "{}");
  deliver(0, "TYPING_START", "{}");
  assert_call(0, "queue 0");
  assert_true(tg_delivery_drain_queue(delivery, 0, on_empty, &drained));
  advance(0);
  assert_call(1, "TYPING_START 1");
  say_nothing(0); /* it has not waited for the default, which goes on */
  say(1, true);
  assert_call(2, "TYPING_START 2");
  say(2, true);
  assert_int_equal(drained, 1);
  assert_int_equal(value(&rows[0].delivered), 2);
  deliver(0, "TYPING_START", "{}");
  assert_call(3, "queue 0");
  assert_true(tg_delivery_drain_queue(delivery, 0, on_empty, &drained));
  advance(0);
  assert_call(4, "TYPING_START 3");
  advance(6000); /* deliver does not return; that handle_queue does not either is its good right */
  answer(the_open_post(), 204);
  advance(0);
  assert_int_equal(drained, 2);
  deliver(0, "TYPING_START", "{}");
  say_nothing(3);
  assert_call(5, "queue 0");
  ack_first(0, 1);
  say_nothing(5);
  say(4, true);
  assert_int_equal(value(&rows[0].delivered), 4);
  assert_null(strstr(logged, "handle_queue has not looked"));
}

/* --- the default of deliver ------------------------------------------------------------ */

static char posted[256];

static void on_posted(void *ctx, const struct tg_answer *response, int delivered)
{
  assert_ptr_equal(ctx, posted);
  snprintf(posted, sizeof posted, "%ld %s %d", response ? response->status : 0, response ? response->error.code : "all",
           delivered);
}

static const char *post_events(int count)
{
  struct tg_event events[64] = {0};
  posted[0] = '\0';
  tg_delivery_queue_walk(delivery, NULL, 0, take_keys, events);
  tg_delivery_post(delivery, NULL, events, count, on_posted, posted);
  return posted;
}

static void events_are_posted_one_by_one(void **state)
{
  (void)state;
  hook(TG_METHOD_delivery_handle_queue);
  for (int i = 0; i < 3; i++)
    deliver(0, "TYPING_START", "{}");
  post_events(3);
  answer(0, 204);
  assert_string_equal(posts[the_open_post()].key, "0.7.2");
  answer(1, 503);
  assert_string_equal(posted, "503  1");
  post_events(3);
  for (int i = 2; i < 5; i++)
    answer(i, 204);
  assert_string_equal(posted, "0 all 3");
  assert_int_equal(value(&rows[0].queued_events), 3); /* the script has to say so */
}

static void or_as_batches(void **state)
{
  (void)state;
  hook(TG_METHOD_delivery_handle_queue);
  config.event_handler.batch = TG_BATCH_USUAL;
  for (int i = 0; i < 3; i++)
    deliver(0, "TYPING_START", "{}");
  post_events(3);
  assert_string_equal(posts[the_open_post()].key, "0.7.1-3");
  assert_string_equal(posts[0].body,
                      "[{\"shardId\":0,\"totalShards\":16,\"epoch\":7,\"message\":{\"t\":\"TYPING_START\",\"s\":1,\"op\":0,\"d\":{}}},"
                      "{\"shardId\":0,\"totalShards\":16,\"epoch\":7,\"message\":{\"t\":\"TYPING_START\",\"s\":2,\"op\":0,\"d\":{}}},"
                      "{\"shardId\":0,\"totalShards\":16,\"epoch\":7,\"message\":{\"t\":\"TYPING_START\",\"s\":3,\"op\":0,\"d\":{}}}]");
  answer(0, 204);
  assert_string_equal(posted, "0 all 3");
}

static void the_handler_is_known_to_be_down(void **state)
{
  (void)state;
  hook(TG_METHOD_delivery_handle_queue);
  hooks.want_life[TG_LIFE_handler_down] = hooks.want_life[TG_LIFE_handler_up] = true;
  deliver(0, "TYPING_START", "{}");
  post_events(1);
  answer(0, 401);
  assert_non_null(strstr(calls, "handler_down"));
  post_events(1);
  answer(1, 204);
  assert_non_null(strstr(calls, "handler_up"));
}

static void a_post_that_is_cancelled(void **state)
{
  (void)state;
  struct tg_event events[64] = {0};
  hook(TG_METHOD_delivery_handle_queue);
  deliver(0, "TYPING_START", "{}");
  tg_delivery_queue_walk(delivery, NULL, 0, take_keys, events);
  tg_delivery_cancel_post(tg_delivery_post(delivery, NULL, events, 1, on_posted, posted));
  assert_int_equal(open_posts, 0);
  tg_delivery_post(delivery, NULL, events, 1, on_posted, posted); /* freed with the delivery */
  set_urls("http://other/", NULL);
  tg_delivery_reconfigure(delivery, &config);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      SCRIPTED(deliver_takes_the_place_of_the_post),
      SCRIPTED(deliver_gets_batches_and_markers),
      SCRIPTED(failures_count_as_answers),
      SCRIPTED(an_error_leaves_it_to_the_default),
      SCRIPTED(a_batch_stays_one_when_batches_are_switched_off),
      SCRIPTED(deliver_that_never_returns_is_given_up),
      SCRIPTED(a_reload_asks_the_next_script),
      SCRIPTED(without_urls_a_script_is_enough),
      SCRIPTED(a_script_that_does_not_wait_does_not_pile_up_calls),
      SCRIPTED(a_queue_is_handed_over),
      SCRIPTED(who_takes_nothing_is_asked_less_and_less),
      SCRIPTED(the_default_drains_what_a_failure_leaves),
      SCRIPTED(who_does_not_look_loses_the_queue),
      SCRIPTED(the_default_of_handle_queue),
      SCRIPTED(both_are_the_scripts),
      SCRIPTED(events_are_posted_one_by_one),
      SCRIPTED(or_as_batches),
      SCRIPTED(the_handler_is_known_to_be_down),
      SCRIPTED(a_post_that_is_cancelled),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
