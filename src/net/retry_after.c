#include "net/retry_after.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { LONGEST = 64 };

static tg_ms read_seconds(const char *text)
{
  char *end;
  if (text[strspn(text, "0123456789.")])
    return -1;
  double wait = strtod(text, &end) * 1000;
  if (*end)
    return -1;
  if (wait >= (double)TG_RETRY_AFTER_MOST)
    return TG_RETRY_AFTER_MOST;
  tg_ms whole = (tg_ms)wait;
  return (double)whole < wait ? whole + 1 : whole;
}

static tg_ms read_date(const char *text)
{
  /* The form of today, and the two that RFC 9110 wants to be read still. */
  static const char *const dates[] = {"%a, %d %b %Y %H:%M:%S GMT", "%a, %d-%b-%y %H:%M:%S GMT",
                                      "%a %b %e %H:%M:%S %Y"};
  for (size_t i = 0; i < sizeof dates / sizeof *dates; i++) {
    struct tm parts = {0};
    const char *end = strptime(text, dates[i], &parts);
    if (end && !*end)
      return (tg_ms)timegm(&parts) * 1000;
  }
  return -1;
}

static bool copy_text(char copy[LONGEST], const char *text, size_t length)
{
  if (length == 0 || length >= LONGEST)
    return false;
  memcpy(copy, text, length);
  copy[length] = '\0';
  return true;
}

tg_ms tg_read_http_date(const char *text, size_t length)
{
  char copy[LONGEST];
  return copy_text(copy, text, length) ? read_date(copy) : -1;
}

tg_ms tg_read_retry_after(const char *text, size_t length, tg_ms now)
{
  char copy[LONGEST];
  if (!copy_text(copy, text, length))
    return -1;
  if (copy[0] >= '0' && copy[0] <= '9')
    return read_seconds(copy);
  tg_ms date = read_date(copy);
  if (date < 0)
    return -1;
  tg_ms left = date - now;
  return left > TG_RETRY_AFTER_MOST ? TG_RETRY_AFTER_MOST : left > 0 ? left : 0;
}
