-- The gateway of a bot that takes its events from Redis.

local gateway = require "tidegate"

gateway.configure {
  intents = { "guilds", "guild_messages" },
  sinks = { streams = { url = os.getenv "REDIS_URL" or "redis://127.0.0.1:6379" } },
}
