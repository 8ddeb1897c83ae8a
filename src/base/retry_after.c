#include "base/retry_after.h"

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

tg_ms tg_read_retry_after(const char *text, size_t length, tg_ms wall)
{
  /* The form of today, and the two that RFC 9110 wants to be read still. */
  static const char *const dates[] = {"%a, %d %b %Y %H:%M:%S GMT", "%a, %d-%b-%y %H:%M:%S GMT",
                                      "%a %b %e %H:%M:%S %Y"};
  char copy[LONGEST];
  if (length == 0 || length >= sizeof copy)
    return -1;
  memcpy(copy, text, length);
  copy[length] = '\0';
  if (copy[0] >= '0' && copy[0] <= '9')
    return read_seconds(copy);
  for (size_t i = 0; i < sizeof dates / sizeof *dates; i++) {
    struct tm parts = {0};
    const char *end = strptime(copy, dates[i], &parts);
    if (!end || *end)
      continue;
    tg_ms left = (tg_ms)timegm(&parts) * 1000 - wall;
    return left > TG_RETRY_AFTER_MOST ? TG_RETRY_AFTER_MOST : left > 0 ? left : 0;
  }
  return -1;
}
