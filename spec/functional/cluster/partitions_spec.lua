-- Hosts from which Redis cannot be reached, while Discord and the bot can: another one takes their shards,
-- and who has them does not become a quarrel.

local trial = require "spec.support.cluster_trial"

local LASTS = 15000
local HOW = { [2] = {}, [3] = { refuse = true } } -- one hears nothing, the other is refused

describe("hosts that are parted from Redis", function()
  local t

  setup(function() t = trial.start { shards = 12, proxies = true } end)
  teardown(trial.stop)

  it("for a moment keep what they have", function()
    local before = t:leases()
    for _ = 1, 2 do
      for i, how in pairs(HOW) do
        t.hosts[i].proxy:cut(how)
      end
      t:await_flow(2000)
      for i in pairs(HOW) do
        t.hosts[i].proxy:heal()
      end
      t:await_flow(2000)
    end
    t:assert_same_leases(before)
    assert.equal(0, t:counters().resumes)
    t:assert_verdict { name = "parted for a moment", repeated = 0 }
  end)

  it("lose their shards, once, and take some again when they are back", function()
    t:flow()
    local since, shards = t:now(), {}
    for i, how in pairs(HOW) do
      for _, shard in ipairs(t.hosts[i]:shards()) do
        shards[#shards + 1] = shard
      end
      t.hosts[i].proxy:cut(how)
    end
    t:figures("shards of hosts that were parted are elsewhere", t:await_resumed(shards, since))
    t:pass(math.max(0, LASTS - (t:now() - since)))
    for _, lease in pairs(t:leases()) do
      assert.equal("gw-1", lease.host)
    end
    -- The new owner, once more the old one, who did not know, and the new one again: then it is settled.
    local most = t:most_resumes(since)
    assert.is_true(most <= 3, most .. " RESUMEs of a shard")
    for i in pairs(HOW) do
      t.hosts[i].proxy:heal()
    end
    t:await_even()
    -- Who was parted has delivered on, while the other one was behind with what came before; but a RESUMED is
    -- sent only to whom it answers.
    t:assert_verdict { name = "parted for 15 s", any_order = "RESUMED" }
  end)
end)
