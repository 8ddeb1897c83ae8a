-- What may be configured. All mistakes are told before anything of the plugin runs.

return {
  fields = {
    channels = {
      type = "array",
      elements = { type = "string", match = "^%d+$" },
      default = {},
      description = "ids of channels; their messages do not reach the bot",
    },
  },
}
