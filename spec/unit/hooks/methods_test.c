#include "hooks/methods.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

static void finds_methods_by_their_names(void **state)
{
  (void)state;
  enum tg_method method;
  for (int i = 0; i < TG_METHOD_COUNT; i++) {
    assert_true(tg_method_find(tg_methods[i].table, tg_methods[i].name, &method));
    assert_int_equal(method, i);
  }
  assert_true(tg_method_find(TG_TABLE_SHARD, "request_identify", &method));
  assert_int_equal(method, TG_METHOD_shard_request_identify);
  assert_false(tg_method_find(TG_TABLE_CACHE, "request_identify", &method));
  assert_false(tg_method_find(TG_TABLE_SHARD, "request", &method));
}

static void names_them_as_scripts_do(void **state)
{
  (void)state;
  assert_string_equal(tg_methods[TG_METHOD_shard_heartbeat].full, "gateway.shard:heartbeat");
  for (int i = 0; i < TG_METHOD_COUNT; i++) {
    const char *full = tg_methods[i].full + strlen("gateway."), *colon = strchr(full, ':');
    const char *table = tg_table_names[tg_methods[i].table];
    assert_memory_equal(full, table, strlen(table));
    assert_ptr_equal(colon, full + strlen(table));
    assert_string_equal(colon + 1, tg_methods[i].name);
  }
  assert_string_equal(tg_life_names[TG_LIFE_guilds_loaded], "guilds_loaded");
}

/* What a method says of the end of its waits makes sense of one that waits. */
static void says_of_those_alone_that_wait_what_being_cut_off_means(void **state)
{
  (void)state;
  for (int i = 0; i < TG_METHOD_COUNT; i++) {
    int cut = tg_methods[i].how & (TG_CUT_IS_FAILURE | TG_CUT_IS_NOTHING);
    assert_true(cut == 0 || tg_method_waits((enum tg_method)i));
    assert_int_not_equal(cut, TG_CUT_IS_FAILURE | TG_CUT_IS_NOTHING);
  }
  assert_true(tg_method_may_fail(TG_METHOD_manager_kill));
  assert_true(tg_method_may_fail(TG_METHOD_shard_send));
  assert_false(tg_method_may_fail(TG_METHOD_shard_close));
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(finds_methods_by_their_names),
      cmocka_unit_test(names_them_as_scripts_do),
      cmocka_unit_test(says_of_those_alone_that_wait_what_being_cut_off_means),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
