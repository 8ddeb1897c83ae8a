/* Whatever row says that it is secret is masked, wherever values are shown: a
 * new row has nothing to be added to. */

#include "base/buf.h"
#include "config/config.h"
#include "config/config_options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char *no_environment(const char *name)
{
  (void)name;
  return NULL;
}

static char logged[4096];

static void keep_log(void *ctx, enum tg_log_level level, int shard_id, const char *text,
                     const struct tg_log_field *fields)
{
  (void)ctx, (void)level, (void)shard_id, (void)fields;
  snprintf(logged, sizeof logged, "%s", text);
}

/* {"a": {"b": value}} for a.b */
static json_t *nested(const char *path, json_t *value)
{
  const char *dot = strchr(path, '.');
  if (!dot)
    return json_pack("{s:o}", path, value);
  char *key = tg_strndup(path, (size_t)(dot - path));
  json_t *table = json_pack("{s:o}", key, nested(dot + 1, value));
  free(key);
  return table;
}

static void add(json_t *object, json_t *more)
{
  json_object_update_recursive(object, more);
  json_decref(more);
}

static bool holds(const struct tg_strings *strings, const char *text)
{
  for (int i = 0; i < strings->count; i++)
    if (strcmp(strings->items[i], text) == 0)
      return true;
  return false;
}

static void every_secret_row_is_masked(void **state)
{
  (void)state;
  json_t *given = json_pack("{s:i}", "intents", 1);
  char secret[80];
  for (size_t i = 0; i < tg_config_option_count; i++) {
    snprintf(secret, sizeof secret, "hunter-%zu", i);
    if (tg_config_options[i].secret && !tg_config_options[i].composed)
      add(given, nested(tg_config_options[i].path, json_string(secret)));
  }
  struct tg_config config;
  struct tg_problems problems;
  assert_true(tg_config_load(given, no_environment, &config, &problems));
  struct tg_strings secrets = tg_config_secrets(&config);
  json_t *shown = tg_config_to_json(&config);
  for (int i = 0; i < secrets.count; i++)
    tg_log_secret(secrets.items[i]);
  tg_log_set_sink(keep_log, NULL);
  int count = 0;
  for (size_t i = 0; i < tg_config_option_count; i++) {
    const struct tg_option *option = &tg_config_options[i];
    snprintf(secret, sizeof secret, "hunter-%zu", i);
    if (!option->secret || option->composed)
      continue;
    count++;
    assert_true(holds(&secrets, secret));
    assert_string_equal(json_string_value(tg_schema_find(shown, option->path)), "***");
    tg_log(TG_WARN, TG_NO_SHARD, "%s is %s", option->path, secret);
    if (strstr(logged, "hunter") || !strstr(logged, "is ***"))
      fail_msg("%s", logged);
  }
  assert_true(count >= 4);
  tg_log_set_sink(NULL, NULL);
  json_decref(shown);
  json_decref(given);
  tg_strings_free(&secrets);
  tg_config_free(&config);
}

/* How many there are, and names of headers, are no secrets; their texts are. */
static void so_are_lists_and_tables(void **state)
{
  (void)state;
  static const char *const texts[] = {"header-hunter-2", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
                                      "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="};
  json_t *given =
      json_pack("{s:s, s:i, s:{s:{s:s}, s:[s, s]}}", "token", "t-o-k-e-n", "intents", 1, "event_handler",
                "headers", "X-Key", texts[0], "signing_secrets", texts[1], texts[2]);
  struct tg_config config;
  struct tg_problems problems;
  assert_true(tg_config_load(given, no_environment, &config, &problems));
  struct tg_strings secrets = tg_config_secrets(&config);
  for (int i = 0; i < 3; i++)
    assert_true(holds(&secrets, texts[i]));
  json_t *forms[] = {tg_config_to_json(&config), tg_config_for_scripts(&config)};
  for (int i = 0; i < 2; i++) {
    char *text = json_dumps(forms[i], 0);
    for (int k = 0; k < 3; k++)
      assert_null(strstr(text, texts[k]));
    assert_non_null(strstr(text, "X-Key"));
    free(text);
    json_decref(forms[i]);
  }
  for (size_t i = 0; i < tg_config_option_count; i++) /* there is no text that could stand for one */
    assert_true(!tg_config_options[i].composed || !tg_config_secret(&config, &tg_config_options[i]));
  json_decref(given);
  tg_strings_free(&secrets);
  tg_config_free(&config);
}

/* Rows as the next ones may be: lists, and in the midst of others. */
struct later {
  char *name;
  char *key;
  struct tg_strings keys;
};

static void so_is_a_row_that_is_added(void **state)
{
  (void)state;
  static const struct tg_option rows[] = {
      {.path = "name", .kind = TG_OPTION_STRING, .offset = offsetof(struct later, name)},
      {.path = "alerts.key", .kind = TG_OPTION_STRING, .offset = offsetof(struct later, key), .secret = true},
      {.path = "keys", .kind = TG_OPTION_STRINGS, .offset = offsetof(struct later, keys), .secret = true},
  };
  const size_t count = sizeof rows / sizeof rows[0];
  json_t *given = json_loads(
      "{\"name\":\"seen\",\"alerts\":{\"key\":\"unseen\"},\"keys\":[\"k-one\",\"k-two\"]}", 0, NULL);
  struct later target = {0};
  struct tg_problems problems = {0};
  tg_schema_read(rows, count, given, no_environment, &target, &problems);
  assert_int_equal(problems.count, 0);
  struct tg_strings secrets = {0};
  tg_schema_secrets(rows, count, &target, &secrets);
  assert_int_equal(secrets.count, 3);
  assert_true(holds(&secrets, "unseen") && holds(&secrets, "k-one") && holds(&secrets, "k-two"));
  json_t *shown = tg_schema_write(rows, count, &target, TG_SECRETS_MASKED);
  char *text = json_dumps(shown, JSON_SORT_KEYS | JSON_COMPACT);
  assert_string_equal(text, "{\"alerts\":{\"key\":\"***\"},\"keys\":[\"***\",\"***\"],\"name\":\"seen\"}");
  free(text);
  json_decref(shown);
  json_decref(given);
  tg_strings_free(&secrets);
  tg_schema_release(rows, count, &target);
}

/* As many as reloads may bring, and such as are part of each other. */
static void the_log_masks_any_number(void **state)
{
  (void)state;
  char secret[80];
  tg_log_set_sink(keep_log, NULL);
  for (int i = 0; i < 100; i++) {
    snprintf(secret, sizeof secret, "rotated-%d-", i);
    tg_log_secret(secret);
  }
  tg_log(TG_WARN, TG_NO_SHARD, "it was %s", secret);
  assert_string_equal(logged, "it was ***");
  tg_log_secret("shorter");
  tg_log_secret("shorter, and longer");
  tg_log(TG_WARN, TG_NO_SHARD, "it was shorter, and longer");
  assert_string_equal(logged, "it was ***");
  tg_log_set_sink(NULL, NULL);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_secret_row_is_masked),
      cmocka_unit_test(so_are_lists_and_tables),
      cmocka_unit_test(so_is_a_row_that_is_added),
      cmocka_unit_test(the_log_masks_any_number),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
