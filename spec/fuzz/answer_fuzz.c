/* Heads and bodies of HTTP answers, and URLs: how long they ask to wait is
 * nothing or some time, what is said of them to people has no secret in it. */

#include "fuzz.h"
#include "base/url_parts.h"

#include "delivery/interactions/interaction_facts.h"
#include "delivery/sinks/outcome.h"
#include "net/http_text.h"

static void check_head(const char *text)
{
  const char *value;
  size_t length;
  tg_ms wait = tg_http_retry_after(text, 1700000000000);
  require(wait >= -1);
  if (wait >= 0)
    require(tg_http_header(text, "retry-after", &value, &length));
  if (tg_http_header(text, "location", &value, &length))
    require(value >= text && value + length <= text + strlen(text));
}

static void check_url(const char *text)
{
  struct tg_http_url url;
  struct tg_error error = {0};
  if (!tg_http_url_parse(text, &url, &error))
    require(error.code[0] && error.message[0]);
  tg_http_url_free(&url);
  char *public = tg_url_public(text);
  require(public && !strchr(public, '?'));
  free(public);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
  static const long statuses[] = {0, 200, 204, 400, 401, 403, 404, 413, 429, 500, 503};
  if (length < 1)
    return 0;
  long status = statuses[bytes[0] % (sizeof statuses / sizeof *statuses)];
  char *text = calloc(length, 1);
  memcpy(text, bytes + 1, length - 1);
  check_head(text);
  check_url(text);
  tg_ms wait;
  tg_callback_judge(status, (struct tg_span){text, length - 1}, -1, &wait);
  require(wait >= -1);
  tg_outcome_of(status, status ? "" : "reset", wait);
  free(text);
  return 0;
}
