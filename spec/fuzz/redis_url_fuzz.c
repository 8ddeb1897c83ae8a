/* URLs of Redis: what is taken has a name that leads to the same place, and no login is ever shown. */

#include "fuzz.h"

#include "net/redis_url.h"

static const char secret[] = "GEHEIM";

static void check(const char *text)
{
  struct tg_redis_url url, again;
  struct tg_error error = {0};
  if (!tg_redis_url_parse(text, &url, &error)) {
    require(strcmp(error.code, "bad_url") == 0 && error.message[0] && !strstr(error.message, secret));
  } else {
    require((url.path != NULL) != (url.host != NULL) && url.database >= 0 && !strstr(url.name, secret));
    if (url.host) {
      require(tg_redis_url_parse(url.name, &again, &error));
      require(strcmp(again.host, url.host) == 0 && strcmp(again.port, url.port) == 0);
      require(again.database == url.database && again.tls == url.tls && !again.user && !again.password);
      tg_redis_url_free(&again);
    }
  }
  tg_redis_url_free(&url);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
  static const char *const starts[] = {"",
                                       "redis://",
                                       "rediss://:GEHEIM@",
                                       "redis://GEHEIM:x@",
                                       "redis+unix://",
                                       "redis+unix://app:GEHEIM@",
                                       "redis://app:GEHEIM"};
  enum { STARTS = sizeof starts / sizeof starts[0] };
  if (length < 1)
    return 0;
  char *rest = fuzz_text(bytes + 1, length - 1);
  char *text = malloc(length + 40);
  snprintf(text, length + 40, "%s%s", starts[bytes[0] % STARTS], rest);
  if (!strstr(rest, secret))
    check(text);
  free(text);
  free(rest);
  return 0;
}
