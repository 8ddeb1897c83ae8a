#include "base/log_line.h"

#include "base/utf8.h"

#include <stdio.h>
#include <string.h>

static const char *const level_names[] = {"debug", "info", "warn", "error"};

#define X(key, name, is_text) [TG_KEY_##key] = {name, is_text},
static const struct {
  const char *name;
  bool is_text;
} keys[] = {TG_LOG_KEYS(X)};
#undef X

const char *tg_log_level_name(enum tg_log_level level)
{
  return level_names[level];
}

bool tg_log_key_is_text(enum tg_log_key key)
{
  return key == TG_KEY_NAMED || keys[key].is_text;
}

const char *tg_log_key_name(enum tg_log_key key)
{
  return key == TG_KEY_NAMED ? NULL : keys[key].name;
}

static const char *name_of(const struct tg_log_field *field)
{
  return field->key == TG_KEY_NAMED ? field->name : keys[field->key].name;
}

static bool is_left_out(const struct tg_log_field *field)
{
  if (field->key == TG_KEY_NONE || field->key == TG_KEY_NAMED)
    return field->key == TG_KEY_NONE;
  return keys[field->key].is_text && (!field->text || !*field->text);
}

/* ---- text ---- */

struct line_place {
  char *out;
  size_t size, length;
};

static void put(struct line_place *place, const char *text, size_t length)
{
  size_t room = place->size - 1 - place->length;
  length = length < room ? length : room;
  memcpy(place->out + place->length, text, length);
  place->length += length;
}

/* What has a space or a quote in it is quoted, as in JSON. */
static void put_value(struct line_place *place, const char *text)
{
  static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:/+@%*()[],";
  if (*text && text[strspn(text, plain)] == '\0') {
    put(place, text, strlen(text));
    return;
  }
  put(place, "\"", 1);
  for (; *text; text++) {
    if (*text == '\n')
      put(place, "\\n", 2);
    else if (*text == '"' || *text == '\\')
      put(place, (char[]){'\\', *text}, 2);
    else
      put(place, text, 1);
  }
  put(place, "\"", 1);
}

static void put_fields(struct line_place *place, const struct tg_log_field *field)
{
  for (; field->key != TG_KEY_END; field++) {
    char number[32];
    if (is_left_out(field) || field->told)
      continue;
    put(place, " ", 1);
    put(place, name_of(field), strlen(name_of(field)));
    put(place, "=", 1);
    snprintf(number, sizeof number, "%lld", (long long)field->number);
    if (tg_log_key_is_text(field->key))
      put_value(place, field->text);
    else
      put(place, number, strlen(number));
  }
}

size_t tg_log_line_message(const struct tg_log_line *line, char *out, size_t size)
{
  struct line_place place = {out, size, 0};
  size_t first = strcspn(line->text, "\n");
  put(&place, line->text, first);
  put_fields(&place, line->fields);
  put(&place, line->text + first, strlen(line->text + first));
  out[place.length] = '\0';
  return place.length;
}

size_t tg_log_line_text(const struct tg_log_line *line, const char *time, const char *indent, char *out,
                        size_t size)
{
  char worker[16] = "", shard[24] = "", head[128];
  if (line->worker_id >= 0)
    snprintf(worker, sizeof worker, " %d", line->worker_id);
  if (line->shard_id >= 0)
    snprintf(shard, sizeof shard, " shard %d", line->shard_id);
  snprintf(head, sizeof head, "%s%s%-5s %s%s%s: ", time ? time : "", time ? " " : "",
           level_names[line->level], line->role, worker, shard);
  struct line_place place = {out, size - 1, 0}; /* there is always room for the newline */
  size_t first = strcspn(line->text, "\n");
  put(&place, head, strlen(head));
  put(&place, line->text, first);
  put_fields(&place, line->fields);
  for (const char *at = line->text + first; *at; at++) {
    put(&place, at, 1);
    if (*at == '\n')
      put(&place, indent, strlen(indent));
  }
  out[place.length++] = '\n';
  return place.length;
}

/* ---- JSON ---- */

static json_t *value_of(const struct tg_log_field *field)
{
  json_t *plain =
      field->key == TG_KEY_NAMED && field->plain ? json_loads(field->text, JSON_DECODE_ANY, NULL) : NULL;
  if (plain) /* else it was masked */
    return plain;
  return tg_log_key_is_text(field->key) ? tg_json_text(field->text) : json_integer(field->number);
}

char *tg_log_line_json(const struct tg_log_line *line, const char *time, size_t *length)
{
  json_t *object =
      json_pack("{s:s, s:s, s:s}", "time", time, "level", level_names[line->level], "role", line->role);
  /* The worker that says it, or the one that the manager speaks of. */
  if (line->worker_id >= 0)
    json_object_set_new(object, "worker", json_integer(line->worker_id));
  if (line->shard_id >= 0)
    json_object_set_new(object, "shard", json_integer(line->shard_id));
  json_object_set_new(object, "message", tg_json_text(line->text));
  for (const struct tg_log_field *field = line->fields; field->key != TG_KEY_END; field++) {
    if (!is_left_out(field))
      json_object_set_new(object, name_of(field), value_of(field));
  }
  char *bytes = object ? json_dumps(object, JSON_COMPACT) : NULL;
  json_decref(object);
  if (!bytes)
    return NULL;
  *length = strlen(bytes);
  bytes[(*length)++] = '\n'; /* in the place of the NUL, which nobody needs */
  return bytes;
}
