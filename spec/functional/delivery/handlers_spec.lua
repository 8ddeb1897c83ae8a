-- Event handlers as addresses: several of them, each with its own state, and TLS.

local bot_support = require "spec.support.bot"
local checker = require "spec.support.checker"
local fake_discord = require "spec.support.fake_discord"
local loop = require "spec.support.loop"
local nginx = require "spec.support.nginx"
local paths = require "spec.support.paths"
local scene = require "spec.support.scene"

describe("several event handlers", function()
  after_each(scene.stop)

  local function start(script)
    local bots = { bot_support.start(), bot_support.start { unix = paths.tmp() .. "/bot.sock" } }
    local s = scene.start {
      shards = 4, bot = bots, fake = { max_concurrency = 4 },
      script = 'local gateway = require "tidegate"\n' .. (script or ""),
    }
    bots[1]:wait_for_events(2, "READY")
    bots[2]:wait_for_events(2, "READY")
    return s, bots[1], bots[2]
  end

  -- All that came, whichever bot it came to; the second one's shards may have gone over to the first.
  local function check(s, sent)
    local all = {}
    for i = #s.bots, 1, -1 do
      for _, event in ipairs(s.bots[i].events) do
        all[#all + 1] = event
      end
    end
    checker.assert_nothing_lost(all, { guilds = sent, contiguous = true })
  end

  it("are up or down each for itself", function()
    local s, over_tcp, over_unix = start [[
gateway.on("handler_down", function(_, details) gateway.log.info("gone: %s", details.url) end)
gateway.on("handler_up", function(_, details) gateway.log.info("back: %s", details.url) end)
]]
    over_tcp:down()
    s.fake:emit { count = 100, rate = 2000 }
    local sent = s.fake:wait_emitted()
    local of_unix, total = 0, 0
    for _, guild in ipairs(s.fake:guilds()) do
      total = total + sent[guild.id]
    end
    for _, shard in ipairs { 1, 3 } do
      for _, guild in ipairs(s.fake:guilds(shard)) do
        of_unix = of_unix + sent[guild.id]
      end
    end
    -- The other one does not wait for it.
    over_unix:wait_for_events(of_unix, "MESSAGE_CREATE", 20000)
    assert.equal(over_tcp.url, (s.gateway:wait_for_log "gone: (%S+)"))
    over_tcp:up()
    assert.equal(over_tcp.url, (s.gateway:wait_for_log "back: (%S+)"))
    over_tcp:wait_for_events(total - of_unix, "MESSAGE_CREATE", 20000)
    check(s, sent)
    assert.equal(0, s.gateway:count_log "gone: http%+unix")
  end)

  it("may be wrongly set up each for itself, and be exchanged by a reload", function()
    local s, over_tcp, over_unix = start()
    over_unix:answer(function() return 403 end)
    s.fake:emit { count = 50 }
    local sent = s.fake:wait_emitted()
    s.gateway:wait_for_log "error [^\n]*the event handler is down: [^\n]*url=http%+unix://[^\n]*answered 403"
    assert.equal(0, s.gateway:count_log("is down: .*url=" .. over_tcp.url:gsub("%p", "%%%0")))
    paths.write(s.gateway.script, ([[
require "tidegate".configure { event_handler = { urls = { %q } } }
]]):format(over_tcp.url))
    assert.is_true((s.gateway:reload()))
    local total = 0
    for _, n in pairs(sent) do
      total = total + n
    end
    loop.wait_for("all events", function()
      return #over_tcp:select "MESSAGE_CREATE" >= total - #over_unix:select "MESSAGE_CREATE"
    end, 20000)
    check(s, sent)
  end)
end)

describe("an event handler behind TLS", function()
  after_each(scene.stop)

  local SERVER = [[
    ssl_certificate %s/cert.pem;
    ssl_certificate_key %s/key.pem;
    location / {
      proxy_pass %s;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
    }]]

  -- The bot speaks plain HTTP; in front of it stands an nginx with a certificate of the fake's own authority.
  local function start(options)
    local bot = bot_support.start()
    local port = nginx.free_port()
    local s = scene.start {
      fake = { tls = true }, bot = { bot },
      env = { EVENT_HANDLER_URL = ("https://localhost:%d/"):format(port) },
    }
    local tls = options.tls or s.fake.ca:match "^(.*)/"
    nginx.start(port, SERVER:format(tls, tls, bot.url), "ssl")
    return s
  end

  it("is trusted by tls.ca_file", function()
    local s = start {}
    s.fake:emit { count = 50 }
    local sent = s:wait_delivered(20000)
    checker.assert_nothing_lost(s.bot.events, { guilds = sent, contiguous = true })
  end)

  it("with a certificate of others counts as down, with an alarm that says what to do", function()
    local others = fake_discord.start { tls = true }
    local s = start { tls = others.ca:match "^(.*)/" }
    s.gateway:wait_for_log "the event handler is down: [^\n]*tls.ca_file[^\n]*url=https://localhost"
    assert.equal(0, #s.bot.events)
    others:stop()
  end)
end)
