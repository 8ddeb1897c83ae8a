#include "net/resp.h"

#include <string.h>

enum { DIGITS_MAX = 20, LINE_MAX = DIGITS_MAX + 4 };

/* '$' or '*', a number and the line's end; returns the byte behind. Most words are short, and each event has
 * many of them: printf() would be most of the cost, and growing the buffer piece by piece the rest. */
static char *write_line(char *at, char kind, uint64_t number)
{
  char digits[DIGITS_MAX];
  int count = 0;
  do
    digits[count++] = (char)('0' + number % 10);
  while (number /= 10);
  *at++ = kind;
  while (count > 0)
    *at++ = digits[--count];
  *at++ = '\r';
  *at++ = '\n';
  return at;
}

void tg_resp_begin(struct tg_buf *out, int arguments)
{
  char *at = tg_buf_reserve(out, LINE_MAX), *end = write_line(at, '*', (uint64_t)arguments);
  out->length += (size_t)(end - at);
}

void tg_resp_text(struct tg_buf *out, const char *text, size_t length)
{
  char *at = tg_buf_reserve(out, LINE_MAX + length + 2), *end = write_line(at, '$', length);
  if (length > 0)
    memcpy(end, text, length);
  end += length;
  *end++ = '\r';
  *end++ = '\n';
  out->length += (size_t)(end - at);
}

void tg_resp_string(struct tg_buf *out, const char *text)
{
  tg_resp_text(out, text, strlen(text));
}

void tg_resp_number(struct tg_buf *out, int64_t number)
{
  char digits[DIGITS_MAX + 1], *at = digits + sizeof digits;
  uint64_t left = number < 0 ? -(uint64_t)number : (uint64_t)number;
  do
    *--at = (char)('0' + left % 10);
  while (left /= 10);
  if (number < 0)
    *--at = '-';
  tg_resp_text(out, at, (size_t)(digits + sizeof digits - at));
}
