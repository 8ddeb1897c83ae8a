-- The gateway of a bot that is written with the Chat SDK; EVENT_HANDLER_URL in .env says where that bot is.

require "tidegate".configure {
  token = os.getenv "DISCORD_BOT_TOKEN",
  intents = { "guilds", "guild_messages", "guild_message_reactions", "message_content", "direct_messages",
    "direct_message_reactions" },
  event_handler = { format = "chat-sdk",
    events = { "MESSAGE_CREATE", "MESSAGE_REACTION_ADD", "MESSAGE_REACTION_REMOVE" } },
}
