/* Lanes over the real HTTP client, to a bot that misbehaves. */

#include "unit/net/fake_server.h"

#include "base/log.h"
#include "delivery/delivery.h"
#include "net/http.h"
#include "proto/envelope.h"
#include "proto/event_types.h"


enum { SHARDS = 4, EVENTS = 300 };

struct test {
  struct fake_loop base;
  struct fake_server server;
  struct tg_http *http;
  struct tg_delivery *delivery;
  struct tg_config config;
  struct tg_hooks hooks;
  char *urls[1];
  int accepted[SHARDS]; /* the last s the bot has said 2xx to */
  int repeats, faults, every;
  bool drained;
};

/* Each shard's events have to come in order; a repeat has to follow a fault. */
static void bot(struct fake_server *server, struct fake_request *request)
{
  struct test *test = server->ctx;
  int shard, epoch, sequence;
  assert_int_equal(sscanf(fake_header(request, "Idempotency-Key"), "%d.%d.%d", &shard, &epoch, &sequence), 3);
  assert_in_range(sequence, 1, test->accepted[shard] + 1);
  if (test->every && server->request_count % test->every == 0) {
    test->faults++;
    switch (test->faults % 4) {
    case 0:
      fake_answer(request->on, 500, "", "oops");
      return;
    case 1:
      fake_reset(request->on);
      return;
    case 2: /* it has taken the event, and dies before it says so */
      test->accepted[shard] = sequence;
      fake_close(request->on);
      return;
    case 3:
      fake_answer(request->on, 429, "Retry-After: 0.01\r\n", "");
      return;
    }
  }
  if (sequence <= test->accepted[shard])
    test->repeats++;
  else
    test->accepted[shard] = sequence;
  fake_answer(request->on, 204, "", "");
}

static int begin(void **state)
{
  struct test *test = calloc(1, sizeof *test);
  struct tg_http_options http_options = {0};
  tg_log_set_level(TG_ERROR);
  fake_loop_begin(&test->base);
  fake_listen(&test->server, &test->base.loop);
  test->server.ctx = test;
  test->server.handle_request = bot;
  test->http = tg_http_new(&test->base.loop, &http_options);
  test->urls[0] = test->server.url;
  test->config.event_handler.urls = (struct tg_strings){test->urls, 1};
  test->config.event_handler.timeout = 5000;
  test->config.queue.memory_bytes = 64 << 20;
  struct tg_delivery_options options = {
      .loop = &test->base.loop, .config = &test->config, .hooks = &test->hooks, .http = test->http};
  test->delivery = tg_delivery_new(&options);
  for (int shard = 0; shard < SHARDS; shard++)
    tg_delivery_new_session(test->delivery, shard, 1);
  *state = test;
  return 0;
}

static int end(void **state)
{
  struct test *test = *state;
  tg_delivery_free(test->delivery);
  tg_http_free(test->http);
  fake_stop(&test->server);
  fake_loop_end(&test->base);
  fake_free_requests(&test->server);
  free(test);
  return 0;
}

static void deliver(struct test *test, int shard, int sequence)
{
  char text[128];
  struct tg_envelope envelope;
  int length = snprintf(text, sizeof text, "{\"t\":\"TYPING_START\",\"s\":%d,\"op\":0,\"d\":{}}", sequence);
  assert_true(tg_envelope_scan(text, (size_t)length, &envelope));
  struct tg_event event = {.type = TG_EVENT_TYPING_START,
                           .shard_id = shard,
                           .epoch = 1,
                           .sequence = (uint64_t)sequence,
                           .name = envelope.name,
                           .raw = {text, (size_t)length},
                           .data = envelope.data};
  tg_delivery_event(test->delivery, NULL, &event);
}

static void on_drained(void *ctx, uint64_t left)
{
  struct test *test = ctx;
  assert_int_equal(left, 0);
  test->drained = true;
}

static void deliver_all(struct test *test)
{
  for (int sequence = 1; sequence <= EVENTS; sequence++)
    for (int shard = 0; shard < SHARDS; shard++)
      deliver(test, shard, sequence);
}

static void drain(struct test *test)
{
  tg_delivery_drain(test->delivery, 60000, on_drained, test);
  WAIT_UNTIL(&test->base, test->drained);
  for (int shard = 0; shard < SHARDS; shard++) {
    assert_int_equal(test->accepted[shard], EVENTS);
    assert_int_equal(tg_delivery_settled(test->delivery, shard), EVENTS);
  }
}

static void all_arrive_in_order(void **state)
{
  struct test *test = *state;
  deliver_all(test);
  drain(test);
  assert_int_equal(test->server.request_count, SHARDS * EVENTS);
  assert_int_equal(test->repeats, 0);
  assert_in_range(test->server.connection_count, 1, SHARDS); /* kept alive */
}

static void faults_lose_nothing(void **state)
{
  struct test *test = *state;
  test->every = 97;
  deliver_all(test);
  drain(test);
  assert_true(test->faults >= 10);
  assert_true(test->repeats <= test->faults); /* libcurl itself repeats what dies on an old connection */
}

static void a_bot_that_restarts_gets_the_rest(void **state)
{
  struct test *test = *state;
  int port = test->server.port;
  deliver_all(test);
  WAIT_UNTIL(&test->base, test->server.request_count > 200);
  fake_stop(&test->server);
  WAIT_UNTIL(&test->base, test->server.open_connections == 0);
  fake_listen_port(&test->server, &test->base.loop, port);
  drain(test);
}

static void freed_with_requests_in_flight(void **state)
{
  struct test *test = *state;
  deliver_all(test);
  WAIT_UNTIL(&test->base, test->server.request_count > 10);
}

#define WITH_BOT(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
  const struct CMUnitTest tests[] = {
      WITH_BOT(all_arrive_in_order),
      WITH_BOT(faults_lose_nothing),
      WITH_BOT(a_bot_that_restarts_gets_the_rest),
      WITH_BOT(freed_with_requests_in_flight),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
