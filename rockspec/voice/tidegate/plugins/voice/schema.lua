-- What `voice` may be configured with.

return {
  fields = {
    url = {
      type = "string", secret = true, reference = true, match = "^https?[%w+]*://",
      description = "where each message is posted to as JSON. Without it `event` has to be true",
    },
    headers = {
      type = "map", keys = { type = "string", match = "^[%w-]+$" },
      values = { type = "string", secret = true, reference = true }, default = {},
      description = "headers that are sent with it, an `Authorization` for example",
    },
    event = {
      type = "boolean", default = false,
      description = "the event that makes the two complete gets a member `voice`, and goes to the bot so",
    },
    rejoin = {
      type = "boolean", default = true,
      description = "whether the bot goes back to its channels when a shard has a new session",
    },
    give_up = {
      type = "integer", between = { 1000, 600000 }, default = 60000,
      description = "how long a message is tried again that `url` does not take, ms",
    },
  },
}
