-- gateway.delivery:deliver and handle_queue in Lua: what a script decides is done, in order, and whatever
-- goes wrong in it loses nothing.

local bot_support = require "spec.support.bot"
local checker = require "spec.support.checker"
local cjson = require "cjson"
local loop = require "spec.support.loop"
local paths = require "spec.support.paths"
local scene = require "spec.support.scene"
local uv = require "luv"

local function start(script, options)
  options = options or {}
  options.script = 'local gateway = require "tidegate"\n' .. script
  local s = scene.start(options)
  return s
end

local function pile_up(s, what)
  s.bot:down()
  s.fake:emit(what)
  return s.fake:wait_emitted(30000)
end

-- A reload cuts off what the script is doing: that comes again.
local RELOADS = os.getenv "TG_SPEC_RELOAD" == "1"

local function check(s, sent)
  local assert_all = RELOADS and checker.assert_nothing_lost or checker.assert_complete
  assert_all(s.bot.events, { guilds = sent, contiguous = true })
end

describe("deliver", function()
  after_each(scene.stop)

  it("may take the events elsewhere, in order; the event handler gets none", function()
    local elsewhere = bot_support.start { authorization = false }
    local s = start(([[
function gateway.delivery:deliver(events)
  for _, event in ipairs(events) do
    local response, err = gateway.http.post(%q, {
      body = event.body,
      headers = {
        ["Content-Type"] = "application/json",
        ["Idempotency-Key"] = ("%%d.%%d.%%d"):format(event.shard_id, event.epoch, event.sequence),
      },
    })
    if not response then
      return nil, err
    end
  end
  return true
end
]]):format(elsewhere.url), { shards = 2, fake = { max_concurrency = 2 } })
    s.fake:emit { count = 30 }
    local sent = s.fake:wait_emitted()
    local handler = s.bot
    s.bot = elsewhere
    assert.same(sent, s:wait_delivered())
    check(s, sent)
    assert.equal(0, handler.requests)
  end)

  it("is enough: no event_handler.urls are needed", function()
    local elsewhere = bot_support.start { authorization = false }
    local s = start(([[
function gateway.delivery:deliver(events)
  local event = events[1]
  local key = ("%%d.%%d.%%d"):format(event.shard_id, event.epoch, event.sequence)
  local response, err = gateway.http.post(%q, { body = event.body, headers = { ["Idempotency-Key"] = key } })
  return response and true, err
end
]]):format(elsewhere.url), { bot = false })
    s.fake:emit { count = 20 }
    s.bot = elsewhere
    local sent = s:wait_delivered()
    check(s, sent)
  end)

  it("may look at the events and leave the rest to the default; with batch it gets lists", function()
    local s = start([[
gateway.configure { event_handler = { batch = true } }
local deliver = gateway.delivery.deliver
local largest = 0
function gateway.delivery:deliver(events)
  if #events > largest then
    largest = #events
    local last = events[#events]
    gateway.log.info("as many as %d, the last is %s %d", #events, last.type, last.sequence)
  end
  return deliver(self, events)
end
]], { shards = 2, fake = { max_concurrency = 2 }, reload = false })
    s.bot:wait_for_events(2, "READY")
    pile_up(s, { count = 200, rate = 4000 })
    s.bot:up()
    local sent = s:wait_delivered(30000)
    checker.assert_nothing_lost(s.bot.events, { guilds = sent, contiguous = true })
    s.gateway:wait_for_log "as many as 64, the last is MESSAGE_CREATE %d+"
    assert.is_true(math.max(unpack(s.bot.batches)) == 64)
  end)

  it("that fails with a status is treated as that answer", function()
    local s = start [[
local tries = {}
local deliver = gateway.delivery.deliver
function gateway.delivery:deliver(events)
  local event = events[1]
  local n = event.type == "MESSAGE_CREATE" and event.data.nonce:match ":(%d+)$"
  if n == "2" and not tries[n] then
    tries[n] = true
    gateway.log.info("busy")
    return nil, { status = 503, retry_after = 1000, message = "not now" }
  elseif n == "4" then
    return nil, { code = "odd", message = "the broker refuses it", status = 422 }
  elseif n == "6" and not tries[n] then
    tries[n] = true
    return nil, "no such luck"
  elseif n == "8" and not tries[n] then
    tries[n] = true
    return false
  end
  return deliver(self, events)
end
]]
    local guild = s.fake:guilds()[1].id
    s.fake:emit { count = 10, guild = guild }
    s.gateway:wait_for_log "busy"
    local busy_at = loop.now()
    s.bot:wait_for_events(2, "MESSAGE_CREATE")
    assert.is_true(loop.now() - busy_at >= 900)
    s.bot:wait_for_events(9, "MESSAGE_CREATE", 20000)
    local report = checker.compare(s.bot.events, { guilds = s.fake:sent_guilds() })
    assert.same({ ("message %s:4"):format(guild) }, report.lost)
    assert.same({}, report.out_of_order)
    local letter = cjson.decode(paths.read(s.gateway.state_dir .. "/dead.jsonl"))
    assert.equal(guild .. ":4", letter.event.d.nonce)
    assert.equal(422, letter.status)
    assert.equal(1, s.gateway:count_log "refuses this event.* event=MESSAGE_CREATE .*the broker refuses it")
  end)

  it("that raises an error leaves the events to the default", function()
    local s = start [[
function gateway.delivery:deliver(events)
  if events[1].type == "MESSAGE_CREATE" then
    gateway.sleep(1)
    error "no luck"
  end
end
]]
    s.fake:emit { count = 20 }
    local sent = s:wait_delivered()
    check(s, sent)
    assert.is_true(s.gateway:count_log "gateway.delivery:deliver .*failed" >= 1)
    s.gateway:wait_for_log "is switched off until the next reload"
  end)

  it("that never returns leaves the events to the default in the end", function()
    local s = start [[
gateway.configure { event_handler = { timeout = 200 } }
local waited
local deliver = gateway.delivery.deliver
function gateway.delivery:deliver(events)
  if events[1].type == "MESSAGE_CREATE" and not waited then
    waited = true
    gateway.sleep(1e6)
  end
  return deliver(self, events)
end
]]
    s.fake:emit { count = 10 }
    s.gateway:wait_for_log("gateway.delivery:deliver has not returned for 1 s", 20000)
    local sent = s:wait_delivered()
    check(s, sent)
  end)

  it("may be reloaded in its middle", function()
    local s = start([[
local deliver = gateway.delivery.deliver
function gateway.delivery:deliver(events)
  gateway.sleep(30)
  return deliver(self, events) or true -- whatever comes of it
end
]], { shards = 2, fake = { max_concurrency = 2 } })
    s.fake:emit { count = 40 }
    for i = 1, 6 do
      s.bot:wait_for_events(i * 10, "MESSAGE_CREATE")
      assert.is_true((s.gateway:reload()))
    end
    local sent = s:wait_delivered()
    checker.assert_nothing_lost(s.bot.events, { guilds = sent, contiguous = true })
  end)
end)

describe("handle_queue", function()
  after_each(scene.stop)

  local OWN_DRAIN = [[
function gateway.delivery:handle_queue(queue)
  while #queue > 0 do
    local events = queue:peek(10)
    local ok, err = gateway.delivery:deliver(events)
    if ok then
      queue:ack(events)
    else
      local age = queue:age()
      gateway.log.info("shard %d: %d wait, the oldest for %d ms: %s", queue.shard_id, #queue, age, err)
      gateway.sleep(50)
    end
  end
end
]]

  it("may drain by itself", function()
    local s = start(OWN_DRAIN, { shards = 2, fake = { max_concurrency = 2 } })
    s.fake:emit { count = 100 }
    local sent = s:wait_delivered()
    check(s, sent)
  end)

  it("learns of a bot that is down, and goes on when it is back", function()
    local s = start(OWN_DRAIN, { shards = 2, fake = { max_concurrency = 2 } })
    s.bot:wait_for_events(2, "READY")
    pile_up(s, { count = 300, rate = 3000 })
    s.gateway:wait_for_log "shard %d: %d+ wait, the oldest for %d+ ms: [^\n]*127%.0%.0%.1"
    s.gateway:wait_for_log "the event handler is down"
    s.bot:up()
    local sent = s:wait_delivered(30000)
    checker.assert_nothing_lost(s.bot.events, { guilds = sent, contiguous = true })
    s.gateway:wait_for_log "the event handler is up again"
  end)

  it("reads back what is in the log alone", function()
    local s = start('gateway.configure { queue = { memory_bytes = 16384 } }\n' .. OWN_DRAIN)
    s.bot:wait_for_events(1, "READY")
    pile_up(s, { count = 500, rate = 4000 })
    s.bot:up()
    local sent = s:wait_delivered(30000)
    checker.assert_nothing_lost(s.bot.events, { guilds = sent, contiguous = true })
  end)

  it("may leave it to the default when it likes", function()
    local s = start([[
local handle_queue = gateway.delivery.handle_queue
local open = false
gateway.on("TYPING_START", function() open = true end)
function gateway.delivery:handle_queue(queue)
  while not open and #queue > 0 do
    gateway.sleep(20)
  end
  gateway.log.info("the default has drained: %s", handle_queue(self, queue))
end
]], { reload = false })
    s.fake:emit { count = 20 }
    s.fake:wait_emitted()
    assert.equal(0, #s.bot.events)
    s:type()
    local sent = s:wait_delivered()
    check(s, sent)
    s.gateway:wait_for_log "the default has drained: true"
  end)

  it("that does nothing is asked again, and less and less often", function()
    local s = start([[
local calls = 0
function gateway.delivery:handle_queue(queue)
  calls = calls + 1
  if calls == 4 then
    gateway.log.info("asked four times")
    return gateway.default.delivery:handle_queue(queue)
  end
end
]], { reload = false })
    s.fake:emit { count = 20 }
    s.gateway:wait_for_log "asked four times"
    local sent = s:wait_delivered()
    check(s, sent)
  end)

  it("that raises an error leaves its queue to the default", function()
    local s = start [[
function gateway.delivery:handle_queue(queue)
  gateway.sleep(1)
  error "no luck"
end
]]
    s.fake:emit { count = 50 }
    local sent = s:wait_delivered()
    check(s, sent)
    assert.is_true(s.gateway:count_log "gateway.delivery:handle_queue .*failed" >= 1)
  end)

  it("that never looks at its queue loses it to the default", function()
    local s = start [[
gateway.configure { event_handler = { timeout = 200 } }
function gateway.delivery:handle_queue(queue)
  gateway.sleep(1e6)
end
]]
    s.fake:emit { count = 20 }
    s.gateway:wait_for_log("gateway.delivery:handle_queue has not looked at its queue for 1 s", 20000)
    local sent = s:wait_delivered(20000)
    check(s, sent)
  end)

  it("may be reloaded in its middle", function()
    local s = start(OWN_DRAIN, { shards = 2, fake = { max_concurrency = 2 } })
    s.bot:delay(5)
    s.fake:emit { count = 100, rate = 500 }
    for i = 1, 6 do
      s.bot:wait_for_events(i * 20, "MESSAGE_CREATE")
      assert.is_true((s.gateway:reload()))
    end
    local sent = s:wait_delivered(20000)
    checker.assert_nothing_lost(s.bot.events, { guilds = sent, contiguous = true })
  end)

  it("loses nothing when its worker is killed", function()
    local s = start(OWN_DRAIN, { shards = 2, fake = { max_concurrency = 2 } })
    s.bot:wait_for_events(2, "READY")
    s.bot:delay(5)
    s.fake:emit { count = 150, rate = 500 }
    for i = 1, 3 do
      s.bot:wait_for_events(i * 40, "MESSAGE_CREATE")
      uv.kill(s.gateway:worker_pids()[1], "sigkill")
      s:wait_counter("resumes_ok", 2 * i, 20000)
    end
    local sent = s:wait_delivered(30000)
    checker.assert_nothing_lost(s.bot.events, { guilds = sent })
  end)

  it("may drop what it likes, with a marker for each hole", function()
    local s = start [[
gateway.configure { event_handler = { markers = true } }
local drain = gateway.delivery.handle_queue
function gateway.delivery:handle_queue(queue)
  local typing = queue:drop "TYPING_START"
  while typing == 0 do
    gateway.sleep(5)
    typing = queue:drop { "TYPING_START", "PRESENCE_UPDATE" }
  end
  local odd = queue:drop(function(event)
    return event.type == "MESSAGE_CREATE" and tonumber(event.data.nonce:match "%d+$") % 2 == 1
  end)
  local last = queue:peek(1000) -- behind them all is the marker for TYPING_START
  gateway.log.info("dropped %d and %d, and of the last: %d", typing, odd, queue:drop(last[#last - 1]))
  return drain(self, queue)
end
]]
    local guild = s.fake:guilds()[1].id
    s.fake:emit { count = 10, guild = guild }
    s.fake:wait_emitted()
    s:type()
    s.gateway:wait_for_log "dropped 1 and 5, and of the last: 1"
    local function told()
      local count = 0
      for _, event in ipairs(s.bot.events) do
        count = count + (event.gap and event.gap.count or 0)
      end
      return count
    end
    loop.wait_for("the markers", function() return told() == 7 end)
    assert.equal(4, #s.bot:select "MESSAGE_CREATE")
    local next_s = 1
    for _, event in ipairs(s.bot.events) do
      assert.equal(next_s, event.gap and event.gap.from or event.s)
      next_s = (event.gap and event.gap.to or event.s) + 1
    end
  end)
end)
