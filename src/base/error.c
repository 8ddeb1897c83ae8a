#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>

int tg_fail(struct tg_error *error, const char *code, const char *format, ...)
{
  if (!error)
    return 0;
  snprintf(error->code, sizeof error->code, "%s", code);
  va_list args;
  va_start(args, format);
  vsnprintf(error->message, sizeof error->message, format, args);
  va_end(args);
  return 0;
}
