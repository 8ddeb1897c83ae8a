/* Requests to the control API, cut at a place that the input chooses: what comes
 * out is within its limits, and the same as of the input in one piece. */

#include "fuzz.h"

#include "net/request_reader.h"

static void check(const struct tg_request *request)
{
  if (!request->method || !request->path || !request->query || request->header_count < 0 ||
      request->header_count > TG_REQUEST_HEADERS_MAX || request->body.length > TG_REQUEST_BODY_MAX)
    abort();
  size_t texts = strlen(request->path) + strlen(request->query);
  for (int i = 0; i < request->header_count; i++)
    texts += strlen(request->headers[i].name) + strlen(request->headers[i].value);
  if (texts > TG_REQUEST_HEAD_MAX)
    abort();
  tg_request_header(request, "authorization");
}

static void take(struct tg_request_reader *reader, struct tg_buf *out)
{
  struct tg_request *request = reader->request;
  check(request);
  tg_buf_printf(out, "%s %s %s %d %d %d %zu;", request->method, request->path, request->query,
                request->header_count, reader->keep_alive, reader->head_only, request->body.length);
  tg_buf_append(out, request->body.data, request->body.length);
  tg_request_free(request);
  reader->request = NULL;
}

/* False: no more, the connection would end. */
static bool feed(struct tg_request_reader *reader, struct tg_buf *in, struct tg_buf *out)
{
  enum tg_read_step step = TG_READ_DONE;
  while (in->length > 0 && step != TG_READ_MORE) {
    tg_buf_consume(in, tg_request_read(reader, in->data, in->length, &step));
    if (step == TG_READ_HEAD)
      check(reader->request);
    if (step == TG_READ_DONE) {
      bool last = !reader->keep_alive;
      take(reader, out);
      if (last)
        return false;
    }
    if (step == TG_READ_FAILED) {
      tg_buf_printf(out, "!%d", reader->status);
      return false;
    }
  }
  return true;
}

static void read_pieces(const uint8_t *bytes, size_t length, size_t cut, struct tg_buf *out)
{
  struct tg_request_reader reader;
  struct tg_buf in = {0};
  tg_request_reader_init(&reader);
  tg_buf_append(&in, bytes, cut);
  bool goes_on = feed(&reader, &in, out);
  tg_buf_append(&in, bytes + cut, length - cut);
  if (goes_on)
    feed(&reader, &in, out);
  tg_request_reader_free(&reader);
  tg_buf_free(&in);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  struct tg_buf whole = {0}, cut = {0};
  if (size < 2)
    return 0;
  size_t at = (size_t)(data[0] << 8 | data[1]) % (size - 1);
  read_pieces(data + 2, size - 2, size - 2, &whole);
  read_pieces(data + 2, size - 2, at, &cut);
  if (whole.length != cut.length || (cut.length > 0 && memcmp(whole.data, cut.data, cut.length) != 0))
    abort();
  tg_buf_free(&whole);
  tg_buf_free(&cut);
  return 0;
}
