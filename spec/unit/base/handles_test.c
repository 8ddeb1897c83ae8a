/* Counted handles: the owner goes with the last one, and not before its end is said. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/handles.h"

static uv_loop_t loop;
static struct tg_handles handles;
static uv_timer_t first, second;
static int owners_gone;

static void on_gone(void *ctx)
{
  assert_ptr_equal(ctx, &handles);
  owners_gone++;
}

static int begin(void **state)
{
  (void)state;
  owners_gone = 0;
  assert_int_equal(uv_loop_init(&loop), 0);
  tg_handles_init(&handles, &loop, on_gone, &handles);
  return 0;
}

static int end(void **state)
{
  (void)state;
  assert_int_equal(uv_loop_close(&loop), 0);
  return 0;
}

static void test_memory_outlives_the_handles(void **state)
{
  (void)state;
  tg_handles_timer(&handles, &first, &owners_gone);
  tg_handles_timer(&handles, &second, NULL);
  assert_ptr_equal(first.data, &owners_gone);
  tg_handles_close(&handles, &first);
  tg_handles_close(&handles, &second);
  tg_handles_end(&handles);
  assert_int_equal(owners_gone, 0);
  uv_run(&loop, UV_RUN_DEFAULT);
  assert_int_equal(owners_gone, 1);
}

static void test_an_owner_that_lives_may_have_none(void **state)
{
  (void)state;
  tg_handles_timer(&handles, &first, NULL);
  tg_handles_close(&handles, &first);
  uv_run(&loop, UV_RUN_DEFAULT);
  assert_int_equal(owners_gone, 0);
  tg_handles_end(&handles);
  assert_int_equal(owners_gone, 1);
}

static void on_own_close(uv_handle_t *handle)
{
  assert_ptr_equal(handle->data, &owners_gone);
  tg_handles_closed(&handles);
}

static void test_who_closes_with_a_callback_of_his_own_says_so(void **state)
{
  (void)state;
  tg_handles_timer(&handles, &first, &owners_gone);
  tg_handles_end(&handles);
  assert_int_equal(owners_gone, 0);
  uv_close((uv_handle_t *)&first, on_own_close);
  uv_run(&loop, UV_RUN_DEFAULT);
  assert_int_equal(owners_gone, 1);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_memory_outlives_the_handles, begin, end),
      cmocka_unit_test_setup_teardown(test_an_owner_that_lives_may_have_none, begin, end),
      cmocka_unit_test_setup_teardown(test_who_closes_with_a_callback_of_his_own_says_so, begin, end),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
