/* Answers to the upgrade of a connection, cut at a place that the input chooses:
 * what comes out is the same as of the answer in one piece. */

#include "fuzz.h"

#include "net/upgrade.h"

struct outcome {
  ssize_t head; /* bytes; -1: not HTTP */
  bool complete, done;
  int status;
  tg_ms retry_after;
};

static struct outcome read_answer(const char *bytes, size_t length, size_t cut)
{
  static const struct tg_gateway_url url = {true, "gateway.discord.gg", "443", "/?v=10&encoding=json"};
  struct tg_upgrade upgrade;
  struct tg_buf request = {0};
  tg_upgrade_request(&upgrade, &url, &request);
  tg_buf_free(&request);
  memcpy(upgrade.accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", 29); /* the request's key is another one each time */
  struct outcome outcome = {0};
  outcome.head = tg_upgrade_feed(&upgrade, bytes, cut);
  if (outcome.head == (ssize_t)cut && !upgrade.complete) {
    ssize_t more = tg_upgrade_feed(&upgrade, bytes + cut, length - cut);
    outcome.head = more < 0 ? -1 : outcome.head + more;
  }
  outcome.complete = upgrade.complete;
  outcome.done = upgrade.complete && tg_upgrade_done(&upgrade);
  if (upgrade.complete) {
    outcome.status = upgrade.status;
    outcome.retry_after = upgrade.retry_after;
  }
  return outcome;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
  if (length < 2)
    return 0;
  const char *answer = (const char *)bytes + 2;
  length -= 2;
  struct outcome whole = read_answer(answer, length, length);
  struct outcome cut = read_answer(answer, length, length ? (size_t)(bytes[0] << 8 | bytes[1]) % length : 0);
  if (whole.head > (ssize_t)length || (whole.done && whole.status != 101))
    abort();
  if (whole.complete != cut.complete || whole.done != cut.done || whole.status != cut.status ||
      whole.retry_after != cut.retry_after || (whole.complete && whole.head != cut.head))
    abort();
  return 0;
}
