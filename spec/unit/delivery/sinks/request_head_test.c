/* The lines above a request's body, and its signature. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "delivery/sinks/request_head.h"

#include <stdio.h>
#include <string.h>

/* The standard's own example, and a second key. */
#define FIRST "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
#define SECOND "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

static char token[] = "t-o-k", authorization[] = "Bearer a";

static struct tg_strings secrets(const char *const *items, int count)
{
  return (struct tg_strings){(char **)items, count};
}

static struct tg_span text(const char *of)
{
  return (struct tg_span){of, strlen(of)};
}

static void signs_as_the_standard_does(void **state)
{
  (void)state;
  static const char *const both[] = {FIRST, SECOND};
  struct tg_signing_keys keys = {.count = 0};
  struct tg_strings of = secrets(both, 1);
  char signature[TG_SIGNATURE_MAX], second[TG_SIGNATURE_MAX];
  tg_signing_keys_read(&keys, &of);
  tg_sign(&keys, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", text("{\"test\": 2432232314}"), signature);
  assert_string_equal(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
  of = secrets(both + 1, 1);
  tg_signing_keys_read(&keys, &of);
  tg_sign(&keys, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", text("{\"test\": 2432232314}"), second);
  of = secrets(both, 2);
  tg_signing_keys_read(&keys, &of);
  char expected[2 * TG_SIGNATURE_MAX];
  snprintf(expected, sizeof expected, "%s %s", signature, second);
  tg_sign(&keys, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", text("{\"test\": 2432232314}"), signature);
  assert_string_equal(signature, expected);
  assert_int_equal(strlen(signature), 2 * 47 + 1);
  of = secrets(both, 0);
  tg_signing_keys_read(&keys, &of);
  tg_sign(&keys, "a", "1", text(""), signature);
  assert_string_equal(signature, "");
}

static struct tg_request_head head;
static struct tg_usual_headers usual;

static void write_head(const struct tg_config *config, enum tg_event_format format, bool batch)
{
  struct tg_parcel parcel = {.shard_id = 3,
                             .epoch = 7,
                             .first = {42, true, 0},
                             .last = {49, false, 0},
                             .batch = batch,
                             .format = format};
  tg_usual_headers_read(&usual, &config->event_handler, config->token);
  tg_request_head_write(&head, &usual, &parcel, text("{}"));
}

static void assert_line(int index, const char *expected)
{
  assert_string_equal(head.lines[index], expected);
}

static void usual_lines(void **state)
{
  (void)state;
  struct tg_config config = {.token = token};
  write_head(&config, TG_FORMAT_SEED, false);
  assert_line(0, "Content-Type: application/json");
  assert_line(1, "Idempotency-Key: 3.7.gap-42-49");
  assert_null(head.lines[2]);
  config.event_handler.authorization = authorization;
  config.event_handler.headers = json_pack("{s:s, s:s}", "X-A", "1", "X-B", "2");
  config.event_handler.format = TG_FORMAT_CHAT_SDK;
  write_head(&config, TG_FORMAT_CHAT_SDK, false);
  assert_line(2, "Authorization: Bearer a");
  assert_line(3, "X-A: 1");
  assert_line(4, "X-B: 2");
  assert_line(5, "x-discord-gateway-token: t-o-k");
  assert_null(head.lines[6]);
  /* A parcel that was begun in another format before a reload does not carry the token. */
  write_head(&config, TG_FORMAT_CLOUDEVENTS, true);
  assert_line(0, "Content-Type: application/cloudevents-batch+json");
  assert_null(head.lines[5]);
  json_decref(config.event_handler.headers);
  tg_usual_headers_free(&usual);
  assert_int_equal(usual.lines.count, 0);
}

static void all_lines_at_once(void **state)
{
  (void)state;
  static const char *const both[] = {FIRST, SECOND};
  struct tg_config config = {.token = token};
  config.event_handler.authorization = authorization;
  config.event_handler.format = TG_FORMAT_CHAT_SDK;
  config.event_handler.headers = json_object();
  config.event_handler.signing_secrets = secrets(both, 2);
  for (int i = 0; i < TG_HANDLER_HEADERS_MAX; i++) {
    char name[16];
    snprintf(name, sizeof name, "X-%d", i);
    json_object_set_new(config.event_handler.headers, name, json_string("a"));
  }
  write_head(&config, TG_FORMAT_CHAT_SDK, false);
  assert_int_equal(head.line_count, TG_HEAD_LINES_MAX - 1);
  assert_line(head.line_count - 3, "webhook-id: 3_7_gap-42-49");
  long long timestamp = 0;
  assert_int_equal(sscanf(head.lines[head.line_count - 2], "webhook-timestamp: %lld", &timestamp), 1);
  assert_in_range(timestamp, tg_wall_clock() / 1000 - 60, tg_wall_clock() / 1000 + 1);
  assert_int_equal(strlen(head.lines[head.line_count - 1]), strlen("webhook-signature: ") + 95);
  json_decref(config.event_handler.headers);
  tg_usual_headers_free(&usual);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(signs_as_the_standard_does),
      cmocka_unit_test(usual_lines),
      cmocka_unit_test(all_lines_at_once),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
