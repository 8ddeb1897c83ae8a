-- The main job: events from Discord to the bot, over TLS, in order, each once.

local bot_support = require "spec.support.bot"
local checker = require "spec.support.checker"
local paths = require "spec.support.paths"
local scene = require "spec.support.scene"

describe("the main path", function()
  after_each(scene.stop)

  it("brings 20,000 events of 4 shards in 2 workers to the bot, over TLS and zlib, once, in order", function()
    local s = scene.start {
      shards = 4, per_worker = 2, workers = 2, fake = { tls = true }, log_level = "info",
    }
    assert.equal(2, #s.gateway:worker_pids())
    s.fake:emit { count = 5000, size = 300 }
    s.bot:wait_for_events(20000, "MESSAGE_CREATE", 40000)

    local report = checker.assert_complete(s.bot.events, { guilds = s.fake:sent_guilds(), contiguous = true })
    assert.equal(20000, report.numbered)
    for shard = 0, 3 do
      assert.equal(1, s.bot.max_in_flight[shard])
    end
    -- Connections are kept: not one for each request.
    assert.is_true(s.bot.server.accepted <= 64, "connections: " .. s.bot.server.accepted)

    local state = s.fake:state "violations,counters,handshakes"
    assert.same({}, state.violations)
    assert.equal(4, state.counters.identifies_ok)
    assert.equal(4, #state.handshakes)
    for _, handshake in ipairs(state.handshakes) do
      assert.matches("compress=zlib-stream", handshake.target, 1, true)
    end
    assert.equal(0, s.gateway:stop())
    -- All that mattered fits a screen: nothing is said per event.
    assert.is_true(#s.gateway.process:lines "stderr" < 40, s.gateway.stderr)
  end)

  it("sends body and headers as the bot expects them, the message byte for byte", function()
    local requests = {}
    local s = scene.start {
      shards = 2,
      bot = { answer = function(request) requests[#requests + 1] = request end },
    }
    -- Spaces, an escaped slash, a number that no double holds, members in odd order and an unknown event.
    local sequence = s.fake:sent(1).shards[1].sessions[1].sequence + 1
    local text = ('{"t": "SOMETHING_NEW","op":0, "d":{ "b" : 12345678901234567890, "a":"\\/\\u00e4", '
      .. '"c":[1.50]} ,"s":%d}'):format(sequence)
    s.fake:emit { text = text, shard = 1 }
    local event = s.bot:wait_for_events(1, "SOMETHING_NEW")[1]

    assert.equal(1, event.shard)
    local epoch = s.bot:first_epoch(1)
    assert.equal(epoch, event.epoch)
    assert.equal(('{"shardId":1,"totalShards":2,"epoch":%d,"message":%s}'):format(epoch, text), event.body)
    assert.equal(("1.%d.%d"):format(epoch, sequence), event.key)
    local request = requests[#requests]
    assert.equal("POST", request.method)
    assert.equal("secret-of-the-bot", request.headers.authorization)
    assert.equal("application/json", request.headers["content-type"])
    assert.equal(tostring(#event.body), request.headers["content-length"])

    -- READY is an event like any other, the first of its session.
    local readies = s.bot:select "READY"
    assert.equal(2, #readies)
    for _, ready in ipairs(readies) do
      assert.equal(("%d.%d.1"):format(ready.shard, ready.epoch), ready.key)
    end
  end)

  it("sends a shard's events to urls[shard_id % #urls]", function()
    local s = scene.start { shards = 4, bot = { bot_support.start(), bot_support.start() } }
    s.fake:emit { count = 10 }
    for i, bot in ipairs(s.bots) do
      bot:wait_for_events(20, "MESSAGE_CREATE")
      for _, event in ipairs(bot.events) do
        assert.equal(i - 1, event.shard % 2)
      end
    end
    assert.equal(0, s:counters().violations)
  end)

  for _, compression in ipairs { "zstd-stream", "false" } do
    it("works with TRANSPORT_COMPRESSION=" .. compression, function()
      local s = scene.start { fake = { tls = true }, env = { TRANSPORT_COMPRESSION = compression } }
      s.fake:emit { count = 500 }
      local sent = s:wait_delivered()
      checker.assert_complete(s.bot.events, { guilds = sent, contiguous = true })
      assert.same({}, s:list "violations")
      local compressed = s:list("handshakes")[1].target:match "compress=([%w-]+)"
      assert.equal(compression ~= "false" and compression or nil, compressed)
    end)
  end

  it("reaches a bot on a unix socket", function()
    local s = scene.start { bot = { unix = paths.tmp() .. "/bot.sock" } }
    s.fake:emit { count = 200 }
    checker.assert_complete(s.bot.events, { guilds = s:wait_delivered(), contiguous = true })
  end)

  it("runs a script without an event handler", function()
    local s = scene.start { bot = false, script = [[
local gateway = require "tidegate"
gateway.configure { total_shards = 1 }
local seen = 0
gateway.on("MESSAGE_CREATE", function(event)
  seen = seen + 1
  if seen == 100 then gateway.log.info("seen %d, the last is %s", seen, event.data.nonce) end
end)
]] }
    local guild = s.fake:guilds()[1].id
    s.fake:emit { count = 100, guild = guild }
    assert.equal(guild, (s.gateway:wait_for_log "seen 100, the last is (%d+):100"))
  end)
end)
