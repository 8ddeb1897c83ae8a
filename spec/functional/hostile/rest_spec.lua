-- REST that leads the gateway astray: out of TLS, to what is no gateway, into numbers that are none.

local bot_support = require "spec.support.bot"
local fake_discord = require "spec.support.fake_discord"
local gateway = require "spec.support.gateway"
local middlebox = require "spec.support.middlebox"
local paths = require "spec.support.paths"
local rest_server = require "spec.support.rest_server"

local HURRY = math.max(1, math.floor(20 / paths.slow))
local NO_TLS = "the gateway's URL leads to 127.0.0.1 without TLS (ws://), though REST was asked in TLS"

describe("REST in TLS that says ws://", function()
  local secure, plain, trap

  before_each(function()
    secure = fake_discord.start { shards = 1, tls = true }
    trap = middlebox.start("127.0.0.1", 0)
    secure:settings { url = "ws://127.0.0.1:" .. trap.port }
  end)

  after_each(function()
    gateway.teardown()
    middlebox.cleanup()
  end)

  local function start(options)
    options.fake, options.bot = options.fake or secure, bot_support.start()
    options.env = options.env or {}
    options.env.REST_URL, options.env.TIDEGATE_CA_FILE = options.env.REST_URL or secure.rest, secure.ca
    options.env.TIDEGATE_HURRY = HURRY
    return gateway.start(options)
  end

  local function assert_not_gone(g)
    assert.equal(69, (g.process:wait()))
    assert.matches(NO_TLS, g.stderr, 1, true)
    assert.matches("configure it: gateway_bot.url (GATEWAY_URL)", g.stderr, 1, true)
    assert.equal(0, trap.accepted)
  end

  it("is refused: no shard goes there", function()
    assert_not_gone(start {})
  end)

  it("to a script that hands it on is refused", function()
    assert_not_gone(start { script = [[
local gateway = require "tidegate"
local fetch = gateway.manager.fetch_gateway_bot
function gateway.manager:fetch_gateway_bot()
  return assert(fetch(self))
end
]] })
  end)

  it("is refused, and what it had said earlier holds", function()
    secure:settings { url = "" }
    local g = start {}
    g:wait_ready(1)
    assert.equal(0, (g:stop()))
    secure:settings { url = "ws://127.0.0.1:" .. trap.port }
    g = start { state_dir = g.state_dir }
    g:wait_ready(1)
    assert.matches("starting with the answer of an earlier start reason=[^\n]*without TLS", g.stderr)
    assert.equal(1, secure:state("counters").counters.resumes_ok)
    assert.equal(0, trap.accepted)
  end)

  it("is refused in what was kept of a REST without TLS, too", function()
    plain = fake_discord.start { shards = 1 }
    local g = start { fake = plain, env = { REST_URL = plain.rest } }
    g:wait_ready(1)
    assert.equal(0, (g:stop()))
    secure:fault { at = "rest", ["do"] = "status", status = 503, count = "all" }
    g = start { fake = plain, env = { REST_URL = secure.rest }, state_dir = g.state_dir }
    assert.equal(69, (g.process:wait()))
    assert.equal(1, plain:state("counters").counters.upgrades)
  end)

  it("is no matter where the operator has configured ws:// himself", function()
    plain = fake_discord.start { shards = 1 }
    local g = start { fake = plain, env = { REST_URL = secure.rest, GATEWAY_URL = plain.gateway } }
    g:wait_ready(1)
    assert.equal(0, trap.accepted)
  end)
end)

describe("the answer to GET /gateway/bot", function()
  local LIMIT = { total = 1000, remaining = 999, reset_after = 14400000, max_concurrency = 1 }

  local function limit(name, value)
    local changed = { [name] = value }
    for key, usual in pairs(LIMIT) do
      changed[key] = changed[key] or usual
    end
    return { session_start_limit = changed }
  end

  for _, row in ipairs {
    { "a port that is none", { url = "ws://127.0.0.1:99999999" }, "has no valid port" },
    { "a login", { url = "wss://user:word@127.0.0.1" }, "must not have a user or a password" },
    { "a line of a header", { url = "wss://a\r\nX-Name:b" }, "has no valid host name" },
    { "no host", { url = "wss://:443" }, "has no valid host name" },
    { "a long URL", { url = "wss://" .. ("a"):rep(300) }, "may have 255 bytes" },
    { "one and a half shards", { shards = 1.5 }, "shards\\\" of the gateway information is not a whole" },
    { "2^32 + 1 shards", { shards = 4294967297 }, "is not a whole number from 1 to 65536" },
    { "half a bucket", limit("max_concurrency", 1.5), "is not a whole number from 1 to 4096" },
    { "half a start", limit("remaining", 0.5), "is not a whole number from 0" },
  } do
    it("with " .. row[1] .. " is refused", function()
      local rest = rest_server.start { rest_server.info(nil, row[2]) }
      finally(function()
        rest:close()
        gateway.teardown()
      end)
      local env = { REST_URL = rest.url, TIDEGATE_HURRY = HURRY * 5 }
      local g = gateway.start { bot = bot_support.start(), env = env }
      assert.equal(69, (g.process:wait()))
      assert.matches(row[3], g.stderr, 1, true)
      assert.equal(0, g:count_log "connecting to")
    end)
  end
end)
