/* Judging what GET /gateway/bot answers. */

#include "manager/gateway_info.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const char url[] = "http://rest.test/gateway/bot";
static const char good[] =
    "{\"url\":\"wss://gateway.discord.gg\",\"shards\":4,\"session_start_limit\":{\"total\":1000,"
    "\"remaining\":996,\"reset_after\":14400000,\"max_concurrency\":1}}";

static json_t *judge(long status, const char *body, tg_ms header, tg_ms *retry_after, struct tg_error *error)
{
  struct tg_http_response response = {.status = status, .body = {body, strlen(body)}, .retry_after = header};
  memset(error, 0, sizeof *error);
  return tg_gateway_info_judge(&response, url, retry_after, error);
}

static void expect_code(long status, const char *body, const char *code, const char *words)
{
  struct tg_error error;
  tg_ms retry_after;
  assert_null(judge(status, body, -1, &retry_after, &error));
  assert_string_equal(error.code, code);
  assert_non_null(strstr(error.message, words));
}

static void a_good_answer_is_taken(void **state)
{
  (void)state;
  struct tg_error error;
  tg_ms retry_after;
  struct tg_gateway_info info;
  json_t *answer = judge(200, good, -1, &retry_after, &error);
  assert_non_null(answer);
  assert_true(tg_gateway_info_parse(answer, &info, &error));
  json_decref(answer);
  assert_string_equal(info.url, "wss://gateway.discord.gg");
  assert_int_equal(info.shards, 4);
  assert_int_equal(info.total, 1000);
  assert_int_equal(info.remaining, 996);
  assert_int_equal(info.max_concurrency, 1);
  assert_true(info.reset_after == 14400000);
  json_t *again = tg_gateway_info_to_json(&info);
  struct tg_gateway_info same;
  assert_true(tg_gateway_info_parse(again, &same, &error));
  json_decref(again);
  assert_memory_equal(&same, &info, sizeof info);
}

static void each_refusal_has_its_code(void **state)
{
  (void)state;
  expect_code(401, "{\"message\":\"401: Unauthorized\",\"code\":0}", "unauthorized", "DISCORD_TOKEN");
  expect_code(403, "<html>error 1020</html>", "blocked", "Cloudflare");
  expect_code(429, "<html>error 1015</html>", "blocked", "an hour");
  expect_code(429, "{\"message\":\"...\",\"retry_after\":1.5,\"global\":false}", "rate_limited", "1501 ms");
  expect_code(502, "bad gateway", "unavailable", "502");
  expect_code(503, "", "unavailable", "503");
  expect_code(403, "{\"message\":\"internal network error\",\"code\":40333}", "blocked", "Cloudflare");
  expect_code(429, "", "blocked", "an hour");
  expect_code(429, "[]", "blocked", "an hour");
  expect_code(429, "1015", "blocked", "an hour");
  expect_code(429, "{}", "rate_limited", "asks to wait (429)");
  expect_code(520, "<html>", "unavailable", "520");
  expect_code(404, "{}", "bad_answer", "rest.url");
  expect_code(302, "<html>", "bad_answer", "login page");
  expect_code(301, "", "bad_answer", "301");
}

static void the_longer_wait_holds(void **state)
{
  (void)state;
  struct tg_error error;
  tg_ms retry_after;
  judge(429, "{\"retry_after\":1.5}", 3000, &retry_after, &error);
  assert_true(retry_after == 3000);
  judge(429, "<html>", 3000, &retry_after, &error);
  assert_true(retry_after == 3000);
  judge(503, "", 3000, &retry_after, &error);
  assert_true(retry_after == 3000);
  judge(429, "{\"retry_after\":86400}", -1, &retry_after, &error);
  assert_true(retry_after == 86400 * 1000 + 1);
  judge(429, "{\"retry_after\":1e300}", -1, &retry_after, &error);
  assert_true(retry_after == -1);
  judge(429, "{\"retry_after\":-1}", -1, &retry_after, &error);
  assert_true(retry_after == -1);
  judge(429, "", INT64_C(1000000000000), &retry_after, &error);
  assert_true(retry_after == -1);
  judge(429, "{\"retry_after\":\"soon\"}", -1, &retry_after, &error);
  assert_true(retry_after == -1);
  json_decref(judge(200, good, -1, &retry_after, &error));
  assert_true(retry_after == -1);
}

static void a_refusal_is_waited_for(void **state)
{
  (void)state;
  enum { MINUTE = 60 * 1000, HOUR = 60 * MINUTE };
  static const struct {
    const char *code;
    tg_ms told;
    int before;
    tg_ms expected;
  } rows[] = {
      {"blocked", -1, 0, 5 * MINUTE},
      {"blocked", -1, 1, 10 * MINUTE},
      {"blocked", -1, 3, 40 * MINUTE},
      {"blocked", -1, 4, HOUR},
      {"blocked", -1, 1000000, HOUR},
      {"blocked", 2 * HOUR, 0, 2 * HOUR},
      {"blocked", 7 * MINUTE, 9, 7 * MINUTE},
      {"blocked", 0, 0, 250},
      {"blocked", 0, 3, 2000},
      {"blocked", 0, 1000000, MINUTE}, /* "at once", for ever */
      {"rate_limited", 1500, 0, 1500},
      {"rate_limited", -1, 0, 5 * MINUTE},
      {"unavailable", 30000, 0, 30000},
      {"unavailable", 0, 0, -1},
      {"unavailable", -1, 0, -1},
      {"unauthorized", 5000, 0, -1},
      {"bad_answer", 5000, 0, -1},
      {"of a script", -1, 0, -1},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    tg_ms wait = tg_gateway_info_wait(rows[i].code, rows[i].told, rows[i].before);
    if (wait != rows[i].expected)
      fail_msg("%s, told %lld, %d before: %lld", rows[i].code, (long long)rows[i].told, rows[i].before,
               (long long)wait);
  }
}

static void garbage_is_named(void **state)
{
  (void)state;
  expect_code(200, "", "bad_answer", "not JSON");
  expect_code(200, "<html>", "bad_answer", "not JSON");
  expect_code(200, "[1]", "bad_answer", "not an object");
  expect_code(200, "{}", "bad_answer", "url");
  expect_code(200, "{\"url\":\"https://x\"}", "bad_answer", "wss://");
  expect_code(200, "{\"url\":\"wss://x\",\"shards\":1}", "bad_answer", "session_start_limit");
  static const char *const fields[] = {"\"shards\":4", "\"max_concurrency\":1", "\"total\":1000"};
  static const char *const wrong[] = {"\"shards\":0", "\"max_concurrency\":0", "\"total\":\"x\""};
  for (size_t i = 0; i < 3; i++) {
    char text[512];
    const char *at = strstr(good, fields[i]);
    snprintf(text, sizeof text, "%.*s%s%s", (int)(at - good), good, wrong[i], at + strlen(fields[i]));
    expect_code(200, text, "bad_answer", "number");
  }
}

static void urls_and_counts_are_whole(void **state)
{
  (void)state;
  static const struct {
    const char *field, *wrong, *word;
  } rows[] = {
      {"wss://gateway.discord.gg", "ws://127.0.0.1:99999999", "no valid port"},
      {"wss://gateway.discord.gg", "wss://user:secret@gateway.discord.gg", "user or a password"},
      {"wss://gateway.discord.gg", "wss://", "no valid host name"},
      {"\"shards\":4", "\"shards\":1.5", "\"shards\" of the gateway information is not a whole number"},
      {"\"shards\":4", "\"shards\":65537", "from 1 to 65536"},
      {"\"shards\":4", "\"shards\":4294967297", "from 1 to 65536"},
      {"\"shards\":4", "\"shards\":1e300", "from 1 to 65536"},
      {"\"max_concurrency\":1", "\"max_concurrency\":1.5", "whole number"},
      {"\"total\":1000", "\"total\":999.5", "whole number"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    char text[512];
    const char *at = strstr(good, rows[i].field);
    assert_non_null(at);
    snprintf(text, sizeof text, "%.*s%s%s", (int)(at - good), good, rows[i].wrong, at + strlen(rows[i].field));
    expect_code(200, text, "bad_answer", rows[i].word);
  }
}

static void tls_is_not_left(void **state)
{
  (void)state;
  char rest[] = "https://discord.com/api/v10", own_rest[] = "http://127.0.0.1:8080", configured[] = "ws://a";
  struct tg_config config = {.rest.url = rest};
  struct tg_gateway_info info = {.url = "ws://gateway.discord.gg"};
  struct tg_error error = {0};
  assert_false(tg_gateway_info_trusted(&info, &config, &error));
  assert_string_equal(error.code, "bad_answer");
  assert_non_null(strstr(error.message, "gateway_bot.url (GATEWAY_URL)"));
  config.gateway_bot.url = configured; /* takes its place */
  assert_true(tg_gateway_info_trusted(&info, &config, &error));
  config = (struct tg_config){.rest.url = own_rest};
  assert_true(tg_gateway_info_trusted(&info, &config, &error));
  config.rest.url = rest;
  info = (struct tg_gateway_info){.url = "wss://gateway.discord.gg"};
  assert_true(tg_gateway_info_trusted(&info, &config, &error));
}

static void no_answer_may_be_tried_again(void **state)
{
  (void)state;
  struct tg_http_response response = {.status = 0, .retry_after = -1};
  struct tg_error error = {0};
  tg_ms retry_after;
  tg_fail(&response.error, "refused", "connection refused");
  assert_null(tg_gateway_info_judge(&response, url, &retry_after, &error));
  assert_string_equal(error.code, "unavailable");
  assert_non_null(strstr(error.message, "connection refused"));
}

static void numbers_of_scripts_are_taken(void **state)
{
  (void)state;
  struct tg_gateway_info info;
  struct tg_error error;
  json_t *json = json_pack("{s:s, s:f, s:{s:f, s:f, s:f, s:f}}", "url", "ws://127.0.0.1:1", "shards", 2.0,
                           "session_start_limit", "total", 1000.0, "remaining", 1200.0, "reset_after", 0.0,
                           "max_concurrency", 16.0);
  assert_true(tg_gateway_info_parse(json, &info, &error));
  json_decref(json);
  assert_int_equal(info.shards, 2);
  assert_int_equal(info.remaining, 1000); /* never more than the total */
}

static void the_configuration_wins_and_completes(void **state)
{
  (void)state;
  struct tg_config config = {0};
  char configured[] = "wss://configured";
  config.gateway_bot.url = configured;
  struct tg_gateway_info info = {.url = "wss://fetched", .shards = 3, .max_concurrency = 2, .total = 5};
  assert_false(tg_gateway_info_configured(&config)); /* GATEWAY_URL alone: the rest is fetched */
  tg_gateway_info_override(&info, &config);
  assert_string_equal(info.url, "wss://configured");
  assert_int_equal(info.shards, 3);

  info = (struct tg_gateway_info){0};
  assert_false(tg_gateway_info_complete(&info, 4)); /* no URL */
  info = (struct tg_gateway_info){0};
  tg_gateway_info_override(&info, &config);
  assert_false(tg_gateway_info_complete(&info, 0)); /* no number of shards */
  assert_true(tg_gateway_info_complete(&info, 4));
  assert_int_equal(info.shards, 4);
  assert_int_equal(info.max_concurrency, 1);
  assert_int_equal(info.remaining, 1000);

  config.gateway_bot.shards = 8;
  config.gateway_bot.max_concurrency = 16;
  assert_true(tg_gateway_info_configured(&config));
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_good_answer_is_taken),
      cmocka_unit_test(each_refusal_has_its_code),
      cmocka_unit_test(the_longer_wait_holds),
      cmocka_unit_test(a_refusal_is_waited_for),
      cmocka_unit_test(garbage_is_named),
      cmocka_unit_test(urls_and_counts_are_whole),
      cmocka_unit_test(tls_is_not_left),
      cmocka_unit_test(no_answer_may_be_tried_again),
      cmocka_unit_test(numbers_of_scripts_are_taken),
      cmocka_unit_test(the_configuration_wins_and_completes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
