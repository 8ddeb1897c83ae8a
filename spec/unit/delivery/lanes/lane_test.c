/* Lanes and event handlers: order, retries, the circuit. */

#include "unit/delivery/fake_world.h"

#include "delivery/sinks/circuit.h"

static void sends_the_documented_request(void **state)
{
  (void)state;
  deliver(3, "MESSAGE_DELETE", "{ \"id\" : \"1\" }");
  struct fake_post *post = &posts[the_open_post()];
  assert_string_equal(post->body, "{\"shardId\":3,\"totalShards\":16,\"epoch\":7,\"message\":{\"t\":\"MESSAGE_DELETE\",\"s\":1,\"op\":0,"
                                  "\"d\":{ \"id\" : \"1\" }}}");
  assert_string_equal(post->url, "http://bot/");
  assert_string_equal(post->key, "3.7.1");
  assert_string_equal(post->authorization, "opensesame");
  assert_string_equal(post->content_type, "application/json");
  answer(0, 204);
  assert_int_equal(value(&rows[3].delivered), 1);
  assert_int_equal(open_posts, 0);
}

static void keeps_order_one_at_a_time(void **state)
{
  (void)state;
  for (int i = 0; i < 5; i++)
    deliver(1, "TYPING_START", "{}");
  assert_int_equal(value(&rows[1].queued_events), 5);
  for (int i = 0; i < 5; i++) {
    char key[32];
    snprintf(key, sizeof key, "1.7.%d", i + 1);
    assert_int_equal(the_open_post(), i);
    assert_string_equal(posts[i].key, key);
    assert_int_equal(tg_delivery_settled(delivery, 1), i);
    answer(i, 200);
  }
  assert_int_equal(tg_delivery_settled(delivery, 1), 5);
  assert_int_equal(value(&rows[1].durable_sequence), 5);
  assert_int_equal(value(&rows[1].queued_events), 0);
  assert_int_equal(value(&rows[1].queued_bytes), 0);
}

static void shards_spread_over_urls(void **state)
{
  (void)state;
  set_urls("http://one/", "http://two/");
  tg_delivery_reconfigure(delivery, &config);
  for (int shard = 0; shard < 4; shard++) {
    deliver(shard, "TYPING_START", "{}");
    assert_string_equal(posts[shard].url, shard % 2 ? "http://two/" : "http://one/");
  }
}

static void lanes_do_not_wait_for_each_other(void **state)
{
  (void)state;
  deliver(0, "TYPING_START", "{}");
  deliver(0, "TYPING_START", "{}");
  deliver(1, "TYPING_START", "{}");
  deliver(2, "TYPING_START", "{}");
  assert_int_equal(open_posts, 3);
  answer(2, 200);
  answer(1, 200);
  assert_int_equal(open_posts, 1);
  assert_int_equal(tg_delivery_settled(delivery, 0), 0);
  assert_int_equal(tg_delivery_settled(delivery, 2), 1);
}

static void requests_in_flight_are_bounded_and_fair(void **state)
{
  (void)state;
  for (int round = 0; round < 2; round++)
    for (int shard = 0; shard < 12; shard++)
      deliver(shard, "TYPING_START", "{}");
  assert_int_equal(open_posts, TG_WINDOW_START);
  answer(0, 200); /* shard 0 has one more, but shard 8 has had none */
  assert_string_equal(posts[8].key, "8.7.1");
  for (int i = 1; i < 24; i++)
    answer(i, 200);
  assert_int_equal(open_posts, 0);
  assert_in_range(most_open, TG_WINDOW_START, 12);
}

static void retries_with_back_off(void **state)
{
  (void)state;
  deliver(0, "TYPING_START", "{}");
  deliver(0, "TYPING_START", "{}");
  uint64_t waits[] = {250, 500, 1000, 2000};
  long statuses[] = {500, 408, 425, 502};
  for (int i = 0; i < 4; i++) {
    assert_string_equal(posts[i].key, "0.7.1");
    answer(i, statuses[i]);
    assert_int_equal(open_posts, 0);
    advance(waits[i] - 1);
    assert_int_equal(open_posts, 0);
    advance(1);
    assert_int_equal(open_posts, 1);
  }
  answer(4, 204);
  assert_string_equal(posts[5].key, "0.7.2");
  assert_int_equal(value(&rows[0].retried), 4);
  assert_int_equal(value(&rows[0].dropped), 0);
}

static void the_circuit_spares_a_dead_bot(void **state)
{
  (void)state;
  hooks.want_life[TG_LIFE_handler_down] = hooks.want_life[TG_LIFE_handler_up] = true;
  for (int shard = 15; shard >= 0; shard--, advance(1))
    deliver(shard, "TYPING_START", "{}");
  for (int i = 0; i < TG_WINDOW_START; i++)
    fail_with(i, "refused");
  int sent = post_count;
  assert_in_range(sent, 8, 15); /* five failures, and nobody else is sent there */
  assert_int_equal(open_posts, sent - 8);
  for (int i = 8; i < sent; i++)
    fail_with(i, "refused");
  assert_non_null(strstr(calls, "handler_down{\"reason\":\"http://bot: refused\",\"sink\":\"bot\","
                                "\"url\":\"http://bot/\"};"));
  assert_int_equal(log_lines[TG_WARN], 1);
  advance(499);
  assert_int_equal(open_posts, 0);
  advance(1);
  int probe = the_open_post(); /* one, although 16 shards wait */
  assert_string_equal(posts[probe].key, "15.7.1"); /* the oldest */
  fail_with(probe, "timeout");
  advance(999);
  assert_int_equal(open_posts, 0);
  advance(1);
  answer(the_open_post(), 200);
  assert_int_equal(open_posts, 1); /* and then slowly more */
  assert_non_null(strstr(calls, "handler_up{"));
  while (open_posts > 0)
    for (int i = 0; i < post_count; i++)
      if (posts[i].open)
        answer(i, 200);
  advance(60000);
  while (open_posts > 0) {
    for (int i = 0; i < post_count; i++)
      if (posts[i].open)
        answer(i, 200);
    advance(60000);
  }
  for (int shard = 0; shard < 16; shard++)
    assert_int_equal(value(&rows[shard].delivered), 1);
  assert_non_null(strstr(logged, "is up again"));
}

static void wrongly_set_up_raises_an_alarm(void **state)
{
  (void)state;
  struct {
    long status;
    const char *code, *advice;
  } table[] = {{401, "", "event_handler.authorization"}, {403, "", "event_handler.authorization"},
               {404, "", "event_handler.urls"},          {410, "", "event_handler.urls"},
               {302, "", "redirects"},                   {0, "tls", "tls.ca_file"}};
  for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
    clear_log();
    deliver((int)i, "TYPING_START", "{}");
    if (table[i].status)
      answer(the_open_post(), table[i].status);
    else
      fail_with(the_open_post(), table[i].code);
    assert_int_equal(log_lines[TG_ERROR], 1);
    assert_non_null(strstr(logged, table[i].advice));
    assert_null(strstr(logged, "opensesame"));
    for (int tries = 0; tries < 3; tries++) { /* the alarm is not repeated at once */
      advance(30001);
      answer(the_open_post(), 401);
    }
    assert_in_range(log_lines[TG_ERROR], 1, 3);
    advance(30001);
    answer(the_open_post(), 204); /* and no event is eaten */
    assert_int_equal(value(&rows[i].delivered), 1);
    advance(60000);
  }
}

static void too_many_requests_slows_one_lane(void **state)
{
  (void)state;
  deliver(0, "TYPING_START", "{}");
  deliver(1, "TYPING_START", "{}");
  answer_later(0, 429, 5000);
  deliver(1, "TYPING_START", "{}");
  answer(1, 200);
  assert_string_equal(posts[the_open_post()].key, "1.7.2");
  answer(2, 200);
  advance(4999);
  assert_int_equal(open_posts, 0);
  advance(1);
  answer_later(the_open_post(), 429, 999999999);
  advance(60000); /* capped */
  answer(the_open_post(), 200);
  assert_int_equal(log_lines[TG_WARN] + log_lines[TG_ERROR], 0);
}

static void service_unavailable_stops_all_lanes(void **state)
{
  (void)state;
  deliver(0, "TYPING_START", "{}");
  answer_later(0, 503, 7000);
  deliver(1, "TYPING_START", "{}");
  assert_int_equal(open_posts, 0);
  advance(6999);
  assert_int_equal(open_posts, 0);
  advance(1);
  answer(the_open_post(), 200);
  answer(the_open_post(), 200);
  assert_int_equal(value(&rows[0].delivered) + value(&rows[1].delivered), 2);
}

static char *read_dead_letters(void)
{
  static char text[65536];
  char path[128];
  snprintf(path, sizeof path, "%s/dead.jsonl", state_dir);
  FILE *file = fopen(path, "r");
  size_t length = file ? fread(text, 1, sizeof text - 1, file) : 0;
  text[length] = '\0';
  if (file)
    fclose(file);
  return text;
}

static void refused_events_become_dead_letters(void **state)
{
  (void)state;
  deliver(2, "MESSAGE_CREATE", "{\"id\":\"5\",\n\"content\":\"x\"}");
  deliver(2, "TYPING_START", "{}");
  for (int i = 0; i < 2; i++) {
    answer(the_open_post(), 422);
    assert_string_equal(read_dead_letters(), "");
    advance(2499);
    assert_int_equal(open_posts, 0);
    advance(1);
  }
  char body[5000];
  memset(body, 'b', sizeof body);
  memcpy(body, "bad \"\x01\xff\xc3\xa4", 9);
  respond(the_open_post(), (struct tg_http_response){
                               .status = 400, .retry_after = -1, .body = {body, sizeof body}});
  assert_string_equal(posts[the_open_post()].key, "2.7.2"); /* the lane goes on */
  json_error_t problem;
  char *line = read_dead_letters();
  assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
  json_t *letter = json_loads(line, 0, &problem);
  assert_non_null(letter);
  assert_int_equal(json_integer_value(json_object_get(letter, "shard")), 2);
  assert_int_equal(json_integer_value(json_object_get(letter, "epoch")), 7);
  assert_int_equal(json_integer_value(json_object_get(letter, "s")), 1);
  assert_string_equal(json_string_value(json_object_get(letter, "t")), "MESSAGE_CREATE");
  assert_int_equal(json_integer_value(json_object_get(letter, "status")), 400);
  const char *kept = json_string_value(json_object_get(letter, "answer"));
  assert_memory_equal(kept, "bad \"\x01\xef\xbf\xbd\xc3\xa4" "bbb", 14);
  json_t *event = json_object_get(letter, "event");
  assert_string_equal(json_string_value(json_object_get(json_object_get(event, "d"), "content")), "x");
  json_decref(letter);
  assert_int_equal(value(&rows[2].dead), 1);
  assert_int_equal(tg_delivery_settled(delivery, 2), 1);
}

static void a_refusal_is_no_sign_of_trouble(void **state)
{
  (void)state;
  for (int shard = 0; shard < 8; shard++)
    deliver(shard, "TYPING_START", "{}");
  for (int i = 0; i < 8; i++)
    answer(i, 400);
  assert_null(strstr(logged, "down"));
  deliver(9, "TYPING_START", "{}");
  assert_int_equal(open_posts, 1);
}

static void take(struct tg_script *script, struct tg_shard *shard, struct tg_event *event)
{
  (void)script;
  (void)shard;
  (void)event;
}

static void without_a_handler_only_the_script_takes_events(void **state)
{
  (void)state;
  set_urls(NULL, NULL);
  tg_delivery_reconfigure(delivery, &config);
  deliver(0, "TYPING_START", "{}");
  assert_int_equal(post_count, 0);
  assert_int_equal(value(&rows[0].delivered), 0);
  assert_int_equal(tg_delivery_settled(delivery, 0), 1);
  hooks.want[TG_EVENT_TYPING_START] = TG_WANT_HANDLER;
  hooks.dispatch = take;
  deliver(0, "TYPING_START", "{}");
  hooks.want[TG_EVENT_TYPING_START] = 0;
  assert_int_equal(value(&rows[0].delivered), 1);
  assert_int_equal(tg_delivery_settled(delivery, 0), 2);
}

static void reconfigure_moves_what_waits(void **state)
{
  (void)state;
  deliver(0, "TYPING_START", "{}");
  deliver(0, "TYPING_START", "{}");
  deliver(1, "TYPING_START", "{}");
  fail_with(1, "reset"); /* shard 1 waits for its retry */
  set_urls("http://other/", NULL);
  config.event_handler.authorization = NULL;
  tg_delivery_reconfigure(delivery, &config);
  answer(0, 204); /* of the old handler */
  assert_string_equal(posts[2].url, "http://other/");
  assert_string_equal(posts[2].key, "0.7.2");
  assert_string_equal(posts[2].authorization, "");
  advance(30000);
  assert_string_equal(posts[3].url, "http://other/");
  assert_string_equal(posts[3].key, "1.7.1");
  set_urls(NULL, NULL);
  deliver(0, "TYPING_START", "{}");
  tg_delivery_reconfigure(delivery, &config); /* nobody is left */
  assert_int_equal(value(&rows[0].dropped), 1);
  answer(2, 204);
  answer(3, 500);
  advance(60000);
  assert_int_equal(open_posts, 0);
  set_urls("http://again/", NULL);
  tg_delivery_reconfigure(delivery, &config);
  deliver(0, "TYPING_START", "{}");
  assert_string_equal(posts[4].url, "http://again/");
}

static void reconfigure_takes_lanes_out_of_an_open_circuit(void **state)
{
  (void)state;
  deliver(0, "TYPING_START", "{}");
  answer(0, 401);
  deliver(1, "TYPING_START", "{}");
  assert_int_equal(open_posts, 0);
  set_urls("http://fixed/", NULL);
  tg_delivery_reconfigure(delivery, &config);
  assert_int_equal(open_posts, 2);
  answer(1, 200);
  answer(2, 200);
}

static void reconfigure_moves_lanes_between_handlers(void **state)
{
  (void)state;
  set_urls("http://one/", "http://two/");
  tg_delivery_reconfigure(delivery, &config);
  deliver(0, "TYPING_START", "{}");
  answer(0, 401); /* one is down; shards 0 and 2 stand in its ring */
  deliver(2, "TYPING_START", "{}");
  assert_int_equal(open_posts, 0);
  set_urls("http://two/", "http://one/");
  tg_delivery_reconfigure(delivery, &config);
  assert_int_equal(open_posts, 2);
  assert_string_equal(posts[1].url, "http://two/");
  assert_string_equal(posts[2].url, "http://two/");
  advance(60000); /* one is not asked with what two has */
  assert_int_equal(post_count, 3);
  deliver(1, "TYPING_START", "{}");
  assert_string_equal(posts[3].url, "http://one/");
  for (int i = 1; i < 4; i++)
    answer(i, 200);
  assert_int_equal(post_count, 4);
}

static void trouble_means_fewer_at_a_time(void **state)
{
  (void)state;
  for (int shard = 0; shard < 8; shard++)
    deliver(shard, "TYPING_START", "{}");
  assert_int_equal(open_posts, 8);
  for (int i = 0; i < 4; i++)
    answer_later(i, 429, 60000);
  for (int i = 4; i < 8; i++)
    answer(i, i == 7 ? 200 : 500);
  for (int shard = 8; shard < 16; shard++)
    deliver(shard, "TYPING_START", "{}");
  assert_int_equal(open_posts, 2); /* halved by the first, and again a round later */
}

static void the_old_session_goes_first(void **state)
{
  (void)state;
  deliver(0, "TYPING_START", "{}");
  deliver(0, "TYPING_START", "{}");
  epochs[0] = 8;
  next_sequence[0] = 0;
  tg_delivery_new_session(delivery, 0, 8);
  assert_int_equal(tg_delivery_settled(delivery, 0), 0);
  deliver(0, "READY", "{\"guilds\":[]}");
  assert_int_equal(tg_delivery_settled(delivery, 0), 0);
  answer(0, 200);
  answer(1, 200);
  assert_string_equal(posts[2].key, "0.8.1");
  assert_memory_equal(posts[2].body, "{\"shardId\":0,\"totalShards\":16,\"epoch\":8,", 40);
  assert_int_equal(tg_delivery_settled(delivery, 0), 0);
  answer(2, 200);
  assert_int_equal(tg_delivery_settled(delivery, 0), 1);
}

static void adopts_a_session(void **state)
{
  (void)state;
  epochs[0] = 9;
  tg_delivery_adopt_session(delivery, 0, 9, 41);
  assert_int_equal(tg_delivery_settled(delivery, 0), 41);
  deliver_as(0, 40, "{\"t\":\"TYPING_START\",\"s\":40,\"op\":0,\"d\":{}}");
  deliver_as(0, 41, "{\"t\":\"TYPING_START\",\"s\":41,\"op\":0,\"d\":{}}");
  assert_int_equal(post_count, 0);
  assert_int_equal(value(&rows[0].replayed), 2);
  deliver_as(0, 42, "{\"t\":\"TYPING_START\",\"s\":42,\"op\":0,\"d\":{}}");
  assert_string_equal(posts[0].key, "0.9.42");
}

static uint64_t left_over = 12345;

static void on_drained(void *ctx, uint64_t left)
{
  assert_ptr_equal(ctx, &left_over);
  left_over = left;
}

static void drains(void **state)
{
  (void)state;
  left_over = 12345;
  tg_delivery_drain(delivery, 5000, on_drained, &left_over);
  assert_int_equal(left_over, 12345); /* never from inside the call */
  advance(0);
  assert_int_equal(left_over, 0);
  left_over = 12345;
  deliver(0, "TYPING_START", "{}");
  deliver(0, "TYPING_START", "{}");
  tg_delivery_drain(delivery, 5000, on_drained, &left_over);
  answer(0, 200);
  advance(100);
  assert_int_equal(left_over, 12345);
  answer(1, 200);
  advance(0);
  assert_int_equal(left_over, 0);
  left_over = 12345;
  deliver(0, "TYPING_START", "{}");
  tg_delivery_drain(delivery, 5000, on_drained, &left_over);
  advance(4999);
  assert_int_equal(left_over, 12345);
  advance(1);
  assert_int_equal(left_over, 1);
}

static bool script_call(struct tg_script *script, enum tg_method method, const struct tg_value *args, int count,
                        struct tg_value *result)
{
  (void)script;
  if (method == TG_METHOD_delivery_retry_delay) {
    assert_int_equal(count, 2);
    char *err = json_dumps(args[1].json, JSON_COMPACT | JSON_SORT_KEYS);
    note_call("retry_delay(%d,%s);", (int)args[0].integer, err);
    free(err);
    *result = tg_value_int(42);
    return true;
  }
  assert_int_equal(method, TG_METHOD_delivery_is_delivered);
  if (args[0].integer == 299)
    return false; /* no opinion */
  *result = (struct tg_value){.kind = TG_BOOL, .boolean = args[0].integer == 409};
  return true;
}

static void scripts_decide_on_delay_and_status(void **state)
{
  (void)state;
  hooks.call = script_call;
  hooks.method[TG_METHOD_delivery_retry_delay] = (struct tg_override *)&hooks;
  hooks.method[TG_METHOD_delivery_is_delivered] = (struct tg_override *)&hooks;
  deliver(0, "TYPING_START", "{}");
  answer(0, 500);
  assert_string_equal(calls,
                      "retry_delay(1,{\"code\":\"status\",\"message\":\"it answered 500\",\"status\":500});");
  advance(41);
  assert_int_equal(open_posts, 0);
  advance(1);
  calls[0] = '\0';
  fail_with(the_open_post(), "timeout");
  assert_string_equal(calls,
                      "retry_delay(2,{\"code\":\"timeout\",\"message\":\"http://bot: timeout\",\"status\":0});");
  advance(42);
  answer(the_open_post(), 200); /* is_delivered says no */
  advance(42);
  answer(the_open_post(), 409); /* and here yes */
  assert_int_equal(value(&rows[0].delivered), 1);
  deliver(0, "TYPING_START", "{}");
  answer(the_open_post(), 299);
  assert_int_equal(value(&rows[0].delivered), 2);
}

static void rows_tell_what_waits(void **state)
{
  (void)state;
  deliver(0, "TYPING_START", "{}");
  advance(500);
  deliver(0, "TYPING_START", "{}");
  assert_int_equal(atomic_load(&rows[0].oldest_queued_at), WALL + 1000);
  assert_int_equal(value(&rows[0].received), 2);
  answer(0, 200);
  assert_int_equal(atomic_load(&rows[0].oldest_queued_at), WALL + 1500);
  answer(1, 200);
  assert_int_equal(atomic_load(&rows[0].oldest_queued_at), 0);
  assert_int_equal(value(&rows[0].delivered_sequence), 2);
}

#define IN_WORLD(test) cmocka_unit_test_setup_teardown(test, begin_world, end_world)

int main(void)
{
  const struct CMUnitTest tests[] = {
      IN_WORLD(sends_the_documented_request),
      IN_WORLD(keeps_order_one_at_a_time),
      IN_WORLD(shards_spread_over_urls),
      IN_WORLD(lanes_do_not_wait_for_each_other),
      IN_WORLD(requests_in_flight_are_bounded_and_fair),
      IN_WORLD(retries_with_back_off),
      IN_WORLD(the_circuit_spares_a_dead_bot),
      IN_WORLD(wrongly_set_up_raises_an_alarm),
      IN_WORLD(too_many_requests_slows_one_lane),
      IN_WORLD(service_unavailable_stops_all_lanes),
      IN_WORLD(refused_events_become_dead_letters),
      IN_WORLD(a_refusal_is_no_sign_of_trouble),
      IN_WORLD(without_a_handler_only_the_script_takes_events),
      IN_WORLD(reconfigure_moves_what_waits),
      IN_WORLD(reconfigure_takes_lanes_out_of_an_open_circuit),
      IN_WORLD(reconfigure_moves_lanes_between_handlers),
      IN_WORLD(trouble_means_fewer_at_a_time),
      IN_WORLD(the_old_session_goes_first),
      IN_WORLD(adopts_a_session),
      IN_WORLD(drains),
      IN_WORLD(scripts_decide_on_delay_and_status),
      IN_WORLD(rows_tell_what_waits),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
