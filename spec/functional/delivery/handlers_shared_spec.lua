-- What one worker has found out of an event handler the others know: one that is down is not asked by each of
-- them, and one that is back gets what waits at once, from all.

local checker = require "spec.support.checker"
local loop = require "spec.support.loop"
local paths = require "spec.support.paths"
local scene = require "spec.support.scene"

local SHARDS = 8

local function start()
  local s = scene.start {
    shards = SHARDS, per_worker = 1, workers = SHARDS, fake = { max_concurrency = SHARDS },
  }
  s.bot:wait_for_events(SHARDS + #s.fake:guilds())
  return s
end

local function pass(ms)
  local until_then = loop.now() + ms
  loop.wait_for("some time", function() return loop.now() >= until_then end, ms + 10000)
end

-- Each shard has something to send, and each worker has found out that the bot is down.
local function take_down(s, answer)
  s.bot:answer(answer)
  s.fake:emit { count = 3 }
  local function down()
    return s.gateway:count_log "the event handler is down" >= SHARDS
  end
  loop.wait_for("all workers to know", down, 20000)
end

-- When each shard's first event was accepted.
local function watch(s)
  local first = {}
  s.bot:answer(function(_, event)
    first[event.shard] = first[event.shard] or loop.now()
  end)
  return first
end

local CASES = {
  { "503", function() return 503 end },
  { "401", function() return 401 end },
}

describe("an event handler that has answered", function()
  after_each(scene.stop)

  for _, case in ipairs(CASES) do
    it(case[1] .. " for some seconds is asked by one worker at a time, and is up for all at once", function()
      local s = start()
      take_down(s, case[2])
      pass(2000) -- back-off has come to its end
      local asked = s.bot.requests
      pass(4000)
      asked = s.bot.requests - asked
      assert.is_true(asked >= 1, "nobody asks")
      assert.is_true(asked <= 10, ("%d requests in 4 s"):format(asked))

      local back = loop.now()
      local first = watch(s)
      local sent = s:wait_delivered(20000)
      local soonest, latest = math.huge, 0
      for shard = 0, SHARDS - 1 do
        soonest, latest = math.min(soonest, first[shard]), math.max(latest, first[shard])
      end
      assert.is_true(soonest - back < 2200 * paths.slow, ("first after %d ms"):format(soonest - back))
      assert.is_true(latest - soonest < 700 * paths.slow, ("last %d ms later"):format(latest - soonest))
      checker.assert_nothing_lost(s.bot.events, { guilds = sent, contiguous = true })
    end)
  end

  it("503 with Retry-After to one of them is left alone by all", function()
    local s = start()
    take_down(s, CASES[1][2])
    local told, early
    s.bot:answer(function()
      if not told then
        told = loop.now()
        return 503, { ["Retry-After"] = "3" }
      elseif loop.now() - told < 2900 then
        -- What was under way when it was told is no sign.
        early = loop.now() - told > 500 and loop.now() - told or early
        return 503
      end
    end)
    loop.wait_for("a request", function() return told end)
    local sent = s:wait_delivered(20000)
    assert.is_nil(early, ("asked again after %s ms"):format(tostring(early)))
    checker.assert_nothing_lost(s.bot.events, { guilds = sent, contiguous = true })
  end)
end)
