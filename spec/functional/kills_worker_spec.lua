-- 50 x kill -9 of a random worker at random instants, under load, with a bot that comes and goes.

local trial = require "spec.support.kill_trial"

local KILLS, SHARDS, WORKERS = 50, 8, 4

describe("workers that are killed at random instants, 50 times", function()
  after_each(trial.stop)

  -- Waits until there is a worker to kill, and chooses one.
  local function victim(t)
    local pids
    require("spec.support.loop").wait_for("a worker", function()
      pids = t.gateway:worker_pids()
      return #pids > 0
    end)
    return t.random:one_of(pids)
  end

  it("lose nothing", function()
    local t = trial.start { shards = SHARDS, per_worker = SHARDS / WORKERS, workers = WORKERS, rate = 800 }
    local up = true
    for _ = 1, KILLS do
      local resumed = t:counters().resumes_ok
      t:kill_worker(victim(t))
      if t.random:chance(0.2) then
        up = not up
        t.bot[up and "up" or "down"](t.bot)
      end
      -- Mostly the next one dies under way, sometimes before this one is back.
      if t.random:chance(0.75) then
        t:wait_counter("resumes_ok", resumed + SHARDS / WORKERS)
        if up then
          t:await_events(t.random:between(1, 60))
        end
      end
      t:pass(t.random:between(0, 100))
    end
    if not up then
      t.bot:up()
    end
    t:assert_nothing_lost { name = KILLS .. " x kill -9 of a worker", identifies = SHARDS }
  end)
end)
