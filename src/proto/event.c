#include "proto/event.h"

#include "proto/event_types.h"

#include <stddef.h>

const char *tg_guild_create_name(enum tg_guild_create kind)
{
  switch (kind) {
  case TG_GUILD_LOADING:
    return "loading";
  case TG_GUILD_JOINED:
    return "joined";
  case TG_GUILD_AVAILABLE:
    return "available";
  case TG_GUILD_NONE:
    break;
  }
  return NULL;
}

static bool data_number(const struct tg_event *event, const char *key, uint64_t *number)
{
  struct tg_span value;
  return tg_json_member(event->data, key, &value) && tg_json_uint(value, number);
}

bool tg_event_guild_id(const struct tg_event *event, uint64_t *guild_id)
{
  bool is_guild = event->type == TG_EVENT_GUILD_CREATE || event->type == TG_EVENT_GUILD_UPDATE ||
                  event->type == TG_EVENT_GUILD_DELETE;
  return data_number(event, is_guild ? "id" : "guild_id", guild_id);
}

static bool user_number(struct tg_span object, const char *key, uint64_t *number)
{
  struct tg_span user, value;
  return tg_json_member(object, key, &user) && tg_json_member(user, "id", &value) &&
         tg_json_uint(value, number);
}

static bool user_of_member(const struct tg_event *event, uint64_t *number)
{
  struct tg_span member;
  return tg_json_member(event->data, "member", &member) && user_number(member, "user", number);
}

/* One pass over most events: messages have an author, members and presences a user. */
bool tg_event_user_id(const struct tg_event *event, uint64_t *user_id)
{
  switch (event->type) {
  case TG_EVENT_MESSAGE_CREATE:
  case TG_EVENT_MESSAGE_UPDATE:
    return user_number(event->data, "author", user_id);
  case TG_EVENT_READY:
  case TG_EVENT_GUILD_MEMBER_ADD:
  case TG_EVENT_GUILD_MEMBER_UPDATE:
  case TG_EVENT_GUILD_MEMBER_REMOVE:
  case TG_EVENT_PRESENCE_UPDATE:
    return user_number(event->data, "user", user_id);
  }
  return data_number(event, "user_id", user_id) || user_number(event->data, "user", user_id) ||
         user_of_member(event, user_id) || user_number(event->data, "author", user_id);
}

bool tg_event_id(const struct tg_event *event, uint64_t *id) { return data_number(event, "id", id); }
