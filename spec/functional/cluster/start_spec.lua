-- Several hosts start with one Redis: shards are shared, and identifies come as fast as Discord takes them.
-- With TG_SPEC_LONG=1 (scripts/test --long) of 64 shards, and with figures that must hold.

local trial = require "spec.support.cluster_trial"

local SHARDS = trial.LONG and 64 or 20
local CONCURRENCY = 16

local t

describe("three hosts with one Redis", function()
  setup(function()
    t = trial.start { shards = SHARDS, max_concurrency = CONCURRENCY, sinks = { "stream" } }
  end)
  teardown(trial.stop)

  it("start within Discord's limits, share evenly, and lose nothing", function()
    local list = t:list "identifies"
    local ideal = (math.ceil(SHARDS / CONCURRENCY) - 1) * 5000
    local took = list[#list].at - list[1].at
    print(("# %d identifies within %d ms, where Discord needs %d ms"):format(#list, took, ideal))
    if trial.LONG then
      assert.is_true(took <= 1.1 * ideal)
    end
    t:await_flow(500)
    t:assert_verdict { name = "a start of three hosts", repeated = 0 }
  end)

  it("let one more take its share, by RESUME", function()
    t:flow()
    local since = t:now()
    local host = t:new_host "gw-4"
    t:await_even()
    local figures = t:moved("moves to a host that came later", since)
    assert.equal(SHARDS / 4, #host:shards())
    assert.equal(SHARDS / 4, figures.count)
    t:assert_verdict { name = "one more host", repeated = 0 }
  end)
end)
