-- A first script for Tidegate, for someone who has never seen Lua.
--
--   DISCORD_TOKEN=... EVENT_HANDLER_URL=http://127.0.0.1:8081 tidegate run examples/scripts/first.lua
--
-- A script says what the gateway does with the events of your bot. It is read once at the start, and again
-- when you send the gateway a SIGHUP: try it, change a line, and see it take effect while all shards stay
-- connected. What stands behind two dashes, like this, is a comment.

-- `local` gives a name to something. Here: everything Tidegate offers.
local gateway = require "tidegate"

-- Curly braces hold settings, or lists. What is left out here comes from environment variables (the token,
-- the address of your bot) or has a default.
gateway.configure {
  intents = { "guilds", "guild_messages" }, -- which events Discord shall send
}

-- Events that your bot has no use for need not reach it. `false` says: drop them.
gateway.filter({ "TYPING_START", "PRESENCE_UPDATE", "CHANNEL_PINS_UPDATE" }, false)

-- A filter can look at the event first. `function ... end` is a piece of code that the gateway calls for each
-- message; `event.data` is what Discord sent, and dots lead into it. The result `false` drops the event; no
-- result (`nil`) lets it pass.
gateway.filter("MESSAGE_CREATE", function(event)
  if event.data.author.bot then
    return false -- written by another bot
  end
end)

-- To do something when an event has come, beside its delivery to your bot. `==` compares, `%s` and `%d` are
-- places for a text and a number.
gateway.on("GUILD_CREATE", function(event, shard)
  if event.guild_create == "joined" then
    gateway.log.info("shard %d: the bot has been added to %s", shard.id, event.data.name)
  end
end)

-- What the gateway does itself can be replaced, by a function of the same name. This one is asked what to do
-- when Discord closes a connection. It writes a line to the log, and leaves the decision to the function that
-- was there before.
local handle_close = gateway.shard.handle_close

function gateway.shard:handle_close(code, reason)
  gateway.log.info("shard %d: closed with code %d (%s)", self.id, code, reason or "no reason given")
  return handle_close(self, code, reason)
end
