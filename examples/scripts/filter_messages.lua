-- Lets only those messages reach the bot that it has to see: its commands, and what mentions it, in the
-- guilds that it serves.
--
--   BLOCKED_GUILDS=41771983423143937,41771983423143938 tidegate run examples/scripts/filter_messages.lua
--
-- Dropped events count as delivered: they are not asked for again after a reconnect.

local gateway = require "tidegate"

local PREFIX = "!"

-- The script runs in each process once at load, so that what does not change is worked out here, not per
-- event.
local blocked = {}
for guild_id in (os.getenv "BLOCKED_GUILDS" or ""):gmatch "%d+" do
  blocked[guild_id] = true -- snowflakes are strings in Lua, too: they have more digits than a number can hold
end

gateway.configure {
  intents = { "guilds", "guild_messages", "message_content" },
}

-- Constant rules are kept in C; Lua never runs for these events.
gateway.filter({ "TYPING_START", "PRESENCE_UPDATE", "CHANNEL_PINS_UPDATE" }, false)

-- event.guild_id and event.size are known without decoding the message. event.data decodes it at the first
-- touch, so the cheap questions come first.
local function from_blocked_guild(event)
  return event.guild_id ~= nil and blocked[event.guild_id] == true
end

local function is_for_the_bot(message)
  return message.content:sub(1, #PREFIX) == PREFIX
    or #message.mentions > 0
end

gateway.filter("MESSAGE_CREATE", function(event)
  if from_blocked_guild(event) then
    return false
  end
  local message = event.data
  if message.author.bot or not is_for_the_bot(message) then
    return false
  end
end)

gateway.filter({ "MESSAGE_UPDATE", "MESSAGE_DELETE" }, function(event)
  if from_blocked_guild(event) then
    return false
  end
end)
