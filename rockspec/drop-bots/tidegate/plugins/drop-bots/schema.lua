local snowflakes = { type = "string", match = "^%d+$" }

return { fields = {
  events = {
    type = "array", default = { "MESSAGE_CREATE", "MESSAGE_UPDATE" },
    elements = { type = "string",
                 one_of = { "MESSAGE_CREATE", "MESSAGE_UPDATE", "MESSAGE_REACTION_ADD", "TYPING_START" } },
    description = "what of bots is dropped",
  },
  channels = {
    type = "array", elements = snowflakes, default = {},
    description = "ids of the channels it is about; none named: all. A thread has an id of its own",
  },
  except_channels = {
    type = "array", elements = snowflakes, default = {},
    description = "ids of channels whose bots are let through",
  },
  except_bots = {
    type = "array", elements = snowflakes, default = {},
    description = "ids of bots, and of webhooks, that are let through everywhere",
  },
  webhooks = {
    type = "boolean", default = false,
    description = "whether messages of webhooks are dropped, too",
  },
} }
