-- A Redis that dies and comes back, with all that it had taken, less, or nothing; and a gateway that has lost
-- its state directory.

local checker = require "spec.support.checker"
local paths = require "spec.support.paths"
local redis = require "spec.support.redis"
local scene = require "spec.support.scene"
local streams = require "spec.support.streams"
local sudden_death = require "spec.support.sudden_death"

local function start(r, options)
  options = options or {}
  options.bot = false
  options.script = ('require "tidegate".configure { sinks = { stream = { url = %q, %s } } }'):format(
    r:url(), options.sink or "")
  options.sink = nil
  return scene.start(options)
end

describe("a Redis that dies", function()
  after_each(function()
    scene.stop()
    redis.teardown()
  end)

  it("in the midst of a batch, before it has it or after: each event is there once", function()
    for _, when in ipairs { "before", "after" } do
      local death = sudden_death.new()
      local r = redis.start { appendonly = "always", env = death:env() }
      local s = start(r, { shards = 2, fake = { max_concurrency = 2 } })
      local reader = streams.reader(r)
      s.fake:emit { count = 100 }
      s:wait_delivered(20000, reader)
      death:plan { { "write", "/appendonlydir/*.incr.aof", when } }
      s.fake:emit { count = 500, rate = 5000 }
      r.process:wait()
      s.fake:emit { count = 100 }
      r:restart()
      checker.assert_complete(reader.events, { guilds = s:wait_delivered(30000, reader), contiguous = true })
      scene.stop()
    end
  end)

  it("and comes back without what it had just taken: that comes again", function()
    local r = redis.start { appendonly = true }
    local s = start(r, { sink = "settle = 60000" })
    local reader = streams.reader(r)
    s.fake:emit { count = 200 }
    s:wait_delivered(20000, reader)
    r:restart { empty = true }
    s.gateway:wait_for_log "Redis has lost events that it had taken" -- nobody has to send anything for that
    reader:wait_for("all of them again", function() return r:command("XLEN", "tidegate:1:0") >= 200 end)
    s.fake:emit { count = 10 }
    reader:begin_again()
    checker.assert_complete(reader.events, { guilds = s:wait_delivered(20000, reader), contiguous = true })
    reader:reread()
    checker.assert_complete(reader.events, { guilds = s.fake:sent_guilds(), contiguous = true })
  end)

  it("while it is away events wait, and the log says so once a minute", function()
    local r = redis.start { appendonly = "always" }
    local s = start(r)
    local reader = streams.reader(r)
    s.fake:emit { count = 10 }
    s:wait_delivered(20000, reader)
    r:kill()
    s.fake:emit { count = 200, rate = 2000 }
    s.gateway:wait_for_log 'the sink "stream" is down: it is tried again until it answers'
    s.fake:wait_emitted(20000)
    r:restart()
    checker.assert_complete(reader.events, { guilds = s:wait_delivered(20000, reader), contiguous = true })
    assert.equal(1, s.gateway:count_log 'the sink "stream" is down')
  end)
end)

describe("a Redis with replicas", function()
  after_each(function()
    scene.stop()
    redis.teardown()
  end)

  it("has a batch when they have it: until then events wait, and none comes twice", function()
    local master, replica = redis.start(), redis.start()
    replica:replica_of(master)
    local s = start(master, { sink = "replicas = 1" })
    local reader = streams.reader(replica)
    s.fake:emit { count = 50 }
    s:wait_delivered(20000, reader)
    replica:freeze()
    s.fake:emit { count = 50 }
    s.gateway:wait_for_log "after 500 ms 0 of 1 replicas have it"
    s.gateway:wait_for_log 'the sink "stream" is down'
    replica:thaw()
    s.gateway:wait_for_log 'the sink "stream" is up again'
    checker.assert_complete(reader.events, { guilds = s:wait_delivered(20000, reader), contiguous = true })
  end)
end)

describe("a stream of a later session than the gateway's own", function()
  after_each(function()
    scene.stop()
    redis.teardown()
  end)

  it("is a conflict: an alarm, and nothing is written until it is solved", function()
    local r = redis.start()
    r:command("XADD", "tidegate:2:1", "99999999999-7", "t", "READY")
    local s = start(r, { shards = 2, fake = { max_concurrency = 2 }, hurry = 5 })
    s.gateway:wait_for_log "only a person can help: stop the other gateway, or give this sink another prefix"
    s.fake:emit { count = 50, shard = 0 }
    s.fake:emit { count = 50, shard = 1 }
    s.fake:wait_emitted(20000)
    redis.wait_for("the other shard's events", function()
      return r:command("XLEN", "tidegate:2:0") >= 50
    end)
    assert.equal(1, r:command("XLEN", "tidegate:2:1"))
    r:command("DEL", "tidegate:2:1")
    local reader = streams.reader(r)
    checker.assert_complete(reader.events, { guilds = s:wait_delivered(20000, reader), contiguous = true })
  end)

  it("is not made by a lost state directory: its sessions have later epochs", function()
    local r = redis.start()
    local s = start(r)
    local reader = streams.reader(r)
    s.fake:emit { count = 50 }
    s:wait_delivered(20000, reader)
    s.gateway:stop()
    local epoch = reader.events[1].epoch
    redis.wait_for("the next second", function() return os.time() > epoch end) -- epochs begin with that
    s:again { state_dir = paths.tmp() }
    s.fake:emit { count = 50 }
    checker.assert_complete(reader.events, { guilds = s:wait_delivered(20000, reader), contiguous = true })
    assert.equal(0, s.gateway:count_log "only a person can help")
  end)
end)
