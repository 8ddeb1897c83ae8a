/* What gateway hosts and their broker of identifies say to each other. A request
 * is refused with words or within its bounds, and written again it reads the
 * same; an answer, whatever its status, means something that can be acted upon.
 * The first byte chooses request or answer, the second one the status. */

#include "fuzz.h"

#include "manager/identify/broker_wire.h"

enum { DAY = 24 * 3600 * 1000 };

static void check_request(const json_t *body, int shard_id)
{
  struct tg_broker_message message, again;
  struct tg_error error = {0};
  if (!tg_broker_message_read(body, shard_id, &message, &error)) {
    require(strcmp(error.code, "bad_request") == 0 && error.message[0]);
    return;
  }
  require(message.shard_id == shard_id && message.number >= 0 && message.total_shards >= 0 &&
          message.max_concurrency >= 0 && message.first_shard_id >= -1 && message.last_shard_id >= -1);
  require(message.wait >= 0 && message.wait <= TG_BROKER_WAIT_MAX && message.sent_ago >= 0 &&
          message.sent_ago <= DAY);
  require(memchr(message.host, '\0', sizeof message.host) && memchr(message.bot, '\0', sizeof message.bot));
  bool says_all =
      message.host[0] && message.bot[0] && message.total_shards > 0 && message.max_concurrency > 0 &&
      (message.word != TG_WORD_CHECK || (message.first_shard_id >= 0 && message.last_shard_id >= 0));
  if (!says_all)
    return;
  json_t *written = tg_broker_message_write(&message);
  require(tg_broker_message_read(written, shard_id, &again, &error));
  require(again.word == message.word && again.number == message.number &&
          strcmp(again.host, message.host) == 0 && strcmp(again.bot, message.bot) == 0);
  json_decref(written);
}

static void check_answer(const json_t *body, int status)
{
  struct tg_broker_answer answer;
  tg_broker_answer_read(status, body, -1, "refused", &answer);
  bool is_good = answer.verdict <= TG_BROKER_HELD_BACK;
  require(memchr(answer.why, '\0', sizeof answer.why) != NULL && (!is_good || answer.why[0] == '\0'));
  require(answer.waited >= -DAY && answer.waited <= DAY && answer.valid_for >= 0 && answer.valid_for <= DAY);
  require(answer.retry_after >= -1 && answer.retry_after <= DAY && answer.max_concurrency >= 0);
  require(answer.verdict != TG_BROKER_GRANTED || status == 200);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
  static const int statuses[] = {200, 200, 202, 202, 409, 400, 401, 404, 408, 429, 500, 503, 302, 0};
  if (length < 2)
    return 0;
  json_t *body = json_loadb((const char *)bytes + 2, length - 2, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
  if (bytes[0] & 1)
    check_request(body, bytes[1]);
  else
    check_answer(body, statuses[bytes[1] % (sizeof statuses / sizeof *statuses)]);
  json_decref(body);
  return 0;
}
