-- Intents are changed, host by host: sessions of other intents are not taken over.

local checker = require "spec.support.checker"
local trial = require "spec.support.cluster_trial"

local BEFORE, AFTER = 33281, 33281 + 4096 -- and typing in direct messages

-- How often each shard's loss was told; and the other events.
local function split(events)
  local told, others = {}, {}
  for _, event in ipairs(events) do
    if event.gap then
      assert.equal("session_lost", event.gap.reason)
      told[event.shard] = (told[event.shard] or 0) + 1
    else
      others[#others + 1] = event
    end
  end
  return told, others
end

describe("intents that change host by host", function()
  after_each(trial.stop)

  it("cost each shard one session, which is told, and nothing else", function()
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
    local told, events = split(t.bot.events)
    local report = checker.compare(events)
    assert.same({ {}, {} }, { report.out_of_order, report.doubled_with_other_key })
    for shard = 0, t.shards - 1 do
      assert.equal(1, told[shard])
    end
  end)
end)
