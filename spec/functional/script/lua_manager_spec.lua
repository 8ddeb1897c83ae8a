-- gateway.manager: each method overridden, and what that changes on the wire.

local http = require "spec.support.http"
local scene = require "spec.support.scene"

local function start(script, options)
  options = options or {}
  options.script = 'local gateway = require "tidegate"\n' .. script
  if options.bot == nil then
    options.bot = false
  end
  return scene.start(options)
end

local function identified(s)
  local order = {}
  for i, identify in ipairs(s:list "identifies") do
    order[i] = identify.shard
  end
  return order
end

describe("gateway.manager", function()
  after_each(scene.stop)

  it(":fetch_gateway_bot decides what the gateway knows", function()
    local s = start([[
local fetch = gateway.manager.fetch_gateway_bot
function gateway.manager:fetch_gateway_bot()
  local info = assert(fetch(self)) -- waits for the answer
  info.shards = 3
  info.session_start_limit.max_concurrency = 3
  return info
end
]], { shards = 1, ready = false, fake = { max_concurrency = 3 } })
    s.gateway:wait_ready(3)
    assert.equal(3, s:list("identifies")[1].total)
    assert.equal(1, #s:list "rest")
  end)

  it(":fetch_gateway_bot may ask somebody else", function()
    local server = http.serve(function() return 200, nil, "2" end)
    local s = start(([[
function gateway.manager:fetch_gateway_bot()
  local response = assert(gateway.http.get("%s/how-many-shards"))
  gateway.sleep(10)
  return {
    url = os.getenv "FAKE_URL", shards = tonumber(response.body),
    session_start_limit = { total = 1000, remaining = 1000, reset_after = 0, max_concurrency = 1 },
  }
end
]]):format(server.url), { ready = false })
    s.gateway:stop()
    s:again { env = { FAKE_URL = s.fake.gateway }, ready = false }
    s.gateway:wait_ready(2)
    assert.equal(2, s:list("identifies")[1].total)
    server:close()
  end)

  it(":fetch_gateway_bot that fails counts as no answer: it is tried again", function()
    local s = start([[
local tries = 0
local fetch = gateway.manager.fetch_gateway_bot
function gateway.manager:fetch_gateway_bot()
  tries = tries + 1
  if tries == 1 then
    return nil, { code = "unavailable", message = "no luck today" }
  elseif tries == 2 then
    return { shards = "many" }
  end
  return fetch(self)
end
]], { hurry = 20 })
    assert.matches("no luck today", s.gateway.stderr, 1, true)
    assert.matches('url\\" of the gateway information', s.gateway.stderr, 1, true)
  end)

  it(":calculate_total_shards decides how many shards there are", function()
    local s = start([[
function gateway.manager:calculate_total_shards(info)
  assert(info.shards == 2 and info.session_start_limit.max_concurrency == 4)
  return info.shards * 2
end
]], { shards = 2, ready = false, fake = { max_concurrency = 4 } })
    s.gateway:wait_ready(4)
    assert.equal(4, s:list("identifies")[4].total)
  end)

  it(":calculate_worker_id decides where a shard lives", function()
    local s = start([[
function gateway.manager:calculate_worker_id(shard_id)
  if shard_id == 3 then return "worker" end -- wrong: the default is taken, and said so
  return shard_id == 0 and 2 or 0
end
gateway.on("ready", function(shard)
  gateway.log.info("shard %d lives in worker %d, %d", shard.id, shard.worker_id, gateway.worker_id)
end)
]], { shards = 4, fake = { max_concurrency = 4 } })
    for shard, worker in pairs { [0] = 2, [1] = 0, [2] = 0, [3] = 0 } do
      s.gateway:wait_for_log(("shard %d lives in worker %d, %d"):format(shard, worker, worker))
    end
    assert.equal(2, #s.gateway:worker_pids()) -- none without a shard
    s.gateway:wait_for_log "calculate_worker_id[^\n]*"
  end)

  it(":calculate_shard_id decides which shard a guild's commands take", function()
    local s = start([[
local calculate = gateway.manager.calculate_shard_id
function gateway.manager:calculate_shard_id(guild_id, total)
  assert(total == 2)
  return guild_id == "1" and calculate(self, guild_id, total) or 1
end
gateway.on("ready", function(shard)
  if shard.id == 1 then
    assert(gateway.manager:leave_voice_channel("1"))
    assert(gateway.manager:leave_voice_channel("2"))
    gateway.log.info("both are sent")
  end
end)
]], { reload = false, shards = 2, fake = { max_concurrency = 2 } })
    s.gateway:wait_for_log "both are sent"
    local commands = s.fake:wait_for("both commands", function(state)
      return #state.commands == 2 and state.commands
    end, { only = "commands" })
    for _, command in ipairs(commands) do
      assert.equal(4, command.op)
      assert.equal(command.d.guild_id == "1" and 0 or 1, command.shard)
    end
  end)

  it(":spawn_shards decides which shards start, and in which order", function()
    local s = start([[
function gateway.manager:spawn_shards()
  for _, id in ipairs { 2, 0 } do
    assert(self:tell_worker_to_identify(0, id, 0)) -- waits until the shard is up
  end
  gateway.log.info("two shards are up")
end
]], { shards = 3, ready = false })
    s.gateway:wait_for_log "two shards are up"
    assert.same({ 2, 0 }, identified(s))
  end)

  it(":spawn_shards that does nothing is told", function()
    local s = start("function gateway.manager:spawn_shards() end\n", { shards = 2, ready = false })
    s.gateway:wait_for_log "warn +manager: .*spawn_shards has ended and told no shard to identify"
    assert.same({}, identified(s))
  end)

  it(":spawn_shards that calls the default starts all, and nothing is told", function()
    local s = start([[
local spawn = gateway.manager.spawn_shards
function gateway.manager:spawn_shards() return spawn(self) end
]], { shards = 2 })
    assert.equal(2, #identified(s))
    assert.equal(0, s.gateway:count_log "told no shard")
  end)

  it(":tell_worker_to_identify decides when a shard starts", function()
    local s = start([[
local tell = gateway.manager.tell_worker_to_identify
function gateway.manager:tell_worker_to_identify(worker_id, shard_id, bucket_id)
  gateway.log.info("worker %d, shard %d, bucket %d", worker_id, shard_id, bucket_id)
  if shard_id == 1 then return end
  if shard_id == 0 then gateway.sleep(700) end
  return tell(self, worker_id, shard_id, bucket_id)
end
]], { shards = 3, ready = false, fake = { max_concurrency = 3 } })
    s.gateway:wait_for_log "worker 0, shard 1, bucket 1"
    s.gateway:wait_ready(2)
    assert.same({ 2, 0 }, identified(s))
    local list = s:list "identifies"
    assert.is_true(list[2].at - list[1].at >= 600)
  end)

  it(":request_identify may coordinate with others before it asks for the slot", function()
    local asked = {}
    local server = http.serve(function(request)
      asked[#asked + 1] = request.path
      return 204
    end)
    local s = start(([[
local request = gateway.manager.request_identify
function gateway.manager:request_identify(shard_id)
  assert(gateway.http.post("%s/lease/" .. shard_id))
  return request(self, shard_id)
end
]]):format(server.url), { shards = 2 })
    table.sort(asked)
    assert.same({ "/lease/0", "/lease/1" }, asked)
    assert.same({}, s:list "violations")
    server:close()
  end)

  it(":request_identify that fails leaves it to the identify scheduler", function()
    local s = start([[
function gateway.manager:request_identify(shard_id)
  if shard_id == 0 then error { code = "lost", message = "out of order" } end
  return nil, { code = "busy", message = "not today" }
end
]], { shards = 2 })
    assert.equal(2, s:counters().identifies)
    assert.same({}, s:list "violations")
    assert.matches('out of order {code = "lost"}\n  stack traceback:', s.gateway.stderr, 1, true)
    assert.matches("not today", s.gateway.stderr, 1, true)
  end)

  it(":handle_worker_exit decides when a worker is started again", function()
    local s = start [[
local handle = gateway.manager.handle_worker_exit
function gateway.manager:handle_worker_exit(worker_id, reason)
  gateway.log.info("worker %d is mourned: %s", worker_id, reason)
  return handle(self, worker_id, reason)
end
]]
    require("luv").kill(s.gateway:worker_pids()[1], "sigkill")
    s.gateway:wait_for_log "worker 0 is mourned: signal 9"
    s:wait_counter("resumes_ok", 1)
  end)
end)
