-- gateway.delivery, gateway.filter and gateway.on: what scripts do to events, and what their mistakes do not.

local checker = require "spec.support.checker"
local loop = require "spec.support.loop"
local paths = require "spec.support.paths"
local scene = require "spec.support.scene"

local function start(script, options)
  options = options or {}
  options.script = 'local gateway = require "tidegate"\n' .. script
  return scene.start(options)
end

local function numbers(s)
  local list = {}
  for i, event in ipairs(s.bot:select "MESSAGE_CREATE") do
    list[i] = tonumber(event.body:match '"nonce":"%d+:(%d+)"')
  end
  return list
end

-- Emits n messages of one guild and a mark behind them, and waits for the mark.
local function emit(s, n)
  local guild = s.fake:guilds()[1].id
  s.fake:emit { count = n, guild = guild }
  s.fake:wait_emitted()
  s.fake:emit { event = "MARK", d = { n = n }, shard = 0 }
  s.bot:wait_for_events(1, "MARK")
  return guild
end

describe("gateway.delivery:handle_discord_payload", function()
  after_each(scene.stop)

  it("decides what goes to the bot", function()
    local s = start [[
local handle = gateway.delivery.handle_discord_payload
function gateway.delivery:handle_discord_payload(shard, event)
  assert(shard.id == event.shard_id)
  if event.type == "MESSAGE_CREATE" and event.sequence % 2 == 0 then return end
  return handle(self, shard, event)
end
]]
    emit(s, 20)
    local list = numbers(s)
    assert.equal(10, #list)
    for _, event in ipairs(s.bot:select "MESSAGE_CREATE") do
      assert.equal(1, event.s % 2)
    end
    -- What was kept back counts as received: it does not come again.
    s.gateway:stop()
    s:again()
    local resume = s:list("resumes")[1]
    assert.equal(resume.current, resume.seq)
  end)

  it("that fails is done by C: the event reaches the bot", function()
    local s = start [[
function gateway.delivery:handle_discord_payload(shard, event)
  if event.type == "MESSAGE_CREATE" then error "not my day" end
  return gateway.default.delivery.handle_discord_payload(self, shard, event)
end
]]
    emit(s, 30)
    assert.equal(30, #numbers(s))
    assert.matches("not my day\n  stack traceback:", s.gateway.stderr, 1, true)
    -- Ten errors a minute, and it is switched off.
    s.gateway:wait_for_log "handle_discord_payload[^\n]*switched off"
    assert.is_true(s.gateway:count_log "not my day" <= 10) -- the same again and again is said once
  end)
end)

describe("gateway.filter", function()
  after_each(scene.stop)

  it("false drops events by name, in C", function()
    local s = start [[
gateway.filter({ "MESSAGE_CREATE", "GUILD_CREATE" }, false)
gateway.on("MESSAGE_CREATE", function() gateway.log.error("must not run") end)
]]
    emit(s, 10)
    assert.equal(0, #s.bot:select "MESSAGE_CREATE")
    assert.equal(0, #s.bot:select "GUILD_CREATE")
    assert.equal(0, s.gateway:count_log "must not run")
  end)

  it("with a function drops, lets pass and replaces", function()
    local s = start [[
gateway.filter("MESSAGE_CREATE", function(event)
  local n = tonumber(event.data.nonce:match ":(%d+)$")
  if n % 4 == 1 then
    return false
  elseif n % 4 == 2 then
    return { nonce = event.data.nonce, content = "a table", list = gateway.json.encode { 1, 2 } }
  elseif n % 4 == 3 then
    return '{ "nonce": "' .. event.data.nonce .. '",  "content":"a string" }'
  end
end)
gateway.filter("MESSAGE_CREATE", function(event) -- asked next, and sees what the first has made
  if event.data.content == "a string" and event.data.nonce:find ":7$" then return false end
end)
gateway.on("MESSAGE_CREATE", function(event)
  gateway.log.info("handler of %s", event.data.nonce)
end)
]]
    local guild = emit(s, 8)
    assert.same({ 2, 3, 4, 6, 8 }, (function()
      local list = {}
      for i, event in ipairs(s.bot:select "MESSAGE_CREATE") do
        list[i] = tonumber(event:data().nonce:match ":(%d+)$")
      end
      return list
    end)())
    local events = s.bot:select "MESSAGE_CREATE"
    assert.same({ nonce = guild .. ":2", content = "a table", list = "[1,2]" }, events[1]:data())
    -- The string as it is, in the message as Discord has it.
    assert.equal(('{"shardId":0,"totalShards":1,"epoch":%d,"message":{"t":"MESSAGE_CREATE","s":%d,"op":0,'
      .. '"d":{ "nonce": "%s:3",  "content":"a string" }}}'):format(events[2].epoch, events[2].s, guild),
      events[2].body)
    assert.equal("string", type(events[3]:data().content))
    s.gateway:wait_for_log("handler of " .. guild .. ":8")
    assert.equal(5, s.gateway:count_log "handler of")
  end)

  it("that fails lets the event pass, and shows file, line and traceback", function()
    local s = start [[
gateway.filter("MESSAGE_CREATE", function(event)
  return event.data.member.nickname.length > 3
end)
]]
    emit(s, 3)
    assert.same({ 1, 2, 3 }, numbers(s))
    assert.matches("script%.lua:3: [^\n]*\n  stack traceback:", s.gateway.stderr)
  end)

  it("that never returns is interrupted, and the event passes", function()
    local s = start [[
gateway.filter("MESSAGE_CREATE", function(event)
  local n = 0
  while true do n = n + #tostring(n) end
end)
]]
    emit(s, 2)
    assert.same({ 1, 2 }, numbers(s))
    assert.is_true(s.gateway:count_log "filter of MESSAGE_CREATE" > 0)
    assert.equal(1, s:counters().identifies)
  end)
end)

describe("gateway.on", function()
  after_each(scene.stop)

  it("runs handlers of a dispatch in the order of arrival, waits without holding anything up", function()
    local s = start [[
gateway.on("MESSAGE_CREATE", function(event, shard)
  local nonce = event.data.nonce
  gateway.log.info("begins %s in shard %d", nonce, shard.id)
  gateway.sleep(200)
  gateway.log.info("ends %s, %s", nonce, event.data.nonce)
end)
]]
    local guild = emit(s, 5)
    local began = loop.now()
    assert.same({ 1, 2, 3, 4, 5 }, numbers(s))
    s.gateway:wait_for_log(("ends %s:5, %s:5"):format(guild, guild))
    assert.is_true(loop.now() - began < 1000 or os.getenv "TG_SPEC_SLOW" ~= nil)
    local order = {}
    for n in s.gateway.stderr:gmatch("begins %d+:(%d) in shard 0") do
      order[#order + 1] = tonumber(n)
    end
    assert.same({ 1, 2, 3, 4, 5 }, order)
  end)

  it("tells the life of a shard by names in lower case", function()
    local s = start([[
for _, name in ipairs { "connecting", "connected", "hello", "identifying", "ready", "guilds_loaded",
    "heartbeat", "heartbeat_ack", "disconnected", "resuming", "resumed", "requested_reconnect",
    "invalid_session" } do
  gateway.on(name, function(shard, details)
    gateway.log.info("life: %s of shard %d %s", name, shard.id, details and details.code or "")
  end)
end
gateway.on("load", function() gateway.log.info("life: load in %s", gateway.role) end)
gateway.on("unload", function() gateway.log.info("life: unload in %s", gateway.role) end)
]], { reload = false, fake = { heartbeat_interval = 400 * paths.slow }, hurry = 20 })
    s.gateway:wait_for_log "life: heartbeat of shard 0"
    s.gateway:wait_for_log "life: heartbeat_ack of shard 0"
    s.fake:fault { ["do"] = "close", code = 4000 }
    s.gateway:wait_for_log "life: resumed of shard 0"
    s.fake:fault { ["do"] = "reconnect" }
    s.gateway:wait_for_log "life: requested_reconnect of shard 0"
    s:wait_counter("resumes_ok", 2)
    s.fake:fault { ["do"] = "invalid_session", resumable = false }
    s.gateway:wait_for_log "life: invalid_session of shard 0"
    s.gateway:stop()

    local names = {}
    for name in s.gateway.stderr:gmatch "worker 0[^\n]*: life: (%S+)" do
      if not name:find "heartbeat" then
        names[#names + 1] = name
      end
    end
    local text = table.concat(names, " ")
    assert.matches("^load connecting connected hello identifying ready guilds_loaded disconnected "
      .. "connecting connected hello resuming resumed requested_reconnect disconnected connecting ", text)
    assert.matches("unload$", text)
    assert.matches("life: disconnected of shard 0 4000", s.gateway.stderr, 1, true)
    assert.matches("manager[^\n]*life: load in manager", s.gateway.stderr)
    assert.matches("manager[^\n]*life: unload in manager", s.gateway.stderr)
  end)

  it("gives handlers an event whose fields are there when they are touched", function()
    local s = start [[
gateway.on("MESSAGE_CREATE", function(event)
  assert(event.raw:find('"op":0', 1, true) and #event.raw == event.size)
  assert(event.data.guild_id == event.guild_id and event.data == event.data)
  gateway.log.info("fields: %s %d %d %s %s %s", event.type, event.shard_id, event.sequence, event.id,
    event.guild_id, tostring(event.guild_create))
  local ok, problem = pcall(function() return event.gild_id end)
  gateway.log.info("misspelt: %s", problem)
end)
gateway.on("GUILD_CREATE", function(event)
  gateway.log.info("guild: %s %s", event.guild_create, event.guild_id)
end)
]]
    local guild = emit(s, 1)
    local event = s.bot:select("MESSAGE_CREATE")[1]
    local type_, shard, sequence, id, guild_id, kind =
      s.gateway:wait_for_log "fields: (%S+) (%d+) (%d+) (%S+) (%S+) (%S+)"
    assert.same({ "MESSAGE_CREATE", "0", tostring(event.s), event:data().id, guild, "nil" },
      { type_, shard, sequence, id, guild_id, kind })
    assert.matches("guild_id", s.gateway:wait_for_log "misspelt: ([^\n]*)", 1, true)
    s.gateway:wait_for_log("guild: loading " .. guild)
  end)

  it("handlers that fail are logged with a traceback and disturb nobody", function()
    local s = start [[
gateway.on("MESSAGE_CREATE", function(event)
  local function deep() error "in the deep" end
  deep()
end)
gateway.on("MESSAGE_CREATE", function(event)
  gateway.sleep(1)
  local nothing
  return nothing.field
end)
gateway.on("ready", function() error "even here" end)
]]
    local guild = emit(s, 200)
    checker.assert_complete(s.bot.events, { guilds = { [guild] = 200 }, contiguous = true })
    assert.matches("in the deep\n  stack traceback:[^!]-in function 'deep'", s.gateway.stderr)
    s.gateway:wait_for_log "attempt to index local 'nothing'"
    assert.matches("even here\n  stack traceback:", s.gateway.stderr, 1, true)
    assert.equal(1, s:counters().identifies)
    -- Mistakes do not fill the disk.
    assert.is_true(s.gateway:count_log "in the deep" < 50, tostring(s.gateway:count_log "in the deep"))
  end)
end)
