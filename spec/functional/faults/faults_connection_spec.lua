-- What can become of the connections between gateway and bot while events flow, a worker dying in the middle
-- of each: nothing is lost.

local trial = require "spec.support.kill_trial"

-- A bot that hangs is not waited for long.
local SCRIPT = [[
require "tidegate".configure { event_handler = { markers = true, timeout = 400, batch = %s } }
]]

local function start(options)
  options = options or {}
  return trial.start {
    shards = 4, per_worker = 2, workers = 2, rate = options.rate or 600, size = options.size,
    script = SCRIPT:format(tostring(options.batch or false)),
  }
end

local function one_in(n, answer)
  return function(t)
    t.bot:answer(function() return t.random:chance(1 / n) and answer or nil end)
  end
end

local function mend(t)
  t.bot:answer(nil)
end

local FAULTS = {
  { "does not answer", one_in(1, "hang"), mend },
  { "does not answer now and then", one_in(3, "hang"), mend },
  { "breaks connections", one_in(3, "reset"), mend },
  { "breaks connections in the midst of its answer", one_in(3, "half"), mend },
  { "is slow", function(t) t.bot:delay(60) end, function(t) t.bot:delay(nil) end },
  { "is down", function(t) t.bot:down() end, function(t) t.bot:up() end },
}

describe("nothing is lost when the bot", function()
  after_each(trial.stop)

  for _, fault in ipairs(FAULTS) do
    it(fault[1], function()
      start():endure("bot " .. fault[1], fault[2], fault[3])
    end)
  end

  it("breaks connections in the midst of bodies", function()
    local t = start { size = 100000, rate = 200 }
    t:endure("bot resets in mid-body", function()
      t.bot:reset_bodies(function() return t.random:chance(1 / 3) end)
    end, function() t.bot:reset_bodies(nil) end)
  end)

  it("comes and goes", function()
    local t = start()
    for _ = 1, 15 do
      t.bot:down()
      t:pass(t.random:between(0, 150))
      t.bot:up()
      t:pass(t.random:between(0, 150))
    end
    t:assert_nothing_lost { name = "bot flaps", identifies = 4 }
  end)

  for _, batch in ipairs { false, true } do
    local how = "does all of it in turn" .. (batch and " to batches" or "")
    it(how, function()
      local t = start { batch = batch }
      local answers = {
        { 500 }, { 503 }, { 503, { ["Retry-After"] = "0" } }, { 401 }, { 408 },
        { "hang" }, { "reset" }, { "half" },
      }
      t:endure("bot " .. how, function()
        t.bot:answer(function()
          if t.random:chance(0.2) then
            return unpack(t.random:one_of(answers))
          end
        end)
      end, mend)
    end)
  end
end)
