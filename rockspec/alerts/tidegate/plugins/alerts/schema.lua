-- What `alerts` may be configured with.

return {
  fields = {
    url = {
      type = "string", required = true, secret = true, reference = true, match = "^https?[%w+]*://",
      description = "where alerts are posted to: a webhook of Discord's, or any URL that takes JSON",
    },
    format = {
      type = "string", one_of = { "auto", "discord", "json" }, default = "auto",
      description = "a message of Discord's, or all that is known as JSON; `auto`: by the URL",
    },
    headers = {
      type = "map", keys = { type = "string", match = "^[%w-]+$" },
      values = { type = "string", secret = true, reference = true }, default = {},
      description = "headers that are sent with each alert, an `Authorization` for example",
    },
    events = {
      type = "array", between = { 1, 20 },
      elements = {
        type = "string",
        one_of = {
          "disconnected", "invalid_session", "requested_reconnect", "identifying", "ready", "resumed",
          "guilds_loaded", "resharding", "deaf", "handler_down", "handler_up", "reload", "worker_exit",
        },
      },
      default = { "disconnected", "invalid_session", "resharding", "deaf", "handler_down", "handler_up",
                  "worker_exit" },
      description = "which life-cycle events give alerts; `worker_exit`: a worker's process has ended",
    },
    delay = {
      type = "integer", between = { 0, 600000 }, default = 2000,
      description = "how long the first alert waits for others that belong to it, ms",
    },
    quiet = {
      type = "integer", between = { 0, 86400000 }, default = 60000,
      description = "how long there is no other message after one, ms; what comes meanwhile is one then",
    },
    title = {
      type = "string", between = { 1, 100 }, default = "Tidegate",
      description = "what messages begin with, to tell several gateways from each other",
    },
  },
}
