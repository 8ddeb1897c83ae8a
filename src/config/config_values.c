#include "config/config_values.h"

#include "base/buf.h"
#include "config/config.h"
#include "proto/intents.h"
#include "proto/presence.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { BITS_MAX = 53 }; /* what a script's numbers and JSON's readers can hold */

const char *tg_check_event_name(const char *text)
{
  if (text[strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")] == '\0')
    return NULL;
  return "expected the name of a dispatch in capitals, like TYPING_START";
}

const char *tg_check_tree(const char *text)
{
  if (text[0] != '/')
    return "expected a path that begins with /; one with blanks has to stand in a list";
  bool bad = strpbrk(text, TG_TREE_FORBIDDEN) != NULL;
  return bad ? "must not contain ; or ?, which mean something in Lua's search paths" : NULL;
}

void tg_read_token(const struct tg_reader *reader, const json_t *value, void *field)
{
  char **token = field;
  if (!json_is_string(value)) {
    tg_problem(reader, 0, "expected a string, got %s", tg_json_kind(value));
    return;
  }
  const char *text = json_string_value(value);
  if (strncmp(text, "Bot ", 4) == 0)
    text += 4;
  if (!*text) {
    tg_problem(reader, 0, "is empty; copy the bot's token from the Developer Portal");
    return;
  }
  for (const char *at = text; *at; at++) {
    if (*at <= ' ' || *at == 0x7f || *at == '"') {
      tg_problem(reader, 0, "has white space, quotes or other bytes that no token has; copy it again");
      return;
    }
  }
  free(*token);
  *token = tg_strdup(text);
}

json_t *tg_write_token(const void *field)
{
  const char *token = *(char *const *)field;
  return token ? json_string(token) : NULL;
}

static void add_intent(const struct tg_reader *reader, size_t index, const char *name, uint64_t *intents)
{
  uint64_t bit;
  const char *meant = tg_intent_suggest(name);
  if (tg_intent_parse(name, &bit))
    *intents |= bit;
  else if (strpbrk(name, TG_LIST_SEPARATORS))
    tg_problem(reader, index, "\"%.60s\" is more than one name; each needs a string of its own", name);
  else if (meant)
    tg_problem(reader, index, "no intent is called \"%.60s\"; did you mean %s?", name, meant);
  else
    tg_problem(reader, index, "no intent is called \"%.60s\"; they are named like guilds, guild_messages",
               name);
}

/* Flags are written with | between them, too. */
static void read_intent_list(const struct tg_reader *reader, const char *text, uint64_t *intents)
{
  struct tg_strings names = {0};
  tg_strings_split(&names, text, TG_LIST_SEPARATORS "|");
  bool number = names.count == 1 && names.items[0][strspn(names.items[0], "0123456789")] == '\0';
  if (names.count == 0) {
    tg_problem(reader, 0, "names no intent; expected names like guilds,guild_messages, or a number");
  } else if (number) {
    errno = 0;
    unsigned long long value = strtoull(names.items[0], NULL, 10);
    if (errno || value >> BITS_MAX)
      tg_problem(reader, 0, "expected a number below 2^53 or names like guilds,guild_messages");
    else
      *intents = value;
  }
  for (int i = 0; i < names.count && !number; i++)
    add_intent(reader, (size_t)i + 1, names.items[i], intents);
  tg_strings_free(&names);
}

void tg_read_intents(const struct tg_reader *reader, const json_t *value, void *field)
{
  uint64_t intents = 0;
  double real = json_number_value(value);
  bool empty_table = json_is_object(value) && json_object_size(value) == 0;
  if (json_is_string(value)) {
    read_intent_list(reader, json_string_value(value), &intents);
  } else if (json_is_number(value)) {
    if (!(real >= 0 && real < (double)(UINT64_C(1) << BITS_MAX)) || (double)(uint64_t)real != real)
      tg_problem(reader, 0, "expected a whole number from 0 up, or names like \"guilds\"");
    else
      intents = (uint64_t)real;
  } else if (json_is_array(value) || empty_table) {
    for (size_t i = 0; i < json_array_size(value); i++) {
      const json_t *name = json_array_get(value, i);
      if (json_is_string(name))
        add_intent(reader, i + 1, json_string_value(name), &intents);
      else
        tg_problem(reader, i + 1, "expected a name like \"guilds\", got %s", tg_json_kind(name));
    }
  } else {
    tg_problem(reader, 0, "expected a list of names like {\"guilds\"}, or a number, got %s",
               tg_json_kind(value));
  }
  *(uint64_t *)field = intents;
}

json_t *tg_write_intents(const void *field)
{
  uint64_t intents = *(const uint64_t *)field;
  return intents == TG_INTENTS_UNSET ? NULL : json_integer((json_int_t)intents);
}

json_t *tg_write_optional_intents(const void *field)
{
  uint64_t intents = *(const uint64_t *)field;
  return intents ? json_integer((json_int_t)intents) : NULL;
}

void tg_read_compression(const struct tg_reader *reader, const json_t *value, void *field)
{
  enum tg_compression *compression = field;
  const char *text = json_is_false(value) ? "none" : json_is_string(value) ? json_string_value(value) : "";
  if (strcmp(text, "zlib-stream") == 0) {
    *compression = TG_COMPRESSION_ZLIB;
  } else if (strcmp(text, "zstd-stream") == 0) {
    *compression = TG_COMPRESSION_ZSTD;
  } else if (strcasecmp(text, "none") == 0 || strcasecmp(text, "false") == 0) {
    *compression = TG_COMPRESSION_NONE;
  } else {
    char got[TG_DESCRIPTION_SIZE];
    tg_describe(reader, value, got, sizeof got);
    tg_problem(reader, 0, "expected \"zlib-stream\", \"zstd-stream\" or %s, got %s",
               reader->variable ? "\"none\"" : "false", got);
  }
}

json_t *tg_write_compression(const void *field)
{
  switch (*(const enum tg_compression *)field) {
  case TG_COMPRESSION_ZLIB:
    return json_string("zlib-stream");
  case TG_COMPRESSION_ZSTD:
    return json_string("zstd-stream");
  case TG_COMPRESSION_NONE:
    break;
  }
  return json_false();
}

void tg_read_presence(const struct tg_reader *reader, const json_t *value, void *field)
{
  json_t **presence = field;
  struct tg_presence_fault fault;
  json_t *normal = tg_presence_normalise(value, &fault);
  if (!normal) {
    tg_problem_add(reader->problems, "%s%s: %s", reader->path, fault.path, fault.text);
    return;
  }
  json_decref(normal);
  json_decref(*presence);
  *presence = json_is_array(value) ? json_object() : json_deep_copy(value);
}

json_t *tg_write_presence(const void *field) { return json_incref(*(json_t *const *)field); }

void tg_read_log_format(const struct tg_reader *reader, const json_t *value, void *field)
{
  const char *text = json_is_string(value) ? json_string_value(value) : "";
  bool json = strcasecmp(text, "json") == 0;
  if (!json && strcasecmp(text, "text") != 0) {
    char got[TG_DESCRIPTION_SIZE];
    tg_describe(reader, value, got, sizeof got);
    tg_problem(reader, 0, "expected one of \"text\", \"json\", got %s", got);
  }
  *(bool *)field = json;
}

json_t *tg_write_log_format(const void *field) { return json_string(*(const bool *)field ? "json" : "text"); }

void tg_release_string(void *field)
{
  free(*(char **)field);
  *(char **)field = NULL;
}

void tg_release_json(void *field)
{
  json_decref(*(json_t **)field);
  *(json_t **)field = NULL;
}
