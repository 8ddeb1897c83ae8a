-- 20 x kill -9 of the manager, and 10 x of the whole process group, at random instants, under load, with a
-- bot that is killed and started in between.

local trial = require "spec.support.kill_trial"

local SHARDS, WORKERS = 6, 3

local function series(kills, kill)
  local t = trial.start { shards = SHARDS, per_worker = SHARDS / WORKERS, workers = WORKERS, rate = 800 }
  local up = true
  for i = 1, kills do
    if t.random:chance(0.3) then
      up = not up
      t.bot[up and "up" or "down"](t.bot)
    end
    kill(t)
    -- Mostly the next one dies when all shards are back, sometimes on its way there.
    local whole = i == kills or t.random:chance(0.7)
    t:again { ready = whole }
    if whole and up then
      t:await_events(t.random:between(1, 60))
    end
    t:pass(t.random:between(0, whole and 100 or 400))
  end
  if not up then
    t.bot:up()
  end
  return t
end

describe("killed at random instants, under load,", function()
  after_each(trial.stop)

  it("the manager, 20 times: nothing is lost", function()
    local t = series(20, function(t)
      local workers = t:kill_manager()
      if t.random:chance(0.5) then -- else the next start meets those that are ending
        t:await_end(workers)
      end
    end)
    t:assert_nothing_lost { name = "20 x kill -9 of the manager", identifies = SHARDS }
  end)

  it("the whole process group, 10 times: nothing is lost", function()
    local t = series(10, function(t) t:kill_group() end)
    t:assert_nothing_lost { name = "10 x kill -9 of the process group", identifies = SHARDS }
  end)
end)
