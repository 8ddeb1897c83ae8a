-- What a bot can answer while events flow, a worker dying in the middle of each: nothing is lost.

local cjson = require "cjson"
local checker = require "spec.support.checker"
local loop = require "spec.support.loop"
local paths = require "spec.support.paths"
local trial = require "spec.support.kill_trial"

local function start(rate)
  return trial.start { shards = 4, per_worker = 2, workers = 2, rate = rate or 600 }
end

local function always(...)
  local answer = { ... }
  return function(t)
    t.bot:answer(function() return unpack(answer) end)
  end
end

local function one_in_three(...)
  local answer = { ... }
  return function(t)
    t.bot:answer(function()
      if t.random:chance(1 / 3) then
        return unpack(answer)
      end
    end)
  end
end

local function mend(t)
  t.bot:answer(nil)
end

local FAULTS = {
  { "500", always(500), mend },
  { "500 now and then", one_in_three(500), mend },
  { "503 with Retry-After", always(503, { ["Retry-After"] = "1" }), mend },
  { "429 with Retry-After now and then", one_in_three(429, { ["Retry-After"] = "0" }), mend },
  { "401", function(t) t.bot.authorization = "another-secret" end,
    function(t) t.bot.authorization = "secret-of-the-bot" end },
  { "404", always(404), mend },
}

describe("nothing is lost when the bot answers", function()
  after_each(trial.stop)

  for _, fault in ipairs(FAULTS) do
    it(fault[1], function()
      start():endure("bot answers " .. fault[1], fault[2], fault[3])
    end)
  end

  local function is_message(guild, n)
    local nonce = ('"nonce":"%s:%d"'):format(guild, n)
    return function(body) return body:find(nonce, 1, true) end
  end

  it("400 to one event: that one is a dead letter, and the lane goes on", function()
    local t = start(200)
    local guild = t.fake:guilds(0)[1].id
    local is_bad = is_message(guild, 5)
    t.bot:answer(function(request)
      if is_bad(request.body) then
        return 400
      end
    end)
    local is_later = is_message(guild, 9)
    t.bot:wait_for_events(1, function(event) return event.body and is_later(event.body) end, 20000)
    t.fake:settings { rate = 0 }
    local sent = t.fake:wait_emitted()
    local report
    loop.wait_for(function() return "all but one at the bot: " .. report.text end, function()
      report = checker.compare(t.bot.events, { guilds = sent })
      return #report.lost <= 1
    end, 60000)
    assert.same({ ("message %s:5"):format(guild) }, report.lost)
    assert.same({}, report.doubled)
    assert.same({}, report.out_of_order)
    local letters = assert(paths.read(t.gateway.state_dir .. "/dead.jsonl"))
    assert.equal(1, select(2, letters:gsub("\n", "")))
    assert.equal(guild .. ":5", cjson.decode(letters).event.d.nonce)
    assert.equal(4, t:counters().identifies)
  end)
end)
