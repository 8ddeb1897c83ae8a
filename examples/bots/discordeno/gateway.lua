-- The gateway of a bot that is written with discordeno; secrets and addresses are in .env.

local gateway = require "tidegate"

gateway.configure {
  intents = { "guilds", "guild_members", "guild_messages", "message_content" },
  event_handler = { format = "discordeno", guild_loaded = true },
}
