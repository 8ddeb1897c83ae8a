#include "proto/close_code.h"

#include <stddef.h>
#include <string.h>

struct close_row {
  int code;
  enum tg_close_action action;
  const char *meaning;
  const char *advice;
};

static const struct close_row rows[] = {
    /* Only a 1000 or 1001 of our own ends a session; Discord sends 1000 on
     * missed heartbeats, too, and the answer to RESUME tells whether the
     * session is still there. The same goes for 4009. */
    {1000, TG_CLOSE_RESUME, "Normal closure", NULL},
    {1001, TG_CLOSE_RESUME, "Going away", NULL},
    {1002, TG_CLOSE_RESUME, "Protocol error", NULL},
    {1005, TG_CLOSE_RESUME, "Closed without a code", NULL},
    {1006, TG_CLOSE_RESUME, "Connection lost without a close frame", NULL},
    {1007, TG_CLOSE_RESUME, "Text that is not UTF-8", NULL},
    {1009, TG_CLOSE_RESUME, "Message too big", NULL},
    {1011, TG_CLOSE_RESUME, "Server error", NULL},
    {1012, TG_CLOSE_RESUME, "Server restarts", NULL},
    {1013, TG_CLOSE_RESUME, "Server overloaded, try again later", NULL},
    {4000, TG_CLOSE_RESUME, "Unknown error", NULL},
    {4001, TG_CLOSE_RESUME, "Unknown opcode, or a payload that its opcode does not allow", NULL},
    {4002, TG_CLOSE_RESUME, "Frame that could not be decoded, or over 4096 bytes", NULL},
    {4003, TG_CLOSE_IDENTIFY, "Not identified, or the session was revoked", NULL},
    {4004, TG_CLOSE_STOP, "Authentication failed",
     "Discord does not accept the token: it was reset or mistyped. Copy the current one from the "
     "Developer Portal (https://discord.com/developers/applications, your application, page \"Bot\", "
     "\"Reset Token\") into DISCORD_TOKEN, or `token` in gateway.configure, and start again."},
    {4005, TG_CLOSE_RESUME, "Identified twice", NULL},
    {4006, TG_CLOSE_IDENTIFY, "Session no longer valid", NULL},
    {4007, TG_CLOSE_IDENTIFY, "Invalid sequence in RESUME", NULL},
    {4008, TG_CLOSE_RESUME, "Rate limited: too many frames sent", NULL},
    {4009, TG_CLOSE_RESUME, "Session timed out", NULL},
    {4010, TG_CLOSE_STOP, "Invalid shard",
     "Discord does not accept these shard numbers: a shard id must be below total_shards, and for a "
     "large bot total_shards must be a multiple of the number that Discord recommends. Leave out "
     "total_shards, first_shard_id and last_shard_id to use what Discord recommends."},
    {4011, TG_CLOSE_STOP, "Sharding required",
     "The bot is in too many guilds for so few shards (at most 2500 guilds a shard). Raise "
     "total_shards, or leave it out to use what Discord recommends."},
    {4012, TG_CLOSE_STOP, "Invalid API version",
     "Discord no longer serves version 10 of its gateway, which this program speaks. Update tidegate; "
     "if GATEWAY_URL or `gateway_bot.url` is set, check that it leads to Discord's gateway."},
    {4013, TG_CLOSE_STOP, "Invalid intents",
     "The number in `intents` (INTENTS) has bits that Discord does not know. Write intents by name "
     "instead, for example intents = { \"guilds\", \"guild_messages\" }."},
    {4014, TG_CLOSE_STOP, "Disallowed intents",
     "The bot asks for privileged intents (guild_members, guild_presences, message_content) that are "
     "not switched on for it. Switch them on in the Developer Portal "
     "(https://discord.com/developers/applications, your application, page \"Bot\", section "
     "\"Privileged Gateway Intents\"), remove them from `intents` (INTENTS), or name those that the bot "
     "can do without in optional_intents."},
};

static const struct close_row *find_row(int code)
{
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    if (rows[i].code == code)
      return &rows[i];
  }
  return NULL;
}

enum tg_close_action tg_close_action(int code)
{
  const struct close_row *row = find_row(code);
  return row ? row->action : TG_CLOSE_RESUME;
}

const char *tg_close_meaning(int code)
{
  const struct close_row *row = find_row(code);
  return row ? row->meaning : "Undocumented close code";
}

const char *tg_close_advice(int code)
{
  const struct close_row *row = find_row(code);
  return row ? row->advice : NULL;
}

bool tg_close_wants_pause(int code) { return code == 4008; }

static const char *const action_names[] = {
    [TG_CLOSE_RESUME] = "resume",
    [TG_CLOSE_IDENTIFY] = "identify",
    [TG_CLOSE_STOP] = "stop",
};

const char *tg_close_action_name(enum tg_close_action action) { return action_names[action]; }

bool tg_close_action_parse(const char *name, enum tg_close_action *action)
{
  for (size_t i = 0; i < sizeof action_names / sizeof action_names[0]; i++) {
    if (strcmp(name, action_names[i]) == 0) {
      *action = (enum tg_close_action)i;
      return true;
    }
  }
  return false;
}
