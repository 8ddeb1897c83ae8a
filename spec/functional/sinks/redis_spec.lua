-- A sink that is a Redis: what is in its streams, and the ways to get there.

local checker = require "spec.support.checker"
local cjson = require "cjson"
local paths = require "spec.support.paths"
local redis = require "spec.support.redis"
local scene = require "spec.support.scene"
local streams = require "spec.support.streams"

local function script_of(url, sink)
  return ('require "tidegate".configure { sinks = { stream = { url = %q, %s } } }'):format(url, sink or "")
end

-- A scene whose only sink is the Redis r. `url` is its own unless given; `sink`: more of its configuration.
local function start(r, options)
  options.bot = false
  options.script = script_of(options.url or r:url(), options.sink)
  options.url, options.sink = nil, nil
  return scene.start(options)
end

local function first_of(reader, t)
  return reader:wait_for("a " .. t, function()
    for _, event in ipairs(reader.events) do
      if event.t == t then
        return event
      end
    end
  end)
end

-- What its user needs, as the deployment page has it.
local COMMANDS = "+multi +exec +sadd +xadd +xlen +xinfo +xpending +xtrim +wait +ping +select"

describe("a Redis sink", function()
  after_each(function()
    scene.stop()
    redis.teardown()
  end)

  it("has every event once, in order, in the stream of its shard, under its own name", function()
    local r = redis.start()
    local s = start(r, { shards = 4, per_worker = 2, fake = { max_concurrency = 4 } })
    s.fake:emit { count = 2000, rate = 4000 }
    local reader = streams.reader(r)
    local sent = s:wait_delivered(30000, reader)
    checker.assert_complete(reader.events, { guilds = sent, contiguous = true })
    assert.equal(4, #reader:streams())
    assert.same({ "tidegate:4:0", "tidegate:4:1", "tidegate:4:2", "tidegate:4:3" },
      (function(list) table.sort(list) return list end)(r:command("SMEMBERS", "tidegate:streams")))
    local entry = r:stream("tidegate:4:1")[1]
    assert.equal("READY", entry.fields.t)
    assert.equal("", entry.fields.g)
    assert.equal("1", entry.fields.shard)
    assert.equal(entry.id, (entry.fields.key:gsub("^1%.(%d+)%.", "%1-")))
    assert.is_string(cjson.decode(entry.fields.d).session_id)
    local guild = first_of(reader, "GUILD_CREATE")
    assert.equal("loading", guild.guild_create)
    assert.equal(guild:data().id, guild.g)
  end)

  it("is reached by a user of its own, in a numbered database, over a unix socket", function()
    local r = redis.start {
      unix = true, users = { "app on >s3cret%word ~events:* " .. COMMANDS },
    }
    local s = start(r, {
      url = r:url { user = "app", password = "s3cret%word", db = 3 }, sink = 'prefix = "events"',
    })
    s.fake:emit { count = 10 }
    r:command("SELECT", 3)
    local reader = streams.reader(r, { prefix = "events" })
    local sent = s:wait_delivered(20000, reader)
    checker.assert_complete(reader.events, { guilds = sent, contiguous = true })
    assert.equal(0, s.gateway:count_log "s3cret")
  end)

  it("is reached by TLS, with a password", function()
    local r = redis.start { tls = true, password = "geheimnis" }
    local s = start(r, {
      url = r:url { password = "geheimnis" }, env = { TIDEGATE_CA_FILE = r.ca }, log_level = "debug",
    })
    s.fake:emit { count = 10 }
    local reader = streams.reader(r)
    local sent = s:wait_delivered(20000, reader)
    checker.assert_complete(reader.events, { guilds = sent, contiguous = true })
    assert.equal(0, s.gateway:count_log "geheimnis")
  end)

  it("keeps to max_length where nobody has a group", function()
    local r = redis.start()
    local s = start(r, { sink = "max_length = 1000" })
    s.fake:emit { count = 5000, rate = 20000 }
    s.fake:wait_emitted(20000)
    redis.wait_for("all events", function()
      local last = r:fields("XINFO", "STREAM", "tidegate:1:0")["last-generated-id"]
      return tonumber(last:match "%-(%d+)") >= 5000
    end)
    local length = r:command("XLEN", "tidegate:1:0")
    assert.is_true(length >= 1000 and length < 1500, length .. " entries")
  end)

  it("takes another prefix, and another Redis, by a reload: no event is missing, or there twice", function()
    local first, second = redis.start(), redis.start()
    local s = start(first, { shards = 2, fake = { max_concurrency = 2 } })
    local function go_on(r, prefix)
      s.fake:emit { count = 300, rate = 3000 }
      paths.write(s.gateway.script, script_of(r:url(), ("prefix = %q"):format(prefix)))
      s.gateway:reload()
      s.fake:emit { count = 50 }
    end
    go_on(first, "other")
    go_on(second, "other")
    local readers = { streams.reader(first), streams.reader(first, { prefix = "other" }),
      streams.reader(second, { prefix = "other" }) }
    local all = { events = {}, wait_for = readers[1].wait_for }
    function all.poll()
      all.events = {}
      for _, reader in ipairs(readers) do
        reader:poll()
        for _, event in ipairs(reader.events) do
          all.events[#all.events + 1] = event
        end
      end
    end
    local sent = s:wait_delivered(20000, all)
    checker.assert_complete(all.events, { guilds = sent, contiguous = true })
    for i, reader in ipairs(readers) do
      assert.is_true(#reader.events > 0, "nothing is in the streams of reader " .. i)
    end
  end)

  it("tells of a session that was lost at the end of that session", function()
    local r = redis.start()
    local s = start(r, {})
    local reader = streams.reader(r)
    first_of(reader, "READY")
    s.fake:fault { ["do"] = "invalid_session", resumable = false }
    s:wait_counter("identifies_ok", 2)
    s.fake:emit { count = 3 }
    s:wait_delivered(20000, reader)
    local marker
    for i, event in ipairs(reader.events) do
      if event.marker then
        marker = event
        assert.equal("session_lost", event.gap.reason)
        assert.equal(reader.events[i - 1].epoch + 1 .. "-0", event.id)
        assert.equal("READY", reader.events[i + 1].t)
      end
    end
    assert.is_table(marker)
  end)
end)
