#include "shared/class_state.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void names_go_both_ways(void **state)
{
  (void)state;
  for (int i = 0; i < TG_CLASS_STATES; i++) {
    enum tg_class_state parsed = TG_CLASS_STATES;
    assert_true(tg_class_state_parse(tg_class_state_name((enum tg_class_state)i), &parsed));
    assert_int_equal(parsed, i);
  }
}

static void other_names_are_refused(void **state)
{
  (void)state;
  enum tg_class_state kept = TG_CLASS_SETTLED;
  assert_false(tg_class_state_parse("Ready", &kept));
  assert_false(tg_class_state_parse("", &kept));
  assert_false(tg_class_state_parse(NULL, &kept));
  assert_int_equal(kept, TG_CLASS_SETTLED);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(names_go_both_ways),
      cmocka_unit_test(other_names_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
