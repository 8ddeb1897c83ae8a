#include "delivery/interactions/interaction_facts.h"

#include "delivery/interactions/proxied_error.h"
#include "net/http_text.h"

#include <ctype.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { TOKEN_MAX = 1024, ALREADY_ACKNOWLEDGED = 40060, UNKNOWN_INTERACTION = 10062 };
static const tg_ms discord_epoch = 1420070400000;

/* It becomes a part of a path, and must not lead elsewhere. */
static bool is_token(struct tg_span text)
{
  if (text.length == 0 || text.length > TOKEN_MAX)
    return false;
  for (size_t i = 0; i < text.length; i++)
    if (!isalnum((unsigned char)text.at[i]) && !memchr("-._~=+:", text.at[i], 7))
      return false;
  return text.length > 2 || memcmp(text.at, "..", text.length) != 0;
}

bool tg_interaction_read(struct tg_span data, struct tg_interaction_facts *facts)
{
  struct tg_span id, type, token;
  uint64_t number;
  if (!tg_json_member(data, "id", &id) || !tg_json_uint(id, &facts->id) ||
      !tg_json_member(data, "type", &type) || !tg_json_uint(type, &number) ||
      !tg_json_member(data, "token", &token) || !tg_json_plain_string(token, &facts->token))
    return false;
  facts->type = (int)(number < 100 ? number : 0);
  return facts->id > 0 && is_token(facts->token) && tg_interaction_deferral(facts->type) != NULL;
}

char *tg_interaction_callback_url(const char *rest_url, const struct tg_interaction_facts *facts)
{
  struct tg_buf url = {0};
  tg_buf_printf(&url, "%s/interactions/%llu", rest_url, (unsigned long long)facts->id);
  tg_http_path_add(&url, facts->token); /* is_token() has seen to it */
  tg_buf_puts(&url, "/callback");
  return tg_buf_take(&url);
}

tg_ms tg_interaction_made_at(uint64_t id)
{
  return (tg_ms)(id >> 22) + discord_epoch;
}

const char *tg_interaction_deferral(int type)
{
  switch (type) {
  case TG_INTERACTION_COMMAND:
  case TG_INTERACTION_MODAL:
    return "{\"type\":5}";
  case TG_INTERACTION_COMPONENT:
    return "{\"type\":6}";
  case TG_INTERACTION_AUTOCOMPLETE:
    return "{\"type\":8,\"data\":{\"choices\":[]}}";
  }
  return NULL;
}

static bool ends_with(const char *host, size_t length, const char *domain)
{
  size_t size = strlen(domain);
  return length >= size && strncasecmp(host + length - size, domain, size) == 0 &&
         (length == size || host[length - size - 1] == '.');
}

bool tg_interaction_wants_authorization(const char *rest_url)
{
  const char *host = strstr(rest_url, "://");
  host = host ? host + 3 : rest_url;
  size_t length = strcspn(host, "/?#");
  const char *at = memchr(host, '@', length);
  if (at) {
    length -= (size_t)(at + 1 - host);
    host = at + 1;
  }
  const char *colon = memchr(host, ':', length);
  if (colon)
    length = (size_t)(colon - host);
  return !ends_with(host, length, "discord.com") && !ends_with(host, length, "discordapp.com");
}

/* Its body is exacter than its header, which is in whole seconds. */
static tg_ms retry_after_of(struct tg_span body, tg_ms header)
{
  struct tg_span value;
  char text[32];
  if (!tg_json_member(body, "retry_after", &value) || value.length >= sizeof text)
    return header;
  memcpy(text, value.at, value.length);
  text[value.length] = '\0';
  char *end;
  double seconds = strtod(text, &end);
  return end == text || !(seconds >= 0 && seconds < 1e6) ? header : (tg_ms)(seconds * 1000 + 0.999);
}

static enum tg_callback_verdict judge_error(int code, bool is_final)
{
  if (code == ALREADY_ACKNOWLEDGED)
    return TG_CALLBACK_TAKEN_BEFORE;
  if (code == UNKNOWN_INTERACTION)
    return TG_CALLBACK_TOO_LATE;
  return is_final ? TG_CALLBACK_REFUSED : TG_CALLBACK_AGAIN;
}

enum tg_callback_verdict tg_callback_judge(long status, struct tg_span body, tg_ms retry_after, tg_ms *wait)
{
  *wait = -1;
  if (status >= 200 && status < 300)
    return TG_CALLBACK_TAKEN;
  if (status == 429) {
    *wait = retry_after_of(body, retry_after);
    return TG_CALLBACK_AGAIN;
  }
  if (status >= 500) {
    struct tg_proxied_error error;
    *wait = retry_after;
    tg_proxied_error_read(body, &error);
    bool is_final = error.status >= 400 && error.status < 500 && error.status != 408 && error.status != 429;
    return judge_error(error.code, is_final);
  }
  if (status == 0 || status == 408)
    return TG_CALLBACK_AGAIN;
  struct tg_span value;
  uint64_t code = 0;
  if (tg_json_member(body, "code", &value))
    tg_json_uint(value, &code);
  return judge_error(code <= INT_MAX ? (int)code : 0, true);
}
