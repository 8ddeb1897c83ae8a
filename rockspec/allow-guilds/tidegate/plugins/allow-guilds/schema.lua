return { fields = {
  guilds = {
    type = "array", elements = { type = "string", match = "^%d+$" }, default = {},
    description = "ids of guilds whose events pass, besides those in `file`",
  },
  file = {
    type = "string", between = { 1, 4096 },
    description = "a file with ids of guilds, one or more a line; `#` begins a comment",
  },
  interval = {
    type = "integer", default = 2000, between = { 100, 3600000 },
    description = "ms between looks at the file; a new list holds once two looks have found it the same",
  },
  without_guild = {
    type = "string", default = "pass", one_of = { "pass", "drop" },
    description = "what becomes of events of no guild, such as direct messages",
  },
  events = {
    type = "array", elements = { type = "string", match = "^[%u%d_]+$" }, default = {},
    description = "the types of events it is about; none named: all but READY, RESUMED and RATE_LIMITED",
  },
} }
