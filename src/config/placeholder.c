#include "config/placeholder.h"

#include "config/config_options.h"

#include <stdio.h>
#include <string.h>

static const char mark[] = "***";

void tg_placeholder(const struct tg_option *option, char text[TG_PLACEHOLDER_SIZE])
{
  snprintf(text, TG_PLACEHOLDER_SIZE, "%s%s%s", mark, option->path, mark);
}

/* `text` begins with it. */
static const struct tg_option *placeholder_at(const char *text, size_t *length)
{
  for (size_t i = 0; i < tg_config_option_count; i++) {
    char placeholder[TG_PLACEHOLDER_SIZE];
    if (!tg_config_options[i].secret)
      continue;
    tg_placeholder(&tg_config_options[i], placeholder);
    *length = strlen(placeholder);
    if (strncmp(text, placeholder, *length) == 0)
      return &tg_config_options[i];
  }
  return NULL;
}

const struct tg_option *tg_placeholder_find(const char *text)
{
  size_t length;
  const struct tg_option *option = NULL;
  while (!option && (text = strstr(text, mark)) != NULL)
    option = placeholder_at(text++, &length);
  return option;
}

void tg_placeholder_fill(struct tg_buf *out, const char *text, tg_placeholder_value *value_of,
                         const void *ctx)
{
  for (const char *next; (next = strstr(text, mark)) != NULL;) {
    size_t length;
    const struct tg_option *option = placeholder_at(next, &length);
    const char *value = option ? value_of(ctx, option) : NULL;
    tg_buf_append(out, text, (size_t)(next - text));
    text = next + (value ? length : 1);
    if (value)
      tg_buf_puts(out, value);
    else
      tg_buf_append(out, next, 1);
  }
  tg_buf_puts(out, text);
}
