-- What only the disk of a host has when it is gone: it delivers it when it is back, marked as late.

local trial = require "spec.support.cluster_trial"

-- Discord keeps so much of a session, and refuses to resume from before it.
local GUILDS = 6 -- a shard
local KEPT = 75 * GUILDS

-- The bot is down until more lies here of each shard than Discord keeps.
local function pile_up(t)
  t.bot:down()
  local count = t:counters().dispatches + t.shards * (KEPT + 150)
  t.fake:settings { rate = 1500, rate_in_turn = true }
  t:wait_counter("dispatches", count, 60000)
  t.fake:settings { rate = t.rate }
  t:pass(2500) -- beats tell how far that is
end

describe("a host that is killed with much that is not delivered", function()
  local t

  setup(function()
    t = trial.start {
      shards = 6, rate = 60, fake = { guilds = 6 * GUILDS, replay_events = 0 }, hurry = 5,
    }
  end)
  teardown(trial.stop)

  it("delivers that late when it is back", function()
    pile_up(t)
    local shards, since = t.hosts[2]:kill()
    t:figures("shards of a host that had much to deliver are back", t:await_resumed(shards, since))
    t.bot:up()
    t:await_even()
    t:await_flow(1000)
    assert.is_true(t:holes() >= #shards)
    t.hosts[2]:again()
    local report = t:assert_verdict { name = "a host killed while the bot is down" }
    print(("# %d events came late"):format(report.late))
    assert.is_true(report.late >= #shards * KEPT)
    t:await("no holes", function() return t:holes() == 0 end)
    t:flow()
    t:await_even()
    t:assert_verdict { name = "once more even" }
  end)

  it("may be forgotten: nobody waits for it, and what it has comes when it is back after all", function()
    t:flow()
    pile_up(t)
    local shards, since = t.hosts[2]:kill()
    t:await_resumed(shards, since)
    t.bot:up()
    t:await_even()
    assert.is_true(t:holes() >= #shards)
    local answer = t.hosts[1].gateway:control("POST", "/cluster/forget", { json = { host = "gw-1" } })
    assert.equal(409, answer.status) -- it is alive
    answer = t.hosts[1].gateway:control("POST", "/cluster/forget", { json = { host = "gw-2" } })
    assert.equal(200, answer.status)
    assert.equal(0, t:holes())
    t.fake:settings { rate = 0 }
    t:await_newest()
    t:check_rules(true)
    t:flow()
    t.hosts[2]:again()
    t:await_even()
    t:assert_verdict { name = "a host that was forgotten, and is back" }
  end)
end)
