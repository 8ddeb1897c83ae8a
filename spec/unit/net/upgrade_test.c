#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "net/upgrade.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct tg_gateway_url sample_url(void)
{
  struct tg_gateway_url url = {.tls = true};
  strcpy(url.host, "gateway.example");
  strcpy(url.port, "443");
  strcpy(url.target, "/?v=10&encoding=json");
  return url;
}

static void begin(struct tg_upgrade *upgrade)
{
  struct tg_gateway_url url = sample_url();
  struct tg_buf request = {0};
  tg_upgrade_request(upgrade, &url, &request);
  tg_buf_free(&request);
}

static void answer_of(struct tg_upgrade *upgrade, const char *accept, char *text, size_t size)
{
  snprintf(text, size,
           "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
           "Sec-WebSocket-Accept: %s\r\n\r\n",
           accept ? accept : upgrade->accept);
}

static void writes_a_complete_request(void **state)
{
  (void)state;
  struct tg_gateway_url url = sample_url();
  struct tg_upgrade upgrade;
  struct tg_buf request = {0};
  tg_upgrade_request(&upgrade, &url, &request);
  char *text = tg_buf_take(&request);
  assert_non_null(strstr(text, "GET /?v=10&encoding=json HTTP/1.1\r\nHost: gateway.example\r\n"));
  assert_non_null(strstr(text, "Sec-WebSocket-Version: 13\r\n"));
  assert_null(strstr(text, "Sec-WebSocket-Extensions"));
  assert_null(strstr(text, "Authorization"));
  assert_non_null(strstr(text, "\r\n\r\n"));
  free(text);
}

static void accepts_the_right_proof_and_leaves_the_first_frame(void **state)
{
  (void)state;
  struct tg_upgrade upgrade;
  begin(&upgrade);
  char text[512];
  answer_of(&upgrade, NULL, text, sizeof text);
  size_t head = strlen(text);
  strcat(text, "\x82\x02hi");
  assert_int_equal(tg_upgrade_feed(&upgrade, text, head + 4), head);
  assert_true(tg_upgrade_done(&upgrade));
}

static void accepts_it_byte_by_byte(void **state)
{
  (void)state;
  struct tg_upgrade upgrade;
  begin(&upgrade);
  char text[512];
  answer_of(&upgrade, NULL, text, sizeof text);
  for (size_t i = 0; text[i]; i++) {
    assert_false(upgrade.complete);
    assert_int_equal(tg_upgrade_feed(&upgrade, text + i, 1), 1);
  }
  assert_true(tg_upgrade_done(&upgrade));
}

static void refuses_a_wrong_proof(void **state)
{
  (void)state;
  struct tg_upgrade upgrade;
  begin(&upgrade);
  char text[512];
  answer_of(&upgrade, "AAAAAAAAAAAAAAAAAAAAAAAAAAA=", text, sizeof text);
  tg_upgrade_feed(&upgrade, text, strlen(text));
  assert_true(upgrade.complete);
  assert_false(tg_upgrade_done(&upgrade));
}

static void reads_status_and_retry_after_of_a_refusal(void **state)
{
  (void)state;
  struct tg_upgrade upgrade;
  begin(&upgrade);
  const char text[] = "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 2.5\r\nContent-Length: 3\r\n\r\nno!";
  assert_true(tg_upgrade_feed(&upgrade, text, strlen(text)) > 0);
  assert_false(tg_upgrade_done(&upgrade));
  assert_int_equal(upgrade.status, 429);
  assert_int_equal(upgrade.retry_after, 2500);
}

/* However our own clock is set. */
static void reads_a_date_by_the_clock_of_whoever_sends_it(void **state)
{
  (void)state;
  static const char *const headers[] = {
      "Date: Fri, 06 Mar 2026 10:00:00 GMT\r\nRetry-After: Fri, 06 Mar 2026 10:00:07 GMT\r\n",
      "Retry-After: Fri, 06 Mar 2026 10:00:07 GMT\r\nDate: Fri, 06 Mar 2026 10:00:00 GMT\r\n",
  };
  for (size_t i = 0; i < 2; i++) {
    struct tg_upgrade upgrade;
    char text[300];
    begin(&upgrade);
    snprintf(text, sizeof text, "HTTP/1.1 503 Service Unavailable\r\n%s\r\n", headers[i]);
    assert_true(tg_upgrade_feed(&upgrade, text, strlen(text)) > 0);
    assert_int_equal(upgrade.retry_after, 7000);
  }
}

static void bounds_retry_after(void **state)
{
  (void)state;
  static const struct {
    const char *text;
    tg_ms expected;
  } rows[] = {{"0", 0}, {"3600", 3600000}, {"86400", 3600000}, {"9e999", -1}, {"99999999999999999999", 3600000},
              {"-5", -1}, {"Wed, 21 Oct 2015 07:28:00 GMT", 0}, {"Wed, 21 Oct 2099 07:28:00 GMT", 3600000},
              {"", -1}};
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    struct tg_upgrade upgrade;
    begin(&upgrade);
    char text[200];
    snprintf(text, sizeof text, "HTTP/1.1 429 Too Many Requests\r\nRetry-After: %s\r\n\r\n", rows[i].text);
    tg_upgrade_feed(&upgrade, text, strlen(text));
    assert_int_equal(upgrade.retry_after, rows[i].expected);
  }
}

static void refuses_what_is_not_http(void **state)
{
  (void)state;
  struct tg_upgrade upgrade;
  begin(&upgrade);
  assert_int_equal(tg_upgrade_feed(&upgrade, "SSH-2.0-OpenSSH\r\n", 17), -1);
  static const char nul[] = "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\0000000\r\n\r\n";
  begin(&upgrade);
  assert_int_equal(tg_upgrade_feed(&upgrade, nul, sizeof nul - 1), -1);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(writes_a_complete_request),
      cmocka_unit_test(accepts_the_right_proof_and_leaves_the_first_frame),
      cmocka_unit_test(accepts_it_byte_by_byte),
      cmocka_unit_test(refuses_a_wrong_proof),
      cmocka_unit_test(reads_status_and_retry_after_of_a_refusal),
      cmocka_unit_test(reads_a_date_by_the_clock_of_whoever_sends_it),
      cmocka_unit_test(bounds_retry_after),
      cmocka_unit_test(refuses_what_is_not_http),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
