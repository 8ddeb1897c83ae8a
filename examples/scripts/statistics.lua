-- Tells a counter how many messages each guild has written, beside the bot and without costing it anything.
--
--   EVENT_HANDLER_URL=http://127.0.0.1:8081 COUNTER_URL=http://127.0.0.1:9000/messages \
--     tidegate run examples/scripts/statistics.lua
--
-- The counter gets a POST such as {"41771983423143937": 12, "direct": 1}. What it does not accept waits in
-- an event log of its own, and is sent again; the bot gets its events meanwhile. Each POST has a key in the
-- header Idempotency-Key: one that comes a second time, since the answer to the first was lost, has been
-- counted.

local gateway = require "tidegate"

local URL = os.getenv "COUNTER_URL" or "http://127.0.0.1:9000/messages"
local LATE = 60 * 1000 -- ms

gateway.configure {
  intents = { "guilds", "guild_messages", "direct_messages" },
  sinks = {
    statistics = { -- without a URL: the function below takes the events
      events = { "MESSAGE_CREATE" },
      batch = true, -- up to 64 at once
      queue = { max_age = 6 * 3600 * 1000 }, -- older ones are not worth being counted
    },
  },
}

local statistics = gateway.sink "statistics"

-- It may wait. The events are of one shard, in order; the next ones come when it has returned.
function statistics.deliver(events)
  local counts = {}
  for _, event in ipairs(events) do
    local guild = event.guild_id or "direct"
    counts[guild] = (counts[guild] or 0) + 1
  end
  local first, last = events[1], events[#events]
  local key = ("%d.%d.%d-%d"):format(first.shard_id, first.epoch, first.sequence, last.sequence)
  local response, err = gateway.http.post(URL, { json = counts, headers = { ["Idempotency-Key"] = key } })
  if not response then
    return nil, err
  elseif response.status >= 300 then -- 4xx for good; 429, 5xx and no answer at all: the same events again
    local message = "the counter answered " .. response.status
    return nil, { code = "status", message = message, status = response.status }
  end
  return true
end

if gateway.role == "worker" then
  gateway.every(LATE, function()
    local queue = statistics:queue()
    if queue:age() > LATE then
      gateway.log.warn("%d messages wait for the counter, the oldest for %d s", #queue, queue:age() / 1000)
    end
  end)
end
