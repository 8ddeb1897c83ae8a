-- What `presence-rotation` may be configured with.

return {
  fields = {
    presences = {
      type = "array", required = true, between = { 1, 100 },
      description = "what is shown, one after the other",
      elements = {
        type = "record",
        fields = {
          text = {
            type = "string", between = { 1, 128 },
            description = "what stands behind the type, with `{guilds}`, `{shards}` and `{online}` in it, "
              .. "if you like. Without it no activity is shown",
          },
          type = {
            type = "string", default = "playing",
            one_of = { "playing", "streaming", "listening", "watching", "custom", "competing" },
            description = "the kind of activity; of `custom` the text alone is shown",
          },
          url = {
            type = "string", match = "^https?://",
            description = "of `streaming`: a stream at Twitch or YouTube",
          },
          status = {
            type = "string", one_of = { "online", "idle", "dnd", "invisible" }, default = "online",
            description = "the dot beside the bot's picture",
          },
        },
      },
    },
    interval = {
      type = "integer", between = { 5000, 86400000 }, default = 60000,
      description = "how long each is shown, ms. Discord takes five changes in 20 s, others' among them",
    },
    order = {
      type = "string", one_of = { "list", "random" }, default = "list",
      description = "whether they follow each other as in the list, or by chance",
    },
    refresh = {
      type = "integer", between = { 60000, 86400000 }, default = 600000,
      description = "how often Discord is asked for the number of guilds, if a text has it. ms",
    },
  },
}
