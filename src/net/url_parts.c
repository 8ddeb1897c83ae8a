#include "net/url_parts.h"

#include <string.h>

static int digit(char c)
{
  if (c >= '0' && c <= '9')
    return c - '0';
  c |= 0x20;
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool tg_url_decode(struct tg_buf *out, const char *text, size_t length, bool plus)
{
  for (size_t i = 0; i < length; i++) {
    char c = plus && text[i] == '+' ? ' ' : text[i];
    if (c == '%') {
      if (length - i < 3 || digit(text[i + 1]) < 0 || digit(text[i + 2]) < 0)
        return false;
      c = (char)(digit(text[i + 1]) << 4 | digit(text[i + 2]));
      i += 2;
    }
    tg_buf_append(out, &c, 1);
  }
  return true;
}

bool tg_query_next(const char **at, struct tg_span *name, struct tg_span *value)
{
  while (**at == '&')
    (*at)++;
  if (!**at)
    return false;
  const char *start = *at, *end = start + strcspn(start, "&");
  size_t length = strcspn(start, "&=");
  *at = end;
  *name = (struct tg_span){start, length};
  start += length;
  if (start < end)
    start++;
  *value = (struct tg_span){start, (size_t)(end - start)};
  return true;
}
