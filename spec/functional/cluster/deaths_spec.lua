-- Hosts are gone from one moment to the next: others take their shards up where Discord has the sessions.
-- With TG_SPEC_LONG=1 (scripts/test --long) of 64 shards, and with figures that must hold.

local trial = require "spec.support.cluster_trial"

local function assert_soon(figures)
  if trial.LONG then
    assert.is_true(figures.median <= 8000 and figures.max <= 10000)
  end
end

describe("a host that is killed", function()
  local t

  setup(function() t = trial.start { shards = trial.LONG and 64 or 12 } end)
  teardown(trial.stop)
  before_each(function() t.bot:answer(nil) end)

  it("is replaced by RESUME, and has its share when it is back", function()
    for round = 1, trial.LONG and 3 or 1 do
      t:flow()
      local host = t.hosts[round]
      local shards, since = host:kill()
      assert.is_true(#shards >= t.shards / 4)
      assert_soon(t:figures("shards of a host that was killed are back", t:await_resumed(shards, since)))
      t:await_even()
      since = t:now()
      host:again()
      t:await_even()
      local figures = t:moved("moves to a host that is back", since)
      assert.equal(#host:shards(), figures.count)
      -- Of what it gets back it has an older log; it goes on behind what others have delivered.
      t:assert_verdict { name = "a host killed, and back" }
    end
  end)

  it("may be back before anybody has noticed, with what it had", function()
    t:flow()
    local before = t:leases()
    local shards, since = t.hosts[2]:kill()
    t.hosts[2]:again()
    t:await_resumed(shards, since)
    t:await_even()
    t:assert_same_leases(before)
    t:assert_verdict { name = "a host killed, and back at once" }
  end)

  it("gets some back before what it had has all been delivered by others", function()
    t.fake:settings { rate = t.shards }
    t.bot:hang()
    t:pass(6000)
    t.hosts[1]:kill()
    local ends = {}
    for _, session in ipairs(t:list "sessions") do
      ends[session.shard] = session.written
    end
    t:await("others to have them", function() return #t.hosts[1]:shards() == 0 end)
    local since = t:now()
    t.hosts[1]:again()
    t:await_even()
    local before = 0
    for _, resume in ipairs(t:list "resumes") do
      if resume.at >= since and resume.result == "ok" and resume.seq < (ends[resume.shard] or 0) then
        before = before + 1
      end
    end
    assert.is_true(before > 0, "none has come back from before the end of its log")
    t.bot:answer(nil)
    t.bot:reset_connections()
    t:assert_verdict { name = ("%d shards back from before the end of a log"):format(before) }
  end)

  it("may be the last one: one that is back has all, and others their share", function()
    t:flow()
    local since, all = t:now(), {}
    for shard = 0, t.shards - 1 do
      all[#all + 1] = shard
    end
    for _, host in ipairs(t.hosts) do
      host:kill()
    end
    t.hosts[2]:again()
    t:figures("shards of all hosts are back", t:await_resumed(all, since))
    t:await_even()
    t.hosts[1]:again()
    t.hosts[3]:again()
    t:await_even()
    t:assert_verdict { name = "all hosts killed, one after the other back" }
  end)
end)

describe("a host that is killed while it identifies", function()
  after_each(trial.stop)

  it("leaves no session that two have, and no shard that is up nowhere", function()
    local t = trial.start { shards = 12, ready = false }
    t:wait_counter("identifies_ok", 3, 30000)
    t.hosts[1]:kill()
    t:await_even()
    t:flow() -- nothing was sent before, so nothing may be missing
    t:assert_messages "a host killed while it identified"
    assert.is_true(t:counters().identifies_ok <= 12 + 4)
    t.hosts[1]:again()
    t:await_even()
    t:flow()
    t:assert_messages "a host back that identified"
  end)
end)
