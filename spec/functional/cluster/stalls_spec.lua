-- Redis is slow, now and then: what a host does with a grant to identify it does late, and never too late.

local trial = require "spec.support.cluster_trial"

describe("hosts whose Redis answers late", function()
  after_each(trial.stop)

  it("never identify early", function()
    -- A session that is lost soon makes its shard wait, longer each time: hurried.
    local t = trial.start { shards = 8, max_concurrency = 4, proxies = true, ready = false, hurry = 20 }
    for _, host in ipairs(t.hosts) do
      host.proxy:stall(function() return t.random:chance(0.7) and t.random:between(0, 600) or 0 end)
    end
    t:await_even(90000)
    local lost = trial.LONG and 40 or 2
    for i = 1, lost do
      t.fake:fault { ["do"] = "invalid_session", resumable = false, shard = t.random:between(0, 7) }
      t:wait_counter("identifies_ok", 8 + i, 60000)
      t:await_up()
    end
    for _, host in ipairs(t.hosts) do
      host.proxy:stall(0)
    end
    t:flow()
    t:assert_messages "slow answers of Redis"
  end)
end)
