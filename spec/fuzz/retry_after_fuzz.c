/* What the headers Retry-After and Date say, at any time of the reader's clock:
 * a wait within its bounds, or none; and the same with another text behind it. */

#include "fuzz.h"

#include "net/http_text.h"
#include "net/retry_after.h"

#include <ctype.h>

static void check_header(const char *text, size_t length, tg_ms wait)
{
  char head[256];
  if (length == 0 || length > 100 || memchr(text, '\n', length) || memchr(text, '\r', length) ||
      memchr(text, '\0', length) || isspace((unsigned char)text[0]) ||
      isspace((unsigned char)text[length - 1]))
    return;
  snprintf(head, sizeof head, "HTTP/1.1 429 Too Many Requests\r\nRetry-After: %.*s\r\n\r\n", (int)length,
           text);
  require(tg_http_retry_after(head, 1700000000000) == wait);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
  tg_ms now;
  if (length < sizeof now)
    return 0;
  memcpy(&now, bytes, sizeof now);
  now &= INT64_MAX >> 8; /* two million years are enough */
  char *text = fuzz_text(bytes + sizeof now, length -= sizeof now);
  tg_ms wait = tg_read_retry_after(text, length, now);
  require(wait >= -1 && wait <= TG_RETRY_AFTER_MOST);
  check_header(text, length, tg_read_retry_after(text, length, 1700000000000));

  tg_ms date = tg_read_http_date(text, length);
  if (date >= 0 && text[0] > '9')
    require(wait == (date <= now ? 0 : date - now > TG_RETRY_AFTER_MOST ? TG_RETRY_AFTER_MOST : date - now));
  char *more = calloc(length + 2, 1);
  memcpy(more, text, length);
  more[length] = '9';
  require(tg_read_retry_after(more, length, now) == wait && tg_read_http_date(more, length) == date);
  free(more);
  free(text);
  return 0;
}
