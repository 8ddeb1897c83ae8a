/* Which variables are secrets, and what is left of them in the environment. */

#include "config/environment.h"
#include "config/placeholder.h"
#include "config/config_options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static void secrets_are_taken_out(void **state)
{
  (void)state;
  static const struct {
    char entry[80];
    bool hidden;
  } rows[] = {
      {"DISCORD_TOKEN=hunter2", true},
      {"DISCORD_TOKEN=a second one", true}, /* getenv() finds the first */
      {"TIDEGATE_CONTROL_SECRET=hunter2", true},
      {"EVENT_HANDLER_SECRET_KEY=", false},
      {"DISCORD_TOKEN_FILE=/run/secrets/token", false},
      {"EVENT_HANDLER_URL=http://user:hunter2@bot", true},
      {"REST_URL=http://proxy", false},
      {"https_proxy=http://user:hunter2@proxy", true},
      {"ALL_PROXY=http://user:hunter2@proxy", true},
      {"http_proxy=http://proxy", false},
      {"_proxy=user@proxy", false},
      {"INTENTS=a@b", false},
      {"TIDEGATE_PLUGIN_ALERTS={\"url\":\"hunter2\"}", true},
      {"TIDEGATE_PLUGINS=alerts", false},
      {"MY_OWN=user:hunter2@host", false},
      {"NO_VALUE", false},
  };
  enum { COUNT = sizeof rows / sizeof rows[0] };
  char memory[COUNT][80], *list[COUNT + 1] = {NULL}, **before = environ;
  for (size_t i = 0; i < COUNT; i++)
    list[i] = memcpy(memory[i], rows[i].entry, sizeof memory[i]);
  environ = list;
  tg_environment_hide();
  size_t left = 0;
  for (size_t i = 0; i < COUNT; i++) {
    size_t name = strcspn(rows[i].entry, "=");
    if (!rows[i].hidden) {
      assert_string_equal(environ[left++], rows[i].entry);
      continue;
    }
    for (size_t k = name + 1; k < sizeof memory[i]; k++)
      assert_int_equal(memory[i][k], 0);
  }
  assert_null(environ[left]);
  assert_null(getenv("DISCORD_TOKEN"));
  assert_string_equal(tg_environment("DISCORD_TOKEN"), "hunter2");
  assert_string_equal(tg_environment("https_proxy"), "http://user:hunter2@proxy");
  assert_string_equal(tg_environment("http_proxy"), "http://proxy");
  assert_null(tg_environment("REST_AUTHORIZATION"));
  assert_int_equal(json_object_size(tg_environment_hidden()), 6);
  json_t *given = json_pack("{s:s}", "REST_AUTHORIZATION", "hunter3");
  tg_environment_give(given);
  json_decref(given);
  tg_environment_give(NULL);
  assert_string_equal(tg_environment("REST_AUTHORIZATION"), "hunter3");
  assert_string_equal(tg_environment("DISCORD_TOKEN"), "hunter2");
  environ = before;
}

static const char *value_of(const void *ctx, const struct tg_option *option)
{
  (void)ctx;
  return strcmp(option->path, "token") == 0 ? "T" : strcmp(option->path, "rest.authorization") == 0 ? "" : NULL;
}

static void placeholders_are_filled(void **state)
{
  (void)state;
  static const struct {
    const char *text, *found, *filled;
  } rows[] = {
      {"", NULL, ""},
      {"***token***", "token", "T"},
      {"Bot ***token*** and ***token***", "token", "Bot T and T"},
      {"*****token*****", "token", "**T**"},
      {"***intents******token***", "token", "***intents***T"},
      {"***rest.authorization***", "rest.authorization", ""},
      {"***control.authorization***", "control.authorization", "***control.authorization***"},
      {"***tokens***", NULL, "***tokens***"},
      {"***token**", NULL, "***token**"},
      {"***", NULL, "***"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    struct tg_buf out = {0};
    const struct tg_option *option = tg_placeholder_find(rows[i].text);
    tg_placeholder_fill(&out, rows[i].text, value_of, NULL);
    tg_buf_append(&out, "", 1);
    assert_string_equal(out.data, rows[i].filled);
    assert_string_equal(option ? option->path : "", rows[i].found ? rows[i].found : "");
    tg_buf_free(&out);
  }
}

/* Which has room in TG_PLACEHOLDER_SIZE. */
static void each_secret_has_its_own(void **state)
{
  (void)state;
  char text[TG_PLACEHOLDER_SIZE];
  for (size_t i = 0; i < tg_config_option_count; i++) {
    if (!tg_config_options[i].secret)
      continue;
    tg_placeholder(&tg_config_options[i], text);
    assert_ptr_equal(tg_placeholder_find(text), &tg_config_options[i]);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(secrets_are_taken_out),
      cmocka_unit_test(placeholders_are_filled),
      cmocka_unit_test(each_secret_has_its_own),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
