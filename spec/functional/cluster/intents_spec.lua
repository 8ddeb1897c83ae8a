-- Intents are changed, host by host: sessions of other intents are not taken over.

local trial = require "spec.support.cluster_trial"

local BEFORE, AFTER = 33281, 33281 + 4096 -- and typing in direct messages

describe("intents that change host by host", function()
  after_each(trial.stop)

  it("never make a host resume a session that has others", function()
    local t = trial.start { shards = 12, intents = BEFORE }
    for i, host in ipairs(t.hosts) do
      host:stop()
      host:again { intents = AFTER }
      if i < #t.hosts then
        t:await_up()
        t:await_flow(2000)
      end
    end
    t:await_even()
    local last = {}
    for _, identify in ipairs(t:list "identifies") do
      last[identify.shard] = identify.intents
    end
    for shard = 0, t.shards - 1 do
      assert.equal(AFTER, last[shard])
    end
    t:await_flow(2000) -- each guild has had a message in its new session
    t.fake:settings { rate = 0 }
    t:await_newest()
    t:check_rules(false)
    assert.equal(2 * t.shards, t:counters().identifies)
  end)
end)
