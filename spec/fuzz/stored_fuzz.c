/* What stands in records of the event log, of this version, of earlier ones, or of nobody: it is read or
 * refused with words, what is read lies within the record, and what is written of it reads the same. */

#include "fuzz.h"

#include "base/buf.h"
#include "delivery/lanes/body.h"

static void check_again(const struct tg_stored *event, enum tg_log_kind kind)
{
  char head[TG_STORED_HEAD_MAX];
  struct tg_buf record = {0};
  struct tg_stored again;
  tg_buf_append(&record, head, tg_stored_head(head, event));
  tg_buf_append(&record, event->message.at, event->message.length);
  require(record.length == tg_stored_length(event->type, event->message.length));
  struct tg_log_record of = {
      .shard_id = 3, .epoch = 7, .sequence = 42, .kind = kind, .payload = {record.data, record.length}};
  require(tg_stored_read(&of, &again, NULL));
  require(again.type == event->type && again.total_shards == event->total_shards &&
          again.guild_create == event->guild_create && again.marker == event->marker);
  require(
      again.message.length == event->message.length &&
      (again.message.length == 0 || memcmp(again.message.at, event->message.at, again.message.length) == 0));
  tg_buf_free(&record);
}

static void check(const char *text, size_t length, enum tg_log_kind kind)
{
  struct tg_error error = {0};
  struct tg_stored event;
  struct tg_log_record record = {
      .shard_id = 3, .epoch = 7, .sequence = 42, .kind = kind, .payload = {text, length}};
  if (!tg_stored_read(&record, &event, &error)) {
    require(strcmp(error.code, "log_damaged") == 0 && error.message[0]);
    return;
  }
  require(event.message.at >= text && event.message.at + event.message.length <= text + length);
  require((event.marker != TG_MARKER_NONE) == (kind == TG_LOG_MARKER));
  struct tg_buf body = {0};
  tg_body_write(&body, &event);
  require(body.length == tg_body_length(&event));
  tg_buf_free(&body);
  check_again(&event, kind);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
  char *text = fuzz_text(bytes, length);
  check(text, length, TG_LOG_EVENT);
  check(text, length, TG_LOG_MARKER);
  free(text);
  return 0;
}
