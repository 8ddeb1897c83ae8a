/* What is HTTP/1 and what is not: the same with either library behind it. */

#include "net/http_syntax.h"

#include "base/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* What comes out, as one text: "target|name=value|name=value|" for a head, then what read_all() adds. */
struct seen {
  struct tg_buf text;
  char before; /* 'n'ame or 'v'alue */
};

static bool add(struct seen *seen, char kind, const char *at, size_t length)
{
  if (kind != seen->before)
    tg_buf_puts(&seen->text, kind == 'n' ? "|" : kind == 'v' ? "=" : "");
  seen->before = kind;
  tg_buf_append(&seen->text, at, length);
  return true;
}

static bool on_begin(void *ctx)
{
  struct seen *seen = ctx;
  seen->before = 0;
  return true;
}

static bool on_target(void *ctx, const char *at, size_t length)
{
  return add(ctx, 't', at, length);
}

static bool on_name(void *ctx, const char *at, size_t length)
{
  return add(ctx, 'n', at, length);
}

static bool on_value(void *ctx, const char *at, size_t length)
{
  return add(ctx, 'v', at, length);
}

static bool on_body(void *ctx, const char *at, size_t length)
{
  return add(ctx, 'b', at, length);
}

static const struct tg_http_syntax_callbacks callbacks = {on_begin, on_target, on_name, on_value, on_body};

static void head(const struct tg_http_syntax *syntax, struct tg_buf *text)
{
  if (syntax->type == TG_HTTP_RESPONSE)
    tg_buf_printf(text, " %d", syntax->status);
  else
    tg_buf_printf(text, " %s %d.%d%s%s", syntax->method, syntax->major, syntax->minor,
                  syntax->keep_alive ? "" : " last", syntax->upgrade ? " upgrade" : "");
}

/* Each message ends with ";", a fault with its status and words. What is behind a response is shown in <>. */
static char *read_all(enum tg_http_type type, const char *bytes, size_t length, size_t piece)
{
  struct tg_http_syntax syntax;
  struct seen seen = {0};
  enum tg_http_step step = TG_HTTP_MORE;
  tg_http_syntax_init(&syntax, type, &callbacks, &seen);
  for (size_t at = 0, end = 0; at < length && step != TG_HTTP_FAULT;) {
    if (at == end)
      end = length - at < piece ? length : at + piece;
    bool headed = syntax.headed && !syntax.over;
    at += tg_http_syntax_read(&syntax, bytes + at, end - at, &step);
    if (step == TG_HTTP_MORE)
      assert_int_equal(at, end);
    if (step == TG_HTTP_HEAD || (step == TG_HTTP_END && !headed))
      head(&syntax, &seen.text);
    if (step == TG_HTTP_HEAD)
      tg_buf_puts(&seen.text, " ");
    if (step == TG_HTTP_END)
      tg_buf_puts(&seen.text, ";");
    if (step == TG_HTTP_FAULT) {
      tg_buf_reset(&seen.text, 0);
      tg_buf_printf(&seen.text, "%d %s", syntax.status, syntax.problem);
    }
    if (step == TG_HTTP_END && type == TG_HTTP_RESPONSE) {
      tg_buf_printf(&seen.text, "<%.*s>", (int)(length - at), bytes + at);
      break;
    }
  }
  return tg_buf_take(&seen.text);
}

struct row {
  const char *bytes, *wanted;
};

/* Whole, byte by byte, and in pieces of each size. */
static void expect(enum tg_http_type type, const struct row *rows, size_t count)
{
  for (size_t i = 0; i < count; i++) {
    size_t length = strlen(rows[i].bytes);
    for (size_t piece = length; piece > 0; piece--) {
      char *got = read_all(type, rows[i].bytes, length, piece);
      if (strcmp(got, rows[i].wanted) != 0)
        print_error("row %zu in pieces of %zu bytes: %s\n", i, piece, rows[i].bytes);
      assert_string_equal(got, rows[i].wanted);
      free(got);
    }
  }
}

#define EXPECT(type, rows) expect(type, rows, sizeof rows / sizeof rows[0])

static const char method[] = "400 invalid HTTP method", url[] = "400 invalid URL",
                  header[] = "400 invalid header", version[] = "505 only HTTP/1.1 is spoken here",
                  chunk[] = "400 invalid chunk", size[] = "400 invalid Content-Length or Transfer-Encoding",
                  status[] = "400 invalid status line", line[] = "400 invalid end of line";

static void requests(void **state)
{
  (void)state;
  static const struct row rows[] = {
      {"GET / HTTP/1.1\r\n\r\n", "/ GET 1.1;"},
      {"GET /a?b=%20#c HTTP/1.1\r\nA: b\r\nC:\t d e \r\nE:\r\n\r\n", "/a?b=%20#c|A=b|C=d e |E= GET 1.1;"},
      {"\r\n\r\nHEAD  /  HTTP/1.0\r\n\r\n", "/ HEAD 1.0 last;"},
      {"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "/|Connection=keep-alive GET 1.0;"},
      {"GET / HTTP/1.1\r\nConnection: x, Close\r\n\r\nGET /2 HTTP/1.1\r\n\r\n",
       "/|Connection=x, Close GET 1.1 last;/2 GET 1.1;"},
      {"GET http://[::1]:80/a HTTP/1.1\r\n\r\n", "http://[::1]:80/a GET 1.1;"},
      {"OPTIONS * HTTP/1.1\r\n\r\n", "* OPTIONS 1.1;"},
      {"PROPFIND / HTTP/1.1\r\n\r\n", "/ PROPFIND 1.1;"},
      {"CONNECT a:1 HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n", "a:1 CONNECT 1.1 upgrade;/ GET 1.1;"},
      {"GET / HTTP/1.1\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
       "/|Upgrade=x|Connection=Upgrade GET 1.1 upgrade;"},
      {"GET / HTTP/1.1\r\nUpgrade: x\r\n\r\n", "/|Upgrade=x GET 1.1;"},
      {"GET / HTTP/1.1\r\nN\xc3\xa4: b\r\n\r\n", header},
      {"GET / HTTP/1.1\r\nN: \xc3\xa4\r\n\r\n", "/|N=\xc3\xa4 GET 1.1;"},
      {"GET / HTTP/2.0\r\n\r\n", "/ GET 2.0 last;"},
      {"GET / HTTP/1.2\r\n\r\n", "/ GET 1.2;"},
  };
  EXPECT(TG_HTTP_REQUEST, rows);
}

static void bodies(void **state)
{
  (void)state;
  static const struct row rows[] = {
      {"PUT / HTTP/1.1\r\nContent-Length: 3 \r\n\r\na\r\nPUT / HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
       "/|Content-Length=3  PUT 1.1 a\r\n;/|Content-Length=0 PUT 1.1;"},
      {"PUT / HTTP/1.1\r\nContent-Length: 1\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nbPUT /2 "
       "HTTP/1.1\r\n\r\n",
       "/|Content-Length=1|Upgrade=x|Connection=upgrade PUT 1.1 upgrade b;/2 PUT 1.1;"},
      {"PUT / HTTP/1.1\r\nTransfer-Encoding: "
       "Chunked\r\n\r\n1\r\na\r\n0C;x=\"y;\";;=\r\n\r\n34567890\n\r\r\n000\r\n"
       "Content-Length: 7\r\nTransfer-Encoding: x\r\n\r\nPUT /2 HTTP/1.1\r\n\r\n",
       "/|Transfer-Encoding=Chunked PUT 1.1 a\r\n34567890\n\r;/2 PUT 1.1;"},
      {"PUT / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", size},
      {"PUT / HTTP/1.1\r\nContent-Length: 1\r\ntransfer-encoding: chunked\r\n\r\n", size},
      {"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n", size},
      {"PUT / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", size},
      {"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked, gzip\r\n\r\n", size},
      {"PUT / HTTP/1.1\r\nContent-Length: +1\r\n\r\n", size},
      {"PUT / HTTP/1.1\r\nContent-Length: 1, 1\r\n\r\n", size},
      {"PUT / HTTP/1.1\r\nContent-Length: 1 1\r\n\r\n", size},
      {"PUT / HTTP/1.1\r\nContent-Length:\r\n\r\n", size},
      {"PUT / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n", size},
  };
  EXPECT(TG_HTTP_REQUEST, rows);
  static const struct row chunks[] = {
      {"\r\n", chunk},
      {"x\r\n", chunk},
      {"-1\r\n", chunk},
      {" 1\r\n", chunk},
      {"1 \r\n", chunk},
      {"1 ;a\r\n", chunk},
      {"0x1\r\n", chunk},
      {";a\r\n", chunk},
      {"1;\x01\r\n", chunk},
      {"1;a\n", line},
      {"1\na\r\n", line},
      {"1;a\rb\r\n", line},
      {"1\r\nab\r\n", chunk},
      {"1\r\na\n", line},
      {"1\r\na\rb", line},
      {"0\r\n \r\n", chunk},
      {"0\r\nA: \x01\r\n", chunk},
      {"0\r\nA: b\n", line},
      {"0\r\nA: b\r\n c: d\r\n", chunk},
      {"fffffffffffffffff\r\n", chunk},
  };
  for (size_t i = 0; i < sizeof chunks / sizeof chunks[0]; i++) {
    struct tg_buf text = {0};
    tg_buf_printf(&text, "PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n%s", chunks[i].bytes);
    char *bytes = tg_buf_take(&text);
    const struct row row[] = {{bytes, chunks[i].wanted}};
    EXPECT(TG_HTTP_REQUEST, row);
    free(bytes);
  }
}

/* What a lax reader would take, and another one reads in another way. */
static void faults(void **state)
{
  (void)state;
  static const struct row rows[] = {
      {"GET / HTTP/1.1\n\n", line},
      {"GET / HTTP/1.1\r\nA: b\nC: d\r\n\r\n", line},
      {"GET / HTTP/1.1\r\nA: b\r\n\n", line},
      {"GET / HTTP/1.1\r\nA: b\r\n\rGET", line},
      {"GET / HTTP/1.1\r\nA: b\rC: d\r\n\r\n", line},
      {"GET / HTTP/1.1\rA: b\r\n\r\n", line},
      {"\nGET / HTTP/1.1\r\n\r\n", line},
      {"GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n", header},
      {"GET / HTTP/1.1\r\nA:\r\n\tb\r\n\r\n", header},
      {"GET / HTTP/1.1\r\n A: b\r\n\r\n", header},
      {"GET / HTTP/1.1\r\nA : b\r\n\r\n", header},
      {"GET / HTTP/1.1\r\nContent-Length : 1\r\n\r\n", header},
      {"GET / HTTP/1.1\r\nA b: c\r\n\r\n", header},
      {"GET / HTTP/1.1\r\nA\r\n\r\n", header},
      {"GET / HTTP/1.1\r\n: b\r\n\r\n", header},
      {"GET / HTTP/1.1\r\nA: \x01\r\n\r\n", header},
      {"GET / HTTP/1.1\r\nA: b\x7f\r\n\r\n", header},
      {"get / HTTP/1.1\r\n\r\n", method},
      {"GETS / HTTP/1.1\r\n\r\n", method},
      {" GET / HTTP/1.1\r\n\r\n", method},
      {"GET\t/ HTTP/1.1\r\n\r\n", method},
      {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", method},
      {"PLAY rtsp://a/ RTSP/1.0\r\n\r\n", method},
      {"QUERY / HTTP/1.1\r\n\r\n", method},
      {"GET a HTTP/1.1\r\n\r\n", url},
      {"GET /\xc3\xa4 HTTP/1.1\r\n\r\n", url},
      {"GET /\t HTTP/1.1\r\n\r\n", url},
      {"GET / HTTX/1.1\r\n\r\n", version},
      {"GET / XTTP/1.1\r\n\r\n", version},
      {"GET / HTTP/1.1 \r\n\r\n", version},
      {"GET / HTTP/1.11\r\n\r\n", version},
      {"GET / HTTP/a.1\r\n\r\n", version},
      {"GET /\r\n\r\n", version},
      {"OPTIONS * RTSP/1.0\r\n\r\n", version},
      {"SOURCE / ICE/1.0\r\n\r\n", version},
  };
  EXPECT(TG_HTTP_REQUEST, rows);
  static const char nul[] = "GET / HTTP/1.1\r\nA: b\0c\r\n\r\n";
  char *got = read_all(TG_HTTP_REQUEST, nul, sizeof nul - 1, sizeof nul);
  assert_string_equal(got, header);
  free(got);
}

static void responses(void **state)
{
  (void)state;
  static const struct row rows[] = {
      {"HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 5\r\n\r\nhello", "|A=b|Content-Length=5 200;<hello>"},
      {"HTTP/1.0 200\r\n\r\n\r\n", " 200;<\r\n>"},
      {"HTTP/1.1 407 \r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
       "|Transfer-Encoding=chunked 407;<0\r\n\r\n>"},
      {"HTTP/1.1 101 a b\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n\x81",
       "|Upgrade=x|Connection=Upgrade 101;<\x81>"},
      {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", " 100;<HTTP/1.1 200 OK\r\n\r\n>"},
      {"HTTP/1.1 20 OK\r\n\r\n", status},
      {"HTTP/1.1 2000 OK\r\n\r\n", status},
      {"HTTP/1.1 200OK\r\n\r\n", status},
      {"HTTP/1.1 200 OK\n\r\n", line},
      {"HTTP/1.1 200 OK\r\rA: b\r\n\r\n", line},
      {"SSH-2.0-OpenSSH\r\n", status},
      {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", size},
      {"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", header},
  };
  EXPECT(TG_HTTP_RESPONSE, rows);
}

static bool refuse(void *ctx, const char *at, size_t length)
{
  (void)ctx, (void)at, (void)length;
  return false;
}

static void a_callback_refuses(void **state)
{
  (void)state;
  static const char bytes[] = "PUT / HTTP/1.1\r\nContent-Length: 1\r\n\r\nb";
  static const struct tg_http_syntax_callbacks refusals[] = {
      {.on_target = refuse}, {.on_name = refuse}, {.on_value = refuse}, {.on_body = refuse}};
  for (size_t i = 0; i < 4; i++) {
    struct tg_http_syntax syntax;
    enum tg_http_step step = TG_HTTP_MORE;
    size_t used = 0;
    tg_http_syntax_init(&syntax, TG_HTTP_REQUEST, &refusals[i], NULL);
    while (used < sizeof bytes - 1 && step != TG_HTTP_FAULT)
      used += tg_http_syntax_read(&syntax, bytes + used, sizeof bytes - 1 - used, &step);
    assert_int_equal(step, TG_HTTP_FAULT);
    assert_int_equal(syntax.status, 400);
    assert_int_equal(tg_http_syntax_read(&syntax, bytes, 1, &step), 0);
    assert_int_equal(step, TG_HTTP_FAULT);
  }
}

/* Also where nobody keeps what comes. */
static void what_is_skipped_is_bounded(void **state)
{
  (void)state;
  static const struct {
    const char *begin, *again;
  } rows[] = {{"", "\r\n"},
              {"GET ", "          "},
              {"GET / HTTP/1.1\r\nA:", "          "},
              {"GET / HTTP/1.1\r\n", "A: b\r\n"},
              {"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;", "aaaaaaaaaa"},
              {"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n", "A: b\r\n"}};
  static const size_t pieces[] = {SIZE_MAX, 1, 4096};
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    struct tg_buf text = {0};
    tg_buf_puts(&text, rows[i].begin);
    while (text.length < 100 * 1024)
      tg_buf_puts(&text, rows[i].again);
    for (size_t j = 0; j < 3; j++) {
      char *got = read_all(TG_HTTP_REQUEST, text.data, text.length, pieces[j]);
      assert_string_equal(got, "431 the head of the request is too long");
      free(got);
    }
    tg_buf_free(&text);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(requests),
      cmocka_unit_test(bodies),
      cmocka_unit_test(faults),
      cmocka_unit_test(responses),
      cmocka_unit_test(a_callback_refuses),
      cmocka_unit_test(what_is_skipped_is_bounded),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
