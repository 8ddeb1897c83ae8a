-- What befalls a Redis that events are written to, under load: nothing is missing in its streams, nothing
-- stands there twice or out of order, and the bot beside it does not notice. With TG_SPEC_LONG=1
-- (scripts/test --long) kills come in longer series.

local checker = require "spec.support.checker"
local loop = require "spec.support.loop"
local paths = require "spec.support.paths"
local redis = require "spec.support.redis"
local sinks_trial = require "spec.support.sinks_trial"
local sudden_death = require "spec.support.sudden_death"

local LONG = os.getenv "TG_SPEC_LONG" == "1"
local SHARDS = 4

local function start(server, options)
  local given = {
    shards = SHARDS, per_worker = 2, workers = 2, rate = 500,
    sinks = { streams = { redis = server, settle = 2000 } },
  }
  for name, value in pairs(options or {}) do
    given[name] = value
  end
  for name, value in pairs(given.redis or {}) do
    given.sinks.streams[name] = value
  end
  given.redis = nil
  local t = sinks_trial.start(given)
  t.server, t.reader = server, t.readers.streams
  return t
end

local function await_written(t, more)
  t.reader:wait_for_events(#t.reader.events + (more or 50), 30000)
end

-- Meanwhile all that Discord sends is at the bot.
local function assert_bot_is_served(t)
  t:await_emitted(150)
  local seen = #t.bot.events
  t.bot:wait_for_events(seen + 50, nil, 20000)
end

local function finish(t, name, more)
  local expected = { name = name, identifies = SHARDS }
  for key, value in pairs(more or {}) do
    expected[key] = value
  end
  t:assert_nothing_lost(expected)
end

describe("a Redis that is killed", function()
  after_each(sinks_trial.stop)

  it(("%d times under load: its streams are whole"):format(LONG and 30 or 3), function()
    local t = start(redis.start { appendonly = "always" })
    for _ = 1, LONG and 30 or 3 do
      await_written(t, t.random:between(20, 100))
      t.server:kill()
      assert_bot_is_served(t)
      t.server:restart()
    end
    finish(t, "Redis killed")
  end)

  it("in the midst of a batch, before and after it has written it", function()
    local death = sudden_death.new()
    local t = start(redis.start { appendonly = "always", env = death:env() })
    for i = 1, LONG and 20 or 4 do
      await_written(t, 20)
      local when = i % 2 == 0 and "before" or "after"
      death:plan { { "write", "/appendonlydir/*.incr.aof", when, t.random:between(1, 5) } }
      loop.wait_for("the death that is planned", function() return death:has_struck() end, 20000)
      t.server.process:wait()
      t:await_emitted(50)
      t.server:restart()
    end
    finish(t, "Redis killed in a batch")
  end)

  it("and has lost its last moments, as by a power cut: they are written again", function()
    local t = start(redis.start { appendonly = "always" })
    for i = 1, 3 do
      await_written(t, 100)
      t.server:kill()
      if i == 2 then
        t:kill_group() -- and so has the gateway
      end
      local path = t.server.dir .. "/appendonlydir/appendonly.aof.1.incr.aof"
      local content = paths.read(path)
      paths.write(path, content:sub(1, #content - 20000))
      t:pass(2500) -- longer than events settle
      t.server:restart()
      if i == 2 then
        t:again()
      end
    end
    finish(t, "power cuts of Redis")
  end)

  it("and comes back empty: who had read it misses nothing", function()
    local t = start(redis.start())
    for _ = 1, 2 do
      await_written(t, 100)
      t:await_emitted(200) -- nobody reads these before they are lost
      t.server:kill()
      t.server:restart { empty = true }
      t.reader:begin_again()
      await_written(t, 50)
    end
    finish(t, "Redis empty", { kept = true })
  end)

  it("while processes of the gateway are, too", function()
    local t = start(redis.start { appendonly = "always" })
    for _ = 1, LONG and 60 or 8 do
      local victim = t.random:one_of { "redis", "redis", "worker", "manager", "group" }
      if victim == "redis" then
        t.server:kill()
        t:pass(t.random:between(0, 300))
        t.server:restart()
      elseif victim == "worker" then
        t:kill_worker(t:await_worker())
      else
        t[victim == "manager" and "kill_manager" or "kill_group"](t)
        t:again()
      end
      t:await_emitted(t.random:between(1, 60))
    end
    finish(t, "Redis and the gateway killed")
  end)
end)

describe("a Redis that refuses", function()
  after_each(sinks_trial.stop)

  it("what is written, as its memory is full: it has all when there is room", function()
    local t = start(redis.start { maxmemory = "3mb", config = { ["maxmemory-policy"] = "noeviction" } })
    t.gateway:wait_for_log("OOM", 30000)
    assert_bot_is_served(t)
    -- Room for a while, again and again: at the edge one XADD is refused and the next one would not be.
    for megabytes = 4, 8 do
      t.server:command("CONFIG", "SET", "maxmemory", megabytes .. "mb")
      t:await_emitted(100)
    end
    t.server:command("CONFIG", "SET", "maxmemory", 0)
    finish(t, "Redis at maxmemory")
  end)

  it("what is written, as it is somebody's replica: it has all when it is not", function()
    local t = start(redis.start())
    await_written(t)
    t.server:command("REPLICAOF", "127.0.0.1", 1)
    t.gateway:wait_for_log("READONLY", 20000)
    assert_bot_is_served(t)
    t.server:command("REPLICAOF", "NO", "ONE")
    finish(t, "Redis read-only")
  end)

  it("because a stream is something else, by a mistake: it has all when that is mended", function()
    local t = start(redis.start(), { rate = 0 })
    local name = ("tidegate:%d:0"):format(SHARDS)
    redis.wait_for("a stream of the shard", function() return t.server:command("EXISTS", name) == 1 end)
    t.server:command("RENAME", name, "aside")
    t.server:command("SET", name, "x")
    t.fake:settings { rate = 400 }
    t.gateway:wait_for_log("WRONGTYPE", 20000)
    assert_bot_is_served(t)
    t.server:command("DEL", name)
    t.server:command("RENAME", "aside", name)
    finish(t, "WRONGTYPE")
  end)
end)

describe("a Redis that", function()
  after_each(sinks_trial.stop)

  it("is frozen costs the bot nothing, and has all when it goes on", function()
    local t = start(redis.start())
    await_written(t)
    t.server:freeze()
    for _ = 1, 5 do -- longer than an answer is awaited
      assert_bot_is_served(t)
      t:pass(1000)
    end
    t.server:thaw()
    finish(t, "Redis frozen")
  end)

  it("is replaced by its replica has all that it said it had", function()
    local server, replica = redis.start(), redis.start()
    replica:replica_of(server)
    local t = start(server, { redis = { replicas = 1 } })
    await_written(t, 100)
    server:kill()
    assert_bot_is_served(t)
    replica:promote()
    t.server, t.reader.redis = replica, replica
    replica:command("CONFIG", "SET", "port", server.port)
    replica:command("CONFIG", "SET", "min-replicas-to-write", 0)
    local next_one = redis.start()
    replica.port = server.port
    next_one:replica_of(replica)
    finish(t, "Redis replaced by its replica")
  end)

  it("has no replica where one is asked for: events wait, and are whole when there is one", function()
    local server = redis.start()
    local t = start(server, { redis = { replicas = 1 }, rate = 200 })
    assert_bot_is_served(t)
    local replica = redis.start()
    replica:replica_of(server)
    finish(t, "without a replica for a while")
  end)

  it("has a state directory's streams already, which is lost: what is new comes behind them", function()
    local t = start(redis.start(), { rate = 0 })
    t.fake:emit { count = 20 }
    t:wait_delivered(nil, t.reader)
    t:pass(1100) -- epochs begin at the time in seconds
    t:kill_group()
    os.execute(("rm -rf '%s'"):format(t.gateway.state_dir))
    t:again()
    t.fake:emit { count = 20 }
    local sent = t:wait_delivered(nil, t.reader)
    t.reader:reread()
    checker.assert_complete(t.reader.events, { guilds = sent })
  end)
end)
