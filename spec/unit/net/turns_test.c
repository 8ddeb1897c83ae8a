/* Costly requests take turns with the rest of the loop. */

#include "net/turns.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct {
  uv_loop_t loop;
  struct tg_turns *turns;
  char served[64]; /* the methods, in order */
  bool asks_again;
} world;

static struct tg_request *ask(const char *method, bool client_is_there)
{
  static char somebody;
  struct tg_request *request = tg_calloc(1, sizeof *request);
  request->method = method;
  request->connection = client_is_there ? (struct tg_connection *)&somebody : NULL;
  tg_turns_add(world.turns, request);
  return request;
}

static void serve(void *ctx, struct tg_request *request)
{
  assert_ptr_equal(ctx, &world);
  strcat(world.served, request->method);
  tg_request_free(request);
  if (world.asks_again) /* the client's next one is there already */
    ask("again ", true);
  world.asks_again = false;
}

static int set_up(void **state)
{
  (void)state;
  memset(&world, 0, sizeof world);
  uv_loop_init(&world.loop);
  world.turns = tg_turns_new(&world.loop, serve, &world);
  return 0;
}

static int tear_down(void **state)
{
  (void)state;
  tg_turns_free(world.turns);
  uv_run(&world.loop, UV_RUN_DEFAULT);
  return uv_loop_close(&world.loop);
}

static void turn(const char *served)
{
  uv_run(&world.loop, UV_RUN_NOWAIT);
  assert_string_equal(world.served, served);
}

static void one_a_turn_in_order(void **state)
{
  (void)state;
  ask("a ", true);
  ask("b ", true);
  ask("c ", true);
  assert_string_equal(world.served, "");
  turn("a ");
  turn("a b ");
  turn("a b c ");
  turn("a b c ");
}

static void who_asks_again_stands_behind_the_others(void **state)
{
  (void)state;
  world.asks_again = true;
  ask("a ", true);
  ask("b ", true);
  turn("a ");
  turn("a b ");
  turn("a b again ");
}

static void whose_client_has_gone_is_not_served(void **state)
{
  (void)state;
  ask("a ", true)->connection = NULL;
  ask("b ", true);
  turn("");
  turn("b ");
}

static void the_loop_sleeps_when_nothing_waits(void **state)
{
  (void)state;
  assert_false(uv_loop_alive(&world.loop));
  ask("a ", true);
  assert_true(uv_loop_alive(&world.loop));
  turn("a ");
  assert_false(uv_loop_alive(&world.loop));
}

static void what_waits_at_the_end_is_freed(void **state)
{
  (void)state;
  ask("a ", false);
  ask("b ", false);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(one_a_turn_in_order, set_up, tear_down),
      cmocka_unit_test_setup_teardown(who_asks_again_stands_behind_the_others, set_up, tear_down),
      cmocka_unit_test_setup_teardown(whose_client_has_gone_is_not_served, set_up, tear_down),
      cmocka_unit_test_setup_teardown(the_loop_sleeps_when_nothing_waits, set_up, tear_down),
      cmocka_unit_test_setup_teardown(what_waits_at_the_end_is_freed, set_up, tear_down),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
