-- What a bot writes into the stream "gateway_send" of a sink with layout "discordjs" is sent by its shard.

local cjson = require "cjson"
local msgpack = require "spec.support.msgpack"
local paths = require "spec.support.paths"
local redis = require "spec.support.redis"
local scene = require "spec.support.scene"

local STREAM = "gateway_send"

local server, s

local function start(options)
  options = options or {}
  options.shards, options.bot, options.fake = options.shards or 2, false, { max_concurrency = 4 }
  options.script = options.script or ([[
require "tidegate".configure { sinks = { djs = { url = "%s", layout = "discordjs" } } }
]]):format(server:url())
  s = scene.start(options)
end

-- The id of its entry. `fields`: in the place of { data = ... }
local function send(command, id)
  return server:command("XADD", STREAM, id or "*", "data", type(command) == "string" and command
    or msgpack.encode(command))
end

local function presence(status)
  return { op = 3, d = { since = cjson.null, activities = msgpack.list {}, status = status, afk = false } }
end

-- The statuses that shards were told, "0 idle", in order.
local function told(n)
  local commands = s.fake:wait_for(n .. " commands", function(state)
    return #state.commands >= n and state.commands
  end, { only = "commands" })
  local list = {}
  for i, command in ipairs(commands) do
    list[i] = command.shard .. " " .. tostring(command.d.status or command.d.guild_id)
  end
  return list
end

-- How many were read, and not acknowledged.
local function pending(group)
  local ok, summary = pcall(server.command, server, "XPENDING", STREAM, group or "tidegate")
  return ok and summary[1]
end

local function wait_acknowledged(group)
  redis.wait_for("the acknowledgements", function() return pending(group) == 0 end)
end

local function wait_group(group)
  redis.wait_for("the group", function() return pending(group or "tidegate") end)
end

describe("commands of a bot over Redis", function()
  before_each(function() server = redis.start { appendonly = true } end)
  after_each(function()
    scene.stop()
    redis.teardown()
    s = nil
  end)

  it("are sent by their shard, or by all, in their order, and acknowledged", function()
    start()
    wait_group()
    send { shardId = 1, payload = presence "idle" }
    send { shardId = 0, payload = presence "dnd" }
    local guild = s.fake:guilds(1)[1].id
    send { shardId = 1, payload = { op = 8, d = { guild_id = guild, query = "", limit = 0 } } }
    local list = told(3)
    table.sort(list)
    assert.same({ "0 dnd", "1 " .. guild, "1 idle" }, list)
    send(presence "online")
    list = told(5)
    local last = { list[4], list[5] }
    table.sort(last)
    assert.same({ "0 online", "1 online" }, last)
    wait_acknowledged()
    for i = 1, 3 do
      send { shardId = 0, payload = { op = 4, d = {
        guild_id = s.fake:guilds(0)[1].id, channel_id = tostring(i), self_mute = false, self_deaf = false,
      } } }
    end
    local sent = {}
    told(8)
    for _, command in ipairs(s:list "commands") do
      if command.op == 4 then
        sent[#sent + 1] = command.d.channel_id
      end
    end
    assert.same({ "1", "2", "3" }, sent)
    assert.same({}, s:list "violations")
  end)

  it("that cannot be sent are passed by, and told once a minute with what to do", function()
    start()
    wait_group()
    send { shardId = 7, payload = presence "idle" }
    s.gateway:wait_for_log(
      'manager shard 7: [^\n]* stream gateway_send of the sink "djs" %(%d+%-0%) was passed by: [^\n]* 0 to 1')
    send "nonsense"
    send { shardId = 0, payload = { op = 99, d = {} } }
    send { shardId = 0, payload = presence(("x"):rep(5000)) }
    server:command("XADD", STREAM, "*", "other", "field")
    send { shardId = 1, payload = presence "idle" }
    assert.same({ "1 idle" }, told(1))
    wait_acknowledged()
    assert.equal(1, s.gateway:count_log "was passed by")
    assert.same({}, s:list "violations")
  end)

  it("wait for their shard, outlive a kill of all, and are sent once", function()
    start()
    wait_group()
    s.fake:fault { at = "resume", ["do"] = "delay", ms = 60000, shard = 0 }
    s.fake:fault { ["do"] = "close", code = 4000, shard = 0 }
    s.gateway:wait_for_log "shard 0: resuming"
    send { shardId = 0, payload = presence "idle" }
    redis.wait_for("somebody who reads it", function() return pending() == 1 end)
    s.gateway:stop "SIGKILL"
    send { shardId = 1, payload = presence "dnd" }
    assert.same({}, s:list "commands")
    s:again()
    local list = told(2)
    table.sort(list)
    assert.same({ "0 idle", "1 dnd" }, list)
    wait_acknowledged()
    assert.equal(2, #s:list "commands")
  end)

  it("that were under way when the gateway stopped are sent by the next run", function()
    start()
    wait_group()
    s.fake:fault { at = "resume", ["do"] = "delay", ms = 60000, shard = 0 }
    s.fake:fault { ["do"] = "close", code = 4000, shard = 0 }
    s.gateway:wait_for_log "shard 0: resuming"
    send { shardId = 0, payload = presence "idle" }
    redis.wait_for("somebody who reads it", function() return pending() == 1 end)
    s.gateway:stop()
    assert.equal(1, pending())
    s:again()
    assert.same({ "0 idle" }, told(1))
    wait_acknowledged()
  end)

  it("go on when Redis comes back, with what it had and with nothing", function()
    start { hurry = 10 }
    wait_group()
    server:kill()
    s.gateway:wait_for_log 'commands of the bot cannot be read from the stream gateway_send of the sink "djs"'
    server:restart()
    s.gateway:wait_for_log "commands of the bot are read again"
    send { shardId = 0, payload = presence "idle" }
    assert.same({ "0 idle" }, told(1))
    server:restart { empty = true }
    send { shardId = 0, payload = presence "dnd" } -- the group is not there again
    assert.same({ "0 idle", "0 dnd" }, told(2))
    wait_acknowledged()
    server:command("DEL", STREAM)
    send { shardId = 0, payload = presence "online" }
    assert.same({ "0 idle", "0 dnd", "0 online" }, told(3))
    assert.equal(2, s.gateway:count_log "commands of the bot cannot be read")
  end)

  it("that another of the group has left are taken over, but not when they are old", function()
    local seconds = server:command("TIME")[1]
    server:command("XGROUP", "CREATE", STREAM, "tidegate", "0", "MKSTREAM")
    send({ shardId = 1, payload = presence "online" }, ("%d-0"):format((seconds - 360) * 1000))
    send { shardId = 1, payload = presence "idle" }
    local read = server:command("XREADGROUP", "GROUP", "tidegate", "another", "STREAMS", STREAM, ">")
    assert.equal(2, #read[1][2])
    start { hurry = 100 }
    assert.same({ "1 idle" }, told(1))
    wait_acknowledged()
    s.gateway:wait_for_log "was passed by: it is 6 min [%d a-z]*old, and nobody waits for it any more"
    assert.equal(1, #s:list "commands")
  end)

  it("of a new group begin some minutes ago, and what is an hour old is trimmed", function()
    local seconds = server:command("TIME")[1]
    for i = 1, 300 do
      send({ shardId = 1, payload = presence "invisible" }, ("%d-%d"):format((seconds - 4000) * 1000, i))
    end
    send({ shardId = 1, payload = presence "idle" }, ("%d-0"):format((seconds - 200) * 1000))
    start()
    assert.same({ "1 idle" }, told(1))
    wait_acknowledged()
    redis.wait_for("the trimming", function() return server:command("XLEN", STREAM) < 150 end)
  end)

  it("of gateways with a part of the shards each come to the one that has them", function()
    local script = [[
require "tidegate".configure {
  sinks = { djs = { url = "%s", layout = "discordjs", commands_group = "bots" } },
  total_shards = 2, first_shard_id = %d, last_shard_id = %d,
}
]]
    start { script = script:format(server:url(), 0, 0), ready = false }
    s:again { script = script:format(server:url(), 1, 1), state_dir = paths.tmp(), ready = false }
    wait_group "bots:0-0"
    wait_group "bots:1-1"
    send { shardId = 1, payload = presence "idle" }
    send { shardId = 0, payload = presence "dnd" }
    local list = told(2)
    table.sort(list)
    assert.same({ "0 dnd", "1 idle" }, list)
    wait_acknowledged "bots:0-0"
    wait_acknowledged "bots:1-1"
    for _, each in ipairs(s.gateways) do
      assert.equal(0, each:count_log "passed by")
    end
  end)

  it("are read where the configuration has them after a reload", function()
    local other = redis.start()
    start { reload = false }
    wait_group()
    paths.write(s.gateway.script, (paths.read(s.gateway.script):gsub(":%d+/", ":" .. other.port .. "/")))
    s.gateway:reload()
    local first = server
    server = other
    wait_group()
    send { shardId = 0, payload = presence "dnd" }
    assert.same({ "0 dnd" }, told(1))
    server = first
    send { shardId = 0, payload = presence "idle" }
    assert.equal(1, #s:list "commands")
    assert.equal(0, pending())
  end)

  it("go through the script's own send_payload", function()
    start { script = ([[
local gateway = require "tidegate"
gateway.configure { sinks = { djs = { url = "%s", layout = "discordjs" } } }
local send = gateway.manager.send_payload
function gateway.manager:send_payload(shard, payload, options)
  payload.d.status = "dnd"
  return send(self, shard, payload, options)
end
]]):format(server:url()) }
    wait_group()
    send { shardId = 0, payload = presence "idle" }
    assert.same({ "0 dnd" }, told(1))
    wait_acknowledged()
  end)
end)
