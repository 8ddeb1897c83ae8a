/* The table of what `tidegate ctl` can do: its rows fit together. */

#include "cli/ctl/command.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define each_action(command, action)                                                                         \
  for (const struct tg_ctl_action *action = (command)->actions; action->name; action++)

#define each_option(options, option)                                                                         \
  for (const struct tg_ctl_option *option = (options); option && option->name; option++)

static void each_row_can_be_asked_and_shown(void **state)
{
  (void)state;
  for (int i = 0; tg_ctl_commands[i]; i++) {
    const struct tg_ctl_command *command = tg_ctl_commands[i];
    assert_ptr_equal(tg_ctl_command_find(command->name), command); /* no two have one name */
    assert_non_null(command->line);
    each_action(command, action)
    {
      assert_true(action->timeout > 0);
      assert_true(action->least <= action->most && action->most < TG_CTL_WORDS_MAX - 1);
      assert_true(action->most == 0 || action->usage);
      assert_true(action->method || action->ask || action->run);
      assert_true(action->show || action->run);
    }
  }
  assert_null(tg_ctl_command_find("nothing"));
}

/* Options may stand before the command, so that all lines are read by the names of all of them. */
static void an_option_takes_a_value_wherever_it_is_one(void **state)
{
  (void)state;
  const struct tg_ctl_option *seen[64];
  size_t count = 0;
  each_option(tg_ctl_common_options, option) seen[count++] = option;
  for (int i = 0; tg_ctl_commands[i]; i++)
    each_action(tg_ctl_commands[i], action) each_option(action->options, option)
    {
      size_t k = 0;
      while (k < count && strcmp(seen[k]->name, option->name) != 0)
        k++;
      assert_non_null(option->line);
      if (k < count)
        assert_int_equal(seen[k]->value != NULL, option->value != NULL);
      else
        seen[count++] = option;
    }
  assert_true(count <= TG_CTL_OPTIONS_MAX);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(each_row_can_be_asked_and_shown),
      cmocka_unit_test(an_option_takes_a_value_wherever_it_is_one),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
