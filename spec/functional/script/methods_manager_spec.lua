-- gateway.manager: the methods that order, show and end shards, and the commands, each overridden, and what
-- that changes on the wire. (lua_manager_spec has those of the start.)

local http = require "spec.support.http"
local process = require "spec.support.process"
local scene = require "spec.support.scene"

local function start(script, options)
  options = options or {}
  options.script = 'local gateway = require "tidegate"\n' .. script
  if options.bot == nil then
    options.bot = false
  end
  if script:find('gateway.on("ready"', 1, true) then
    options.reload = false -- it would end the handler, which waits
  end
  return scene.start(options)
end

-- The commands that the fake has got, once there are n of them.
local function commands(s, n)
  return s.fake:wait_for(n .. " commands", function(state)
    return #state.commands >= n and state.commands
  end, { only = "commands" })
end

local function identified(s)
  local order = {}
  for i, identify in ipairs(s:list "identifies") do
    order[i] = identify.shard
  end
  return order
end

-- A worker's handler that calls once, when its shard is up.
local function once_up(text)
  return ([[
gateway.on("ready", function(shard)
  if shard.id ~= 0 then return end
%s
end)
]]):format(text)
end

describe("gateway.manager", function()
  after_each(scene.stop)

  it(":prepare_buckets decides the order in which shards identify", function()
    local s = start([[
local prepare = gateway.manager.prepare_buckets
function gateway.manager:prepare_buckets()
  local buckets = prepare(self)
  for _, bucket in ipairs(buckets) do
    for _, worker in ipairs(bucket.workers) do
      table.sort(worker.queue, function(a, b) return a > b end)
    end
  end
  return buckets
end
]], { shards = 3 })
    assert.same({ 2, 1, 0 }, identified(s))
  end)

  for what, queue in pairs {
    ["leaves a shard out"] = "{ 0, 1 }", ["names one twice"] = "{ 0, 1, 1 }", ["is no list"] = "7",
  } do
    it(":prepare_buckets that " .. what .. " is not heeded, and the log says so", function()
      local s = start(([[
function gateway.manager:prepare_buckets()
  return { { id = 0, workers = { { id = 0, queue = %s } } } }
end
]]):format(queue), { shards = 3 })
      assert.same({ 0, 1, 2 }, identified(s))
      s.gateway:wait_for_log "gateway.manager:prepare_buckets returned no list"
    end)
  end

  it(":send_payload decides what is sent, wherever it was called", function()
    local s = start([[
local send = gateway.manager.send_payload
function gateway.manager:send_payload(shard_id, payload, options)
  if payload.op == 31 then
    return nil, { code = "quiet", message = "no sounds today" }
  end
  payload.d.self_deaf = true
  return send(self, shard_id, payload, options)
end
]] .. once_up [[
  local ok, err = gateway.manager:send_payload(0, { op = 31, d = { guild_ids = { "1" } } })
  gateway.log.info("sounds: %s, %s, %s", ok, err.code, err.message)
  assert(gateway.manager:send_payload(0, { op = 4, d = {
    guild_id = "1", channel_id = gateway.json.null, self_mute = false, self_deaf = false,
  } }))
]])
    local sent = commands(s, 1)
    assert.same({ 4, true }, { sent[1].op, sent[1].d.self_deaf })
    s.gateway:wait_for_log "sounds: nil, quiet, no sounds today"
    assert.equal(1, #s:list "commands")
  end)

  it(":get_shard_info decides what others see of the shards", function()
    local seen
    local server = http.serve(function(request)
      seen = request.body
      return 204
    end)
    local s = start(([[
local info = gateway.manager.get_shard_info
function gateway.manager:get_shard_info()
  local shards = info(self)
  for _, shard in ipairs(shards) do
    shard.session_id = "hidden"
    shard.region = "north"
  end
  return shards
end
]] .. once_up [[
  local shards = assert(gateway.manager:get_shard_info())
  assert(gateway.http.post("%s", { json = shards }))
  gateway.log.info("told")
]]):format(server.url))
    s.gateway:wait_for_log "told"
    local shards = require("cjson").decode(seen)
    assert.equal(1, #shards)
    assert.same({ 0, 0, "hidden", "north" },
      { shards[1].shard_id, shards[1].worker_id, shards[1].session_id, shards[1].region })
    server:close()
  end)

  it(":kill ends a shard, unless the override says no", function()
    local s = start([[
local kill = gateway.manager.kill
function gateway.manager:kill(shard_id)
  if shard_id == 1 then return nil, { code = "precious", message = "not that one" } end
  return kill(self, shard_id)
end
]] .. [[
gateway.on("TYPING_START", function()
  for _, id in ipairs { 1, 2, 7 } do
    local ok, err = gateway.manager:kill(id)
    gateway.log.info("kill %d: %s, %s", id, ok, err and err.code)
  end
end)
]], { shards = 3, per_worker = 1, workers = 3, fake = { max_concurrency = 4 } })
    s:type()
    s.gateway:wait_for_log "kill 1: nil, precious"
    s.gateway:wait_for_log "kill 2: true, nil"
    s.gateway:wait_for_log "kill 7: nil, no_shard"
    local closes = s:list "closes"
    assert.equal(1, #closes)
    assert.same({ 2, "client", 1000 }, { closes[1].shard, closes[1].by, closes[1].code })
  end)

  it(":shutdown ends the gateway, with the code that the override chooses", function()
    local s = start([[
local shutdown = gateway.manager.shutdown
function gateway.manager:shutdown(code, reason)
  gateway.log.info("asked to end with %d, %s", code, reason)
  gateway.sleep(20)
  return shutdown(self, 4000, "but the sessions are kept")
end
]] .. once_up [[
  gateway.manager:shutdown(1000, "done")
]], { reload = false })
    assert.equal(0, (s.gateway.process:wait()))
    assert.matches("asked to end with 1000, done", s.gateway.stderr, 1, true)
    local close = s:list("closes")[1]
    assert.same({ "client", 4000 }, { close.by, close.code })
  end)

  it(":edit_bot_status decides the presence of all shards", function()
    local s = start([[
local edit = gateway.manager.edit_bot_status
function gateway.manager:edit_bot_status(presence)
  presence.status = "dnd"
  return edit(self, presence)
end
]] .. [[
gateway.on("TYPING_START", function()
  assert(gateway.manager:edit_bot_status { status = "online", activities = { { name = "a", type = 0 } } })
end)
]], { shards = 2, fake = { max_concurrency = 2 } })
    s:type()
    local sent = commands(s, 2)
    local shards = {}
    for _, command in ipairs(sent) do
      assert.same({ 3, "dnd", "a" }, { command.op, command.d.status, command.d.activities[1].name })
      shards[command.shard] = true
    end
    assert.same({ [0] = true, true }, shards)
  end)

  it(":edit_shard_status decides the presence of one shard", function()
    local s = start([[
local edit = gateway.manager.edit_shard_status
function gateway.manager:edit_shard_status(shard_id, presence)
  presence.activities = { { name = "shard " .. shard_id, type = 0 } }
  return edit(self, shard_id, presence)
end
]] .. [[
gateway.on("TYPING_START", function()
  assert(gateway.manager:edit_shard_status(1, { status = "idle" }))
end)
]], { shards = 2, fake = { max_concurrency = 2 } })
    s:type()
    local command = commands(s, 1)[1]
    assert.same({ 1, 3, "idle", "shard 1" },
      { command.shard, command.op, command.d.status, command.d.activities[1].name })
  end)

  it(":request_members may be answered from elsewhere", function()
    local s = start([[
local request = gateway.manager.request_members
function gateway.manager:request_members(guild_id, options)
  if guild_id == "1" then
    return { members = { { nick = "from the cache" } }, not_found = {} }
  end
  options.limit = 1
  return request(self, guild_id, options)
end
]] .. [[
gateway.on("TYPING_START", function(event)
  local cached = assert(gateway.manager:request_members("1", {}))
  local asked = assert(gateway.manager:request_members(event.data.guild_id, { query = "Sailor", limit = 2 }))
  gateway.log.info("%s; %d members", cached.members[1].nick, #asked.members)
end)
]])
    local guild = s.fake:guilds()[1].id
    s.fake:emit { event = "TYPING_START", d = { guild_id = guild, user_id = "1", channel_id = "1" } }
    s.gateway:wait_for_log "from the cache; 1 members"
    local sent = commands(s, 1)
    assert.equal(1, #sent)
    assert.same({ 8, "Sailor", 1 }, { sent[1].op, sent[1].d.query, sent[1].d.limit })
  end)

  it(":request_soundboard_sounds decides which guilds are asked", function()
    local s = start([[
local request = gateway.manager.request_soundboard_sounds
function gateway.manager:request_soundboard_sounds(guild_ids)
  return request(self, { guild_ids[2] })
end
]] .. once_up [[
  assert(gateway.manager:request_soundboard_sounds { "4194304", "8388608", "12582912" })
]])
    local sent = commands(s, 1)
    assert.same({ 31, { "8388608" } }, { sent[1].op, sent[1].d.guild_ids })
  end)

  it(":join_voice_channel decides how the bot joins", function()
    local s = start([[
local join = gateway.manager.join_voice_channel
function gateway.manager:join_voice_channel(guild_id, channel_id, options)
  options = options or {}
  options.self_mute = true
  return join(self, guild_id, channel_id, options)
end
]] .. once_up [[
  assert(gateway.manager:join_voice_channel("4194304", "77", { self_deaf = false }))
]])
    local d = commands(s, 1)[1].d
    assert.same({ "4194304", "77", true, false }, { d.guild_id, d.channel_id, d.self_mute, d.self_deaf })
  end)

  it(":leave_voice_channel decides whether the bot leaves", function()
    local s = start([[
local leave = gateway.manager.leave_voice_channel
function gateway.manager:leave_voice_channel(guild_id)
  if guild_id == "4194304" then return nil, "it is too nice there" end
  return leave(self, guild_id)
end
]] .. once_up [[
  local ok, err = gateway.manager:leave_voice_channel("4194304")
  gateway.log.info("first: %s, %s", ok, err)
  assert(gateway.manager:leave_voice_channel("8388608"))
]])
    local sent = commands(s, 1)
    assert.same({ 4, "8388608", require("cjson").null },
      { sent[1].op, sent[1].d.guild_id, sent[1].d.channel_id })
    s.gateway:wait_for_log "first: nil, it is too nice there"
  end)

  it(":handle_worker_exit may leave a worker down, and start it again later", function()
    local s = start([[
local handle = gateway.manager.handle_worker_exit
function gateway.manager:handle_worker_exit(worker_id, reason)
  gateway.log.info("worker %d stays down for a while: %s", worker_id, reason)
  gateway.after(300, function()
    gateway.log.info("enough")
    handle(self, worker_id, reason)
  end)
end
]])
    local pid = s.gateway:worker_pids()[1]
    require("luv").kill(pid, "sigkill")
    s.gateway:wait_for_log "worker 0 stays down for a while: signal 9"
    assert.is_false(process.is_running(pid))
    assert.same({}, s.gateway:worker_pids())
    s.gateway:wait_for_log "enough"
    s:wait_counter("resumes_ok", 1)
    assert.equal(1, s.gateway:count_log "a worker is started again worker=0")
  end)

  it(":handle_worker_exit that fails is done by C", function()
    local s = start "function gateway.manager:handle_worker_exit() error 'no mercy' end\n"
    require("luv").kill(s.gateway:worker_pids()[1], "sigkill")
    s:wait_counter("resumes_ok", 1)
    assert.matches("no mercy\n%s+stack traceback:", s.gateway.stderr)
  end)
end)
