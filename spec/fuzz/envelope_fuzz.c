/* Any bytes: the scan reads nothing outside, what it finds lies inside, and text
 * that a JSON reader takes for an object with op is not refused. */

#include "fuzz.h"

#include "proto/envelope.h"

#include <jansson.h>

static void check_span(struct tg_span span, const char *text, size_t length)
{
  if (span.at)
    require(span.at >= text && span.length <= length && span.at + span.length <= text + length);
}

/* jansson takes the last of equal keys, decodes escapes in them and passes over
 * NUL bytes; it reads -0 as 0. Texts with any of these are not compared. */
static void compare(const json_t *message, const struct tg_envelope *envelope, bool accepted)
{
  const json_t *op = json_object_get(message, "op");
  json_int_t number = json_is_integer(op) ? json_integer_value(op) : -1;
  if (number < 0 || number > 0xffff)
    return;
  require(accepted);
  require(envelope->op == number);
  const json_t *sequence = json_object_get(message, "s");
  if (json_is_integer(sequence) && json_integer_value(sequence) >= 0)
    require(envelope->has_sequence && envelope->sequence == (uint64_t)json_integer_value(sequence));
  const json_t *data = json_object_get(message, "d");
  require((data != NULL) == (envelope->data.at != NULL));
  if (!data)
    return;
  json_t *again =
      json_loadb(envelope->data.at, envelope->data.length, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
  require(again && json_equal(again, data));
  json_decref(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
  const char *text = (const char *)bytes;
  struct tg_envelope envelope;
  bool accepted = tg_envelope_scan(text, length, &envelope);
  if (accepted) {
    require(envelope.op >= 0);
    check_span(envelope.name, text, length);
    check_span(envelope.data, text, length);
    require(!envelope.name.at || envelope.name.length < length);
  }
  bool comparable = length > 0 && !memchr(text, '\\', length) && !memchr(text, '\0', length) &&
                    !memmem(text, length, "-0", 2);
  if (comparable) {
    json_t *message = json_loadb(text, length, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
    if (json_is_object(message))
      compare(message, &envelope, accepted);
    json_decref(message);
  }
  return 0;
}
