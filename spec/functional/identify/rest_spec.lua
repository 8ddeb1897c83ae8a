-- GET /gateway/bot: what the gateway makes of good, bad and missing answers.

local bot_support = require "spec.support.bot"
local cjson = require "cjson"
local fake_discord = require "spec.support.fake_discord"
local gateway = require "spec.support.gateway"
local loop = require "spec.support.loop"
local notify_socket = require "spec.support.notify_socket"
local paths = require "spec.support.paths"
local process = require "spec.support.process"
local rest_server = require "spec.support.rest_server"
local scene = require "spec.support.scene"

local info = rest_server.info
local HTML = "<html><head><title>Attention Required! | Cloudflare</title></head></html>"

describe("the answer to GET /gateway/bot", function()
  local fake, server, bot

  local function start(answers, options)
    fake = fake or fake_discord.start { shards = 1 }
    server = rest_server.start(answers)
    bot = bot or bot_support.start()
    options = options or {}
    options.fake, options.bot = fake, bot
    options.env = options.env or {}
    options.env.REST_URL = options.env.REST_URL or server.url
    options.env.TIDEGATE_HURRY = options.env.TIDEGATE_HURRY or 20
    return gateway.start(options)
  end

  before_each(function() fake, bot = nil, nil end)
  after_each(function()
    server:close()
    gateway.teardown()
  end)

  it("is asked for at REST_URL with the bot's token and a User-Agent", function()
    fake = fake_discord.start { shards = 1 }
    local g = start { info(fake) }
    g:wait_ready(1)
    local request = server.requests[1]
    assert.equal("GET", request.method)
    assert.equal("/api/v10/gateway/bot", request.path)
    assert.equal("Bot fake.discord.token", request.headers.authorization)
    assert.matches("^DiscordBot %(https?://[^,]+, %d+%.%d+%.%d+%)", request.headers["user-agent"])
    assert.equal(1, #server.requests)
  end)

  it("is asked for with REST_AUTHORIZATION, for a REST proxy", function()
    fake = fake_discord.start { shards = 1 }
    local g = start({ info(fake) }, { env = { REST_AUTHORIZATION = "secret of the proxy" } })
    g:wait_ready(1)
    assert.equal("secret of the proxy", server.requests[1].headers.authorization)
  end)

  it("401: ends with 78 and says where to get a token", function()
    local g = start { { 401, nil, '{"message":"401: Unauthorized","code":0}' } }
    assert.equal(78, (g.process:wait()))
    assert.matches("DISCORD_TOKEN", g.stderr, 1, true)
    assert.matches("https://discord.com/developers/applications", g.stderr, 1, true)
    assert.equal(1, #server.requests)
    assert.equal(0, fake:state("counters").counters.handshakes)
  end)

  it("429 with JSON: waits as long as it is told, then starts", function()
    local began
    fake = fake_discord.start { shards = 1 }
    local g = start {
      function()
        began = loop.now()
        return { 429, nil, '{"message":"You are being rate limited.","retry_after":0.6,"global":false}' }
      end,
      function()
        assert.is_true(loop.now() - began >= 600)
        return info(fake)
      end,
    }
    g:wait_ready(1)
    assert.equal(2, #server.requests)
  end)

  it("500, 502, a broken connection, garbage, then a good one: starts", function()
    fake = fake_discord.start { shards = 1 }
    local g = start { { 500 }, { 502, nil, HTML }, "reset", { 200, nil, "garbage" }, info(fake) }
    g:wait_ready(1)
    assert.equal(5, #server.requests)
  end)

  it("hangs: is given up after some seconds and asked again", function()
    fake = fake_discord.start { shards = 1 }
    local g = start { "hang", info(fake) }
    g:wait_ready(1)
    assert.equal(2, #server.requests)
  end)

  for what, answer in pairs {
    ["no JSON"] = { 200, nil, "garbage" },
    ["no object"] = { 200, nil, "[]" },
    ["a URL of another kind"] = info(nil, { url = "https://discord.com" }),
    ["no shards"] = info(nil, { shards = cjson.null }),
    ["a negative number of shards"] = info(nil, { shards = -1 }),
    ["no session_start_limit"] = info(nil, { session_start_limit = cjson.null }),
    ["max_concurrency 0"] = info(nil, {
      session_start_limit = { total = 1000, remaining = 1000, reset_after = 0, max_concurrency = 0 },
    }),
    ["404"] = { 404, nil, '{"message":"404: Not Found","code":0}' },
  } do
    it(what .. ": is tried some times, then ends with 69 and names REST_URL", function()
      local g = start { answer }
      assert.equal(69, (g.process:wait()))
      assert.matches("REST_URL", g.stderr, 1, true)
      assert.matches(server.url .. "/gateway/bot", g.stderr, 1, true)
      assert.equal(5, #server.requests)
      assert.equal(0, fake:state("counters").counters.handshakes)
    end)
  end
end)

describe("a start that Discord has put off", function()
  local rest
  after_each(function()
    rest:close()
    scene.stop()
  end)

  local BAN = { 429, { ["Retry-After"] = 3600 }, HTML }
  local WAITING = "waiting until %d+%-%d+%-%d+ %d+:%d+:%d+ UTC to ask Discord again: it refuses this"

  it("says in /healthz, /readyz, /status and ctl status what it waits for, and until when", function()
    rest = rest_server.start { BAN }
    local s = scene.start { ready = false, env = { REST_URL = rest.url } }
    s.gateway:wait_for_log "waiting until [^\n]* delay=3600%d%d%d reason=[^\n]*too many refused requests"
    local health = s.gateway:control("GET", "/healthz")
    assert.equal(200, health.status)
    assert.equal("ok", health:json().status)
    assert.matches(WAITING, health:json().waiting)
    local ready = s.gateway:control("GET", "/readyz")
    assert.equal(503, ready.status)
    assert.matches(WAITING, ready:json().error)
    local waiting = s.gateway:control("GET", "/status"):json().waiting
    assert.matches(WAITING, waiting.reason)
    assert.is_true(waiting.left > 3500000 and waiting.left <= 3600050)
    local ctl = process.run({ paths.bin "tidegate", "ctl", "status", "--table" }, {
      env = { TIDEGATE_CONTROL = s.gateway:control_url():gsub("^http://", "") },
    })
    assert.matches("starting\n" .. WAITING, ctl.stdout)
    assert.equal(0, (s.gateway:stop "SIGINT"))
    assert.equal(1, #rest.requests)
  end)

  it("tells the service manager, and asks it for more time", function()
    local socket = notify_socket.open()
    rest = rest_server.start { BAN }
    local s = scene.start { ready = false, env = { REST_URL = rest.url, NOTIFY_SOCKET = socket.name } }
    local _, at = socket:wait_for("STATUS=" .. WAITING .. " computer's address for a while")
    socket:wait_for("EXTEND_TIMEOUT_USEC=60000000", at)
    assert.equal(0, (s.gateway:stop()))
    assert.equal(0, socket:count "READY")
    notify_socket.cleanup()
  end)

  it("tells who asks it for a turn what it waits for", function()
    rest = rest_server.start { BAN }
    local s = scene.start { ready = false, env = { REST_URL = rest.url } }
    s.gateway:wait_for_log "waiting until"
    local answer = s.gateway:control("POST", "/identify/0")
    assert.equal(503, answer.status)
    assert.matches("the gateway starts later; it is " .. WAITING, answer:json().error)
  end)

  it("waits longer each time while nobody says how long", function()
    rest = rest_server.start { { 403, nil, HTML } }
    local s = scene.start { ready = false, env = { REST_URL = rest.url }, hurry = 1000 }
    for i, delay in ipairs { 300, 600, 1200 } do
      local told = s.gateway:wait_for_log("then asking again attempt=" .. i .. " delay=(%d+)")
      assert.is_true(told - delay > 0 and told - delay <= 50, told)
    end
  end)

  it("has its usual tries again when the wait is over", function()
    rest = rest_server.start { { 500 }, { 500 }, { 429, { ["Retry-After"] = "0.2" }, HTML }, { 500 } }
    local s = scene.start { ready = false, env = { REST_URL = rest.url }, hurry = 20 }
    assert.equal(69, (s.gateway.process:wait()))
    assert.equal(8, #rest.requests)
  end)

  it("resumes the sessions that live, with what an earlier start was told, and goes on asking", function()
    local s = scene.start { shards = 2, fake = { max_concurrency = 2 } }
    assert.equal(0, s.gateway:stop())
    rest = rest_server.start { { 429, nil, HTML }, rest_server.info(s.fake, { shards = 2 }) }
    s:again { hurry = 100, env = { REST_URL = rest.url } }
    s.gateway:wait_for_log "starting with the answer of an earlier start reason=[^\n]*429"
    s.gateway:wait_for_log "the sessions go on%. Asking again at %d+"
    loop.wait_for("the second request", function() return #rest.requests == 2 end)
    assert.equal(2, s:counters().resumes_ok)
    assert.equal(2, s:counters().identifies)
  end)
end)

describe("a refusal while the gateway runs", function()
  after_each(scene.stop)

  it("does not hold identifies back for longer than the window of session starts", function()
    local s = scene.start {
      shards = 3, ready = false, hurry = 20,
      fake = { total = 100, remaining = 12, reset_after = 2500, identify_window = 50 },
    }
    s.gateway:wait_ready(2)
    s.gateway:wait_for_log "identifies are held back until"
    s.fake:fault {
      at = "rest", ["do"] = "status", status = 429, body = HTML, headers = { ["Retry-After"] = "3600" },
      count = "all",
    }
    s.gateway:wait_for_log "the sessions go on%. Asking again at [^\n]* delay=360%d%d%d%d"
    s.gateway:wait_ready(3)
    assert.equal(3, s:counters().identifies)
  end)
end)

describe("while REST is down", function()
  after_each(scene.stop)

  it("a start resumes the sessions that live, with what an earlier start was told", function()
    local s = scene.start { shards = 2, fake = { max_concurrency = 2 } }
    assert.equal(0, s.gateway:stop())
    s.fake:fault { at = "rest", ["do"] = "status", status = 503, count = "all" }
    s.fake:emit { count = 20 }
    s:again { hurry = 20 }
    s.gateway:wait_for_log "starting with the answer of an earlier start reason=[^\n]*503"
    s:wait_delivered()
    assert.equal(2, s:counters().resumes_ok)
    assert.equal(2, s:counters().identifies)
  end)

  it("GATEWAY_URL alone is not enough, gateway_bot as a whole is", function()
    local s = scene.start { ready = false, env = { REST_URL = "http://127.0.0.1:9/api/v10" }, hurry = 20 }
    assert.equal(69, (s.gateway.process:wait()))
    s:again { ready = false, env = { GATEWAY_URL = s.fake.gateway, REST_URL = "http://127.0.0.1:9/api/v10" } }
    assert.equal(69, (s.gateway.process:wait()))
    s:again {
      env = { REST_URL = "http://127.0.0.1:9/api/v10" },
      script = ([[
require "tidegate".configure {
  gateway_bot = { url = "%s", shards = 1, session_start_limit = { max_concurrency = 1 } },
}
]]):format(s.fake.gateway),
    }
    s.fake:emit { count = 5 }
    s:wait_delivered()
  end)
end)
