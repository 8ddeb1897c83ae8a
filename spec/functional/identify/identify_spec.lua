-- Identifies: spaced by bucket, one after READY of the other, within the day's budget.

local failing_disk = require "spec.support.failing_disk"
local loop = require "spec.support.loop"
local scene = require "spec.support.scene"

-- The accepted identifies, as shard ids in order, and by shard.
local function identifies(s)
  local order = {}
  for i, identify in ipairs(s:list "identifies") do
    order[i] = identify.shard
  end
  return order
end

describe("identifies", function()
  after_each(scene.stop)

  for _, case in ipairs {
    { concurrency = 1, window = 60 },
    { concurrency = 16, window = 1000 },
  } do
    it(("of 32 shards keep their distance with max_concurrency %d"):format(case.concurrency), function()
      local s = scene.start {
        shards = 32, per_worker = 16, workers = 2, ready = false, log_level = "info",
        fake = { max_concurrency = case.concurrency, identify_window = case.window },
      }
      s.gateway:wait_ready(32, 20000)
      local state = s.fake:state "identifies,violations,now"
      assert.same({}, state.violations)
      assert.equal(32, #state.identifies)
      local last = {}
      for _, identify in ipairs(state.identifies) do
        assert.equal(identify.shard % case.concurrency, identify.bucket)
        if last[identify.bucket] then
          assert.is_true(identify.at - last[identify.bucket] >= case.window)
        end
        last[identify.bucket] = identify.at
      end
      -- Buckets do not wait for each other: as many rounds as a bucket has shards.
      local took = state.identifies[32].at - state.identifies[1].at
      local rounds = 32 / case.concurrency
      if not os.getenv "TG_SPEC_SLOW" then
        assert.is_true(took < rounds * (case.window + 150), ("%d ms for %d rounds"):format(took, rounds))
      end
    end)
  end

  -- The ledger is on it before anybody hears of his slot.
  it("go out on a disk that takes longer than a slot is valid", function()
    local s = scene.start {
      shards = 4, ready = false, bot = false, log_level = "info", fake = { identify_window = 100 },
      env = failing_disk.new(nil, 600):env(),
    }
    s.gateway:wait_ready(4, 30000)
    local state = s.fake:state "identifies,violations"
    assert.same({}, state.violations)
    assert.equal(4, #state.identifies)
  end)

  it("wait for READY, op 9 or the close of the one before", function()
    local s = scene.start { shards = 3, ready = false, fake = { identify_window = 50 }, bot = false }
    s.fake:fault { at = "identify", ["do"] = "delay", ms = 1200, shard = 0 }
    s.gateway:wait_ready(3)
    local list = s:list "identifies"
    assert.same({ 0, 1, 2 }, identifies(s))
    assert.is_true(list[2].at - list[1].at >= 1200)
    assert.is_true(list[3].at - list[2].at < 1200)
    assert.same({}, s:list "violations")
  end)

  it("of lost sessions go before first starts", function()
    local s = scene.start {
      shards = 5, ready = false, fake = { identify_window = 50 }, bot = false, hurry = 20,
    }
    s.fake:fault { at = "identify", ["do"] = "delay", ms = 1500, shard = 1 }
    s.fake:wait_for("the identify of shard 1", function(state)
      return #state.identifies == 2
    end, { only = "identifies" })
    s.fake:fault { ["do"] = "close", code = 4007, shard = 0 } -- the session is gone: identify
    s.fake:wait_for("all identifies", function(state)
      return #state.identifies == 6
    end, { only = "identifies" })
    assert.same({ 0, 1, 0, 2, 3, 4 }, identifies(s))
    assert.same({}, s:list "violations")
  end)

  it("of a shard that is refused pause longer each time, and the others go on", function()
    local s = scene.start {
      shards = 3, ready = false, fake = { identify_window = 50 }, bot = false, hurry = 4,
    }
    s.fake:fault { at = "identify", ["do"] = "invalid_session", resumable = false, shard = 0, count = 2 }
    s.gateway:wait_ready(2)
    s.gateway:wait_ready(3, 15000)
    local at = {}
    for _, identify in ipairs(s:list "identifies") do
      if identify.shard == 0 then
        at[#at + 1] = identify.at
      end
    end
    assert.equal(3, #at)
    assert.is_true(at[2] - at[1] >= 500, tostring(at[2] - at[1]))
    assert.is_true(at[3] - at[2] >= 1000, tostring(at[3] - at[2]))
    local order = identifies(s)
    assert.same({ 0, 1, 2 }, { order[1], order[2], order[3] })
    assert.same({}, s:list "violations")
  end)
end)

describe("the budget of session starts", function()
  after_each(scene.stop)

  it("keeps its reserve: no identify goes out, sessions resume, the log says until when", function()
    local s = scene.start {
      shards = 4, ready = false,
      fake = { total = 100, remaining = 12, reset_after = 3600000, identify_window = 50 },
    }
    s.gateway:wait_ready(2)
    local until_when = s.gateway:wait_for_log(
      "identifies are held back until (%d+%-%d+%-%d+ %d+:%d+:%d+ UTC): 10 of 100 session starts are left")
    assert.is_true(#until_when > 0)
    assert.matches("2 shards wait", s.gateway.stderr, 1, true)
    s.fake:fault { ["do"] = "close", code = 4000, shard = 0 }
    s:wait_counter("resumes_ok", 1)
    s.fake:emit { count = 10, shard = 0 }
    s:wait_delivered()
    assert.equal(2, s:counters().identifies)

    -- Another start does not spend from the reserve either.
    s.gateway:stop()
    s:again { ready = false }
    s.gateway:wait_for_log "identifies are held back until"
    s.gateway:wait_ready(2)
    assert.equal(2, s:counters().identifies)
    assert.equal(3, s:counters().resumes_ok)
  end)

  it("says nothing of it when nobody waits", function()
    local s = scene.start { bot = false, fake = { total = 100, remaining = 11, reset_after = 3600000 } }
    s.gateway:wait_for_log "all shards are up"
    assert.equal(0, s.gateway:count_log "held back")
  end)

  it("is counted from what Discord says when others use the token, too", function()
    local s = scene.start {
      shards = 2, ready = false, fake = { total = 1000, remaining = 0, reset_after = 3600000 },
    }
    s.gateway:wait_for_log "identifies are held back until [^\n]*: 0 of 1000 session starts are left"
    assert.equal(0, s:counters().identifies)
    assert.equal(0, s.gateway:ready_shards())
  end)

  it("is not burned by a gateway that is killed and started again and again", function()
    local s = scene.start {
      shards = 2, ready = false, bot = false, spawn_shard_delay = 700, fake = { identify_window = 600 },
    }
    s.fake:fault { at = "identify", ["do"] = "withhold", count = "all" }
    local began = loop.now()
    for i = 1, 4 do
      s:wait_counter("identifies", i)
      s.gateway:stop "SIGKILL"
      s:again { ready = false }
    end
    local state = s.fake:state "identifies,violations"
    assert.same({}, state.violations)
    for i = 2, #state.identifies do
      assert.is_true(state.identifies[i].since_last >= 600)
    end
    assert.is_true(#state.identifies <= 1 + (loop.now() - began) / 700)
  end)

  it("is not burned by a worker that crashes again and again", function()
    local s = scene.start {
      shards = 1, ready = false, bot = false, fake = { identify_window = 50 }, hurry = 4, env = scene.crashes,
      script = [[
local gateway = require "tidegate"
local function crash() require("ffi").cast("int *", 0)[0] = 1 end
gateway.on("identifying", function() crash() end) -- twice, then it is switched off
gateway.on("identifying", function() crash() end)
]] }
    loop.wait_for("three crashes", function()
      return s.gateway:count_log 'a worker has ended[^\n]* worker=0 reason="signal 11' >= 3
    end, 20000)
    local list = s:list "identifies"
    assert.is_true(#list <= 3)
    assert.same({}, s:list "violations")
    for i = 2, #list do -- 2, 4, 8 ... s, four times quicker
      assert.is_true(list[i].at - list[i - 1].at >= 2 ^ (i - 1) * 240, tostring(list[i].at - list[i - 1].at))
    end
  end)
end)
