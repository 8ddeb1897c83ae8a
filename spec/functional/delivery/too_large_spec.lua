-- A bot that finds events too large (413): these alone are given up, quickly, with one alarm, and can be
-- delivered again from what the dead letters hold.

local checker = require "spec.support.checker"
local cjson = require "cjson"
local loop = require "spec.support.loop"
local paths = require "spec.support.paths"
local scene = require "spec.support.scene"

-- As the usual frameworks do it: by Content-Length, whoever it is.
local function bounded(limit)
  local tries = {}
  return function(request)
    if #request.body > limit then
      local key = request.headers["idempotency-key"]
      tries[key] = (tries[key] or 0) + 1
      return 413, { Connection = "close" }, "request entity too large"
    end
  end, tries
end

local function letters(s)
  local list = {}
  for i = 4, 0, -1 do
    local text = paths.read(s.gateway.state_dir .. "/dead.jsonl" .. (i > 0 and "." .. i or ""))
    for line in (text or ""):gmatch "[^\n]+" do
      list[#list + 1] = cjson.decode(line)
    end
  end
  return list
end

describe("an event that is too large for the bot", function()
  after_each(scene.stop)

  it("holds nobody up: three hundred guilds of a start take seconds, and one alarm", function()
    local policy, tries = bounded(20000)
    local s = scene.start {
      fake = { guilds = 300, guild_size = 30000 }, bot = { answer = policy }, log_level = "info",
    }
    local began = loop.now()
    s.fake:emit { count = 5, shard = 0 }
    local sent = s:wait_delivered(30000)
    assert.is_true(loop.now() - began < 10000 * paths.slow, ("%d ms"):format(loop.now() - began))
    assert.same({}, checker.compare(s.bot.events, { guilds = sent }).lost)
    assert.equal(0, #s.bot:select "GUILD_CREATE")
    for key, count in pairs(tries) do
      assert.equal(2, count, key)
    end
    local list = letters(s)
    assert.equal(300, #list)
    local guilds = {}
    for i, letter in ipairs(list) do
      guilds[letter.event.d.id] = true
      assert.equal(1, letter.v)
      assert.equal(i, letter.n)
      assert.equal(413, letter.status)
      assert.equal("request entity too large", letter.answer)
      assert.equal("loading", letter.guildCreate)
      assert.is_true(letter.bytes > 30000)
    end
    for _, guild in ipairs(s.fake:guilds()) do
      assert.is_true(guilds[guild.id])
    end
    local bytes = s.gateway:wait_for_log(
      "error worker 0 shard 0: an event of (%d+) bytes is too large for the event handler %(413%): it is in "
      .. "dead.jsonl of the state directory. [^\n]*express[^\n]*fastify[^\n]*aiohttp[^\n]*nginx[^\n]* url=")
    assert.equal(bytes, tostring(list[1].bytes))
    s.gateway:stop()
    assert.equal(1, s.gateway:count_log "too large for the event handler .*nginx")
    assert.equal(1, s.gateway:count_log "more events were too large for the event handler .*events=299")
    assert.equal(0, s.gateway:count_log "refuses this event")
  end)

  it("can be made again from its letter, byte by byte", function()
    local bodies = {}
    local s = scene.start {
      bot = { answer = function(request, event)
        if event.t == "GUILD_CREATE" then
          bodies[event.s] = request.body
          return 413
        end
      end },
    }
    s.fake:emit { count = 1, shard = 0 }
    s.bot:wait_for_events(1, "MESSAGE_CREATE")
    local text = paths.read(s.gateway.state_dir .. "/dead.jsonl")
    for line in text:gmatch "[^\n]+" do
      local letter = cjson.decode(line)
      local event = line:match '"event":(.*),"n":%d+}$'
      assert.equal(bodies[letter.s],
        ('{"shardId":%d,"totalShards":%d,"epoch":%d,"message":%s,"guildCreate":"%s"}'):format(
          letter.shard, letter.totalShards, letter.epoch, event, letter.guildCreate))
      assert.equal(#bodies[letter.s], letter.bytes)
    end
  end)

  it("is found in a batch, and the others go on in batches that fit", function()
    local policy, tries = bounded(20000)
    local s = scene.start {
      script = 'require "tidegate".configure { event_handler = { batch = true } }',
    }
    local guild = s.fake:guilds()[1].id
    s.bot:wait_for_events(1 + #s.fake:guilds())
    s.bot:down()
    s.fake:emit { count = 100, guild = guild, size = 1000 }
    s.fake:wait_emitted()
    s.fake:emit { count = 1, guild = guild, size = 30000 }
    s.fake:wait_emitted()
    s.fake:emit { count = 100, guild = guild, size = 1000 }
    s.fake:wait_emitted()
    s.bot:answer(policy)
    s.bot:up()
    s.bot:wait_for_events(200, "MESSAGE_CREATE", 20000)
    local report = checker.compare(s.bot.events, { guilds = s.fake:sent_guilds() })
    assert.same({ ("message %s:101"):format(guild) }, report.lost)
    assert.same({}, report.out_of_order)
    local list = letters(s)
    assert.equal(1, #list)
    assert.equal(guild .. ":101", list[1].event.d.nonce)
    -- It is learnt what fits: not each batch is refused and cut in halves again.
    local refused = 0
    for _, count in pairs(tries) do
      refused = refused + count
    end
    assert.is_true(refused <= 12, refused .. " requests were refused")
    assert.is_true(#s.bot.batches < 60, #s.bot.batches .. " batches")
  end)

  it("goes to the letters when a script has sent it, too", function()
    local policy = bounded(20000)
    local s = scene.start {
      bot = { answer = policy },
      script = [[
local gateway = require "tidegate"
local deliver = gateway.delivery.deliver
function gateway.delivery:deliver(events) return deliver(self, events) end
]],
    }
    s.bot:wait_for_events(1 + #s.fake:guilds())
    local began = loop.now()
    s.fake:emit { count = 1, shard = 0, size = 30000 }
    s.fake:emit { count = 1, shard = 0 }
    s.bot:wait_for_events(1, "MESSAGE_CREATE")
    assert.is_true(loop.now() - began < 3000 * paths.slow)
    local list = letters(s)
    assert.equal(1, #list)
    assert.equal(413, list[1].status)
  end)

  it("names what it had to leave out", function()
    local s = scene.start {
      bot = { answer = function(_, event)
        if event.t == "INTERACTION_CREATE" then
          return 413
        end
      end },
    }
    s.fake:emit { interaction = 2, shard = 0 }
    s.fake:emit { count = 1, shard = 0 }
    s.bot:wait_for_events(1, "MESSAGE_CREATE")
    local list = letters(s)
    assert.equal("***", list[1].event.d.token)
    assert.is_true(list[1].masked)
  end)
end)
