return { fields = {
  rates = {
    type = "array", required = true, between = { 1, 1000 },
    description = "rules; of those that name an event's type and guild, the first one decides",
    elements = { type = "record", fields = {
      events = {
        type = "array", elements = { type = "string", match = "^[%u%d_]+$" }, required = true,
        between = { 1, 1000 }, description = "types of events; each is counted by itself",
      },
      guilds = {
        type = "array", elements = { type = "string", match = "^%d+$" },
        description = "ids of the guilds it is about; left out: all events, also those of no guild",
      },
      per_second = {
        type = "number", between = { 0.001, 100000 },
        description = "so many events a second pass; 0.1 is one in ten seconds",
      },
      burst = {
        type = "integer", between = { 1, 100000 },
        description = "so many pass at once after a quiet time; left out: those of one second, at least 1",
      },
      per = {
        type = "string", one_of = { "guild", "worker" }, default = "worker",
        description = "whether per_second is for each guild, or for all guilds of a worker together",
      },
      fraction = {
        type = "number", between = { 0, 1 },
        description = "in the place of per_second: so large a part passes, chosen by chance",
      },
    } },
  },
} }
