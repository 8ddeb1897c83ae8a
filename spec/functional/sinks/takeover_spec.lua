-- Starts with other numbers of workers: the logs of each sink are taken over, in order, by whoever has the
-- shard now.

local loop = require "spec.support.loop"
local sinks_trial = require "spec.support.sinks_trial"

local SHARDS = 6

local function spread(workers)
  return { workers = workers, per_worker = SHARDS / workers }
end

local function start(workers, options)
  local given = spread(workers)
  given.shards, given.rate = SHARDS, 1000
  given.queue = { memory_bytes = 32768 }
  given.sinks = { audit = { queue = { memory_bytes = 32768 } } }
  for name, value in pairs(options or {}) do
    given[name] = value
  end
  return sinks_trial.start(given)
end

local function await_own_logs(t, workers)
  for _, name in ipairs { "bot", "audit" } do
    loop.wait_for(function()
      return ("the logs of the dead to be gone, of %s; there are %s"):format(
        name, table.concat(t:logs(name), ", "))
    end, function() return #t:logs(name) == workers end)
  end
end

describe("a start with another number of workers", function()
  after_each(sinks_trial.stop)

  for first, second in pairs { [6] = 2, [2] = 3, [1] = 6 } do
    it(("%d, then %d: takes over the logs of both sinks, in order"):format(first, second), function()
      local t = start(first)
      t.bot:down()
      t:await_emitted(300)
      t.sinks.audit:down()
      t:await_emitted(300)
      t.gateway:stop()
      t:again(spread(second))
      t:await_emitted(300)
      assert.is_true(#t:logs "audit" > second, "the sink is down: older logs have to be there still")
      t.sinks.audit:up()
      t:await_emitted(100)
      t:kill_group()
      t:again(spread(first))
      t.bot:up()
      t:assert_nothing_lost {
        name = ("%d, %d, %d workers"):format(first, second, first), identifies = SHARDS,
      }
      await_own_logs(t, first)
    end)
  end

  it("is killed while it takes over, again and again: nobody loses anything", function()
    local t = start(6)
    for i = 1, 10 do
      local bot = i % 2 == 0 and t.bot or t.sinks.audit
      bot[i % 4 < 2 and "down" or "up"](bot)
      if t.random:chance(0.3) and t.gateway:ready_shards() > 0 then
        t.gateway:stop()
      else
        t:kill_group()
      end
      local options = spread(t.random:one_of { 1, 2, 3, 6 })
      options.ready = t.random:chance(0.3)
      t:again(options)
      t:pass(t.random:between(0, 300))
    end
    t:kill_group()
    t:again(spread(3))
    t.bot:up()
    t.sinks.audit:up()
    t:assert_nothing_lost { name = "10 take-overs cut off", identifies = SHARDS }
    await_own_logs(t, 3)
  end)
end)
