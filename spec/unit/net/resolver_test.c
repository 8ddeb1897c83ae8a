/* Look-ups that are shared, and answers that are kept for a while. */

#include "net/resolver.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

enum { CROWD = 1000 };

static struct {
  uv_loop_t loop;
  struct tg_resolver *resolver;
  int asked;  /* look-ups so far */
  int status; /* that they end with */
  int told, addresses;
  bool asks_again, takes_long;
} world;

/* ---- in the place of libuv's, and of the clock ---- */

static tg_ms now = 1;
static struct sockaddr_in address = {.sin_family = AF_INET};
static struct addrinfo found = {
    .ai_family = AF_INET, .ai_addr = (struct sockaddr *)&address, .ai_addrlen = sizeof address};

tg_ms tg_now(void)
{
  return now;
}

struct answer {
  uv_timer_t timer;
  uv_getaddrinfo_t *request;
  uv_getaddrinfo_cb done;
};

static void free_answer(uv_handle_t *handle)
{
  free(handle->data);
}

static void on_answer(uv_timer_t *timer)
{
  struct answer *answer = timer->data;
  answer->done(answer->request, world.status, world.status ? NULL : &found);
  uv_close((uv_handle_t *)timer, free_answer);
}

int uv_getaddrinfo(uv_loop_t *loop, uv_getaddrinfo_t *request, uv_getaddrinfo_cb done, const char *node,
                   const char *service, const struct addrinfo *hints)
{
  (void)hints;
  world.asked++;
  if (strchr(node, ' '))
    return UV_EINVAL;
  address.sin_port = htons((uint16_t)atoi(service));
  struct answer *answer = calloc(1, sizeof *answer);
  *answer = (struct answer){.request = request, .done = done};
  uv_timer_init(loop, &answer->timer);
  answer->timer.data = answer;
  uv_timer_start(&answer->timer, on_answer, 0, 0);
  return 0;
}

void uv_freeaddrinfo(struct addrinfo *list)
{
  (void)list;
}

/* ---- */

static void on_told(void *ctx, int status, const struct tg_addresses *addresses)
{
  (void)ctx;
  world.told++;
  assert_int_equal(status, world.status);
  world.addresses = addresses->count;
  if (world.asks_again) {
    world.asks_again = false;
    tg_lookup_begin(world.resolver, "one.test", "443", on_told, NULL);
  }
  if (world.takes_long) {
    now += 3600000;
    assert_non_null(tg_resolver_recall(world.resolver, "one.test", "443"));
  }
}

static struct tg_lookup *ask(const char *host)
{
  return tg_lookup_begin(world.resolver, host, "443", on_told, NULL);
}

static void run(void)
{
  uv_run(&world.loop, UV_RUN_DEFAULT);
}

static void a_crowd_asks_once(void **state)
{
  (void)state;
  for (int i = 0; i < CROWD; i++)
    ask("one.test");
  ask("other.test");
  run();
  assert_int_equal(world.asked, 2);
  assert_int_equal(world.told, CROWD + 1);
  assert_int_equal(world.addresses, 1);
}

static void an_answer_is_known_for_a_while(void **state)
{
  (void)state;
  assert_null(tg_resolver_recall(world.resolver, "one.test", "443"));
  ask("one.test");
  assert_null(tg_resolver_recall(world.resolver, "one.test", "443"));
  run();
  const struct tg_addresses *known = tg_resolver_recall(world.resolver, "one.test", "443");
  assert_int_equal(known->count, 1);
  assert_null(tg_resolver_recall(world.resolver, "one.test", "80"));
  assert_null(tg_resolver_recall(world.resolver, "other.test", "443"));
  now += 9999;
  assert_non_null(tg_resolver_recall(world.resolver, "one.test", "443"));
  now += 1;
  assert_null(tg_resolver_recall(world.resolver, "one.test", "443"));
}

static void who_is_told_may_take_long(void **state)
{
  (void)state;
  world.takes_long = true;
  ask("one.test");
  ask("one.test");
  run();
  assert_int_equal(world.told, 2);
  assert_non_null(tg_resolver_recall(world.resolver, "one.test", "443"));
}

static void a_failure_is_told_to_all_and_not_kept(void **state)
{
  (void)state;
  world.status = UV_EAI_AGAIN;
  world.asks_again = true;
  ask("one.test");
  ask("one.test");
  run();
  assert_int_equal(world.asked, 2);
  assert_int_equal(world.told, 3);
  assert_null(tg_resolver_recall(world.resolver, "one.test", "443"));
}

static void a_name_that_is_none_is_told_of_later(void **state)
{
  (void)state;
  world.status = UV_EAI_NONAME;
  ask("no name");
  assert_int_equal(world.told, 0);
  run();
  assert_int_equal(world.told, 1);
}

static void who_leaves_is_not_told(void **state)
{
  (void)state;
  struct tg_lookup *first = ask("one.test");
  ask("one.test");
  tg_lookup_free(first);
  run();
  assert_int_equal(world.told, 1);
  tg_lookup_free(ask("other.test"));
  assert_null(tg_resolver_recall(world.resolver, "other.test", "443"));
  run();
  assert_int_equal(world.told, 1);
}

static int setup(void **state)
{
  (void)state;
  memset(&world, 0, sizeof world);
  uv_loop_init(&world.loop);
  world.resolver = tg_resolver_new(&world.loop);
  return 0;
}

static int teardown(void **state)
{
  (void)state;
  tg_resolver_free(world.resolver);
  return uv_loop_close(&world.loop);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
  const struct CMUnitTest tests[] = {
      TEST(a_crowd_asks_once),
      TEST(an_answer_is_known_for_a_while),
      TEST(who_is_told_may_take_long),
      TEST(a_failure_is_told_to_all_and_not_kept),
      TEST(a_name_that_is_none_is_told_of_later),
      TEST(who_leaves_is_not_told),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
