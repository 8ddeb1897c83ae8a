-- Sessions that end, and gateways that are stopped, while events of before still wait: these come first, in
-- order, and where something is missing a marker says so.

local loop = require "spec.support.loop"
local paths = require "spec.support.paths"
local trial = require "spec.support.kill_trial"

local SHARDS = 2

local function start(options)
  options = options or {}
  return trial.start {
    shards = SHARDS, workers = 1, rate = options.rate or 2000, fake = options.fake,
  }
end

local function has_received(t, last)
  for _, shard in ipairs(t.gateway:control("GET", "/shards"):json()) do
    if shard.sequence < last[shard.shardId] then
      return false
    end
  end
  return true
end

-- Some hundred events are in the gateway, all of them, and none more comes. Returns the last s of each shard.
local function pile_up(t)
  t.bot:down()
  t:await_emitted(400)
  t.fake:settings { rate = 0 }
  t.fake:wait_emitted()
  local last = {}
  for _, shard in ipairs(t.fake:sent().shards) do
    last[shard.shard] = shard.sessions[1].sequence
  end
  local deadline = loop.now() + 10000 * paths.slow
  while not has_received(t, last) do
    assert.is_true(loop.now() < deadline, "the gateway has not got all events")
    t:pass(20)
  end
  return last
end

-- Each shard's events of the first session are complete, with a marker behind them, and then come those of
-- the second.
local function assert_one_after_the_other(t, last, reason)
  for shard = 0, SHARDS - 1 do
    local first = t.bot:first_epoch(shard)
    local expected, epoch, marker = 1, first, nil
    for _, event in ipairs(t.bot.by_shard[shard]) do
      if event.gap then
        assert.is_nil(marker)
        marker = event.gap
        assert.same({ first, last[shard] + 1, last[shard] + 1, reason },
          { event.epoch, expected, marker.from, marker.reason })
      else
        if event.epoch > first and epoch == first then
          assert.equal(last[shard] + 1, expected)
          assert.equal(reason, marker and marker.reason)
          expected, epoch = 1, event.epoch
        end
        assert.same({ epoch, expected }, { event.epoch, event.s })
        expected = expected + 1
      end
    end
    assert.is_true(epoch > first)
  end
end

local function finish(t)
  t.fake:emit { count = 30 }
  t.fake:wait_emitted()
  t.bot:up()
  t:wait_delivered(30000)
end

local FATES = {
  { "by op 9", function(t) t.fake:fault { ["do"] = "invalid_session", resumable = false } end },
  { "by op 9 in answer to RESUME", function(t)
    t.fake:fault { at = "resume", ["do"] = "invalid_session", resumable = false, count = SHARDS }
    t.fake:fault { ["do"] = "rst" }
  end },
  { "by 4007", function(t) t.fake:fault { ["do"] = "close", code = 4007 } end },
  { "by 4007 in answer to RESUME", function(t)
    t.fake:fault { at = "resume", ["do"] = "close", code = 4007, count = SHARDS }
    t.fake:fault { ["do"] = "rst" }
  end },
  { "by 4009", function(t) t.fake:fault { ["do"] = "close", code = 4009, session = "kill" } end },
  { "while the gateway is down", function(t)
    t:kill_group()
    t.fake:reset { "sessions" }
    t:again { ready = false }
  end },
}

describe("a session that ends", function()
  after_each(trial.stop)

  for _, fate in ipairs(FATES) do
    it(fate[1] .. ": what waits of it comes first, then a marker, then the new one", function()
      local t = start()
      local last = pile_up(t)
      fate[2](t)
      t:wait_counter("identifies_ok", 2 * SHARDS)
      finish(t)
      assert_one_after_the_other(t, last, "session_lost")
    end)
  end

  it("of which Discord leaves events out: a marker is in their place", function()
    local t = start()
    local last = pile_up(t)
    t.fake:fault { ["do"] = "withhold_acks", times = 100, dispatches = true }
    t.fake:fault { ["do"] = "skip", times = 5 }
    t.fake:emit { count = 10 }
    t.fake:wait_emitted()
    t.fake:fault { ["do"] = "rst" }
    t:wait_counter("resumes_ok", SHARDS)
    finish(t)
    for shard = 0, SHARDS - 1 do
      local gaps = {}
      for i, event in ipairs(t.bot.by_shard[shard]) do
        if event.gap then
          gaps[#gaps + 1] = event.gap
          assert.equal(last[shard], t.bot.by_shard[shard][i - 1].s)
          assert.equal(last[shard] + 6, t.bot.by_shard[shard][i + 1].s)
        end
      end
      local from = last[shard] + 1
      assert.same({ { from = from, to = from + 4, count = 5, reason = "skipped" } }, gaps)
    end
    assert.equal(SHARDS, t:counters().identifies)
  end)

  it("is replayed for long: all of it comes, in order", function()
    local t = start()
    pile_up(t)
    t:kill_group()
    t.fake:emit { count = 4000, size = 200 }
    t.fake:wait_emitted()
    t:again()
    t.fake:fault { ["do"] = "rst" } -- once more, in the midst of it or behind it
    t:wait_counter("resumes_ok", 2 * SHARDS)
    t.bot:up()
    t:assert_nothing_lost { name = "long replay", identifies = SHARDS }
  end)
end)

describe("SIGTERM", function()
  after_each(trial.stop)

  it("again and again under load, first with a slow bot: nothing is lost or repeated", function()
    local t = start { rate = 400 }
    t.bot:delay(80)
    t:await_emitted(500) -- half a minute's work for it
    for i = 1, 4 do
      t:await_events(20)
      assert.equal(0, t.gateway:stop(nil, 20000))
      if i == 1 then
        t.gateway:wait_for_log "events stay in the log"
        t.bot:delay(nil)
      end
      t:again()
    end
    local report = t:assert_nothing_lost { name = "4 x SIGTERM", identifies = SHARDS }
    assert.equal(0, #report.doubled)
  end)

  local CHANGES = {
    ["another token"] = function(t)
      t.fake:settings { token = "another.bot.token" }
      return { env = { DISCORD_TOKEN = "another.bot.token" } }
    end,
    ["other intents"] = function() return { intents = 513 } end,
  }
  for what, change in pairs(CHANGES) do
    it("and " .. what .. " then: what waits comes first, a marker, and the shards identify", function()
      local t = start()
      local last = pile_up(t)
      assert.equal(0, t.gateway:stop())
      t:again(change(t))
      t.gateway:wait_for_log "of another token, intents or number of shards: all shards identify"
      assert.equal(0, t:counters().resumes)
      finish(t)
      assert_one_after_the_other(t, last, "session_lost")
    end)
  end

  it("and another number of shards then: what waits of shards that are gone comes, too", function()
    local t = start()
    local last = pile_up(t)
    assert.equal(0, t.gateway:stop())
    t:again { shards = 1, env = { TOTAL_SHARDS = 1 }, per_worker = 1 }
    t.gateway:wait_for_log "of another token, intents or number of shards: all shards identify"
    t.bot:up()
    t.bot:wait_for_events(SHARDS + 1, "READY", 20000)
    loop.wait_for("all of the shard that is gone", function()
      local events = t.bot.by_shard[1]
      return events[#events].s == last[1] or events[#events].gap
    end)
    for shard = 0, 1 do
      local expected = 1
      for _, event in ipairs(t.bot.by_shard[shard]) do
        if event.epoch == t.bot:first_epoch(shard) and not event.gap then
          assert.equal(expected, event.s)
          expected = expected + 1
        end
      end
      assert.equal(last[shard] + 1, expected)
    end
  end)
end)
