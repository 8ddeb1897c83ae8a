-- event_handler.batch: what has collected goes as a list, one answer is for all of it, and order and
-- completeness are as they are without it.

local checker = require "spec.support.checker"
local cjson = require "cjson"
local loop = require "spec.support.loop"
local paths = require "spec.support.paths"
local scene = require "spec.support.scene"
local uv = require "luv"

local function start(options)
  options = options or {}
  options.script = ([[
require "tidegate".configure { event_handler = { batch = %s, %s }, queue = { %s } }
]]):format(options.batch or "true", options.handler or "", options.queue or "")
  return scene.start(options)
end

-- Emits while the bot is down, and waits until Discord has sent it all.
local function pile_up(s, what)
  s.bot:down()
  s.fake:emit(what)
  return s.fake:wait_emitted(30000)
end

local function largest(list)
  return math.max(0, unpack(list))
end

local function is_message(event, guild, n)
  return event.t == "MESSAGE_CREATE" and event:data().nonce == ("%s:%d"):format(guild, n)
end

local function find(events, guild, n)
  for _, event in ipairs(events) do
    if is_message(event, guild, n) then
      return event
    end
  end
end

describe("with event_handler.batch", function()
  after_each(scene.stop)

  it("every request is a list of up to 64 events, in order", function()
    local s = start { shards = 2, fake = { max_concurrency = 2 } }
    s.bot:wait_for_events(2, "READY")
    pile_up(s, { count = 500, rate = 5000 })
    s.bot:up()
    local sent = s:wait_delivered(30000)
    checker.assert_nothing_lost(s.bot.events, { guilds = sent, contiguous = true })
    local total = 0
    for _, count in ipairs(s.bot.batches) do
      total = total + count
    end
    assert.equal(#s.bot.events, total) -- not one came outside of a list
    assert.equal(64, largest(s.bot.batches))
    for shard in pairs(s.bot.by_shard) do
      assert.equal(1, s.bot.max_in_flight[shard])
    end
  end)

  it("a refused batch is split until the culprit stands alone, which goes to dead.jsonl", function()
    local s = start { shards = 2, fake = { max_concurrency = 2 } }
    s.bot:wait_for_events(2, "READY")
    local guild = s.fake:guilds(0)[1].id
    local alone, refused = {}, 0
    pile_up(s, { count = 60, guild = guild })
    s.bot:answer(function(_, _, events)
      if find(events, guild, 37) then
        refused = refused + 1
        if #events == 1 then
          alone[#alone + 1] = loop.now()
        end
        return 422, nil, "not this one"
      end
    end)
    s.bot:up()
    s.fake:emit { count = 20, shard = 1 } -- the other lane does not wait
    s.bot:wait_for_events(20, function(event) return event.shard == 1 and event.t == "MESSAGE_CREATE" end)
    s.bot:wait_for_events(79, "MESSAGE_CREATE", 20000)
    assert.equal(3, #alone)
    assert.is_true(alone[3] - alone[1] >= 5000)
    -- 60, 30, 15, 8, 4, 2, and three times the one
    assert.is_true(refused <= 6 + 3, refused .. " requests were refused")
    local lines = paths.read(s.gateway.state_dir .. "/dead.jsonl")
    local _, count = lines:gsub("\n", "")
    assert.equal(1, count)
    assert.equal(guild .. ":37", cjson.decode(lines).event.d.nonce)
    local report = checker.compare(s.bot.events, { guilds = s.fake:sent_guilds() })
    assert.same({ ("message %s:37"):format(guild) }, report.lost)
    assert.same({}, report.out_of_order)
    assert.same({}, report.doubled)
  end)

  it("a bot that fails gets the same batch again, not a larger one", function()
    local s = start {}
    s.bot:wait_for_events(1, "READY")
    local guild = s.fake:guilds()[1].id
    pile_up(s, { count = 40, guild = guild })
    local tries = {}
    s.bot:answer(function(request, _, events)
      if find(events, guild, 30) and #tries < 3 then
        tries[#tries + 1] = { key = request.headers["idempotency-key"], body = request.body }
        return #tries == 1 and 500 or #tries == 2 and "reset" or 429, { ["Retry-After"] = "0" }
      end
    end)
    s.bot:up()
    for try = 1, 3 do
      loop.wait_for("try " .. try, function() return #tries >= try end, 20000)
      s.fake:emit { count = 5, guild = guild }
    end
    local sent = s:wait_delivered(20000)
    assert.equal(tries[1].key, tries[2].key)
    assert.equal(tries[1].body, tries[2].body)
    assert.equal(tries[1].body, tries[3].body)
    checker.assert_complete(s.bot.events, { guilds = sent, contiguous = true })
  end)

  it("nothing is lost when the bot dies in the middle of a batch", function()
    local s = start {}
    s.bot:wait_for_events(1, "READY")
    pile_up(s, { count = 300, rate = 3000 })
    local asked = 0
    s.bot:answer(function(_, _, events)
      asked = asked + 1
      if #events > 10 and asked % 2 == 0 then
        return "reset"
      end
    end)
    s.bot:up()
    s.fake:emit { count = 200, rate = 500 }
    local sent = s:wait_delivered(30000)
    checker.assert_nothing_lost(s.bot.events, { guilds = sent, contiguous = true })
    assert.is_true(asked > #s.bot.batches)
  end)

  it("nothing is lost when a worker is killed with a batch in flight; repeats have equal keys", function()
    local s = start { shards = 2, fake = { max_concurrency = 2 } }
    s.bot:wait_for_events(2, "READY")
    local killed = 0
    for round = 1, 4 do
      pile_up(s, { count = 150, rate = 3000 })
      -- The bot takes the batch; the worker dies before it hears of that.
      local hit
      s.bot:answer(function(_, _, events)
        if not hit and #events > 20 then
          hit = true
          killed = killed + 1
          uv.kill(s.gateway:worker_pids()[1], "sigkill")
        end
      end)
      s.bot:up()
      loop.wait_for("a batch of round " .. round, function() return hit end, 20000)
      s:wait_counter("resumes_ok", 2 * round, 20000)
    end
    s.bot:answer(nil)
    local sent = s:wait_delivered(30000)
    local report = checker.assert_nothing_lost(s.bot.events, { guilds = sent })
    assert.equal(4, killed)
    assert.is_true(#report.doubled > 20, report.text) -- what was in flight came again
    assert.equal(2, s:counters().identifies)
  end)

  it("markers stand in their place among the events", function()
    local s = start { handler = "markers = true", queue = "disk_bytes = 524288, memory_bytes = 65536" }
    s.bot:wait_for_events(1, "READY")
    pile_up(s, { count = 2000, rate = 5000 })
    s.bot:up()
    s.fake:emit { count = 1 }
    local sent = s.fake:wait_emitted()
    local guild, last = next(sent)
    s.bot:wait_for_events(1, function(event) return is_message(event, guild, last) end, 30000)
    local expected, markers, in_batches
    markers, in_batches = 0, 0
    for _, event in ipairs(s.bot.events) do
      local from = event.gap and event.gap.from or event.s
      assert.equal(expected or from, from)
      expected = (event.gap and event.gap.to or event.s) + 1
      markers = markers + (event.gap and 1 or 0)
    end
    for _, count in ipairs(s.bot.batches) do
      in_batches = in_batches + count
    end
    assert.is_true(markers > 0)
    assert.equal(#s.bot.events, in_batches)
  end)

  it("can be switched on and off by a reload", function()
    local s = start {}
    s.bot:wait_for_events(1, "READY")
    pile_up(s, { count = 50 })
    paths.write(s.gateway.script, [[
local gateway = require "tidegate"
gateway.configure { event_handler = { batch = false } }
gateway.on("reload", function() gateway.log.info("the %s sends them one by one", gateway.role) end)
]])
    assert.is_true((s.gateway:reload()))
    s.gateway:wait_for_log "the worker sends them one by one"
    local before = #s.bot.batches
    s.bot:up()
    local sent = s:wait_delivered(30000)
    checker.assert_nothing_lost(s.bot.events, { guilds = sent, contiguous = true })
    assert.equal(before, #s.bot.batches)
  end)
end)

describe("batch = {events, bytes, linger}", function()
  after_each(scene.stop)

  -- A linger so long that nothing in a spec ends it by chance.
  local LONG = "{ linger = 50000 }, events = { 'MESSAGE_CREATE', 'INTERACTION_CREATE' }"

  local function interact(s)
    s.fake:emit { event = "INTERACTION_CREATE", shard = 0, d = {
      id = "1", application_id = "2", type = 2, token = "t", version = 1,
      data = { id = "3", name = "ping", type = 1 },
    } }
  end

  local function wait_queued(s, n)
    local deadline = loop.now() + 10000 * paths.slow
    local queued
    repeat
      queued = s.gateway:control("GET", "/shards"):json()[1].queued
    until queued >= n or loop.now() > deadline
    assert.equal(n, queued)
  end

  it("sets how many events and bytes go in one request, of a sink, too", function()
    local s = scene.start { sinks = { copy = {} }, script = function(s)
      return ([[
require "tidegate".configure {
  event_handler = { batch = { events = 200, bytes = 1048576 } },
  sinks = { copy = { url = %q, authorization = %q, batch = { events = 1000, bytes = 8192 } } },
}]]):format(s.sinks.copy.url, s.sinks.copy.authorization)
    end }
    s.bot:wait_for_events(1, "READY")
    s.sinks.copy:wait_for_events(1, "READY")
    local most = 0
    s.sinks.copy:answer(function(request) most = math.max(most, #request.body) end)
    s.sinks.copy:down()
    pile_up(s, { count = 600, rate = 5000 })
    s.bot:up()
    s.sinks.copy:up()
    for _, bot in ipairs { s.bot, s.sinks.copy } do
      checker.assert_nothing_lost(bot.events, { guilds = s:wait_delivered(30000, bot), contiguous = true })
    end
    assert.equal(200, largest(s.bot.batches))
    assert.is_true(most > 7000 and most <= 8192, most .. " bytes")
  end)

  it("a linger fills batches though the bot is quick; without one it gets each as it comes", function()
    local s = start { batch = "{ events = 10, linger = 50000 }" }
    for n = 1, 3 do
      s.fake:emit { count = 30, rate = 300 }
      s.fake:wait_emitted(20000)
      s.bot:wait_for_events(30 * n - 10, "MESSAGE_CREATE")
    end
    for _, count in ipairs(s.bot.batches) do
      assert.equal(10, count)
    end
    paths.write(s.gateway.script, [[require "tidegate".configure { event_handler = { batch = true } }]])
    assert.is_true((s.gateway:reload()))
    s:wait_delivered() -- what has waited goes
    local before = #s.bot.batches
    s.fake:emit { count = 10, rate = 20 }
    checker.assert_complete(s.bot.events, { guilds = s:wait_delivered(), contiguous = true })
    assert.is_true(#s.bot.batches - before > 5)
  end)

  it("a linger ends: nothing waits longer than it says", function()
    local s = start { batch = "{ linger = 300 }" }
    s.bot:wait_for_events(1, "READY")
    s.fake:emit { count = 3 }
    checker.assert_complete(s.bot.events, { guilds = s:wait_delivered(), contiguous = true })
    assert.equal(3, s.bot.batches[#s.bot.batches])
  end)

  it("an interaction goes at once, with what is in front of it", function()
    local s = start { batch = LONG }
    s.fake:emit { count = 5 }
    wait_queued(s, 5)
    assert.same({}, s.bot.events)
    interact(s)
    s.bot:wait_for_events(6)
    assert.same({ 6 }, s.bot.batches)
    assert.equal("INTERACTION_CREATE", s.bot.events[6].t)
  end)

  it("nothing is lost when a worker, or all of it, is killed while events linger", function()
    local s = start { batch = LONG }
    s.fake:emit { count = 20 }
    wait_queued(s, 20)
    uv.kill(s.gateway:worker_pids()[1], "sigkill")
    s:wait_counter("resumes_ok", 1, 20000)
    s.fake:emit { count = 10 }
    wait_queued(s, 30)
    s.gateway:stop "SIGKILL"
    s:again()
    interact(s)
    checker.assert_complete(s.bot.events, { guilds = s:wait_delivered(30000) })
    assert.equal(1, s:counters().identifies)
  end)

  it("what lingers is delivered when the gateway stops", function()
    local s = start { batch = LONG }
    s.fake:emit { count = 20 }
    wait_queued(s, 20)
    local stopped = loop.now()
    s.gateway:stop()
    assert.is_true(loop.now() - stopped < 20000)
    checker.assert_complete(s.bot.events, { guilds = s:wait_delivered() })
  end)
end)
