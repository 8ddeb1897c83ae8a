/* What a proxy answers to CONNECT, cut at a place that the input chooses: what comes
 * out is the same as of the answer in one piece, and a refusal is told in words. */

#include "fuzz.h"

#include "net/tunnel.h"

struct outcome {
  ssize_t head; /* bytes; -1: not HTTP */
  bool complete, stands;
  int status;
};

static struct tg_proxy proxy = {.variable = "https_proxy",
                                .where = (char[]){"http://proxy:3128"},
                                .authorization = (char[]){"Basic c2VjcmV0"}};

static struct outcome read_answer(const char *bytes, size_t length, size_t cut)
{
  struct tg_tunnel tunnel;
  struct tg_buf request = {0};
  tg_tunnel_request(&tunnel, &proxy, "2001:db8::1", "443", &request);
  tg_buf_append(&request, "", 1);
  require(strncmp(request.data, "CONNECT [2001:db8::1]:443 HTTP/1.1\r\n", 35) == 0);
  tg_buf_free(&request);
  struct outcome outcome = {.head = tg_tunnel_feed(&tunnel, bytes, cut)};
  if (outcome.head == (ssize_t)cut && !tunnel.complete) {
    ssize_t more = tg_tunnel_feed(&tunnel, bytes + cut, length - cut);
    outcome.head = more < 0 ? -1 : outcome.head + more;
  }
  outcome.complete = tunnel.complete;
  outcome.status = tunnel.complete ? tunnel.status : 0;
  outcome.stands = tg_tunnel_stands(&tunnel);
  return outcome;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
  struct tg_error error = {0};
  if (length < 3)
    return 0;
  size_t cut = (size_t)(bytes[0] << 8 | bytes[1]) % (length - 2);
  char *answer = fuzz_text(bytes + 2, length -= 2);
  struct outcome whole = read_answer(answer, length, length), other = read_answer(answer, length, cut);
  require(whole.head >= -1 && whole.head <= (ssize_t)length && (!whole.stands || whole.complete));
  require(!whole.stands || (whole.status >= 200 && whole.status < 300));
  require(whole.complete == other.complete && whole.status == other.status && whole.stands == other.stands &&
          (!whole.complete || whole.head == other.head));
  if (whole.complete && !whole.stands) {
    tg_proxy_explain_refusal(&proxy, whole.status, "gateway.discord.gg:443", &error);
    require(error.message[0] && !strstr(error.message, "c2VjcmV0"));
  }
  free(answer);
  return 0;
}
