-- kill -9 of workers, the manager and everything at random instants, under load, with two sinks whose bots
-- come and go each by itself: what one of them gets does not depend on the other. With TG_SPEC_LONG=1
-- (scripts/test --long) the series are longer, and each way to keep events has one.

local sinks_trial = require "spec.support.sinks_trial"

local LONG = os.getenv "TG_SPEC_LONG" == "1"
local SHARDS, WORKERS = 6, 3
local KILLS = LONG and 100 or 20

local VICTIMS = { "worker", "worker", "worker", "manager", "group" }

-- Mostly the next one dies when all shards are back, sometimes on its way there.
local function kill(t, last)
  local victim = t.random:one_of(VICTIMS)
  local whole = last or t.random:chance(0.7)
  if victim == "worker" then
    local resumed = t:counters().resumes_ok
    t:kill_worker(t:await_worker())
    if whole then
      t:wait_counter("resumes_ok", resumed + t.per_worker, 30000)
    end
    return whole
  elseif victim == "manager" then
    local workers = t:kill_manager()
    if t.random:chance(0.5) then
      t:await_end(workers)
    end
  else
    t:kill_group()
  end
  t:again { ready = whole }
  return whole
end

local function series(options)
  local t = sinks_trial.start {
    shards = SHARDS, per_worker = SHARDS / WORKERS, workers = WORKERS, rate = 800,
    queue = options.queue, event_handler = options.event_handler, sinks = { audit = options.audit },
  }
  local bots, up = { t.bot, t.sinks.audit }, { true, true }
  for i = 1, KILLS do
    local which = t.random:between(1, 2)
    if t.random:chance(0.3) then
      up[which] = not up[which]
      bots[which][up[which] and "up" or "down"](bots[which])
    end
    if kill(t, i == KILLS) then
      t:await_emitted(t.random:between(1, 60))
    end
    t:pass(t.random:between(0, 100))
  end
  t.bot:up()
  t.sinks.audit:up()
  t:assert_nothing_lost { name = KILLS .. " x kill -9, " .. options.name, identifies = SHARDS }
end

local WAYS = {
  { name = "two sinks with logs", audit = {} },
  { name = "the bot in memory, the other in a log", queue = { durability = "memory" }, audit = {} },
  { name = "batches, small windows", event_handler = { batch = true }, queue = { memory_bytes = 65536 },
    audit = { batch = true, queue = { memory_bytes = 65536 } } },
}

describe("two sinks, while processes are killed at random instants,", function()
  after_each(sinks_trial.stop)

  for i, way in ipairs(WAYS) do
    if LONG or i <= 2 then
      it("lose nothing: " .. way.name, function() series(way) end)
    end
  end
end)
