-- Restarts with other numbers of workers: the logs of those that are gone are taken over, older before newer,
-- by whoever has the shard now; also when the take-over itself is cut off.

local loop = require "spec.support.loop"
local trial = require "spec.support.kill_trial"
local uv = require "luv"

local SHARDS = 6

-- A small window: most of what waits is read back from the logs.
local function script(round_robin)
  return ([[
require "tidegate".configure {
  event_handler = { markers = true },
  queue = { memory_bytes = 32768 },
  spread_shards_in_round_robin = %s,
}
]]):format(tostring(round_robin))
end

local function spread(workers, round_robin)
  return { workers = workers, per_worker = SHARDS / workers, script = script(round_robin) }
end

local function start(workers, round_robin)
  local options = spread(workers, round_robin)
  options.shards, options.rate = SHARDS, 1500
  return trial.start(options)
end

local function logs(t)
  local names = {}
  local scan = uv.fs_scandir(t.gateway.state_dir .. "/log")
  while scan do
    local name = uv.fs_scandir_next(scan)
    if not name then
      break
    end
    names[#names + 1] = name
  end
  return names
end

local function await_own_logs(t, workers)
  loop.wait_for(function()
    return ("the logs of the dead to be gone; there are %s; the log ends:\n%s"):format(
      table.concat(logs(t), ", "), t.gateway.stderr:sub(-3000))
  end, function() return #logs(t) == workers end, 30000)
end

describe("the next start with another number of workers", function()
  after_each(trial.stop)

  local cases = {
    { "fewer", 6, false, 3, false, 1, false },
    { "more", 1, false, 3, false, 6, false },
    { "fewer, now in round robin", 6, false, 3, true, 2, true },
    { "more, no longer in round robin", 2, true, 3, false, 6, false },
  }
  for _, case in ipairs(cases) do
    local how, first, first_robin, second, second_robin, third, third_robin = unpack(case)
    it(how .. ": takes over all logs in order", function()
      local t = start(first, first_robin)
      t.bot:down()
      t:await_emitted(500)
      t:kill_group()
      t:again(spread(second, second_robin))
      t:await_emitted(500)
      t:kill_manager()
      t:again(spread(third, third_robin))
      t:await_emitted(500)
      assert.is_true(#logs(t) > third, "the bot is down: older logs have to be there still")
      t.bot:up()
      t:assert_nothing_lost {
        name = ("%d, %d, %d workers"):format(first, second, third), identifies = SHARDS,
      }
      await_own_logs(t, third)
    end)
  end

  it("is killed while it takes over, again and again: nothing is lost", function()
    local t = start(6, false)
    for i = 1, 20 do
      if i % 5 == 1 then
        t.bot:down()
      elseif i % 5 == 4 then
        t.bot:up()
      end
      if t.random:chance(0.3) and t.gateway:ready_shards() > 0 then
        t.gateway:stop()
      else
        t:kill_group()
      end
      local options = spread(t.random:one_of { 1, 2, 3, 6 }, t.random:chance(0.5))
      options.ready = t.random:chance(0.3)
      t:again(options)
      t:pass(t.random:between(0, 300))
    end
    t:kill_group()
    t:again(spread(3, true))
    t:assert_nothing_lost { name = "20 take-overs cut off", identifies = SHARDS }
    await_own_logs(t, 3)
  end)
end)
