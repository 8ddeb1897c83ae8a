-- How methods are overridden: stacked, reset, by the original, and what is done about mistakes.

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

local function fails(script, ...)
  local s = start(script, { ready = false })
  assert.equal(78, (s.gateway.process:wait()))
  for _, words in ipairs { ... } do
    assert.matches(words, s.gateway.stderr, 1, true)
  end
end

-- Each beat is one more than without the override.
local TWICE = [[
local before%d = gateway.shard.heartbeat
function gateway.shard:heartbeat(interval)
  before%d(self, interval)
  return before%d(self, interval)
end
]]

-- How many beats the fake has got when the shard has beaten n times by its own count.
local function beats_of(s, n)
  s.gateway:wait_for_log("beat " .. n .. "\n")
  return s.fake:wait_for("its beats", function(state)
    return state.counters.heartbeats
  end, { only = "counters" })
end

local COUNT = [[
local count = 0
gateway.on("heartbeat", function() count = count + 1 gateway.log.info("beat %d", count) end)
]]

describe("a method", function()
  after_each(scene.stop)

  it("is overridden by assignment, and what was there can be called: twice two makes four", function()
    local s = start(COUNT .. TWICE:gsub("%%d", "1") .. TWICE:gsub("%%d", "2") .. [[
gateway.on("ready", function(shard) shard:heartbeat(1) end)
]])
    beats_of(s, 4)
    assert.equal(0, s.gateway:count_log "beat 5")
  end)

  it("is its default again when nil is assigned, or the default", function()
    for _, value in ipairs { "nil", "gateway.default.shard.heartbeat", "before1" } do
      local s = start(COUNT .. TWICE:gsub("%%d", "1") .. ([[
gateway.shard.heartbeat = %s
assert(gateway.shard.heartbeat == gateway.default.shard.heartbeat)
gateway.on("ready", function(shard)
  shard:heartbeat(1)
  gateway.sleep(30)
  gateway.log.info("%%d in all", count)
end)
]]):format(value))
      s.gateway:wait_for_log "1 in all"
      scene.stop()
    end
  end)

  it("can be assigned and reset while the gateway runs", function()
    local s = start([[
gateway.on("TYPING_START", function(event)
  if event.data.user_id == "1" then
    function gateway.delivery:handle_discord_payload(shard, message)
      if message.type ~= "MESSAGE_CREATE" then
        return gateway.default.delivery.handle_discord_payload(self, shard, message)
      end
    end
  else
    gateway.delivery.handle_discord_payload = nil
  end
  gateway.log.info("typed %s", event.data.user_id)
end)
]], { reload = false, bot = {} })
    s:type "1"
    s.gateway:wait_for_log "typed 1"
    s.fake:emit { count = 5 }
    s.fake:wait_emitted()
    s:type "2"
    s.gateway:wait_for_log "typed 2"
    s.fake:emit { count = 1 }
    local events = s.bot:wait_for_events(1, "MESSAGE_CREATE")
    assert.equal(1, #events)
    assert.matches("shard 0 #6 ", events[1].body, 1, true)
  end)

  it("has its original under gateway.default, whatever is assigned", function()
    local s = start(COUNT .. [[
function gateway.shard:heartbeat(interval) return gateway.default.shard.heartbeat(self, interval) end
local ok, err = pcall(function() gateway.default.shard.heartbeat = print end)
gateway.log.info("%s: %s", ok, err)
]], { fake = { heartbeat_interval = 200 * paths.slow } })
    s.gateway:wait_for_log "beat 3"
    s.gateway:wait_for_log "false: [^\n]*script%.lua:%d+: gateway%.default cannot be changed"
    assert.same({}, s:list "heartbeats_missed")
  end)

  it("that returns the wrong type is logged, and its default used", function()
    local s = start([[
function gateway.manager:calculate_total_shards() return "two" end
function gateway.manager:calculate_shard_id() return {} end
function gateway.shard:handle_close() return 7 end
function gateway.shard:make_presence() return function() end end
function gateway.cache:guild_create_kind() return true end
function gateway.delivery:is_delivered() return 204 end
gateway.on("TYPING_START", function() gateway.manager:leave_voice_channel("4194304") end)
]], { shards = 2, bot = {}, fake = { max_concurrency = 2 } })
    s.fake:fault { ["do"] = "close", code = 4000, shard = 0 }
    s:wait_counter("resumes_ok", 1)
    s:type()
    s.fake:wait_for("the command", function(state)
      return state.commands[1]
    end, { only = "commands" })
    for method, words in pairs {
      ["manager:calculate_total_shards"] = "returned string, expected a whole number",
      ["manager:calculate_shard_id"] = "returned table, expected a whole number",
      ["shard:handle_close"] = "returned number, expected a string",
      ["shard:make_presence"] = "returned [^\n]*expected a value that JSON can carry",
      ["cache:guild_create_kind"] = "returned boolean, expected a string",
      ["delivery:is_delivered"] = "returned number, expected true or false",
    } do
      s.gateway:wait_for_log("gateway%." .. method .. " %([^\n]*script%.lua:%d+%) failed; "
        .. "the default is used\n[^\n]*gateway%." .. method .. " " .. words)
    end
    assert.equal(2, s:counters().identifies)
  end)

  it("that is misspelt is refused, with a suggestion, when it is assigned", function()
    fails("function gateway.shard:hartbeat() end\n",
      "script.lua:2: gateway.shard has no method 'hartbeat'; did you mean 'heartbeat'?")
  end)

  it("that is misspelt is refused when it is read", function()
    fails("local old = gateway.manager.spawn_shard\n",
      "script.lua:2: gateway.manager has no method 'spawn_shard'; did you mean 'spawn_shards'?")
  end)

  it("cannot be anything but a function", function()
    fails("gateway.shard.heartbeat = true\n",
      "script.lua:2: gateway.shard:heartbeat: expected a function (or nil for the default), got boolean")
  end)

  it("of a table that is misspelt is refused", function()
    fails("function gateway.shards:heartbeat() end\n",
      "script.lua:2: gateway has no field 'shards'; did you mean 'shard'?")
  end)

  it("in a place of its own is refused", function()
    fails("function gateway.heartbeat() end\n", "script.lua:2: gateway.heartbeat cannot be assigned")
  end)

  it("is called with a colon, or says so", function()
    local s = start [[
gateway.on("ready", function(shard)
  for _, call in ipairs {
    function() gateway.manager.kill(0) end,
    function() gateway.default.shard.heartbeat(7) end,
    function() shard.heartbeat() end,
  } do
    local ok, err = pcall(call)
    gateway.log.info("%s: %s", ok, err)
  end
end)
]]
    s.gateway:wait_for_log "false: [^\n]*call it with a colon: gateway%.manager:kill"
    s.gateway:wait_for_log "false: [^\n]*gateway%.shard:heartbeat: expected a shard, got number"
    s.gateway:wait_for_log "false: [^\n]*gateway%.shard:heartbeat: expected a shard, got no value"
  end)
end)
