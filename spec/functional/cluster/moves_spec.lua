-- Shards that go from one host to another because they are to: a host drains, or ends while others live. With
-- TG_SPEC_LONG=1 (scripts/test --long) of 64 shards, with figures that must hold.

local trial = require "spec.support.cluster_trial"

local function drain(host, now)
  local answer = host.gateway:control("POST", "/cluster/drain", { json = { now = now or false } })
  assert.is_true(answer.status == 200 or answer.status == 202, answer.body)
end

local function await_empty(t, host)
  t:await("no shard to be at " .. host.name, function() return #host:shards() == 0 end, 60000)
end

local function back(t, host)
  local since = t:now()
  host:again()
  t:await_even()
  return t:moved("moves to a host that is back", since)
end

describe("a host that drains, or ends", function()
  local t

  setup(function() t = trial.start { shards = trial.LONG and 64 or 12, sinks = { "audit" } } end)
  teardown(trial.stop)
  before_each(function() t:flow() end)

  it("gives away all it has, under load, and loses and repeats nothing", function()
    local had, since = t.hosts[1]:shards(), t:now()
    drain(t.hosts[1])
    await_empty(t, t.hosts[1])
    t:await_resumed(had, since)
    local figures = t:moved("moves of a host that drains", since)
    assert.is_true(figures.count >= t.shards / 4)
    if trial.LONG then
      assert.is_true(figures.p99 <= 100)
    end
    t.hosts[1]:stop()
    back(t, t.hosts[1])
    t:assert_verdict { name = "a host drained, and back", repeated = 0 }
  end)

  it("does so one after the other: all hosts start anew", function()
    local since = t:now()
    for i, host in ipairs(t.hosts) do
      if i == 2 then
        host:set { workers = 1, per_worker = t.shards } -- shards are other processes' then
      end
      if i == 1 then -- neither this nor Ctrl-C ends sessions that others have next
        host:shut_down()
      else
        host:stop(i == 3 and "SIGINT" or nil)
      end
      host:again()
      t:await_even()
    end
    t:moved("moves of hosts that are restarted", since)
    t:assert_verdict { name = "all hosts restarted, one by one", repeated = 0 }
  end)

end)

describe("a host that drains", function()
  local t

  setup(function() t = trial.start { shards = 12, proxies = true, sinks = { "audit" }, hurry = 5 } end)
  teardown(trial.stop)
  before_each(function() t:flow() end)

  it("may lose sight of Redis in the midst of it", function()
    for _ = 1, trial.LONG and 20 or 2 do
      local giver, taker = t.hosts[1], t.hosts[t.random:between(2, 3)]
      drain(giver)
      t:pass(t.random:between(0, 800))
      local parted = t.random:chance(0.5) and giver or taker
      parted.proxy:cut { refuse = t.random:chance(0.5) }
      t:pass(t.random:between(1000, 8000))
      parted.proxy:heal()
      await_empty(t, giver)
      giver:stop()
      giver:again()
      t:await_even()
    end
    t:assert_verdict { name = "a host drained that was parted from Redis", any_order = "RESUMED" }
  end)

  it("waits while the bot is down, but for what is to go now", function()
    t.bot:down()
    t.fake:settings { rate = 3000 }
    t:await_emitted(t.shards * 250)
    t.fake:settings { rate = 60 }
    local had = t.hosts[1]:shards()
    drain(t.hosts[1])
    t:pass(3000)
    assert.same(had, t.hosts[1]:shards())
    drain(t.hosts[1], true)
    await_empty(t, t.hosts[1])
    assert.is_true(t:holes() > 0)
    t.bot:up()
    local report = t:assert_verdict { name = "a host drained while the bot was down", any_order = "RESUMED" }
    assert.is_true(report.late > 0)
  end)
end)
