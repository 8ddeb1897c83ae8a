#include "config/handler_rules.h"

#include "config/handler_values.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { KEY_SIZE = TG_SINK_PATH_SIZE + 8 };

static bool names(const struct tg_handler_config *handler, const char *event)
{
  for (int i = 0; i < handler->events.count; i++)
    if (strcmp(handler->events.items[i], event) == 0)
      return true;
  return false;
}

bool tg_handler_takes_all(const struct tg_handler_config *handler)
{
  return handler->events.count == 0 || names(handler, TG_ALL_EVENTS);
}

bool tg_handler_takes(const struct tg_handler_config *handler, const char *event)
{
  return tg_handler_takes_all(handler) || names(handler, event);
}

void tg_check_handler(const char *path, const struct tg_handler_config *handler,
                      const struct tg_queue_config *queue, struct tg_problems *problems)
{
  char events[KEY_SIZE];
  snprintf(events, sizeof events, "%s.events", path);
  if (handler->format == TG_FORMAT_CHAT_SDK && handler->batch.events > 0)
    tg_problem_add(problems,
                   "%s.batch: must be false with %s.format \"chat-sdk\"; the adapter takes one event a "
                   "request, and would answer 200 to a list and drop it",
                   path, path);
  if (handler->batch.linger > 0 && handler->batch.linger >= queue->max_age)
    tg_problem_add(
        problems,
        "%s.batch.linger: %lld ms are not less than queue.max_age, %lld ms: events would be dropped "
        "before they are sent",
        path, (long long)handler->batch.linger, (long long)queue->max_age);
  if (handler->batch.linger > 0 && handler->order == TG_ORDERED_BY_GUILD)
    tg_problem_add(problems,
                   "%s.batch.linger: must be 0 with %s.order \"guild\": a guild's events go as soon as "
                   "those before them are taken",
                   path, path);
  if (handler->signing_secrets.count > TG_SIGNING_SECRETS)
    tg_problem_add(problems,
                   "%s.signing_secrets: has %d secrets; two are enough, the new one and the one that it "
                   "takes the place of",
                   path, handler->signing_secrets.count);
  if (handler->events.count > 1 && names(handler, TG_ALL_EVENTS))
    tg_problem_add(problems, "%s: has \"all\" and other names; write one or the other", events);
  if (handler->events.count == 0 && !tg_problem_is_with(problems, events))
    tg_problem_add(problems, "%s: names no event; expected names like MESSAGE_CREATE, or \"all\"", events);
}

bool tg_url_leads_to(const char *url, const char *listen)
{
  static const char unix_url[] = "http+unix://", unix_socket[] = "unix:";
  const char *at = strstr(url, "://");
  bool to_socket = strncasecmp(url, unix_url, strlen(unix_url)) == 0;
  if (!at || strcmp(listen, "off") == 0 ||
      to_socket != (strncmp(listen, unix_socket, strlen(unix_socket)) == 0))
    return false;
  const char *own = to_socket ? listen + strlen(unix_socket) : listen;
  size_t length = strcspn(at + 3, to_socket ? ":" : "/?#");
  return strlen(own) == length && strncasecmp(at + 3, own, length) == 0;
}

void tg_check_handler_urls(const char *path, const struct tg_handler_config *handler, const char *listen,
                           struct tg_problems *problems)
{
  for (int i = 0; i < handler->urls.count; i++)
    if (tg_url_leads_to(handler->urls.items[i], listen))
      tg_problem_add(problems,
                     "%s.urls[%d]: leads to %s, this gateway's own control.listen; events need the "
                     "address of the bot",
                     path, i + 1, listen);
}
