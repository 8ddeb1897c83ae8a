/* Requests of HTTP/1.1 out of bytes, in whatever pieces they come. */

#include "net/request_reader.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Everything that comes out, as one text: "H" for a head that has a body, then
 * "method path?query name=value body;"; "!status" at the end of all. */
static char *read_all(const char *text, size_t length, size_t piece)
{
  struct tg_request_reader reader;
  struct tg_buf out = {0}, in = {0};
  enum tg_read_step step = TG_READ_MORE;
  tg_request_reader_init(&reader);
  for (size_t at = 0; at < length && step != TG_READ_FAILED; at += piece) {
    tg_buf_append(&in, text + at, length - at < piece ? length - at : piece);
    do {
      tg_buf_consume(&in, tg_request_read(&reader, in.data, in.length, &step));
      const struct tg_request *request = reader.request;
      if (step == TG_READ_HEAD)
        tg_buf_puts(&out, request->expects_continue ? "E" : "H");
      if (step == TG_READ_FAILED)
        tg_buf_printf(&out, "!%d", reader.status);
      if (step != TG_READ_DONE)
        continue;
      tg_buf_printf(&out, "%s %s?%s", request->method, request->path, request->query);
      for (int i = 0; i < request->header_count; i++)
        tg_buf_printf(&out, " %s=%s", request->headers[i].name, request->headers[i].value);
      tg_buf_printf(&out, " %s%s%s;", request->body.data, reader.keep_alive ? "" : " last",
                    reader.head_only ? " no body" : "");
      tg_request_free(reader.request);
      reader.request = NULL;
    } while (in.length > 0 && step != TG_READ_FAILED && step != TG_READ_MORE);
  }
  tg_request_reader_free(&reader);
  tg_buf_free(&in);
  return tg_buf_take(&out);
}

/* Whole, byte by byte, and cut in two at each place. */
static void expect(const char *text, const char *wanted)
{
  size_t length = strlen(text);
  for (size_t piece = 1; piece <= length; piece++) {
    char *got = read_all(text, length, piece);
    if (strcmp(got, wanted) != 0)
      print_error("in pieces of %zu bytes:\n", piece);
    assert_string_equal(got, wanted);
    free(got);
  }
}

static void plain(void **state)
{
  (void)state;
  expect("GET /shards HTTP/1.1\r\nHost: a\r\nX-Empty:\r\nX-Spaces:  b c \r\n\r\n",
         "GET /shards? Host=a X-Empty= X-Spaces=b c  ;");
  expect("GET / HTTP/1.1\r\n\r\n", "GET /? ;");
  expect("\r\nGET /a/b?c=d&e HTTP/1.1\r\nLast: \r\n\r\n", "GET /a/b?c=d&e Last= ;");
  expect("GET /? HTTP/1.0\r\n\r\n", "GET /?  last;");
  expect("HEAD /x HTTP/1.1\r\nConnection: close\r\n\r\n", "GET /x? Connection=close  last no body;");
  expect("DELETE /x HTTP/1.1\r\n\r\n", "DELETE /x? ;");
}

static void bodies(void **state)
{
  (void)state;
  expect("POST /p HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", "HPOST /p? Content-Length=5 hello;");
  expect("POST /p HTTP/1.1\r\nContent-Length: 0\r\n\r\n", "POST /p? Content-Length=0 ;");
  expect("POST /p HTTP/1.1\r\n\r\n", "POST /p? ;");
  expect("POST /p HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
         "3;ext=1\r\nhel\r\n002\r\nlo\r\n0\r\nTrailer: t\r\n\r\n",
         "HPOST /p? Transfer-Encoding=chunked hello;");
  expect("POST /p HTTP/1.1\r\nExpect: 100-Continue\r\nContent-Length: 2\r\n\r\n{}",
         "EPOST /p? Expect=100-Continue Content-Length=2 {};");
}

static void one_behind_the_other(void **state)
{
  (void)state;
  expect("POST /1 HTTP/1.1\r\nContent-Length: 1\r\n\r\nxGET /2 HTTP/1.1\r\nA: b\r\n\r\n"
         "POST /3 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nHEAD /4 HTTP/1.1\r\n\r\n"
         "GET /5 HTTP/1.1\r\n\r\n",
         "HPOST /1? Content-Length=1 x;GET /2? A=b ;HPOST /3? Transfer-Encoding=chunked ;"
         "GET /4?  no body;GET /5? ;");
}

static void an_upgrade_is_ignored(void **state)
{
  (void)state;
  expect("GET /1 HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nGET /2 HTTP/1.1\r\n\r\n",
         "GET /1? Connection=Upgrade Upgrade=websocket ;GET /2? ;");
  expect("CONNECT host:1 HTTP/1.1\r\n\r\n", "CONNECT host:1?  last;");
}

static void faults(void **state)
{
  (void)state;
  expect("hello\r\n\r\n", "!400");
  expect("GET /1 HTTP/1.1\r\n\r\nGET /2\r\n\r\n", "GET /1? ;!505");
  expect("GET / HTTP/2.0\r\n\r\n", "!505");
  expect("GET / HTTP/1.1\r\nExpect: x\r\n\r\n", "!417");
  expect("POST / HTTP/1.1\r\nContent-Length: 1048577\r\n\r\n", "!413");
  expect("POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "!400");
  expect("POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "!400");
  expect("POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", "!400");
  expect("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", "!400");
  expect("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n\r\n", "!400");
  expect("POST / HTTP/1.1\r\nTransfer-Encoding:\r\n\r\n", "!400");
  expect("POST / HTTP/1.1\r\nTransfer-Encodings: chunked\r\n\r\n", "!400");
  expect("POST / HTTP/1.1\r\nTransfer-Encoding:\r\nContent-Length: 1\r\n\r\n", "!400");
  expect("GET / HTTP/1.1\r\nHost: localhost\r\nhost: evil.example\r\n\r\n", "!400");
  expect("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", "H!400");
}

static void expect_large(struct tg_buf *text, const char *wanted)
{
  static const size_t pieces[] = {1 << 22, 4096, 65536};
  for (size_t i = 0; i < 3; i++) {
    char *got = read_all(text->data, text->length, pieces[i]);
    assert_string_equal(got, wanted);
    free(got);
  }
  tg_buf_free(text);
}

static void limits(void **state)
{
  (void)state;
  struct tg_buf text = {0};
  tg_buf_puts(&text, "GET / HTTP/1.1\r\n");
  for (int i = 0; i <= TG_REQUEST_HEADERS_MAX; i++)
    tg_buf_puts(&text, "A: b\r\n");
  expect_large(&text, "!431");
  tg_buf_puts(&text, "GET / HTTP/1.1\r\nLong: ");
  memset(tg_buf_reserve(&text, TG_REQUEST_HEAD_MAX), 'x', TG_REQUEST_HEAD_MAX);
  text.length += TG_REQUEST_HEAD_MAX;
  expect_large(&text, "!431");
  tg_buf_puts(&text, "GET /");
  memset(tg_buf_reserve(&text, TG_REQUEST_HEAD_MAX), 'x', TG_REQUEST_HEAD_MAX);
  text.length += TG_REQUEST_HEAD_MAX;
  expect_large(&text, "!431");
  tg_buf_puts(&text, "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n");
  for (int i = 0; i < 17; i++) {
    tg_buf_puts(&text, "10000\r\n");
    memset(tg_buf_reserve(&text, 65536), ' ', 65536);
    text.length += 65536;
    tg_buf_puts(&text, "\r\n");
  }
  expect_large(&text, "H!413");
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(plain),
      cmocka_unit_test(bodies),
      cmocka_unit_test(one_behind_the_other),
      cmocka_unit_test(an_upgrade_is_ignored),
      cmocka_unit_test(faults),
      cmocka_unit_test(limits),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
