#include "config/handler_values.h"

#include "base/buf.h"
#include "config/config_values.h"
#include "config/secret.h"

#include <ctype.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
  KEY_MIN = 24, /* bytes: what the standard calls for */
  HEADER_NAME_MAX = 256,
  WORD_MAX = 16, /* characters: what is longer is no word */
};

/* ---- signing secrets ---- */

int tg_base64_decode(unsigned char *bytes, size_t size, const char *text, size_t length)
{
  static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  char padded[128];
  unsigned char decoded[sizeof padded];
  while (length > 0 && text[length - 1] == '=')
    length--;
  size_t whole = (length + 3) / 4 * 4, count = length / 4 * 3 + (length % 4 ? length % 4 - 1 : 0);
  if (length == 0 || length % 4 == 1 || whole >= sizeof padded || count > size)
    return -1;
  for (size_t i = 0; i < length; i++)
    if (!text[i] || !strchr(letters, text[i]))
      return -1;
  memcpy(padded, text, length);
  memset(padded + length, '=', whole - length);
  if (EVP_DecodeBlock(decoded, (const unsigned char *)padded, (int)whole) < 0)
    return -1;
  memcpy(bytes, decoded, count);
  return (int)count;
}

int tg_signing_key(const char *secret, unsigned char key[TG_SIGNING_KEY_MAX])
{
  static const char prefix[] = "whsec_";
  if (strncmp(secret, prefix, strlen(prefix)) == 0)
    secret += strlen(prefix);
  int length = tg_base64_decode(key, TG_SIGNING_KEY_MAX, secret, strlen(secret));
  return length < KEY_MIN ? -1 : length;
}

const char *tg_check_signing_secret(const char *text)
{
  unsigned char key[TG_SIGNING_KEY_MAX];
  return tg_signing_key(text, key) > 0 ? NULL
                                       : "expected whsec_ and 24 to 64 bytes in base64, such as "
                                         "`openssl rand -base64 32` makes";
}

/* ---- events ---- */

const char *tg_check_handled_event(const char *text)
{
  return strcmp(text, TG_ALL_EVENTS) == 0 ? NULL : tg_check_event_name(text);
}

/* ---- headers ---- */

/* What is wrong with it, in words; NULL: nothing. */
static const char *name_fault(const char *name)
{
  static const char *const of_the_connection[] = {
      "Connection", "Keep-Alive", "Proxy-Connection",  "Proxy-Authorization",
      "TE",         "Trailer",    "Transfer-Encoding", "Upgrade",
      "Expect",     NULL};
  static const char *const ours[] = {
      "Host",       "Content-Length",    "Content-Type",      "Content-Encoding",        "Idempotency-Key",
      "webhook-id", "webhook-timestamp", "webhook-signature", "x-discord-gateway-token", NULL};
  if (!*name)
    return "a header needs a name";
  if (strlen(name) > HEADER_NAME_MAX)
    return "is too long for the name of a header";
  for (const char *at = name; *at; at++)
    if (!isalnum((unsigned char)*at) && !strchr("!#$%&'*+-.^_`|~", *at))
      return "is no name of a header: letters, digits and - are";
  if (strcasecmp(name, "Authorization") == 0)
    return "is what authorization beside headers is for";
  for (int i = 0; of_the_connection[i]; i++)
    if (strcasecmp(name, of_the_connection[i]) == 0)
      return "belongs to the connection, which is not the configuration's";
  for (int i = 0; ours[i]; i++)
    if (strcasecmp(name, ours[i]) == 0)
      return "is set by the gateway itself";
  return NULL;
}

static const char *value_fault(const char *value)
{
  static const char blanks[] = " \t";
  if (!value[strspn(value, blanks)])
    return "is empty; leave it out instead";
  for (const char *at = value; *at; at++)
    if (((unsigned char)*at < 0x20 && *at != '\t') || *at == 0x7f)
      return "must not contain line breaks or other control characters";
  if (strchr(blanks, *value) || strchr(blanks, value[strlen(value) - 1]))
    return "must not begin or end with white space";
  return NULL;
}

/* A problem with the header, which is named by its path; its value is not shown. */
static void complain(const struct tg_reader *reader, const char *name, const char *fault)
{
  char shown[64];
  size_t length = 0;
  for (; name[length] && length < sizeof shown - 1; length++)
    shown[length] = (unsigned char)name[length] < 0x20 || name[length] == 0x7f ? '?' : name[length];
  shown[length] = '\0';
  tg_problem_add(reader->problems, "%s[\"%s\"]%s%s%s: %s", reader->path, shown,
                 reader->variable ? " (environment variable " : "", reader->variable ? reader->variable : "",
                 reader->variable ? ")" : "", fault);
}

static bool has_header(const json_t *headers, const char *name)
{
  const char *key;
  json_t *value;
  json_object_foreach((json_t *)headers, key, value) if (strcasecmp(key, name) == 0) return true;
  return false;
}

static void add_header(const struct tg_reader *reader, json_t *headers, const char *name, const char *value)
{
  const char *fault = name_fault(name);
  if (!fault)
    fault = value_fault(value);
  if (!fault && has_header(headers, name))
    fault = "is there twice; the letters' case makes no difference";
  if (!fault && json_object_size(headers) == TG_HANDLER_HEADERS_MAX)
    fault = "is one too many; 32 are taken";
  json_t *text = fault ? NULL : json_string(value);
  if (!fault && !text)
    fault = "is not UTF-8 text";
  if (fault)
    complain(reader, name, fault);
  else
    json_object_set_new(headers, name, text);
}

static void add_from_file(const struct tg_reader *reader, json_t *headers, const char *name, const json_t *of)
{
  const char *path = json_string_value(json_object_get(of, "file"));
  struct tg_error error;
  char *value = path && json_object_size(of) == 1 ? tg_secret_read(path, &error) : NULL;
  if (value)
    add_header(reader, headers, name, value);
  else
    complain(reader, name,
             path && json_object_size(of) == 1
                 ? error.message
                 : "expected a string, or { file = \"/path\" } for one in a file");
  free(value);
}

static void add_given(const struct tg_reader *reader, json_t *headers, const char *name, const json_t *value)
{
  const char *text = json_string_value(value);
  if (json_is_object(value))
    add_from_file(reader, headers, name, value);
  else if (!text)
    complain(reader, name, "expected a string, or { file = \"/path\" } for one in a file");
  else if (strlen(text) != json_string_length(value))
    complain(reader, name, "must not contain a NUL byte");
  else
    add_header(reader, headers, name, text);
}

static void add_line(const struct tg_reader *reader, size_t number, json_t *headers, const char *line)
{
  size_t length = strcspn(line, ":");
  const char *value = line + length + 1;
  if (!line[length]) {
    tg_problem(reader, number, "expected lines of the form Name: value");
    return;
  }
  char *name = tg_strndup(line, length), *trimmed = tg_strdup(value + strspn(value, " \t"));
  for (size_t end = strlen(trimmed); end > 0 && strchr(" \t", trimmed[end - 1]);)
    trimmed[--end] = '\0';
  add_header(reader, headers, name, trimmed);
  free(name);
  free(trimmed);
}

void tg_read_headers(const struct tg_reader *reader, const json_t *value, void *field)
{
  json_t *headers = json_object(), **result = field;
  bool empty_list = json_is_array(value) && json_array_size(value) == 0;
  const char *name;
  json_t *given;
  json_object_foreach((json_t *)value, name, given) add_given(reader, headers, name, given);
  if (json_is_string(value) && reader->variable) {
    struct tg_strings lines = {0};
    tg_strings_split(&lines, json_string_value(value), "\r\n");
    for (int i = 0; i < lines.count; i++)
      add_line(reader, (size_t)i + 1, headers, lines.items[i]);
    tg_strings_free(&lines);
  } else if (!json_is_object(value) && !empty_list) {
    tg_problem(reader, 0, "expected a table of names and values, got %s", tg_json_kind(value));
  }
  json_decref(*result);
  *result = json_object_size(headers) > 0 ? headers : NULL;
  if (!*result)
    json_decref(headers);
}

json_t *tg_write_headers(const void *field)
{
  return json_incref(*(json_t *const *)field);
}

void tg_header_secrets(const void *field, struct tg_strings *secrets)
{
  static const char *const words[] = {"key",  "token",  "secret", "auth", "pass",
                                      "sign", "cookie", "cred",   NULL};
  const char *name;
  json_t *value;
  json_object_foreach(*(json_t *const *)field, name, value)
  {
    bool speaks = json_string_length(value) > WORD_MAX;
    for (int i = 0; words[i] && !speaks; i++)
      speaks = strcasestr(name, words[i]) != NULL;
    if (speaks)
      tg_strings_add(secrets, json_string_value(value));
  }
}
