-- kill -9 of random workers at random instants, and of all processes, however events are kept and sent.

local trial = require "spec.support.kill_trial"

local SHARDS, WORKERS = 8, 4

local OPTIONS = {
  { "in batches", "event_handler = { markers = true, batch = true }, queue = { memory_bytes = 32768 }" },
  { "with each turn synced", 'event_handler = { markers = true }, queue = { sync = "batch" }' },
  { "from memory alone", 'event_handler = { markers = true }, queue = { durability = "memory" }' },
  { "in batches from memory alone",
    'event_handler = { markers = true, batch = true }, queue = { durability = "memory" }' },
}

describe("nothing is lost by kills when events are sent", function()
  after_each(trial.stop)

  for _, case in ipairs(OPTIONS) do
    local how, options = unpack(case)
    it(how, function()
      local t = trial.start {
        shards = SHARDS, per_worker = SHARDS / WORKERS, workers = WORKERS, rate = 800,
        script = ('require "tidegate".configure { %s }\n'):format(options),
      }
      for _ = 1, 3 do
        t:kill_workers(5)
        t:kill_group()
        t:again()
      end
      t:assert_nothing_lost { name = "15 + 3 x kill -9, " .. how, identifies = SHARDS }
    end)
  end
end)
