#include "net/resp.h"

#include <string.h>

enum { DIGITS_MAX = 20, LINE_MAX = DIGITS_MAX + 4 };

/* '$' or '*', a number and the line's end. Many a word is short: printf() would be most of the cost. */
static void put_line(struct tg_buf *out, char kind, uint64_t number)
{
  char digits[DIGITS_MAX], *at = tg_buf_reserve(out, LINE_MAX);
  int count = 0;
  do
    digits[count++] = (char)('0' + number % 10);
  while (number /= 10);
  *at++ = kind;
  for (int i = count; i > 0; i--)
    *at++ = digits[i - 1];
  *at++ = '\r';
  *at = '\n';
  out->length += (size_t)count + 3;
}

void tg_resp_begin(struct tg_buf *out, int arguments)
{
  put_line(out, '*', (uint64_t)arguments);
}

void tg_resp_text(struct tg_buf *out, const char *at, size_t length)
{
  put_line(out, '$', length);
  tg_buf_append(out, at, length);
  tg_buf_append(out, "\r\n", 2);
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
