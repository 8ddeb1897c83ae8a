#include "delivery/interactions/proxied_error.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

enum { DEPTH_MAX = 8, CODE_MAX = 9999999 };

static void read_value(const json_t *value, int depth, struct tg_proxied_error *error);

static bool is_whole(const struct tg_proxied_error *error)
{
  return error->status && error->code;
}

static void note_status(json_int_t status, struct tg_proxied_error *error)
{
  if (!error->status && status >= 400 && status <= 599)
    error->status = (int)status;
}

static void note_code(json_int_t code, struct tg_proxied_error *error)
{
  if (!error->code && code > 0 && code <= CODE_MAX)
    error->code = (int)code;
}

/* A number in brackets at the beginning of `text`; 0: there is none. */
static int bracketed(const char *text)
{
  int number = 0, end = 0;
  size_t digits = text[0] == '[' ? strspn(text + 1, "0123456789") : 0;
  if (digits == 0 || digits > 7 || sscanf(text, "[%d] %n", &number, &end) != 1 || end == 0)
    return 0;
  return number;
}

/* "[404] what that means", and in the next line the error in words or as JSON. */
static void read_text(const char *text, int depth, struct tg_proxied_error *error)
{
  static const char said[] = "Discord error: ";
  const char *line = text;
  if (bracketed(text)) {
    note_status(bracketed(text), error);
    line = strchr(text, '\n');
    line = line ? line + 1 : "";
  }
  if (strncmp(line, said, sizeof said - 1) == 0)
    note_code(bracketed(line + sizeof said - 1), error);
  if (line[0] != '{')
    return;
  json_t *value = json_loads(line, 0, NULL);
  read_value(value, depth, error);
  json_decref(value);
}

/* Discord's own has a number and a text; other programs' codes are texts, or stand alone. */
static void read_object(const json_t *object, int depth, struct tg_proxied_error *error)
{
  static const char *const inside[] = {"body", "cause", "message", "error"};
  const json_t *code = json_object_get(object, "code"), *status = json_object_get(object, "status");
  if (json_is_integer(code) && json_is_string(json_object_get(object, "message"))) {
    note_code(json_integer_value(code), error);
    return;
  }
  if (json_is_integer(status))
    note_status(json_integer_value(status), error);
  for (size_t i = 0; i < sizeof inside / sizeof *inside && !is_whole(error); i++)
    read_value(json_object_get(object, inside[i]), depth + 1, error);
}

static void read_value(const json_t *value, int depth, struct tg_proxied_error *error)
{
  if (depth > DEPTH_MAX)
    return;
  if (json_is_object(value))
    read_object(value, depth, error);
  else if (json_is_string(value))
    read_text(json_string_value(value), depth, error);
}

bool tg_proxied_error_read(struct tg_span body, struct tg_proxied_error *error)
{
  *error = (struct tg_proxied_error){0};
  json_t *answer = body.at ? json_loadb(body.at, body.length, 0, NULL) : NULL;
  if (json_is_object(answer))
    read_object(answer, 0, error);
  json_decref(answer);
  return error->status || error->code;
}
