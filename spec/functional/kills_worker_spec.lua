-- kill -9 of random workers at random instants, under load, with a bot that comes and goes.

local trial = require "spec.support.kill_trial"

local SHARDS, WORKERS = 8, 4

local function start(script)
  return trial.start {
    shards = SHARDS, per_worker = SHARDS / WORKERS, workers = WORKERS, rate = 800, script = script,
  }
end

describe("workers that are killed at random instants", function()
  after_each(trial.stop)

  it("50 times: nothing is lost", function()
    local t = start(trial.SCRIPT)
    t:kill_workers(50)
    t:assert_nothing_lost { name = "50 x kill -9 of a worker", identifies = SHARDS }
  end)
end)
