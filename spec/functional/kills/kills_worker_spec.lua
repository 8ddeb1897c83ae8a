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

  local TROUBLES = {
    { ["do"] = "rst" }, { ["do"] = "fin" }, { ["do"] = "reconnect" }, { ["do"] = "corrupt" },
    { ["do"] = "close", code = 4000 }, { ["do"] = "close", code = 1012 },
    { ["do"] = "invalid_session", resumable = true },
  }

  -- Whoever is connected at that moment.
  local function trouble(t)
    local what = { shard = t.random:between(0, SHARDS - 1) }
    for key, value in pairs(t.random:one_of(TROUBLES)) do
      what[key] = value
    end
    pcall(t.fake.fault, t.fake, what)
  end

  it("12 times, while Discord is in trouble, too: nothing is lost", function()
    local t = start(trial.SCRIPT)
    for _ = 1, 12 do
      for _ = 1, 2 do
        trouble(t)
        t:pass(t.random:between(0, 80))
      end
      t:kill_workers(1)
    end
    t:assert_nothing_lost { name = "12 x kill -9 of a worker, 24 faults of Discord", identifies = SHARDS }
  end)
end)
