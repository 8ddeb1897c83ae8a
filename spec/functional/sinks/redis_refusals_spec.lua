-- What a Redis refuses: each refusal is told in words, nothing is lost over it, and what can go on goes on.

local checker = require "spec.support.checker"
local cjson = require "cjson"
local paths = require "spec.support.paths"
local redis = require "spec.support.redis"
local scene = require "spec.support.scene"
local streams = require "spec.support.streams"

local function start(r, options)
  options.bot = false
  options.script = ('require "tidegate".configure { sinks = { stream = { url = %q } } }'):format(
    options.url or r:url())
  options.url = nil
  return scene.start(options)
end

local function assert_all_there(s, r)
  local reader = streams.reader(r)
  local sent = s:wait_delivered(30000, reader)
  checker.assert_complete(reader.events, { guilds = sent, contiguous = true })
  return reader
end

describe("a Redis that refuses", function()
  after_each(function()
    scene.stop()
    redis.teardown()
  end)

  it("the password is wrong: an alarm says so, without it, and events wait", function()
    local r = redis.start { users = { "app on >right ~* +@all" } }
    local s = start(r, { url = r:url { user = "app", password = "wrong-word" } })
    s.gateway:wait_for_log 'the sink "stream" is down: correct user and password'
    s.fake:emit { count = 20 }
    s.fake:wait_emitted(20000)
    assert.equal(0, s.gateway:count_log "wrong%-word")
    assert.equal(0, r:command("EXISTS", "tidegate:streams"))
    r:command("ACL", "SETUSER", "app", ">wrong-word")
    assert_all_there(s, r)
    s.gateway:wait_for_log 'the sink "stream" is up again'
  end)

  it("the user may not write: nothing of a batch is there before he may", function()
    local r = redis.start { users = { "app on >right ~* +@all -xadd" } }
    local s = start(r, { url = r:url { user = "app", password = "right" } })
    s.gateway:wait_for_log "is down: give the user of the sink's URL what the sink needs"
    s.fake:emit { count = 20 }
    s.fake:wait_emitted(20000)
    assert.equal(0, r:command("EXISTS", "tidegate:1:0"))
    r:command("ACL", "SETUSER", "app", "+xadd", "-multi")
    s.fake:emit { count = 20 }
    s.fake:wait_emitted(20000)
    assert.equal(0, r:command("EXISTS", "tidegate:1:0"))
    r:command("ACL", "SETUSER", "app", "+multi")
    assert_all_there(s, r)
  end)

  it("a key holds something else: its shard waits, with an alarm, and the others go on", function()
    local r = redis.start()
    r:command("SET", "tidegate:2:1", "mine")
    local s = start(r, { shards = 2, fake = { max_concurrency = 2 }, hurry = 5 })
    s.gateway:wait_for_log "shard wait, and only a person can help: rename or delete that key"
    s.fake:emit { count = 50, shard = 0 }
    s.fake:emit { count = 50, shard = 1 }
    s.fake:wait_emitted(20000)
    redis.wait_for("the events of shard 0", function()
      return r:command("XLEN", "tidegate:2:0") >= 50
    end)
    assert.equal("mine", r:command("GET", "tidegate:2:1"))
    r:command("DEL", "tidegate:2:1")
    s.gateway:wait_for_log "the events of this shard go on"
    assert_all_there(s, r)
  end)

  it("its memory is full: nothing is lost where one event is refused and the next one taken", function()
    local r = redis.start { maxmemory = "4mb" }
    local s = start(r, { shards = 2, fake = { max_concurrency = 2 }, hurry = 5 })
    s.fake:emit { count = 4000, rate = 20000, size = 1500 }
    s.gateway:wait_for_log 'the sink "stream" is down'
    s.fake:wait_emitted(20000)
    local there = 0
    while there < 3000 do -- the edge again and again
      local before = there
      r:command("CONFIG", "SET", "maxmemory", tonumber(r:info("memory").used_memory) + 200000)
      redis.wait_for("more events", function()
        there = r:command("XLEN", "tidegate:2:0") + r:command("XLEN", "tidegate:2:1")
        return there > before
      end)
    end
    r:command("CONFIG", "SET", "maxmemory", 0)
    assert_all_there(s, r)
  end)

  it("it is a replica: events wait until it is the master", function()
    local master, r = redis.start(), redis.start()
    r:replica_of(master)
    local s = start(r, {})
    s.gateway:wait_for_log "it is a replica"
    s.fake:emit { count = 20 }
    s.fake:wait_emitted(20000)
    assert.equal(0, r:command("EXISTS", "tidegate:1:0"))
    r:promote()
    assert_all_there(s, r)
  end)

  it("an event is larger than it takes: that one alone goes to the dead letters", function()
    local r = redis.start { config = { ["proto-max-bulk-len"] = "1mb" } }
    local s = start(r, { fake = { guilds = 2, guild_size = 1200000 } })
    s.fake:emit { count = 50 }
    local reader = streams.reader(r)
    local sent = s:wait_delivered(30000, reader)
    assert.same({}, checker.compare(reader.events, { guilds = sent }).lost)
    local letters = {}
    for line in paths.read(s.gateway.state_dir .. "/dead.jsonl"):gmatch "[^\n]+" do
      letters[#letters + 1] = cjson.decode(line)
    end
    assert.equal(2, #letters)
    for _, letter in ipairs(letters) do
      assert.equal("GUILD_CREATE", letter.t)
    end
    s.gateway:wait_for_log "too large for the sink \"stream\".*proto%-max%-bulk%-len"
  end)
end)
