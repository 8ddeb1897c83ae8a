/* Secrets in files: which file it is, what of it counts, and what is said when
 * it cannot be used. */

#include "config/config.h"
#include "config/secret.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char the_dir[] = "/tmp/tidegate-unit-XXXXXX";

enum { VARIABLES_MAX = 4 };

static struct {
  const char *name, *value;
} the_env[VARIABLES_MAX];

static const char *look_up(const char *name)
{
  for (int i = 0; i < VARIABLES_MAX && the_env[i].name; i++) {
    if (strcmp(the_env[i].name, name) == 0)
      return the_env[i].value;
  }
  return NULL;
}

static void set_env(const char *name, const char *value)
{
  for (int i = 0; i < VARIABLES_MAX; i++) {
    if (!the_env[i].name || strcmp(the_env[i].name, name) == 0) {
      the_env[i].name = name;
      the_env[i].value = value;
      return;
    }
  }
  fail_msg("too many variables");
}

/* The path is good until the next call. */
static const char *put(const char *name, const char *bytes, size_t length)
{
  static char path[256];
  snprintf(path, sizeof path, "%s/%s", the_dir, name);
  FILE *file = fopen(path, "wb");
  assert_non_null(file);
  assert_int_equal(fwrite(bytes, 1, length, file), length);
  fclose(file);
  return path;
}

static int make_dir(void **state)
{
  (void)state;
  memset(the_env, 0, sizeof the_env);
  strcpy(the_dir, "/tmp/tidegate-unit-XXXXXX");
  return mkdtemp(the_dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
  (void)state;
  static const char *const names[] = {"discord_token", "secret", "event_handler_secret_key"};
  char path[256];
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    snprintf(path, sizeof path, "%s/%s", the_dir, names[i]);
    unlink(path);
  }
  return rmdir(the_dir);
}

static void expect_content(const char *bytes, size_t length, const char *expected)
{
  struct tg_error error = {0};
  char *text = tg_secret_read(put("secret", bytes, length), &error);
  assert_string_equal(text ? text : error.message, expected);
  free(text);
}

static void expect_refusal(const char *path, const char *part)
{
  struct tg_error error = {0};
  assert_null(tg_secret_read(path, &error));
  assert_non_null(strstr(error.message, path));
  if (!strstr(error.message, part))
    fail_msg("\"%s\" does not say \"%s\"", error.message, part);
}

static void newlines_at_the_end_do_not_count(void **state)
{
  (void)state;
  expect_content("abc", 3, "abc");
  expect_content("abc\n", 4, "abc");
  expect_content("abc\r\n\n", 6, "abc");
  expect_content(" a\nb ", 5, " a\nb ");
}

static void what_is_no_secret_is_refused(void **state)
{
  (void)state;
  char path[256], *much = calloc(1, 5000);
  expect_refusal(put("secret", "", 0), "is empty");
  expect_refusal(put("secret", "\n", 1), "is empty");
  expect_refusal(put("secret", "a\0b", 3), "NUL");
  memset(much, 'x', 5000);
  expect_refusal(put("secret", much, 4097), "more than 4096 bytes");
  free(much);
  expect_refusal(the_dir, "directory");
  expect_refusal("/dev/null", "not a regular file");
  snprintf(path, sizeof path, "%s/nothing", the_dir);
  expect_refusal(path, "No such file");
}

static void config_takes_what_stands_in_files(void **state)
{
  (void)state;
  struct tg_config config;
  struct tg_problems problems;
  set_env("INTENTS", "1");
  set_env("CREDENTIALS_DIRECTORY", the_dir);
  char *token = strdup(put("secret", "Bot abc.def\n", 12));
  set_env("DISCORD_TOKEN_FILE", token);
  put("discord_token", "other", 5);
  put("event_handler_secret_key", "hush", 4);
  assert_true(tg_config_load(NULL, look_up, &config, &problems));
  assert_string_equal(config.token, "abc.def");
  assert_string_equal(config.event_handler.authorization, "hush");
  assert_null(config.control.authorization);
  assert_int_equal(json_object_size(config.secret_files), 2);
  const char *path = json_string_value(json_object_get(config.secret_files, "event_handler.authorization"));
  assert_string_equal(strrchr(path, '/'), "/event_handler_secret_key");
  tg_config_free(&config);

  set_env("DISCORD_TOKEN_FILE", ""); /* as if unset: then it is the credential */
  assert_true(tg_config_load(NULL, look_up, &config, &problems));
  assert_string_equal(config.token, "other");
  tg_config_free(&config);

  set_env("DISCORD_TOKEN", "by.hand"); /* comes before credentials */
  assert_true(tg_config_load(NULL, look_up, &config, &problems));
  assert_string_equal(config.token, "by.hand");
  assert_null(json_object_get(config.secret_files, "token"));
  tg_config_free(&config);
  free(token);
}

static void the_script_comes_first(void **state)
{
  (void)state;
  struct tg_config config;
  struct tg_problems problems;
  set_env("DISCORD_TOKEN_FILE", "/nowhere");
  json_t *given = json_pack("{s:s, s:i}", "token", "mine", "intents", 1);
  assert_true(tg_config_load(given, look_up, &config, &problems));
  assert_string_equal(config.token, "mine");
  assert_int_equal(json_object_size(config.secret_files), 0);
  tg_config_free(&config);
  json_decref(given);
}

static void expect_problem(const char *text)
{
  struct tg_config config;
  struct tg_problems problems;
  assert_false(tg_config_load(NULL, look_up, &config, &problems));
  assert_int_equal(problems.count, 1);
  assert_string_equal(problems.items[0], text);
  tg_problems_free(&problems);
}

static void mistakes_name_the_key(void **state)
{
  (void)state;
  set_env("INTENTS", "1");
  set_env("DISCORD_TOKEN_FILE", "/nowhere");
  expect_problem("token (environment variable DISCORD_TOKEN_FILE): cannot read /nowhere: "
                 "No such file or directory");
  set_env("DISCORD_TOKEN", "abc");
  expect_problem("token (environment variable DISCORD_TOKEN_FILE): DISCORD_TOKEN is set, too; "
                 "only one of the two can count");
  set_env("DISCORD_TOKEN", "");
  set_env("DISCORD_TOKEN_FILE", put("secret", "two words", 9));
  expect_problem("token (environment variable DISCORD_TOKEN_FILE): has white space, quotes or other bytes "
                 "that no token has; copy it again");
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(newlines_at_the_end_do_not_count, make_dir, remove_dir),
      cmocka_unit_test_setup_teardown(what_is_no_secret_is_refused, make_dir, remove_dir),
      cmocka_unit_test_setup_teardown(config_takes_what_stands_in_files, make_dir, remove_dir),
      cmocka_unit_test_setup_teardown(the_script_comes_first, make_dir, remove_dir),
      cmocka_unit_test_setup_teardown(mistakes_name_the_key, make_dir, remove_dir),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
