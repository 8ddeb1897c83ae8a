/* Any bytes: every function of the scan stays inside, and a value that a JSON
 * reader accepts is passed over whole. */

#include "fuzz.h"

#include "base/json_scan.h"

#include <jansson.h>

static void walk(struct tg_span array)
{
  struct tg_span element, content;
  uint64_t number;
  for (const char *at = NULL; tg_json_next(array, &at, &element);) {
    require(element.length > 0 && element.at >= array.at &&
            element.at + element.length <= array.at + array.length);
    tg_json_uint(element, &number);
    tg_json_plain_string(element, &content);
    tg_json_is(element, "null");
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
  if (length == 0)
    return 0;
  const char *text = (const char *)bytes, *end = text + length;
  const char *at = tg_json_skip_space(text, end);
  const char *behind = tg_json_skip_value(at, end);
  require(!behind || (behind > at && behind <= end));
  struct tg_span value;
  if (tg_json_find(text, end, "id", &value)) {
    require(value.length > 0 && value.at > text && value.at + value.length <= end);
    walk(value);
  }
  walk((struct tg_span){text, length});

  if (memchr(text, '\0', length)) /* jansson passes over them */
    return 0;
  json_t *json = json_loadb(text, length, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
  if (json)
    require(behind && tg_json_skip_space(behind, end) == end);
  json_decref(json);
  return 0;
}
