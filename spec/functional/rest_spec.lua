-- GET /gateway/bot: what the gateway makes of good, bad and missing answers.

local bot_support = require "spec.support.bot"
local cjson = require "cjson"
local fake_discord = require "spec.support.fake_discord"
local gateway = require "spec.support.gateway"
local http = require "spec.support.http"
local loop = require "spec.support.loop"
local scene = require "spec.support.scene"

local HTML = "<html><head><title>Attention Required! | Cloudflare</title></head></html>"

-- A REST server that answers with the given answers one after the other, the last one for ever: lists of
-- status, headers, body; or "hang", "reset".
local function rest_server(answers)
  local server
  server = http.serve(function(request)
    server.requests[#server.requests + 1] = request
    local answer = answers[#server.requests] or answers[#answers]
    if type(answer) == "function" then
      answer = answer()
    end
    if answer == "hang" then
      return
    elseif answer == "reset" then
      return request:reset()
    end
    return answer[1], answer[2], answer[3]
  end)
  server.requests = {}
  return server
end

local function info(fake, changes)
  local body = {
    url = fake and fake.gateway or "ws://127.0.0.1:9",
    shards = 1,
    session_start_limit = { total = 1000, remaining = 999, reset_after = 14400000, max_concurrency = 1 },
  }
  for name, value in pairs(changes or {}) do
    body[name] = value
  end
  return { 200, { ["Content-Type"] = "application/json" }, cjson.encode(body) }
end

describe("the answer to GET /gateway/bot", function()
  local fake, server, bot

  local function start(answers, options)
    fake = fake or fake_discord.start { shards = 1 }
    server = rest_server(answers)
    bot = bot or bot_support.start()
    options = options or {}
    options.fake, options.bot = fake, bot
    options.env = options.env or {}
    options.env.REST_URL = options.env.REST_URL or server.url .. "/api/v10"
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

  it("403 with HTML: is not tried again, ends with 69 and says who refuses", function()
    local g = start { { 403, { ["Content-Type"] = "text/html" }, HTML } }
    assert.equal(69, (g.process:wait()))
    assert.matches("403", g.stderr, 1, true)
    assert.matches("Cloudflare", g.stderr, 1, true)
    assert.equal(1, #server.requests)
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

  it("429 with HTML: a ban of the address, not tried again", function()
    local g = start { { 429, { ["Content-Type"] = "text/html" }, HTML } }
    assert.equal(69, (g.process:wait()))
    assert.matches("429", g.stderr, 1, true)
    assert.equal(1, #server.requests)
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
      assert.matches(server.url, g.stderr, 1, true)
      assert.equal(5, #server.requests)
      assert.equal(0, fake:state("counters").counters.handshakes)
    end)
  end
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
