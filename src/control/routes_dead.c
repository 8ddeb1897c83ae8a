/* Dead letters: GET /dead, GET /dead/{}, POST /dead/retry, POST /dead/purge. */

#include "base/suggest.h"
#include "base/url_parts.h"
#include "control/routes.h"
#include "manager/letters/letters.h"
#include "manager/status.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum { LISTED = 50 };

static const char *const names[] = {"numbers", "all",  "limit",  "before", "shard",
                                    "type",    "sink", "status", "since"};
enum { NAMES = sizeof names / sizeof *names, OF_BODIES = 2, OF_QUERIES = 4 /* the others are of both */ };

/* Where words are that this one may stand among. */
static const char *const *names_of(bool query, size_t *count)
{
  *count = query ? NAMES - OF_BODIES : NAMES;
  return query ? names + OF_BODIES : names;
}

static bool is_known(const char *name, bool query)
{
  for (size_t i = query ? OF_BODIES : 0; i < NAMES; i++)
    if (strcmp(name, names[i]) == 0 && (query || i < OF_BODIES || i >= OF_QUERIES))
      return true;
  return false;
}

static void refuse_name(struct tg_request *request, const char *name, bool query)
{
  size_t count;
  const char *const *known = names_of(query, &count);
  const char *like = tg_suggest(name, known, count);
  tg_respond_error(request, 400,
                   "there is no \"%s\"%s%s%s: letters are named by %snumbers, shard, type, sink, "
                   "status, since",
                   name, like ? "; did you mean \"" : "", like ? like : "", like ? "\"?" : "",
                   query ? "limit, before, " : "all, ");
}

/* ---- which are meant ---- */

static bool read_number(const char *text, uint64_t most, uint64_t *number)
{
  size_t digits = strspn(text, "0123456789");
  errno = 0;
  *number = strtoull(text, NULL, 10);
  return digits > 0 && digits < 20 && !text[digits] && errno == 0 && *number <= most;
}

/* What queries and bodies have in common, as text. False: it makes no sense. */
static bool take_word(struct tg_letter_filter *filter, const char *name, const char *text)
{
  uint64_t number;
  if (strcmp(name, "type") == 0 || strcmp(name, "sink") == 0) {
    char **at = strcmp(name, "type") == 0 ? &filter->type : &filter->sink;
    free(*at);
    *at = tg_strdup(text);
    return *text != '\0';
  }
  if (strcmp(name, "shard") == 0) {
    bool good = read_number(text, 65535, &number);
    filter->shard = (int)number;
    return good;
  }
  if (strcmp(name, "status") == 0) {
    bool good = read_number(text, 999, &number);
    filter->status = (long)number;
    return good;
  }
  bool good = read_number(text, INT64_MAX, &number);
  filter->since = (tg_ms)number;
  return good;
}

static const struct tg_letter_filter any = {.shard = -1, .status = -1};

static void refuse_value(struct tg_request *request, const char *name)
{
  const char *wanted = strcmp(name, "since") == 0     ? "a time, in ms since 1970"
                       : strcmp(name, "status") == 0  ? "the status of an answer; 0: there was none"
                       : strcmp(name, "numbers") == 0 ? "a list of the numbers of letters (n)"
                       : strcmp(name, "all") == 0     ? "true"
                       : strcmp(name, "type") == 0 || strcmp(name, "sink") == 0 ? "a name"
                                                                                : "a number";
  tg_respond_error(request, 400, "%s has to be %s", name, wanted);
}

/* ---- GET /dead ---- */

static void on_text(void *ctx, json_t *value, const struct tg_error *error)
{
  struct tg_request *request = ctx;
  if (error)
    tg_respond_failure(request, error);
  else
    tg_respond(request, 200, "application/json", "Cache-Control: no-store\r\n", json_string_value(value),
               json_string_length(value));
}

struct list_query {
  struct tg_letter_filter filter;
  uint64_t limit, before;
};

static bool take_query(struct list_query *wanted, const char *name, const char *text)
{
  if (strcmp(name, "limit") == 0)
    return read_number(text, TG_LETTERS_LISTED, &wanted->limit) && wanted->limit > 0;
  if (strcmp(name, "before") == 0)
    return read_number(text, INT64_MAX, &wanted->before);
  return take_word(&wanted->filter, name, text);
}

/* False: answered. */
static bool read_query(struct tg_request *request, struct list_query *wanted)
{
  const char *query = request->query;
  struct tg_span name, value;
  bool good = true;
  while (good && tg_query_next(&query, &name, &value)) {
    struct tg_buf text = {0};
    char *word = tg_strndup(name.at, name.length);
    bool whole = tg_url_decode(&text, value.at, value.length, true);
    char *plain = tg_buf_take(&text);
    bool known = is_known(word, true);
    good = known && whole && strlen(plain) <= 256 && take_query(wanted, word, plain);
    if (!known)
      refuse_name(request, word, true);
    else if (!good)
      refuse_value(request, word);
    free(plain);
    free(word);
  }
  return good;
}

void tg_route_dead(struct tg_request *request)
{
  struct list_query wanted = {.filter = any, .limit = LISTED};
  if (read_query(request, &wanted))
    tg_letters_list(tg_gateway_letters(request->manager), &wanted.filter, (size_t)wanted.limit, wanted.before,
                    on_text, request);
  else
    tg_letter_filter_free(&wanted.filter);
}

void tg_route_dead_letter(struct tg_request *request)
{
  uint64_t number;
  if (read_number(request->params[0], INT64_MAX, &number))
    tg_letters_show(tg_gateway_letters(request->manager), number, on_text, request);
  else
    tg_respond_error(request, 404, "\"%s\" is not the number of a dead letter", request->params[0]);
}

/* ---- POST /dead/retry, /dead/purge ---- */

static int by_number(const void *a, const void *b)
{
  uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
  return left < right ? -1 : left > right;
}

static bool take_numbers(struct tg_letter_filter *filter, const json_t *list)
{
  size_t count = json_array_size(list);
  if (count == 0 || filter->numbers)
    return false;
  filter->numbers = tg_calloc(count, sizeof *filter->numbers);
  for (; filter->count < count; filter->count++) {
    const json_t *number = json_array_get(list, filter->count);
    if (!json_is_integer(number) || json_integer_value(number) < 1)
      return false;
    filter->numbers[filter->count] = (uint64_t)json_integer_value(number);
  }
  qsort(filter->numbers, count, sizeof *filter->numbers, by_number);
  return true;
}

static bool take_member(struct tg_letter_filter *filter, const char *name, const json_t *value)
{
  bool is_text = strcmp(name, "type") == 0 || strcmp(name, "sink") == 0;
  char digits[24];
  if (strcmp(name, "all") == 0)
    return json_is_true(value);
  if (strcmp(name, "numbers") == 0)
    return take_numbers(filter, value);
  if (is_text)
    return json_is_string(value) && take_word(filter, name, json_string_value(value));
  snprintf(digits, sizeof digits, "%lld", (long long)json_integer_value(value));
  return json_is_integer(value) && take_word(filter, name, digits);
}

/* Who means all letters has to say so: an empty body is a slip. False: answered. */
static bool read_body(struct tg_request *request, struct tg_letter_filter *filter)
{
  const char *name;
  json_t *value;
  *filter = any;
  json_object_foreach(request->json, name, value)
  {
    bool known = is_known(name, false);
    if (known && take_member(filter, name, value))
      continue;
    if (known)
      refuse_value(request, name);
    else
      refuse_name(request, name, false);
    tg_letter_filter_free(filter);
    return false;
  }
  if (json_object_size(request->json) > 0)
    return true;
  tg_respond_error(request, 400,
                   "which letters? {\"all\":true}, or what they have in common: numbers, shard, type, "
                   "sink, status, since");
  return false;
}

static void on_done(void *ctx, json_t *value, const struct tg_error *error)
{
  struct tg_request *request = ctx;
  if (error)
    tg_respond_failure(request, error);
  else
    tg_respond_json(request, 200, json_incref(value));
}

void tg_route_dead_retry(struct tg_request *request)
{
  struct tg_letter_filter filter;
  if (read_body(request, &filter))
    tg_letters_retry(tg_gateway_letters(request->manager), &filter, on_done, request);
}

void tg_route_dead_purge(struct tg_request *request)
{
  struct tg_letter_filter filter;
  if (read_body(request, &filter))
    tg_letters_purge(tg_gateway_letters(request->manager), &filter, on_done, request);
}

/* ---- of /status ---- */

json_t *tg_dead_json(struct tg_manager *manager)
{
  struct tg_letters_status status;
  tg_letters_status(tg_gateway_letters(manager), &status);
  json_t *retry = json_null();
  if (status.retrying)
    retry = json_pack("{s:I, s:I}", "letters", (json_int_t)status.of, "done", (json_int_t)status.done);
  return json_pack("{s:I, s:I, s:I, s:o}", "letters", (json_int_t)status.letters, "bytes",
                   (json_int_t)status.bytes, "newest", (json_int_t)status.newest, "retry", retry);
}
