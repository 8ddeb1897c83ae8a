#include "worker/messages.h"

#include "base/utf8.h"

#include <string.h>

const char *tg_message_name(enum tg_message_type type)
{
  static const char *const names[] = {
#define X(name) [TG_MESSAGE_##name] = #name,
      TG_MESSAGES(X)
#undef X
  };
  return names[type];
}

/* FNV-1a over the lists themselves: nobody has to remember to count. */
uint64_t tg_messages_version(void)
{
#define F(kind, name) #kind " " #name ","
#define X(name) #name "(" TG_FIELDS_##name(F) ")"
  static const char lists[] = TG_MESSAGES(X);
#undef X
#undef F
  uint64_t sum = 14695981039346656037U;
  for (const char *at = lists; *at; at++)
    sum = (sum ^ (unsigned char)*at) * 1099511628211U;
  return sum;
}

/* ---- to JSON ---- */

static void write_INT(json_t *json, const char *name, int value)
{
  json_object_set_new(json, name, json_integer(value));
}

static void write_NUMBER(json_t *json, const char *name, int64_t value)
{
  json_object_set_new(json, name, json_integer(value));
}

static void write_BOOL(json_t *json, const char *name, bool value)
{
  json_object_set_new(json, name, json_boolean(value));
}

static void write_TEXT(json_t *json, const char *name, const char *value)
{
  json_object_set_new(json, name, tg_json_text(value));
}

static void write_JSON(json_t *json, const char *name, json_t *value)
{
  if (value)
    json_object_set(json, name, value);
}

#define F(kind, name) write_##kind(json, #name, fields->name);
#define X(name)                                                                                              \
  static void write_##name(json_t *json, const struct tg_message_##name *fields)                             \
  {                                                                                                          \
    (void)json, (void)fields;                                                                                \
    TG_FIELDS_##name(F)                                                                                      \
  }
TG_MESSAGES(X)
#undef X
#undef F

static json_t *to_json(const struct tg_message *message)
{
  json_t *json = json_object();
  switch (message->type) {
#define X(name)                                                                                              \
  case TG_MESSAGE_##name:                                                                                    \
    write_##name(json, &message->name);                                                                      \
    break;
    TG_MESSAGES(X)
#undef X
  case TG_MESSAGE_COUNT:
    break;
  }
  return json;
}

void tg_message_send(struct tg_ipc *ipc, const struct tg_message *message)
{
  tg_ipc_send(ipc, tg_message_name(message->type), to_json(message));
}

void tg_message_ask(struct tg_ipc *ipc, const struct tg_message *message, tg_ms timeout, tg_ipc_reply *reply,
                    void *ctx)
{
  tg_ipc_request(ipc, tg_message_name(message->type), to_json(message), timeout, reply, ctx);
}

/* ---- from JSON ---- */

static bool read_NUMBER(const json_t *json, const char *name, int64_t *value)
{
  const json_t *field = json_object_get(json, name);
  *value = json_integer_value(field);
  return json_is_integer(field);
}

static bool read_INT(const json_t *json, const char *name, int *value)
{
  int64_t number;
  bool good = read_NUMBER(json, name, &number) && number >= INT32_MIN && number <= INT32_MAX;
  *value = good ? (int)number : 0;
  return good;
}

static bool read_BOOL(const json_t *json, const char *name, bool *value)
{
  const json_t *field = json_object_get(json, name);
  *value = json_is_true(field);
  return json_is_boolean(field);
}

static bool read_TEXT(const json_t *json, const char *name, const char **value)
{
  return (*value = json_string_value(json_object_get(json, name))) != NULL;
}

static bool read_JSON(const json_t *json, const char *name, json_t **value)
{
  *value = json_object_get(json, name);
  return true;
}

/* The name of the first field that is missing or of another kind; NULL: all are good. */
#define F(kind, name)                                                                                        \
  if (!read_##kind(json, #name, &fields->name))                                                              \
    return #name;
#define X(name)                                                                                              \
  static const char *read_##name(const json_t *json, struct tg_message_##name *fields)                       \
  {                                                                                                          \
    (void)json, (void)fields;                                                                                \
    TG_FIELDS_##name(F) return NULL;                                                                         \
  }
TG_MESSAGES(X)
#undef X
#undef F

static const char *read_fields(const json_t *json, struct tg_message *message)
{
  switch (message->type) {
#define X(name)                                                                                              \
  case TG_MESSAGE_##name:                                                                                    \
    return read_##name(json, &message->name);
    TG_MESSAGES(X)
#undef X
  case TG_MESSAGE_COUNT:
    break;
  }
  return NULL;
}

static enum tg_message_type type_of(const char *name)
{
  for (int i = 0; i < TG_MESSAGE_COUNT; i++)
    if (strcmp(tg_message_name((enum tg_message_type)i), name) == 0)
      return (enum tg_message_type)i;
  return TG_MESSAGE_COUNT;
}

bool tg_message_read(const char *type, const json_t *json, struct tg_message *message, struct tg_error *error)
{
  *message =
      (struct tg_message){.type = type_of(type), .nonce = json_integer_value(json_object_get(json, "nonce"))};
  if (message->type == TG_MESSAGE_COUNT)
    return tg_fail(error, "bad_message", "there is no message \"%s\"", type);
  const char *wrong = read_fields(json, message);
  if (wrong)
    return tg_fail(error, "bad_message", "\"%s\" of the message \"%s\" is missing or of the wrong kind",
                   wrong, type);
  return true;
}
