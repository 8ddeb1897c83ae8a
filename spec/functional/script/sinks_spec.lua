-- gateway.sink: a script in the place of a sink's URL, or of one that has none. Whatever it does, the bot
-- beside it does not notice, and no event of the sink is lost.

local bot_support = require "spec.support.bot"
local checker = require "spec.support.checker"
local cjson = require "cjson"
local loop = require "spec.support.loop"
local paths = require "spec.support.paths"
local process = require "spec.support.process"
local redis = require "spec.support.redis"
local scene = require "spec.support.scene"
local streams = require "spec.support.streams"

after_each(function()
  scene.stop()
  redis.teardown()
end)

-- What the scripts here take events to: a bot of the spec's own, which keeps what it gets.
local SEND = [[
local gateway = require "tidegate"
gateway.configure { %s, sinks = { ours = { %s }, %s } }
local ours = gateway.sink "ours"
local function send(events)
  for _, event in ipairs(events) do
    local response, err = gateway.http.post(%q, {
      body = event.body,
      headers = {
        ["Content-Type"] = "application/json",
        ["Idempotency-Key"] = ("%%d.%%d.%%d"):format(event.shard_id, event.epoch, event.sequence),
      },
    })
    if not response then return nil, err end
    if response.status >= 300 then return nil, { code = "no", message = "no", status = response.status } end
  end
  return true
end
]]

-- options: keys (of the sink), others (further sinks), configure (beside `sinks`), url (the sink has that of
-- s.ours; a text: with another scheme), and those of scenes.
local function start(script, options)
  options = options or {}
  local ours = bot_support.start { authorization = false }
  local url = options.url and ours.url:gsub("^http", options.url == true and "http" or options.url)
  local keys = (url and ("url = %q, "):format(url) or "") .. (options.keys or "")
  local beside, others = options.configure or 'message_updates = "all"', options.others or ""
  local head = SEND:format(beside, keys, others, ours.url)
  options.keys, options.others, options.configure, options.url = nil, nil, nil, nil
  options.script = head .. script
  options.shards = options.shards or 2
  options.fake = options.fake or { max_concurrency = options.shards }
  options.reload = options.reload or false
  local s = scene.start(options)
  s.ours, s.head = ours, head
  return s
end

local function rewrite(s, script)
  paths.write(s.gateway.script, s.head .. script)
  assert.is_true((s.gateway:reload()))
end

-- All events of the guilds, at the bot and at the sink, each once and in order.
local function assert_both(s, timeout)
  local sent = s:wait_delivered(timeout)
  s:wait_delivered(timeout, s.ours)
  checker.assert_complete(s.bot.events, { guilds = sent, contiguous = true })
  checker.assert_complete(s.ours.events, { guilds = sent, contiguous = true })
end

describe("a function of gateway.sink", function()
  it("takes the events of a sink that has no URL, in order, beside the bot", function()
    local s = start "ours.deliver = send"
    s.fake:emit { count = 60 }
    assert_both(s)
    assert.equal(0, s.gateway:count_log "go nowhere")
  end)

  it("gets what the sink's `events` names, in lists with `batch`, and bodies in the sink's format", function()
    local s = start([[
local most = 0
function ours.deliver(events)
  for _, event in ipairs(events) do assert(event.type == "MESSAGE_CREATE") end
  local body = gateway.json.decode(events[1].body)
  if #events > most then
    most = #events
    local format = body.payload and "discordeno" or "seed"
    gateway.log.info("%d at once, in %s, for %s", #events, format, tostring(ours))
  end
  gateway.sleep(20)
  return true
end
]], { keys = 'events = { "MESSAGE_CREATE" }, batch = true, format = "discordeno"' })
    s.fake:emit { count = 300, rate = 4000 }
    local sent = s:wait_delivered()
    checker.assert_complete(s.bot.events, { guilds = sent, contiguous = true })
    s.gateway:wait_for_log "[1-6]%d at once, in discordeno, for sink ours"
  end)

  it("may stand in the place of a URL, and leave the rest to the default", function()
    local s = start([[
local before = ours.deliver
local n = 0
function ours.deliver(events)
  n = n + 1
  if n % 3 == 0 then return end           -- the default does it
  if n % 3 == 1 then return before(events) end
  return send(events)
end
]], { url = true })
    s.fake:emit { count = 60 }
    assert_both(s)
  end)

  it("may stand in the place of a Redis, whose stream gets what it leaves to the default", function()
    local r = redis.start()
    local s = start([[
local stream = gateway.sink "stream"
local before, calls = stream.deliver, 0
function stream.deliver(events)
  calls = calls + 1
  if calls == 1 then gateway.log.info("%s", tostring(select(2, before(events)))) end
end
]], { others = ("stream = { url = %q }"):format(r:url()), keys = 'events = { "READY" }' })
    s.gateway:wait_for_log 'the sink "stream" is a Redis, which gets what waits in its queue alone'
    s.fake:emit { count = 60 }
    local reader = streams.reader(r)
    local sent = s:wait_delivered(20000, reader)
    checker.assert_complete(reader.events, { guilds = sent, contiguous = true })
  end)

  it("is not needed for a URL, in whatever case its scheme is written", function()
    local r = redis.start()
    local s = start("", {
      url = "HTTP", others = ("stream = { url = %q }"):format((r:url():gsub("^redis", "Redis"))),
    })
    s.fake:emit { count = 20 }
    assert_both(s)
    local reader = streams.reader(r)
    checker.assert_complete(reader.events, { guilds = s:wait_delivered(20000, reader), contiguous = true })
  end)

  it("that throws costs the bot nothing; its events wait for one that does not", function()
    local s = start([[
function ours.deliver() error "no luck" end
]], { hurry = 20, keys = 'events = { "MESSAGE_CREATE" }' })
    s.fake:emit { count = 40 }
    local sent = s:wait_delivered()
    checker.assert_complete(s.bot.events, { guilds = sent, contiguous = true })
    s.gateway:wait_for_log('gateway.sink%("ours"%).deliver %([^)]*script.lua:%d+%) failed; '
      .. "[^\n]*\n[^\n]*no luck")
    s.gateway:wait_for_log 'gateway.sink%("ours"%).deliver [^\n]* is switched off until the next reload'
    s.gateway:wait_for_log 'the sink "ours" is down'
    rewrite(s, "ours.deliver = send")
    sent = s:wait_delivered(30000, s.ours)
    checker.assert_complete(s.ours.events, { guilds = sent })
  end)

  it("that throws in the place of a URL leaves the events to that", function()
    local s = start([[
function ours.deliver(events)
  gateway.sleep(1)
  error "no luck"
end
]], { url = true })
    s.fake:emit { count = 40 }
    assert_both(s)
    s.gateway:wait_for_log "is switched off until the next reload"
  end)

  it("that loops is stopped, and delays no heartbeat", function()
    local s = start([[
local stuck = 0
local function loop() while true do end end
jit.off(loop)
function ours.deliver(events)
  stuck = stuck + 1
  if stuck <= 2 then loop() end
  return send(events)
end
]], { hurry = 20, keys = 'events = { "MESSAGE_CREATE" }' })
    s.fake:emit { count = 20 }
    local sent = s:wait_delivered()
    s:wait_delivered(30000, s.ours)
    checker.assert_complete(s.bot.events, { guilds = sent, contiguous = true })
    checker.assert_complete(s.ours.events, { guilds = sent })
    s.gateway:wait_for_log 'gateway.sink%("ours"%).deliver [^\n]*failed'
    assert.same({}, s:list "heartbeats_missed")
    assert.equal(0, s.gateway:count_log "a worker has ended")
  end)

  it("that never returns is given up after six times the sink's timeout; the bot does not wait", function()
    local s = start([[
local waited = 0
function ours.deliver(events)
  waited = waited + 1
  if waited == 1 then gateway.sleep(1e6) end
  return send(events)
end
]], { shards = 1, keys = 'timeout = 200, events = { "MESSAGE_CREATE" }', hurry = 20 })
    s.fake:emit { count = 20 }
    local sent = s:wait_delivered()
    checker.assert_complete(s.bot.events, { guilds = sent, contiguous = true })
    s.gateway:wait_for_log('gateway.sink%("ours"%).deliver has not returned for 1 s', 20000)
    s:wait_delivered(30000, s.ours)
    checker.assert_complete(s.ours.events, { guilds = sent })
  end)

  it("that leaks has its state replaced, and gets its events again", function()
    local s = start([[
local kept = {}
function ours.deliver(events)
  gateway.state.calls = (gateway.state.calls or 0) + 1
  for _ = 1, gateway.state.calls < 20 and 40 or 0 do kept[#kept + 1] = ("x"):rep(16000) .. #kept end
  return send(events)
end
]], { shards = 1, configure = "script = { memory = 4 * 2^20 }", keys = 'events = { "MESSAGE_CREATE" }' })
    s.fake:emit { count = 40 }
    local sent = s:wait_delivered()
    s:wait_delivered(60000, s.ours)
    s.gateway:wait_for_log 'a fresh state of it takes over[^\n]*gateway.sink%("ours"%).deliver'
    checker.assert_complete(s.bot.events, { guilds = sent, contiguous = true })
    checker.assert_nothing_lost(s.ours.events, { guilds = sent })
    assert.equal(0, s.gateway:count_log "a worker has ended")
  end)

  it("that fails with a status is treated as that answer; the refused are dead letters", function()
    local s = start([[
local tries = {}
function ours.deliver(events)
  local n = events[1].data.nonce:match ":(%d+)$"
  if n == "2" and not tries[n] then
    tries[n] = true
    gateway.log.info "busy"
    return nil, { status = 503, retry_after = 1000, message = "not now" }
  elseif n == "4" then
    return nil, { code = "odd", message = "the broker refuses it", status = 422 }
  elseif n == "6" and not tries[n] then
    tries[n] = true
    return false
  end
  return send(events)
end
]], { shards = 1, keys = 'events = { "MESSAGE_CREATE" }' })
    local guild = s.fake:guilds()[1].id
    s.fake:emit { count = 10, guild = guild }
    s.gateway:wait_for_log "busy"
    local busy_at = loop.now()
    s.ours:wait_for_events(2)
    assert.is_true(loop.now() - busy_at >= 900)
    s.ours:wait_for_events(9, nil, 20000)
    local report = checker.compare(s.ours.events, { guilds = s.fake:sent_guilds() })
    assert.same({ ("message %s:4"):format(guild) }, report.lost)
    assert.same({}, report.out_of_order)
    local letter = cjson.decode(paths.read(s.gateway.state_dir .. "/dead.jsonl"))
    assert.same({ guild .. ":4", 422, "ours" }, { letter.event.d.nonce, letter.status, letter.sink })
    checker.assert_complete(s.bot.events, { guilds = s:wait_delivered(), contiguous = true })
  end)

  it("that ends the worker is not shown that event again; the others come, and the bot has all", function()
    local s = start([[
local ffi = require "ffi"
ffi.cdef "void _exit(int);"
function ours.deliver(events)
  if events[1].data.nonce:find ":7$" then ffi.C._exit(3) end
  return send(events)
end
]], { shards = 1, keys = 'events = { "MESSAGE_CREATE" }', hurry = 10 })
    local guild = s.fake:guilds()[1].id
    s.fake:emit { count = 20, guild = guild }
    s.gateway:wait_for_log('inside of gateway.sink%(...%).deliver', 20000)
    local sent = s:wait_delivered(30000)
    checker.assert_nothing_lost(s.bot.events, { guilds = sent, contiguous = true })
    loop.wait_for("all but that one", function()
      local report = checker.compare(s.ours.events, { guilds = sent })
      return #report.lost == 1 and report.lost[1] == ("message %s:7"):format(guild)
    end, 30000)
    local letter = cjson.decode(paths.read(s.gateway.state_dir .. "/dead.jsonl"))
    assert.same({ guild .. ":7", "ours" }, { letter.event.d.nonce, letter.sink })
    assert.equal(1, s.gateway:count_log "when worker 0")
  end)

  it("may be reloaded in its middle: what it had is delivered again, and nothing else", function()
    local SLOW = [[
function ours.deliver(events)
  gateway.sleep(30)
  return send(events)
end
]]
    local s = start(SLOW, { keys = 'events = { "MESSAGE_CREATE" }' })
    s.fake:emit { count = 40 }
    for i = 1, 6 do
      s.ours:wait_for_events(i * 5)
      rewrite(s, SLOW .. ("-- %d\n"):format(i))
    end
    local sent = s:wait_delivered()
    s:wait_delivered(nil, s.ours)
    checker.assert_complete(s.bot.events, { guilds = sent, contiguous = true })
    checker.assert_nothing_lost(s.ours.events, { guilds = sent })
  end)

  it("may be set while the script runs; without one, the log says that events go nowhere", function()
    local s = start([[
gateway.on("TYPING_START", function() ours.deliver = send end)
]], { shards = 1, keys = 'events = { "MESSAGE_CREATE" }' })
    s.gateway:wait_for_log(
      'events for the sink "ours" go nowhere: sinks.ours has no url, and the script has no '
      .. 'gateway.sink%("ours"%).deliver')
    assert.equal(1, s.gateway:count_log "go nowhere")
    s:type()
    s.bot:wait_for_events(1, "TYPING_START")
    s.fake:emit { count = 20 }
    local sent = s:wait_delivered()
    s:wait_delivered(nil, s.ours)
    checker.assert_complete(s.ours.events, { guilds = sent })
  end)
end)

describe("its queue", function()
  it("has figures and walks of the sink alone", function()
    local s = start([[
function ours.deliver(events)
  if gateway.state.open then return send(events) end
  gateway.sleep(50)
  return nil, { code = "closed", message = "closed", status = 503, retry_after = 20 }
end
gateway.on("TYPING_START", function(event)
  local queue = ours:queue()
  if event.data.user_id == "1" then
    local shards = queue:shards()
    gateway.log.info("%d wait, %d bytes, in %d shards, of shard %d: %s", #queue, queue:bytes(), #shards,
      shards[1].shard_id, tostring(shards[1]))
    gateway.log.info("the first free one is %s", shards[1]:peek(2)[1].data.nonce)
    gateway.log.info("dropped %d", queue:drop(function(one) return one.data.nonce:find ":5$" ~= nil end))
    gateway.log.info("acked %d", queue:ack(shards[1]:peek()))
    local ok, problem = pcall(gateway.delivery.handle_queue, gateway.delivery, queue)
    gateway.log.info("%s %s", tostring(ok), problem)
  end
  gateway.state.open = event.data.user_id == "2"
end)
]], { shards = 1, keys = 'events = { "MESSAGE_CREATE" }' })
    local guild = s.fake:guilds()[1].id
    s.fake:emit { count = 10, guild = guild }
    local sent = s:wait_delivered()
    s:type "1"
    s.gateway:wait_for_log "10 wait, %d+ bytes, in 1 shards, of shard 0: queue of shard 0 of the sink ours"
    s.gateway:wait_for_log("the first free one is " .. guild .. ":2")
    s.gateway:wait_for_log "dropped 1"
    s.gateway:wait_for_log "acked 1"
    s.gateway:wait_for_log "false .*expected a queue of the bot's, got one of the sink 'ours'"
    s:type "2"
    s.ours:wait_for_events(8)
    local report = checker.compare(s.ours.events, { guilds = sent })
    assert.same({ ("message %s:2"):format(guild), ("message %s:5"):format(guild) }, report.lost)
    checker.assert_complete(s.bot.events, { guilds = sent, contiguous = true })
  end)
end)

describe("misuse", function()
  local function check(script)
    local dir = paths.tmp()
    paths.write(dir .. "/bot.lua", 'local gateway = require "tidegate"\n' .. script)
    local run = process.run({ paths.bin "tidegate", "check", "bot.lua" }, { cwd = dir })
    return run.exit_code, run.stdout .. run.stderr
  end

  local CONFIGURE = 'gateway.configure { token = "t", intents = 1, sinks = { stats = {}, feed = {} } }\n'

  for _, case in ipairs {
    { 'gateway.sink "stats"', "bot.lua:2: gateway.sink: there is no configuration yet; sinks come with" },
    { CONFIGURE .. 'gateway.sink "stast"',
      "bot.lua:3: gateway.sink: there is no sink 'stast'; did you mean 'stats'? (configured are feed" },
    { CONFIGURE .. 'gateway.sink "bot"', "bot.lua:3: gateway.sink: the bot's is gateway.delivery" },
    { CONFIGURE .. "gateway.sink(5)", "bot.lua:3: gateway.sink: expected the name of a sink, got number" },
    { 'gateway.configure { token = "t", intents = 1 }\ngateway.sink "a"', "(none are configured)" },
    { CONFIGURE .. 'gateway.sink("stats").delivr = print',
      'bot.lua:3: gateway.sink("stats").delivr cannot be assigned; deliver can; did you mean' },
    { CONFIGURE .. 'gateway.sink("stats").deliver = 5',
      'bot.lua:3: gateway.sink("stats").deliver: expected a function, or nil for the default, got' },
    { CONFIGURE .. 'print(gateway.sink("stats").queu)',
      "gateway.sink(\"stats\") has no 'queu'; did you mean 'queue'?" },
    { CONFIGURE .. "gateway.sink = print", "gateway.sink cannot be assigned" },
  } do
    it("is named: " .. case[1]:match "[^\n]*$", function()
      local code, output = check(case[1])
      assert.equal(1, code, output)
      assert.matches(case[2], output, 1, true)
    end)
  end

  it("is not what assigns a default back, or nil", function()
    local code, output = check(CONFIGURE .. [[
local stats = gateway.sink "stats"
local default = stats.deliver
stats.deliver = function() end
assert(stats.deliver ~= default)
stats.deliver = default
assert(stats.deliver == default and gateway.sink("stats").deliver == default and stats.name == "stats")
stats.deliver = print
stats.deliver = nil
assert(stats.deliver == default)
gateway.sink("feed").deliver = function() end
]])
    assert.equal(0, code, output)
    assert.matches('gateway.sink%("feed"%).deliver', output)
    assert.is_nil(output:find('gateway.sink("stats")', 1, true))
  end)
end)
