local checker = require "spec.support.checker"
local redis = require "spec.support.redis"
local streams = require "spec.support.streams"
local sudden_death = require "spec.support.sudden_death"

after_each(redis.teardown)

-- One message as the sink writes it; `given` replaces what is said here.
local function write(r, given)
  local shard, total, epoch, s = given.shard or 0, given.total or 1, given.epoch or 7, given.s
  local name = given.stream or ("tidegate:%d:%d"):format(total, shard)
  r:command("SADD", "tidegate:streams", name)
  local d = given.d or ('{"guild_id":"9","nonce":"9:%d"}'):format(given.n or s)
  return r:command("XADD", name, ("%d-%d"):format(epoch, s), "t", given.t or "MESSAGE_CREATE",
    "g", given.g or "9", "d", d, "shard", shard, "key", given.key or ("%d.%d.%d"):format(shard, epoch, s))
end

describe("a Redis that dies in the midst of a batch", function()
  it("has not done what it has not written", function()
    for when, there in pairs { before = false, after = "1" } do
      local death = sudden_death.new()
      local r = redis.start { appendonly = "always", env = death:env() }
      r:command("SET", "first", 1)
      death:plan { { "write", "/appendonlydir/*.incr.aof", when } }
      assert.error(function()
        r:pipeline { { "MULTI" }, { "SET", "a", 1 }, { "SET", "b", 1 }, { "EXEC" } }
      end)
      r.process:wait()
      assert.equal("SIGKILL", r.process.signal)
      r:restart()
      assert.same({ "1", there, there }, r:command("MGET", "first", "a", "b"))
    end
  end)
end)

describe("a reader of streams", function()
  it("has the entries of all streams, in their order, page by page", function()
    local r = redis.start()
    local reader = streams.reader(r)
    for s = 1, 1201 do
      write(r, { s = s, shard = s % 2, total = 2, n = s, g = "9" })
    end
    reader:poll()
    write(r, { s = 1203, shard = 1, total = 2 })
    reader:poll()
    assert.same({ 1202, 600, 602 }, { #reader.events, #reader.by_shard[0], #reader.by_shard[1] })
    local last = reader.events[1202]
    assert.same({ 1, 2, 7, 1203, "MESSAGE_CREATE", "1.7.1203" },
      { last.shard, last.total, last.epoch, last.s, last.t, last.key })
    assert.equal("9:1203", last:data().nonce)
    reader:reread()
    assert.equal(1202, #reader.events)
  end)

  it("shows the checker what is lost, doubled and out of order", function()
    local r = redis.start()
    local reader = streams.reader(r)
    for s, n in ipairs { 1, 3, 4, 4, 2 } do
      write(r, { s = s, n = n })
    end
    reader:poll()
    local report = checker.compare(reader.events, { guilds = { ["9"] = 5 } })
    assert.same({ "message 9:5" }, report.lost)
    assert.same({ 1, 0 }, { #report.doubled_with_other_key, #report.doubled })
    assert.same({ "message 9:2 after 4" }, report.out_of_order)
  end)

  it("drops by their ids what comes again to a Redis that had lost it", function()
    local r = redis.start()
    local reader = streams.reader(r)
    write(r, { s = 1 })
    write(r, { s = 2 })
    reader:poll()
    r:command "FLUSHALL"
    write(r, { s = 2 })
    write(r, { s = 3 })
    reader:begin_again()
    reader:poll()
    checker.assert_complete(reader.events, { guilds = { ["9"] = 3 }, contiguous = true })
    assert.equal(3, #reader.events)
  end)

  it("is not content with entries that say something else than their stream and id", function()
    local r = redis.start()
    for _, wrong in ipairs {
      { s = 1, key = "0.7.2" }, { s = 1, g = "8" }, { s = 1, shard = 3, stream = "tidegate:4:2", total = 4 },
      { s = 1, stream = "elsewhere:1:0" },
    } do
      r:command "FLUSHALL"
      write(r, wrong)
      assert.error(function() streams.reader(r):poll() end)
    end
  end)
end)
