-- The bot in trouble: what comes again, what waits, what is given up, and that order is kept through it all.

local checker = require "spec.support.checker"
local cjson = require "cjson"
local loop = require "spec.support.loop"
local paths = require "spec.support.paths"
local scene = require "spec.support.scene"

-- Fails the first n MESSAGE_CREATE requests by `answer`, a function or a status, then accepts.
local function first(n, answer)
  return function(request, event)
    if event.t ~= "MESSAGE_CREATE" or n == 0 then
      return nil
    end
    n = n - 1
    if type(answer) == "function" then
      return answer(request, event)
    end
    return answer
  end
end

local function number_of(event)
  return tonumber(event.body:match '"nonce":"%d+:(%d+)"')
end

-- The numbers of a guild's messages, in order of arrival.
local function numbers(s)
  local list = {}
  for i, event in ipairs(s.bot:select "MESSAGE_CREATE") do
    list[i] = number_of(event)
  end
  return list
end

describe("a bot in trouble gets everything in the end, in order, when it", function()
  after_each(scene.stop)

  local function check(s, count, timeout)
    s.fake:emit { count = count or 20 }
    local sent = s:wait_delivered(timeout)
    checker.assert_complete(s.bot.events, { guilds = sent, contiguous = true })
    for shard in pairs(s.bot.by_shard) do
      assert.equal(1, s.bot.max_in_flight[shard])
    end
  end

  it("answers 500 some times", function()
    local s = scene.start {}
    s.bot:answer(first(3, 500))
    check(s)
    assert.equal(3, s.bot.refused)
  end)

  it("answers 408 and 425", function()
    local s = scene.start {}
    local answers = { 408, 425 }
    s.bot:answer(first(2, function() return table.remove(answers) end))
    check(s)
  end)

  it("breaks connections", function()
    local s = scene.start {}
    s.bot:answer(first(3, "reset"))
    check(s)
  end)

  it("closes all connections now and then", function()
    local s = scene.start { shards = 2, fake = { max_concurrency = 2 } }
    local n = 0
    s.bot:answer(function()
      n = n + 1
      if n % 15 == 0 then
        return "reset"
      elseif n % 22 == 0 then
        return 204, { Connection = "close" }
      end
    end)
    s.fake:emit { count = 60 }
    local sent = s:wait_delivered(20000)
    checker.assert_nothing_lost(s.bot.events, { guilds = sent, contiguous = true })
  end)

  it("does not answer", function()
    local s = scene.start { script = [[
require "tidegate".configure { event_handler = { timeout = 300 } }
]] }
    s.bot:answer(first(2, "hang"))
    s.fake:emit { count = 20 }
    local sent = s:wait_delivered()
    checker.assert_complete(s.bot.events, { guilds = sent, contiguous = true })
    s.bot.in_flight = {}
  end)

  it("becomes slow", function()
    local s = scene.start { shards = 8, fake = { max_concurrency = 8 } }
    s.bot:wait_for_events(8, "READY")
    s.bot:delay(30)
    local began = loop.now()
    check(s, 20)
    -- Lanes do not wait for each other, and a slow bot is not one to be spared: far quicker than in a row.
    local took = loop.now() - began
    assert.is_true(took < 8 * 20 * 30 / 2 * paths.slow, tostring(took))
  end)

  it("is not there, and comes back", function()
    local s = scene.start {}
    s.bot:wait_for_events(1, "READY")
    s.bot:down()
    s.fake:emit { count = 20 }
    s.gateway:wait_for_log("the event handler is down: [^\n]* url=http://127%.0%.0%.1:%d+ ")
    s.bot:up()
    local sent = s:wait_delivered(15000)
    checker.assert_nothing_lost(s.bot.events, { guilds = sent, contiguous = true })
    s.gateway:wait_for_log("the event handler is up again url=http://127%.0%.0%.1:%d+ ")
  end)

  it("is started after the gateway", function()
    local s = scene.start { ready = false }
    s.bot:down()
    s.gateway:wait_ready(1)
    s.fake:emit { count = 20 }
    s.gateway:wait_for_log "the event handler is down"
    s.bot:up()
    local sent = s:wait_delivered(15000)
    checker.assert_nothing_lost(s.bot.events, { guilds = sent, contiguous = true })
    assert.equal(1, #s.bot:select "READY")
  end)
end)

describe("Retry-After", function()
  after_each(scene.stop)

  it("of 503 is obeyed for all shards", function()
    local s = scene.start { shards = 2, fake = { max_concurrency = 2 } }
    local refused_at, next_at
    s.bot:answer(function(_, event)
      if not refused_at and event.t == "MESSAGE_CREATE" then
        refused_at = loop.now()
        return 503, { ["Retry-After"] = "1" }
      elseif refused_at and not next_at and event.t == "TYPING_START" then
        next_at = loop.now()
      end
    end)
    s.fake:emit { count = 1, shard = 0 }
    loop.wait_for("the refusal", function() return refused_at end)
    s.gateway:wait_for_log "the event handler is down"
    s:type("1", 1)
    local sent = s:wait_delivered()
    s.bot:wait_for_events(1, "TYPING_START")
    assert.is_true(next_at - refused_at >= 990, tostring(next_at - refused_at))
    checker.assert_complete(s.bot.events, { guilds = sent, contiguous = true })
  end)

  it("of 429 is obeyed for the shard that was told", function()
    local s = scene.start { shards = 2, fake = { max_concurrency = 2 } }
    local refused_at, again_at, other_at
    s.bot:answer(function(_, event)
      if event.t ~= "MESSAGE_CREATE" then
        return nil
      elseif event.shard == 1 then
        other_at = other_at or loop.now()
      elseif not refused_at then
        refused_at = loop.now()
        return 429, { ["Retry-After"] = "1" }
      else
        again_at = again_at or loop.now()
      end
    end)
    s.fake:emit { count = 5, shard = 0 }
    loop.wait_for("the refusal", function() return refused_at end)
    s.fake:emit { count = 5, shard = 1 }
    local sent = s:wait_delivered()
    assert.is_true(again_at - refused_at >= 990, tostring(again_at - refused_at))
    assert.is_true(other_at < again_at)
    assert.equal(0, s.gateway:count_log "the event handler is down")
    checker.assert_complete(s.bot.events, { guilds = sent, contiguous = true })
  end)
end)

describe("a bot that is wrongly set up", function()
  after_each(scene.stop)

  local cases = {
    { "401", function(s) s.bot.authorization = "another-secret" end,
      function(s) s.bot.authorization = "secret-of-the-bot" end, "EVENT_HANDLER_SECRET_KEY" },
    { "404", function(s) s.bot:answer(function() return 404 end) end,
      function(s) s.bot:answer(nil) end, "EVENT_HANDLER_URL" },
    { "301", function(s) s.bot:answer(function() return 301, { Location = "/elsewhere" } end) end,
      function(s) s.bot:answer(nil) end, "EVENT_HANDLER_URL" },
  }
  for _, case in ipairs(cases) do
    local status, break_it, mend_it, advice = unpack(case)
    it(status .. " counts as down, with an alarm that says what to do; nothing is lost", function()
      local s = scene.start { script = [[
local gateway = require "tidegate"
gateway.on("handler_down", function(_, details)
  gateway.log.info("life: down %s because %s", details.url, details.reason)
end)
gateway.on("handler_up", function(_, details) gateway.log.info("life: up %s", details.url) end)
]] }
      s.bot:wait_for_events(1, "READY")
      break_it(s)
      s.fake:emit { count = 30 }
      s.gateway:wait_for_log(("error [^\n]*the event handler is down: [^\n]*%s[^\n]*reason=[^\n]*answered %s")
        :format(advice, status))
      local url = s.gateway:wait_for_log("life: down (%S+) because [^\n]*" .. status)
      assert.equal(s.bot.url, url)
      mend_it(s)
      local sent = s:wait_delivered(15000)
      assert.equal(s.bot.url, (s.gateway:wait_for_log "life: up (%S+)"))
      checker.assert_nothing_lost(s.bot.events, { guilds = sent, contiguous = true })
      assert.is_nil(paths.read(s.gateway.state_dir .. "/dead.jsonl"))
      -- One alarm, not one an event.
      assert.equal(1, s.gateway:count_log "the event handler is down")
    end)
  end
end)

describe("an event that the bot refuses", function()
  after_each(scene.stop)

  it("is tried three times over five seconds, then goes to dead.jsonl, and the lane goes on", function()
    local s = scene.start { shards = 2, fake = { max_concurrency = 2 } }
    local guild = s.fake:guilds(0)[1].id
    local tries = {}
    s.bot:answer(function(request, event)
      if event.t == "MESSAGE_CREATE" and request.body:find('"nonce":"' .. guild .. ':3"', 1, true) then
        tries[#tries + 1] = loop.now()
        return 400, nil, "I do not like this one"
      end
    end)
    s.fake:emit { count = 6, guild = guild }
    s.bot:wait_for_events(2, "MESSAGE_CREATE")
    s.fake:emit { count = 20, shard = 1 } -- the other lane does not wait
    s.bot:wait_for_events(22, "MESSAGE_CREATE")
    assert.is_true(#tries < 3)
    s.bot:wait_for_events(25, "MESSAGE_CREATE", 12000)
    assert.equal(3, #tries)
    assert.is_true(tries[3] - tries[1] >= 4000, tries[3] - tries[1]) -- the first may have been seen late

    local lines = paths.read(s.gateway.state_dir .. "/dead.jsonl")
    local _, count = lines:gsub("\n", "")
    assert.equal(1, count)
    local letter = cjson.decode(lines)
    assert.equal(0, letter.shard)
    assert.equal(s.bot:first_epoch(0), letter.epoch)
    assert.equal("MESSAGE_CREATE", letter.t)
    assert.equal(400, letter.status)
    assert.equal("I do not like this one", letter.answer)
    assert.equal(guild .. ":3", letter.event.d.nonce)
    assert.equal(letter.s, letter.event.s)

    local report = checker.compare(s.bot.events, { guilds = s.fake:sent_guilds() })
    assert.same({ ("message %s:3"):format(guild) }, report.lost)
    assert.same({}, report.out_of_order)
    assert.equal(0, s.gateway:count_log "is down")
    -- What was given up counts as settled: a new start does not bring it back.
    s.bot:answer(nil)
    s.gateway:stop()
    s:again()
    s.fake:emit { count = 1, shard = 0 }
    s.bot:wait_for_events(26, "MESSAGE_CREATE")
    assert.equal(26, #s.bot:select "MESSAGE_CREATE")
  end)
end)

describe("a queue that is full", function()
  after_each(scene.stop)

  it("lets go of queue.drop_first, then of the oldest; interactions stay", function()
    local s = scene.start { script = [[
local gateway = require "tidegate"
gateway.configure { queue = { durability = "memory", memory_bytes = 65536 } }
gateway.on("MESSAGE_CREATE", function(event)
  gateway.log.info("has come: %s", event.data.nonce)
end)
gateway.on("TYPING_START", function(event)
  gateway.log.info("has come: typing %s", event.data.user_id)
end)
]] }
    local function type_something(user)
      s:type(user)
      s.gateway:wait_for_log("has come: typing " .. user)
    end
    local guild = s.fake:guilds()[1].id
    s.bot:wait_for_events(1 + #s.fake:guilds()) -- READY and the guilds
    s.bot:down()
    type_something "100"
    s.fake:emit { interaction = 2, count = 5, shard = 0 }
    s.fake:emit { count = 200, size = 1000, guild = guild }
    s.gateway:wait_for_log("has come: %d+:200")
    type_something "101" -- the queue is full: this one is not taken
    s.gateway:wait_for_log "the queue for the event handler is filling up"
    s.bot:up()
    loop.wait_for("the last message", function()
      local last = s.bot.events[#s.bot.events]
      return last.t == "MESSAGE_CREATE" and number_of(last) == 200
    end, 15000)

    assert.equal(5, #s.bot:select "INTERACTION_CREATE")
    local list = numbers(s)
    assert.is_true(#list > 20 and #list < 70, tostring(#list))
    for i, n in ipairs(list) do -- the oldest were dropped: the rest has no hole
      assert.equal(200 - #list + i, n)
    end
    for _, event in ipairs(s.bot:select "TYPING_START") do
      assert.equal("100", event:data().user_id)
    end
    -- Memory is bounded: what was dropped is settled, and does not come back with a new start.
    local count = #s.bot.events
    s.gateway:stop()
    s:again()
    s.fake:emit { count = 1, guild = guild }
    loop.wait_for("one more", function() return #s.bot:select "MESSAGE_CREATE" == #list + 1 end)
    assert.is_true(#s.bot.events <= count + 2) -- RESUMED, and the message
  end)
end)
