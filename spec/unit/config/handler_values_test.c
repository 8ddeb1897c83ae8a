/* Headers that the configuration adds to requests, and secrets that sign them. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "config/config.h"
#include "config/handler_values.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *variable; /* EVENT_HANDLER_HEADERS; NULL: unset */

static const char *look_up(const char *name)
{
  return strcmp(name, "EVENT_HANDLER_HEADERS") == 0 ? variable : NULL;
}

/* What loading with event_handler = {...} says first; NULL: nothing is wrong, and `headers` is as JSON.
 * The caller frees both. */
static char *load(const char *handler, char **headers)
{
  char text[2048];
  snprintf(text, sizeof text, "{\"token\":\"t\",\"intents\":1,\"event_handler\":{%s}}", handler);
  json_t *given = json_loads(text, JSON_ALLOW_NUL, NULL);
  assert_non_null(given);
  struct tg_config config;
  struct tg_problems problems;
  char *said = NULL;
  if (tg_config_load(given, look_up, &config, &problems)) {
    if (headers)
      *headers = config.event_handler.headers ? json_dumps(config.event_handler.headers, JSON_COMPACT) : NULL;
    tg_config_free(&config);
  } else {
    said = strdup(problems.items[0]);
    tg_problems_free(&problems);
  }
  json_decref(given);
  return said;
}

static void assert_taken(const char *handler, const char *expected)
{
  char *headers = NULL, *said = load(handler, &headers);
  if (said)
    fail_msg("%s: %s", handler, said);
  if (expected)
    assert_string_equal(headers, expected);
  else
    assert_null(headers);
  free(headers);
}

static void assert_refused(const char *handler, const char *start)
{
  char *said = load(handler, NULL);
  if (!said || strncmp(said, start, strlen(start)) != 0)
    fail_msg("%s: %s, instead of %s", handler, said ? said : "is taken", start);
  free(said);
}

static void good_headers(void **state)
{
  (void)state;
  variable = NULL;
  assert_taken("\"headers\":{\"X-Api-Key\":\"a b\",\"x_2.~\":\"\\u00e9\\t!\"}",
               "{\"X-Api-Key\":\"a b\",\"x_2.~\":\"\u00e9\\t!\"}");
  assert_taken("\"headers\":{}", NULL);
  assert_taken("\"headers\":[]", NULL); /* an empty table of a script */
  variable = "X-One: 1\nX-Two:  two : and more \r\n\n";
  assert_taken("", "{\"X-One\":\"1\",\"X-Two\":\"two : and more\"}");
  assert_taken("\"headers\":{\"X-Three\":\"3\"}", "{\"X-Three\":\"3\"}"); /* what the script says wins */
}

static void bad_headers_are_named(void **state)
{
  (void)state;
  static const struct {
    const char *headers, *said;
  } rows[] = {
      {"\"a\"", "event_handler.headers: expected a table"},
      {"[\"X: a\"]", "event_handler.headers: expected a table"},
      {"{\"\":\"a\"}", "event_handler.headers[\"\"]: a header needs a name"},
      {"{\"X Key\":\"a\"}", "event_handler.headers[\"X Key\"]: is no name"},
      {"{\"X:\":\"a\"}", "event_handler.headers[\"X:\"]: is no name"},
      {"{\"X\\r\\nY\":\"a\"}", "event_handler.headers[\"X??Y\"]: is no name"},
      {"{\"X\":5}", "event_handler.headers[\"X\"]: expected a string"},
      {"{\"X\":\"\"}", "event_handler.headers[\"X\"]: is empty"},
      {"{\"X\":\" \"}", "event_handler.headers[\"X\"]: is empty"},
      {"{\"X\":\"a\\nY: b\"}", "event_handler.headers[\"X\"]: must not contain line breaks"},
      {"{\"X\":\"a\\r\"}", "event_handler.headers[\"X\"]: must not contain line breaks"},
      {"{\"X\":\"a\\u0000b\"}", "event_handler.headers[\"X\"]: must not contain a NUL byte"},
      {"{\"X\":\"a \"}", "event_handler.headers[\"X\"]: must not begin or end"},
      {"{\"X\":\"a\",\"x\":\"b\"}", "event_handler.headers[\"x\"]: is there twice"},
      {"{\"authorization\":\"a\"}", "event_handler.headers[\"authorization\"]: is what authorization beside"},
      {"{\"Content-Length\":\"5\"}", "event_handler.headers[\"Content-Length\"]: is set by the gateway"},
      {"{\"idempotency-key\":\"5\"}", "event_handler.headers[\"idempotency-key\"]: is set by the gateway"},
      {"{\"HOST\":\"a\"}", "event_handler.headers[\"HOST\"]: is set by the gateway"},
      {"{\"Webhook-Id\":\"a\"}", "event_handler.headers[\"Webhook-Id\"]: is set by the gateway"},
      {"{\"Transfer-Encoding\":\"chunked\"}",
       "event_handler.headers[\"Transfer-Encoding\"]: belongs to the conn"},
      {"{\"TE\":\"a\"}", "event_handler.headers[\"TE\"]: belongs to the connection"},
      {"{\"X\":{\"file\":\"/nowhere/at/all\"}}", "event_handler.headers[\"X\"]: cannot read /nowhere/at/all"},
      {"{\"X\":{\"path\":\"/x\"}}", "event_handler.headers[\"X\"]: expected a string, or {"},
      {"{\"X\":{\"file\":\"/x\",\"more\":1}}", "event_handler.headers[\"X\"]: expected a string, or {"},
  };
  variable = NULL;
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    char handler[256];
    snprintf(handler, sizeof handler, "\"headers\":%s", rows[i].headers);
    assert_refused(handler, rows[i].said);
  }
  variable = "X-One: 1\nTrailer: a";
  assert_refused("",
                 "event_handler.headers[\"Trailer\"] (environment variable EVENT_HANDLER_HEADERS): belongs");
  variable = "X-One: 1\nno header";
  assert_refused("", "event_handler.headers[2] (environment variable EVENT_HANDLER_HEADERS): expected lines");
}

static void too_many_headers_are_refused(void **state)
{
  (void)state;
  char handler[1024] = "\"headers\":{";
  size_t length = strlen(handler);
  for (int i = 0; i < TG_HANDLER_HEADERS_MAX; i++)
    length += (size_t)sprintf(handler + length, "%s\"X%d\":\"a\"", i ? "," : "", i);
  variable = NULL;
  strcpy(handler + length, "}");
  free(load(handler, NULL));
  strcpy(handler + length, ",\"Y\":\"a\"}");
  assert_refused(handler, "event_handler.headers[\"Y\"]: is one too many");
}

static void a_value_may_stand_in_a_file(void **state)
{
  (void)state;
  char path[] = "/tmp/tidegate-header-XXXXXX", handler[256];
  int fd = mkstemp(path);
  assert_int_equal(write(fd, "from a file\n", 12), 12);
  variable = NULL;
  snprintf(handler, sizeof handler, "\"headers\":{\"X-Key\":{\"file\":\"%s\"}}", path);
  assert_taken(handler, "{\"X-Key\":\"from a file\"}");
  assert_int_equal(write(fd, "X-Evil: 1\n", 10), 10);
  assert_refused(handler, "event_handler.headers[\"X-Key\"]: must not contain line breaks");
  close(fd);
  unlink(path);
}

static void words_are_no_secrets(void **state)
{
  (void)state;
  json_t *headers = json_pack("{s:s, s:s, s:s, s:s}", "X-Environment", "production", "X-Api-Key", "short",
                              "Cookie", "a=b", "X-Other", "seventeen letters");
  struct tg_strings secrets = {0};
  tg_header_secrets(&headers, &secrets);
  assert_int_equal(secrets.count, 3);
  for (int i = 0; i < secrets.count; i++)
    assert_string_not_equal(secrets.items[i], "production");
  tg_strings_free(&secrets);
  json_decref(headers);
  headers = NULL;
  tg_header_secrets(&headers, &secrets);
  assert_int_equal(secrets.count, 0);
}

static void secrets_that_sign(void **state)
{
  (void)state;
  unsigned char key[TG_SIGNING_KEY_MAX];
  assert_int_equal(tg_signing_key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", key), 24);
  assert_int_equal(key[0], 0x31);
  assert_int_equal(key[23], 0xb0);
  assert_int_equal(tg_signing_key("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", key), 24);
  assert_int_equal(tg_signing_key("whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBk=", key), 26);
  assert_int_equal(tg_signing_key("whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBk", key), 26);
  static const char *const bad[] = {"",
                                    "whsec_",
                                    "whsec_dG9vIHNob3J0",
                                    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLa_w",
                                    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwA",
                                    "whsk_AAECAwQFBgcICQoLDA0ODxAR"};
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
    assert_int_equal(tg_signing_key(bad[i], key), -1);
  char long_one[200] = "whsec_";
  memset(long_one + 6, 'A', 88); /* 66 bytes */
  assert_int_equal(tg_signing_key(long_one, key), -1);
  memset(long_one + 6, 'A', 180);
  assert_int_equal(tg_signing_key(long_one, key), -1);
}

#define SECRET "\"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\""

static void what_does_not_go_together(void **state)
{
  (void)state;
  variable = NULL;
  assert_taken("\"signing_secrets\":[" SECRET "," SECRET "]", NULL);
  assert_refused("\"signing_secrets\":[" SECRET "," SECRET "," SECRET "]",
                 "event_handler.signing_secrets: has 3 secrets");
  assert_refused("\"format\":\"chat-sdk\",\"batch\":true", "event_handler.batch: must be false with");
  assert_taken("\"format\":\"cloudevents\",\"batch\":true", NULL);
  assert_taken("\"order\":\"guild\",\"batch\":{\"events\":8}", NULL);
  assert_refused("\"order\":\"guild\",\"batch\":{\"linger\":8}",
                 "event_handler.batch.linger: must be 0 with event_handler.order \"guild\"");
  assert_refused("\"events\":[]", "event_handler.events: names no event");
  assert_refused("\"events\":[\"all\",\"READY\"]", "event_handler.events: has \"all\" and other names");
  assert_refused("\"events\":[\"MESAGE_CREATE\"]",
                 "event_handler.events[1]: there is no \"MESAGE_CREATE\"; did you mean MESSAGE_CREATE?");
}

static void the_bots_id_is_in_its_token(void **state)
{
  (void)state;
  static const struct {
    const char *token, *id;
  } rows[] = {
      {"MTIzNDU2Nzg5MDEyMzQ1Njc4.Gabcde.xyz", "123456789012345678"},
      {"MTIzNDU2Nzg5MDEyMzQ1Njc4OQ.Gabcde.xyz", "1234567890123456789"},
      {"MTIzNDU2Nzg5MDEyMzQ1Njc4OQ==.Gabcde.xyz", "1234567890123456789"},
      {"fake-token", ""},
      {"bm8gZGlnaXRz.a.b", ""}, /* no digits */
      {".a.b", ""},
      {"MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5.a.b", ""},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    struct tg_config config = {.token = (char *)rows[i].token};
    char id[TG_BOT_ID_SIZE];
    tg_config_bot_id(&config, id);
    assert_string_equal(id, rows[i].id);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(good_headers),
      cmocka_unit_test(bad_headers_are_named),
      cmocka_unit_test(too_many_headers_are_refused),
      cmocka_unit_test(a_value_may_stand_in_a_file),
      cmocka_unit_test(words_are_no_secrets),
      cmocka_unit_test(secrets_that_sign),
      cmocka_unit_test(what_does_not_go_together),
      cmocka_unit_test(the_bots_id_is_in_its_token),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
