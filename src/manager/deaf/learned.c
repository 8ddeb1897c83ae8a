#include "manager/deaf/learned.h"

#include "base/log.h"
#include "manager/state_file.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { VERSION = 1 };

static const char file_name[] = "baseline.json";

static void name_bot(uint64_t bot, char text[24])
{
  snprintf(text, 24, "%016" PRIx64, bot);
}

static void read_one(struct tg_baseline *baseline, const json_t *text)
{
  if (json_is_string(text))
    tg_baseline_read(baseline, json_string_value(text));
}

void tg_learned_read(struct tg_hearing *hearing, const char *state_dir, uint64_t bot, int first)
{
  struct tg_error error;
  char own[24], key[16];
  name_bot(bot, own);
  json_t *content = tg_state_file_read(state_dir, file_name, &error);
  if (!content && strcmp(error.code, "missing") != 0)
    tg_log(TG_WARN, TG_NO_SHARD, "%s: what is usual of the shards is learned anew", error.message);
  const char *theirs = json_string_value(json_object_get(content, "bot"));
  bool ours = theirs && strcmp(theirs, own) == 0 &&
              json_integer_value(json_object_get(content, "version")) == VERSION;
  const json_t *shards = json_object_get(content, "shards");
  int count = tg_hearing_shards(hearing);
  for (int place = 0; ours && place < count; place++) {
    snprintf(key, sizeof key, "%d", first + place);
    read_one(tg_hearing_baseline(hearing, place), json_object_get(shards, key));
  }
  if (ours)
    read_one(tg_hearing_baseline(hearing, count), json_object_get(content, "together"));
  json_decref(content);
}

/* A new reference. */
static json_t *text_of(const struct tg_baseline *baseline, struct tg_buf *buf)
{
  buf->length = 0;
  tg_baseline_write(baseline, buf);
  return json_stringn(buf->data, buf->length);
}

/* Nothing but time is lost when it fails; the disk's other users say so. */
void tg_learned_write(struct tg_hearing *hearing, const char *state_dir, uint64_t bot, int first)
{
  struct tg_error error;
  struct tg_buf buf = {0};
  char own[24], key[16];
  json_t *shards = json_object();
  int count = tg_hearing_shards(hearing);
  name_bot(bot, own);
  for (int place = 0; place < count; place++) {
    const struct tg_baseline *baseline = tg_hearing_baseline(hearing, place);
    if (tg_baseline_known(baseline) == 0)
      continue;
    snprintf(key, sizeof key, "%d", first + place);
    json_object_set_new(shards, key, text_of(baseline, &buf));
  }
  json_t *content = json_pack("{s:i, s:s, s:o, s:o}", "version", VERSION, "bot", own, "together",
                              text_of(tg_hearing_baseline(hearing, count), &buf), "shards", shards);
  tg_state_file_write(state_dir, file_name, content, &error);
  json_decref(content);
  tg_buf_free(&buf);
}
