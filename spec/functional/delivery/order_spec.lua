-- event_handler.order = "guild": guilds do not wait for each other, each keeps its own order, and nothing is
-- lost that is not lost with the order of the shard.

local checker = require "spec.support.checker"
local cjson = require "cjson"
local loop = require "spec.support.loop"
local paths = require "spec.support.paths"
local prometheus = require "spec.support.prometheus"
local scene = require "spec.support.scene"
local uv = require "luv"

local function script(handler, queue)
  return ([[
require "tidegate".configure { event_handler = { order = "guild", %s }, queue = { %s } }
]]):format(handler or "", queue or "")
end

local function start(options)
  options = options or {}
  options.script = options.script or script(options.handler, options.queue)
  options.fake = options.fake or { guilds = 8 }
  local s = scene.start(options)
  s.bot:wait_for_events(options.shards or 1, "READY")
  s.bot:wait_for_events(#s.fake:guilds(), "GUILD_CREATE")
  return s
end

local function pile_up(s, what)
  s.bot:down()
  s.fake:emit(what)
  return s.fake:wait_emitted(30000)
end


local function guild_in(body)
  return body:match '"guild_id":"(%d+)"'
end

local function messages_of(s, guild)
  return s.bot:select(function(event)
    return event.t == "MESSAGE_CREATE" and guild_in(event.body) == guild
  end)
end

local function wait_for_messages(s, guild, count)
  loop.wait_for(function()
    return ("%d messages of guild %s; %d have come"):format(count, guild, #messages_of(s, guild))
  end, function() return #messages_of(s, guild) >= count end, 20000, 2)
end

local function assert_complete(s)
  local sent = s:wait_delivered(60000)
  return checker.assert_complete(s.bot.events, { guilds = sent, contiguous = true, by_guild = true })
end

local function assert_nothing_lost(s)
  local sent = s:wait_delivered(60000)
  return checker.assert_nothing_lost(s.bot.events, { guilds = sent, by_guild = true })
end

-- Answers requests with messages of that guild so, and takes all others.
local function answer_guild(s, guild, answer)
  s.bot:answer(function(request)
    if request.body:find('"t":"MESSAGE_CREATE"', 1, true) and guild_in(request.body) == guild then
      return answer(request)
    end
  end)
end

-- Five messages of each guild: all but those of that one come.
local function emit_and_await_others(s, guild, already)
  for _, each in ipairs(s.fake:guilds()) do
    s.fake:emit { count = 5, guild = each.id }
  end
  for _, each in ipairs(s.fake:guilds()) do
    if each.id ~= guild then
      wait_for_messages(s, each.id, (already or 0) + 5)
    end
  end
end

local function kill_worker(s)
  local resumed = s:counters().resumes_ok
  uv.kill(s.gateway:worker_pids()[1], "sigkill")
  s:wait_counter("resumes_ok", resumed + 1, 20000)
end

local function pass(ms)
  local then_ = loop.now() + ms
  loop.wait_for("the moment", function() return loop.now() >= then_ end)
end

describe("with event_handler.order = \"guild\"", function()
  after_each(scene.stop)

  it("guilds are sent at once, up to in_flight of them, each in its order", function()
    local s = start { handler = "in_flight = 6" }
    s.bot:delay(20)
    s.fake:emit { count = 400, rate = 5000 }
    assert_complete(s)
    assert.equal(6, s.bot.max_in_flight[0])
  end)

  it("one that hangs holds up nobody else", function()
    local s = start { handler = "timeout = 3000" }
    local slow = s.fake:guilds()[3].id
    answer_guild(s, slow, function() return "hang" end)
    emit_and_await_others(s, slow)
    assert.equal(0, #messages_of(s, slow))
    s.bot:answer(nil)
    assert_complete(s)
  end)

  it("nor does one that is to be tried again later", function()
    local s = start()
    local busy, refusals = s.fake:guilds()[2].id, 0
    answer_guild(s, busy, function()
      refusals = refusals + 1
      return refusals == 1 and 429 or 500, { ["Retry-After"] = "1" }
    end)
    local began = loop.now()
    emit_and_await_others(s, busy)
    loop.wait_for("the second try", function() return refusals >= 2 end)
    assert.is_true(loop.now() - began >= 900)
    emit_and_await_others(s, busy, 5)
    assert.equal(0, #messages_of(s, busy))
    s.bot:answer(nil)
    assert_complete(s)
  end)

  it("an event that is refused holds up its guild until it is a dead letter", function()
    local s = start()
    local guild, tries = s.fake:guilds()[1].id, 0
    s.bot:answer(function(request)
      if request.body:find(('"nonce":"%s:3"'):format(guild), 1, true) then
        tries = tries + 1
        return 422
      end
    end)
    emit_and_await_others(s, guild)
    assert.equal(2, #messages_of(s, guild))
    wait_for_messages(s, guild, 4)
    assert.equal(3, tries)
    local letter = cjson.decode(paths.read(s.gateway.state_dir .. "/dead.jsonl"))
    assert.equal(guild .. ":3", letter.event.d.nonce)
    local report = checker.compare(s.bot.events, { guilds = s.fake:sent_guilds(), by_guild = true })
    assert.same({ ("message %s:3"):format(guild) }, report.lost)
    assert.same({}, report.out_of_order)
    assert.same({}, report.doubled)
  end)

  it("a bot that is down gets all of it when it is back", function()
    local s = start { shards = 2, fake = { max_concurrency = 2 } }
    pile_up(s, { count = 2500, rate = 5000 })
    s.bot:up()
    assert_complete(s)
  end)

  it("what does not fit into memory is read back, past a guild that waits, too", function()
    local s = start { queue = "memory_bytes = 32768", fake = { guilds = 8, message_size = 300 } }
    local slow = s.fake:guilds()[1].id
    pile_up(s, { count = 1000, rate = 5000 })
    local hold = true
    answer_guild(s, slow, function()
      if hold then
        return 429, { ["Retry-After"] = "1" }
      end
    end)
    s.bot:up()
    loop.wait_for("as many of others as memory lets pass", function()
      return #s.bot:select "MESSAGE_CREATE" >= 100
    end)
    assert.equal(0, #messages_of(s, slow))
    hold = false
    assert_complete(s)
    assert.equal(0, s.gateway:count_log "events are dropped")
  end)

  it("nothing is lost when workers are killed with many in flight; repeats have equal keys", function()
    local s = start { shards = 2, fake = { max_concurrency = 2, guilds = 16 } }
    s.bot:delay(15)
    s.fake:emit { count = 3000, rate = 1500 }
    for i = 1, 4 do
      pass(100 + 90 * i)
      kill_worker(s)
    end
    local report = assert_nothing_lost(s)
    assert.is_true(#report.doubled > 0, report.text)
    assert.equal(2, s:counters().identifies)
  end)

  it("nor when the whole gateway is, beside a guild that waits", function()
    local s = start { handler = "markers = true" }
    local slow, hold = s.fake:guilds()[2].id, true
    answer_guild(s, slow, function()
      if hold then
        return 429, { ["Retry-After"] = "1" }
      end
    end)
    s.fake:emit { count = 2000, rate = 4000 }
    s.fake:wait_emitted(30000)
    loop.wait_for("all others", function() return #s.bot:select "MESSAGE_CREATE" >= 1000 end, 20000)
    local workers = s.gateway:worker_pids()
    s.gateway.process:kill "SIGKILL"
    s.gateway.process:wait(10000)
    loop.wait_for("the workers to be gone", function() return uv.kill(workers[1], 0) ~= 0 end)
    s:again()
    hold = false
    assert_nothing_lost(s)
    assert.equal(0, #s.bot:select(function(event) return event.gap end))
  end)

  it("a log whose files are done in front of a guild that waits is whole after a kill", function()
    local s = start {
      handler = "markers = true", fake = { guilds = 4, message_size = 20000 },
    }
    local slow, hold = s.fake:guilds()[1].id, true
    answer_guild(s, slow, function()
      if hold then
        return 429, { ["Retry-After"] = "1" }
      end
    end)
    s.fake:emit { count = 1, guild = slow }
    for _, guild in ipairs(s.fake:guilds()) do
      if guild.id ~= slow then
        s.fake:emit { count = 250, guild = guild.id, rate = 1000 }
      end
    end
    for _, guild in ipairs(s.fake:guilds()) do
      if guild.id ~= slow then
        wait_for_messages(s, guild.id, 250)
      end
    end
    local emptied = io.popen(("du -k %s/log/*/*.segment | sort -n"):format(s.gateway.state_dir)):read "*n"
    assert.is_true(emptied < 100, "the smallest takes " .. emptied .. " KiB")
    for _ = 1, 2 do
      kill_worker(s)
    end
    hold = false
    s.fake:emit { count = 5 }
    local report = assert_nothing_lost(s)
    assert.equal(0, #s.bot:select(function(event) return event.gap end))
    assert.is_true(#report.doubled < 700, #report.doubled .. " came again")
  end)

  it("a reload goes from one order to the other, with events waiting and in flight", function()
    local s = start { shards = 2, fake = { max_concurrency = 2 } }
    s.bot:delay(5)
    s.fake:emit { count = 3000, rate = 1500 }
    for i, order in ipairs { "shard", "guild", "shard", "guild" } do
      pass(150)
      paths.write(s.gateway.script, ([[
local gateway = require "tidegate"
gateway.configure { event_handler = { order = "%s" } }
gateway.on("reload", function() gateway.log.info("order %d", %d) end)
]]):format(order, i, i))
      assert.is_true((s.gateway:reload()))
      if order == "shard" then
        pass(100)
        s.bot.max_in_flight = {}
        pass(200)
        assert.equal(1, s.bot.max_in_flight[0])
      end
    end
    assert_complete(s)
    assert.is_true(s.bot.max_in_flight[0] > 2)
  end)

  it("markers stand between what was in front of them and what was behind", function()
    local s = start { handler = "markers = true", queue = "disk_bytes = 524288, memory_bytes = 65536" }
    pile_up(s, { count = 2000, rate = 5000 })
    s.bot:up()
    s.fake:emit { count = 1 }
    s:await_newest()
    local reached, told, barrier = 0, 0, 0
    for _, event in ipairs(s.bot.events) do
      if event.gap then
        assert.is_true(event.gap.from > reached, ("%d is told behind %d"):format(event.gap.from, reached))
        barrier, told = event.gap.to, told + event.gap.count
      else
        assert.is_true(event.s > barrier, ("%d came behind what is told of %d"):format(event.s, barrier))
        reached = math.max(reached, event.s)
      end
    end
    assert.is_true(told > 500, tostring(told))
  end)

  it("a session that ends: what is of the old one comes first, and READY in front of the new", function()
    local s = start()
    pile_up(s, { count = 300, rate = 3000 })
    s.gateway:stop "SIGINT"
    s:again()
    s.fake:emit { count = 100 }
    s.bot:up()
    s:wait_delivered(30000)
    checker.assert_nothing_lost(s.bot.events, { guilds = s.fake:sent_guilds(), by_guild = true })
    assert.equal(2, #s.bot:select "READY")
  end)

  it("a batch has events of one guild", function()
    local s = start { handler = "batch = true" }
    local mixed, largest = 0, 0
    pile_up(s, { count = 1000, rate = 5000 })
    s.bot:answer(function(request, _, events)
      local guilds = {}
      for guild in request.body:gmatch '"guild_id":"(%d+)"' do
        guilds[guild] = true
      end
      local first = next(guilds)
      mixed = mixed + (first and next(guilds, first) and 1 or 0)
      largest = math.max(largest, #events)
    end)
    s.bot:up()
    assert_complete(s)
    assert.equal(0, mixed)
    assert.is_true(largest > 20, largest .. " at most")
  end)

  it("a batch that is refused is split until the culprit stands alone", function()
    local s = start { handler = "batch = true" }
    local guild = s.fake:guilds()[1].id
    pile_up(s, { count = 40, guild = guild })
    s.bot:answer(function(request)
      return request.body:find(('"nonce":"%s:17"'):format(guild), 1, true) and 422 or 204
    end)
    s.bot:up()
    wait_for_messages(s, guild, 39)
    local report = checker.compare(s.bot.events, { guilds = s.fake:sent_guilds(), by_guild = true })
    assert.same({ ("message %s:17"):format(guild) }, report.lost)
    assert.same({}, report.out_of_order)
    assert.same({}, report.doubled)
  end)

  it("interactions pass their guild, each once", function()
    local s = start { script = [[
require "tidegate".configure {
  event_handler = { order = "guild" }, interaction = { express = true, grace = 1000 },
}
]] }
    s.bot:answer(function(_, event)
      if event.t == "MESSAGE_CREATE" then
        return 429, { ["Retry-After"] = "1" }
      end
    end)
    s.fake:emit { count = 400, shard = 0 }
    s.fake:wait_emitted()
    s.fake:emit { interaction = 2, shard = 0, count = 30 }
    s.bot:wait_for_events(30, "INTERACTION_CREATE")
    assert.equal(0, #s.bot:select "MESSAGE_CREATE")
    s.bot:answer(nil)
    local sent = s:wait_delivered(30000)
    assert.equal(30, #s.bot:select "INTERACTION_CREATE")
    checker.assert_complete(s.bot:select(function(event) return event.t ~= "INTERACTION_CREATE" end),
      { guilds = sent, by_guild = true })
  end)

  it("those that nobody takes in time are deferred, and say so", function()
    local s = start { script = [[
require "tidegate".configure { event_handler = { order = "guild" }, interaction = { grace = 300 } }
]] }
    s.bot:answer(function() return 429, { ["Retry-After"] = "1" } end)
    s.fake:emit { interaction = 2, shard = 0, count = 3 }
    s.fake:wait_for("three answers", function()
      local metrics = prometheus.parse(assert(s.gateway:control("GET", "/metrics")).body)
      return metrics:sum("tidegate_interactions_total", { result = "answered" }) == 3
    end)
    s.bot:answer(nil)
    s.bot:wait_for_events(3, "INTERACTION_CREATE", 20000)
    for _, event in ipairs(s.bot:select "INTERACTION_CREATE") do
      assert.is_true(event.deferred)
    end
  end)

  it("a script's deliver gets the guilds at once; its posts are of their requests", function()
    local s = start { script = [[
local gateway = require "tidegate"
gateway.configure { event_handler = { order = "guild" } }
local default = gateway.delivery.deliver
function gateway.delivery:deliver(events) return default(self, events) end
]] }
    s.bot:delay(20)
    s.fake:emit { count = 300, rate = 3000 }
    assert_complete(s)
    assert.is_true(s.bot.max_in_flight[0] > 4)
  end)

  it("a script's handle_queue gets the queue of its shard", function()
    local s = start { script = [[
local gateway = require "tidegate"
gateway.configure { event_handler = { order = "guild" } }
local default = gateway.delivery.handle_queue
function gateway.delivery:handle_queue(queue) return default(self, queue) end
]] }
    s.bot:delay(5)
    s.fake:emit { count = 300, rate = 3000 }
    assert_complete(s)
  end)

  it("without a log it resumes in front of the first that waits", function()
    local s = start { queue = 'durability = "memory"' }
    local slow, hold = s.fake:guilds()[2].id, true
    answer_guild(s, slow, function()
      if hold then
        return 429, { ["Retry-After"] = "1" }
      end
    end)
    s.fake:emit { count = 400, rate = 4000 }
    s.fake:wait_emitted()
    loop.wait_for("others", function() return #s.bot:select "MESSAGE_CREATE" >= 200 end, 20000)
    kill_worker(s)
    hold = false
    assert_nothing_lost(s)
  end)
end)
