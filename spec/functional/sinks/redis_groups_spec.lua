-- Consumers with groups: what they have acknowledged goes from the streams, and what they have not stays.

local checker = require "spec.support.checker"
local redis = require "spec.support.redis"
local scene = require "spec.support.scene"
local streams = require "spec.support.streams"

local KEY = "tidegate:1:0"

local function start(r, sink)
  return scene.start {
    bot = false, hurry = 25, -- a look at the streams five times a second
    script = ('require "tidegate".configure { sinks = { stream = { url = %q, %s } } }'):format(
      r:url(), sink or ""),
  }
end

-- Reads and acknowledges up to n entries; returns how many there were.
local function consume(r, group, n, keeps)
  local answer = r:command("XREADGROUP", "GROUP", group, "one", "COUNT", n, "STREAMS", KEY, ">")
  local ids = {}
  for _, entry in ipairs(answer and answer[1][2] or {}) do
    ids[#ids + 1] = entry[1]
  end
  if ids[1] and not keeps then
    r:command("XACK", KEY, group, unpack(ids))
  end
  return #ids, ids
end

describe("groups of consumers of a Redis sink", function()
  after_each(function()
    scene.stop()
    redis.teardown()
  end)

  it("what all of them have acknowledged is trimmed, and nothing else", function()
    local r = redis.start { config = { ["stream-node-max-entries"] = 1 } } -- trims exactly
    r:command("XGROUP", "CREATE", KEY, "fast", "0", "MKSTREAM")
    r:command("XGROUP", "CREATE", KEY, "slow", "0")
    local s = start(r)
    s.fake:emit { count = 300 }
    local reader = streams.reader(r)
    s:wait_delivered(20000, reader)
    local total = #reader.events
    while consume(r, "fast", 100) > 0 do end
    local _, ids = consume(r, "slow", 100, true)
    r:command("XACK", KEY, "slow", unpack(ids, 1, 40))
    reader:wait_for("40 to go", function() return r:command("XLEN", KEY) <= total - 40 end)
    assert.equal(ids[41], r:stream(KEY)[1].id) -- the oldest that is pending
    r:command("XACK", KEY, "slow", unpack(ids, 42))
    s.fake:emit { count = 10 }
    s:wait_delivered(20000, reader)
    assert.equal(ids[41], r:stream(KEY)[1].id)
    r:command("XACK", KEY, "slow", ids[41])
    while consume(r, "slow", 100) > 0 do end
    while consume(r, "fast", 100) > 0 do end
    reader:wait_for("all to go", function() return r:command("XLEN", KEY) == 0 end)
    s.fake:emit { count = 10 }
    checker.assert_complete(reader.events, { guilds = s:wait_delivered(20000, reader), contiguous = true })
  end)

  it("one that lags holds its stream at max_length, and the log says which and how far", function()
    local r = redis.start()
    r:command("XGROUP", "CREATE", KEY, "sleeper", "0", "MKSTREAM")
    local s = start(r, "max_length = 1000")
    s.fake:emit { count = 3000, rate = 20000 }
    s.gateway:wait_for_log('the stream tidegate:1:0 is full %(%d+ entries, max_length%): its group "sleeper" '
      .. "has %d+ entries to read and 0 to acknowledge")
    s.fake:wait_emitted(20000)
    assert.is_true(r:command("XLEN", KEY) < 1100)
    local reader = streams.reader(r)
    local function messages()
      local count = 0
      for _, event in ipairs(reader.events) do
        count = count + (event.t == "MESSAGE_CREATE" and 1 or 0)
      end
      return count
    end
    reader:wait_for("all events", function()
      consume(r, "sleeper", 500)
      return messages() == 3000
    end, 60000)
    checker.assert_complete(reader.events, { guilds = s.fake:sent_guilds(), contiguous = true })
  end)
end)
