/* Texts of peers, files and scripts as people and their tools get them: a log line
 * is one line, or further ones that are indented, without a control character and
 * without a secret; in JSON it is one object; a label of a metric stays within its
 * quotes. */

#include "fuzz.h"

#include "base/log_line.h"
#include "base/utf8.h"
#include "control/exposition.h"

static const char secret[] = "Vz3nQ.8eXr-T0k";

/* Tabs may be there; what moves a terminal's cursor may not. */
static bool is_clean(const char *text, size_t length)
{
  for (size_t i = 0; i < length; i++)
    if (((unsigned char)text[i] < ' ' && text[i] != '\t') || text[i] == 0x7f)
      return false;
  return !memmem(text, length, secret, strlen(secret));
}

static void check_json(const struct tg_log_line *line)
{
  size_t length;
  char *text = tg_log_line_json(line, "now", &length);
  require(text && length > 1 && text[length - 1] == '\n' && is_clean(text, length - 1));
  json_t *object = json_loadb(text, length, JSON_REJECT_DUPLICATES, NULL);
  require(json_is_string(json_object_get(object, "message")));
  require(json_integer_value(json_object_get(object, "code")) == 4000);
  json_decref(object);
  free(text);
}

static void check_text(const struct tg_log_line *line)
{
  static const char indent[] = "    ", start[] = "now warn  ";
  char text[2 * TG_LOG_LINE_MAX];
  size_t length = tg_log_line_text(line, "now", indent, text, sizeof text);
  require(length > 0 && length <= sizeof text && text[length - 1] == '\n');
  const char *end = text + length, *at = text;
  for (const char *behind; at < end; at = behind + 1) {
    behind = memchr(at, '\n', (size_t)(end - at));
    require(behind && is_clean(at, (size_t)(behind - at)));
    const char *begins = at == text ? start : indent;
    size_t size = strlen(begins);
    bool is_cut = behind + 1 == end && length == sizeof text;
    require(is_cut || ((size_t)(behind - at) >= size && memcmp(at, begins, size) == 0));
  }
}

/* In place of the file or terminal. */
static void take_line(void *ctx, enum tg_log_level level, int shard_id, const char *text,
                      const struct tg_log_field *fields)
{
  (void)ctx;
  const struct tg_log_line line = {level, "worker", 2, shard_id, text, fields};
  check_json(&line);
  check_text(&line);
}

static void check_label(const char *text)
{
  static const char before[] = "# HELP a_total Help.\n# TYPE a_total counter\na_total{reason=\"",
                    after[] = "\"} 1\n";
  struct tg_buf out = {0};
  struct tg_exposition exposition = {.out = &out};
  tg_family(&exposition, "a_total", "counter", "Help.");
  tg_label(&exposition, "reason", text);
  tg_sample_uint(&exposition, 1);
  size_t head = strlen(before), tail = strlen(after);
  require(out.length >= head + tail && memcmp(out.data, before, head) == 0 &&
          memcmp(out.data + out.length - tail, after, tail) == 0);
  require(tg_utf8_valid(out.data, out.length) == out.length);
  for (size_t i = head; i < out.length - tail; i++) {
    require(out.data[i] != '"' && out.data[i] != '\n');
    if (out.data[i] == '\\') {
      i++;
      require(i < out.length - tail && strchr("\\\"n", out.data[i]));
    }
  }
  tg_buf_free(&out);
}

/* The message is what stands before the first 0xff, the reason what stands behind it. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
  static bool begun;
  if (!begun) {
    tg_log_secret(secret);
    tg_log_set_sink(take_line, NULL);
    begun = true;
  }
  char *text = fuzz_text(bytes, length), *reason = strchr(text, '\xff');
  if (reason)
    *reason++ = '\0';
  tg_log_with(TG_WARN, 7, TG_WITH(TG_NUMBER(CODE, 4000), TG_TEXT(REASON, reason)), "%s", text);
  check_label(text);
  free(text);
  return 0;
}
