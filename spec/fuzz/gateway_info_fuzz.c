/* What answers in the place of Discord's GET /gateway/bot: either it is refused
 * with words, or what was read is within its bounds, and reads the same again.
 * The first byte chooses the status, the second one how long it asks to wait. */

#include "fuzz.h"

#include "manager/gateway_info.h"

static bool within_bounds(const struct tg_gateway_info *info)
{
  return memchr(info->url, '\0', sizeof info->url) && info->shards >= 0 && info->shards <= TG_SHARDS_MAX &&
         info->total >= 0 && info->remaining >= 0 && info->max_concurrency >= 0 &&
         info->max_concurrency <= TG_MAX_CONCURRENCY && info->reset_after >= 0;
}

static void check_information(const json_t *json)
{
  struct tg_gateway_info info, again;
  struct tg_error error = {0};
  if (!tg_gateway_info_parse(json, &info, &error)) {
    require(error.code[0] && error.message[0]);
    return;
  }
  require(within_bounds(&info));
  json_t *shown = tg_gateway_info_to_json(&info);
  require(tg_gateway_info_parse(shown, &again, &error));
  require(strcmp(info.url, again.url) == 0 && info.shards == again.shards &&
          info.remaining == again.remaining && info.max_concurrency == again.max_concurrency);
  json_decref(shown);
  tg_gateway_info_complete(&info, 16);
  require(within_bounds(&info));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
  static const long statuses[] = {200, 200, 200, 200, 204, 301, 401, 403, 404, 429, 500, 502, 503, 0};
  static const tg_ms waits[] = {-1, 0, 1000, INT64_MAX};
  if (length < 2)
    return 0;
  struct tg_http_response response = {
      .status = statuses[bytes[0] % (sizeof statuses / sizeof *statuses)],
      .retry_after = waits[bytes[1] % (sizeof waits / sizeof *waits)],
      .body = {(const char *)bytes + 2, length - 2},
      .headers = "",
  };
  if (response.status == 0)
    tg_fail(&response.error, "refused", "refused");
  struct tg_error error = {0};
  tg_ms wait;
  json_t *json = tg_gateway_info_judge(&response, "https://discord.com/api/v10/gateway/bot", &wait, &error);
  if (json)
    check_information(json);
  else
    require(error.code[0] && error.message[0] && tg_gateway_info_wait(error.code, wait, 3) >= -1);
  json_decref(json);
  return 0;
}
