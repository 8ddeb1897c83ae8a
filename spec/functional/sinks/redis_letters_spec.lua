-- Dead letters of a Redis sink, sent again: what was too large for it goes to the shard's stream of what
-- comes late, with its own key, beside what waits in the queue.

local cjson = require "cjson"
local paths = require "spec.support.paths"
local raw_client = require "spec.support.raw_client"
local redis = require "spec.support.redis"
local scene = require "spec.support.scene"
local streams = require "spec.support.streams"
local uv = require "luv"

describe("dead letters of a Redis", function()
  local r, s

  local function status()
    return s.gateway:control("GET", "/status"):json()
  end

  -- Two GUILD_CREATEs are larger than it takes.
  local function start(layout)
    r = redis.start { config = { ["proto-max-bulk-len"] = "1mb" } }
    local script = 'require "tidegate".configure { sinks = { stream = { url = %q, layout = %q } } }'
    s = scene.start {
      bot = false,
      script = script:format(r:url(), layout),
      fake = { guilds = 2, guild_size = 2500000 },
    }
    s.fake:emit { count = 50 }
    redis.wait_for("two dead letters", function() return status().deadLetters.letters == 2 end)
  end

  after_each(function()
    raw_client.cleanup()
    scene.stop()
    redis.teardown()
  end)

  local function letters()
    local list = {}
    for line in (paths.read(s.gateway.state_dir .. "/dead.jsonl") or ""):gmatch "[^\n]+" do
      local letter = cjson.decode(line)
      if letter.v == 1 then list[#list + 1] = letter end
    end
    return list
  end

  local function retry()
    return s.gateway:control("POST", "/dead/retry", { json = { all = true } }):json()
  end

  local function takes_large()
    r:command("CONFIG", "SET", "proto-max-bulk-len", "16mb")
  end

  it("come late, with their own keys, and stay while they are too large", function()
    start "tidegate"
    local reader = streams.reader(r)
    s:wait_delivered(30000, reader)
    local said = retry()
    assert.same({ 2, 2 }, { said.letters, said.refused })
    assert.matches("bulk length", said.problems[1].reason)
    assert.same({ 1, 1 }, { letters()[1].retries, letters()[2].retries })
    takes_large()
    local dead = letters()
    said = retry()
    assert.same({ 2, 2, {} }, { said.letters, said.delivered, said.problems })
    local entries = r:stream "tidegate:1:0:late"
    assert.equal(2, #entries)
    for i, letter in ipairs(dead) do
      local found
      for _, entry in ipairs(entries) do
        if entry.fields.key == ("0.%d.%d"):format(letter.epoch, letter.s) then found = entry.fields end
      end
      assert(found, "letter " .. i .. " is not there")
      assert.same({ "GUILD_CREATE", "0", "1", letter.guildCreate },
        { found.t, found.shard, found.late, found.guildCreate })
      assert.same(letter.event.d.id, cjson.decode(found.d).id)
    end
    assert.equal(1, r:command("SISMEMBER", "tidegate:streams", "tidegate:1:0:late"))
    assert.same({}, letters())
    -- What comes meanwhile goes on in its own stream.
    local before = #reader.events
    s.fake:emit { count = 5 }
    redis.wait_for("what is new", function() return r:command("XLEN", "tidegate:1:0") >= before + 5 end)
    assert.equal(2, r:command("XLEN", "tidegate:1:0:late"))
  end)

  it("stay when Redis does not take them: it says why, and is not asked for each", function()
    start "tidegate"
    takes_large()
    r:command("SET", "tidegate:1:0:late", "mine")
    local said = retry()
    assert.same({ 2, 0 }, { said.letters, said.delivered })
    assert.matches("WRONGTYPE", said.problems[1].reason)
    assert.equal(0, s.gateway:count_log "only a person can help")
    r:command("DEL", "tidegate:1:0:late")
    r:kill()
    said = retry()
    assert.same({ 2, 0 }, { said.letters, said.delivered })
    assert.equal(2, #letters())
    r:restart()
    takes_large()
    said = retry()
    assert.same({ 2, 2 }, { said.letters, said.delivered })
    assert.equal(2, r:command("XLEN", "tidegate:1:0:late"))
  end)

  it("go to the streams of their types with the layout of discord.js", function()
    start "discordjs"
    takes_large()
    local before = r:command("HGETALL", "tidegate:marks")
    assert.equal(2, retry().delivered)
    local entries = r:stream "GUILD_CREATE"
    assert.equal(2, #entries)
    for _, entry in ipairs(entries) do
      assert.equal("1", entry.fields.late)
    end
    assert.same(before, r:command("HGETALL", "tidegate:marks"))
  end)

  it("stay when the worker ends while Redis has not answered", function()
    start "tidegate"
    takes_large()
    r:freeze()
    local client = raw_client.connect(s.gateway:control_url())
    client:write "POST /dead/retry HTTP/1.1\r\nHost: localhost\r\nContent-Length: 12\r\n\r\n"
    client:write '{"all":true}'
    redis.wait_for("a retry", function() return status().deadLetters.retry ~= cjson.null end)
    uv.kill(status().workers[1].pid, "sigkill")
    client:wait_for '"delivered":0'
    r:thaw()
    assert.equal(2, #letters())
    redis.wait_for("the worker", function() return status().ready end)
    assert.equal(2, retry().delivered)
  end)
end)
