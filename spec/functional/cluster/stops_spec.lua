-- Hosts, or a part of them, stand still: others take their shards, and when they go on they do not disturb
-- them.

local judge = require "spec.support.cluster_judge"
local trial = require "spec.support.cluster_trial"

local STOP = 15000

describe("a host that stands still", function()
  local t

  setup(function() t = trial.start { shards = 12 } end)
  teardown(trial.stop)

  it("for a moment keeps what it has", function()
    local before = t:leases()
    for _, ms in ipairs { 2000, 3000 } do
      t.hosts[2]:freeze()
      t:pass(ms)
      t.hosts[2]:thaw()
      t:await_flow(1500)
    end
    t:assert_same_leases(before)
    assert.equal(0, t:counters().resumes)
    t:assert_verdict { name = "a host stopped for a moment" }
  end)

  it("for 15 s loses its shards, and takes some again in peace when it goes on", function()
    t:flow()
    t.bot:delay(300) -- some events wait in each shard
    t:await_flow(2500)
    local shards, since = t.hosts[1]:freeze()
    t.bot:delay(nil)
    t:figures("shards of a host that was stopped are back", t:await_resumed(shards, since))
    t:pass(math.max(0, STOP - (t:now() - since)))
    local kept, resumed, events = t:leases(), t:now(), #t.bot.events
    t.hosts[1]:thaw()
    t:await_even()
    -- Its workers found their connections cut, and asked nobody to resume. Nothing of what they still had was
    -- delivered once more.
    assert.equal(1, t:most_resumes(resumed))
    for shard, lease in pairs(t:leases()) do
      assert.is_true(lease.host == kept[shard].host or lease.host == "gw-1")
    end
    t:assert_verdict { name = "a host stopped for 15 s" }
    assert.equal(0, judge.repeated(t.bot.events, events))
  end)

  it("but for its workers delivers nothing of what may be another's", function()
    t:flow()
    local shards, since = t.hosts[3]:shards(), t:now()
    t.hosts[3].gateway.process:kill "SIGSTOP"
    t:figures("shards of a manager that was stopped are elsewhere", t:await_resumed(shards, since))
    t:await_flow(3000)
    local events = #t.bot.events
    t.hosts[3].gateway.process:kill "SIGCONT"
    t:await_even()
    -- The new owner; the workers of before, who did not know; the new owner; and a move back, for the share.
    local most = t:most_resumes(since)
    assert.is_true(most <= 4, most .. " RESUMEs of a shard")
    t:assert_verdict { name = "a manager stopped" }
    assert.equal(0, judge.repeated(t.bot.events, events))
  end)
end)
