-- gateway.shard: connection, commands and packets, each method overridden, and what that changes on the wire.
-- (lua_shard_spec has identify, resume, presence, heartbeat and close codes.)

local loop = require "spec.support.loop"
local paths = require "spec.support.paths"
local scene = require "spec.support.scene"

local function start(script, options)
  options = options or {}
  options.script = 'local gateway = require "tidegate"\n' .. script
  if options.bot == nil then
    options.bot = false
  end
  return scene.start(options)
end

local function wait_list(s, name, n)
  return s.fake:wait_for(n .. " " .. name, function(state)
    return #state[name] >= n and state[name]
  end, { only = name })
end

-- The manager sends three voice states, once told to, and says what became of each.
local THREE_COMMANDS = [[
gateway.on("TYPING_START", function()
  for i = 1, 3 do
    local ok, err = gateway.manager:send_payload(0, { op = 4, d = {
      guild_id = "4194304", channel_id = tostring(i), self_mute = false, self_deaf = false,
    } }, { timeout = 1000 })
    gateway.log.info("command %d: %s, %s, %s", i, ok, err and err.code, err and err.message)
  end
end)
]]

describe("gateway.shard", function()
  after_each(scene.stop)

  it(":connect decides when the connection is opened", function()
    local s = start([[
local connect = gateway.shard.connect
function gateway.shard:connect()
  gateway.log.info("holding on")
  gateway.spawn(function()
    while not io.open "go" do gateway.sleep(10) end
    connect(self)
  end)
end
]], { ready = false })
    s.gateway:wait_for_log "holding on"
    assert.equal(0, s:counters().upgrades)
    paths.write(s.gateway.dir .. "/go", "")
    s.gateway:wait_ready(1)
  end)

  it(":connect that fails is done by C", function()
    local s = start "function gateway.shard:connect() error 'no way' end\n"
    assert.equal(1, s:counters().identifies)
    assert.matches("no way\n%s+stack traceback:", s.gateway.stderr)
  end)

  it(":close decides how a connection ends", function()
    local s = start [[
local close = gateway.shard.close
function gateway.shard:close(code, reason)
  gateway.log.info("closing with %d, %q", code, reason)
  return close(self, 4900, "back in a moment")
end
]]
    s.fake:fault { ["do"] = "reconnect" }
    s:wait_counter("resumes_ok", 1)
    local end_of = s:list("closes")[1]
    assert.same({ "client", 4900, "back in a moment" }, { end_of.by, end_of.code, end_of.reason })
    s.gateway:wait_for_log 'closing with 4000, ""'
  end)

  for what, body in pairs { fails = "error 'stuck'", ["does nothing"] = "" } do
    it(":close that " .. what .. " does not keep the shard", function()
      local s = start("function gateway.shard:close() " .. body .. " end\n", { hurry = 10 })
      s.fake:fault { ["do"] = "reconnect" }
      s:wait_counter("resumes_ok", 1)
      assert.equal(1, s:counters().identifies)
    end)
  end

  it(":shutdown decides how a session ends", function()
    local s = start [[
function gateway.shard:shutdown()
  gateway.log.info("shard %d says good-bye", self.id)
  return self:close(1001, "good-bye")
end
]]
    s.gateway:stop "SIGINT"
    local end_of = s:list("closes")[1]
    assert.same({ "client", 1001, "good-bye" }, { end_of.by, end_of.code, end_of.reason })
    assert.matches("shard 0 says good-bye", s.gateway.stderr, 1, true)
  end)

  it(":send decides on each command: what it becomes, whether and when it is sent", function()
    local s = start([[
local send = gateway.shard.send
function gateway.shard:send(payload, options)
  assert(options.timeout > 0 and options.timeout <= 1000 and options.priority == "normal")
  local channel = payload.d.channel_id
  if channel == "1" then return nil, { code = "muted", message = "not channel 1" } end
  if channel == "2" then return false end
  payload.d.self_mute = true
  return send(self, payload, options)
end
]] .. THREE_COMMANDS)
    s:type()
    s.gateway:wait_for_log "command 1: nil, muted, not channel 1"
    s.gateway:wait_for_log "command 2: nil, refused, the script's gateway%.shard:send did not send op 4"
    s.gateway:wait_for_log "command 3: true"
    local commands = wait_list(s, "commands", 1)
    assert.equal(1, #commands)
    assert.same({ "3", true }, { commands[1].d.channel_id, commands[1].d.self_mute })
  end)

  it(":send may put a command off", function()
    local s = start([[
local send = gateway.shard.send
function gateway.shard:send(payload, options)
  gateway.after(50, function() send(self, payload, options) end)
  return true
end
]] .. THREE_COMMANDS)
    s:type()
    s.gateway:wait_for_log "command 3: true"
    assert.equal(3, #wait_list(s, "commands", 3))
  end)

  it(":send that fails or has no opinion leaves it to C", function()
    local s = start([[
function gateway.shard:send(payload)
  if payload.d.channel_id == "2" then error "lost the letter" end
end
]] .. THREE_COMMANDS)
    s:type()
    s.gateway:wait_for_log "command 3: true"
    assert.equal(3, #wait_list(s, "commands", 3))
    assert.matches("lost the letter\n%s+stack traceback:", s.gateway.stderr)
  end)

  it(":send answers for the command, also when it cannot be sent", function()
    local s = start([[
local send = gateway.shard.send
function gateway.shard:send(payload, options)
  local ids = {}
  for i = 1, 500 do ids[i] = tostring(4194304 * i) end
  local ok, err = send(self, { op = 31, d = { guild_ids = ids } }, options)
  gateway.log.info("in the worker: %s", err.code)
  return ok, err
end
]] .. THREE_COMMANDS)
    s:type()
    s.gateway:wait_for_log "command 3: nil, too_large"
    s.gateway:wait_for_log "in the worker: too_large"
    assert.same({}, s:list "commands")
  end)

  it(":is_open holds commands back", function()
    local s = start([[
local is_open = gateway.shard.is_open
function gateway.shard:is_open()
  return is_open(self) and io.open "go" ~= nil
end
]] .. THREE_COMMANDS)
    s:type()
    s.gateway:wait_for_log "command 1: nil, timeout, [^\n]* gateway%.shard:is_open held it back"
    assert.same({}, s:list "commands")
    paths.write(s.gateway.dir .. "/go", "")
    s.gateway:wait_for_log "command 3: true"
    wait_list(s, "commands", 1)
  end)

  it(":is_open cannot send before READY", function()
    local s = start("function gateway.shard:is_open() return true end\n" .. [[
gateway.on("hello", function(shard)
  assert(shard:send { op = 31, d = { guild_ids = { "1" } } })
end)
]])
    assert.equal(1, #wait_list(s, "commands", 1))
    assert.same({}, s:list "violations")
  end)

  it(":calculate_safe_requests decides how many commands a minute leave, from each HELLO on", function()
    local s = start([[
local calculate = gateway.shard.calculate_safe_requests
function gateway.shard:calculate_safe_requests()
  gateway.log.info("usually %d", calculate(self))
  return 2
end
]] .. THREE_COMMANDS)
    s.gateway:wait_for_log "usually 115" -- 120 less two beats, twice, and one
    assert.equal(1, s.gateway:count_log "usually")
    s:type()
    s.gateway:wait_for_log "command 2: true"
    s.gateway:wait_for_log "command 3: nil, timeout, [^\n]* send budget %(2 a minute%) is used up"
    assert.equal(2, #s:list "commands")
    s.fake:fault { ["do"] = "close", code = 4000 }
    s:wait_counter("resumes_ok", 1)
    assert.equal(2, s.gateway:count_log "usually")
  end)

  for what, value in pairs { ["too much"] = 500, ["a fraction"] = 1.5, ["a word"] = '"all"' } do
    it(":calculate_safe_requests that says " .. what .. " is not heeded", function()
      local s = start("function gateway.shard:calculate_safe_requests() return " .. value .. " end\n"
        .. THREE_COMMANDS)
      s:type()
      s.gateway:wait_for_log "command 3: true"
      s.gateway:wait_for_log "gateway.shard:calculate_safe_requests[^\n]*\n?[^\n]*returned"
    end)
  end

  it(":start_heartbeating decides how often the heart beats", function()
    local s = start([[
local start = gateway.shard.start_heartbeating
function gateway.shard:start_heartbeating(interval)
  gateway.log.info("asked for %d ms", interval)
  return start(self, interval / 100)
end
]], { fake = { heartbeat_interval = 30000 } })
    s.gateway:wait_for_log "asked for 30000 ms"
    s:wait_counter("heartbeats", 5)
  end)

  it(":start_heartbeating that fails is done by C", function()
    local s = start("function gateway.shard:start_heartbeating() error 'no start' end\n", {
      fake = { heartbeat_interval = 200 * paths.slow },
    })
    s:wait_counter("heartbeats", 3)
  end)

  it(":stop_heartbeating is called when a connection ends, and may keep a heart going", function()
    local s = start([[
local stop = gateway.shard.stop_heartbeating
function gateway.shard:stop_heartbeating()
  gateway.log.info("to be stopped while %s", self.state)
  if self.state ~= "Connected" then return stop(self) end
end
gateway.on("ready", function(shard) shard:stop_heartbeating() end)
]], { fake = { heartbeat_interval = 200 * paths.slow } })
    s.gateway:wait_for_log "to be stopped while Connected"
    s:wait_counter("heartbeats", 4)
    s.fake:fault { ["do"] = "reconnect" }
    s:wait_counter("resumes_ok", 1)
    s.gateway:wait_for_log "to be stopped while Disconnected"
    assert.same({}, s:list "heartbeats_missed")
  end)

  it(":stop_heartbeating by default stops the heart, and Discord notices", function()
    local s = start([[
gateway.on("ready", function(shard) assert(shard:stop_heartbeating()) end)
]], { ready = false, fake = { heartbeat_interval = 300 * paths.slow } })
    wait_list(s, "heartbeats_missed", 1)
  end)

  it(":decompress_packet decides what a packet says", function()
    local s = start([[
local decompress = gateway.shard.decompress_packet
local seen = 0
function gateway.shard:decompress_packet(bytes)
  local text = decompress(self, bytes)
  seen = seen + 1
  if seen == 1 then
    gateway.log.info("%d bytes become %s", #bytes, text)
  end
  return (text:gsub('"tts":false', '"tts":"rewritten"'))
end
]], { bot = {} })
    s.gateway:wait_for_log '%d+ bytes become {[^\n]*"heartbeat_interval"'
    s.fake:emit { count = 10, size = 3000 }
    for _, event in ipairs(s.bot:wait_for_events(10, "MESSAGE_CREATE")) do
      assert.matches('"tts":"rewritten"', event.body, 1, true)
    end
  end)

  it(":decompress_packet that fails is done by C, and its stream stays in step", function()
    local s = start([[
local decompress = gateway.shard.decompress_packet
local seen = 0
function gateway.shard:decompress_packet(bytes)
  seen = seen + 1
  if seen % 2 == 0 then error "out of step" end
  if seen % 3 == 0 then return 7 end
  return decompress(self, bytes)
end
]], { bot = {} })
    s.fake:emit { count = 100 }
    s:wait_delivered()
    assert.equal(1, s:counters().identifies)
    assert.equal(0, s:counters().resumes)
  end)

  it(":handle_packet sees each message and decides what becomes of it", function()
    local s = start([[
local handle = gateway.shard.handle_packet
function gateway.shard:handle_packet(packet)
  local t = gateway.json.decode(packet)
  gateway.log.info("op %d %s", t.op, t.t)
  if t.op == 7 then return end -- nobody tells us to go
  if t.t == "TYPING_START" then
    t.d.user_id = "2"
    return handle(self, t) -- a table will do, too
  end
  return handle(self, packet)
end
]], { bot = {}, fake = { heartbeat_interval = 300 * paths.slow } })
    s.gateway:wait_for_log "op 10"
    s.gateway:wait_for_log "op 0 READY"
    s.gateway:wait_for_log "op 11"
    s.fake:fault { ["do"] = "reconnect" }
    s.gateway:wait_for_log "op 7"
    s:type()
    local event = s.bot:wait_for_events(1, "TYPING_START")[1]
    assert.matches('"user_id":"2"', event.body, 1, true)
    assert.equal(0, s:counters().resumes)
  end)

  it(":handle_packet that fails is done by C", function()
    local s = start("function gateway.shard:handle_packet() error 'no hands' end\n",
      { reload = false, bot = {} })
    s.fake:emit { count = 5 }
    s:wait_delivered()
    loop.wait_for("the override to be switched off", function()
      return s.gateway.stderr:find("handle_packet[^\n]* is switched off until the next reload")
    end)
  end)
end)
