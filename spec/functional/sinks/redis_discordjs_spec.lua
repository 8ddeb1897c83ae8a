-- A Redis sink with the layout "discordjs": a stream for each type of event, which refuses nothing. What is
-- in them, whatever dies: each event of each shard once, and those of a stream in the order of their shard.

local msgpack = require "spec.support.msgpack"
local paths = require "spec.support.paths"
local redis = require "spec.support.redis"
local scene = require "spec.support.scene"
local sudden_death = require "spec.support.sudden_death"
local uv = require "luv"

local r, s

local function start(options)
  options = options or {}
  options.bot, options.shards, options.per_worker = false, 2, 1
  options.fake = { max_concurrency = 2 }
  options.script = ([[
require "tidegate".configure { sinks = { djs = { url = %q, layout = "discordjs", %s } } }
]]):format(r:url(options.login), options.sink or "")
  options.sink, options.login = nil, nil
  s = scene.start(options)
end

-- What its user needs, as the deployment page has it.
local COMMANDS = "+multi +exec +sadd +xadd +xlen +xinfo +xpending +xtrim +wait +ping +select +hset +hget "
  .. "+xgroup +xreadgroup +xack +xautoclaim +time"

-- What the sink has written: streams by their names.
local function names()
  local list = {}
  for _, name in ipairs(r:command("KEYS", "*")) do
    if name:find "^[A-Z_]+$" then
      list[#list + 1] = name
    end
  end
  return list
end

-- All entries. One that is there twice, or stands behind a later one of its shard and stream, is an error.
local function written()
  local seen, list = {}, {}
  for _, name in ipairs(names()) do
    local last = {}
    for _, entry in ipairs(r:stream(name)) do
      local key = entry.fields.key
      assert(not seen[key], key .. " is there twice")
      seen[key] = true
      local shard, epoch, number = key:match "^(%d+)%.(%d+)%.(%d+)$"
      local position = epoch * 2 ^ 20 + number
      assert(position > (last[shard] or 0), key .. " stands behind a later one in " .. name)
      last[shard] = position
      list[#list + 1] = entry
    end
  end
  return list
end

-- By guild how many of its numbered messages are there, of which each has a text "<guild>:<number>".
local function numbered(entries)
  local guilds = {}
  for _, entry in ipairs(entries) do
    local guild, number = entry.fields.data:match "\165nonce[\160-\191](%d+):(%d+)"
    if guild then
      guilds[guild] = (guilds[guild] or 0) + 1
      assert.is_true(tonumber(number) >= 1)
    end
  end
  return guilds
end

-- Waits until all that was sent is there; nothing is there twice.
local function assert_complete()
  local sent = s.fake:wait_emitted(30000)
  local total = 0
  for _, count in pairs(sent) do
    total = total + count
  end
  redis.wait_for("all events", function()
    local there = 0
    for _, count in pairs(numbered(written())) do
      there = there + count
    end
    return there >= total
  end, 40000)
  assert.same(sent, numbered(written()))
end

describe("a Redis sink as discord.js' brokers have it", function()
  after_each(function()
    scene.stop()
    redis.teardown()
  end)

  it("has each event once, in the stream of its type, by a user who may do no more than that", function()
    r = redis.start { users = { "gateway on >secret ~* &* -@all " .. COMMANDS } }
    start { login = { user = "gateway", password = "secret" } }
    s.fake:emit { count = 1000, rate = 4000 }
    assert_complete()
    assert.matches("^[01]%.%d+%.1$", r:stream("READY")[1].fields.key)
    assert.equal("loading", r:stream("GUILD_CREATE")[1].fields.guildCreate)
    assert.same({ "GUILD_CREATE", "MESSAGE_CREATE", "READY" }, (function(list)
      table.sort(list)
      return list
    end)(names()))
    redis.wait_for("the group of commands", function()
      return #r:command("XINFO", "GROUPS", "gateway_send") == 1
    end)
    r:command("XADD", "gateway_send", "*", "data", msgpack.encode { shardId = 1, payload = { op = 31, d = {
      guild_ids = { s.fake:guilds(1)[1].id },
    } } })
    s.fake:wait_for("the command", function(state) return state.commands[1] end, { only = "commands" })
    redis.wait_for("its acknowledgement", function()
      return r:command("XPENDING", "gateway_send", "tidegate")[1] == 0
    end)
    assert.equal(0, s.gateway:count_log "NOPERM")
  end)

  it("has it once when Redis dies in the midst of a batch, before it has it or after, three times", function()
    for _, when in ipairs { "before", "after" } do
      local death = sudden_death.new()
      r = redis.start { appendonly = "always", env = death:env() }
      start()
      s.fake:emit { count = 100 }
      assert_complete()
      for _ = 1, 3 do
        death:plan { { "write", "/appendonlydir/*.incr.aof", when } }
        s.fake:emit { count = 400, rate = 5000 }
        r.process:wait()
        s.fake:emit { count = 50 }
        r:restart()
      end
      assert_complete()
      scene.stop()
    end
  end)

  it("has it once when workers and all of the gateway are killed", function()
    r = redis.start { appendonly = true }
    start { hurry = 10 }
    for _ = 1, 3 do
      s.fake:emit { count = 600, rate = 4000 }
      redis.wait_for("some of them", function() return r:command("EXISTS", "MESSAGE_CREATE") == 1 end)
      local killed = 0
      redis.wait_for("workers that run", function()
        for _, pid in ipairs(s.gateway:worker_pids()) do
          killed = killed + (uv.kill(pid, "sigkill") and 1 or 0) -- or it is one of the round before
        end
        return killed >= 2
      end)
    end
    s.gateway:wait_ready(2)
    s.fake:emit { count = 600, rate = 4000 }
    s.gateway:stop "SIGKILL"
    s:again()
    s.fake:emit { count = 100 }
    assert_complete()
  end)

  it("gets again what it had just taken, when it comes back without", function()
    r = redis.start()
    start { sink = "settle = 60000" }
    s.fake:emit { count = 200 }
    assert_complete()
    r:restart { empty = true }
    s.gateway:wait_for_log "Redis has lost events that it had taken: the hash tidegate:marks"
    s.fake:emit { count = 50 }
    assert_complete()
  end)

  it("takes the place of the own layout by a reload, and gives it back: each event is there once", function()
    r = redis.start()
    start { reload = false }
    local total = 0
    for _, layout in ipairs { "tidegate", "discordjs", "tidegate" } do
      s.fake:emit { count = 300, rate = 3000 }
      total = total + 300
      s.fake:wait_emitted(30000)
      local script = paths.read(s.gateway.script)
      paths.write(s.gateway.script, (script:gsub('layout = "%l+"', ('layout = %q'):format(layout))))
      s.gateway:reload()
    end
    s.fake:emit { count = 300, rate = 3000 }
    total = total + 300
    local sent, keys = s.fake:wait_emitted(30000), {}
    local function count()
      local entries = written()
      for shard = 0, 1 do
        for _, entry in ipairs(r:stream("tidegate:2:" .. shard)) do
          entry.fields.data = "\165nonce\179" .. (entry.fields.d:match '"nonce":"(%d+:%d+)"' or "")
          entries[#entries + 1] = entry
        end
      end
      return entries, numbered(entries)
    end
    redis.wait_for("all events", function()
      local _, guilds = count()
      local there = 0
      for _, n in pairs(guilds) do
        there = there + n
      end
      return there >= total
    end)
    local entries, guilds = count()
    for _, entry in ipairs(entries) do
      assert.is_nil(keys[entry.fields.key], entry.fields.key)
      keys[entry.fields.key] = true
    end
    assert.same(sent, guilds)
    assert.is_true(r:command("XLEN", "tidegate:2:0") > 100)
    assert.is_true(r:command("XLEN", "MESSAGE_CREATE") > 100)
  end)

  it("waits for a group that lags, and trims what all have acknowledged", function()
    r = redis.start()
    start { sink = "max_length = 1000", hurry = 5 }
    r:command("XGROUP", "CREATE", "MESSAGE_CREATE", "bot", "0", "MKSTREAM")
    s.fake:emit { count = 3000, rate = 6000 }
    s.gateway:wait_for_log 'the stream MESSAGE_CREATE is full %(%d+ entries, max_length%): its group "bot"'
    assert.is_true(r:command("XLEN", "MESSAGE_CREATE") < 2500) -- each worker counts what it writes
    local seen, all = {}, 0
    local sent = s.fake:wait_emitted(30000)
    for _, count in pairs(sent) do
      all = all + count
    end
    redis.wait_for("the rest", function()
      local reply = r:command("XREADGROUP", "GROUP", "bot", "one", "COUNT", 100,
        "STREAMS", "MESSAGE_CREATE", ">")
      for _, entry in ipairs(reply and reply[1][2] or {}) do
        seen[#seen + 1] = { fields = { data = entry[2][2] } }
        r:command("XACK", "MESSAGE_CREATE", "bot", entry[1])
      end
      return #seen >= all
    end, 40000)
    assert.same(sent, numbered(seen))
    redis.wait_for("the trimming", function() return r:command("XLEN", "MESSAGE_CREATE") < 1000 end)
  end)

  it("is not written to when another gateway does so already", function()
    r = redis.start()
    r:command("HSET", "tidegate:marks", "2:1", "99999999999-7")
    start { hurry = 5 }
    s.gateway:wait_for_log "only a person can help: stop the other gateway, or give this sink another prefix"
    s.fake:emit { count = 50, shard = 0 }
    s.fake:emit { count = 50, shard = 1 }
    s.fake:wait_emitted(20000)
    redis.wait_for("the other shard's events", function()
      return r:command("XLEN", "MESSAGE_CREATE") >= 50
    end)
    assert.equal(50, r:command("XLEN", "MESSAGE_CREATE"))
    r:command("HDEL", "tidegate:marks", "2:1")
    assert_complete()
  end)
end)
