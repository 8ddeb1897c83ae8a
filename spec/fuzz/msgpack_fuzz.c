/* Any bytes: as JSON they become MessagePack where a reader of JSON takes them, which
 * then says the same; as MessagePack they become a value that says the same when it
 * is written again. */

#include "fuzz.h"

#include "base/msgpack.h"

static json_t *read_back(const struct tg_buf *out)
{
  return tg_msgpack_read((struct tg_span){out->data, out->length}, NULL);
}

/* Numbers by what they are worth: 1.0 comes back as 1. */
static bool is_same(const json_t *a, const json_t *b)
{
  const char *key;
  json_t *value;
  size_t index;
  if (json_is_number(a))
    return json_is_number(b) && json_number_value(a) == json_number_value(b);
  if (json_typeof(a) != json_typeof(b))
    return false;
  if (json_is_array(a)) {
    json_array_foreach(a, index, value)
        require(index < json_array_size(b) && is_same(value, json_array_get(b, index)));
    return json_array_size(a) == json_array_size(b);
  }
  if (json_is_object(a)) {
    json_object_foreach((json_t *)a, key, value)
        require(json_object_get(b, key) && is_same(value, json_object_get(b, key)));
    return json_object_size(a) == json_object_size(b);
  }
  return json_equal(a, b);
}

static void as_json(struct tg_span text)
{
  struct tg_buf out = {0};
  bool is_json = tg_msgpack_put_json(&out, text);
  require(is_json || out.length == 0);
  json_t *json = NULL;
  if (!memchr(text.at, '\0', text.length)) /* jansson passes over them */
    json = json_loadb(text.at, text.length, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
  if (json) {
    require(is_json || text.length >= TG_MSGPACK_DEPTH);
    json_t *back = is_json ? read_back(&out) : NULL;
    require(!is_json || (back && is_same(json, back)));
    json_decref(back);
  }
  json_decref(json);
  tg_buf_free(&out);
}

static void as_messagepack(struct tg_span bytes)
{
  json_t *value = tg_msgpack_read(bytes, NULL);
  if (!value)
    return;
  struct tg_buf out = {0};
  char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
  require(text && tg_msgpack_put_json(&out, (struct tg_span){text, strlen(text)}));
  json_t *again = read_back(&out);
  require(again && json_equal(again, value));
  free(text);
  tg_buf_free(&out);
  json_decref(again);
  json_decref(value);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
  char *text = fuzz_text(bytes, length);
  char *copy = malloc(length > 0 ? length : 1);
  memcpy(copy, text, length);
  as_json((struct tg_span){copy, length});
  as_messagepack((struct tg_span){copy, length});
  free(copy);
  free(text);
  return 0;
}
